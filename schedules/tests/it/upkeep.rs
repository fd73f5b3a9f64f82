//! Flush, compaction and checkpoint beside writers and readers.

use crate::database::{Written, keys, visible_at, write, write_long};
use isopach::{
    CheckpointOptions, Durability, Keyspace, Seqno, WriteState,
    env::{Call, Errno, Fault, FaultFs, Fs, MemFs, Rule, SubDir},
};
use isopach_schedules::{FOR_EVER, explore, repeats, tiny, together, work};
use shuttle::{rand::Rng, thread};
use std::sync::{Arc, Mutex};

/// A third of what a memtable may hold: several are sealed in every schedule.
const LONG: usize = 6 << 10;

/// Memtables are sealed, flushed and compacted beside two writers and a reader with a snapshot; then the
/// database is opened again.
fn rotate_beside_writers_and_readers() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let db = tiny(Arc::clone(&fs)).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let written = Written::default();
    let writer = |name: &'static str| {
        let (db, ks, written) = (db.clone(), ks.clone(), Arc::clone(&written));
        work(move || {
            for round in 0..4 {
                write_long(&db, &ks, &format!("{name}{round}"), LONG, Durability::Buffered, &written);
            }
        })
    };
    let reader = {
        let (db, ks, written) = (db.clone(), ks.clone(), Arc::clone(&written));
        work(move || {
            let mut taken = Vec::new();
            for _ in 0..3 {
                let snapshot = db.snapshot();
                let seen = keys(&ks.at(&snapshot));
                taken.push((snapshot, seen));
                let acknowledged = written.lock().unwrap().clone();
                for key in acknowledged.keys() {
                    assert!(ks.get(key).unwrap().is_some(), "{key:?} was acknowledged and is not seen");
                }
            }
            for (snapshot, seen) in taken {
                assert_eq!(keys(&ks.at(&snapshot)), seen, "INV-GC-1: a snapshot stays as it is");
            }
        })
    };
    let flusher = {
        let (db, ks) = (db.clone(), ks.clone());
        work(move || {
            db.flush().unwrap();
            ks.compact_range(..).unwrap();
        })
    };
    together([writer("a"), writer("b"), reader, flusher]);

    db.wait_idle(FOR_EVER).unwrap();
    assert!(ks.stats().tree.flushes >= 1, "nothing was flushed: the scenario shows nothing");
    drop(ks);
    db.close_within(FOR_EVER).unwrap();
    let db = tiny(fs).open().unwrap();
    let found = keys(&db.keyspace("k").unwrap());
    assert_eq!(found, visible_at(&written, db.seqno()), "INV-WAL-4: below the replay point is in tables");
    assert_eq!(found.len(), 8);
}

#[test]
fn rotation_and_flush_lose_and_hide_nothing() {
    explore("rotation", 40, rotate_beside_writers_and_readers);
}

fn all_keys(keyspace: &Keyspace) -> Vec<Vec<u8>> {
    keyspace.iter().keys().map(|key| key.unwrap().to_vec()).collect()
}

/// Two loads, of two keyspaces at once, beside a writer in their range, a flush, a compaction and a reader; then the database
/// is opened again.
fn load_beside_the_rest() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let db = tiny(Arc::clone(&fs)).open().unwrap();
    let spaces = ["k", "l"].map(|name| db.keyspace(name).unwrap());
    let value = |load: u8| vec![load; LONG];
    let last_of = [(); 2].map(|()| Arc::new(Mutex::new(Seqno::ZERO)));
    let [last_load, last_write] = &last_of;
    let loader = {
        let (db, spaces, last_load) = (db.clone(), spaces.clone(), Arc::clone(last_load));
        work(move || {
            for load in 1..3 {
                let loads = spaces.each_ref().map(|space| {
                    let mut loading = space.ingest().unwrap();
                    ["a", "m", "z"].into_iter().for_each(|key| loading.insert(key, value(load)).unwrap());
                    loading
                });
                let seqno = db.finish_ingests(loads).unwrap();
                *last_load.lock().unwrap() = seqno;
                assert!(db.durable_seqno() >= seqno);
                assert_eq!(spaces[0].get("z").unwrap().as_deref(), Some(&value(load)[..]));
            }
        })
    };
    let writer = {
        let (spaces, last_write) = (spaces.clone(), Arc::clone(last_write));
        work(move || {
            for round in 0..4_u8 {
                spaces[0].insert(format!("b{round}"), value(9)).unwrap();
                *last_write.lock().unwrap() = spaces[0].insert("m", [7]).unwrap();
            }
        })
    };
    let reader = {
        let (db, spaces) = (db.clone(), spaces.clone());
        work(move || {
            let mut last = 0;
            for _ in 0..4 {
                let snapshot = db.snapshot();
                let [a, z] = ["a", "z"].map(|key| spaces[0].at(&snapshot).get(key).unwrap());
                let other = spaces[1].at(&snapshot).get("m").unwrap();
                assert!(a == z && a == other, "INV-WAL-10: a load shows whole");
                let load = a.map_or(0, |value| value[0]);
                assert!(load >= last, "and stays");
                last = load;
            }
        })
    };
    let keeper = {
        let (db, ks) = (db.clone(), spaces[0].clone());
        work(move || {
            db.flush().unwrap();
            ks.compact_range(..).unwrap();
        })
    };
    together([loader, writer, reader, keeper]);

    db.wait_idle(FOR_EVER).unwrap();
    let expected = spaces.each_ref().map(all_keys);
    assert_eq!(expected.each_ref().map(Vec::len), [7, 3]);
    assert_eq!(spaces[0].get("a").unwrap().as_deref(), Some(&value(2)[..]));
    let is_loaded = spaces[0].get("m").unwrap().unwrap().len() == LONG;
    let [last_load, last_write] = last_of.map(|last| *last.lock().unwrap());
    assert_eq!(is_loaded, last_load > last_write, "INV-WAL-10: nothing older is above a load");
    drop(spaces);
    db.close_within(FOR_EVER).unwrap();
    let db = tiny(fs).open().unwrap();
    assert_eq!(["k", "l"].map(|name| all_keys(&db.keyspace(name).unwrap())), expected);
}

#[test]
fn loads_show_whole_and_lose_and_hide_nothing() {
    explore("loads", 40, load_beside_the_rest);
}

/// Two callers compact everything beside the background and a writer.
fn compact_beside_compactions() {
    let db = tiny(Arc::new(MemFs::new())).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let written = Written::default();
    for key in ["a", "z"] {
        write(&db, &ks, key, Durability::Buffered, &written);
        db.flush().unwrap();
    }
    let compact = |key: &'static str| {
        let (db, ks, written) = (db.clone(), ks.clone(), Arc::clone(&written));
        work(move || {
            write(&db, &ks, key, Durability::Buffered, &written);
            db.flush().unwrap();
            ks.compact_range(..).unwrap();
        })
    };
    together([compact("m"), compact("n")]);

    db.wait_idle(FOR_EVER).unwrap();
    assert_eq!(keys(&ks), visible_at(&written, db.seqno()));
    let levels = ks.stats().tree.levels;
    assert_eq!(levels.len(), 1, "all is in one level: {levels:?}");
}

#[test]
fn whole_compactions_beside_each_other_all_end() {
    explore("compactions", 40, compact_beside_compactions);
}

/// The first table that a flush writes finds no room; nobody asks again but the keeper.
fn flush_again_after_a_failure() {
    let faults = FaultFs::new(Arc::new(MemFs::new()));
    let db = tiny(Arc::new(faults.clone())).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    faults.arm(Rule::new(Fault::Fail(Errno::NoSpace)).on(Call::Create).named("tables/*").times(1));
    let written = Written::default();
    let writer = |name: &'static str| {
        let (db, ks, written) = (db.clone(), ks.clone(), Arc::clone(&written));
        work(move || {
            for round in 0..2 {
                write_long(&db, &ks, &format!("{name}{round}"), 2 * LONG, Durability::Buffered, &written);
            }
        })
    };
    together([writer("a"), writer("b")]);

    db.wait_idle(FOR_EVER).unwrap();
    assert_eq!(faults.fired().len(), 1, "a flush failed: else the scenario shows nothing");
    assert!(!matches!(db.health().writes, WriteState::Poisoned(_)));
    assert_eq!(keys(&ks).len(), 4);
}

#[test]
fn a_flush_that_failed_is_tried_again() {
    explore("failed flush", 20, flush_again_after_a_failure);
}

/// Two writers, one flush and one checkpoint in the same file system. The copy opens on its own.
fn checkpoint_beside_writers() {
    let root: Arc<dyn Fs> = Arc::new(MemFs::new());
    let home: Arc<dyn Fs> = Arc::new(SubDir::create(Arc::clone(&root), "db").unwrap());
    let db = tiny(Arc::clone(&home)).open().unwrap();
    let (ks, other) = (db.keyspace("k").unwrap(), db.keyspace("other").unwrap());
    let (written, in_other) = (Written::default(), Written::default());
    write_long(&db, &ks, "first", LONG, Durability::Buffered, &written);
    let writer = |name: &'static str, last: Durability| {
        let (db, ks, written) = (db.clone(), ks.clone(), Arc::clone(&written));
        let (other, in_other) = (other.clone(), Arc::clone(&in_other));
        work(move || {
            write_long(&db, &ks, &format!("{name}0"), LONG, Durability::Buffered, &written);
            write(&db, &other, &format!("{name}1"), Durability::Buffered, &in_other);
            write_long(&db, &ks, &format!("{name}2"), LONG, last, &written);
        })
    };
    let flusher = {
        let (db, ks) = (db.clone(), ks.clone());
        work(move || {
            db.flush().unwrap();
            ks.compact_range(..).unwrap();
        })
    };
    let copied = Arc::new(std::sync::Mutex::new(None));
    let copier = {
        let (db, root, copied) = (db.clone(), Arc::clone(&root), Arc::clone(&copied));
        let flush = shuttle::rand::thread_rng().gen_bool(0.3);
        work(move || {
            thread::yield_now();
            let options = CheckpointOptions::default().flush(flush);
            *copied.lock().unwrap() = Some(db.checkpoint_to(root, "copy", options).unwrap());
        })
    };
    together([writer("a", Durability::Sync), writer("b", Durability::Volatile), flusher, copier]);

    drop((ks, other));
    db.close_within(FOR_EVER).unwrap();
    let info = copied.lock().unwrap().take().expect("it was made");
    let copy = tiny(Arc::new(SubDir::open(root, "copy").unwrap())).open().unwrap();
    let (ks, other) = (copy.keyspace("k").unwrap(), copy.keyspace("other").unwrap());
    assert_eq!(keys(&ks), visible_at(&written, info.seqno), "INV-CHK-1: what {} sees", info.seqno);
    assert_eq!(keys(&other), visible_at(&in_other, info.seqno), "INV-CHK-1: what {} sees", info.seqno);
}

#[test]
fn a_checkpoint_holds_exactly_the_commits_up_to_its_number() {
    explore("checkpoint", 30, checkpoint_beside_writers);
}

#[test]
fn a_seed_replays_the_same_interleaving() {
    repeats(1, rotate_beside_writers_and_readers);
    repeats(1, checkpoint_beside_writers);
}
