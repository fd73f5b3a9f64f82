//! Many keyspaces, of which one is busy.
//!
//! `ISOPACH_KEYSPACES=1000 cargo test --release -p isopach --test it idle -- --nocapture` is the long
//! version.

use isopach::Db;
use std::{env, time::Instant};
use testkit::TempDir;

const MAX_WAL: u64 = 8 << 20;

fn keyspaces() -> usize {
    env::var("ISOPACH_KEYSPACES").map_or(40, |text| text.parse().expect("ISOPACH_KEYSPACES is a number"))
}

#[test]
fn idle_keyspaces_keep_neither_the_log_nor_the_opening() {
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let open = || Db::builder(&path).max_wal_bytes(MAX_WAL).write_buffer_bytes(1 << 20).open().unwrap();
    let db = open();
    for n in 0..keyspaces() {
        db.keyspace(&format!("idle{n:04}")).unwrap().insert("k", "v").unwrap();
    }
    db.close().unwrap();

    let start = Instant::now();
    let db = open();
    eprintln!("{} keyspaces opened in {:?}", keyspaces(), start.elapsed());

    let busy = db.keyspace("busy").unwrap();
    let mut written = 0;
    let mut longest = 0;
    for n in 0_u64.. {
        for idle in (0..keyspaces()).step_by(keyspaces() / 10) {
            db.keyspace(&format!("idle{idle:04}")).unwrap().insert(n.to_be_bytes(), "v").unwrap();
        }
        for m in 0..1000_u64 {
            busy.insert((n * 1000 + m).to_be_bytes(), [7; 200]).unwrap();
            written += 280; // With the prefix, header and padding of its record.
        }
        longest = longest.max(db.stats().wal_bytes);
        if written > 4 * MAX_WAL {
            break;
        }
    }
    let turns = written / MAX_WAL + 1;
    for stats in db.stats().keyspaces.iter().filter(|stats| stats.name.starts_with("idle")) {
        assert!(
            stats.tree.flushes <= turns,
            "{}: {} flushes in {turns} turns",
            stats.name,
            stats.tree.flushes
        );
    }
    eprintln!("longest log {} KiB, bound {} KiB", longest >> 10, MAX_WAL >> 10);
    assert!(longest < MAX_WAL * 3 / 2, "the log is bounded: {longest}");
    db.close().unwrap();
}

/// A database that was loaded by one process and flushed by the next kept the whole log: its last segment
/// counted as the one that is written, though a log that goes on begins a new one.
#[test]
fn flushed_log_of_an_earlier_run_is_not_read_again() {
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let db = Db::open(&path).unwrap();
    db.keyspace("k").unwrap().insert("key", "value").unwrap();
    db.close().unwrap();

    let db = Db::open(&path).unwrap();
    db.flush().unwrap();
    let segments = db.stats().wal_segments;
    drop(db);

    assert_eq!(segments, 0, "everything is in tables");
    let db = Db::open(&path).unwrap();
    assert_eq!(db.recovery().log_records, 0);
    assert!(db.recovery().is_clean);
    let k = db.get_keyspace("k").unwrap().expect("it was created");
    k.insert("more", "value").unwrap();
    drop((k, db));
    let db = Db::builder(&path).open_read_only().unwrap();
    assert_eq!(db.recovery().log_records, 1, "the log goes on");
    assert_eq!(db.keyspace("k").unwrap().count(..).unwrap(), 2);
}
