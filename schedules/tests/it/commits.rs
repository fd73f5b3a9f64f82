//! The commit pipeline: groups, their order, what is visible of it, and the error of a failed sync.

use crate::database::{Written, keys, unless_closed, visible_at, write};
use isopach::{
    Db, Durability, ErrorKind, Keyspace, Seqno, WriteOptions,
    env::{Call, CrashFs, Errno, Fault, FaultFs, Fs, MemFs, Rule, Survival},
};
use isopach_schedules::{FOR_EVER, Work, explore, tiny, together, work};
use shuttle::{rand::Rng, thread};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Three writers make groups; a watcher takes snapshots between. Each holds exactly the commits up to its
/// number, now and when all is over.
fn write_and_watch() {
    let db = tiny(Arc::new(MemFs::new())).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let written = Written::default();
    let writer = |name: &'static str, durability: [Durability; 2]| {
        let (db, ks, written) = (db.clone(), ks.clone(), Arc::clone(&written));
        work(move || {
            for (round, durability) in durability.into_iter().enumerate() {
                write(&db, &ks, &format!("{name}{round}"), durability, &written);
            }
        })
    };
    let watched = Arc::new(Mutex::new(Vec::new()));
    let watcher = {
        let (db, ks, watched) = (db.clone(), ks.clone(), Arc::clone(&watched));
        work(move || {
            for _ in 0..4 {
                let snapshot = db.snapshot();
                let seen = keys(&ks.at(&snapshot));
                watched.lock().unwrap().push((snapshot, seen));
            }
        })
    };
    together([
        writer("a", [Durability::Buffered, Durability::Sync]),
        writer("b", [Durability::Sync, Durability::Buffered]),
        writer("c", [Durability::Buffered, Durability::Buffered]),
        watcher,
    ]);

    for (snapshot, seen) in watched.lock().unwrap().drain(..) {
        let expected = visible_at(&written, snapshot.seqno());
        assert_eq!(seen, expected, "INV-WAL-2: all up to {} is applied", snapshot.seqno());
        assert_eq!(keys(&ks.at(&snapshot)), expected, "a snapshot stays as it is");
    }
    let numbers: BTreeSet<Seqno> = written.lock().unwrap().values().copied().collect();
    assert_eq!(numbers.len(), 6, "a number is given once");
    drop(ks);
    db.close_within(FOR_EVER).unwrap();
}

#[test]
fn what_is_visible_never_passes_a_commit_that_is_not_applied() {
    explore("commits, visibility", 40, write_and_watch);
}

/// Batches over two keyspaces beside readers, who see each whole or not at all.
fn read_beside_batches() {
    let db = tiny(Arc::new(MemFs::new())).open().unwrap();
    let (a, b) = (db.keyspace("a").unwrap(), db.keyspace("b").unwrap());
    let writer = |name: &'static str, value_bytes| {
        let (db, a, b) = (db.clone(), a.clone(), b.clone());
        work(move || {
            for round in 0..2 {
                let key = format!("{name}{round}");
                let value = format!("{key:.<value_bytes$}");
                let mut batch = db.batch();
                batch.insert(&a, &key, &value);
                batch.insert(&b, &key, &value);
                db.write(batch).unwrap();
            }
        })
    };
    let reader = {
        let (db, a, b) = (db.clone(), a.clone(), b.clone());
        work(move || {
            for _ in 0..3 {
                let snapshot = db.snapshot();
                assert_eq!(keys(&a.at(&snapshot)), keys(&b.at(&snapshot)), "half of a batch");
            }
        })
    };
    // One of them writes memtables of their own.
    together([writer("x", 2), writer("y", 2), writer("z", 9 << 10), reader]);
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    explore("commits, batches", 30, read_beside_batches);
}

/// One sync of the log fails beneath three writers.
struct Failing {
    db: Db,
    ks: Keyspace,
    written: Written,
    /// A writer has heard of the failure.
    is_known: Arc<AtomicBool>,
}

impl Failing {
    fn writer(&self, name: &'static str) -> Work {
        let (ks, written) = (self.ks.clone(), Arc::clone(&self.written));
        let is_known = Arc::clone(&self.is_known);
        work(move || {
            for round in 0..3 {
                let key = format!("{name}{round}");
                let was_known = is_known.load(Ordering::SeqCst);
                match ks.insert_with(&key, &key, WriteOptions::new().durability(Durability::Sync)) {
                    Ok(seqno) => {
                        assert!(!was_known, "INV-WAL-3: {key} is acknowledged after a failed sync");
                        written.lock().unwrap().insert(key.into(), seqno);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
                        is_known.store(true, Ordering::SeqCst);
                    }
                }
            }
        })
    }
}

fn fail_a_sync() {
    let disk = CrashFs::new();
    let faults = FaultFs::new(Arc::new(disk.clone()));
    let db = tiny(Arc::new(faults.clone())).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let fault = Rule::new(Fault::FailThenLie).on(Call::Sync).named("wal/*").times(1);
    let fault = if shuttle::rand::thread_rng().gen_bool(0.5) {
        fault
    } else {
        fault.skip(shuttle::rand::thread_rng().gen_range(1..4))
    };
    faults.arm(fault);
    let failing = Failing { db, ks, written: Written::default(), is_known: Arc::default() };
    together([failing.writer("a"), failing.writer("b"), failing.writer("c")]);

    let Failing { db, ks, written, is_known } = failing;
    assert!(is_known.load(Ordering::SeqCst) || written.lock().unwrap().len() == 9);
    let durable = db.durable_seqno();
    drop(ks);
    let closed = db.close_within(FOR_EVER);
    // The sync that fails may be that of closing.
    assert!(closed.is_err() || !is_known.load(Ordering::SeqCst), "what failed is told");
    let db = tiny(Arc::new(disk.crash_with(Survival::Nothing, 0))).open().unwrap();
    let found = keys(&db.keyspace("k").unwrap());
    for (key, seqno) in &*written.lock().unwrap() {
        assert!(*seqno <= durable && found.contains(key), "{key:?} was acknowledged as durable and is gone");
    }
}

#[test]
fn a_failed_sync_reaches_every_waiter_and_nothing_later_is_durable() {
    explore("commits, failed sync", 40, fail_a_sync);
}

/// Writes of the log fail, one or two in a row, beneath three writers. Each commit is there if its call said so and
/// else is not, whoever wrote its group.
fn fail_a_group() {
    let disk = MemFs::new();
    let faults = FaultFs::new(Arc::new(disk.clone()));
    let db = tiny(Arc::new(faults.clone())).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let times = shuttle::rand::thread_rng().gen_range(1..3);
    let skip = shuttle::rand::thread_rng().gen_range(0..4);
    faults.arm(Rule::new(Fault::Fail(Errno::NoSpace)).on(Call::Write).named("wal/*").skip(skip).times(times));
    let written = Written::default();
    let writer = |name: &'static str| {
        let (ks, written) = (ks.clone(), Arc::clone(&written));
        work(move || {
            for round in 0..3 {
                let key = format!("{name}{round}");
                match ks.insert(&key, &key) {
                    Ok(seqno) => drop(written.lock().unwrap().insert(key.into(), seqno)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}"),
                }
            }
        })
    };
    together([writer("a"), writer("b"), writer("c")]);

    let expected = visible_at(&written, Seqno::MAX);
    assert_eq!(keys(&ks), expected, "what failed is not there, and all else is");
    let db = tiny(Arc::new(disk.deep_clone())).open().unwrap();
    assert_eq!(keys(&db.keyspace("k").unwrap()), expected, "so it is in the log");
}

#[test]
fn a_failed_group_is_no_commit_of_any_member() {
    explore("commits, failed group", 40, fail_a_group);
}

/// Records that fill the segments of a mapped log wait for the next one to begin, beside others that would have room.
fn fill_segments() {
    let disk = MemFs::new();
    let db = tiny(Arc::new(disk.clone())).mapped_log(true).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let written = Written::default();
    let writer = |name: &'static str, value_bytes: usize| {
        let (ks, written) = (ks.clone(), Arc::clone(&written));
        work(move || {
            for round in 0..3 {
                let key = format!("{name}{round}");
                let seqno = ks.insert(&key, key.repeat(value_bytes)).unwrap();
                written.lock().unwrap().insert(key.into(), seqno);
            }
        })
    };
    together([writer("long", 5 << 10), writer("a", 1), writer("b", 1)]);

    let expected = visible_at(&written, Seqno::MAX);
    assert_eq!(keys(&ks), expected);
    let db = tiny(Arc::new(disk.deep_clone())).open().unwrap();
    assert_eq!(keys(&db.keyspace("k").unwrap()), expected, "all of it is in the log");
}

#[test]
fn a_record_that_waits_is_not_overtaken() {
    explore("commits, full segments", 20, fill_segments);
}

/// Writers fill their part of the memory, and wait for flushes to free it. No wake-up may be lost: here no
/// wait ends by itself.
fn wait_for_memory() {
    let db = tiny(Arc::new(MemFs::new())).memory_budget(128 << 10).cache_bytes(32 << 10).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let writer = |name: &'static str| {
        let ks = ks.clone();
        work(move || {
            for round in 0..4 {
                ks.insert(format!("{name}{round}"), vec![b'v'; 24 << 10]).unwrap();
            }
        })
    };
    together([writer("a"), writer("b"), writer("c")]);

    assert_eq!(ks.count(..).unwrap(), 12);
    db.wait_idle(FOR_EVER).unwrap();
}

#[test]
fn writers_that_wait_for_memory_go_on() {
    explore("commits, memory", 10, wait_for_memory);
}

/// Keyspaces are dropped and made while others write to them: a write is in the keyspace that it names, or
/// refused.
fn drop_a_keyspace_beside_writers() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let db = tiny(Arc::clone(&fs)).open().unwrap();
    let (old, other) = (db.keyspace("k").unwrap(), db.keyspace("other").unwrap());
    let refused = |result: isopach::Result<Seqno>| match result {
        Err(error) if error.kind() == ErrorKind::KeyspaceDropped => true,
        result => result.is_err(),
    };
    let writer = {
        let (db, old, other) = (db.clone(), old.clone(), other.clone());
        work(move || {
            let mut is_dropped = false;
            for key in ["a", "b", "c"] {
                let mut batch = db.batch();
                batch.insert(&old, key, key);
                batch.insert(&other, key, key);
                let is_refused = refused(db.write(batch));
                assert!(is_refused || !is_dropped, "a keyspace comes back");
                is_dropped = is_refused;
                assert_eq!(other.get(key).unwrap().is_some(), !is_refused, "a batch is refused whole");
            }
        })
    };
    let dropper = {
        let db = db.clone();
        work(move || {
            let snapshot = db.snapshot();
            let before = keys(&old.at(&snapshot));
            assert!(db.drop_keyspace("k").unwrap());
            let new = db.keyspace("k").unwrap();
            assert!(new.is_empty().unwrap() && new.id() != old.id());
            assert_eq!(keys(&old.at(&snapshot)), before, "a snapshot outlives the drop");
            write(&db, &new, "new", Durability::Buffered, &Written::default());
        })
    };
    together([writer, dropper]);

    let expected = keys(&other);
    drop(other);
    db.close_within(FOR_EVER).unwrap();
    let db = tiny(fs).open().unwrap();
    assert_eq!(keys(&db.keyspace("k").unwrap()), [b"new"]);
    assert_eq!(keys(&db.keyspace("other").unwrap()), expected);
}

#[test]
fn a_drop_takes_its_place_among_commits() {
    explore("commits, dropped keyspace", 20, drop_a_keyspace_beside_writers);
}

/// A keyspace is cleared beside writers and a reader: what comes before goes, what comes after stays, and each view is of
/// one side.
fn clear_a_keyspace_beside_writers() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let db = tiny(Arc::clone(&fs)).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let written = Written::default();
    let cleared = Arc::new(Mutex::new(vec![Seqno::ZERO]));
    let writer = |name: &'static str, value_bytes| {
        let (ks, written) = (ks.clone(), Arc::clone(&written));
        work(move || {
            for round in 0..3 {
                let key = format!("{name}{round}");
                let seqno = ks.insert(&key, format!("{key:.<value_bytes$}")).unwrap();
                written.lock().unwrap().insert(key.into(), seqno);
            }
        })
    };
    let clearer = {
        let (db, ks, cleared) = (db.clone(), ks.clone(), Arc::clone(&cleared));
        work(move || {
            for _ in 0..2 {
                let snapshot = db.snapshot();
                let before = keys(&ks.at(&snapshot));
                let seqno = ks.clear().unwrap();
                cleared.lock().unwrap().push(seqno);
                assert_eq!(keys(&ks.at(&snapshot)), before, "a snapshot outlives the clearing");
            }
        })
    };
    let watched = Arc::new(Mutex::new(Vec::new()));
    let watcher = {
        let (db, ks, watched) = (db.clone(), ks.clone(), Arc::clone(&watched));
        work(move || {
            for _ in 0..3 {
                keys(&ks);
                let snapshot = db.snapshot();
                let seen = keys(&ks.at(&snapshot));
                watched.lock().unwrap().push((snapshot, seen));
            }
        })
    };
    // One of them fills memtables.
    together([writer("a", 2), writer("b", 5 << 10), clearer, watcher]);

    let expected = |at: Seqno| {
        let since = *cleared.lock().unwrap().iter().rev().find(|cleared| **cleared <= at).unwrap();
        let written = written.lock().unwrap();
        let seen = written.iter().filter(|(_, seqno)| (since..=at).contains(*seqno));
        seen.map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    for (snapshot, seen) in watched.lock().unwrap().drain(..) {
        assert_eq!(seen, expected(snapshot.seqno()), "INV-WAL-9, at {}", snapshot.seqno());
        assert_eq!(keys(&ks.at(&snapshot)), seen, "a snapshot stays as it is");
    }
    let expected = expected(db.seqno());
    assert_eq!(keys(&ks), expected);
    drop(ks);
    db.close_within(FOR_EVER).unwrap();
    let db = tiny(fs).open().unwrap();
    assert_eq!(keys(&db.keyspace("k").unwrap()), expected);
}

#[test]
fn a_clearing_takes_its_place_among_commits() {
    explore("commits, cleared keyspace", 30, clear_a_keyspace_beside_writers);
}

/// A handle closes the database while others write, read, and flush.
fn close_beside_calls() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let db = tiny(Arc::clone(&fs)).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let writer = |name: &'static str, durability: Durability| {
        let (ks, acknowledged) = (ks.clone(), Arc::clone(&acknowledged));
        work(move || {
            for round in 0..3 {
                let key = format!("{name}{round}");
                let options = WriteOptions::new().durability(durability);
                if unless_closed(ks.insert_with(&key, &key, options)).is_none() {
                    return;
                }
                acknowledged.lock().unwrap().insert(key.into_bytes());
            }
        })
    };
    let reader = {
        let (db, ks) = (db.clone(), ks.clone());
        work(move || {
            let snapshot = db.snapshot();
            for entry in ks.at(&snapshot).iter() {
                unless_closed(entry);
            }
            unless_closed(ks.get("a0"));
            unless_closed(db.flush());
            drop(snapshot);
        })
    };
    let writers = [writer("a", Durability::Sync), writer("b", Durability::Volatile)];
    let closer = if shuttle::rand::thread_rng().gen_bool(0.5) {
        work(move || {
            thread::yield_now();
            drop(ks);
            db.close_within(FOR_EVER).unwrap();
        })
    } else {
        work(move || drop((ks, db))) // The last handle closes, whoever has it.
    };
    together(writers.into_iter().chain([reader, closer]));

    let db = tiny(fs).open().unwrap();
    assert!(db.recovery().is_clean);
    let found = keys(&db.keyspace("k").unwrap());
    for key in &*acknowledged.lock().unwrap() {
        assert!(found.contains(key), "{key:?} was acknowledged before the end");
    }
}

#[test]
fn closing_ends_every_call_and_loses_nothing() {
    explore("closing", 40, close_beside_calls);
}
