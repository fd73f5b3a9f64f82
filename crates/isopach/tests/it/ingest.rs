//! Bulk loads: straight into tables, shown at once.

use isopach::{
    Compression, Db, Durability, ErrorKind, Keyspace, KeyspaceOptions, PerLevel, ReverseByteOrder,
    VerifyOptions, WriteOptions,
    engine::types::Level,
    env::{Call, CrashFs, Errno, Fault, FaultFs, Job, MemFs, Rule, Spawn, TestClock},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use testkit::Rng;
use testkit::db::{SOON, entries, env_of, files_in, small, tiny, tiny_tables, wait_until};

fn key(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

/// Does not compress.
fn value(n: u32) -> Vec<u8> {
    Rng::new(n.into()).bytes(100)
}

fn insert(keyspace: &Keyspace, keys: impl IntoIterator<Item = u32>, value: &str) {
    for n in keys {
        keyspace.insert(key(n), value).unwrap();
    }
}

fn load(keyspace: &Keyspace, keys: impl IntoIterator<Item = u32>, value: &str) {
    let mut load = keyspace.ingest().unwrap();
    keys.into_iter().for_each(|n| load.insert(key(n), value).unwrap());
    load.finish().unwrap();
}

fn tables(files: &MemFs) -> usize {
    files_in(files, "tables").len()
}

/// Every file is what the manifest says of it.
fn check_files(db: &Db) {
    let report = db.verify(VerifyOptions::default()).unwrap();
    assert!(report.found.is_empty() && report.unnamed.is_empty(), "{report:?}");
}

#[test]
fn a_load_shows_whole_when_it_is_finished_and_lies_in_the_last_level() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    let before = db.snapshot();
    let mut load = ks.ingest().unwrap();
    for n in 0..5000 {
        load.insert(key(n), value(n)).unwrap();
    }
    assert!(ks.is_empty().unwrap());
    let seqno = load.finish().unwrap();

    let check = |db: &Db| {
        let ks = db.keyspace("k").unwrap();
        assert_eq!(ks.count(..).unwrap(), 5000);
        for n in [0, 1, 777, 4999] {
            assert_eq!(ks.get(key(n)).unwrap().as_deref(), Some(&value(n)[..]));
        }
        assert_eq!((ks.get(key(5000)).unwrap(), ks.get([0, 0, 0]).unwrap()), (None, None));
        let backwards = ks.range(key(10)..key(3000)).rev().map(|entry| entry.unwrap().0.to_vec());
        assert!(backwards.eq((10..3000).rev().map(|n| key(n).to_vec())));
        let shape = ks.stats().tree;
        assert_eq!(shape.levels.len(), 1);
        assert!(shape.levels[0].0 == Level(6) && shape.levels[0].1.tables > 3, "{:?}", shape.levels);
        assert_eq!((shape.flushes, shape.compactions), (0, 0));
        check_files(db);
    };
    check(&db);
    assert!((db.seqno(), db.durable_seqno()) >= (seqno, seqno));
    assert!(ks.at(&before).is_empty().unwrap());
    assert_eq!(db.snapshot_at(seqno).unwrap().keyspace(&ks).count(..).unwrap(), 5000);
    drop((before, ks));
    db.close().unwrap();
    check(&small(files).open().unwrap());
}

#[test]
fn a_load_is_newer_than_all_before_its_end_and_older_than_all_behind() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    insert(&ks, 0..100, "table");
    db.flush().unwrap();
    insert(&ks, 0..50, "memtable");
    let mut load = ks.ingest().unwrap();
    for n in (0..100).step_by(2) {
        if n % 10 == 0 { load.remove(key(n)).unwrap() } else { load.insert(key(n), "load").unwrap() }
    }
    ks.insert(key(2), "while it is written").unwrap();
    ks.remove_range(key(90)..key(95)).unwrap();
    let before = db.snapshot();
    let old = entries(&ks);
    load.finish().unwrap();
    let behind = |n| ks.insert(key(n), "behind");
    let (_, _) = (behind(4).unwrap(), ks.remove(key(6)).unwrap());

    let expected = |n: u32| match n {
        4 => Some("behind"),
        6 => None,
        n if n % 10 == 0 => None,
        n if n % 2 == 0 => Some("load"),
        91 | 93 => None,
        n if n < 50 => Some("memtable"),
        _ => Some("table"),
    };
    let check = |ks: &Keyspace| {
        for n in 0..100 {
            assert_eq!(ks.get(key(n)).unwrap().as_deref(), expected(n).map(str::as_bytes), "{n}");
        }
        let there = (0..100).filter(|&n| expected(n).is_some()).map(|n| key(n).to_vec());
        assert!(entries(ks).into_keys().eq(there));
    };
    check(&ks);
    assert_eq!(entries(&ks.at(&before)), old);
    ks.compact_range(..).unwrap();
    check(&ks);
    assert_eq!(entries(&ks.at(&before)), old);
    drop(before);
    ks.compact_range(..).unwrap();
    check(&ks);
    drop(ks);
    db.close().unwrap();
    check(&small(files).open().unwrap().keyspace("k").unwrap());
}

#[test]
fn a_load_that_does_not_end_leaves_no_file() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    let mut dropped = ks.ingest().unwrap();
    (0..3000).for_each(|n| dropped.insert(key(n), value(n)).unwrap());
    assert!(tables(&files) > 2);
    drop(dropped);
    wait_until("its files go", || tables(&files) == 0);

    let mut refused = ks.ingest().unwrap();
    refused.insert(key(7), "v").unwrap();
    for wrong in [key(7), key(3)] {
        let error = refused.insert(wrong, "v").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let said = error.to_string();
        assert!(said.contains("keyspace \"k\"") && said.contains("does not come behind"), "{said}");
        let again = refused.insert(key(8), "v").unwrap_err();
        assert!(again.to_string().contains("failed before"), "{again}");
        assert_eq!(refused.finish().unwrap_err().kind(), ErrorKind::InvalidArgument);
        refused = ks.ingest().unwrap();
        refused.insert(key(7), "v").unwrap();
    }
    assert_eq!(refused.insert(vec![0; 70_000], "v").unwrap_err().kind(), ErrorKind::InvalidArgument);
    drop(refused);
    let commits = db.seqno();
    assert_eq!(ks.ingest().unwrap().finish().unwrap(), commits, "nothing is committed");
    wait_until("all files go", || tables(&files) == 0);
    assert!(ks.is_empty().unwrap());

    let (mut late, mut of_dropped) = (ks.ingest().unwrap(), ks.ingest().unwrap());
    late.insert(key(1), "v").unwrap();
    of_dropped.insert(key(1), "v").unwrap();
    db.drop_keyspace("k").unwrap();
    assert_eq!(of_dropped.finish().unwrap_err().kind(), ErrorKind::KeyspaceDropped);
    drop(ks);
    let busy = db.close_within(Duration::ZERO).unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Busy, "the load still holds the directory");
    assert_eq!(late.finish().unwrap_err().kind(), ErrorKind::Closed);
    drop(small(files.clone()).open().unwrap());
    assert_eq!(tables(&files), 0);
}

#[test]
fn loads_of_several_keyspaces_show_as_one_commit() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let spaces = ["a", "b", "c"].map(|name| db.keyspace(name).unwrap());
    let begin = || spaces.each_ref().map(|space| space.ingest().unwrap());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let check = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let snapshot = db.snapshot();
                let values = spaces.each_ref().map(|space| space.at(&snapshot).get("k").unwrap());
                assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "{values:?}");
                let counts = spaces.each_ref().map(|space| space.at(&snapshot).count(..).unwrap());
                assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{counts:?}");
            }
        });
        for round in 0..50_u32 {
            let mut loads = begin();
            loads.iter_mut().for_each(|load| {
                load.insert("k", key(round)).unwrap();
                load.insert([&b"l"[..], &key(round)].concat(), "v").unwrap();
            });
            db.finish_ingests(loads).unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        check.join().unwrap();
    });

    let [first, second, _] = begin();
    drop(second);
    let twice = db.finish_ingests([first, spaces[0].ingest().unwrap()]).unwrap_err();
    assert!(twice.to_string().contains("two loads of one keyspace"), "{twice}");
    let other = small(MemFs::new()).open().unwrap();
    let foreign = other.keyspace("a").unwrap().ingest().unwrap();
    assert_eq!(db.finish_ingests([foreign]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(db.finish_ingests([]).unwrap(), db.seqno());
}

/// Loads, writers, flushes and compactions side by side: each key has the value of the last that was finished.
#[test]
fn loads_beside_writers_and_compactions_lose_nothing() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    thread::scope(|scope| {
        for writer in 0..2_u32 {
            let ks = &ks;
            scope.spawn(move || {
                for n in 0..3000_u32 {
                    ks.insert([b"w".as_slice(), &key(writer), &key(n)].concat(), [7; 60]).unwrap();
                    ks.insert([b"shared".as_slice(), &key(n % 300)].concat(), [b'w'; 60]).unwrap();
                }
            });
        }
        for round in 0..30_u32 {
            let mut load = ks.ingest().unwrap();
            (0..200).for_each(|n| load.insert([b"l".as_slice(), &key(n)].concat(), key(round)).unwrap());
            (0..300).step_by(7).for_each(|n| {
                load.insert([b"shared".as_slice(), &key(n)].concat(), [b'l'; 60]).unwrap();
            });
            load.finish().unwrap();
            for n in [0, 13, 199] {
                let value = ks.get([b"l".as_slice(), &key(n)].concat()).unwrap();
                assert_eq!(value.as_deref(), Some(&key(round)[..]));
            }
        }
    });
    db.wait_idle(SOON).unwrap();
    for _ in 0..2 {
        assert_eq!(ks.prefix("w").count(), 6000);
        assert_eq!(ks.prefix("shared").count(), 300);
        assert!(ks.prefix("l").values().all(|value| value.unwrap()[..] == key(29)));
        assert_eq!(ks.prefix("l").count(), 200);
        ks.compact_range(..).unwrap();
    }
    check_files(&db);
}

#[test]
fn a_load_lies_above_what_overlaps_it_and_beside_what_does_not() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    let levels =
        || ks.stats().tree.levels.into_iter().map(|(level, of)| (level.0, of.tables)).collect::<Vec<_>>();
    load(&ks, 100..200, "first");
    assert_eq!(levels(), [(6, 1)]);
    load(&ks, 300..400, "beside");
    assert_eq!(levels(), [(6, 2)]);
    load(&ks, 150..160, "over");
    assert_eq!(levels(), [(5, 1), (6, 2)]);
    load(&ks, [155, 350], "over all");
    assert_eq!(levels(), [(4, 1), (5, 1), (6, 2)]);
    ks.insert(key(10), "v").unwrap();
    ks.insert(key(500), "v").unwrap();
    db.flush().unwrap();
    load(&ks, 100..110, "over a run of level 0 that has none of them");
    assert_eq!(levels()[0], (0, 2));
    assert_eq!(ks.get(key(155)).unwrap().as_deref(), Some(&b"over all"[..]));
    assert_eq!(ks.get(key(151)).unwrap().as_deref(), Some(&b"over"[..]));
    ks.compact_range(..).unwrap();
    assert_eq!((levels(), ks.count(..).unwrap()), (vec![(6, 1)], 202));
}

#[test]
fn loads_follow_the_options_of_the_keyspace() {
    let (files, clock) = (MemFs::new(), TestClock::new());
    let db = small(files.clone()).clock(Arc::new(clock.clone())).open().unwrap();
    let options = tiny_tables().ttl(Duration::from_secs(10)).comparator(&ReverseByteOrder);
    let ks = db.keyspace_with("k", options).unwrap();
    let mut load = ks.ingest().unwrap();
    load.insert("c", "ten seconds").unwrap();
    load.insert_ttl("b", "five seconds", Duration::from_secs(5)).unwrap();
    load.insert("a", "ten seconds").unwrap();
    assert!(load.insert("b", "behind c, and not behind a").is_err());
    drop(load);
    let mut load = ks.ingest().unwrap();
    load.insert("c", "ten seconds").unwrap();
    load.insert_ttl("b", "five seconds", Duration::from_secs(5)).unwrap();
    load.finish().unwrap();

    assert_eq!(ks.iter().keys().map(|key| key.unwrap().to_vec()).collect::<Vec<_>>(), [b"c", b"b"]);
    clock.advance(Duration::from_secs(5));
    assert_eq!(ks.iter().keys().count(), 1);
    clock.advance(Duration::from_secs(5));
    assert!(ks.is_empty().unwrap());

    let checked = db.keyspace_with("checked", KeyspaceOptions::new().entry_checksums(true)).unwrap();
    insert(&checked, 0..50, "old");
    self::load(&checked, 0..100, "new");
    checked.compact_range(..).unwrap();
    assert_eq!(checked.iter().values().filter(|value| value.as_ref().unwrap() == &b"new"[..]).count(), 100);
    check_files(&db);
}

/// Of one key the last counts, whatever was sorted in memory and what through files.
#[test]
fn keys_in_any_order_are_sorted_and_of_one_key_the_last_counts() {
    for (seed, entries_count) in [(1, 100), (2, 4000)] {
        let files = MemFs::new();
        let db = small(files.clone()).open().unwrap();
        let ks = db.keyspace_with("k", tiny_tables()).unwrap();
        insert(&ks, 0..50, "before");
        let mut expected = entries(&ks);
        let (mut rng, mut load) = (Rng::new(seed), ks.ingest_unsorted().unwrap());
        for _ in 0..entries_count {
            let key = key(rng.below(2000) as u32).to_vec();
            if rng.one_in(10) {
                load.remove(&key).unwrap();
                expected.remove(&key);
            } else {
                let value = rng.bytes(30);
                load.insert(&key, &value).unwrap();
                expected.insert(key, value);
            }
        }
        assert_eq!(tables(&files) > 3, entries_count > 1000, "as much as a write buffer holds is in memory");
        assert_eq!(ks.count(..).unwrap(), 50);
        load.finish().unwrap();

        assert_eq!(entries(&ks), expected);
        wait_until("nothing else is left", || {
            tables(&files) as u64 == ks.stats().tree.levels.iter().map(|(_, level)| level.tables).sum()
        });
        check_files(&db);
    }

    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let mut load = ks.ingest_unsorted().unwrap();
    (0..2000).rev().for_each(|n| load.insert(key(n), value(n)).unwrap());
    assert!(tables(&files) > 0);
    assert!(load.insert(vec![0; 70_000], "v").is_err());
    assert_eq!(load.finish().unwrap_err().kind(), ErrorKind::InvalidArgument, "it lacks an entry");
    wait_until("its files go", || tables(&files) == 0);
}

/// What is not in the log goes with a crash, and the load stays.
#[test]
fn a_load_is_durable_though_the_log_before_it_was_not_synced() {
    let files = CrashFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    let volatile = WriteOptions::new().durability(Durability::Volatile);
    ks.insert("buffered", "v").unwrap();
    ks.insert_with("volatile", "v", volatile).unwrap();
    load(&ks, 0..100, "v");
    let survivor = files.crash(1);

    let found = small(survivor).open().unwrap().keyspace("k").unwrap();
    assert_eq!(found.range(..key(1000)).count(), 100);
    assert_eq!(found.get("buffered").unwrap().as_deref(), Some(&b"v"[..]), "all before it is durable");
}

/// A memtable without keys in the range of a load stays in memory meanwhile. It was sealed at the newest commit, which was
/// the load's, and its run of level 0 got the age of the load's. So it was when it was flushed after a crash.
#[test]
fn a_memtable_that_is_older_than_a_load_is_flushed_behind_it() {
    for crashes in [false, true] {
        let files = CrashFs::new();
        let mut db = small(files.clone()).open().unwrap();
        let mut ks = db.keyspace_with("k", tiny_tables()).unwrap();
        insert(&ks, [10, 20], "table");
        db.flush().unwrap();
        insert(&ks, [1, 99], "memtable");
        load(&ks, 10..21, "load");
        if crashes {
            db = small(files.kill()).open().unwrap();
            ks = db.keyspace("k").unwrap();
        }
        db.flush().unwrap();

        db.wait_idle(SOON).unwrap();
        assert_eq!(ks.count(..).unwrap(), 13);
        ks.compact_range(..).unwrap();
        assert_eq!(ks.get(key(10)).unwrap().as_deref(), Some(&b"load"[..]));
        assert_eq!(ks.get(key(99)).unwrap().as_deref(), Some(&b"memtable"[..]));
    }
}

/// What is loaded behind everything that is there lies in the last level, and is compressed as that is.
#[test]
fn each_table_of_a_load_is_written_as_the_options_of_its_level_say() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let by_level = PerLevel([[Compression::None; 6].as_slice(), &[Compression::Lz4]].concat());
    let ks = db.keyspace_with("k", KeyspaceOptions::new().compression(by_level)).unwrap();
    let zeros = "0".repeat(1000);
    let bytes_of = |keys: std::ops::Range<u32>| {
        let before = ks.disk_bytes();
        load(&ks, keys, &zeros);
        ks.disk_bytes() - before
    };

    let first = bytes_of(0..100);
    let behind = bytes_of(100..200);
    let over = bytes_of(150..250);
    assert!(first < 30_000 && behind < 30_000, "{first}, {behind}: compressed");
    assert!(over > 100_000, "{over}: of level 5");
}

/// Runs each job on a thread of its own, and counts them.
#[derive(Default)]
struct Beside(AtomicUsize);

impl Spawn for Beside {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        self.0.fetch_add(1, Ordering::Relaxed);
        thread::spawn(job);
        Ok(())
    }

    fn parallelism(&self) -> usize {
        3
    }
}

#[test]
fn tables_of_a_load_are_finished_beside_it_and_stay_in_order() {
    let (files, beside) = (MemFs::new(), Arc::new(Beside::default()));
    let env = env_of(files).with_spawn(Arc::<Beside>::clone(&beside));
    let db = tiny(Db::builder("db").env(env)).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    let mut load = ks.ingest().unwrap();
    (0..20_000).for_each(|n| load.insert(key(n), value(n)).unwrap());
    load.finish().unwrap();

    let tables = ks.stats().tree.levels.iter().map(|(_, stats)| stats.tables).sum::<u64>();
    assert!(tables > 10 && beside.0.load(Ordering::Relaxed) as u64 >= tables, "{tables} tables");
    let found = entries(&ks);
    assert_eq!(found.len(), 20_000);
    assert!(found.iter().zip(0..).all(|((found, stored), n)| found == &key(n) && stored == &value(n)));
    assert!(db.verify(VerifyOptions::new()).unwrap().found.is_empty());
}

#[test]
fn a_table_that_cannot_be_finished_beside_a_load_fails_it_and_leaves_nothing() {
    for skip in [0, 2, 5] {
        let files = MemFs::new();
        let faults = FaultFs::new(Arc::new(files.clone()));
        let env = env_of(faults.clone()).with_spawn(Arc::new(Beside::default()));
        let db = tiny(Db::builder("db").env(env)).open().unwrap();
        let ks = db.keyspace_with("k", tiny_tables()).unwrap();
        let rule = Rule::new(Fault::Fail(Errno::Io)).on(Call::Sync);
        faults.arm(rule.named("tables/*.table").skip(skip));
        let mut load = ks.ingest().unwrap();
        let loaded = (0..20_000).try_for_each(|n| load.insert(key(n), value(n)));
        let error = loaded.and_then(|()| load.finish().map(drop)).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert_eq!(ks.count(..).unwrap(), 0);
        wait_until("nothing is left", || files_in(&files, "tables").is_empty());
        faults.disarm();
        load_again(&ks);
    }
}

#[test]
fn a_load_that_is_dropped_while_tables_are_finished_leaves_nothing() {
    let files = MemFs::new();
    let env = env_of(files.clone()).with_spawn(Arc::new(Beside::default()));
    let db = tiny(Db::builder("db").env(env)).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    let mut load = ks.ingest().unwrap();
    (0..5000).for_each(|n| load.insert(key(n), value(n)).unwrap());
    drop(load);

    wait_until("nothing is left", || files_in(&files, "tables").is_empty());
    load_again(&ks);
}

fn load_again(ks: &Keyspace) {
    load(ks, 0..10, "again");
    assert_eq!(ks.count(..).unwrap(), 10);
}
