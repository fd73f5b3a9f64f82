//! Checkpoints that fail: what they say, and that they leave nothing.

use super::{NO_FLUSH, checkpoint, fill, make_in, open_in, try_checkpoint};
use isopach::{
    CheckpointOptions, ErrorKind,
    env::{Call, CrashFs, Errno, Fault, FaultFs, Fs, MemFs, Rule, sync::set_point},
};
use std::{path::Path, sync::Arc, thread};
use testkit::db::{SOON, contents, files_in};

#[test]
fn a_failed_checkpoint_leaves_nothing_and_the_next_one_works() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    db.wait_idle(SOON).unwrap();
    let before = contents(&db);
    let needed = checkpoint(&db, &files, "measured").copied_bytes;
    let rooms = (0..8).map(|eighths| needed * eighths / 8).chain([needed - 1]);

    for room in rooms {
        leave(&files, room);
        let error = try_checkpoint(&db, &files, "copy").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfSpace, "with room for {room}: {error}");
        assert!(error.path().is_some_and(|path| path.starts_with("copy")), "{error:?}");
        assert!(!files.exists("copy").unwrap(), "with room for {room}");
        assert_eq!(contents(&db), before);
    }

    files.set_capacity(None);
    checkpoint(&db, &files, "copy");
    assert_eq!(contents(&open_in(&files, "copy")), before);
    db.close().unwrap();
    assert_eq!(contents(&open_in(&files, "db")), before);
}

/// Leaves space for so many bytes.
fn leave(files: &MemFs, bytes: u64) {
    files.set_capacity(Some(u64::MAX / 2));
    let used = u64::MAX / 2 - files.space_left().unwrap().expect("it is limited");
    files.set_capacity(Some(used + bytes));
}

#[test]
fn nothing_is_flushed_for_a_target_that_is_refused() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    let ks = db.keyspace("k").unwrap();
    ks.insert("a", "1").unwrap();
    files.create_dir("copy").unwrap();

    let options = CheckpointOptions::new().flush(true);
    let error = db.checkpoint_to(Arc::new(files.clone()), "copy", options).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(ks.stats().tree.flushes, 0);
}

#[test]
fn an_error_names_the_side_that_it_is_of() {
    let files = MemFs::new();
    let faulty = FaultFs::new(Arc::new(files.clone()));
    let db = make_in(&faulty, "db");
    fill(&db);
    let path_of = |rule: Rule| {
        faulty.disarm();
        faulty.arm(rule);
        let error = try_checkpoint(&db, &faulty, "copy").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(!files.exists("copy").unwrap());
        error.path().expect("it names a file").to_owned()
    };
    let fails = |call| Rule::new(Fault::Fail(Errno::Io)).on(call).times(1);

    let of_source = path_of(fails(Call::Read).named("db/wal/*"));
    let of_table = path_of(fails(Call::Link).named("db/tables/*"));
    let of_log = path_of(fails(Call::Write).named("copy/wal/*"));
    let of_directory = path_of(fails(Call::SyncDir).named("copy/tables"));

    assert!(of_source.starts_with(db.path().join("wal")), "{of_source:?}");
    assert!(of_table.starts_with("copy/tables"), "{of_table:?}");
    assert!(of_log.starts_with("copy/wal"), "{of_log:?}");
    assert_eq!(of_directory, Path::new("copy/tables"));
}

/// A copy would be as good, but whoever set the permissions is asked first.
#[test]
fn a_table_that_may_not_be_linked_is_an_error_and_is_not_copied_instead() {
    let files = MemFs::new();
    let faulty = FaultFs::new(Arc::new(files.clone()));
    let db = make_in(&faulty, "db");
    fill(&db);
    let expected = contents(&db);
    faulty.arm(Rule::new(Fault::Fail(Errno::ReadOnly)).on(Call::Link).named("db/tables/*"));

    let error = try_checkpoint(&db, &faulty, "copy").unwrap_err();

    assert_eq!(error.raw_os_error(), Some(30), "{error}");
    assert!(!files.exists("copy").unwrap());
    faulty.disarm();
    assert_eq!(contents(&db), expected);
    checkpoint(&db, &faulty, "copy");
    assert_eq!(contents(&open_in(&files, "copy")), expected);
}

/// The sync of the last rename fails, and so does taking the rename back: it may be durable, so nothing is
/// removed.
#[test]
fn a_copy_that_may_be_valid_after_a_crash_is_not_removed() {
    let files = CrashFs::new();
    let faulty = FaultFs::new(Arc::new(files.clone()));
    let db = make_in(&faulty, "db");
    fill(&db);
    let fails = |call, name| Rule::new(Fault::Fail(Errno::Io)).on(call).named(name).times(1);
    // After those of the beginning and of the manifest's name.
    faulty.arm(fails(Call::SyncDir, "copy").skip(2));
    faulty.arm(fails(Call::Rename, "copy/IDENTITY"));

    let error = try_checkpoint(&db, &faulty, "copy").unwrap_err();

    assert_eq!(faulty.fired().len(), 2, "{:?}", faulty.fired());
    assert!(error.path().is_some_and(|path| path.starts_with("copy")), "{error:?}");
    assert_eq!(contents(&open_in(&files, "copy")), contents(&db));
}

#[test]
fn a_panic_removes_the_target() {
    const PANICS: &str = "a checkpoint that panics";
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    let _panics = set_point(
        "checkpoint.captured",
        Box::new(|| assert_ne!(thread::current().name(), Some(PANICS), "a panic of the test")),
    );

    let outcome = thread::scope(|scope| {
        let making = thread::Builder::new().name(PANICS.into());
        making.spawn_scoped(scope, || try_checkpoint(&db, &files, "copy")).unwrap().join()
    });

    assert!(outcome.is_err(), "it panicked");
    assert!(!files.exists("copy").unwrap());
    checkpoint(&db, &files, "copy");
    assert_eq!(contents(&open_in(&files, "copy")), contents(&db));
}

#[test]
fn a_closed_database_has_no_checkpoint() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    let other = db.clone();
    db.close().unwrap();

    let error = other.checkpoint_to(Arc::new(files.clone()), "copy", NO_FLUSH()).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(files_in(&files, "").iter().all(|name| name != "copy"));
}
