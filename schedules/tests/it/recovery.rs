//! Opening after a crash, with threads that help.

use crate::database::{Written, keys, visible_at, write, write_long};
use isopach::{
    Builder, Durability, Readable, Seqno,
    env::{CrashFs, Survival},
};
use isopach_schedules::{FOR_EVER, explore, helped};
use shuttle::{rand::Rng, thread};
use std::sync::{Arc, Mutex};

/// Fills a memtable of [`helped`].
const LONG: usize = 17 << 10;
/// More than what a piece of the log holds.
const A_PIECE: usize = 1100 << 10;

/// What a process leaves that dies: small and long values in turn, in two keyspaces, some of it durable.
fn killed(written: &Written) -> (CrashFs, Seqno) {
    let disk = CrashFs::new();
    let db = helped(Arc::new(disk.clone())).write_buffer_bytes(64 << 10).open().unwrap();
    let (small, long) = (db.keyspace("small").unwrap(), db.keyspace("long").unwrap());
    let durable = shuttle::rand::thread_rng().gen_range(0..7);
    for round in 0..6 {
        write(&db, &small, &format!("s{round}"), Durability::Buffered, written);
        let durability = if round == durable { Durability::Sync } else { Durability::Buffered };
        write_long(&db, &long, &format!("l{round}"), LONG, durability, written);
    }
    let (after, floor) = (disk.kill(), db.durable_seqno());
    drop((small, long));
    db.close_within(FOR_EVER).unwrap();
    (after, floor)
}

/// The power goes while the log is made durable, applied and flushed, all at once.
fn lose_power_while_opening() {
    let written = Written::default();
    let (disk, floor) = killed(&written);
    let after = Arc::new(Mutex::new(None));
    let witness = {
        let (disk, after) = (disk.clone(), Arc::clone(&after));
        thread::spawn(move || {
            for _ in 0..shuttle::rand::thread_rng().gen_range(0..50) {
                thread::yield_now();
            }
            let seed = shuttle::rand::thread_rng().gen_range(0..u64::MAX);
            *after.lock().unwrap() = Some(disk.crash_with(Survival::Any, seed));
        })
    };
    let db = helped(Arc::new(disk)).open().unwrap();
    let all = [db.keyspace("small").unwrap(), db.keyspace("long").unwrap()];
    assert_eq!(all_keys(&all), visible_at(&written, Seqno::MAX), "the process died, nothing else");
    drop(all);
    db.close_within(FOR_EVER).unwrap();
    witness.join().unwrap();

    let after = after.lock().unwrap().take().expect("the witness has ended");
    let db = helped(Arc::new(after)).open().unwrap();
    let found = all_keys(&[db.keyspace("small").unwrap(), db.keyspace("long").unwrap()]);
    let last = found.iter().map(|key| written.lock().unwrap()[key]).max().unwrap_or(Seqno::ZERO);
    assert_eq!(found, visible_at(&written, last.max(floor)), "INV-WAL-5: a prefix, at least up to {floor}");
}

fn all_keys(keyspaces: &[impl Readable]) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = keyspaces.iter().flat_map(keys).collect();
    all.sort();
    all
}

/// Pieces of the log are applied by several threads, which are done with the database when it is open: it can
/// be closed and opened at once.
fn apply_pieces_together() {
    let large = |disk: &CrashFs| -> Builder {
        let builder = helped(Arc::new(disk.clone())).write_buffer_bytes(16 << 20);
        builder.memory_budget(64 << 20).max_wal_bytes(64 << 20)
    };
    let (disk, written) = (CrashFs::new(), Written::default());
    let db = large(&disk).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    for round in 0..4 {
        write(&db, &ks, &format!("s{round}"), Durability::Buffered, &written);
        write_long(&db, &ks, &format!("l{round}"), A_PIECE, Durability::Buffered, &written);
    }
    let disk = {
        let after = disk.kill();
        drop(ks);
        db.close_within(FOR_EVER).unwrap();
        after
    };

    drop(large(&disk).open_read_only().unwrap());
    let db = large(&disk).open().unwrap();
    let ks = db.keyspace("k").unwrap();

    assert_eq!(keys(&ks), visible_at(&written, Seqno::MAX));
    assert!(ks.stats().tree.levels.is_empty(), "all of it comes from the log");
}

#[test]
fn what_a_power_loss_leaves_of_an_opening_is_a_prefix() {
    explore("opening", 12, lose_power_while_opening);
}

#[test]
fn threads_that_help_are_done_when_the_database_is_open() {
    explore("helpers", 4, apply_pieces_together);
}
