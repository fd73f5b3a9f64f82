//! Views of the past: by number, by time, and what is kept for them.

use isopach::{
    Builder, Db, ErrorKind, KeepVersions, Keyspace, KeyspaceOptions, Seqno, UnixUs,
    env::{MemFs, TestClock},
};
use std::{sync::Arc, time::Duration};
use testkit::db::{small, volatile};

const START: u64 = TestClock::START_UNIX_US;
const SECOND: Duration = Duration::from_secs(1);

fn at(files: &MemFs, clock: &TestClock) -> Builder {
    small(files.clone()).clock(Arc::new(clock.clone()))
}

fn keep(keep: KeepVersions) -> KeyspaceOptions {
    KeyspaceOptions::new().keep_versions(keep)
}

fn number(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

fn value_at(keyspace: &Keyspace, db: &Db, at: Seqno) -> Option<String> {
    let value = keyspace.at(&db.snapshot_at(at).unwrap()).get("key").unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// Everything is rewritten as a table of the last level.
fn settle(keyspace: &Keyspace, db: &Db) {
    db.flush().unwrap();
    keyspace.compact_range(..).unwrap();
}

#[test]
fn a_snapshot_of_the_past_rounds_down_to_the_end_of_a_commit() {
    let db = small(MemFs::new()).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let before = keyspace.insert("key", "0").unwrap();
    let mut batch = db.batch();
    batch.insert(&keyspace, "key", "1").insert(&keyspace, "other", "1").insert(&keyspace, "key", "2");
    let end = db.write(batch).unwrap();
    let after = keyspace.insert("key", "3").unwrap();
    assert_eq!(end.raw(), before.raw() + 3);

    let seen = |raw| (db.snapshot_at(number(raw)).unwrap().seqno(), value_at(&keyspace, &db, number(raw)));

    let is = |end: Seqno, value: &str| (end, Some(value.to_owned()));
    assert_eq!(seen(before.raw()), is(before, "0"));
    assert_eq!(seen(before.raw() + 1), is(before, "0"), "never half a batch");
    assert_eq!(seen(before.raw() + 2), is(before, "0"));
    assert_eq!(seen(end.raw()), is(end, "2"));
    assert_eq!(seen(after.raw()), is(after, "3"));
    assert_eq!(seen(after.raw() + 100), is(after, "3"), "the newest, of what is not there yet");
    assert_eq!(db.snapshot_at(Seqno::ZERO).unwrap().seqno(), Seqno::ZERO);
}

#[test]
fn a_snapshot_of_a_time_is_of_the_last_commit_until_then() {
    let (files, clock) = (MemFs::new(), TestClock::new());
    let db = at(&files, &clock).open().unwrap();
    let keyspace = db.keyspace_with("k", keep(KeepVersions::All)).unwrap();
    let mut seqnos = vec![];
    for round in 0..5 {
        clock.advance(SECOND);
        seqnos.push(keyspace.insert("key", format!("{round}")).unwrap());
    }
    clock.advance(SECOND);
    let check = |db: &Db| {
        let seqno_at = |us| db.snapshot_at_time(UnixUs(START + us)).unwrap().seqno();
        for (round, seqno) in seqnos.iter().enumerate() {
            let us = (round as u64 + 1) * 1_000_000;
            assert_eq!(seqno_at(us), *seqno);
            assert_eq!(seqno_at(us + 999_999), *seqno);
            assert!(seqno_at(us - 1) < *seqno);
        }
        assert_eq!(seqno_at(1 << 50), *seqnos.last().unwrap());
        assert_eq!(db.snapshot_at_time(UnixUs(START - 1)).unwrap().seqno(), Seqno::ZERO);
    };
    check(&db);

    settle(&keyspace, &db);
    check(&db);
    let crashed = files.deep_clone();
    drop(keyspace);
    db.close().unwrap();

    for files in [files, crashed] {
        let db = at(&files, &clock).open().unwrap();
        check(&db);
    }
}

/// What the log does not tell any more is in the manifest: batches, and those that were in no log.
#[test]
fn the_ends_of_batches_are_known_after_a_reopening() {
    for is_volatile in [false, true] {
        let files = MemFs::new();
        let db = small(files.clone()).open().unwrap();
        let keyspace = db.keyspace_with("k", keep(KeepVersions::All)).unwrap();
        let mut ends = vec![];
        for round in 0..20 {
            let mut batch = db.batch();
            (0..=round % 4).for_each(|_| _ = batch.insert(&keyspace, "key", format!("{round}")));
            let options = if is_volatile { volatile() } else { Default::default() };
            ends.push(db.write_with(batch, options).unwrap());
            if round % 6 == 5 {
                settle(&keyspace, &db);
            }
        }
        if is_volatile {
            db.flush().unwrap();
        }
        let crashed = files.deep_clone();
        drop(keyspace);
        db.close().unwrap();

        for files in [files, crashed] {
            let db = small(files).open().unwrap();
            for raw in ends[0].raw()..=ends[19].raw() {
                let exact = ends.iter().rev().find(|end| end.raw() <= raw).unwrap();
                assert_eq!(db.snapshot_at(number(raw)).unwrap().seqno(), *exact, "{is_volatile}");
            }
        }
    }
}

#[test]
fn what_was_dropped_cannot_be_seen() {
    let db = small(MemFs::new()).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let old = keyspace.insert("key", "old").unwrap();
    let new = keyspace.insert("key", "new").unwrap();

    settle(&keyspace, &db);

    let error = db.snapshot_at(old).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SnapshotTooOld);
    assert!(error.to_string().contains("\"k\""), "{error}");
    assert_eq!(value_at(&keyspace, &db, new).as_deref(), Some("new"));
    assert_eq!(db.stats().open_snapshots, 0, "none is held by a refusal");
}

#[test]
fn a_keyspace_that_keeps_all_versions_can_be_seen_as_it_ever_was() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let keyspace = db.keyspace_with("k", keep(KeepVersions::All)).unwrap();
    let mut seqnos = vec![];
    for round in 0..30 {
        seqnos.push(keyspace.insert("key", format!("{round}")).unwrap());
        if round % 10 == 9 {
            settle(&keyspace, &db);
        }
    }
    keyspace.remove("key").unwrap();
    settle(&keyspace, &db);
    drop(keyspace);
    db.close().unwrap();

    let db = small(files).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    assert_eq!(keyspace.options().keep_versions, KeepVersions::All);
    for (round, seqno) in seqnos.iter().enumerate() {
        assert_eq!(value_at(&keyspace, &db, *seqno), Some(round.to_string()));
    }
    assert_eq!(keyspace.get("key").unwrap(), None);
}

#[test]
fn what_is_older_than_is_kept_goes() {
    let clock = TestClock::new();
    let db = at(&MemFs::new(), &clock).open().unwrap();
    let keyspace = db.keyspace_with("k", keep(KeepVersions::For(10 * SECOND))).unwrap();
    let mut seqnos = vec![];
    for round in 0..30 {
        clock.advance(SECOND);
        seqnos.push(keyspace.insert("key", format!("{round}")).unwrap());
        settle(&keyspace, &db);
    }

    // Ten seconds before the last one that of round 19 was the newest.
    for (round, seqno) in seqnos.iter().enumerate().skip(19) {
        assert_eq!(value_at(&keyspace, &db, *seqno), Some(round.to_string()));
    }
    assert_eq!(db.snapshot_at(seqnos[10]).unwrap_err().kind(), ErrorKind::SnapshotTooOld);
    let entries = db.stats().keyspaces[0].tree.levels.iter().map(|(_, level)| level.entries).sum::<u64>();
    assert!((11..=13).contains(&entries), "{entries}");
}

#[test]
fn how_long_versions_are_kept_changes_while_in_use() {
    let clock = TestClock::new();
    let db = at(&MemFs::new(), &clock).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    keyspace.set_options(|options| options.keep_versions = KeepVersions::All).unwrap();
    let old = keyspace.insert("key", "old").unwrap();
    keyspace.insert("key", "new").unwrap();
    settle(&keyspace, &db);
    assert_eq!(value_at(&keyspace, &db, old).as_deref(), Some("old"));

    keyspace.set_options(|options| options.keep_versions = KeepVersions::Needed).unwrap();
    keyspace.insert("key", "newer").unwrap();
    settle(&keyspace, &db);

    assert_eq!(db.snapshot_at(old).unwrap_err().kind(), ErrorKind::SnapshotTooOld);
}

#[test]
fn a_snapshot_of_the_past_is_kept_from_jobs_that_begin_later() {
    let db = small(MemFs::new()).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let old = keyspace.insert("key", "old").unwrap();
    keyspace.insert("key", "new").unwrap();

    let snapshot = db.snapshot_at(old).unwrap();
    settle(&keyspace, &db);

    assert_eq!(keyspace.at(&snapshot).get("key").unwrap().as_deref(), Some(&b"old"[..]));
}

#[test]
fn health_tells_of_the_snapshot_that_sees_least() {
    let clock = TestClock::new();
    let db = at(&MemFs::new(), &clock).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    assert_eq!(db.health().oldest_view, None);
    let first = db.snapshot();
    clock.advance(7 * SECOND);
    keyspace.insert("key", "value").unwrap();
    let second = db.snapshot();
    clock.advance(SECOND);

    let oldest = db.health().oldest_view.unwrap();
    assert_eq!((oldest.seqno, oldest.age), (first.seqno(), 8 * SECOND));
    drop(first);
    let oldest = db.health().oldest_view.unwrap();
    assert_eq!((oldest.seqno, oldest.age), (second.seqno(), SECOND));
}
