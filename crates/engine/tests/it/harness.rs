//! Short words for tests: stores over files in memory, numbered operations, what a view shows.

use crate::faults::Faults;
use isopach_engine::{
    compaction::{Plan, Views},
    env::{IoErrorKind, MemFs},
    error::Result,
    store::{Store, StoreOptions},
    tree::{CompactionReport, FlushReport, Tree, TreeOptions, WriteBatch},
    types::{Level, Seqno, TableId, UnixUs, View},
};

pub(crate) fn seqno(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

pub(crate) fn at(raw: u64) -> View {
    View::new(seqno(raw), UnixUs(0))
}

/// A job is told of views at these numbers, the last of which is the newest.
pub(crate) fn views(numbers: &[u64]) -> Views {
    let (&visible, live) = numbers.split_last().unwrap();
    let live: Vec<View> = live.iter().map(|&number| at(number)).collect();
    Views::new(&live, at(visible))
}

pub(crate) fn open(faults: &Faults) -> Store {
    Store::open(faults.env(), &StoreOptions::default()).unwrap()
}

pub(crate) fn fresh() -> (Faults, Store, Tree) {
    let faults = Faults::new(&MemFs::new());
    let store = open(&faults);
    let tree = create(&store, "t");
    (faults, store, tree)
}

pub(crate) fn create(store: &Store, name: &str) -> Tree {
    let id = store.reserve_tree_id().unwrap();
    store.create_tree(id, name, &TreeOptions::default(), &[], seqno(1)).unwrap()
}

pub(crate) fn put(tree: &Tree, key: &str, value: &str, number: u64) {
    let mut batch = WriteBatch::new();
    batch.put(key.as_bytes(), value.as_bytes());
    tree.apply(&batch, seqno(number)).unwrap();
}

pub(crate) fn delete(tree: &Tree, key: &str, number: u64) {
    let mut batch = WriteBatch::new();
    batch.delete(key.as_bytes());
    tree.apply(&batch, seqno(number)).unwrap();
}

/// Seals at `number` and writes all that is sealed; nothing is dropped.
pub(crate) fn flush(tree: &Tree, number: u64) -> FlushReport {
    tree.rotate(seqno(number)).unwrap();
    try_flush(tree, number).unwrap()
}

pub(crate) fn try_flush(tree: &Tree, number: u64) -> Result<FlushReport> {
    tree.flush(seqno(number), &Views::keep_all(), &[])
}

/// A table for each entry: `key=value`, numbered from `first` on.
pub(crate) fn tables_of(tree: &Tree, entries: &[&str], first: u64) -> Vec<TableId> {
    let mut tables = Vec::new();
    for (entry, number) in entries.iter().zip(first..) {
        let (key, value) = entry.split_once('=').unwrap();
        put(tree, key, value, number);
        tables.extend(flush(tree, number).tables);
    }
    tables
}

/// Everything in one table of a level.
pub(crate) fn merge_all(tree: &Tree, to: u8, views: &Views) -> Result<CompactionReport> {
    let inputs = tree.tables().iter().map(|table| table.id).collect();
    tree.compact(&Plan::merge(inputs, Level(to)), views, &mut |_| Ok(()))
}

/// What a view shows, as `key=value` with blanks between; both directions agree.
pub(crate) fn shown(tree: &Tree, number: u64) -> String {
    let text = |(key, value): (isopach_engine::types::Slice, isopach_engine::types::Slice)| {
        format!("{}={}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value))
    };
    let scan = || tree.scan(.., at(number)).unwrap().map(|item| item.unwrap());
    let forward: Vec<String> = scan().map(text).collect();
    let scan = tree.scan(.., at(number)).unwrap().rev().map(|item| item.unwrap());
    let mut backward: Vec<String> = scan.map(text).collect();
    backward.reverse();
    assert_eq!(forward, backward, "both directions show the same");
    forward.join(" ")
}

/// Names of table files that exist.
pub(crate) fn table_files(files: &MemFs) -> Vec<String> {
    let tables = |name: &String| name.starts_with("tables/") && name.ends_with(".table");
    crate::faults::names(files).into_iter().filter(tables).collect()
}

pub(crate) const BROKEN: IoErrorKind = IoErrorKind::Other;
