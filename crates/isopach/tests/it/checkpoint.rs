//! Checkpoints: what they hold, that they stand alone, and what a failed one leaves.

use crate::support::{
    SOON, contents, entries, env_of, files_in, small, tiny, tiny_tables, volatile, wait_until,
};
use isopach::{
    CheckpointOptions, Db, ErrorKind, Seqno,
    engine::store::{Store, StoreOptions},
    env::{CreateOptions, Fs, MemFs, OpenMode, SubDir, WriteOrigin},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use testkit::TempDir;

const NO_FLUSH: fn() -> CheckpointOptions = CheckpointOptions::new;

fn sub(files: &MemFs, name: &str) -> SubDir {
    SubDir::open(Arc::new(files.clone()), name).unwrap()
}

/// A database in the directory `name`.
fn open_in(files: &MemFs, name: &str) -> Db {
    small(sub(files, name)).open().unwrap()
}

fn make_in(files: &MemFs, name: &str) -> Db {
    files.create_dir(name).unwrap();
    open_in(files, name)
}

fn checkpoint(db: &Db, files: &MemFs, name: &str) -> isopach::CheckpointInfo {
    db.checkpoint_to(Arc::new(files.clone()), name, NO_FLUSH()).unwrap()
}

/// Bytes of every file of a directory and its subdirectories.
fn sizes(fs: &dyn Fs, dir: &str) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for entry in fs.list(dir).unwrap() {
        let name = format!("{dir}/{}", entry.name);
        if entry.is_dir {
            sizes.extend(self::sizes(fs, &name));
        } else {
            sizes.insert(name.clone(), fs.open(&name, OpenMode::Read).unwrap().size_bytes().unwrap());
        }
    }
    sizes
}

/// Two keyspaces with tables of several levels, and something in the log only.
fn fill(db: &Db) {
    for name in ["a", "b"] {
        let ks = db.keyspace_with(name, tiny_tables()).unwrap();
        for n in 0..2000_u32 {
            ks.insert((n * 7 % 2003).to_be_bytes(), [n as u8; 100]).unwrap();
        }
        ks.compact_range(..).unwrap();
        for n in 0..300_u32 {
            ks.insert(n.to_be_bytes(), b"newer").unwrap();
            ks.remove((n + 1000).to_be_bytes()).unwrap();
        }
    }
}

#[test]
fn a_checkpoint_holds_what_the_database_held() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    let expected = contents(&db);

    let info = checkpoint(&db, &files, "copy");

    assert_eq!(info.seqno, db.seqno());
    assert!(info.tables > 0 && info.linked_files == info.tables, "{info:?}");
    assert!(info.copied_bytes > 0, "the log was copied: {info:?}");
    let copy = open_in(&files, "copy");
    assert_eq!(contents(&copy), expected);
    assert!(copy.recovery().is_clean, "all of it is durable and its end is known");
    assert!(copy.verify(isopach::VerifyOptions::new()).unwrap().found.is_empty());
    assert!(copy.seqno() >= info.seqno);
    assert!(copy.keyspace("a").unwrap().insert("more", "1").unwrap() > info.seqno);
}

#[test]
fn a_flushed_checkpoint_has_nothing_to_replay() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);

    let options = CheckpointOptions::new().flush(true);
    let info = db.checkpoint_to(Arc::new(files.clone()), "copy", options).unwrap();

    let copy = open_in(&files, "copy");
    assert_eq!(contents(&copy), contents(&db));
    assert_eq!(info.seqno, db.seqno());
    for name in ["a", "b"] {
        assert_eq!(copy.keyspace(name).unwrap().stats().tree.memtable_bytes, 0, "{name}");
    }
}

/// Every commit up to the seqno is there, none above it, and no batch in part, while writers, flushes and compactions run.
#[test]
fn a_checkpoint_under_load_is_a_prefix_of_the_commits() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    let (left, right) =
        (db.keyspace_with("left", tiny_tables()).unwrap(), db.keyspace_with("right", tiny_tables()).unwrap());
    let done = AtomicBool::new(false);
    let mut committed: Vec<(u32, Seqno)> = Vec::new();
    let mut infos = Vec::new();

    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut committed = Vec::new();
            for n in 0_u32.. {
                let mut batch = db.batch();
                batch.insert(&left, n.to_be_bytes(), [n as u8; 200]).insert(&right, n.to_be_bytes(), b"");
                committed.push((n, db.write(batch).unwrap()));
                if done.load(Ordering::Relaxed) {
                    return committed;
                }
            }
            unreachable!("the test ends before the numbers do")
        });
        let compactor = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                left.compact_range(..).unwrap();
            }
        });
        for n in 0..12 {
            infos.push(checkpoint(&db, &files, &format!("copy{n}")));
        }
        done.store(true, Ordering::Relaxed);
        committed = writer.join().unwrap();
        compactor.join().unwrap();
    });

    for (n, info) in infos.iter().enumerate() {
        let copy = open_in(&files, &format!("copy{n}"));
        let expected: Vec<Vec<u8>> = committed
            .iter()
            .filter(|(_, seqno)| *seqno <= info.seqno)
            .map(|(n, _)| n.to_be_bytes().to_vec())
            .collect();
        for name in ["left", "right"] {
            let found: Vec<Vec<u8>> =
                entries(&copy.keyspace(name).unwrap()).into_iter().map(|(key, _)| key).collect();
            assert!(found == expected, "{name} of {info:?}: {} of {}", found.len(), expected.len());
        }
    }
    let last = infos.last().unwrap().seqno;
    assert!(last > infos[0].seqno, "writers went on");
    let tables = || {
        let levels = [left.stats(), right.stats()].map(|stats| stats.tree.levels);
        levels.iter().flatten().map(|(_, level)| level.tables as u64).sum::<u64>()
    };
    wait_until("obsolete files are removed once nobody pauses that", || {
        files_in(&files, "db/tables").len() as u64 == tables()
    });
}

#[test]
fn writes_that_are_in_no_log_are_in_the_checkpoint_up_to_its_seqno() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    ks.insert("a", "logged").unwrap();
    db.flush().unwrap();
    ks.insert_with("b", "volatile", volatile()).unwrap();
    ks.insert("c", "logged").unwrap();
    ks.insert_with("a", "overwritten", volatile()).unwrap();
    let before = ks.stats().tree.flushes;
    let expected = contents(&db);

    let info = checkpoint(&db, &files, "copy");
    ks.insert_with("d", "too late", volatile()).unwrap();

    assert_eq!(ks.stats().tree.flushes, before, "the source is not flushed");
    assert_eq!(contents(&open_in(&files, "copy")), expected);
    assert_eq!(info.seqno.raw() + 1, db.seqno().raw());
}

#[test]
fn source_and_checkpoint_go_on_apart() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    let expected = contents(&db);
    checkpoint(&db, &files, "copy");

    let (a, b) = (db.keyspace("a").unwrap(), db.keyspace("b").unwrap());
    a.insert("later", "1").unwrap();
    a.compact_range(..).unwrap();
    drop(b);
    db.drop_keyspace("b").unwrap();
    db.wait_idle(SOON).unwrap();
    let of_source = contents(&db);

    let copy = open_in(&files, "copy");
    assert_eq!(contents(&copy), expected, "what the source did does not show in the copy");
    let in_copy = copy.keyspace("b").unwrap();
    for n in 0..500_u32 {
        in_copy.insert(n.to_be_bytes(), "in the copy").unwrap();
    }
    in_copy.compact_range(..).unwrap();
    copy.wait_idle(SOON).unwrap();
    drop(in_copy);
    let of_copy = contents(&copy);
    copy.close().unwrap();
    assert_eq!(contents(&db), of_source, "what the copy did does not show in the source");
    db.close().unwrap();
    assert_eq!(contents(&open_in(&files, "db")), of_source);
    assert_eq!(contents(&open_in(&files, "copy")), of_copy);
}

#[test]
fn a_checkpoint_opens_for_reading_without_a_write() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    checkpoint(&db, &files, "copy");
    let before = sizes(&files, "copy");

    let copy = small(sub(&files, "copy")).open_read_only().unwrap();
    let read = copy.keyspace("a").unwrap();

    assert_eq!(entries(&read), contents(&db)["a"]);
    assert_eq!(sizes(&files, "copy"), before);
}

#[test]
fn each_opening_for_writing_begins_a_history_of_its_own() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    db.keyspace("k").unwrap().insert("a", "1").unwrap();
    checkpoint(&db, &files, "one");
    checkpoint(&db, &files, "two");
    let timeline = |name: &str| {
        let mut options = StoreOptions::default();
        options.read_only = true;
        Store::open(env_of(sub(&files, name)), &options).unwrap().note("log.timeline")
    };
    assert_eq!(timeline("one"), None);

    open_in(&files, "one").close().unwrap();
    open_in(&files, "two").close().unwrap();

    let (one, two) = (timeline("one").unwrap(), timeline("two").unwrap());
    assert_ne!(one, two);
    open_in(&files, "one").close().unwrap();
    assert_eq!(timeline("one").unwrap(), one, "it goes on with the next opening");
}

#[test]
fn an_empty_database_has_a_checkpoint() {
    let files = MemFs::new();
    let db = make_in(&files, "db");

    let info = checkpoint(&db, &files, "copy");

    assert_eq!(info.tables, 0);
    assert!(open_in(&files, "copy").keyspaces().is_empty());
}

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
fn snapshots_of_the_source_read_on() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    ks.insert("a", "old").unwrap();
    let snapshot = db.snapshot();
    ks.insert("a", "new").unwrap();

    db.checkpoint_to(Arc::new(files.clone()), "copy", CheckpointOptions::new().flush(true)).unwrap();

    assert_eq!(ks.at(&snapshot).get("a").unwrap().as_deref(), Some(&b"old"[..]));
}

#[test]
fn a_failed_checkpoint_leaves_nothing_and_the_next_one_works() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    let used: u64 = sizes(&files, "db").values().sum();
    let before = contents(&db);

    for room in [0, 1000, 20_000, 60_000] {
        files.set_capacity(Some(used + room));
        let error = db.checkpoint_to(Arc::new(files.clone()), "copy", NO_FLUSH()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfSpace, "with room for {room}: {error}");
        assert!(!files.exists("copy").unwrap(), "with room for {room}");
        assert_eq!(contents(&db), before);
    }

    files.set_capacity(None);
    checkpoint(&db, &files, "copy");
    assert_eq!(contents(&open_in(&files, "copy")), before);
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

    checkpoint(&db, &files, "headless");
    files.remove_file("headless/MANIFEST-000001").unwrap();
    assert_eq!(refused("headless").kind(), ErrorKind::Corruption);

    checkpoint(&db, &files, "damaged");
    let manifest = files.open("damaged/MANIFEST-000001", OpenMode::ReadWrite).unwrap();
    manifest.write_at(100, b"?").unwrap();
    assert_eq!(refused("damaged").kind(), ErrorKind::Corruption);
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
fn a_closed_database_has_no_checkpoint() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    let other = db.clone();
    db.close().unwrap();

    let error = other.checkpoint_to(Arc::new(files.clone()), "copy", NO_FLUSH()).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(files_in(&files, "").iter().all(|name| name != "copy"));
}
