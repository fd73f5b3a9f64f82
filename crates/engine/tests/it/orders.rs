//! Trees whose keys are not in the order of their bytes.

use crate::{
    faults::{Faults, flip},
    harness::{at, flush, open, put, seqno, shown, table_files, tables_of, views},
};
use isopach_engine::{
    compaction::{BottomRewrite, RangeProgress, next_range_plan},
    env::{Env, MemFs},
    error::{Error, ErrorKind, KeyBounds},
    memtable::Sorter,
    order::{KeyOrder, ReverseByteOrder},
    store::Store,
    table::{Region, RegionKind, inspect::LoneTable},
    tree::{Tree, TreeOptions, WriteBatch},
    types::Slice,
};
use std::{ops::Bound, sync::Arc};

fn reverse(store: &Store) -> Tree {
    let mut options = TreeOptions::default();
    options.comparator = "isopach.bytes_reverse".into();
    options.block_bytes = (4 << 10).into();
    let id = store.reserve_tree_id().unwrap();
    store.create_tree(id, "r", &options, &[], seqno(1)).unwrap()
}

fn fresh() -> (Faults, Store, Tree) {
    let faults = Faults::new(&MemFs::new());
    let store = open(&faults);
    let tree = reverse(&store);
    (faults, store, tree)
}

#[test]
fn tables_go_down_the_levels_in_the_order_of_their_tree() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["b=1", "d=2", "a=3", "c=4"], 2);
    assert_eq!(shown(&tree, 9), "d=2 c=4 b=1 a=3");

    let range = (Bound::Included("d"), Bound::Included("b"));
    let progress = tree.with_shape(|shape| RangeProgress::start(shape, BottomRewrite::All, 1 << 20));
    while let Some(step) = tree.begin_compaction(|shape| next_range_plan(shape, &range, &progress)).unwrap() {
        step.run(&views(&[9]), &mut |_| Ok(())).unwrap();
    }

    let deep: Vec<_> =
        tree.tables().iter().map(|table| (table.first_key.clone(), table.last_key.clone())).collect();
    assert!(deep.contains(&(b"d".to_vec(), b"b".to_vec())), "{deep:?}");
    assert_eq!(shown(&tree, 9), "d=2 c=4 b=1 a=3");
    drop((tree, store));
    assert_eq!(
        shown(&open(&faults).tree("r").unwrap(), 9),
        "d=2 c=4 b=1 a=3",
        "the manifest has them sorted anyhow"
    );
}

/// Where the data blocks lie.
fn blocks(files: &MemFs, name: &str) -> Vec<Region> {
    let table = LoneTable::open(&(Arc::new(files.clone()) as _), name).unwrap();
    assert_eq!(table.order().map(KeyOrder::name), Some("isopach.bytes_reverse"));
    let layout = table.layout().unwrap();
    layout.regions().iter().filter(|it| matches!(it.kind, RegionKind::Data(_))).copied().collect()
}

/// Keys that a scan gives, and its errors.
fn walk(scan: impl Iterator<Item = Result<(Slice, Slice), Error>>) -> (Vec<Vec<u8>>, Vec<KeyBounds>) {
    let (mut keys, mut errors) = (Vec::new(), Vec::new());
    for item in scan {
        match item {
            Ok((key, _)) => keys.push(key.to_vec()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
                errors.push(error.keys().expect("a block has keys").clone());
            }
        }
    }
    (keys, errors)
}

#[test]
fn a_scan_goes_on_behind_a_damaged_block_from_both_ends() {
    let key = |n: u32| format!("key{n:04}").into_bytes();
    let (faults, store, tree) = fresh();
    for n in 0..400_u32 {
        put(&tree, &format!("key{n:04}"), &"v".repeat(100), u64::from(n) + 2);
    }
    flush(&tree, 500);
    let name = table_files(&faults.files).remove(0);
    drop((tree, store));
    let blocks = blocks(&faults.files, &name);
    for damaged in [0, 1, blocks.len() - 1] {
        let files = faults.files.deep_clone();
        flip(&files, &name, blocks[damaged].offset as usize + 50);
        let tree = open(&Faults::new(&files)).tree("r").unwrap();

        let (forward, told) = walk(tree.scan(.., at(500)).unwrap());
        let (mut backward, told_back) = walk(tree.scan(.., at(500)).unwrap().rev());

        backward.reverse();
        assert_eq!((told.len(), told_back.len()), (1, 1), "block {damaged}");
        assert_eq!(forward, backward, "block {damaged}");
        let order = KeyOrder::of(Arc::new(ReverseByteOrder));
        let (low, high) = &told[0];
        let is_lost = |key: &[u8]| {
            order.is_above(key, low.as_ref().map(Vec::as_slice))
                && order.is_below(key, high.as_ref().map(Vec::as_slice))
        };
        let expected: Vec<_> = (0..400_u32).rev().map(key).filter(|key| !is_lost(key)).collect();
        assert_eq!(forward, expected, "block {damaged}");
        assert!((300..400).contains(&forward.len()), "one block is lost: {}", forward.len());
    }
}

#[test]
fn what_is_sorted_otherwise_is_refused() {
    let (_faults, _store, tree) = fresh();
    let bytes = Arc::new(b"kv".to_vec());
    let batch = Arc::new(Sorter::new(&bytes, &KeyOrder::BYTES).sort());
    assert_eq!(
        tree.apply_sorted(batch, seqno(5)).map(|applied| applied.bytes).ok(),
        Some(0),
        "of nothing nothing"
    );
    let mut sorter = Sorter::new(&bytes, &KeyOrder::BYTES);
    sorter.add(0, isopach_engine::key::ValueKind::Put, &bytes[..1], &bytes[1..]).unwrap();
    let refused = tree.apply_sorted(Arc::new(sorter.sort()), seqno(5)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);

    let mut batch = WriteBatch::new();
    batch.delete_range("a".."c");
    assert_eq!(tree.apply(&batch, seqno(6)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let mut batch = WriteBatch::new();
    batch.delete_range_in(tree.order(), "c".."a").unwrap();
    tree.apply(&batch, seqno(6)).unwrap();
    assert!(batch.delete_range_in(tree.order(), "a".."c").is_err());
}

#[test]
fn a_table_in_an_order_that_is_not_known_is_looked_at_and_not_searched() {
    use isopach_engine::{
        env::WriteOrigin,
        place::PlaceId,
        table::{PropertySeed, TableIdentity, TableOptions, TableWriter},
        types::{TableId, TreeId, UnixUs, Uuid},
    };
    let env = Env::simulated(1);
    env.fs.create_dir("tables").unwrap();
    let identity =
        TableIdentity { id: TableId(7), uuid: Uuid([1; 16]), database: Uuid([2; 16]), place: PlaceId::MAIN };
    let options = TableOptions { block_bytes: 4096, partition_bytes: 1024, ..TableOptions::default() };
    let mut seed = PropertySeed::new(TreeId(1), "t", UnixUs(0));
    seed.comparator = "app.unknown".into();
    let writer = TableWriter::create(&env.fs, identity, options, seed, WriteOrigin::FlushTable).unwrap();
    let mut writer = writer.with_order(&KeyOrder::of(Arc::new(ReverseByteOrder)));
    let keys = (0..3_000_u32).rev().map(|n| n.to_be_bytes());
    for key in keys.clone() {
        writer.add(&key, seqno(3), isopach_engine::key::ValueKind::Put, b"v").unwrap();
    }
    writer.finish().unwrap();

    let table = LoneTable::open(&env.fs, "tables/000007.table").unwrap();

    assert!(table.order().is_none());
    assert!(table.layout().unwrap().check().is_empty(), "every region is sound by itself");
    let filter = table.filter().unwrap().unwrap();
    assert!(filter.partitions() > 1 && keys.clone().step_by(100).all(|key| filter.may_contain(&key)));
    let blocks = || table.blocks().unwrap();
    let all = blocks().entries((Bound::Unbounded, Bound::Unbounded)).unwrap();
    assert!(all.map(|entry| entry.unwrap().key).eq(keys.map(Vec::from)));
    assert!(blocks().contains(&7_u32.to_be_bytes()).unwrap() && !blocks().contains(b"none").unwrap());
    let some = blocks().entries((Bound::Included(vec![0]), Bound::Unbounded));
    assert_eq!(some.err().map(|error| error.kind()), Some(ErrorKind::MissingComparator));
}
