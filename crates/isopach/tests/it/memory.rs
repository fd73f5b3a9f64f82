//! Memory stays inside its bounds, and writers that wait for it always go on.

use isopach::{
    Db, ErrorKind, WriteOptions,
    env::{CrashFs, MemFs, Step},
};
use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};
use testkit::db::{SOON, env_of, small, tiny_tables, wait_until};

/// A flush and a drop of one keyspace both gave its memory back: the count fell below zero, and every writer
/// waited for ever.
#[test]
fn a_keyspace_that_is_dropped_while_it_is_flushed_gives_its_memory_back_once() {
    let db = small(MemFs::new()).open().unwrap();
    for round in 0..200 {
        let ks = db.keyspace_with("k", tiny_tables()).unwrap();
        for n in 0..40 + round % 7 {
            ks.insert([n as u8], [0; 400]).unwrap();
        }
        assert!(db.drop_keyspace("k").unwrap());
        assert!(db.stats().memory.memtables < 1 << 20, "{:?}", db.stats().memory);
    }
    db.wait_idle(SOON).unwrap();
    assert_eq!(db.stats().memory.memtables, 0);
}

/// While another keyspace was flushed, a batch larger than the budget was written; nobody sealed its memtable
/// afterwards, and the next writer waited for ever.
#[test]
fn a_batch_that_fills_the_memory_during_a_flush_is_flushed_next() {
    let fs = CrashFs::new();
    let builder = Db::builder("db").env(env_of(fs.clone())).threads(2).cache_bytes(0);
    let db = builder.memory_budget(128 << 10).open().unwrap();
    let (a, b) = (db.keyspace("a").unwrap(), db.keyspace("b").unwrap());
    let (arrive, arrived) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let (is_first, gone) = (AtomicBool::new(true), std::sync::Mutex::new(gone));
    fs.watch(move |_, step| {
        if matches!(step, Step::Create(name) if name.starts_with("tables/"))
            && is_first.swap(false, Ordering::SeqCst)
        {
            arrive.send(()).unwrap();
            gone.lock().unwrap().recv().unwrap();
        }
        Ok(())
    });
    a.insert("k", vec![0; 100 << 10]).unwrap();
    arrived.recv().unwrap(); // The flush of `a` is under way.

    b.insert("k", vec![0; 300 << 10]).unwrap();
    go.send(()).unwrap();

    let (written, done) = mpsc::channel();
    let handle = a.clone();
    thread::spawn(move || written.send(handle.insert("l", "v")));
    done.recv_timeout(SOON).expect("the next write goes on").unwrap();
}

/// While a flush is held up, memtables fill their part of the memory.
#[test]
fn a_write_that_would_wait_says_so_if_it_was_asked_not_to() {
    let fs = CrashFs::new();
    let builder = Db::builder("db").env(env_of(fs.clone())).threads(2).cache_bytes(0);
    let db = builder.memory_budget(128 << 10).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let patient = WriteOptions::new().no_slowdown(true);
    ks.insert_with("first", "v", patient).unwrap();
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    fs.watch(move |_, step| {
        if matches!(step, Step::Create(name) if name.starts_with("tables/")) {
            let _ = gone.lock().unwrap().recv(); // An error says that all may go.
        }
        Ok(())
    });
    ks.insert("k", vec![0; 200 << 10]).unwrap();

    let error = ks.insert_with("second", "v", patient).unwrap_err();

    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Stalled, true), "{error}");
    assert_eq!(error.keyspace(), Some("k"));
    assert_eq!(ks.get("second").unwrap(), None, "nothing was written");
    drop(go);
    db.wait_idle(SOON).unwrap();
    ks.insert_with("second", "v", patient).unwrap();
}

#[test]
fn memtables_stay_within_their_part_of_the_budget_under_many_writers() {
    let db = small(MemFs::new()).write_buffer_bytes(64 << 20).memory_budget(1 << 20).open().unwrap();
    let limit = (1 << 20) - (64 << 10);
    let (threads, value_bytes) = (4, 4 << 10);
    let most = AtomicU64::new(0);
    let start = Barrier::new(threads);

    thread::scope(|scope| {
        for thread in 0..threads {
            let (db, most, start) = (&db, &most, &start);
            scope.spawn(move || {
                let ks = db.keyspace_with(&format!("k{}", thread % 3), tiny_tables()).unwrap();
                start.wait();
                for n in 0..400_u32 {
                    ks.insert([&[thread as u8][..], &n.to_be_bytes()].concat(), vec![0; value_bytes])
                        .unwrap();
                    most.fetch_max(db.stats().memory.memtables, Ordering::Relaxed);
                }
            });
        }
    });

    // A writer looks before it writes: each may be over by its own write.
    let most = most.load(Ordering::Relaxed);
    assert!(most <= limit + (threads * (value_bytes + 512)) as u64, "{most} bytes of {limit}");
    assert!(most > limit / 2, "the budget was put to use: {most} bytes");
    db.wait_idle(SOON).unwrap();
    wait_until("all but the last memtables are flushed", || db.stats().memory.memtables <= limit);
}

#[test]
fn memory_of_flushed_memtables_is_kept_for_the_next_within_a_write_buffer_and_the_budget() {
    let (budget, write_buffer) = (32 << 20, 8 << 20);
    let builder = Db::builder("db").env(env_of(MemFs::new())).cache_bytes(0);
    let db = builder.memory_budget(budget).write_buffer_bytes(write_buffer).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let write_and_flush = || {
        for n in 0..12_000_u32 {
            ks.insert(n.to_be_bytes(), [1; 1000]).unwrap();
        }
        db.flush().unwrap();
        db.wait_idle(SOON).unwrap();
    };
    write_and_flush();
    let spare = db.stats().memory.spare;
    assert!(spare >= 2 << 20 && spare <= write_buffer, "{spare} bytes are kept");

    // Small memtables, which have no use for what is kept.
    let spaces: Vec<_> = (0..60).map(|n| db.keyspace(&format!("s{n}")).unwrap()).collect();
    for n in 0..600_u32 {
        for space in &spaces {
            space.insert(n.to_be_bytes(), [1; 1000]).unwrap();
            let memory = db.stats().memory;
            let used = memory.memtables + memory.spare;
            assert!(used <= budget + (4 << 10), "{used} bytes of {budget}");
        }
    }
}

#[test]
fn a_single_write_above_the_whole_budget_goes_through() {
    let db = small(MemFs::new()).memory_budget(256 << 10).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();

    for n in 0..10_u8 {
        ks.insert([n], vec![n; 1 << 20]).unwrap();
    }

    for n in 0..10_u8 {
        assert_eq!(ks.get([n]).unwrap().unwrap(), &vec![n; 1 << 20][..]);
    }
}
