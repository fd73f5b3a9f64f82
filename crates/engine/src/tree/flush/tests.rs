//! Flushes of memory that changed.

use super::*;
use crate::{
    compaction::Views,
    error::ErrorKind,
    store::{Store, StoreOptions},
    tree::{TreeOptions, WriteBatch},
    types::{UnixUs, View},
};
use alloc::string::ToString;
use isopach_env::Env;

fn number(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

#[test]
fn an_operation_that_changed_in_memory_fails_the_flush_and_nothing_else_is_lost() {
    let store = Store::open(Env::simulated(1), &StoreOptions::default()).unwrap();
    let options = TreeOptions { entry_checksums: true, ..TreeOptions::default() };
    let tree = store.create_tree(store.reserve_tree_id().unwrap(), "t", &options, &[], number(1)).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(b"apple", b"red").put(b"pear", b"green");
    tree.apply(&batch, number(2)).unwrap();
    let memtable = Arc::clone(&tree.0.state.load().active);
    tree.rotate(number(3)).unwrap();
    memtable.flip(b"pear", 7);

    for _ in 0..2 {
        let error = tree.flush(number(3), &Views::keep_all(), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.to_string().contains("\"pear\" numbered 3"), "{error}");
    }

    assert_eq!((tree.tables().len(), tree.replay_point()), (0, number(1)));
    let now = View::new(number(3), UnixUs(0));
    assert_eq!(tree.get(b"apple", now).unwrap().as_deref(), Some(&b"red"[..]));
    memtable.flip(b"pear", 7);
    let report = tree.flush(number(3), &Views::keep_all(), &[]).unwrap();
    assert_eq!((report.tables.len(), report.replay_point), (1, number(3)));
}
