//! What a first user tries.

use isopach::{Db, Durability, ErrorKind, WriteOptions};
use std::time::Duration;
use testkit::TempDir;

#[test]
fn what_was_written_is_there_after_closing() {
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let db = Db::open(&path).unwrap();
    let users = db.keyspace("users").unwrap();
    for n in 0..1000 {
        users.insert(format!("user{n:04}"), format!("name {n}")).unwrap();
    }
    users.remove("user0500").unwrap();
    let seqno = db.seqno();
    drop(users);
    db.close().unwrap();

    let db = Db::open(&path).unwrap();
    let users = db.keyspace("users").unwrap();

    assert_eq!(users.count(..).unwrap(), 999);
    assert_eq!(users.get("user0042").unwrap().unwrap(), b"name 42");
    assert_eq!(users.get("user0500").unwrap(), None);
    assert_eq!(users.last().unwrap().unwrap().0, b"user0999");
    assert_eq!((db.seqno(), db.durable_seqno()), (seqno, seqno));
    assert!(db.recovery().is_clean);
    assert!(users.insert("x", "y").unwrap() > seqno);
}

#[test]
fn flush_and_compaction_lose_nothing() {
    let dir = TempDir::new();
    let path = dir.path().join("db");
    let db = Db::builder(&path).write_buffer_bytes(64 << 10).cache_bytes(1 << 20).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    for n in 0..20_000_u32 {
        ks.insert(n.wrapping_mul(2_654_435_761).to_be_bytes(), n.to_le_bytes()).unwrap();
        // A busy machine flushes many memtables at once, too few tables to be compacted.
        if n % 4_000 == 3_999 {
            db.flush().unwrap();
        }
    }
    db.wait_idle(Duration::from_secs(60)).unwrap();
    assert!(ks.stats().tree.compactions > 0, "{:?}", ks.stats());
    ks.compact_range(..).unwrap();

    let db_again = {
        let keys: Vec<_> = ks.iter().keys().map(Result::unwrap).collect();
        assert_eq!(keys.len(), 20_000);
        assert!(keys.is_sorted());
        drop(ks);
        db.close().unwrap();
        Db::open(&path).unwrap()
    };
    let ks = db_again.keyspace("k").unwrap();
    for n in (0..20_000_u32).step_by(37) {
        assert_eq!(ks.get(n.wrapping_mul(2_654_435_761).to_be_bytes()).unwrap().unwrap(), &n.to_le_bytes());
    }
    assert!(db_again.verify(isopach::VerifyOptions::new()).unwrap().found.is_empty());
}

#[test]
fn snapshots_see_the_past_and_dropped_keyspaces() {
    let db = Db::in_memory().unwrap();
    let ks = db.keyspace("a").unwrap();
    ks.insert("k", "old").unwrap();
    let before = db.snapshot();
    ks.insert("k", "new").unwrap();
    db.flush().unwrap();
    ks.compact_range(..).unwrap();
    assert!(db.drop_keyspace("a").unwrap());

    assert_eq!(ks.at(&before).get("k").unwrap().unwrap(), b"old");
    assert_eq!(ks.get("k").unwrap_err().kind(), ErrorKind::KeyspaceDropped);
    assert_eq!(ks.insert("k", "x").unwrap_err().kind(), ErrorKind::KeyspaceDropped);
    let again = db.keyspace("a").unwrap();
    assert!(again.is_empty().unwrap());
    assert_ne!(again.id(), ks.id());
}

#[test]
fn durable_is_what_was_synced() {
    let db = Db::in_memory().unwrap();
    let ks = db.keyspace("a").unwrap();
    let buffered = ks.insert("k", "1").unwrap();
    assert!(db.durable_seqno() < buffered);
    let synced = ks.insert_with("k", "2", WriteOptions::new().durability(Durability::Sync)).unwrap();
    assert_eq!(db.durable_seqno(), synced);
    let last = ks.insert("k", "3").unwrap();
    db.wait_durable(last).unwrap();
    assert_eq!(db.durable_seqno(), last);
}

#[test]
fn neighbours_and_prefixes_are_found() {
    let db = Db::in_memory().unwrap();
    let ks = db.keyspace("a").unwrap();
    for key in ["a/1", "a/2", "b/1"] {
        ks.insert(key, key.len().to_string()).unwrap();
    }

    let key =
        |entry: isopach::Result<Option<(isopach::Slice, isopach::Slice)>>| entry.unwrap().map(|(key, _)| key);
    assert_eq!(key(ks.floor("a/9")).unwrap(), b"a/2");
    assert_eq!(key(ks.ceil("a/2")).unwrap(), b"a/2");
    assert_eq!(key(ks.ceil("b/2")), None);
    assert_eq!(key(ks.floor("a")), None);
    assert!(ks.contains_prefix("b/").unwrap() && !ks.contains_prefix("c").unwrap());
    assert_eq!((ks.value_len("a/1").unwrap(), ks.value_len("x").unwrap()), (Some(1), None));
    let counts: Vec<usize> = ks.ranges(["a".."b", "b".."c"]).into_iter().map(Iterator::count).collect();
    assert_eq!(counts, [2, 1]);
    assert_eq!(ks.prefix("").count(), 3);
}

#[test]
fn a_keyspace_is_measured_without_reading_it() {
    let db = Db::in_memory().unwrap();
    let ks = db.keyspace("a").unwrap();
    for key in 0..1_000 {
        ks.insert(format!("{key:03}"), [0; 500]).unwrap();
    }
    assert_eq!((ks.approximate_len(), ks.disk_bytes()), (1_000, 0));
    db.flush().unwrap();

    assert_eq!(ks.approximate_len(), 1_000);
    let half = ks.approximate_range("500"..).unwrap();
    assert!((470..=530).contains(&half.rows) && (0.47..=0.53).contains(&half.selectivity), "{half:?}");
    assert!(half.bytes > 0 && half.bytes < ks.disk_bytes());
    let closed = ks.clone();
    drop(ks);
    db.close().unwrap();
    assert_eq!(closed.approximate_range("5"..).unwrap_err().kind(), ErrorKind::Closed);
}
