//! The file registry: no file goes while it is held or a pause is on, and each goes once in the end.

use isopach::{
    engine::{
        codec::FileKind,
        version::{DeletionPause, FileRegistry, Hold, Holder},
    },
    env::{CreateOptions, Fs, MemFs, WriteOrigin},
};
use isopach_env::sync::{
    Condvar, Mutex, Rank,
    atomic::{AtomicU64, Ordering},
};
use isopach_schedules::{Work, explore, finds, together, work};
use shuttle::thread;
use std::sync::Arc;

const RANK: Rank = Rank::new(1, "test");
const BYTES: u64 = 100;

fn name(number: u64) -> String {
    format!("{number}.table")
}

fn exists(fs: &MemFs, number: u64) -> bool {
    fs.exists(&name(number)).unwrap()
}

fn create(fs: &MemFs, number: u64) {
    let file = fs.create(&name(number), &CreateOptions::new(WriteOrigin::Metadata)).unwrap();
    file.set_len(BYTES).unwrap();
}

fn register(fs: &MemFs, registry: &FileRegistry, number: u64) -> Hold {
    create(fs, number);
    registry.register(FileKind::Table, &name(number), BYTES, None)
}

/// Runs deletions until `files` are gone, as a worker does that is woken.
struct Deleter {
    due: Mutex<bool>,
    woken: Condvar,
}

impl Deleter {
    fn of(registry: &FileRegistry) -> Arc<Deleter> {
        // Above the registry, whose drops may hold its own locks of lower levels only.
        let due = Mutex::new(Rank::new(90, "test.due"), false);
        let deleter = Arc::new(Deleter { due, woken: Condvar::new() });
        let wakes = Arc::clone(&deleter);
        registry.set_waker(Arc::new(move || {
            *wakes.due.lock() = true;
            wakes.woken.notify_one();
        }));
        deleter
    }

    fn work(self: Arc<Deleter>, registry: FileRegistry, files: u64) -> Work {
        work(move || {
            let mut gone = 0;
            while gone < files {
                let mut due = self.due.lock();
                while !std::mem::take(&mut *due) {
                    due = self.woken.wait(due);
                }
                drop(due);
                let freed = registry.run_deletions(u64::MAX);
                assert_eq!((freed.bytes, freed.failed), (freed.files * BYTES, 0));
                gone += freed.files;
            }
            assert_eq!(registry.run_deletions(u64::MAX).files, 0, "each file goes once");
        })
    }
}

/// Two readers share holds of two files that their owner lets go; a worker deletes.
fn read_held_files() {
    let (fs, files) = (MemFs::new(), 2);
    let registry = FileRegistry::new(Arc::new(fs.clone()));
    let deleter = Deleter::of(&registry).work(registry.clone(), files);
    let holds: Vec<Hold> = (0..files).map(|number| register(&fs, &registry, number)).collect();
    let reader = |by: Holder| {
        let fs = fs.clone();
        let held: Vec<Hold> = holds.iter().map(|hold| hold.share(by.clone())).collect();
        work(move || {
            for (number, hold) in (0..).zip(held) {
                let another = hold.clone();
                drop(hold);
                assert!(exists(&fs, number), "INV-FIL-1: {} is held", another.name());
            }
        })
    };
    let readers = [reader(Holder::Iterator), reader(Holder::Snapshot)];
    let owner = work(move || holds.into_iter().for_each(Hold::remove));
    together(readers.into_iter().chain([owner, deleter]));

    assert!(registry.is_idle() && (0..files).all(|number| !exists(&fs, number)));
}

#[test]
fn a_held_file_stays_and_each_goes_once() {
    explore("registry, holds", 60, read_held_files);
}

/// Files become obsolete and are deleted while two pauses, one of them in the other's time, come and go: what
/// was there when a pause began is there when it ends.
fn pause_twice() {
    let (fs, files) = (MemFs::new(), 3);
    let registry = FileRegistry::new(Arc::new(fs.clone()));
    let deleter = Deleter::of(&registry).work(registry.clone(), files);
    let holds: Vec<Hold> = (0..files).map(|number| register(&fs, &registry, number)).collect();
    let pauser = || {
        let (fs, registry) = (fs.clone(), registry.clone());
        work(move || {
            let pause = registry.pause();
            let there: Vec<u64> = (0..files).filter(|&number| exists(&fs, number)).collect();
            thread::yield_now();
            for number in there {
                assert!(exists(&fs, number), "file {number} went during a pause");
            }
            drop(pause);
        })
    };
    let pausers = [pauser(), pauser()];
    let owner = work(move || holds.into_iter().for_each(Hold::remove));
    together(pausers.into_iter().chain([owner, deleter]));

    assert!(registry.is_idle() && (0..files).all(|number| !exists(&fs, number)));
}

#[test]
fn what_is_there_when_a_pause_begins_is_there_when_it_ends() {
    explore("registry, pauses", 60, pause_twice);
}

/// A file is cut to its end beside a reader that shares a hold.
fn cut_beside_a_reader() {
    let fs = MemFs::new();
    let registry = FileRegistry::new(Arc::new(fs.clone()));
    let hold = Arc::new(register(&fs, &registry, 0));
    let size = |fs: &MemFs| fs.open(&name(0), isopach::env::OpenMode::Read).unwrap().size_bytes().unwrap();
    let reader = {
        let (fs, hold) = (fs.clone(), Arc::clone(&hold));
        work(move || {
            let held = hold.share(Holder::Iterator);
            let before = size(&fs);
            thread::yield_now();
            assert_eq!(size(&fs), before, "INV-FIL-1: a held file was cut");
            drop(held);
        })
    };
    let pauser = {
        let (fs, registry) = (fs.clone(), registry.clone());
        work(move || {
            let pause = registry.pause();
            let before = size(&fs);
            thread::yield_now();
            assert_eq!(size(&fs), before, "a file was cut during a pause");
            drop(pause);
        })
    };
    let owner = {
        let (fs, hold) = (fs.clone(), Arc::clone(&hold));
        work(move || {
            let was_cut = hold.trim(BYTES / 2).unwrap();
            assert_eq!(size(&fs), if was_cut { BYTES / 2 } else { BYTES });
        })
    };
    together([reader, pauser, owner]);
}

#[test]
fn a_file_is_cut_only_while_nobody_else_relies_on_it() {
    explore("registry, cuts", 60, cut_beside_a_reader);
}

/// A file is used again beside a pause, and beside the removal of another.
fn use_again_beside_a_pause() {
    let fs = MemFs::new();
    let registry = FileRegistry::new(Arc::new(fs.clone()));
    let mut hold = register(&fs, &registry, 0);
    register(&fs, &registry, 1).remove();
    let size = |fs: &MemFs, number| {
        let file = fs.open(&name(number), isopach::env::OpenMode::Read);
        file.ok().map(|file| file.size_bytes().unwrap())
    };
    let pauser = {
        let (fs, registry) = (fs.clone(), registry.clone());
        work(move || {
            let pause = registry.pause();
            let before = (size(&fs, 0), size(&fs, 2));
            assert!(before == (Some(BYTES), None) || before == (None, Some(BYTES / 2)), "{before:?}");
            thread::yield_now();
            assert_eq!((size(&fs, 0), size(&fs, 2)), before, "a file was used again during a pause");
            drop(pause);
        })
    };
    let owner = {
        let fs = fs.clone();
        work(move || {
            let file = fs.open(&name(0), isopach::env::OpenMode::ReadWrite).unwrap();
            let renew = || {
                thread::yield_now();
                file.set_len(BYTES / 2)
            };
            let is_reused = hold.reuse(&name(2), renew).unwrap();
            assert_eq!(exists(&fs, 2), is_reused);
        })
    };
    let deleter = work(move || {
        registry.run_deletions(u64::MAX);
    });
    together([pauser, owner, deleter]);
}

#[test]
fn a_file_is_used_again_only_while_nobody_else_relies_on_it() {
    explore("registry, files used again", 60, use_again_beside_a_pause);
}

// ----- the race of generations -----

/// What the race needs of a pause, so that another kind can take the registry's place.
trait Pauses: Clone + Send + 'static {
    type Pause: Send;

    fn of(fs: &MemFs) -> Self;
    fn pause(&self) -> Self::Pause;
    /// Lets file 0 go: now, or when no pause is on.
    fn let_go(&self);
}

#[derive(Clone)]
struct Real(FileRegistry, Arc<Mutex<Option<Hold>>>);

impl Pauses for Real {
    type Pause = DeletionPause;

    fn of(fs: &MemFs) -> Self {
        let registry = FileRegistry::new(Arc::new(fs.clone()));
        let hold = register(fs, &registry, 0);
        let weak = Arc::new(Mutex::new(RANK, Some(hold)));
        Real(registry, weak)
    }

    fn pause(&self) -> DeletionPause {
        self.0.pause()
    }

    fn let_go(&self) {
        let hold = self.1.lock().take();
        hold.expect("it goes once").remove();
    }
}

/// Pause A ends while pause B begins and lets a file go that it relies on: A must leave it to B.
fn end_one_pause_while_another_begins<P: Pauses>(delete: fn(&P)) {
    let fs = MemFs::new();
    let pauses = P::of(&fs);
    let a = pauses.pause();
    let first = {
        let pauses = pauses.clone();
        work(move || {
            drop(a);
            delete(&pauses);
        })
    };
    let second = {
        let (fs, pauses) = (fs.clone(), pauses.clone());
        work(move || {
            let b = pauses.pause();
            pauses.let_go();
            thread::yield_now();
            assert!(exists(&fs, 0), "B relies on it");
            drop(b);
        })
    };
    together([first, second]);

    delete(&pauses);
    assert!(!exists(&fs, 0), "the last pause lets it go");
}

#[test]
fn a_released_pause_leaves_the_queue_to_a_newer_one_whenever_that_begins() {
    let delete = |real: &Real| {
        real.0.run_deletions(u64::MAX);
    };
    explore("registry, generations of pauses", 100, move || {
        end_one_pause_while_another_begins::<Real>(delete)
    });
}

/// A count of pauses and a queue beside it. With `LOOKS_AGAIN` the last pause, once it has the queue, looks
/// for one that began meanwhile.
struct Counted<const LOOKS_AGAIN: bool>(Arc<Shared>);

struct Shared {
    fs: MemFs,
    pauses: AtomicU64,
    queue: Mutex<Vec<u64>>,
}

impl<const LOOKS_AGAIN: bool> Clone for Counted<LOOKS_AGAIN> {
    fn clone(&self) -> Self {
        Counted(Arc::clone(&self.0))
    }
}

impl<const LOOKS_AGAIN: bool> Pauses for Counted<LOOKS_AGAIN> {
    type Pause = CountedPause<LOOKS_AGAIN>;

    fn of(fs: &MemFs) -> Self {
        create(fs, 0);
        let queue = Mutex::new(RANK, Vec::new());
        Counted(Arc::new(Shared { fs: fs.clone(), pauses: AtomicU64::new(0), queue }))
    }

    fn pause(&self) -> Self::Pause {
        self.0.pauses.fetch_add(1, Ordering::SeqCst);
        CountedPause(Arc::clone(&self.0))
    }

    fn let_go(&self) {
        self.0.queue.lock().push(0);
    }
}

struct CountedPause<const LOOKS_AGAIN: bool>(Arc<Shared>);

impl<const LOOKS_AGAIN: bool> Drop for CountedPause<LOOKS_AGAIN> {
    fn drop(&mut self) {
        if self.0.pauses.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        let mut queue = self.0.queue.lock();
        if LOOKS_AGAIN && self.0.pauses.load(Ordering::SeqCst) > 0 {
            return;
        }
        for number in queue.drain(..) {
            self.0.fs.remove_file(&name(number)).unwrap();
        }
    }
}

#[test]
fn a_pause_that_empties_the_queue_of_a_newer_one_is_found() {
    assert!(finds(50, || end_one_pause_while_another_begins::<Counted<false>>(|_| {})));
}

#[test]
fn nothing_is_found_in_a_pause_that_looks_again() {
    assert!(!finds(50, || end_one_pause_while_another_begins::<Counted<true>>(|_| {})));
}
