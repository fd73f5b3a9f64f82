//! Opening with a long log: by one thread or several, and who hears of its progress.

use isopach::{
    Builder, Db, ErrorKind, Progress,
    env::{Env, Job, MemFs, OsEntropy, Spawn, SystemClock, ThreadSpawn},
};
use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
};
use testkit::{
    Contents, Rng,
    db::{Quiet, contents, entries},
};

/// Threads of the system, as many as it says.
struct Threads(usize);

impl Spawn for Threads {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        ThreadSpawn::new().spawn(job)
    }

    fn parallelism(&self) -> usize {
        self.0
    }
}

fn builder(files: &MemFs, parallelism: usize) -> Builder {
    let env = Env::new(Arc::new(files.clone()), Arc::new(SystemClock::new()), Arc::new(OsEntropy));
    let builder = Db::builder("db").env(env.with_spawn(Arc::new(Threads(parallelism))));
    builder.max_wal_bytes(64 << 20).threads(2).listener(Quiet)
}

/// What a process leaves that dies, and what is in it: puts, overwrites, deletes and batches, of some 400 KiB
/// a round, in keyspaces that come and go; none of it is in tables.
fn killed(rounds: usize) -> (MemFs, Contents) {
    let files = MemFs::new();
    let db = builder(&files, 1).open().unwrap();
    let mut rng = Rng::new(7);
    for round in 0..rounds {
        let all =
            ["always", &format!("of {}", round % 5), "now and then"].map(|name| db.keyspace(name).unwrap());
        for _ in 0..160 {
            let mut batch = db.batch();
            for _ in 0..rng.below(4) + 1 {
                let (keyspace, key) = (&all[rng.below(3)], (rng.below(1500) as u16).to_be_bytes());
                match rng.below(5) {
                    0 => batch.remove(keyspace, key),
                    _ => batch.insert(keyspace, key, vec![round as u8; rng.below(2500)]),
                };
            }
            db.write(batch).unwrap();
        }
        if round % 8 == 5 {
            db.drop_keyspace(["now and then", "of 0", "of 3"][rng.below(3)]).unwrap();
        }
    }
    assert!(db.stats().keyspaces.iter().all(|keyspace| keyspace.tree.levels.is_empty()), "all is in the log");
    (files.deep_clone(), contents(&db))
}

#[test]
fn several_threads_recover_what_one_does() {
    let (files, expected) = killed(30);
    for parallelism in [1, 2, 5] {
        let files = files.deep_clone();
        let reading = builder(&files, parallelism).open_read_only().unwrap();
        for (name, expected) in &expected {
            assert_eq!(entries(&reading.keyspace(name).unwrap()), *expected, "{name}");
        }
        drop(reading);

        let db = builder(&files, parallelism).open().unwrap();

        assert_eq!(contents(&db), expected, "with {parallelism} threads");
        assert!(db.recovery().log_bytes > 8 << 20, "it is long enough to be shared");
        let dead = files.deep_clone();
        assert_eq!(contents(&builder(&dead, parallelism).open().unwrap()), expected, "after one more crash");
    }
}

#[test]
fn memtables_that_grow_large_are_flushed_whoever_fills_them() {
    const WRITE_BUFFER: u64 = 9 << 20;
    let (files, expected) = killed(75);
    for parallelism in [1, 3] {
        let files = files.deep_clone();

        let db = builder(&files, parallelism).write_buffer_bytes(WRITE_BUFFER).open().unwrap();

        let dead = files.deep_clone();
        let memory = db.stats().memory.memtables;
        assert_eq!(contents(&db), expected);
        let flushed: u64 = db.stats().keyspaces.iter().map(|keyspace| keyspace.tree.flushes).sum();
        assert!(flushed > 0 && memory < 3 * WRITE_BUFFER, "{flushed} flushes, {memory} bytes in memory");
        assert_eq!(contents(&builder(&dead, parallelism).open().unwrap()), expected, "after one more crash");
    }
}

#[test]
fn progress_is_told_from_the_search_of_the_log_to_the_last_record() {
    let (files, _) = killed(20);
    for parallelism in [1, 3] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&told);
        let thread = std::thread::current().id();
        let hook = move |progress: &Progress| {
            assert_eq!(std::thread::current().id(), thread, "on the thread that opens");
            hears.lock().unwrap().push(*progress);
            ControlFlow::Continue(())
        };

        drop(builder(&files.deep_clone(), parallelism).progress(hook).open().unwrap());

        let told = told.lock().unwrap();
        let of_phase = |phase| told.iter().filter(move |told| told.phase == phase);
        assert!(told.is_sorted_by_key(|told| told.phase == "replay"), "one phase after the other: {told:?}");
        for phase in ["search", "replay"] {
            assert!(of_phase(phase).is_sorted_by_key(|told| told.done), "{told:?}");
            let last = of_phase(phase).next_back().expect("each phase is told of");
            assert!(last.done == last.total && last.total > 5 << 20, "{last:?}");
        }
    }
}

#[test]
fn a_hook_of_progress_ends_the_opening_at_any_step_and_the_next_opening_finds_all() {
    let (files, expected) = killed(20);
    for parallelism in [1, 3] {
        let files = files.deep_clone();
        for steps in 0.. {
            let mut left = steps;
            let hook = move |_: &Progress| {
                left -= 1;
                if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            match builder(&files, parallelism).progress(hook).open() {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled),
                Ok(db) => {
                    assert!(steps > 2, "it was ended in each phase");
                    assert_eq!(contents(&db), expected);
                    break;
                }
            }
        }
    }
}

#[test]
fn a_hook_of_progress_that_panics_does_not_end_the_opening_and_is_not_told_again() {
    let (files, expected) = killed(20);
    let calls = Arc::new(Mutex::new(0));
    let counts = Arc::clone(&calls);
    let hook = move |_: &Progress| -> ControlFlow<()> {
        *counts.lock().unwrap() += 1; // Its lock is free before the panic.
        std::panic::resume_unwind(Box::new("a panic of a test"))
    };

    let db = builder(&files, 3).progress(hook).open().unwrap();

    assert_eq!(contents(&db), expected);
    assert_eq!(*calls.lock().unwrap(), 1);
}
