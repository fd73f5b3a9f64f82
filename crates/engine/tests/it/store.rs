//! The life of a directory: made, refused, locked, read, cleaned, closed.

use crate::{
    faults::{Fail, Faults, What, contents, names, read, write},
    harness::{BROKEN, create, flush, fresh, open, put, seqno, shown, table_files, tables_of, try_flush},
};
use isopach_engine::{
    codec::{FORMAT_VERSION, FileHeader, FileKind, HEADER_BYTES, TlvWriter, digest},
    env::{Fs, MemFs},
    error::{Error, ErrorKind},
    store::{Store, StoreOptions, Unnamed, VerifyOptions},
    table::{self, VerifyDepth},
    tree::TreeOptions,
    types::{TableId, TreeId, Uuid},
    version::{FileRegistry, Manifest, Note, manifest_name, manifest_number, replay},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

fn refused(files: &MemFs) -> Error {
    let before = contents(files);
    let error = Store::open(Faults::new(files).env(), &StoreOptions::default()).err().expect("refused");
    assert_eq!(contents(files), before, "nothing is written");
    error
}

fn read_only() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.read_only = true;
    options
}

fn a_whole_store() -> MemFs {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1", "b=2"], 2);
    drop((store, tree));
    faults.files
}

// ----- creating -----

#[test]
fn whatever_a_creation_leaves_is_made_anew_or_is_a_whole_store() {
    for calls in 0.. {
        let faults = Faults::new(&MemFs::new());
        faults.stop_after(calls);
        let is_over = Store::open(faults.env(), &StoreOptions::default()).is_ok();
        faults.heal();

        let store = open(&faults);
        let tree = create(&store, "t");
        put(&tree, "k", "v", 2);
        flush(&tree, 2);
        drop((store, tree));
        let store = open(&faults);
        assert_eq!(shown(&store.tree("t").unwrap(), 9), "k=v", "stopped after {calls} calls");
        store.files().run_deletions(u64::MAX);
        let manifests = names(&faults.files).into_iter().filter(|name| name.starts_with("MANIFEST")).count();
        assert_eq!(manifests, 1);
        if is_over {
            assert!(calls > 10, "the creation has many steps");
            return;
        }
    }
}

#[test]
fn the_identity_is_written_last_and_everything_before_it_is_durable() {
    let faults = Faults::new(&MemFs::new());
    let store = open(&faults);
    drop(store);

    let steps: Vec<String> =
        faults.take_done().iter().map(|op| format!("{:?} {}", op.what, op.name)).collect();

    assert_eq!(
        steps,
        [
            "Lock LOCK",
            "CreateDir tables",
            "CreateDir wal",
            "CreateDir dictionaries",
            "CreateDir blobs",
            "Remove MANIFEST-000001.tmp",
            "Create MANIFEST-000001.tmp",
            "Write MANIFEST-000001.tmp",
            "Allocate MANIFEST-000001.tmp",
            "Sync MANIFEST-000001.tmp",
            "Rename MANIFEST-000001",
            "SyncDir ",
            "SyncDir ..",
            "Remove IDENTITY.tmp",
            "Create IDENTITY.tmp",
            "Write IDENTITY.tmp",
            "Sync IDENTITY.tmp",
            "Rename IDENTITY",
            "SyncDir ",
        ]
    );
}

#[test]
fn a_store_is_not_made_when_it_is_not_asked_for() {
    let files = MemFs::new();
    let mut options = StoreOptions::default();
    options.create_if_missing = false;

    assert_eq!(Store::open(Faults::new(&files).env(), &options).err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(
        Store::open(Faults::new(&files).env(), &read_only()).err().unwrap().kind(),
        ErrorKind::NotFound
    );
    assert!(names(&files).is_empty());
}

#[test]
fn a_manifest_without_anything_it_could_name_is_unborn() {
    let files = MemFs::new();
    write(&files, &manifest_name(5), b"of a creation that was interrupted, or anything else");

    let store = open(&Faults::new(&files));

    assert!(store.trees().is_empty());
    drop(store);
    open(&Faults::new(&files));
}

/// A creation was killed before its manifest's name was durable, the next one while it wrote a second manifest,
/// and then power was lost: of the first there is nothing, of the second a temporary file.
#[test]
fn nothing_is_left_of_creations_that_were_interrupted() {
    let files = MemFs::new();
    write(&files, "MANIFEST-000002.tmp", b"of the second");
    write(&files, "MANIFEST-000001", b"of the first, whose name came back");

    let store = open(&Faults::new(&files));
    store.files().run_deletions(u64::MAX);

    let expected = ["IDENTITY", "LOCK", "MANIFEST-000003", "blobs/", "dictionaries/", "tables/", "wal/"];
    assert_eq!(names(&files), expected);
}

/// The next manifest was in place, but its name not durable, when the process died; the next opening had begun one
/// more, and then power was lost. The file it had begun stayed for good.
#[test]
fn nothing_is_left_of_openings_that_were_interrupted() {
    let files = a_whole_store();
    let current = names(&files).into_iter().find(|name| name.starts_with("MANIFEST-")).unwrap();
    let number = manifest_number(&current).unwrap();
    write(&files, &format!("{}.tmp", manifest_name(number + 2)), b"begun");

    let store = open(&Faults::new(&files));
    store.files().run_deletions(u64::MAX);

    let left: Vec<String> = names(&files).into_iter().filter(|name| name.starts_with("MANIFEST-")).collect();
    assert_eq!(left, [manifest_name(number + 3)]);
}

// ----- refusing -----

#[test]
fn tables_or_logs_without_identity_are_refused() {
    for name in ["tables/000001.table", "wal/000001.wal", "tables/whatever"] {
        let files = a_whole_store();
        for table in table_files(&files) {
            files.remove_file(&table).unwrap();
        }
        write(&files, name, b"");
        files.remove_file("IDENTITY").unwrap();

        let error = refused(&files);

        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn an_unfinished_copy_is_refused_whatever_else_is_there() {
    let files = MemFs::new();
    write(&files, "PARTIAL", b"");
    assert_eq!(refused(&files).kind(), ErrorKind::Corruption);

    let files = a_whole_store();
    write(&files, "PARTIAL", b"");
    files.remove_file("IDENTITY").unwrap();
    assert_eq!(refused(&files).kind(), ErrorKind::Corruption);
}

#[test]
fn a_copy_that_has_its_identity_is_whole() {
    let files = a_whole_store();
    write(&files, "PARTIAL", b"");

    assert_eq!(shown(&open(&Faults::new(&files)).tree("t").unwrap(), 9), "a=1 b=2");
}

#[test]
fn an_identity_without_manifest_is_corruption() {
    let files = a_whole_store();
    files.remove_file(&manifest_name(1)).unwrap();

    assert_eq!(refused(&files).kind(), ErrorKind::Corruption);
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let files = MemFs::new();
    write(&files, "thesis.tex", b"\\documentclass{book}");
    assert_eq!(refused(&files).kind(), ErrorKind::UnsupportedFormat);

    let files = MemFs::new();
    write(&files, "tables", b"a file, not a directory");
    assert_eq!(refused(&files).kind(), ErrorKind::UnsupportedFormat);
}

#[test]
fn a_directory_that_is_named_as_a_manifest_is_none() {
    let files = MemFs::new();
    files.create_dir(&manifest_name(1)).unwrap();
    assert_eq!(refused(&files).kind(), ErrorKind::UnsupportedFormat);

    let files = a_whole_store();
    files.create_dir(&manifest_name(99)).unwrap();
    assert_eq!(shown(&open(&Faults::new(&files)).tree("t").unwrap(), 9), "a=1 b=2");
}

/// RocksDB has files of these names. Its directory must not even get a lock file of ours.
#[test]
fn an_identity_of_another_program_is_refused() {
    for text in ["8d2f7c9b-0c60-4b7c-a3cb-6f0ef7b16a5f", "x"] {
        let files = MemFs::new();
        write(&files, "IDENTITY", text.as_bytes());
        write(&files, "MANIFEST-000005", b"whatever");

        assert_eq!(refused(&files).kind(), ErrorKind::UnsupportedFormat, "{text}");
        let error = Store::open(Faults::new(&files).env(), &read_only()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    }
}

#[test]
fn every_byte_of_the_identity_counts() {
    let files = a_whole_store();
    let whole = read(&files, "IDENTITY");
    for at in 0..whole.len() {
        crate::faults::flip(&files, "IDENTITY", at);
        let kind = refused(&files).kind();
        assert!(matches!(kind, ErrorKind::Corruption | ErrorKind::UnsupportedFormat), "byte {at}: {kind:?}");
        write(&files, "IDENTITY", &whole[..at]);
        let kind = refused(&files).kind();
        assert!(matches!(kind, ErrorKind::Corruption | ErrorKind::UnsupportedFormat), "{at} bytes: {kind:?}");
        write(&files, "IDENTITY", &whole);
    }
    write(&files, "IDENTITY", &[&whole[..], &[0]].concat());
    assert_eq!(refused(&files).kind(), ErrorKind::Corruption);
}

#[test]
fn another_version_is_unsupported_and_another_database_is_mixed() {
    let files = a_whole_store();
    let whole = read(&files, "IDENTITY");
    let mut newer = whole.clone();
    newer[6..8].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let check = digest(&newer[..60]).to_le_bytes();
    newer[60..].copy_from_slice(&check[..4]);
    write(&files, "IDENTITY", &newer);
    assert_eq!(refused(&files).kind(), ErrorKind::UnsupportedFormat);

    let other = FileHeader::clear(FileKind::Identity, Uuid([1; 16]), Uuid([2; 16]));
    write(&files, "IDENTITY", &other.encode());
    assert_eq!(refused(&files).kind(), ErrorKind::MixedStore);
}

// ----- the lock -----

#[test]
fn a_second_opener_is_locked_out_until_the_first_has_ended() {
    let (faults, store, tree) = fresh();
    let again = || Store::open(faults.env(), &StoreOptions::default());
    assert_eq!(again().err().unwrap().kind(), ErrorKind::Locked);
    assert_eq!(Store::open(faults.env(), &read_only()).err().unwrap().kind(), ErrorKind::Locked);

    drop((store, tree));

    assert!(again().is_ok());
}

#[test]
fn after_a_close_the_directory_is_free_when_the_last_scan_has_ended() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1", "b=2"], 2);
    let has_ended = Arc::new(AtomicBool::new(false));
    let mut scan = tree.scan(.., crate::harness::at(9)).unwrap();
    let flag = Arc::clone(&has_ended);
    store.at_end(move || flag.store(true, Ordering::SeqCst));

    store.close();

    assert_eq!(scan.next().unwrap().unwrap().0, b"a", "a scan that runs reads on");
    assert_eq!(Store::open(faults.env(), &StoreOptions::default()).err().unwrap().kind(), ErrorKind::Locked);
    assert!(!has_ended.load(Ordering::SeqCst));
    drop(scan);
    assert!(has_ended.load(Ordering::SeqCst));
    drop(open(&faults));
}

/// The directory may be another process's by then.
#[test]
fn after_a_close_nothing_is_written_any_more() {
    let (faults, store, tree) = fresh();
    put(&tree, "a", "1", 2);
    tree.rotate(seqno(2)).unwrap();
    let id = store.reserve_tree_id().unwrap();
    store.close();
    let before = contents(&faults.files);

    let closed = [
        try_flush(&tree, 2).err(),
        crate::harness::merge_all(&tree, 6, &crate::harness::views(&[2])).err(),
        store.commit(&[Note::new("n", "")]).err(),
        store.create_tree(id, "u", &TreeOptions::default(), &[], seqno(3)).err(),
        store.drop_tree(tree.id(), seqno(3)).err(),
        store.reserve_tree_id().err(),
        store.remove_orphans().err(),
        store.verify(VerifyOptions::new(), &mut |_, _| Ok(())).err(),
        tree.get(b"a", crate::harness::at(2)).err(),
    ];

    assert!(closed.iter().all(|error| error.as_ref().unwrap().kind() == ErrorKind::Closed), "{closed:?}");
    assert_eq!(contents(&faults.files), before);
}

// ----- reading only -----

#[test]
fn opened_for_reading_nothing_is_written() {
    let files = a_whole_store();
    let faults = Faults::new(&files);
    let before = contents(&files);

    let store = Store::open(faults.env(), &read_only()).unwrap();
    let second = Store::open(faults.env(), &read_only()).expect("readers do not keep each other out");
    let tree = store.tree("t").unwrap();
    put(&tree, "c", "3", 4);
    tree.rotate(seqno(4)).unwrap();

    assert_eq!(shown(&tree, 9), "a=1 b=2 c=3");
    let writes = [
        try_flush(&tree, 4).err(),
        crate::harness::merge_all(&tree, 6, &crate::harness::views(&[2])).err(),
        store.commit(&[Note::new("n", "")]).err(),
        store.reserve_tree_id().err(),
        store.remove_orphans().err(),
    ];
    assert!(writes.iter().all(|error| error.as_ref().unwrap().kind() == ErrorKind::ReadOnly), "{writes:?}");
    assert_eq!(
        Store::open(faults.env(), &StoreOptions::default()).err().unwrap().kind(),
        ErrorKind::Locked,
        "a writer waits for readers"
    );
    drop((store, second, tree));
    assert_eq!(contents(&files), before);
    assert_eq!(faults.take_done().iter().filter(|op| op.what != What::Lock).count(), 0);
}

#[test]
fn trees_made_and_dropped_in_a_store_for_reading_live_in_memory() {
    let files = a_whole_store();
    let store = Store::open(Faults::new(&files).env(), &read_only()).unwrap();
    let before = contents(&files);

    let tree = store.create_tree(TreeId(99), "u", &TreeOptions::default(), &[], seqno(9)).unwrap();
    put(&tree, "k", "v", 10);
    let dropped = store.tree("t").unwrap();
    let old = store.drop_tree(dropped.id(), seqno(11)).unwrap();

    assert_eq!(shown(&tree, 10), "k=v");
    assert_eq!(shown(&dropped, 10), "a=1 b=2", "a view before the drop reads the old state");
    drop(old);
    store.files().run_deletions(0);
    assert_eq!(table_files(&files).len(), 2, "the files stay");
    assert_eq!(contents(&files), before);
}

// ----- opening -----

#[test]
fn opening_touches_no_table() {
    let files = a_whole_store();
    let tables = table_files(&files);
    write(&files, &tables[0], b"not a table any more");
    files.remove_file(&tables[1]).unwrap();

    let store = open(&Faults::new(&files));

    let tree = store.tree("t").unwrap();
    assert_eq!(tree.get(b"a", crate::harness::at(9)).unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(tree.get(b"b", crate::harness::at(9)).unwrap_err().kind(), ErrorKind::Corruption);
    assert_eq!(store.verify(VerifyOptions::new(), &mut |_, _| Ok(())).unwrap().found.len(), 2);
}

#[test]
fn the_highest_manifest_counts_and_the_others_go() {
    let files = a_whole_store();
    for _ in 0..3 {
        drop(open(&Faults::new(&files)));
    }
    let manifests =
        |files: &MemFs| names(files).into_iter().filter(|name| manifest_number(name).is_some()).count();
    assert_eq!(manifests(&files), 4, "nothing is removed while opening");

    let store = open(&Faults::new(&files));
    store.files().run_deletions(u64::MAX);

    assert_eq!(manifests(&files), 1);
    assert_eq!(shown(&store.tree("t").unwrap(), 9), "a=1 b=2");
    drop(store);
    assert_eq!(shown(&open(&Faults::new(&files)).tree("t").unwrap(), 9), "a=1 b=2");
}

// ----- trees and notes -----

#[test]
fn trees_and_notes_are_there_after_reopening() {
    let (faults, store, first) = fresh();
    let id = store.reserve_tree_id().unwrap();
    store
        .create_tree(id, "second", &TreeOptions::default(), &[Note::new("with it", "yes")], seqno(5))
        .unwrap();
    store.drop_tree(first.id(), seqno(7)).unwrap();
    store.commit(&[Note::new("a", "1"), Note::new("a", "2")]).unwrap();
    drop((store, first));

    for _ in 0..2 {
        let store = open(&faults); // The second time out of a snapshot.
        let names: Vec<String> = store.trees().into_iter().map(|tree| tree.name).collect();
        assert_eq!(names, ["second"]);
        assert_eq!(
            (store.note("a").unwrap(), store.note("with it").unwrap()),
            (b"2".to_vec(), b"yes".to_vec())
        );
        assert_eq!(store.note("b"), None);
        assert_eq!(store.applied_upto(), seqno(7), "the drop counts, though its tree is gone");
    }
}

#[test]
fn names_and_ids_of_trees_are_used_once() {
    let (_faults, store, tree) = fresh();
    let create =
        |id, name| store.create_tree(id, name, &TreeOptions::default(), &[], seqno(2)).err().unwrap();
    let id = store.reserve_tree_id().unwrap();

    assert_eq!(create(id, "t").kind(), ErrorKind::AlreadyExists);
    assert_eq!(create(tree.id(), "u").kind(), ErrorKind::AlreadyExists);
    assert_eq!(create(TreeId(9_999), "u").kind(), ErrorKind::InvalidArgument, "not reserved");
    store.create_tree(id, "u", &TreeOptions::default(), &[], seqno(2)).unwrap();
}

/// Such a note once stopped the program behind its commit, and the store could not be opened again.
#[test]
fn names_of_the_engines_own_notes_are_refused() {
    let (faults, store, tree) = fresh();
    let note = [Note::new("isopach.applied_upto", "short")];

    assert_eq!(store.commit(&note).unwrap_err().kind(), ErrorKind::InvalidArgument);
    put(&tree, "a", "1", 2);
    tree.rotate(seqno(2)).unwrap();
    let views = isopach_engine::compaction::Views::keep_all();
    assert_eq!(tree.flush(seqno(2), &views, &note).unwrap_err().kind(), ErrorKind::InvalidArgument);

    drop((store, tree));
    open(&faults);
}

// ----- orphans and numbers -----

#[test]
fn orphans_of_this_store_go_and_everything_else_stays() {
    let files = a_whole_store();
    let store = open(&Faults::new(&files));
    let tree = store.tree("t").unwrap();
    let own = read(&files, &table_files(&files)[0]);
    let other = FileHeader::clear(FileKind::Table, Uuid([1; 16]), Uuid([2; 16])).encode();
    write(&files, "tables/000100.table", &own);
    write(&files, "tables/000101.table", b"");
    write(&files, "tables/000102.table", &other);
    write(&files, "tables/000103.table", b"text of somebody");
    write(&files, "tables/103.table", b"");
    write(&files, "tables/notes.txt", b"");
    let before = table_files(&files);

    assert_eq!(store.remove_orphans().unwrap(), 2);
    assert_eq!(table_files(&files), before, "the deleter removes, not the call");
    store.files().run_deletions(u64::MAX);

    let gone: Vec<String> = before.into_iter().filter(|name| !table_files(&files).contains(name)).collect();
    assert_eq!(gone, ["tables/000100.table", "tables/000101.table"]);
    assert_eq!(read(&files, "tables/notes.txt"), b"");
    assert_eq!(shown(&tree, 9), "a=1 b=2");
    assert_eq!(store.remove_orphans().unwrap(), 0);
}

/// A power loss may tear the first write of a table anywhere. One that left four bytes of the header once stayed for
/// good.
#[test]
fn what_is_left_of_a_torn_header_goes_with_its_file() {
    let files = a_whole_store();
    let store = open(&Faults::new(&files));
    let own = read(&files, &table_files(&files)[0]);
    let before = table_files(&files);
    for kept in 0..HEADER_BYTES {
        let torn = [&own[..kept], &[0; 900]].concat();
        write(&files, "tables/000100.table", &torn);
        write(&files, "tables/000101.table", &own[..kept]);
        assert_eq!(store.remove_orphans().unwrap(), 2, "{kept} bytes of the header are left");
        store.files().run_deletions(u64::MAX);
        assert_eq!(table_files(&files), before);
    }
}

#[test]
fn a_table_above_the_mark_says_that_the_manifest_is_old_and_nothing_is_removed() {
    let files = a_whole_store();
    let store = open(&Faults::new(&files));
    write(&files, "tables/000100.table", b"");
    write(&files, "tables/009999.table", b"");

    let error = store.remove_orphans().unwrap_err();

    assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some("tables/009999.table")));
    store.files().run_deletions(u64::MAX);
    assert!(table_files(&files).contains(&"tables/000100.table".into()));
}

/// The registry does not know tables of a tree that could not be opened; they were once taken for orphans.
#[test]
fn tables_of_a_tree_that_cannot_be_opened_are_no_orphans() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1", "b=2"], 2);
    let (database, options) = (store.uuid(), tree.options().encode());
    drop((store, tree));
    let rewrite = |number: u32, options: &[u8]| {
        let mut catalog = replay(&faults.files, number, database).unwrap().catalog;
        catalog.trees.values_mut().for_each(|tree| tree.options = options.into());
        let fs: Arc<dyn Fs> = Arc::new(faults.files.clone());
        let registry = FileRegistry::new(Arc::clone(&fs));
        let draw = Box::new(|| Ok(Uuid([9; 16])));
        drop(Manifest::start(fs, registry, database, draw, number + 1, catalog).unwrap());
    };
    let mut unknown = TlvWriter::new();
    unknown.bytes(1, b"an order of keys from elsewhere");
    rewrite(1, &unknown.finish());

    let store = open(&faults);
    assert_eq!(store.tree("t").err().unwrap().kind(), ErrorKind::MissingComparator);
    assert_eq!(store.trees()[0].name, "t");
    assert_eq!(store.remove_orphans().unwrap(), 0);
    store.files().run_deletions(u64::MAX);
    drop(store);

    let newest = names(&faults.files).iter().filter_map(|name| manifest_number(name)).max().unwrap();
    rewrite(newest, &options);
    assert_eq!(shown(&open(&faults).tree("t").unwrap(), 9), "a=1 b=2");
}

#[test]
fn numbers_of_tables_are_not_used_twice_whatever_crashes() {
    for calls in 0.. {
        let faults = Faults::new(&MemFs::new());
        let mut is_over = false;
        for round in 0..3 {
            if round == 0 {
                faults.stop_after(calls);
            }
            let work = || -> isopach_engine::error::Result<()> {
                let store = Store::open(faults.env(), &StoreOptions::default())?;
                let tree = match store.tree("t") {
                    Ok(tree) => tree,
                    Err(_) => {
                        let id = store.reserve_tree_id()?;
                        store.create_tree(id, "t", &TreeOptions::default(), &[], seqno(1))?
                    }
                };
                let first = tree.highest_seqno().raw() + 1;
                for number in first..first + 3 {
                    put(&tree, "k", "v", number);
                    tree.rotate(seqno(number))?;
                    try_flush(&tree, number)?;
                }
                Ok(())
            };
            let done = work();
            is_over |= round == 0 && done.is_ok();
            faults.heal();
        }

        let created = faults.take_done();
        let mut ids: Vec<Option<TableId>> = created
            .iter()
            .filter(|op| op.what == What::Create && op.name.starts_with("tables/"))
            .map(|op| table::number_of(&op.name))
            .collect();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert!(ids.is_sorted() && !ids.contains(&None), "{ids:?} after {calls} calls");
        if is_over {
            assert!(calls > 30);
            return;
        }
    }
}

fn full() -> VerifyOptions {
    VerifyOptions::new().depth(VerifyDepth::Full)
}

#[test]
fn a_full_check_tells_of_files_that_nothing_names_and_removes_none() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1", "b=2"], 2);
    drop((store, tree));
    let files = faults.files;
    assert_eq!(verified(&files, full()), (vec![], vec![]), "all that a store writes is named");
    let strays = [
        ("IDENTITY.tmp", Unnamed::Temporary),
        ("MANIFEST-000000", Unnamed::Manifest),
        ("MANIFEST-000009.tmp", Unnamed::Temporary),
        ("notes.txt", Unnamed::Foreign),
        ("tables/000100.table", Unnamed::Table),
        ("tables/1.table", Unnamed::Foreign),
    ];
    for (name, _) in strays {
        write(&files, name, b"something");
    }
    let expected = strays.map(|(name, what)| (name.to_owned(), what)).to_vec();
    let before = contents(&files);

    assert_eq!(verified(&files, full()), (vec![], expected));
    assert_eq!(verified(&files, VerifyOptions::new()), (vec![], vec![]), "only a full check looks for them");
    assert_eq!(contents(&files), before);
}

#[test]
fn a_full_check_finds_a_table_that_is_newer_than_the_manifest() {
    let files = a_whole_store();
    let name = table::file_name(TableId(1 << 40));
    write(&files, &name, b"something");

    let (found, unnamed) = verified(&files, full());

    assert!(found.len() == 1 && found[0].contains("the manifest is older than the directory"), "{found:?}");
    assert_eq!(unnamed, []);
}

/// Every damaged block is told, those of a table too whose index is damaged, and all tables are looked at.
#[test]
fn a_full_check_goes_on_behind_a_damaged_index() {
    let files = a_whole_store();
    let tables = table_files(&files);
    let mut bytes = read(&files, &tables[0]);
    let footer = bytes.len() - table::FOOTER_BYTES;
    let index = u64::from_le_bytes(bytes[footer + 16..footer + 24].try_into().unwrap());
    let mirror = u64::from_le_bytes(bytes[footer + 64..footer + 72].try_into().unwrap());
    bytes[index as usize + 45] ^= 1;
    bytes[mirror as usize + 45] ^= 1;
    bytes[64 + 45] ^= 1; // The only data block.
    write(&files, &tables[0], &bytes);
    let mut bytes = read(&files, &tables[1]);
    bytes[64 + 45] ^= 1;
    write(&files, &tables[1], &bytes);

    let (found, _) = verified(&files, full());

    let tells =
        |table: usize, at: u64| found.iter().any(|it| it.starts_with(&format!("{} {at}: ", tables[table])));
    assert!(tells(0, 64) && tells(0, index) && tells(1, 64), "{found:?}");
}

/// What a check of a store opened for reading finds, and what nothing names.
fn verified(files: &MemFs, options: VerifyOptions) -> (Vec<String>, Vec<(String, Unnamed)>) {
    let store = Store::open(Faults::new(files).env(), &read_only()).unwrap();
    let report = store.verify(options, &mut |_, _| Ok(())).unwrap();
    let found =
        report.found.into_iter().map(|it| format!("{} {}: {}", it.file, it.offset.unwrap(), it.message));
    (found.collect(), report.unnamed.into_iter().map(|it| (it.file, it.what)).collect())
}

#[test]
fn tables_are_listed_as_the_manifest_has_them_open_for_writing_and_for_reading() {
    let (faults, store, tree) = fresh();
    let ids = tables_of(&tree, &["a=1", "b=2"], 2);
    let listed = |store: &Store| {
        store.tables().into_iter().map(|it| (it.meta.id, it.tree_name, it.level.0)).collect::<Vec<_>>()
    };
    let mut expected: Vec<_> = ids.into_iter().map(|id| (id, "t".to_owned(), 0)).collect();
    expected.reverse(); // The newest run first.

    assert_eq!(listed(&store), expected);
    drop((store, tree));
    assert_eq!(listed(&Store::open(faults.env(), &read_only()).unwrap()), expected);
}

/// A number above the mark that is on disk all the same: somebody needs that file to mend the store.
#[test]
fn a_table_file_that_is_there_already_is_left_alone() {
    let (faults, store, tree) = fresh();
    let next = tables_of(&tree, &["a=1"], 2)[0].0 + 1;
    let name = table::file_name(TableId(next));
    write(&faults.files, &name, b"precious");
    put(&tree, "b", "2", 3);
    tree.rotate(seqno(3)).unwrap();

    let error = try_flush(&tree, 3).unwrap_err();

    assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some(&name[..])));
    store.files().run_deletions(u64::MAX);
    assert_eq!(read(&faults.files, &name), b"precious");
    assert_eq!(try_flush(&tree, 3).unwrap().tables, [TableId(next + 1)], "the next number is free");
    assert_eq!(shown(&tree, 9), "a=1 b=2");
}

#[test]
fn a_poisoned_store_looks_for_no_orphans() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1"], 2);
    put(&tree, "b", "2", 3);
    tree.rotate(seqno(3)).unwrap();
    faults.fail_next(Fail::After(BROKEN), |op| op.site == "manifest.edit");
    assert_eq!(try_flush(&tree, 3).unwrap_err().kind(), ErrorKind::Poisoned);

    assert_eq!(store.remove_orphans().unwrap_err().kind(), ErrorKind::Poisoned);
    store.files().run_deletions(u64::MAX);
    drop((store, tree));

    let store = open(&faults);
    assert_eq!(shown(&store.tree("t").unwrap(), 9), "a=1 b=2", "the edit had survived");
    assert_eq!(store.remove_orphans().unwrap(), 0);
}

/// A writer that comes and goes between the look at the directory and the lock leaves another manifest.
#[test]
fn a_reader_looks_again_once_it_has_the_lock() {
    let faults = Faults::new(&a_whole_store());
    let files = faults.files.clone();
    faults.fail(move |op| {
        if op.what == What::Lock {
            let writer = open(&Faults::new(&files));
            writer.files().run_deletions(u64::MAX);
            drop(writer);
        }
        None
    });

    let store = Store::open(faults.env(), &read_only()).unwrap();

    assert_eq!(shown(&store.tree("t").unwrap(), 9), "a=1 b=2");
}
