//! Decoders of the parts of a table, for tests that give them hostile bytes.
//!
//! The parts are private: users meet them through [`Table`](super::Table) only, behind checksums that keep
//! most hostile bytes away. These functions go straight to them. Not part of the API.
//!
//! A decoder answers or refuses; it never panics. What it takes is asked every question, and encoded again
//! where there is an inverse.

use super::{block::DataBlock, filter::Filter, footer::Footer, index::Index, properties::Properties};
use crate::{
    codec::{BlockKind, Compression, FileCodec, Salt, Section, encode_block},
    key::InternalKey,
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

/// The content of an index block.
pub fn index(data: &[u8]) {
    const FILE_BYTES: u64 = 1 << 40;
    let Ok(index) = Index::decode(data.into(), FILE_BYTES) else { return };
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
    assert!(index.resident_bytes() >= data.len());
}

/// The content of a filter block.
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
    let Ok(block) = DataBlock::decode(&frame, &codec, 64).map(Arc::new) else { return };
    let mut value_bytes = 0;
    for entry in 0..block.len() {
        let _ = (block.seqno(entry), block.kind(entry));
        let value = block.value(entry).expect("pages that are not compressed are open");
        assert_eq!(DataBlock::value_slice(&block, entry).expect("it was just read"), *value);
        assert_eq!(value.len(), block.value_len(entry));
        value_bytes += value.len();
    }
    assert_eq!(value_bytes, values.len(), "values fill their pages");
    for entry in (0..block.len()).take(64) {
        let key = block.key(entry);
        assert!(block.has_key(entry, &key));
        let found = block.lower_bound(InternalKey { key: &key, seqno: block.seqno(entry) });
        assert_eq!(found, entry, "an entry is found");
    }
    for target in targets(data) {
        assert!(block.lower_bound(target) <= block.len());
    }
}

/// Things to look for: parts of the bytes themselves.
fn targets(data: &[u8]) -> impl Iterator<Item = InternalKey<'_>> {
    let keys = [&[][..], &[0xFF; 4]].into_iter().chain(data.chunks(5).take(32));
    keys.flat_map(|key| [Seqno::ZERO, Seqno::MAX].map(|seqno| InternalKey { key, seqno }))
}
