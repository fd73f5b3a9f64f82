//! Checkpoints: what they hold, and that they stand alone.

mod interrupted;
mod meanwhile;
mod refused;
mod target;

use isopach::{
    CheckpointInfo, CheckpointOptions, Db, ErrorKind,
    engine::store::{Store, StoreOptions},
    env::{Fs, MemFs, OpenMode, SubDir},
};
use std::{collections::BTreeMap, sync::Arc};
use testkit::db::{SOON, contents, entries, env_of, files_in, small, tiny_tables, volatile};

const NO_FLUSH: fn() -> CheckpointOptions = CheckpointOptions::new;

fn sub(files: &(impl Fs + Clone), name: &str) -> SubDir {
    SubDir::open(Arc::new(files.clone()), name).unwrap()
}

/// A database in the directory `name`.
fn open_in(files: &(impl Fs + Clone), name: &str) -> Db {
    small(sub(files, name)).open().unwrap()
}

fn make_in(files: &(impl Fs + Clone), name: &str) -> Db {
    files.create_dir(name).unwrap();
    open_in(files, name)
}

fn try_checkpoint(db: &Db, files: &(impl Fs + Clone), name: &str) -> isopach::Result<CheckpointInfo> {
    db.checkpoint_to(Arc::new(files.clone()), name, NO_FLUSH())
}

fn checkpoint(db: &Db, files: &(impl Fs + Clone), name: &str) -> CheckpointInfo {
    try_checkpoint(db, files, name).unwrap()
}

fn for_reading() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.read_only = true;
    options
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
    assert!(info.copied_bytes > 0 && info.copied_bytes < info.bytes, "{info:?}");
    assert!(!files_in(&files, "copy/wal").is_empty(), "the log was copied");
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
    let timeline =
        |name: &str| Store::open(env_of(sub(&files, name)), &for_reading()).unwrap().note("log.timeline");
    assert_eq!(timeline("one"), None);

    open_in(&files, "one").close().unwrap();
    open_in(&files, "two").close().unwrap();

    let (one, two) = (timeline("one").unwrap(), timeline("two").unwrap());
    assert_ne!(one, two);
    open_in(&files, "one").close().unwrap();
    assert_eq!(timeline("one").unwrap(), one, "it goes on with the next opening");
}

/// Two copies of one checkpoint share the database's uuid and the numbers of files. A segment of one that
/// came into the directory of the other fitted in everything that was looked at, and its commits showed in
/// place of the own ones.
#[test]
fn the_log_of_a_sibling_is_told_from_the_own_one() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    db.keyspace("k").unwrap().insert("a", "of both").unwrap();
    checkpoint(&db, &files, "one");
    checkpoint(&db, &files, "two");
    for name in ["one", "two"] {
        let copy = open_in(&files, name);
        copy.keyspace("k").unwrap().insert("a", name).unwrap();
        copy.close().unwrap();
    }
    drop(db);
    let segment = |name: &str| {
        let segments = files_in(&files, &format!("{name}/wal"));
        format!("{name}/wal/{}", segments.last().unwrap())
    };
    let (ours, theirs) = (segment("one"), segment("two"));
    assert_eq!(ours[4..], theirs[4..], "they have one name");

    files.remove_file(&ours).unwrap();
    files.rename(&theirs, &ours).unwrap();
    let error = small(sub(&files, "one")).open().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::MixedDatabase, "{error}");
    assert!(error.path().unwrap().ends_with(&ours[4..]), "{error}");
}

#[test]
fn the_log_of_a_checkpoint_is_durable_to_its_end_and_no_further() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    checkpoint(&db, &files, "copy");
    drop(db);
    let copy = Store::open(env_of(sub(&files, "copy")), &for_reading()).unwrap();

    let (synced, clean_end) = (copy.note("log.synced").unwrap(), copy.note("log.clean_end").unwrap());

    assert_eq!(synced, clean_end[..8], "the end is the first word of the other");
}

#[test]
fn a_checkpoint_of_a_checkpoint_holds_what_was_written_to_the_first() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    let of_source = contents(&db);
    checkpoint(&db, &files, "first");
    let first = open_in(&files, "first");
    first.drop_keyspace("b").unwrap();
    let a = first.keyspace("a").unwrap();
    for n in 500..900_u32 {
        a.insert(n.to_be_bytes(), "in the first").unwrap();
    }
    a.insert_with("in no log", "of the first", volatile()).unwrap();
    let of_first = contents(&first);

    checkpoint(&first, &files, "second");
    a.insert("later", "1").unwrap();

    let second = open_in(&files, "second");
    assert_eq!(contents(&second), of_first);
    second.keyspace("a").unwrap().insert("in the second", "1").unwrap();
    let of_second = contents(&second);
    drop(a);
    for (db, name, expected) in
        [(second, "second", of_second), (first, "first", of_first), (db, "db", of_source)]
    {
        db.close().unwrap();
        let mut found = contents(&open_in(&files, name));
        found.values_mut().for_each(|entries| drop(entries.remove(&b"later"[..])));
        assert_eq!(found, expected, "{name}");
    }
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
