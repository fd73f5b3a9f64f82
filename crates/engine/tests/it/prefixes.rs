//! Prefix extractors: which tables scans pass over, and that nothing else changes. Random work under changing
//! extractors is in `model.rs`.

use crate::{
    faults::Faults,
    harness::{at, delete, flush, merge_all, put, seqno, tables_of, views},
};
use isopach_engine::{
    env::MemFs,
    error::{ErrorKind, Result},
    iter::Item,
    key::KeyRange,
    prefix::{FixedPrefix, PrefixExtractor, PrefixExtractors},
    store::{Store, StoreOptions},
    table::{Table, VerifyDepth},
    tree::{Reader, Tree, TreeOptions, WriteBatch},
};
use std::sync::Arc;

/// Name of [`Every`].
pub(crate) const EVERY: &str = "test.every";

/// All prefixes of up to three bytes, the empty one too.
struct Every;

impl PrefixExtractor for Every {
    fn name(&self) -> &str {
        EVERY
    }

    fn prefixes(&self, key: &[u8], each: &mut dyn FnMut(usize)) {
        (0..=key.len().min(3)).for_each(each);
    }

    fn covers(&self, prefix: &[u8]) -> bool {
        prefix.len() <= 3
    }
}

/// Opens a store that knows all extractors of these tests.
pub(crate) fn open(faults: &Faults) -> Store {
    Store::open(faults.env(), &knowing()).unwrap()
}

fn knowing() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.code.prefix_extractors.add(Arc::new(Every));
    options
}

fn options(extractor: Option<&str>) -> TreeOptions {
    let mut options = TreeOptions::default();
    options.prefix_extractor = extractor.map(Into::into);
    options
}

fn with_extractor(name: &str) -> (Faults, Store, Tree) {
    let faults = Faults::new(&MemFs::new());
    let store = open(&faults);
    let id = store.reserve_tree_id().unwrap();
    let tree = store.create_tree(id, "t", &options(Some(name)), &[], seqno(1)).unwrap();
    (faults, store, tree)
}

/// Keys in a range, which both directions show, and how many tables each passed over.
fn scanned(tree: &Tree, range: impl KeyRange) -> (Vec<String>, u64) {
    let before = tree.stats().prefix_skips;
    let (low, high) = range.bounds();
    let keys = |is_back: bool| -> Vec<String> {
        let scan = tree.scan((low, high), at(99)).unwrap();
        let key = |item: Result<Item>| item.unwrap().0.escape_ascii().to_string();
        if is_back { scan.rev().map(key).collect() } else { scan.map(key).collect() }
    };
    let forward = keys(false);
    let skips = tree.stats().prefix_skips - before;
    let mut backward = keys(true);
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!(tree.stats().prefix_skips - before, 2 * skips, "both directions pass over the same");
    (forward, skips)
}

#[test]
fn a_scan_inside_a_prefix_passes_over_tables_that_have_none_of_it() {
    let (_faults, store, tree) = with_extractor("isopach.delimited.58");
    let mut number = 2;
    for keys in [["a:1", "c:1"], ["a:2", "c:2"], ["a:3", "b:1"], ["b:2", "b:3"]] {
        for key in keys {
            put(&tree, key, "v", number);
            number += 1;
        }
        flush(&tree, number);
        number += 1;
    }
    assert_eq!(scanned(&tree, "b:".."b;"), (vec!["b:1".into(), "b:2".into(), "b:3".into()], 2));
    assert_eq!(scanned(&tree, "b:2".."b:9").1, 2, "a part of a prefix lies inside of it");
    assert_eq!(scanned(&tree, ..).1, 0);
    assert_eq!(scanned(&tree, "b".."c").1, 0, "more than one prefix");
    let misses = store.cache().misses;
    assert_eq!(scanned(&tree, "bb:".."bb;"), (vec![], 2), "two end before it");
    assert_eq!(store.cache().misses, misses, "no block was looked for");

    merge_all(&tree, 3, &views(&[99])).unwrap();

    assert_eq!(scanned(&tree, "bb:".."bb;"), (vec![], 1), "merged tables have prefix filters too");
    assert_eq!(scanned(&tree, "b:".."b;").0.len(), 3);
}

#[test]
fn no_table_is_opened_before_the_first_entry_is_asked_for() {
    let (faults, store, tree) = with_extractor("isopach.prefix.1");
    put(&tree, "a", "v", 2);
    put(&tree, "c", "v", 3);
    flush(&tree, 4);
    drop((tree, store));
    let store = open(&faults);
    let tree = store.tree("t").unwrap();

    let mut scan = tree.scan("b".."c", at(9)).unwrap();

    assert_eq!((store.cache().table_bytes, tree.stats().prefix_skips), (0, 0));
    assert!(scan.next().is_none());
    assert_eq!(tree.stats().prefix_skips, 1);
    scan.seek(b"b0");
    assert!(scan.next().is_none() && scan.next_back().is_none());
    assert_eq!(tree.stats().prefix_skips, 2, "of each end a table is passed over once");
}

/// A table that has deletes of a prefix only is no table without it.
#[test]
fn a_key_that_was_deleted_in_a_newer_table_stays_deleted() {
    let (_faults, _store, tree) = with_extractor("isopach.prefix.1");
    tables_of(&tree, &["b1=old"], 2);
    put(&tree, "a", "v", 3);
    delete(&tree, "b1", 4);
    put(&tree, "c", "v", 5);
    flush(&tree, 6);

    assert_eq!(scanned(&tree, "b".."c"), (vec![], 0));
}

#[test]
fn a_filter_is_used_under_its_own_extractor_only() {
    let (_faults, _store, tree) = with_extractor("isopach.prefix.1");
    put(&tree, "aa", "v", 2);
    put(&tree, "cc", "v", 3);
    flush(&tree, 4);
    let absent = || scanned(&tree, "bb".."bc");
    assert_eq!(absent(), (vec![], 1));

    for (extractor, skips) in [(None, 0), (Some("isopach.prefix.2"), 0), (Some("isopach.prefix.1"), 1)] {
        tree.set_options(options(extractor), &[]).unwrap();
        assert_eq!(absent(), (vec![], skips), "{extractor:?}");
    }

    tree.set_options(options(Some("isopach.prefix.2")), &[]).unwrap();
    put(&tree, "ab", "v", 5);
    put(&tree, "bbx", "v", 6);
    flush(&tree, 7);
    assert_eq!(absent(), (vec!["bbx".into()], 0), "the new table has it, the old one cannot tell");
    put(&tree, "ac", "v", 8);
    put(&tree, "cc", "v", 9);
    flush(&tree, 10);
    assert_eq!(absent(), (vec!["bbx".into()], 1));
    merge_all(&tree, 1, &views(&[99])).unwrap();
    assert_eq!(scanned(&tree, "bc".."bd"), (vec![], 1), "compaction brings the extractor that is in force");
}

#[test]
fn a_reader_that_pinned_a_state_goes_on_under_its_extractor() {
    let (_faults, _store, tree) = with_extractor("isopach.prefix.1");
    put(&tree, "a", "v", 2);
    put(&tree, "c", "v", 3);
    flush(&tree, 4);
    let reader = tree.reader().unwrap();
    tree.set_options(options(None), &[]).unwrap();
    let skips = |reader: Reader| {
        let before = tree.stats().prefix_skips;
        assert_eq!(reader.scan("b".."c", at(9)).unwrap().count(), 0);
        tree.stats().prefix_skips - before
    };

    assert_eq!((skips(reader), skips(tree.reader().unwrap())), (1, 0));
}

#[test]
fn the_extractor_is_there_again_after_reopening() {
    let (faults, store, tree) = with_extractor(EVERY);
    put(&tree, "a", "v", 2);
    put(&tree, "c", "v", 3);
    flush(&tree, 4);
    drop((tree, store));

    let store = open(&faults);
    let tree = store.tree("t").unwrap();

    assert_eq!(tree.options().prefix_extractor.as_deref(), Some(EVERY));
    assert_eq!(scanned(&tree, "b".."c"), (vec![], 1));
}

#[test]
fn keys_that_are_shorter_than_the_prefix_are_found() {
    let (_faults, _store, tree) = with_extractor("isopach.prefix.3");
    for (key, number) in ["", "a", "ab"].into_iter().zip(2..) {
        put(&tree, key, "v", number);
    }
    put(&tree, "b", "v", 6);
    flush(&tree, 7);

    assert_eq!(scanned(&tree, "".."b").0, ["", "a", "ab"]);
    assert_eq!(scanned(&tree, "ab".."ac"), (vec!["ab".into()], 0));
    assert_eq!(scanned(&tree, "abc".."abd"), (vec![], 1), "a table without any prefix has none of it");
}

#[test]
fn a_prefix_of_greatest_bytes_has_an_open_end() {
    let (_faults, _store, tree) = with_extractor("isopach.prefix.2");
    let mut number = 2;
    for keys in [[&b"\xff\xfe"[..], b"\xff\xff\x01"], [b"a", b"\xff\xff\xff\xff"], [b"a", b"b"]] {
        let mut batch = WriteBatch::new();
        batch.put(keys[0], b"v").put(keys[1], b"v");
        tree.apply(&batch, seqno(number)).unwrap();
        flush(&tree, number + 1);
        number += 2;
    }
    assert_eq!(scanned(&tree, b"\xff\xff".to_vec()..).0, [r"\xff\xff\x01", r"\xff\xff\xff\xff"]);
    assert_eq!(scanned(&tree, b"\xff\xfe".to_vec()..b"\xff\xff".to_vec()), (vec![r"\xff\xfe".into()], 1));
}

#[test]
fn an_extractor_that_is_not_registered_is_named_and_its_tree_is_listed() {
    let (faults, store, tree) = with_extractor(EVERY);
    tables_of(&tree, &["a=1", "c=2"], 2);
    drop((tree, store));

    let store = Store::open(faults.env(), &StoreOptions::default()).unwrap();
    assert_eq!(store.trees()[0].name, "t");
    let error = store.tree("t").err().unwrap();
    assert_eq!((error.kind(), error.tree()), (ErrorKind::MissingPrefixExtractor, Some(store.trees()[0].id)));
    assert!(error.to_string().contains(EVERY) && error.to_string().contains("registers"), "{error}");
    drop(store);

    let mut reading = StoreOptions::default();
    reading.read_only = true;
    let store = Store::open(faults.env(), &reading).unwrap();
    let tree = store.tree("t").unwrap();
    assert_eq!(scanned(&tree, "a".."b"), (vec!["a".into()], 0), "reading does without");
    assert_eq!(store.verify(Default::default(), &mut |_, _| Ok(())).unwrap().found.len(), 0);
}

#[test]
fn options_that_name_an_unknown_extractor_are_refused_and_change_nothing() {
    let (_faults, store, tree) = with_extractor("isopach.prefix.1");
    let id = store.reserve_tree_id().unwrap();

    let created = store.create_tree(id, "other", &options(Some("nobody's")), &[], seqno(2));
    let set = tree.set_options(options(Some("nobody's")), &[]);
    let long = tree.set_options(options(Some(&"n".repeat(256))), &[]);

    assert_eq!(created.err().unwrap().kind(), ErrorKind::MissingPrefixExtractor);
    assert_eq!(set.unwrap_err().kind(), ErrorKind::MissingPrefixExtractor);
    assert_eq!(long.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(store.trees().len(), 1);
    assert_eq!(tree.options().prefix_extractor.as_deref(), Some("isopach.prefix.1"));
}

#[test]
fn a_store_with_extractors_of_one_name_is_not_opened() {
    let mut twice = knowing();
    twice.code.prefix_extractors.add(Arc::new(Every));

    let error = Store::open(Faults::new(&MemFs::new()).env(), &twice).err().unwrap();

    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("that of two"), "{error}");
}

/// One byte by another name: what was written by [`Every`] contradicts it.
struct Liar(FixedPrefix);

impl PrefixExtractor for Liar {
    fn name(&self) -> &str {
        EVERY
    }

    fn prefixes(&self, key: &[u8], each: &mut dyn FnMut(usize)) {
        self.0.prefixes(key, each);
    }

    fn covers(&self, prefix: &[u8]) -> bool {
        self.0.covers(prefix)
    }
}

#[test]
fn a_check_finds_prefixes_that_the_filter_denies_or_counts_otherwise() {
    let (_faults, _store, tree) = with_extractor(EVERY);
    for (key, number) in ["abcdef", "abcxyz", "b"].into_iter().zip(2..) {
        put(&tree, key, "v", number);
    }
    flush(&tree, 9);
    let table = tree.tables()[0].open().unwrap();
    let found = |extractors: &PrefixExtractors, depth| -> Vec<String> {
        Table::verify(&table, depth, extractors).into_iter().map(|found| found.message).collect()
    };
    let of = |extractor: Liar| {
        let mut extractors = PrefixExtractors::new();
        extractors.add(Arc::new(extractor));
        extractors
    };

    assert_eq!(found(&knowing().code.prefix_extractors, VerifyDepth::Full), [""; 0]);
    assert_eq!(found(&PrefixExtractors::new(), VerifyDepth::Full), [""; 0], "nobody knows what it should be");
    let short = found(&of(Liar(FixedPrefix::new(1))), VerifyDepth::Full);
    assert_eq!(short, ["the prefix filter counts 5 prefixes, and 2 are there"]);
    let long = found(&of(Liar(FixedPrefix::new(5))), VerifyDepth::Entries);
    assert_eq!(long, ["the prefix filter denies 2 of its prefixes"]);
}
