//! Where a checkpoint is made: on the same files, on others, and what is there before.

use super::{NO_FLUSH, checkpoint, fill, make_in, open_in, sizes, sub};
use isopach::{
    Db, ErrorKind,
    env::{CrashFs, CreateOptions, Fs, MemFs, OpenMode, OsFs, WriteOrigin},
};
use std::sync::Arc;
use testkit::TempDir;
use testkit::db::{all_bytes, contents, files_in, small, tiny};

#[test]
fn the_size_told_is_that_of_the_files() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);

    let info = checkpoint(&db, &files, "copy");

    let sizes = sizes(&files, "copy");
    assert_eq!(info.files, sizes.len() as u64, "{sizes:?}");
    assert_eq!(info.bytes, sizes.values().sum::<u64>());
}

#[test]
fn a_target_that_is_there_is_refused_and_left_alone() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    checkpoint(&db, &files, "copy");
    let before = sizes(&files, "copy");
    files.create_dir("empty").unwrap();
    files.create("file", &CreateOptions::new(WriteOrigin::Metadata)).unwrap();

    for taken in ["copy", "empty", "file"] {
        let error = db.checkpoint_to(Arc::new(files.clone()), taken, NO_FLUSH()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{taken}: {error}");
    }
    let error = db.checkpoint_to(Arc::new(files.clone()), "missing/copy", NO_FLUSH()).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(sizes(&files, "copy"), before);
}

#[test]
fn half_of_a_checkpoint_is_refused() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    let refused = |name: &str| small(sub(&files, name)).open().unwrap_err();

    checkpoint(&db, &files, "unfinished");
    files.rename("unfinished/IDENTITY", "unfinished/PARTIAL").unwrap();
    let error = refused("unfinished");
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.to_string().contains("PARTIAL"), "{error}");
}

/// It must not be taken for a new database: that would be an empty one.
#[test]
fn a_checkpoint_without_its_identity_or_manifest_is_refused_and_left_as_it_is() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);

    for missing in ["IDENTITY", "MANIFEST-000001"] {
        checkpoint(&db, &files, missing);
        files.remove_file(&format!("{missing}/{missing}")).unwrap();
        assert_refused_and_unchanged(&files, missing);
    }
}

#[test]
fn a_checkpoint_with_a_damaged_identity_or_manifest_is_refused_and_left_as_it_is() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);

    for (damaged, at) in [("IDENTITY", 40), ("MANIFEST-000001", 100)] {
        checkpoint(&db, &files, damaged);
        let file = files.open(&format!("{damaged}/{damaged}"), OpenMode::ReadWrite).unwrap();
        let mut byte = [0];
        file.read_exact_at(at, &mut byte).unwrap();
        file.write_at(at, &[byte[0] ^ 1]).unwrap();
        assert_refused_and_unchanged(&files, damaged);
    }
}

fn assert_refused_and_unchanged(files: &MemFs, name: &str) {
    let contents = || {
        let mut bytes = all_bytes(&sub(files, name));
        bytes.retain(|(name, _)| name != "LOCK"); // Whoever looks takes it.
        bytes
    };
    let before = contents();

    let errors = [
        small(sub(files, name)).open().map(drop).unwrap_err(),
        small(sub(files, name)).open_read_only().map(drop).unwrap_err(),
    ];

    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Corruption), "{name}: {errors:?}");
    assert_eq!(contents(), before, "{name}: nothing is repaired or made anew silently");
}

#[test]
fn a_checkpoint_crosses_backends() {
    let memory = MemFs::new();
    let dir = TempDir::new();
    let on_disk = tiny(Db::builder(dir.path().join("db"))).open().unwrap();
    fill(&on_disk);
    let expected = contents(&on_disk);

    let info = on_disk.checkpoint_to(Arc::new(memory.clone()), "copy", NO_FLUSH()).unwrap();
    assert_eq!(info.linked_files + info.cloned_files, 0, "{info:?}");
    let in_memory = open_in(&memory, "copy");
    assert_eq!(contents(&in_memory), expected);
    in_memory.checkpoint(dir.path().join("back")).unwrap();

    assert_eq!(contents(&tiny(Db::builder(dir.path().join("back"))).open().unwrap()), expected);
}

/// Links and clones end at the edge of a file system; a copy does not.
#[cfg(target_os = "linux")]
#[test]
fn a_checkpoint_crosses_file_systems() {
    use std::{fs, os::unix::fs::MetadataExt, path::Path, process};
    let (dir, memory) = (TempDir::new(), Path::new("/dev/shm"));
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let db = tiny(Db::builder(dir.path().join("db"))).open().unwrap();
    fill(&db);
    let is_elsewhere = device(memory).is_some() && device(memory) != device(dir.path());
    let target =
        if is_elsewhere { memory } else { dir.path() }.join(format!("isopach-copy-{}", process::id()));

    let info = db.checkpoint(&target).unwrap();

    let found = contents(&tiny(Db::builder(&target)).open().unwrap());
    fs::remove_dir_all(&target).unwrap();
    assert_eq!(info.linked_files + info.cloned_files == 0, is_elsewhere, "{info:?}");
    assert_eq!(found, contents(&db));
}

/// Names within a backend have no `.`; paths of the system may.
#[test]
fn a_target_in_memory_is_a_name() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);

    checkpoint(&db, &files, "copy");
    let error = db.checkpoint_to(Arc::new(files.clone()), "./other", NO_FLUSH()).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert_eq!(contents(&open_in(&files, "copy")), contents(&db));
}

#[test]
fn on_disk_tables_are_shared() {
    let dir = TempDir::new();
    let db = tiny(Db::builder(dir.path().join("db"))).open().unwrap();
    fill(&db);

    let info = db.checkpoint(dir.path().join("./copy")).unwrap();

    assert!(info.tables > 0);
    assert_eq!(info.linked_files + info.cloned_files, info.tables, "{info:?}");
    assert_eq!(contents(&tiny(Db::builder(dir.path().join("copy"))).open().unwrap()), contents(&db));
    for (path, kind) in [("", ErrorKind::InvalidArgument), ("/", ErrorKind::InvalidArgument)] {
        assert_eq!(db.checkpoint(path).unwrap_err().kind(), kind, "{path:?}");
    }
    assert_eq!(db.checkpoint(dir.path().join("no/copy")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn places_of_one_kind_that_share_no_files_get_copies() {
    fn check(from: &(impl Fs + Clone), to: &(impl Fs + Clone)) {
        let db = make_in(from, "db");
        fill(&db);

        let info = checkpoint(&db, to, "copy");

        assert!(info.tables > 0 && info.linked_files + info.cloned_files == 0, "{info:?}");
        assert_eq!(contents(&open_in(to, "copy")), contents(&db));
    }

    check(&MemFs::new(), &MemFs::new());
    check(&CrashFs::new(), &CrashFs::new());
}

#[test]
fn a_target_in_the_database_itself_is_refused() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    let refused = |fs: Arc<dyn Fs>, name: &str| {
        let error = db.checkpoint_to(fs, name, NO_FLUSH()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name}: {error}");
    };

    refused(Arc::new(files.clone()), "db/copy");
    refused(Arc::new(files.clone()), "db/tables/copy");
    refused(Arc::new(sub(&files, "db")), "copy");
    refused(Arc::new(sub(&files, "db/wal")), "copy");

    for directory in ["db", "db/tables", "db/wal"] {
        assert!(!files_in(&files, directory).contains(&"copy".into()), "in {directory}");
    }
    files.create_dir("other").unwrap();
    checkpoint(&db, &files, "other/tables");
    assert_eq!(contents(&open_in(&files, "other/tables")), contents(&db));
}

#[test]
fn on_disk_a_target_in_the_database_itself_is_refused() {
    let dir = TempDir::new();
    let db = tiny(Db::builder(dir.path().join("db"))).open().unwrap();
    db.keyspace("k").unwrap().insert("a", "1").unwrap();
    let refused = |result: isopach::Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    };

    for path in ["db/copy", "db/tables/copy", "db/../db/wal/copy"] {
        refused(db.checkpoint(dir.path().join(path)).map(drop));
    }
    let around: Arc<dyn Fs> = Arc::new(OsFs::new(dir.path()).unwrap());
    refused(db.checkpoint_to(around, "db/copy", NO_FLUSH()).map(drop));

    assert!(!dir.path().join("db/copy").exists());
    db.checkpoint(dir.path().join("db-copy")).unwrap();
    assert_eq!(contents(&tiny(Db::builder(dir.path().join("db-copy"))).open().unwrap()), contents(&db));
}
