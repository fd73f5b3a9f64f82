//! Orders of keys: stored by name for ever, missing, and what they do not allow; what happens when one panics.

use isopach::{
    CheckpointOptions, Comparator, Db, DelimitedPrefix, ErrorKind, Keyspace, KeyspaceOptions,
    ReverseByteOrder, VerifyDepth, VerifyOptions,
    env::{Fs, MemFs, SubDir},
};
use std::{
    cmp::Ordering,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use testkit::db::{SOON, entries, small, tiny_tables};

/// Numbers in ASCII by what they are worth.
struct Numeric;

impl Comparator for Numeric {
    fn name(&self) -> &str {
        "app.numeric"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

fn numeric() -> KeyspaceOptions {
    tiny_tables().comparator(&Numeric)
}

fn reverse() -> KeyspaceOptions {
    tiny_tables().comparator(&ReverseByteOrder)
}

fn keys(ks: &Keyspace) -> Vec<String> {
    ks.iter().keys().map(|key| String::from_utf8(key.unwrap().to_vec()).unwrap()).collect()
}

fn insert(ks: &Keyspace, keys: &[&str]) {
    for key in keys {
        ks.insert(key, format!("value of {key}")).unwrap();
    }
}

#[test]
fn keys_come_in_the_order_of_their_keyspace_from_memtables_and_tables() {
    let files = MemFs::new();
    let db = small(files.clone()).comparator(Numeric).open().unwrap();
    let ks = db.keyspace_with("k", numeric()).unwrap();
    insert(&ks, &["10", "9", "100", "1"]);
    assert_eq!(keys(&ks), ["1", "9", "10", "100"]);
    db.flush().unwrap();
    insert(&ks, &["20", "3"]);

    let expected = ["1", "3", "9", "10", "20", "100"];
    assert_eq!(keys(&ks), expected);
    assert_eq!(ks.range("9".."20").count(), 2);
    assert_eq!(&ks.ceil("4").unwrap().unwrap().0[..], b"9");
    assert_eq!(&ks.floor("99").unwrap().unwrap().0[..], b"20");
    ks.compact_range(..).unwrap();
    assert_eq!(keys(&ks), expected);
    let crashed = files.deep_clone();
    drop(ks);
    db.close().unwrap();

    for files in [files, crashed] {
        let db = small(files).comparator(Numeric).open().unwrap();
        let ks = db.keyspace("k").unwrap();
        assert_eq!(
            (ks.options().comparator.as_str(), keys(&ks)),
            ("app.numeric", expected.map(String::from).to_vec())
        );
        assert_eq!(db.verify(VerifyOptions::new().depth(VerifyDepth::Full)).unwrap().found.len(), 0);
    }
}

#[test]
fn a_batch_as_large_as_a_memtable_is_sorted_in_the_order_of_each_keyspace() {
    let db = small(MemFs::new()).comparator(Numeric).open().unwrap();
    let (forward, backward) =
        (db.keyspace_with("f", numeric()).unwrap(), db.keyspace_with("b", reverse()).unwrap());
    let mut batch = db.batch();
    for n in 0..1_000 {
        batch.insert(&forward, n.to_string(), [b'v'; 50]).insert(&backward, n.to_string(), [b'v'; 50]);
    }
    db.write(batch).unwrap();

    let mut expected: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    assert_eq!(keys(&forward), expected);
    expected.sort_by(|a, b| b.cmp(a));
    assert_eq!(keys(&backward), expected);
    db.wait_idle(SOON).unwrap();
    assert_eq!(keys(&backward), expected);
}

#[test]
fn a_keyspace_whose_order_is_missing_is_listed_and_not_used() {
    let files = MemFs::new();
    let db = small(files.clone()).comparator(Numeric).open().unwrap();
    insert(&db.keyspace_with("k", numeric()).unwrap(), &["10", "9"]);
    insert(&db.keyspace("other").unwrap(), &["1"]);
    db.flush().unwrap();
    db.close().unwrap();

    let db = small(files.clone()).open().unwrap();
    assert_eq!(db.keyspaces().len(), 2);
    assert_eq!(db.keyspace("k").unwrap_err().kind(), ErrorKind::MissingComparator);
    let instead = db.keyspace_with("k", reverse()).unwrap_err();
    assert_eq!(instead.kind(), ErrorKind::MissingComparator, "{instead}");
    let other = db.keyspace("other").unwrap();
    insert(&other, &["2"]);
    other.compact_range(..).unwrap();
    let report = db.verify(VerifyOptions::new()).unwrap();
    assert_eq!(report.found.len(), 1, "{:?}", report.found);
    assert!(report.found[0].message.contains("app.numeric"), "{:?}", report.found);
    // Its tables go along, in whatever order the manifest has them.
    let copies: Arc<dyn Fs> = Arc::new(MemFs::new());
    db.checkpoint_to(Arc::clone(&copies), "copy", CheckpointOptions::new()).unwrap();
    drop(other);
    db.close().unwrap();

    let copy = || SubDir::open(Arc::clone(&copies), "copy").unwrap();
    for builders in [[small(files.clone()), small(files)], [small(copy()), small(copy())]] {
        let [read, write] = builders;
        let db = read.open_read_only().unwrap();
        assert_eq!(db.keyspace("k").unwrap_err().kind(), ErrorKind::MissingComparator);
        drop(db);
        let db = write.comparator(Numeric).open().unwrap();
        assert_eq!(keys(&db.keyspace("k").unwrap()), ["9", "10"]);
        assert_eq!(keys(&db.keyspace("other").unwrap()), ["1", "2"]);
    }
}

#[test]
fn writes_in_the_log_of_a_missing_order_keep_the_database_closed() {
    let files = MemFs::new();
    let db = small(files.clone()).comparator(Numeric).open().unwrap();
    insert(&db.keyspace_with("k", numeric()).unwrap(), &["10", "9"]);
    let crashed = files.deep_clone();
    db.close().unwrap();

    let refused = small(crashed.clone()).open().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::MissingComparator, "{refused}");
    let db = small(crashed).comparator(Numeric).open().unwrap();
    assert_eq!(keys(&db.keyspace("k").unwrap()), ["9", "10"]);
}

#[test]
fn an_order_is_for_ever() {
    let db = small(MemFs::new()).comparator(Numeric).open().unwrap();
    let ks = db.keyspace_with("k", reverse()).unwrap();
    insert(&ks, &["a", "b"]);

    let changed = ks.set_options(|options| *options = numeric()).unwrap_err();
    assert_eq!(changed.kind(), ErrorKind::InvalidArgument, "{changed}");
    let again = db.keyspace_with("k", numeric()).unwrap();
    assert_eq!(again.options().comparator, "isopach.bytes_reverse", "what is stored stays");
    assert_eq!(keys(&again), ["b", "a"]);
    ks.set_options(|options| options.block_bytes = (8 << 10).into()).unwrap();
    let mut options = KeyspaceOptions::new();
    options.comparator = "app.none".into();
    let unknown = db.keyspace_with("l", options);
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::MissingComparator);
    assert_eq!(db.keyspaces().len(), 1);
}

#[test]
fn names_of_orders_are_bounded_and_those_that_are_built_in_reserved() {
    struct Named(String);
    impl Comparator for Named {
        fn name(&self) -> &str {
            &self.0
        }

        fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
            a.cmp(b)
        }
    }

    for name in [String::new(), "n".repeat(256), "isopach.mine".into()] {
        let refused = small(MemFs::new()).comparator(Named(name.clone())).open();
        assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::InvalidArgument), "{name:?}");
    }
}

#[test]
fn there_are_no_prefixes_in_an_order_that_is_not_that_of_bytes() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace_with("k", reverse()).unwrap();
    insert(&ks, &["a1", "a2", "b"]);

    let invalid = |result: isopach::Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().contains("isopach.bytes_reverse"), "{error}");
    };
    invalid(ks.prefix("a").next().unwrap().map(drop));
    invalid(ks.at(&db.snapshot()).prefix("a").next_back().unwrap().map(drop));
    invalid(ks.contains_prefix("a").map(drop));
    invalid(ks.remove_prefix("a").map(drop));
    let mut batch = db.batch();
    batch.remove_prefix(&ks, "a");
    invalid(db.write(batch).map(drop));
    let extractor = DelimitedPrefix::new(b'/');
    invalid(db.keyspace_with("l", reverse().prefix_extractor(&extractor)).map(drop));
    invalid(ks.set_options(|options| options.prefix_extractor = Some("isopach.delimited.47".into())));
    assert_eq!(keys(&ks), ["b", "a2", "a1"]);
}

#[test]
fn a_range_is_deleted_in_the_order_of_its_keyspace() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace_with("k", reverse()).unwrap();
    let fill = || insert(&ks, &["a", "b", "c", "d", "e"]);

    fill();
    ks.remove_range("d".."b").unwrap();
    assert_eq!(keys(&ks), ["e", "b", "a"]);
    fill();
    db.flush().unwrap();
    ks.remove_range("d"..="b").unwrap();
    assert_eq!(keys(&ks), ["e", "a"]);
    ks.compact_range(..).unwrap();
    assert_eq!(keys(&ks), ["e", "a"]);
    fill();
    ks.remove_range("c"..).unwrap();
    assert_eq!(keys(&ks), ["e", "d"]);

    let refused = |low: Bound<&str>, high: Bound<&str>| {
        let error = ks.remove_range((low, high)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{low:?} {high:?}");
    };
    refused(Bound::Included("b"), Bound::Excluded("d"));
    refused(Bound::Excluded("d"), Bound::Excluded("b"));
    refused(Bound::Unbounded, Bound::Excluded("b"));
    refused(Bound::Unbounded, Bound::Unbounded);
    refused(Bound::Included("d"), Bound::Excluded(""));
    assert_eq!(keys(&ks), ["e", "d"]);
}

/// In the order of bytes, until it is told to panic.
struct Fragile(Arc<AtomicBool>);

impl Comparator for Fragile {
    fn name(&self) -> &str {
        "app.fragile"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        assert!(!self.0.load(Relaxed), "a comparator of a test panics");
        a.cmp(b)
    }
}

fn fragile(files: &MemFs, panics: &Arc<AtomicBool>) -> Db {
    small(files.clone()).comparator(Fragile(Arc::clone(panics))).open().unwrap()
}

#[test]
fn a_comparator_that_panics_stops_its_keyspaces_and_loses_nothing_that_was_acknowledged() {
    let (files, panics) = (MemFs::new(), Arc::new(AtomicBool::new(false)));
    let db = fragile(&files, &panics);
    let ks = db.keyspace_with("k", tiny_tables().comparator(&Fragile(Arc::clone(&panics)))).unwrap();
    let other = db.keyspace("other").unwrap();
    insert(&ks, &["a", "c"]);
    db.flush().unwrap();
    insert(&ks, &["d"]);

    panics.store(true, Relaxed);
    insert(&ks, &["b"]); // It is in the log by the time it has to be sorted.
    panics.store(false, Relaxed);

    let failed = |result: isopach::Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ComparatorFailed, "{error}");
    };
    failed(ks.get("a").map(drop));
    failed(ks.iter().next().unwrap().map(drop));
    failed(ks.iter().next_back().unwrap().map(drop));
    failed(ks.insert("e", "").map(drop));
    failed(ks.compact_range(..));
    insert(&other, &["1"]);
    assert_eq!(keys(&other), ["1"]);
    drop((ks, other, db));

    let db = fragile(&files, &panics);
    let (ks, other) = (db.keyspace("k").unwrap(), db.keyspace("other").unwrap());
    assert_eq!((keys(&ks).concat(), keys(&other).concat()), ("abcd".into(), "1".into()));
    assert_eq!(db.verify(VerifyOptions::new().depth(VerifyDepth::Full)).unwrap().found.len(), 0);
    assert_eq!(entries(&ks).len(), 4);
}
