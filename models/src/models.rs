//! What threads do to a tree at once, and what must hold.

use crate::{
    iter::Cursor,
    key::{InternalKey, ValueKind},
    memtable::blink::{Blink, BlinkCursor},
    types::Seqno,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

type Tree = Blink<4>;

/// A model: its name, how often a thread may be interrupted, and what it does.
type Model = (&'static str, usize, fn());

pub(crate) const ALL: &[Model] = &[
    ("get_beside_an_insert_before_it", 3, get_beside_an_insert_before_it),
    ("get_of_what_is_inserted", 3, get_of_what_is_inserted),
    ("inserts_into_one_leaf", 3, inserts_into_one_leaf),
    ("get_beside_a_split", 2, get_beside_a_split),
    ("get_beside_an_append", 2, get_beside_an_append),
    ("scan_beside_an_insert", 3, scan_beside_an_insert),
    ("splits_of_one_leaf", 2, splits_of_one_leaf),
];

/// Runs a model in every way; returns in how many.
pub(crate) fn explore(preemptions: usize, model: fn()) -> u64 {
    let executions = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&executions);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    executions.load(Ordering::Relaxed)
}

fn place(key: &str) -> InternalKey<'_> {
    InternalKey { key: key.as_bytes(), seqno: Seqno::from_raw(1).expect("small") }
}

/// Each value is its key.
fn insert(tree: &Tree, key: &str) {
    tree.insert(place(key), ValueKind::Put, key.as_bytes(), None);
}

fn has(tree: &Tree, key: &str) -> bool {
    let found = tree.get(place(key));
    if let Some((entry, value)) = &found {
        assert_eq!((entry.key, *value, entry.seqno.raw()), (key.as_bytes(), key.as_bytes(), 1));
    }
    found.is_some()
}

fn tree_of(keys: &[&str]) -> Arc<Tree> {
    let tree = Arc::new(Tree::default());
    keys.iter().for_each(|key| insert(&tree, key));
    tree
}

/// What a scan finds, in order.
fn scan(tree: &Arc<Tree>) -> Vec<String> {
    let mut cursor = BlinkCursor::new(tree);
    let mut found = Vec::new();
    cursor.seek_first().expect("memory");
    while let Some(entry) = cursor.entry() {
        assert_eq!(entry.key, cursor.value_bytes().expect("memory"));
        found.push(String::from_utf8(entry.key.to_vec()).expect("ours"));
        cursor.next().expect("memory");
    }
    assert!(found.is_sorted(), "{found:?}");
    found
}

/// An insert moves the record that is sought.
fn get_beside_an_insert_before_it() {
    let tree = tree_of(&["m"]);
    let other = Arc::clone(&tree);
    let writer = loom::thread::spawn(move || insert(&other, "a"));
    assert!(has(&tree, "m"), "it was there before");
    writer.join().expect("no panic");
    assert!(has(&tree, "a") && has(&tree, "m"));
}

/// Found or not, but never half.
fn get_of_what_is_inserted() {
    let tree = tree_of(&[]);
    let other = Arc::clone(&tree);
    let writer = loom::thread::spawn(move || insert(&other, "a"));
    has(&tree, "a");
    writer.join().expect("no panic");
    assert!(has(&tree, "a"));
}

fn inserts_into_one_leaf() {
    let tree = tree_of(&["m"]);
    let other = Arc::clone(&tree);
    let writer = loom::thread::spawn(move || insert(&other, "a"));
    insert(&tree, "b");
    writer.join().expect("no panic");
    assert_eq!(scan(&tree), ["a", "b", "m"]);
}

/// The leaf is full, and the record that is sought goes to a new one.
fn get_beside_a_split() {
    let tree = tree_of(&["a", "c", "e", "g"]);
    let other = Arc::clone(&tree);
    let writer = loom::thread::spawn(move || insert(&other, "b"));
    assert!(has(&tree, "g"), "it was there before");
    writer.join().expect("no panic");
    assert_eq!(scan(&tree), ["a", "b", "c", "e", "g"]);
}

/// The leaf is full, and what comes behind all of it begins a new one.
fn get_beside_an_append() {
    let tree = tree_of(&["a", "c", "e", "g"]);
    let other = Arc::clone(&tree);
    let writer = loom::thread::spawn(move || insert(&other, "h"));
    assert!(has(&tree, "g"), "it was there before");
    has(&tree, "h");
    writer.join().expect("no panic");
    assert_eq!(scan(&tree), ["a", "c", "e", "g", "h"]);
}

fn scan_beside_an_insert() {
    let tree = tree_of(&["c", "e"]);
    let other = Arc::clone(&tree);
    let writer = loom::thread::spawn(move || insert(&other, "d"));
    let found = scan(&tree);
    assert!(["c", "e"].iter().all(|key| found.iter().any(|found| found == key)), "{found:?}");
    writer.join().expect("no panic");
    assert_eq!(scan(&tree), ["c", "d", "e"]);
}

/// One of both splits the leaf, or both go where there is room.
fn splits_of_one_leaf() {
    let tree = tree_of(&["a", "c", "e", "g"]);
    let other = Arc::clone(&tree);
    let writer = loom::thread::spawn(move || insert(&other, "b"));
    insert(&tree, "f");
    writer.join().expect("no panic");
    assert_eq!(scan(&tree), ["a", "b", "c", "e", "f", "g"]);
}
