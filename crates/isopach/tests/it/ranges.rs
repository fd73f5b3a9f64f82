//! Deletes of ranges and prefixes, and weak deletes.

use isopach::{Db, ErrorKind, Keyspace, VerifyDepth, VerifyOptions, env::MemFs};
use std::{
    ops::Bound,
    time::{Duration, Instant},
};
use testkit::db::{SOON, entries, merging_tables, small};

fn open(files: &MemFs) -> (Db, Keyspace) {
    let db = small(files.clone()).open().unwrap();
    let keyspace = db.keyspace_with("k", merging_tables()).unwrap();
    (db, keyspace)
}

fn key(n: u32) -> Vec<u8> {
    format!("key{n:06}").into_bytes()
}

fn fill(keyspace: &Keyspace, numbers: impl IntoIterator<Item = u32>) {
    for n in numbers {
        keyspace.insert(key(n), [7; 100]).unwrap();
    }
}

fn keys(keyspace: &Keyspace) -> Vec<String> {
    entries(keyspace).into_keys().map(|key| String::from_utf8(key).unwrap()).collect()
}

fn verify(db: &Db) {
    let report = db.verify(VerifyOptions::new().depth(VerifyDepth::Full)).unwrap();
    assert!(report.found.is_empty(), "{:?}", report.found);
}

#[test]
fn a_range_delete_hides_what_is_older_wherever_that_lies() {
    let files = MemFs::new();
    let (db, ks) = open(&files);
    ks.insert("a", "table").unwrap();
    ks.insert("m", "table").unwrap();
    db.flush().unwrap();
    ks.insert("b", "sealed").unwrap();
    ks.remove_range("a".."m").unwrap();
    ks.insert("c", "newer").unwrap();

    for step in ["in memory", "flushed", "compacted"] {
        assert_eq!(keys(&ks), ["c", "m"], "{step}");
        let reverse: Vec<_> = ks.iter().rev().map(|entry| entry.unwrap().0.to_vec()).collect();
        assert_eq!(reverse, [b"m", b"c"], "{step}");
        assert_eq!((ks.get("a").unwrap(), ks.get("b").unwrap()), (None, None), "{step}");
        verify(&db);
        match step {
            "in memory" => db.flush().unwrap(),
            _ => ks.compact_range(..).unwrap(),
        }
    }
    assert_eq!(ks.stats().tree.tombstones, 0, "nothing is left to hide");
    drop((ks, db));
    let (_, ks) = open(&files);
    assert_eq!(keys(&ks), ["c", "m"]);
}

#[test]
fn every_form_of_a_range_deletes_the_keys_in_it() {
    /// A range, and what it leaves.
    type Case<'a> = ((Bound<&'a str>, Bound<&'a str>), &'a [&'a str]);
    let all = ["", "a", "b", "b\0", "c", "\u{7f}"];
    let cases: [Case<'_>; 7] = [
        ((Bound::Unbounded, Bound::Unbounded), &[]),
        ((Bound::Included("a"), Bound::Excluded("c")), &["", "c", "\u{7f}"]),
        ((Bound::Included("a"), Bound::Included("b")), &["", "b\0", "c", "\u{7f}"]),
        ((Bound::Excluded("a"), Bound::Included("b")), &["", "a", "b\0", "c", "\u{7f}"]),
        ((Bound::Excluded("b"), Bound::Unbounded), &["", "a", "b"]),
        ((Bound::Unbounded, Bound::Excluded("a")), &["a", "b", "b\0", "c", "\u{7f}"]),
        ((Bound::Included("b"), Bound::Excluded("b")), &all),
    ];
    for (range, left) in cases {
        for is_flushed in [false, true] {
            let (db, ks) = open(&MemFs::new());
            for key in &all {
                ks.insert(key, "v").unwrap();
            }
            if is_flushed {
                db.flush().unwrap();
            }
            ks.remove_range(range).unwrap();
            assert_eq!(keys(&ks), left, "{range:?}");
        }
    }
    let (_, ks) = open(&MemFs::new());
    assert_eq!(ks.remove_range("b".."a").unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_prefix_of_nothing_or_of_greatest_bytes_is_deleted_whole() {
    let all: [&[u8]; 6] = [b"", b"a", b"a\xff", b"a\xff\xff", b"\xff", b"\xff\xffx"];
    let cases: [(&[u8], &[&[u8]]); 4] = [
        (b"", &[]),
        (b"a\xff", &[b"", b"a", b"\xff", b"\xff\xffx"]),
        (b"\xff", &[b"", b"a", b"a\xff", b"a\xff\xff"]),
        (b"\xff\xff", &[b"", b"a", b"a\xff", b"a\xff\xff", b"\xff"]),
    ];
    for (prefix, left) in cases {
        let (_, ks) = open(&MemFs::new());
        for key in &all {
            ks.insert(key, "v").unwrap();
        }
        ks.remove_prefix(prefix).unwrap();
        assert_eq!(entries(&ks).into_keys().collect::<Vec<_>>(), left, "{prefix:?}");
    }
}

#[test]
fn of_a_batch_a_range_delete_hides_what_came_before_it_and_not_what_comes_after() {
    let files = MemFs::new();
    let (db, ks) = open(&files);
    let other = db.keyspace("other").unwrap();
    other.insert("b", "other").unwrap();
    let mut batch = db.batch();
    batch.insert(&ks, "a", "1").insert(&ks, "b", "1").remove_range(&ks, "a".."c").insert(&ks, "b", "2");
    db.write(batch).unwrap();

    assert_eq!(entries(&ks).into_iter().collect::<Vec<_>>(), [(b"b".into(), b"2".into())]);
    assert_eq!(other.get("b").unwrap().as_deref(), Some(&b"other"[..]));
}

#[test]
fn a_snapshot_sees_into_a_hole_until_it_goes() {
    let (db, ks) = open(&MemFs::new());
    fill(&ks, 0..200);
    let before = db.snapshot();
    ks.remove_range(key(50)..key(150)).unwrap();
    fill(&ks, [100]);
    db.flush().unwrap();
    ks.compact_range(..).unwrap();

    assert_eq!((ks.count(..).unwrap(), ks.at(&before).count(..).unwrap()), (101, 200));
    assert_eq!(ks.at(&before).range(key(50)..key(150)).rev().count(), 100);
    drop(before);
    ks.compact_range(..).unwrap();
    assert_eq!((ks.approximate_len(), ks.stats().tree.tombstones), (101, 0));
}

#[test]
fn a_merge_on_a_deleted_range_does_not_bring_back_what_was_there() {
    let (db, ks) = open(&MemFs::new());
    ks.insert("k", "old").unwrap();
    db.flush().unwrap();
    ks.compact_range(..).unwrap();
    ks.remove_range("a".."z").unwrap();
    ks.merge("k", "new").unwrap();

    for _ in 0..2 {
        assert_eq!(ks.get("k").unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(entries(&ks).len(), 1);
        db.flush().unwrap();
        ks.compact_range(..).unwrap();
    }
}

#[test]
fn tables_that_a_range_delete_covers_go_without_being_read() {
    let (db, ks) = open(&MemFs::new());
    fill(&ks, 0..5_000);
    db.flush().unwrap();
    ks.compact_range(..).unwrap();
    db.wait_idle(SOON).unwrap();
    let before = ks.stats().tree;
    ks.remove_range(..).unwrap();
    db.flush().unwrap();
    db.wait_idle(SOON).unwrap();

    let after = ks.stats().tree;
    assert_eq!(after.compaction_read_bytes, before.compaction_read_bytes, "nothing was read");
    assert!(ks.disk_bytes() < 10_000, "{} bytes are left", ks.disk_bytes());
    assert!(ks.is_empty().unwrap());
}

/// A scan that went over the deleted keys one by one took seconds.
#[test]
fn a_scan_into_a_hole_of_a_million_keys_does_not_go_over_them() {
    const KEYS: u32 = 1_000_000;
    let files = MemFs::new();
    let db = Db::builder("db").env(testkit::db::env_of(files)).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    for chunk in 0..KEYS / 10_000 {
        let mut batch = db.batch();
        for n in 0..10_000 {
            batch.insert(&ks, key(chunk * 10_000 + n), "v");
        }
        db.write(batch).unwrap();
    }
    let quick = |what: &str| {
        let start = Instant::now();
        for _ in 0..100 {
            let inside = key(10);
            assert_eq!(&ks.ceil(&inside).unwrap().unwrap().0[..], key(KEYS - 1), "{what}");
            assert_eq!(&ks.floor(key(KEYS - 2)).unwrap().unwrap().0[..], key(0), "{what}");
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{what}: {:?}", start.elapsed());
    };
    ks.remove_range(key(1)..key(KEYS - 1)).unwrap();
    quick("in memory");
    db.flush().unwrap();
    quick("flushed");
    ks.compact_range(..).unwrap();
    quick("compacted");
}

#[test]
fn a_weak_delete_and_what_it_deletes_vanish_when_they_meet_in_any_level() {
    let (db, ks) = open(&MemFs::new());
    ks.insert("zz", "in the last level").unwrap();
    db.flush().unwrap();
    ks.compact_range(..).unwrap();
    ks.insert("k", "v").unwrap();
    db.flush().unwrap();
    ks.remove_weak("k").unwrap();
    assert_eq!(ks.get("k").unwrap(), None);
    db.flush().unwrap();
    assert_eq!(ks.get("k").unwrap(), None);
    ks.compact_range(.."l").unwrap();

    assert_eq!((ks.approximate_len(), ks.stats().tree.tombstones), (1, 0));
    assert_eq!(keys(&ks), ["zz"]);
}
