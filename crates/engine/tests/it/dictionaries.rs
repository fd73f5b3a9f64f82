//! Dictionaries: when compactions train them, which files there are, and what is told of one that is gone.

use crate::{
    faults::{Fail, Faults, Op, What, names},
    harness::{BROKEN, at, flush, merge_all, open, seqno, views},
};
use isopach_engine::{
    codec::{Codec, Compression, TlvWriter},
    compaction::Plan,
    dictionary,
    env::{Fs, MemFs},
    error::ErrorKind,
    store::{CheckpointOptions, Store, Unnamed, VerifyOptions},
    table::{VerifyDepth, inspect::LoneTable},
    tree::{Tree, TreeOptions, WriteBatch},
    types::{DictionaryId, Level, TableId, Uuid},
    version::{FileRegistry, Manifest, replay},
};
use std::sync::Arc;

const ZSTD: Compression = Compression::Zstd { level: 3 };

/// Whether this build has dictionaries at all: the tests of this file say nothing without Zstandard.
fn are_there() -> bool {
    Codec::ZstdDictionary.is_available()
}

fn options(dictionary_bytes: u32) -> TreeOptions {
    let mut options = TreeOptions::default();
    options.compression = ZSTD.into();
    // In small pages values have little in common by themselves.
    options.block_bytes = (4 << 10).into();
    options.dictionary_bytes = dictionary_bytes;
    options
}

fn fresh(dictionary_bytes: u32) -> (Faults, Store, Tree) {
    let faults = Faults::new(&MemFs::new());
    let store = open(&faults);
    let tree = create(&store, "t", dictionary_bytes);
    (faults, store, tree)
}

fn create(store: &Store, name: &str, dictionary_bytes: u32) -> Tree {
    let id = store.reserve_tree_id().unwrap();
    store.create_tree(id, name, &options(dictionary_bytes), &[], seqno(1)).unwrap()
}

/// Records of one kind; each kind has words of its own.
fn record(kind: &str, number: u64) -> Vec<u8> {
    let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!(
        "{{\"{kind}_identifier\":{number},\"{kind}_description\":\"{kind} number {}\",\"{kind}_state\":\"{}\",\"{kind}_count\":{}}}",
        hash >> 40,
        ["waiting", "running", "finished"][hash as usize % 3],
        hash >> 54,
    )
    .into_bytes()
}

fn noise(number: u64) -> Vec<u8> {
    let mut z = number;
    let word = |_| {
        z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 7) as u8
    };
    (0..100).map(word).collect()
}

/// Puts values under the keys of these numbers and flushes them, as operation `number`.
fn fill(tree: &Tree, keys: std::ops::Range<u64>, value: impl Fn(u64) -> Vec<u8>, number: u64) {
    let mut batch = WriteBatch::new();
    for key in keys {
        batch.put(format!("{key:08}").as_bytes(), &value(key));
    }
    let first = number * 1_000_000;
    tree.apply(&batch, seqno(first)).unwrap();
    flush(tree, first + 999_999);
}

/// Now, for a view.
const NOW: u64 = 99_000_000;

fn merge(tree: &Tree, to: u8) {
    merge_all(tree, to, &views(&[NOW])).unwrap();
}

/// Merges the tables that lie on level 0 into a level.
fn merge_new(tree: &Tree, to: u8) {
    let new = tree.with_shape(|shape| shape.level(Level(0)).tables().map(|table| table.id()).collect());
    tree.compact(&Plan::merge(new, Level(to)), &views(&[NOW]), &mut |_| Ok(())).unwrap();
}

fn dictionary_files(faults: &Faults) -> Vec<String> {
    names(&faults.files)
        .into_iter()
        .filter(|name| name.starts_with("dictionaries/") && !name.ends_with('/'))
        .collect()
}

fn dictionaries_of(tree: &Tree) -> Vec<Option<DictionaryId>> {
    let mut named: Vec<_> = tree.tables().iter().map(|table| table.dictionary.map(|it| it.id)).collect();
    named.dedup();
    named
}

fn bytes_of(tree: &Tree) -> u64 {
    tree.tables().iter().map(|table| table.bytes).sum()
}

#[test]
fn similar_values_are_compressed_with_a_dictionary_and_read_back() {
    if !are_there() {
        return;
    }
    let (_faults, _, plain) = fresh(0);
    fill(&plain, 0..20_000, |key| record("job", key), 1);
    merge(&plain, 1);
    let (faults, store, tree) = fresh(4 << 10);
    fill(&tree, 0..20_000, |key| record("job", key), 1);
    assert_eq!(dictionaries_of(&tree), [None], "a flush trains none");

    merge(&tree, 1);

    let named = dictionaries_of(&tree);
    assert!(named.len() == 1 && named[0].is_some(), "{named:?}");
    let files = dictionary_files(&faults);
    assert_eq!(files, [dictionary::file_name(named[0].unwrap())]);
    let file_bytes = crate::faults::read(&faults.files, &files[0]).len() as u64;
    let (with, without) = (bytes_of(&tree) + file_bytes, bytes_of(&plain));
    // Keys and filter, which take most of the table, are as they were.
    assert!(with < without, "{with} bytes, and {without} without a dictionary");
    check_records(&tree, 0..20_000, "job");

    drop((tree, store));
    let store = open(&faults);
    store.remove_orphans().unwrap();
    store.files().run_deletions(u64::MAX);
    let tree = store.tree("t").unwrap();
    check_records(&tree, 0..20_000, "job");
    let report = store.verify(VerifyOptions::new().depth(VerifyDepth::Full), &mut |_, _| Ok(())).unwrap();
    assert!(report.found.is_empty() && report.unnamed.is_empty(), "{report:?}");
    assert_eq!((report.files, report.dictionaries), (1, 1));
    let listed = store.files().live().into_iter().find(|file| file.name == files[0]).unwrap();
    assert_eq!(listed.bytes, file_bytes);
}

fn check_records(tree: &Tree, keys: std::ops::Range<u64>, kind: &str) {
    let count = keys.end - keys.start;
    let found = tree.scan(.., at(NOW)).unwrap().map(|item| item.unwrap());
    let mut seen = 0;
    for ((key, value), number) in found.zip(keys.clone()) {
        assert_eq!((&key[..], &value[..]), (format!("{number:08}").as_bytes(), &record(kind, number)[..]));
        seen += 1;
    }
    assert_eq!(seen, count);
    let middle = (keys.start + keys.end) / 2;
    let value = tree.get(format!("{middle:08}").as_bytes(), at(NOW)).unwrap().unwrap();
    assert_eq!(value[..], record(kind, middle)[..]);
}

#[test]
fn values_without_anything_in_common_get_no_dictionary() {
    if !are_there() {
        return;
    }
    let (faults, _store, tree) = fresh(4 << 10);
    fill(&tree, 0..4_000, noise, 1);

    merge(&tree, 1);

    assert_eq!((dictionaries_of(&tree), dictionary_files(&faults)), (vec![None], vec![]));
}

#[test]
fn a_few_values_are_not_worth_a_dictionary() {
    if !are_there() {
        return;
    }
    let (faults, _store, tree) = fresh(16 << 10);
    fill(&tree, 0..200, |key| record("job", key), 1);

    merge(&tree, 1);

    assert_eq!((dictionaries_of(&tree), dictionary_files(&faults)), (vec![None], vec![]));
}

#[test]
fn a_dictionary_that_helps_is_used_again() {
    if !are_there() {
        return;
    }
    let (faults, _store, tree) = fresh(4 << 10);
    fill(&tree, 0..4_000, |key| record("job", key), 1);
    merge_new(&tree, 1);
    let first = dictionaries_of(&tree);

    fill(&tree, 4_000..8_000, |key| record("job", key), 2);
    merge_new(&tree, 1);
    // Too few to train for, and yet as good as all others.
    fill(&tree, 8_000..8_200, |key| record("job", key), 3);
    merge_new(&tree, 1);

    assert_eq!(tree.tables().len(), 3);
    assert_eq!(dictionaries_of(&tree), first);
    assert_eq!(dictionary_files(&faults).len(), 1);
    check_records(&tree, 0..8_200, "job");
}

#[test]
fn other_values_get_another_dictionary_and_the_old_one_goes_with_its_last_table() {
    if !are_there() {
        return;
    }
    let (faults, store, tree) = fresh(4 << 10);
    fill(&tree, 0..4_000, |key| record("job", key), 1);
    merge_new(&tree, 1);
    let first = dictionary_files(&faults);

    fill(&tree, 4_000..12_000, |key| record("animal", key), 2);
    merge_new(&tree, 1);

    assert_eq!(dictionaries_of(&tree).len(), 2, "each table has its own");
    assert_eq!(dictionary_files(&faults).len(), 2);
    let mut batch = WriteBatch::new();
    for key in 0..4_000 {
        batch.delete(format!("{key:08}").as_bytes());
    }
    tree.apply(&batch, seqno(5_000_000)).unwrap();
    flush(&tree, 6_000_000);
    let reading = tree.scan(.., at(NOW)).unwrap();
    merge(&tree, 2);
    store.files().run_deletions(u64::MAX);
    assert_eq!(dictionary_files(&faults).len(), 2, "a reader of the older version holds the file");
    drop(reading);
    store.files().run_deletions(u64::MAX);

    let left = dictionary_files(&faults);
    assert_eq!(left.len(), 1);
    assert_ne!(left, first);
    check_records(&tree, 4_000..12_000, "animal");
}

#[test]
fn a_tree_has_a_few_dictionaries_however_many_kinds_of_values_come() {
    if !are_there() {
        return;
    }
    let kinds = ["job", "animal", "building", "river", "machine", "painting", "journey"];
    let (faults, store, tree) = fresh(2 << 10);
    for (kind, number) in kinds.iter().zip(0..) {
        fill(&tree, number * 4_000..(number + 1) * 4_000, |key| record(kind, key), number + 1);
        merge_new(&tree, 1);
    }
    store.files().run_deletions(u64::MAX);

    assert_eq!(dictionary_files(&faults).len(), 4);
    let named = tree.tables().iter().filter(|table| table.dictionary.is_some()).count();
    assert!((4..kinds.len()).contains(&named), "{named} tables have one");
}

/// Training for values that have nothing in common is work for nothing, each time.
#[test]
fn after_a_training_in_vain_some_jobs_do_without() {
    if !are_there() {
        return;
    }
    let (_faults, _store, tree) = fresh(2 << 10);
    fill(&tree, 0..1_000, noise, 1);
    merge_new(&tree, 1);

    let mut jobs = 0;
    while dictionaries_of(&tree) == [None] {
        jobs += 1;
        fill(&tree, jobs * 4_000..(jobs + 1) * 4_000, |key| record("job", key), jobs + 1);
        merge_new(&tree, 1);
    }

    assert_eq!(jobs, 8);
}

#[test]
fn a_dropped_tree_takes_its_dictionary_along_unless_another_tree_has_the_same() {
    if !are_there() {
        return;
    }
    let (faults, store, tree) = fresh(4 << 10);
    let other = create(&store, "u", 4 << 10);
    for tree in [&tree, &other] {
        fill(tree, 0..4_000, |key| record("job", key), 1);
        merge(tree, 1);
    }
    assert_eq!(dictionary_files(&faults).len(), 1, "equal values make equal dictionaries, stored once");

    drop(store.drop_tree(tree.id(), seqno(NOW)).unwrap());
    store.files().run_deletions(u64::MAX);
    assert_eq!(dictionary_files(&faults).len(), 1);
    check_records(&other, 0..4_000, "job");

    drop(store.drop_tree(other.id(), seqno(NOW + 1)).unwrap());
    drop((tree, other));
    store.files().run_deletions(u64::MAX);
    assert_eq!(dictionary_files(&faults), [""; 0]);
}

/// Tables of a tree that cannot be opened are not in the registry, and need their dictionary all the same.
#[test]
fn a_dictionary_stays_for_a_tree_that_cannot_be_opened() {
    if !are_there() {
        return;
    }
    let (faults, store, tree) = fresh(4 << 10);
    let other = create(&store, "u", 4 << 10);
    for tree in [&tree, &other] {
        fill(tree, 0..4_000, |key| record("job", key), 1);
        merge(tree, 1);
    }
    let database = store.uuid();
    drop((tree, other, store));
    let mut unknown = TlvWriter::new();
    unknown.bytes(1, b"an order of keys from elsewhere");
    let mut catalog = replay(&faults.files, 1, database).unwrap().catalog;
    catalog.trees.values_mut().find(|tree| tree.name == "u").unwrap().options = unknown.finish();
    let fs: Arc<dyn Fs> = Arc::new(faults.files.clone());
    let registry = FileRegistry::new(Arc::clone(&fs));
    drop(Manifest::start(fs, registry, database, Box::new(|| Ok(Uuid([9; 16]))), 2, catalog).unwrap());
    let store = open(&faults);
    assert!(store.tree("u").is_err());

    drop(store.drop_tree(store.tree("t").unwrap().id(), seqno(NOW)).unwrap());
    store.remove_orphans().unwrap();
    store.files().run_deletions(u64::MAX);

    assert_eq!(dictionary_files(&faults).len(), 1);
}

#[test]
fn options_turn_dictionaries_on_and_off_for_compactions_from_then_on() {
    if !are_there() {
        return;
    }
    let (faults, store, tree) = fresh(0);
    fill(&tree, 0..4_000, |key| record("job", key), 1);
    merge(&tree, 1);
    assert_eq!(dictionaries_of(&tree), [None]);

    tree.set_options(options(4 << 10), &[]).unwrap();
    merge(&tree, 2);
    assert!(dictionaries_of(&tree)[0].is_some());

    tree.set_options(options(0), &[]).unwrap();
    merge(&tree, 3);
    store.files().run_deletions(u64::MAX);
    assert_eq!((dictionaries_of(&tree), dictionary_files(&faults)), (vec![None], vec![]));
    check_records(&tree, 0..4_000, "job");
}

fn with_dictionary() -> (Faults, String, TableId) {
    let (faults, _store, tree) = fresh(4 << 10);
    fill(&tree, 0..4_000, |key| record("job", key), 1);
    merge(&tree, 1);
    let files = dictionary_files(&faults);
    (faults, files[0].clone(), tree.tables()[0].id)
}

#[test]
fn a_missing_dictionary_is_named_with_the_table_that_needs_it() {
    if !are_there() {
        return;
    }
    let (faults, file, table) = with_dictionary();
    faults.files.remove_file(&file).unwrap();
    let store = open(&faults);
    let tree = store.tree("t").unwrap();

    let error = tree.get(b"00000007", at(NOW)).unwrap_err();

    assert_eq!((error.kind(), error.file()), (ErrorKind::MissingDictionary, Some(&file[..])));
    assert!(error.to_string().contains(&isopach_engine::table::file_name(table)), "{error}");
    assert!(error.keys().is_some(), "the keys of the table cannot be answered for");
    assert_eq!(store.damaged_tables().len(), 1, "jobs leave the table alone");
    let report = store.verify(VerifyOptions::new(), &mut |_, _| Ok(())).unwrap();
    assert!(report.found.iter().any(|it| it.file == file && it.message.contains("missing")), "{report:?}");
}

#[test]
fn an_altered_dictionary_is_corruption_wherever_it_was_altered() {
    if !are_there() {
        return;
    }
    let (faults, file, table) = with_dictionary();
    let sound = crate::faults::read(&faults.files, &file);
    let mut altered: Vec<Vec<u8>> = (0..sound.len())
        .step_by(97)
        .map(|at| {
            let mut bytes = sound.clone();
            bytes[at] ^= 4;
            bytes
        })
        .collect();
    altered.extend([sound[..sound.len() - 1].to_vec(), [&sound[..], &[0]].concat(), vec![]]);
    for bytes in altered {
        crate::faults::write(&faults.files, &file, &bytes);
        let store = open(&faults);
        let tree = store.tree("t").unwrap();

        let error = tree.get(b"00000007", at(NOW)).unwrap_err();

        let is_told = matches!(
            error.kind(),
            ErrorKind::Corruption | ErrorKind::UnsupportedFormat | ErrorKind::UnsupportedFeature
        );
        assert!(is_told && error.file() == Some(&file[..]), "{error}");
        assert!(error.to_string().contains(&isopach_engine::table::file_name(table)), "{error}");
        let report = store.verify(VerifyOptions::new(), &mut |_, _| Ok(())).unwrap();
        assert!(report.found.iter().any(|it| it.file == file), "{report:?}");
    }
    crate::faults::write(&faults.files, &file, &sound);
    check_records(&open(&faults).tree("t").unwrap(), 0..4_000, "job");
}

#[test]
fn a_table_alone_needs_its_dictionary_for_values_and_says_which() {
    if !are_there() {
        return;
    }
    let (faults, file, table) = with_dictionary();
    let fs: Arc<dyn Fs> = Arc::new(faults.files.clone());
    let name = isopach_engine::table::file_name(table);

    let alone = LoneTable::open(&fs, &name).unwrap();

    assert_eq!(dictionary::file_name(alone.dictionary().unwrap().id), file);
    assert_eq!(alone.properties().unwrap().counts.total(), 4_000);
    let error = alone.blocks().unwrap().read(0).err().unwrap();
    assert_eq!((error.kind(), error.file()), (ErrorKind::MissingDictionary, Some(&file[..])), "{error}");
    let alone = alone.with_dictionary(&*fs, dictionary::file_name);
    assert!(alone.layout().unwrap().check().is_empty());
    let elsewhere = LoneTable::open(&fs, &name).unwrap().with_dictionary(&*fs, |_| "nowhere".into());
    let error = elsewhere.blocks().unwrap().read(0).err().unwrap();
    assert_eq!((error.kind(), error.file()), (ErrorKind::MissingDictionary, Some("nowhere")), "{error}");
}

#[test]
fn a_checkpoint_has_the_dictionaries_of_its_tables() {
    if !are_there() {
        return;
    }
    let (_faults, store, tree) = fresh(4 << 10);
    fill(&tree, 0..4_000, |key| record("job", key), 1);
    merge(&tree, 1);
    for reflink in [true, false] {
        let copy = MemFs::new();
        let to: Arc<dyn Fs> = Arc::new(copy.clone());

        let cut = store.cut(seqno(NOW), &[]).unwrap();
        let options = CheckpointOptions::new().reflink(reflink);
        let info = store.checkpoint(cut, &to, &options, &[], &mut |_| Ok(())).unwrap();

        assert_eq!(info.tables, 1);
        let copy = open(&Faults::new(&copy));
        check_records(&copy.tree("t").unwrap(), 0..4_000, "job");
    }
}

#[test]
fn a_dictionary_that_nothing_names_is_told_and_removed_if_it_is_the_stores_own() {
    if !are_there() {
        return;
    }
    let (faults, file, _) = with_dictionary();
    let bytes = crate::faults::read(&faults.files, &file);
    let (whole, torn, foreign) = (7, 8, 9);
    let name = |id| dictionary::file_name(DictionaryId(id));
    crate::faults::write(&faults.files, &name(whole), &bytes);
    crate::faults::write(&faults.files, &name(torn), &bytes[..20]);
    crate::faults::write(&faults.files, &name(foreign), b"somebody else's");
    crate::faults::write(&faults.files, "dictionaries/note", b"of the owner");
    let store = open(&faults);

    let report = store.verify(VerifyOptions::new().depth(VerifyDepth::Full), &mut |_, _| Ok(())).unwrap();
    let unnamed = report.unnamed.iter().filter(|it| it.file.starts_with("dictionaries/"));
    assert_eq!(unnamed.filter(|it| it.what == Unnamed::Dictionary).count(), 3, "{report:?}");
    store.remove_orphans().unwrap();
    store.files().run_deletions(u64::MAX);

    let mut expected = vec![file, name(foreign), "dictionaries/note".into()];
    expected.sort();
    assert_eq!(dictionary_files(&faults), expected);
}

/// Every call that changes something fails in turn, once: the compaction fails or does without, and nothing is lost nor
/// left behind.
#[test]
fn any_call_of_a_training_compaction_that_fails_leaves_the_tree_as_it_was() {
    if !are_there() {
        return;
    }
    for step in 0_usize.. {
        let (faults, store, tree) = fresh(4 << 10);
        fill(&tree, 0..4_000, |key| record("job", key), 1);
        let mut left = step;
        faults.fail(move |_| {
            let fails = left == 0;
            left = left.wrapping_sub(1);
            fails.then_some(Fail::Before(BROKEN))
        });

        let merged = merge_all(&tree, 1, &views(&[NOW]));
        faults.heal();

        check_records(&tree, 0..4_000, "job");
        store.files().run_deletions(u64::MAX);
        let is_poisoned = store.poisoned().is_some();
        drop((tree, store));
        let store = open(&faults);
        store.remove_orphans().unwrap();
        store.files().run_deletions(u64::MAX);
        let tree = store.tree("t").unwrap();
        check_records(&tree, 0..4_000, "job");
        let named = dictionaries_of(&tree).into_iter().flatten().count();
        assert_eq!(dictionary_files(&faults).len(), named, "step {step}, poisoned: {is_poisoned}");
        let report = store.verify(VerifyOptions::new(), &mut |_, _| Ok(())).unwrap();
        assert!(report.found.is_empty(), "step {step}: {report:?}");
        if merged.is_ok() {
            assert!(step > 5, "a dictionary and a table are written");
            return;
        }
    }
}

#[test]
fn a_failed_sync_of_a_dictionary_fails_the_job_and_that_of_its_directory_poisons() {
    if !are_there() {
        return;
    }
    let sites =
        [("dictionary.finish", ErrorKind::Io, false), ("dictionary.directory", ErrorKind::Poisoned, true)];
    for (site, kind, poisons) in sites {
        let (faults, store, tree) = fresh(4 << 10);
        fill(&tree, 0..4_000, |key| record("job", key), 1);
        faults.fail_next(Fail::Before(BROKEN), move |op: &Op| op.site == site);

        let error = merge_all(&tree, 1, &views(&[NOW])).unwrap_err();

        assert_eq!((error.kind(), store.poisoned().is_some()), (kind, poisons), "{site}: {error}");
        store.files().run_deletions(u64::MAX);
        assert_eq!(dictionary_files(&faults), [""; 0], "{site}");
        if !poisons {
            merge(&tree, 1);
            assert_eq!(dictionary_files(&faults).len(), 1, "the next job writes it anew");
        }
    }
}

#[test]
fn a_dictionary_is_durable_with_its_name_before_a_table_is_begun() {
    if !are_there() {
        return;
    }
    let (faults, _store, tree) = fresh(4 << 10);
    fill(&tree, 0..4_000, |key| record("job", key), 1);
    faults.take_done();

    merge(&tree, 1);

    let done = faults.take_done();
    let place = |is_meant: &dyn Fn(&Op) -> bool| done.iter().position(is_meant).unwrap();
    let created = place(&|op| op.what == What::Create && op.name.starts_with("dictionaries/"));
    let synced = place(&|op| op.site == "dictionary.finish");
    let named = place(&|op| op.site == "dictionary.directory");
    let table = place(&|op| op.what == What::Create && op.name.starts_with("tables/"));
    assert!(created < synced && synced < named && named < table, "{done:?}");
}
