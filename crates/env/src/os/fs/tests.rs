//! What [`OsFs`] adds to the contract: paths, permissions, links, the ledger. The contract itself is tested
//! by `testkit::fs_conformance`.

use super::*;
use crate::{error::IoError, file::SyncMode, os::calls::interruptions};
use std::{
    os::unix::fs::{PermissionsExt, symlink},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

const SITE: SyncSite = SyncSite("test");
const LOG: CreateOptions = CreateOptions::new(WriteOrigin::Log);

/// A directory of one test, removed with everything in it at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(std::format!("isopach-env-{}-{number}", process::id()));
        fs::create_dir(&path).expect("the temporary directory is writable, and the name is new");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kind_of<T>(result: IoResult<T>) -> Option<IoErrorKind> {
    result.err().map(|error: IoError| error.kind())
}

#[test]
fn a_root_must_be_a_directory_that_exists() {
    let scratch = Scratch::new();
    fs::write(scratch.0.join("file"), b"").expect("new");

    assert_eq!(kind_of(OsFs::new(scratch.0.join("missing"))), Some(IoErrorKind::NotFound));
    assert_eq!(kind_of(OsFs::new(scratch.0.join("file"))), Some(IoErrorKind::NotADirectory));
    assert!(OsFs::new(&scratch.0).is_ok());
}

#[test]
fn a_root_is_made_by_one_caller_only() {
    let scratch = Scratch::new();
    let root = scratch.0.join("root");

    assert!(OsFs::create(&root).is_ok());

    assert_eq!(kind_of(OsFs::create(&root)), Some(IoErrorKind::AlreadyExists));
    assert_eq!(kind_of(OsFs::create(scratch.0.join("a/b"))), Some(IoErrorKind::NotFound));
}

#[test]
fn files_and_directories_are_their_owners_alone() {
    let scratch = Scratch::new();
    let root = scratch.0.join("root");
    let files = OsFs::create(&root).expect("new");
    files.create_dir("dir").expect("new");
    files.create("file", &LOG).expect("new");
    drop(files.lock("LOCK", LockMode::Exclusive).expect("new"));

    let mode =
        |name: &str| fs::metadata(root.join(name)).expect("was just made").permissions().mode() & 0o777;

    assert_eq!([mode(""), mode("dir"), mode("file"), mode("LOCK")], [0o700, 0o700, 0o600, 0o600]);
}

#[test]
fn an_error_keeps_the_number_of_the_system() {
    let scratch = Scratch::new();
    let files = OsFs::new(&scratch.0).expect("exists");

    let error = files.open("missing", OpenMode::Read).expect_err("missing");

    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::NOENT.raw_os_error()));
}

#[test]
fn a_shared_lock_needs_no_permission_to_write_and_leaves_the_file_as_it_is() {
    let scratch = Scratch::new();
    let files = OsFs::new(&scratch.0).expect("exists");
    let path = scratch.0.join("LOCK");
    fs::write(&path, b"who").expect("new");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("ours");

    drop(files.lock("LOCK", LockMode::Shared).expect("readable"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
    drop(files.lock("LOCK", LockMode::Exclusive).expect("free"));

    assert_eq!(fs::read(&path).expect("readable"), b"who");
}

#[test]
fn locks_of_two_backends_over_one_directory_conflict() {
    let scratch = Scratch::new();
    let (one, two) = (OsFs::new(&scratch.0).expect("exists"), OsFs::new(&scratch.0).expect("exists"));
    let held = one.lock("LOCK", LockMode::Exclusive).expect("free");

    assert_eq!(kind_of(two.lock("LOCK", LockMode::Exclusive)), Some(IoErrorKind::WouldBlock));
    assert_eq!(kind_of(two.lock("LOCK", LockMode::Shared)), Some(IoErrorKind::WouldBlock));
    drop(held);

    assert!(two.lock("LOCK", LockMode::Exclusive).is_ok());
}

#[test]
fn a_directory_behind_a_symbolic_link_is_a_directory() {
    let scratch = Scratch::new();
    let (root, elsewhere) = (scratch.0.join("root"), scratch.0.join("elsewhere"));
    let files = OsFs::create(&root).expect("new");
    fs::create_dir(&elsewhere).expect("new");
    symlink(&elsewhere, root.join("tables")).expect("new");
    symlink("nowhere", root.join("dangling")).expect("new");

    files.create("tables/a", &LOG).expect("new");
    let mut entries = files.list("").expect("exists");
    entries.sort();

    let expected = [("dangling", false), ("tables", true)];
    assert_eq!(entries, expected.map(|(name, is_dir)| DirEntry { name: name.into(), is_dir }));
    assert!(elsewhere.join("a").is_file());
}

#[test]
fn names_that_no_method_takes_are_not_listed() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let files = OsFs::new(&scratch.0).expect("exists");
    fs::write(scratch.0.join("a\\b"), b"").expect("new");
    // Some systems refuse names that are not UTF-8 themselves.
    let _ = fs::write(scratch.0.join(std::ffi::OsStr::from_bytes(b"\xFF")), b"");
    fs::write(scratch.0.join("a"), b"").expect("new");

    let entries = files.list("").expect("exists");

    assert_eq!(entries, [DirEntry { name: "a".into(), is_dir: false }]);
}

#[test]
fn a_root_named_relative_to_the_working_directory_is_kept_absolute() {
    assert!(OsFs::new(".").expect("exists").root.is_absolute());
}

#[test]
fn written_bytes_are_counted_for_all_clones_by_what_the_file_was_created_for() {
    let scratch = Scratch::new();
    let files = OsFs::new(&scratch.0).expect("exists");

    files.clone().create("a", &LOG).expect("new").write_at(0, b"0123").expect("writable");
    files.open("a", OpenMode::ReadWrite).expect("exists").write_at(0, b"01").expect("writable");

    let ledger = files.ledger().expect("counts");
    assert_eq!(ledger.bytes(WriteOrigin::Log), 4);
    assert_eq!(ledger.bytes(WriteOrigin::Metadata), 2);
}

#[test]
fn space_left_is_known() {
    let scratch = Scratch::new();
    let files = OsFs::new(&scratch.0).expect("exists");

    assert!(files.space_left().expect("the system tells").is_some_and(|bytes| bytes > 0));
}

#[test]
fn a_name_too_long_for_the_system_is_an_invalid_name() {
    let scratch = Scratch::new();
    let files = OsFs::new(&scratch.0).expect("exists");

    assert_eq!(kind_of(files.create(&"x".repeat(5_000), &LOG)), Some(IoErrorKind::InvalidName));
}

/// Runs `call` again and again, on an empty directory each time, with each of its system calls interrupted
/// once. Returns how many there are.
fn interrupt_each_system_call<T>(
    prepare: impl Fn(&OsFs),
    call: impl Fn(&OsFs) -> IoResult<T>,
    check: impl Fn(&OsFs, T),
) -> u32 {
    for calls in 0.. {
        let scratch = Scratch::new();
        let fs = OsFs::new(&scratch.0).expect("exists");
        prepare(&fs);

        interruptions::after(calls);
        let result = call(&fs);
        let was_interrupted = interruptions::happened();

        check(&fs, result.unwrap_or_else(|error| panic!("system call {calls} was interrupted: {error}")));
        if !was_interrupted {
            return calls;
        }
    }
    unreachable!("there are not so many system calls")
}

#[test]
fn an_interruption_of_any_system_call_is_made_good() {
    let file = |fs: &OsFs| fs.create("file", &LOG).expect("new").write_at(0, b"0123").expect("writable");
    let open = |fs: &OsFs| fs.open("file", OpenMode::ReadWrite).expect("exists");
    let sized = |bytes| move |fs: &OsFs, ()| assert_eq!(open(fs).size_bytes(), Ok(bytes));
    let nothing = |_: &OsFs| {};
    let exists = |name, expected| move |fs: &OsFs, ()| assert_eq!(fs.exists(name), Ok(expected));

    // Each with the system calls it makes: a call that passed by the loop would be missing here.
    let root = |fs: &OsFs| OsFs::new(&*fs.root).map(drop);
    assert_eq!(interrupt_each_system_call(nothing, root, |_, ()| {}), 2);
    let made = |fs: &OsFs| OsFs::create(fs.root.join("new")).map(drop);
    assert_eq!(interrupt_each_system_call(nothing, made, exists("new", true)), 3);
    let opened = |fs: &OsFs| fs.open("file", OpenMode::Read).map(drop);
    assert_eq!(interrupt_each_system_call(file, opened, |_, ()| {}), 2);
    let created = |fs: &OsFs| fs.create("new", &LOG).map(drop);
    assert_eq!(interrupt_each_system_call(nothing, created, exists("new", true)), 1);
    let directory = |fs: &OsFs| fs.create_dir("new");
    assert_eq!(interrupt_each_system_call(nothing, directory, exists("new", true)), 1);
    let removed = |fs: &OsFs| fs.remove_file("file");
    assert_eq!(interrupt_each_system_call(file, removed, exists("file", false)), 2);
    let dir = |fs: &OsFs| fs.create_dir("dir").expect("new");
    assert_eq!(interrupt_each_system_call(dir, |fs| fs.remove_dir("dir"), exists("dir", false)), 1);
    let renamed = |fs: &OsFs| fs.rename("file", "new");
    assert_eq!(interrupt_each_system_call(file, renamed, exists("new", true)), 3);
    let linked = |fs: &OsFs| fs.link("file", "new");
    assert_eq!(interrupt_each_system_call(file, linked, exists("new", true)), 2);
    assert_eq!(interrupt_each_system_call(nothing, |fs| fs.sync_dir("", SITE), |_, ()| {}), 3);
    assert_eq!(interrupt_each_system_call(nothing, |fs| fs.sync_parent(SITE), |_, ()| {}), 3);
    let locked = |fs: &OsFs| fs.lock("file", LockMode::Exclusive);
    assert_eq!(interrupt_each_system_call(file, locked, |fs, _lock| assert!(locked(fs).is_err())), 3);
    assert_eq!(interrupt_each_system_call(nothing, OsFs::space_left, |_, left| assert!(left.is_some())), 1);
    let asked = |fs: &OsFs| fs.exists("file");
    assert_eq!(interrupt_each_system_call(file, asked, |_, exists| assert!(exists)), 1);

    let written = |fs: &OsFs| open(fs).write_at(4, b"4567");
    assert_eq!(interrupt_each_system_call(file, written, sized(8)), 2 + 1, "opening takes two");
    let read = |fs: &OsFs| open(fs).read_exact_at(0, &mut [0; 4]);
    assert_eq!(interrupt_each_system_call(file, read, |_, ()| {}), 2 + 1);
    for mode in [SyncMode::Durable, SyncMode::Full] {
        assert_eq!(interrupt_each_system_call(file, |fs| open(fs).sync(mode, SITE), |_, ()| {}), 2 + 1);
    }
    assert_eq!(interrupt_each_system_call(file, |fs| open(fs).set_len(7), sized(7)), 2 + 1);
    let reserved = |fs: &OsFs| match open(fs).allocate(9) {
        Err(error) if error.kind() == IoErrorKind::Unsupported => open(fs).set_len(9),
        result => result,
    };
    assert!(interrupt_each_system_call(file, reserved, sized(9)) > 2);
    let measured = |fs: &OsFs| open(fs).size_bytes();
    assert_eq!(interrupt_each_system_call(file, measured, |_, bytes| assert_eq!(bytes, 4)), 2 + 1);
}

#[test]
fn a_listing_that_is_interrupted_starts_again() {
    let three = |fs: &OsFs| {
        for name in ["a", "b", "c"] {
            fs.create(name, &LOG).expect("new");
        }
    };

    let system_calls = interrupt_each_system_call(
        three,
        |fs| fs.list(""),
        |_, entries| assert_eq!(entries.len(), 3, "each once: {entries:?}"),
    );

    assert!(system_calls > 4, "to open, and an entry at a time to the end: {system_calls}");
}
