//! What the registry keeps and what it removes.

extern crate std;

use super::*;
use alloc::{format, string::ToString, vec};
use core::sync::atomic::{AtomicUsize, Ordering};
use isopach_env::{CreateOptions, DirEntry, File, IoResult, MemFs, SyncSite, WriteOrigin, sync::set_point};
use std::{
    boxed::Box,
    sync::{Barrier, mpsc},
    thread,
};

fn store() -> (MemFs, FileRegistry) {
    let fs = MemFs::new();
    fs.create_dir("tables").unwrap();
    (fs.clone(), FileRegistry::new(Arc::new(fs)))
}

/// A file of `bytes` bytes that exists and is registered.
fn table(fs: &MemFs, registry: &FileRegistry, number: u64, bytes: u64) -> Hold {
    let name = format!("tables/{number:06}.table");
    let file = fs.create(&name, &CreateOptions::new(WriteOrigin::Metadata)).unwrap();
    file.set_len(bytes).unwrap();
    registry.register(FileKind::Table, &name, bytes, Some(TreeId(7)))
}

fn exists(fs: &MemFs, number: u64) -> bool {
    fs.exists(&format!("tables/{number:06}.table")).unwrap()
}

fn freed(files: u64, bytes: u64) -> Freed {
    Freed { files, bytes, failed: 0 }
}

/// A backend whose removals fail while told to.
struct Stubborn {
    inner: MemFs,
    failures_left: AtomicUsize,
}

impl Fs for Stubborn {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        self.inner.open(name, mode)
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        self.inner.create(name, options)
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        self.inner.create_dir(name)
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        let one_less = |left: usize| left.checked_sub(1);
        if self.failures_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            return Err(IoErrorKind::Other.into());
        }
        self.inner.remove_file(name)
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        self.inner.remove_dir(name)
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        self.inner.rename(from, to)
    }

    fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()> {
        self.inner.sync_dir(dir, site)
    }
}

#[test]
fn a_new_registry_is_empty() {
    let (_, registry) = store();

    assert_eq!(registry.stats(), RegistryStats::default());
    assert_eq!((registry.live(), registry.pending()), (vec![], vec![]));
    assert!(registry.is_idle());
    assert_eq!(registry.run_deletions(u64::MAX), Freed::default());
}

#[test]
fn a_registered_file_is_live_with_its_facts() {
    let (fs, registry) = store();

    let hold = table(&fs, &registry, 1, 100);

    let expected = LiveFile {
        name: "tables/000001.table".to_string(),
        kind: FileKind::Table,
        bytes: 100,
        tree: Some(TreeId(7)),
        holders: vec![],
    };
    assert_eq!(registry.live(), [expected]);
    assert_eq!((hold.name(), hold.bytes()), ("tables/000001.table", 100));
    hold.set_bytes(150);
    assert_eq!(registry.stats(), RegistryStats { live_files: 1, live_bytes: 150, ..Default::default() });
}

#[test]
fn a_file_that_is_not_obsolete_is_only_forgotten() {
    let (fs, registry) = store();

    drop(table(&fs, &registry, 1, 100));

    assert_eq!(registry.run_deletions(u64::MAX), Freed::default());
    assert!(exists(&fs, 1));
    assert_eq!(registry.stats(), RegistryStats::default());
}

#[test]
fn an_obsolete_file_without_holds_is_removed_and_counted() {
    let (fs, registry) = store();
    table(&fs, &registry, 1, 100).remove();
    table(&fs, &registry, 2, 30).remove();
    let kept = table(&fs, &registry, 3, 7);

    assert_eq!(registry.stats().pending_bytes, 130);
    assert_eq!(registry.run_deletions(u64::MAX), freed(2, 130));

    assert!(!exists(&fs, 1) && !exists(&fs, 2) && exists(&fs, 3));
    assert!(registry.is_idle());
    assert_eq!(kept.bytes(), 7);
}

#[test]
fn a_second_run_of_deletions_finds_nothing() {
    let (fs, registry) = store();
    table(&fs, &registry, 1, 100).remove();

    assert_eq!(registry.run_deletions(u64::MAX), freed(1, 100));
    assert_eq!(registry.run_deletions(u64::MAX), Freed::default());
}

#[test]
fn marking_twice_removes_once() {
    let (fs, registry) = store();
    let hold = table(&fs, &registry, 1, 100);

    hold.mark_obsolete();
    hold.mark_obsolete();
    hold.remove();

    assert_eq!(registry.run_deletions(u64::MAX), freed(1, 100));
}

#[test]
fn a_reader_blocks_the_removal_and_its_drop_allows_it() {
    let (fs, registry) = store();
    let hold = table(&fs, &registry, 1, 100);
    let reader = hold.clone();
    hold.remove();

    assert_eq!(registry.run_deletions(u64::MAX), Freed::default());
    assert!(exists(&fs, 1));
    assert!(!registry.is_idle());
    drop(reader);
    assert_eq!(registry.run_deletions(u64::MAX), freed(1, 100));
    assert!(!exists(&fs, 1));
}

#[test]
fn a_live_file_is_never_removed_whatever_shares_it() {
    let (fs, registry) = store();
    let hold = table(&fs, &registry, 1, 100);

    for _ in 0..3 {
        drop(hold.share(Holder::Iterator));
        registry.run_deletions(u64::MAX);
    }

    assert!(exists(&fs, 1));
    assert_eq!(registry.stats().live_files, 1);
}

#[test]
fn holders_are_listed_each_once() {
    let (fs, registry) = store();
    let hold = table(&fs, &registry, 1, 100);
    let iterator = hold.share(Holder::Iterator);
    let another = iterator.clone();
    let snapshot = hold.share(Holder::Snapshot);

    assert_eq!(registry.live()[0].holders, [Holder::Iterator, Holder::Snapshot]);

    drop((iterator, snapshot));
    hold.mark_obsolete();
    assert_eq!(registry.live(), []);
    assert_eq!(registry.pending()[0].holders, [Holder::Iterator, Holder::OlderVersion]);
    drop((another, hold));
    let pause = registry.pause();
    assert_eq!(registry.pending()[0].holders, [Holder::Pause]);
    drop(pause);
    assert_eq!(registry.pending()[0].holders, []);
}

#[test]
fn a_removal_survives_a_pause_and_happens_at_its_release() {
    let (fs, registry) = store();
    let hold = table(&fs, &registry, 1, 100);
    let pause = registry.pause();
    hold.remove();

    assert_eq!(registry.run_deletions(u64::MAX), Freed::default());
    assert!(exists(&fs, 1));
    assert_eq!(registry.stats().pauses, 1);

    drop(pause);
    assert_eq!(registry.run_deletions(u64::MAX), freed(1, 100));
    assert!(!exists(&fs, 1));
}

#[test]
fn queueing_without_a_pause_does_no_io() {
    let (fs, registry) = store();

    table(&fs, &registry, 1, 100).remove();

    assert!(exists(&fs, 1), "a drop only queues");
    assert_eq!(registry.stats().pending_files, 1);
}

#[test]
fn nested_pauses_release_only_on_the_last() {
    let (fs, registry) = store();
    let (outer, inner) = (registry.pause(), registry.pause());
    table(&fs, &registry, 1, 100).remove();

    drop(outer);
    assert_eq!(registry.run_deletions(u64::MAX), Freed::default());
    drop(inner);
    assert_eq!(registry.run_deletions(u64::MAX), freed(1, 100));
}

/// Pause A is released; before its thread looks at the queue, pause B begins and a file is queued under it.
/// A must not give that file away: B relies on it.
#[test]
fn a_released_pause_leaves_the_queue_to_a_newer_one() {
    let (fs, registry) = store();
    let drains = run_deletions_when_woken(&registry);
    let hold = table(&fs, &registry, 1, 100);
    let a = registry.pause();
    let (at_point, arrived) = mpsc::channel();
    let go_on = Arc::new(Barrier::new(2));
    let released = {
        let go_on = Arc::clone(&go_on);
        move || {
            let me = thread::current().id();
            let _hook = set_point(
                "registry.pause_released",
                Box::new(move || {
                    // Pauses of other tests pass here too.
                    if thread::current().id() == me {
                        at_point.send(()).unwrap();
                        go_on.wait();
                    }
                }),
            );
            drop(a);
        }
    };

    let b = thread::scope(|scope| {
        scope.spawn(released);
        arrived.recv().unwrap();
        let b = registry.pause();
        hold.remove();
        go_on.wait();
        b
    });

    assert_eq!(drains.load(Ordering::Relaxed), 0, "the release of A found B's pause");
    assert!(exists(&fs, 1));
    drop(b);
    assert_eq!(drains.load(Ordering::Relaxed), 1);
    assert!(!exists(&fs, 1));
}

/// Makes the registry run its deletions where it would wake a thread; the count is of wakes.
fn run_deletions_when_woken(registry: &FileRegistry) -> Arc<AtomicUsize> {
    let wakes = Arc::new(AtomicUsize::new(0));
    let (count, shared) = (Arc::clone(&wakes), Arc::downgrade(&registry.0));
    registry.set_waker(Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        FileRegistry(shared.upgrade().expect("it outlives its waker")).run_deletions(u64::MAX);
    }));
    wakes
}

#[test]
fn the_waker_is_called_when_there_is_work_and_only_then() {
    let (fs, registry) = store();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    registry.set_waker(Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    }));

    drop(table(&fs, &registry, 1, 1));
    drop(registry.pause());
    assert_eq!(calls.load(Ordering::Relaxed), 0);

    let pause = registry.pause();
    table(&fs, &registry, 2, 1).remove();
    assert_eq!(calls.load(Ordering::Relaxed), 0, "paused");
    drop(pause);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    table(&fs, &registry, 3, 1).remove();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn deletions_are_paced_by_bytes_but_always_go_on() {
    let (fs, registry) = store();
    for number in 1..=3 {
        table(&fs, &registry, number, 100).remove();
    }

    assert_eq!(registry.run_deletions(200), freed(2, 200));
    assert_eq!(registry.run_deletions(1), freed(1, 100), "a file larger than the budget goes all the same");
}

#[test]
fn a_failed_removal_is_kept_for_the_next_run() {
    let fs = MemFs::new();
    fs.create_dir("tables").unwrap();
    let stubborn = Stubborn { inner: fs.clone(), failures_left: AtomicUsize::new(1) };
    let registry = FileRegistry::new(Arc::new(stubborn));
    table(&fs, &registry, 1, 100).remove();
    table(&fs, &registry, 2, 10).remove();

    assert_eq!(registry.run_deletions(u64::MAX), Freed { files: 1, bytes: 10, failed: 1 });
    assert!(exists(&fs, 1) && !exists(&fs, 2) && !registry.is_idle());
    assert_eq!(registry.run_deletions(u64::MAX), freed(1, 100));
    assert!(registry.is_idle());
}

#[test]
fn a_file_that_is_gone_already_counts_as_removed() {
    let (fs, registry) = store();
    table(&fs, &registry, 1, 100).remove();
    fs.remove_file("tables/000001.table").unwrap();

    assert_eq!(registry.run_deletions(u64::MAX), freed(1, 100));
    assert!(registry.is_idle());
}

#[test]
fn a_trim_needs_the_only_hold_and_no_pause() {
    let (fs, registry) = store();
    let hold = table(&fs, &registry, 1, 100);

    let other = hold.share(Holder::Iterator);
    assert!(!hold.trim(40).unwrap());
    drop(other);
    let pause = registry.pause();
    assert!(!hold.trim(40).unwrap());
    assert_eq!(hold.bytes(), 100);
    drop(pause);
    assert!(hold.trim(40).unwrap());

    assert_eq!(hold.bytes(), 40);
    assert_eq!(fs.open(hold.name(), OpenMode::Read).unwrap().size_bytes().unwrap(), 40);
}

#[test]
fn a_file_is_used_again_by_its_only_holder_and_in_no_pause() {
    let (fs, registry) = store();
    let mut hold = table(&fs, &registry, 1, 100);
    let unwanted = || -> IoResult<()> { panic!("nothing is to be written") };

    let other = hold.share(Holder::Iterator);
    assert!(!hold.reuse("tables/000002.table", unwanted).unwrap());
    drop(other);
    let pause = registry.pause();
    assert!(!hold.reuse("tables/000002.table", unwanted).unwrap());
    drop(pause);
    let failed = hold.reuse("tables/000002.table", || Err(IoErrorKind::Other.into()));
    assert!(failed.is_err() && exists(&fs, 1) && !exists(&fs, 2));
    assert!(hold.reuse("tables/000002.table", || Ok(())).unwrap());

    assert!(!exists(&fs, 1) && exists(&fs, 2));
    assert_eq!(registry.live()[0].name, "tables/000002.table");
    hold.remove();
    assert_eq!(registry.run_deletions(u64::MAX), freed(1, 100));
    assert!(!exists(&fs, 2), "it goes under its new name");
}

#[test]
fn threads_register_at_once_and_all_files_are_listed() {
    let (fs, registry) = store();

    let holds: Vec<Hold> = thread::scope(|scope| {
        let register = |number| {
            let (fs, registry) = (fs.clone(), registry.clone());
            scope.spawn(move || table(&fs, &registry, number, 10))
        };
        let threads: Vec<_> = (0..10).map(register).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });

    assert_eq!(registry.stats(), RegistryStats { live_files: 10, live_bytes: 100, ..Default::default() });
    drop(holds);
}

/// Readers that take and drop holds race the deleter: each file is removed exactly once, and only after its
/// last hold.
#[test]
fn holds_that_race_deletions_remove_each_file_exactly_once() {
    const FILES: u64 = 10;
    let (fs, registry) = store();
    let holds: Vec<Hold> = (0..FILES).map(|number| table(&fs, &registry, number, 10)).collect();
    let removed = AtomicUsize::new(0);
    let readers_left = AtomicUsize::new(10);

    thread::scope(|scope| {
        for _ in 0..10 {
            let mine: Vec<Hold> = holds.to_vec();
            let (fs, readers_left) = (&fs, &readers_left);
            scope.spawn(move || {
                for turn in 0..1_000 {
                    let hold = &mine[turn % mine.len()];
                    let reader = hold.share(Holder::Iterator);
                    assert!(fs.exists(reader.name()).unwrap());
                    drop(reader);
                }
                drop(mine);
                readers_left.fetch_sub(1, Ordering::Release);
            });
        }
        holds.into_iter().for_each(Hold::remove);
        while readers_left.load(Ordering::Acquire) > 0 {
            removed.fetch_add(registry.run_deletions(u64::MAX).files as usize, Ordering::Relaxed);
            thread::yield_now();
        }
        removed.fetch_add(registry.run_deletions(u64::MAX).files as usize, Ordering::Relaxed);
    });

    assert_eq!(removed.load(Ordering::Relaxed), FILES as usize);
    assert!(registry.is_idle());
    assert!((0..FILES).all(|number| !exists(&fs, number)));
}
