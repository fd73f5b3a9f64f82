//! Checksums of entries: they go from the memtable through every table, and what contradicts one is told.

use crate::{
    faults::Faults,
    harness::{at, flush, merge_all, open, put, seqno, table_files, views},
};
use isopach_engine::{
    codec::{BlockKind, Compression, FileCodec, Section, decode_block, encode_block},
    env::{Fs, MemFs, OpenMode},
    error::ErrorKind,
    iter::Cursor,
    key::ValueKind,
    memtable::Sorter,
    order::KeyOrder,
    store::{Store, VerifyOptions},
    tree::{Tree, TreeOptions},
    types::Uuid,
};
use std::sync::Arc;

fn options(entry_checksums: bool) -> TreeOptions {
    let mut options = TreeOptions::default();
    options.entry_checksums = entry_checksums;
    options.compression = Compression::None.into();
    options
}

fn with_checksums() -> (Faults, Store, Tree) {
    let faults = Faults::new(&MemFs::new());
    let store = open(&faults);
    let id = store.reserve_tree_id().unwrap();
    let tree = store.create_tree(id, "t", &options(true), &[], seqno(1)).unwrap();
    (faults, store, tree)
}

/// Changes a bit of the last value of a table of one data block, as a memory does before the block is framed: all
/// checksums of the frame hold.
fn forge(files: &MemFs, name: &str) {
    let file = files.open(name, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.size_bytes().unwrap() as usize];
    file.read_exact_at(0, &mut bytes).unwrap();
    let codec = FileCodec::clear(Uuid(bytes[8..24].try_into().unwrap()));
    let header = &bytes[64..64 + 24];
    let stored = u64::from_le_bytes([&header[8..14], &[0; 2]].concat().try_into().unwrap()) as usize;
    let frame = 64..64 + 24 + 17 * usize::from(header[5]) + stored;
    let mut sections = decode_block(&bytes[frame.clone()], BlockKind::Data, &codec, 64).unwrap();
    *sections.last_mut().unwrap().last_mut().unwrap() ^= 0x10;
    let sections: Vec<Section<'_>> =
        sections.iter().map(|raw| Section { raw, compression: Compression::None }).collect();
    let mut forged = Vec::new();
    encode_block(&mut forged, BlockKind::Data, &codec, 64, &sections);
    assert_eq!(forged.len(), frame.len());
    files.open(name, OpenMode::ReadWrite).unwrap().write_at(64, &forged).unwrap();
}

/// Number of entries that have checksums, and of all: each is what its checksum says.
fn counted(tree: &Tree) -> (usize, usize) {
    let (mut checked, mut all) = (0, 0);
    for table in tree.tables() {
        let mut cursor = table.open().unwrap().cursor();
        cursor.seek_first().unwrap();
        while cursor.entry().is_some() {
            checked += usize::from(cursor.checked_value().unwrap().1.is_some());
            all += 1;
            cursor.next().unwrap();
        }
    }
    (checked, all)
}

#[test]
fn entries_keep_their_checksums_when_versions_lose_their_number() {
    let (_faults, _store, tree) = with_checksums();
    put(&tree, "a", "1", 2);
    flush(&tree, 3);
    put(&tree, "b", "2", 4);
    flush(&tree, 5);
    assert_eq!(counted(&tree), (2, 2));

    merge_all(&tree, 6, &views(&[9])).unwrap();

    assert_eq!(tree.tables()[0].last_seqno, seqno(0));
    assert_eq!(counted(&tree), (2, 2));
}

#[test]
fn the_option_holds_from_the_next_memtable_and_table_on() {
    let (_faults, _store, tree) = with_checksums();
    put(&tree, "a", "1", 2);
    flush(&tree, 3);
    tree.set_options(options(false), &[]).unwrap();
    put(&tree, "b", "2", 4);
    flush(&tree, 5);
    assert_eq!(counted(&tree), (1, 2));

    merge_all(&tree, 1, &views(&[9])).unwrap();
    assert_eq!(counted(&tree), (0, 2));
    tree.set_options(options(true), &[]).unwrap();
    merge_all(&tree, 2, &views(&[9])).unwrap();
    assert_eq!(counted(&tree), (2, 2), "for entries that came without they are computed");
}

#[test]
fn operations_of_a_sorted_batch_have_checksums_too() {
    let (_faults, _store, tree) = with_checksums();
    let bytes = Arc::new(b"keyvalue".to_vec());
    let mut sorter = Sorter::new(&bytes, &KeyOrder::BYTES);
    sorter.add(0, ValueKind::Put, &bytes[..3], &bytes[3..]).unwrap();
    tree.apply_sorted(Arc::new(sorter.sort()), seqno(5)).unwrap();
    flush(&tree, 6);

    assert_eq!(counted(&tree), (1, 1));
}

#[test]
fn an_entry_that_contradicts_its_checksum_is_told_by_reads_jobs_and_checks() {
    let (faults, store, tree) = with_checksums();
    put(&tree, "a", "1", 2);
    put(&tree, "z", "26", 3);
    flush(&tree, 4);
    let name = table_files(&faults.files)[0].clone();
    drop((tree, store));
    forge(&faults.files, &name);
    let store = open(&faults);
    let tree = store.tree("t").unwrap();

    assert_eq!(tree.get(b"a", at(9)).unwrap().as_deref(), Some(&b"1"[..]));
    let read = tree.get(b"z", at(9)).unwrap_err();
    let merged = merge_all(&tree, 1, &views(&[9])).unwrap_err();
    for error in [read, merged] {
        assert_eq!(
            (error.kind(), error.file(), error.offset()),
            (ErrorKind::Corruption, Some(&*name), Some(64))
        );
        assert!(error.to_string().contains("\"z\""), "{error}");
    }
    assert_eq!(tree.tables().len(), 1, "the merge left all as it was");
    let found = store.verify(VerifyOptions::new(), &mut |_, _| Ok(())).unwrap().found;
    assert!(found.iter().any(|found| found.message.contains("\"z\"")), "{found:?}");
    assert!(!found.iter().any(|found| found.message.contains("\"a\"")), "{found:?}");
    assert_eq!(store.damaged_tables().len(), 1);
}

#[test]
fn without_the_option_nothing_tells() {
    let (faults, store, tree) = crate::harness::fresh();
    put(&tree, "a", "1", 2);
    flush(&tree, 3);
    assert_eq!(counted(&tree), (0, 1));
    let name = table_files(&faults.files)[0].clone();
    drop((tree, store));
    forge(&faults.files, &name);

    let tree = open(&faults).tree("t").unwrap();

    assert_eq!(tree.get(b"a", at(9)).unwrap().as_deref(), Some(&b"!"[..]));
}
