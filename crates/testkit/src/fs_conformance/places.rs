//! Rules of files as entries: creating, removing, renaming, locking.

use super::{OPTIONS, Rule, assert_fails, assert_works, content_of, make_file, names_in, open};
use isopach_env::{CreateOptions, Fs, IoErrorKind, LockMode, OpenMode, WriteOrigin};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

pub(super) const RULES: &[Rule] = &[
    ("create makes an empty file that can be read and written", create_makes_an_empty_file),
    ("of several callers one creates", one_caller_creates),
    ("remove_file takes the name, and open handles go on", removed_files_stay_open),
    ("rename moves a file, between directories too", rename_moves),
    ("rename replaces the target, and handles of both files go on", rename_replaces),
    ("rename onto the same name changes nothing", rename_onto_itself),
    ("at every moment of a rename the target is one of the two files", rename_is_atomic),
    ("locks: an exclusive one is alone, shared ones are not", locks_exclude),
    ("locks: only an exclusive one creates its file", exclusive_locks_create),
    ("the ledger counts written bytes by origin", ledger_counts),
];

fn create_makes_an_empty_file(fs: &Arc<dyn Fs>) {
    let file = assert_works(fs.create("a", &OPTIONS), "create");

    assert_eq!(file.size_bytes(), Ok(0));
    assert_works(file.write_at(0, b"abc"), "write_at");
    assert_eq!(content_of(&file), b"abc", "the handle from create reads too");
    assert_eq!(content_of(&open(fs, "a")), b"abc", "another handle sees what was written");
}

fn one_caller_creates(fs: &Arc<dyn Fs>) {
    for round in 0..20 {
        let (files_count, dirs_count) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    match fs.create(&format!("file{round}"), &OPTIONS) {
                        Ok(_) => drop(files_count.fetch_add(1, Ordering::Relaxed)),
                        result => assert_fails(result, IoErrorKind::AlreadyExists, "create by the others"),
                    }
                    match fs.create_dir(&format!("dir{round}")) {
                        Ok(()) => drop(dirs_count.fetch_add(1, Ordering::Relaxed)),
                        result => {
                            assert_fails(result, IoErrorKind::AlreadyExists, "create_dir by the others")
                        }
                    }
                });
            }
        });
        assert_eq!(files_count.into_inner(), 1, "callers whose create succeeded");
        assert_eq!(dirs_count.into_inner(), 1, "callers whose create_dir succeeded");
    }
}

fn removed_files_stay_open(fs: &Arc<dyn Fs>) {
    let writer = make_file(fs, "a", b"old");
    let reader = open(fs, "a");

    assert_works(fs.remove_file("a"), "remove_file");

    assert_fails(fs.open("a", OpenMode::Read), IoErrorKind::NotFound, "open after remove_file");
    assert_eq!(content_of(&reader), b"old", "a handle reads on");
    assert_works(writer.write_at(3, b"er"), "a handle writes on");
    assert_eq!(content_of(&reader), b"older");
    make_file(fs, "a", b"new");
    assert_eq!(content_of(&reader), b"older", "a new file of the name is another file");
}

fn rename_moves(fs: &Arc<dyn Fs>) {
    let handle = make_file(fs, "a", b"content");
    assert_works(fs.create_dir("dir"), "create_dir");

    assert_works(fs.rename("a", "dir/b"), "rename");

    assert_eq!(names_in(fs, ""), ["dir/"]);
    assert_eq!(names_in(fs, "dir"), ["b"]);
    assert_eq!(content_of(&open(fs, "dir/b")), b"content");
    assert_works(handle.write_at(0, b"CON"), "write through a handle from before");
    assert_eq!(content_of(&open(fs, "dir/b")), b"CONtent", "a handle follows its file");
}

fn rename_replaces(fs: &Arc<dyn Fs>) {
    make_file(fs, "target", b"old");
    make_file(fs, "source", b"new one");
    let (target, source) = (open(fs, "target"), open(fs, "source"));

    assert_works(fs.rename("source", "target"), "rename");

    assert_eq!(names_in(fs, ""), ["target"]);
    assert_eq!(content_of(&open(fs, "target")), b"new one");
    assert_eq!(content_of(&target), b"old", "a handle of the replaced file reads on");
    assert_eq!(content_of(&source), b"new one");
}

fn rename_onto_itself(fs: &Arc<dyn Fs>) {
    make_file(fs, "a", b"content");

    assert_works(fs.rename("a", "a"), "rename");

    assert_eq!(names_in(fs, ""), ["a"]);
    assert_eq!(content_of(&open(fs, "a")), b"content");
}

fn rename_is_atomic(fs: &Arc<dyn Fs>) {
    make_file(fs, "current", &[0; 64]);

    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..=100 {
                make_file(fs, "next", &[round; 64]);
                assert_works(fs.rename("next", "current"), "rename");
            }
        });
        while !writer.is_finished() {
            let content = content_of(&open(fs, "current"));
            let first = content.first().copied().expect("the target is never empty");
            assert_eq!(content, [first; 64], "the target is one whole file");
        }
    });
}

fn locks_exclude(fs: &Arc<dyn Fs>) {
    if !has_locks(fs) {
        return;
    }
    let would_block = IoErrorKind::WouldBlock;

    let exclusive = assert_works(fs.lock("LOCK", LockMode::Exclusive), "exclusive beside none");
    assert_fails(fs.lock("LOCK", LockMode::Exclusive), would_block, "exclusive beside exclusive");
    assert_fails(fs.lock("LOCK", LockMode::Shared), would_block, "shared beside exclusive");
    let other = assert_works(fs.lock("OTHER", LockMode::Exclusive), "a lock of another file");
    drop((exclusive, other));

    let first = assert_works(fs.lock("LOCK", LockMode::Shared), "shared after exclusive was dropped");
    let second = assert_works(fs.lock("LOCK", LockMode::Shared), "shared beside shared");
    assert_fails(fs.lock("LOCK", LockMode::Exclusive), would_block, "exclusive beside two shared");
    drop(first);
    assert_fails(fs.lock("LOCK", LockMode::Exclusive), would_block, "exclusive beside one shared");
    drop(second);
    drop(assert_works(fs.lock("LOCK", LockMode::Exclusive), "exclusive after all were dropped"));
}

fn exclusive_locks_create(fs: &Arc<dyn Fs>) {
    if !has_locks(fs) {
        return;
    }
    assert_works(fs.create_dir("dir"), "create_dir");

    assert_fails(fs.lock("NEW", LockMode::Shared), IoErrorKind::NotFound, "shared lock of a missing file");
    assert_fails(fs.lock("x/NEW", LockMode::Exclusive), IoErrorKind::NotFound, "lock without a parent");
    assert_fails(fs.lock("dir", LockMode::Shared), IoErrorKind::IsADirectory, "shared lock of a directory");
    assert_fails(fs.lock("dir", LockMode::Exclusive), IoErrorKind::IsADirectory, "lock of a directory");
    drop(assert_works(fs.lock("NEW", LockMode::Exclusive), "exclusive lock of a missing file"));

    assert_works(fs.open("NEW", OpenMode::Read), "open the file that the lock made");
    make_file(fs, "OLD", b"who");
    drop(assert_works(fs.lock("OLD", LockMode::Exclusive), "exclusive lock of a file"));
    assert_eq!(content_of(&open(fs, "OLD")), b"who", "a lock leaves the content alone");
}

fn has_locks(fs: &Arc<dyn Fs>) -> bool {
    !fs.lock("PROBE", LockMode::Exclusive).is_err_and(|error| error.kind() == IoErrorKind::Unsupported)
}

fn ledger_counts(fs: &Arc<dyn Fs>) {
    let Some(ledger) = fs.ledger() else {
        return;
    };

    for origin in WriteOrigin::ALL {
        let before = ledger.bytes(origin);
        let file = assert_works(fs.create(origin.name(), &CreateOptions::new(origin)), "create");
        assert_works(file.write_at(7, b"0123456789"), "write_at");
        assert_works(file.set_len(100), "set_len");
        assert_eq!(ledger.bytes(origin) - before, 10, "bytes written for {}", origin.name());
    }
}
