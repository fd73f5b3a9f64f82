//! Clearing a keyspace: everything goes at once, and for good.

use isopach::{
    Db, ErrorKind, Keyspace, Seqno,
    env::{FaultFs, MemFs, sync::set_point},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use testkit::db::{Quiet, SOON, entries, files_in, small, tiny_tables, volatile, wait_until};

/// Entries in several levels, in a memtable that waits, and in the one that takes more.
fn fill(db: &Db, keyspace: &Keyspace, value: &str) {
    for round in 0..3 {
        for n in 0..40_u32 {
            keyspace.insert(n.to_be_bytes(), format!("{value}{round}")).unwrap();
        }
        match round {
            0 => keyspace.compact_range(..).unwrap(),
            1 => db.flush().unwrap(),
            _ => {}
        }
    }
}

fn value(keyspace: &Keyspace, key: u32) -> Option<String> {
    let value = keyspace.get(key.to_be_bytes()).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn a_keyspace_is_empty_when_it_was_cleared_and_others_are_not() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let (keyspace, other) = (db.keyspace("k").unwrap(), db.keyspace("other").unwrap());
    fill(&db, &keyspace, "old");
    other.insert("key", "value").unwrap();
    db.wait_idle(SOON).unwrap();
    assert!(!files_in(&files, "tables").is_empty());

    let cleared = keyspace.clear().unwrap();

    assert_eq!(cleared, db.seqno());
    assert_eq!(db.durable_seqno(), cleared);
    assert!(keyspace.is_empty().unwrap());
    assert_eq!((keyspace.approximate_len(), keyspace.disk_bytes()), (0, 0));
    assert_eq!(other.get("key").unwrap().unwrap(), b"value");
    db.wait_idle(SOON).unwrap();
    assert!(files_in(&files, "tables").is_empty(), "its files are gone, and other has none");
    keyspace.insert([1], "new").unwrap();
    assert_eq!(keyspace.count(..).unwrap(), 1);
    keyspace.clear().unwrap();
    keyspace.clear().unwrap();
    assert!(keyspace.is_empty().unwrap());
}

#[test]
fn what_was_cleared_does_not_come_back() {
    for is_durable in [false, true] {
        let files = MemFs::new();
        let db = small(files.clone()).open().unwrap();
        let keyspace = db.keyspace("k").unwrap();
        fill(&db, &keyspace, "old");
        keyspace.insert_with("volatile", "old", volatile()).unwrap();
        keyspace.clear().unwrap();
        keyspace.insert(7_u32.to_be_bytes(), "new").unwrap();
        if is_durable {
            db.flush().unwrap();
        }
        let crashed = files.deep_clone();
        drop(keyspace);
        db.close().unwrap();

        for files in [files, crashed] {
            let read = small(files.clone()).open_read_only().unwrap();
            assert_eq!(read.keyspace("k").unwrap().count(..).unwrap(), 1);
            drop(read);
            let db = small(files).open().unwrap();
            let keyspace = db.keyspace("k").unwrap();
            assert_eq!((keyspace.count(..).unwrap(), value(&keyspace, 7)), (1, Some("new".into())));
        }
    }
}

#[test]
fn snapshots_see_what_was_there_before_and_nobody_else_does() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let mut snapshots = vec![];
    for round in 0..4 {
        fill(&db, &keyspace, &format!("{round}-"));
        snapshots.push((db.snapshot(), entries(&keyspace)));
        keyspace.clear().unwrap();
        snapshots.push((db.snapshot(), BTreeMap::new()));
    }
    keyspace.insert("key", "value").unwrap();
    db.flush().unwrap();
    keyspace.compact_range(..).unwrap();

    for (snapshot, expected) in &snapshots {
        assert_eq!(entries(&keyspace.at(snapshot)), *expected);
    }
    let old = snapshots[0].0.seqno();
    assert_eq!(db.snapshot_at(old).unwrap_err().kind(), ErrorKind::SnapshotTooOld);
    db.drop_keyspace("k").unwrap();
    while let Some((snapshot, expected)) = snapshots.pop() {
        assert_eq!(
            entries(&keyspace.at(&snapshot)),
            expected,
            "of a keyspace that was dropped after it was cleared"
        );
    }
    db.wait_idle(SOON).unwrap();
    assert!(files_in(&files, "tables").is_empty(), "the last snapshot let the files go");
}

/// A crash at the point where the record is durable and the edit was not made.
#[test]
fn a_clearing_whose_edit_is_missing_is_made_by_the_replay() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    fill(&db, &keyspace, "old");
    let crashed: Arc<Mutex<Option<MemFs>>> = Arc::default();
    let (images, place) = (files.clone(), Arc::clone(&crashed));
    let me = thread::current().id();
    let hook = move || {
        if thread::current().id() == me {
            *place.lock().unwrap() = Some(images.deep_clone());
        }
    };
    let point = set_point("keyspace.before_edit", Box::new(hook));
    keyspace.clear().unwrap();
    drop(point);

    let files = crashed.lock().unwrap().take().expect("the point was passed");

    let read = small(files.deep_clone()).open_read_only().unwrap();
    assert!(read.keyspace("k").unwrap().is_empty().unwrap());
    let db = small(files.clone()).open().unwrap();
    assert!(db.keyspace("k").unwrap().is_empty().unwrap());
    db.wait_idle(SOON).unwrap();
    assert!(files_in(&files, "tables").is_empty());
}

/// Each thread writes keys of its own, and knows the number of each. Flushes and compactions run beside.
#[test]
fn of_writes_beside_it_those_before_go_and_those_after_stay() {
    const THREADS: u32 = 3;
    let db = small(MemFs::new()).listener(Quiet).open().unwrap();
    let keyspace = db.keyspace_with("k", tiny_tables()).unwrap();
    let is_done = AtomicBool::new(false);
    let mut cleared = Seqno::ZERO;
    let written: Vec<(Vec<u8>, Seqno)> = thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (db, keyspace, is_done) = (&db, &keyspace, &is_done);
                scope.spawn(move || {
                    let mut written = vec![];
                    for n in 0.. {
                        if is_done.load(Ordering::Relaxed) {
                            break;
                        }
                        let key = [thread.to_be_bytes(), u32::to_be_bytes(n)].concat();
                        let seqno = match n % 50 {
                            49 => {
                                let mut batch = db.batch();
                                batch.insert(keyspace, &key, [7; 200]).insert(
                                    keyspace,
                                    &key,
                                    vec![8; 20 << 10],
                                );
                                db.write(batch).unwrap()
                            }
                            _ => keyspace.insert(&key, [7; 200]).unwrap(),
                        };
                        written.push((key, seqno));
                    }
                    written
                })
            })
            .collect();
        for _ in 0..30 {
            let from = db.seqno().raw() + 300;
            wait_until("some are written", || db.seqno().raw() >= from);
            let before = keyspace.get("none").unwrap();
            assert_eq!(before, None);
            cleared = keyspace.clear().unwrap();
        }
        let from = cleared.raw() + 300;
        wait_until("some are written", || db.seqno().raw() >= from);
        is_done.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });

    let mut expected: Vec<Vec<u8>> =
        written.into_iter().filter(|(_, seqno)| *seqno > cleared).map(|(key, _)| key).collect();
    expected.sort();
    let found: Vec<Vec<u8>> = entries(&keyspace).into_keys().collect();
    assert_eq!(found, expected);
    db.wait_idle(SOON).unwrap();
    assert_eq!(entries(&keyspace).into_keys().collect::<Vec<_>>(), expected);
    assert!(db.health().background_error.is_none());
}

/// Who sees that it is empty sees it in a snapshot taken after that too, and who sees it full beside a number does so
/// again.
#[test]
fn nobody_sees_a_clearing_half_way() {
    let db = small(MemFs::new()).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = || {
            let mut newest = 0;
            while !is_done.load(Ordering::Relaxed) {
                let read = keyspace.get("key").unwrap();
                let snapshot = db.snapshot();
                let first = keyspace.at(&snapshot).get("key").unwrap();
                let again = keyspace.at(&snapshot).get("key").unwrap();
                assert_eq!(first, again, "a snapshot stays as it is");
                let number = |value: &Option<isopach::Slice>| {
                    value.as_ref().map(|value| u64::from_be_bytes(value[..].try_into().unwrap()))
                };
                // Numbers rise, and between two of them the keyspace is empty.
                let (read, seen) = (number(&read), number(&first));
                assert!(read.is_none_or(|read| read >= newest));
                newest = newest.max(read.map_or(0, |read| read)).max(seen.unwrap_or(0));
                assert!(seen.is_none_or(|seen| read.is_none_or(|read| seen >= read)));
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for n in 1..2000_u64 {
            keyspace.insert("key", n.to_be_bytes()).unwrap();
            keyspace.clear().unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// The manifest has space reserved ahead; when that is used up a record may go through and its edit not.
#[test]
fn a_clearing_that_failed_half_way_changes_nothing_and_is_ended_by_another() {
    let medium = MemFs::new();
    let files = FaultFs::new(Arc::new(medium.clone()));
    let db = small(files.clone()).listener(Quiet).open().unwrap();
    let (keyspace, other) = (db.keyspace("k").unwrap(), db.keyspace("other").unwrap());
    fill(&db, &keyspace, "old");
    db.wait_idle(SOON).unwrap();
    let before = entries(&keyspace);
    let is_full = "call=allocate name=MANIFEST* fault=fail:ENOSPC";
    files.arm(is_full.parse().unwrap());
    while other.set_options(|options| options.table_bytes += 1).is_ok() {}

    let error = keyspace.clear().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    assert_eq!(entries(&keyspace), before);
    let snapshot = db.snapshot();
    let refused = keyspace.insert("key", "value").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy, "what is written now would go with the rest after a crash");
    other.insert("key", "value").unwrap();
    assert_eq!(keyspace.clear().unwrap_err().kind(), ErrorKind::OutOfSpace);
    let crashed = medium.deep_clone();
    files.disarm();
    let cleared = keyspace.clear().unwrap();
    keyspace.insert("key", "value").unwrap();
    assert_eq!(keyspace.count(..).unwrap(), 1);
    assert_eq!(entries(&keyspace.at(&snapshot)), before, "until then it was not cleared");
    assert!(snapshot.seqno() < cleared);

    let db = small(crashed).open().unwrap();
    assert!(db.keyspace("k").unwrap().is_empty().unwrap(), "the replay makes what the record says");
    assert_eq!(db.keyspace("other").unwrap().count(..).unwrap(), 1);
    db.keyspace("k").unwrap().insert("key", "value").unwrap();
}
