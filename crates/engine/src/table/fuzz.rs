//! Decoders of the parts of a table, for tests that give them hostile bytes.
//!
//! The parts are private: users meet them through [`Table`](super::Table) only, behind checksums that keep
//! most hostile bytes away. These functions go straight to them. Not part of the API.
//!
//! A decoder answers or refuses; it never panics. What it takes is asked every question, and encoded again
//! where there is an inverse.

use super::{
    block::DataBlock,
    filter::Filter,
    footer::Footer,
    index::Index,
    properties::Properties,
    statistics::{self, Statistics},
};
use crate::{
    codec::{BlockKind, Compression, FileCodec, Salt, Section, encode_block},
    key::InternalKey,
    order::{KeyOrder, ReverseByteOrder},
    range_tombstone::RangeTombstones,
    table::KeyHash,
    types::{Seqno, Uuid},
};
use alloc::{sync::Arc, vec::Vec};

const FILE: Uuid = Uuid([7; 16]);

/// The last bytes of a table of eight times as many bytes as are given.
pub fn footer(data: &[u8]) {
    let Some(bytes) = data.first_chunk() else { return };
    let file_bytes = data.len() as u64 * 8;
    if let Ok(footer) = Footer::decode(bytes, Salt::of(FILE), file_bytes) {
        assert_eq!(footer.encode(Salt::of(FILE)), *bytes, "what was decoded encodes to the same bytes");
    }
}

/// The content of an index block, in the order of bytes and in others.
pub fn index(data: &[u8]) {
    orders().for_each(|order| index_in(&order, data));
    let _ = Index::decode(data.into(), FILE_BYTES, None);
}

const FILE_BYTES: u64 = 1 << 40;

fn orders() -> impl Iterator<Item = KeyOrder> {
    [KeyOrder::BYTES, KeyOrder::of(Arc::new(ReverseByteOrder))].into_iter()
}

fn index_in(order: &KeyOrder, data: &[u8]) {
    let Ok(index) = Index::decode(data.into(), FILE_BYTES, Some(order)) else { return };
    // Each looks at a key of up to 64 KiB: some are enough, so that the work stays in proportion to the
    // input.
    for block in (0..index.len()).take(64).chain([index.len() - 1]) {
        assert!(index.handle(block).end() <= FILE_BYTES, "a block ends inside its file");
        let (key, seqno) = index.separator(block);
        let _ = (index.key_bounds(block), index.find(InternalKey { key: &key, seqno }));
    }
    for target in targets(data) {
        assert!(index.find(target).is_none_or(|block| block < index.len()), "a block that is found exists");
    }
    for block in (0..index.data_blocks()).take(64).chain([index.data_blocks() - 1]) {
        let (part, at) = index.part_of(block);
        assert!(part < index.len(), "a partition has each data block");
        assert_eq!(index.data_blocks_before(part) + at, block);
    }
    assert!(index.resident_bytes() >= data.len());
}

/// The content of the block of range tombstones.
pub fn range_tombstones(data: &[u8]) {
    for order in orders() {
        if let Ok(ranges) = RangeTombstones::decode(data, &order) {
            examine_ranges(&ranges, &order, data);
        }
    }
}

fn examine_ranges(ranges: &RangeTombstones, order: &KeyOrder, data: &[u8]) {
    for tombstone in ranges.all().iter().take(64) {
        assert!(tombstone.covers(order, &tombstone.start));
        let covering = ranges.covering(&tombstone.start, Seqno::MAX);
        assert!(covering.is_some_and(|covering| covering >= tombstone.seqno), "each covers its first key");
    }
    assert_eq!(RangeTombstones::encode(ranges.all()), data, "what was decoded encodes to the same bytes");
}

/// The content of the statistics block of a table with as many data blocks as it says, up to one a byte.
pub fn statistics(data: &[u8]) {
    let Some(blocks) = data.first_chunk().map(|count| u32::from_le_bytes(*count) as usize) else { return };
    let Ok(statistics) = Statistics::decode(data, blocks.min(data.len())) else { return };
    let all: Vec<_> = (0..blocks).map(|block| statistics.block(block)).collect();
    assert!(all.iter().all(|block| block.tombstones <= block.entries));
    assert_eq!(statistics.entries_before(blocks), all.iter().map(|block| block.entries).sum());
    assert_eq!(Statistics::decode(&statistics::encode(&all), blocks), Ok(statistics));
}

/// A partition of a filter.
pub fn filter(data: &[u8]) {
    let Ok(filter) = Filter::decode(data) else { return };
    for key in data.chunks(7).take(256) {
        filter.may_contain(KeyHash::of(key));
    }
    assert!(filter.resident_bytes() + 64 >= data.len(), "all that is read is kept");
}

/// The content of a properties block.
pub fn properties(data: &[u8]) {
    let Ok(properties) = Properties::decode(data) else { return };
    let _ = (properties.counts.total(), properties.counts.tombstones());
    assert_eq!(Properties::decode(&properties.encode()), Ok(properties), "properties decode as they encode");
}

/// A data block: two bytes say how long its key section is, one how long its pages are; 0: there is one.
pub fn data_block(data: &[u8]) {
    let Some(([low, high, page_bytes], rest)) = data.split_first_chunk() else { return };
    let (keys, values) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
    let page_bytes = match usize::from(*page_bytes) {
        0 => values.len(),
        bytes => bytes.max(values.len() / 32),
    };
    let pages = values.chunks(page_bytes.max(1));
    let section = |raw| Section { raw, compression: Compression::None };
    let sections: Vec<_> = core::iter::once(keys).chain(pages).map(section).collect();
    let codec = FileCodec::clear(FILE);
    let mut frame = Vec::new();
    encode_block(&mut frame, BlockKind::Data, &codec, 64, &sections);
    let _ = DataBlock::decode(&frame, &codec, 64, None);
    for order in orders() {
        if let Ok(block) = DataBlock::decode(&frame, &codec, 64, Some(&order)) {
            examine(&Arc::new(block), &order, values, data);
        }
    }
}

fn examine(block: &Arc<DataBlock>, order: &KeyOrder, values: &[u8], data: &[u8]) {
    let mut value_bytes = 0;
    for entry in 0..block.len() {
        let _ = (block.seqno(entry), block.kind(entry), block.checksum(entry));
        let value = block.value(entry).expect("pages that are not compressed are open");
        assert_eq!(DataBlock::value_slice(block, entry).expect("it was just read"), *value);
        assert_eq!(value.len(), block.value_len(entry));
        value_bytes += value.len();
    }
    assert_eq!(value_bytes, values.len(), "values fill their pages");
    for entry in (0..block.len()).take(64) {
        let key = block.key(entry);
        assert!(block.has_key(entry, &key));
        let found = block.lower_bound(order, InternalKey { key: &key, seqno: block.seqno(entry) });
        assert_eq!(found, entry, "an entry is found");
    }
    for target in targets(data) {
        assert!(block.lower_bound(order, target) <= block.len());
    }
}

/// Things to look for: parts of the bytes themselves.
fn targets(data: &[u8]) -> impl Iterator<Item = InternalKey<'_>> {
    let keys = [&[][..], &[0xFF; 4]].into_iter().chain(data.chunks(5).take(32));
    keys.flat_map(|key| [Seqno::ZERO, Seqno::MAX].map(|seqno| InternalKey { key, seqno }))
}
