//! From an empty directory to a store with tables, and back.

use isopach_engine::{
    compaction::{Leveled, Views},
    env::{Env, MemFs},
    error::ErrorKind,
    store::{Store, StoreOptions},
    tree::{Tree, TreeOptions, WriteBatch},
    types::{Seqno, UnixUs, View},
};
use std::sync::Arc;

fn seqno(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

fn at(raw: u64) -> View {
    View::new(seqno(raw), UnixUs(0))
}

fn env(files: &MemFs) -> Env {
    let mut env = Env::simulated(1);
    env.fs = Arc::new(files.clone());
    env
}

fn open(files: &MemFs) -> Store {
    Store::open(env(files), &StoreOptions::default()).unwrap()
}

fn create(store: &Store, name: &str, at: u64) -> Tree {
    let id = store.reserve_tree_id().unwrap();
    store.create_tree(id, name, &TreeOptions::default(), &[], seqno(at)).unwrap()
}

fn put(tree: &Tree, key: &str, value: &str, number: u64) {
    let mut batch = WriteBatch::new();
    batch.put(key.as_bytes(), value.as_bytes());
    tree.apply(&batch, seqno(number)).unwrap();
}

fn flush(tree: &Tree, number: u64) {
    tree.rotate(seqno(number)).unwrap();
    tree.flush(seqno(number), &Views::new(&[], at(number)), &[]).unwrap();
}

fn entries(tree: &Tree, number: u64) -> Vec<(String, String)> {
    let text = |slice: &[u8]| String::from_utf8(slice.to_vec()).unwrap();
    let forward: Vec<_> = tree.scan(.., at(number)).unwrap().map(Result::unwrap).collect();
    let mut backward: Vec<_> = tree.scan(.., at(number)).unwrap().rev().map(Result::unwrap).collect();
    backward.reverse();
    assert_eq!(forward, backward, "both directions show the same");
    forward.iter().map(|(key, value)| (text(key), text(value))).collect()
}

#[test]
fn what_was_flushed_is_there_after_reopening() {
    let files = MemFs::new();
    let store = open(&files);
    let tree = create(&store, "t", 1);
    put(&tree, "a", "1", 2);
    put(&tree, "b", "2", 3);
    flush(&tree, 3);
    put(&tree, "c", "lost", 4);
    drop((store, tree));

    let store = open(&files);
    let tree = store.tree("t").unwrap();

    assert_eq!(entries(&tree, 9), [("a".into(), "1".into()), ("b".into(), "2".into())]);
    assert_eq!(tree.replay_point(), seqno(3));
    assert_eq!(tree.get(b"a", at(9)).unwrap().unwrap(), b"1");
    assert_eq!(tree.get(b"c", at(9)).unwrap(), None);
}

#[test]
fn compaction_keeps_what_is_seen_and_drops_the_rest() {
    let files = MemFs::new();
    let store = open(&files);
    let tree = create(&store, "t", 1);
    for round in 0..8_u64 {
        for key in 0..50 {
            put(&tree, &format!("k{key:02}"), &format!("{round}"), 2 + round * 50 + key);
        }
        flush(&tree, 1 + (round + 1) * 50);
    }
    let views = Views::new(&[at(120)], at(401));
    let leveled = Leveled::for_tables_of(TreeOptions::default().table_bytes);
    while let Some(plan) = tree.pick(&leveled) {
        tree.compact(&plan, &views, &mut |_| Ok(())).unwrap();
    }

    assert!(entries(&tree, 401).iter().all(|(_, value)| value == "7"));
    assert_eq!(entries(&tree, 401).len(), 50);
    assert_eq!(entries(&tree, 120)[0].1, "2");
    assert_eq!(tree.get(b"k00", at(60)).unwrap_err().kind(), ErrorKind::SnapshotTooOld);
    assert!(tree.stats().compactions > 0);
    let freed = store.files().run_deletions(u64::MAX);
    assert!(freed.files > 0, "inputs go");
    drop((tree, store));
    assert_eq!(entries(&open(&files).tree("t").unwrap(), 401).len(), 50);
}
