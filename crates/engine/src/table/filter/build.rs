//! Building the filter of a table, in partitions: each is a filter of the keys in some data blocks that follow each
//! other.
//!
//! A partition is built as soon as its keys are there, so that a builder never holds the hashes of a whole large
//! table, and what it works on stays in the core's cache. Where another thread finishes the table, the first ones wait for
//! that.

use super::{FilterBuilder, FilterKind, FilterOptions, KeyHash};
use crate::{key::InternalKey, types::Seqno};
use alloc::vec::Vec;
use core::mem;

/// Collects the keys of a table, block by block.
pub(in crate::table) struct PartitionsBuilder {
    options: FilterOptions,
    /// Size at which a partition ends with its block.
    partition_bytes: usize,
    open: FilterBuilder,
    finished: Vec<BuiltPartition>,
    /// Those before them whose keys are there, each with its separator: they are built at the end.
    waiting: Vec<(FilterBuilder, Vec<u8>, Seqno)>,
    /// Hashes that may wait yet.
    may_wait: usize,
    finished_bytes: u64,
    /// Bits that the finished ones have less than was asked for, because a column of BuRR is whole.
    owed_bits: f64,
}

/// A filter, and the separator of its last data block.
pub(in crate::table) struct BuiltPartition {
    pub(in crate::table) content: Vec<u8>,
    key: Vec<u8>,
    seqno: Seqno,
}

impl BuiltPartition {
    pub(in crate::table) fn separator(&self) -> InternalKey<'_> {
        InternalKey { key: &self.key, seqno: self.seqno }
    }
}

impl PartitionsBuilder {
    /// Of no keys yet.
    pub(in crate::table) fn new(options: FilterOptions, partition_bytes: usize) -> PartitionsBuilder {
        PartitionsBuilder {
            options,
            partition_bytes,
            open: FilterBuilder::new(options),
            finished: Vec::new(),
            waiting: Vec::new(),
            may_wait: 0,
            finished_bytes: 0,
            owed_bits: 0.0,
        }
    }

    /// Leaves the building of partitions with so many keys together to [`PartitionsBuilder::finish`]. They are the same.
    pub(in crate::table) fn building_late(self, keys: usize) -> PartitionsBuilder {
        PartitionsBuilder { may_wait: keys, ..self }
    }

    /// Whether no key was added since a partition ended. The next entry's key is to be added then, even if the block
    /// before has versions of it too.
    pub(in crate::table) fn is_at_start(&self) -> bool {
        self.open.hashes.is_empty()
    }

    /// Adds a key of the present block. Equal keys are better added once.
    pub(in crate::table) fn add(&mut self, hash: KeyHash) {
        self.open.add(hash);
    }

    /// Says that a block ended, which has this separator. `is_last`: no other follows.
    pub(in crate::table) fn end_block(&mut self, separator: InternalKey<'_>, is_last: bool) {
        if !is_last && self.open.estimated_bytes() < self.partition_bytes as u64 {
            return;
        }
        let mut open = mem::replace(&mut self.open, FilterBuilder::new(self.options));
        if self.options.kind == FilterKind::Burr {
            open.options.bits_per_key = self.whole_bits(open.hashes.len());
        }
        let (key, seqno) = (separator.key.into(), separator.seqno);
        if self.finished.is_empty() && open.hashes.len() <= self.may_wait {
            self.may_wait -= open.hashes.len();
            self.finished_bytes += open.estimated_bytes();
            self.waiting.push((open, key, seqno));
            return;
        }
        let content = open.finish();
        self.finished_bytes += content.len() as u64;
        self.finished.push(BuiltPartition { content, key, seqno });
    }

    /// Columns for so many keys: as many as were asked for, of all partitions together.
    fn whole_bits(&mut self, keys: usize) -> f32 {
        let (asked, keys) = (f64::from(self.options.bits_per_key), keys.max(1) as f64);
        let columns = (asked + (self.owed_bits / keys).clamp(-1.0, 1.0) + 0.5) as u8;
        self.owed_bits += (asked - f64::from(columns)) * keys;
        f32::from(columns.max(1))
    }

    /// About the size of all partitions, in bytes.
    pub(in crate::table) fn estimated_bytes(&self) -> u64 {
        self.finished_bytes + self.open.estimated_bytes()
    }

    /// The partitions in order, once the last block has ended.
    pub(in crate::table) fn finish(self) -> Vec<BuiltPartition> {
        let build = |(filter, key, seqno): (FilterBuilder, _, _)| BuiltPartition {
            content: filter.finish(),
            key,
            seqno,
        };
        self.waiting.into_iter().map(build).chain(self.finished).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::filter::Filter;

    /// Filters of so many keys, a hundred of them in each block, whose partitions take `partition_bytes`.
    fn built(keys: u32, kind: FilterKind, bits_per_key: f32, partition_bytes: usize) -> Vec<BuiltPartition> {
        built_late(keys, FilterOptions { kind, bits_per_key }, partition_bytes, 0)
    }

    fn built_late(
        keys: u32,
        options: FilterOptions,
        partition_bytes: usize,
        late: usize,
    ) -> Vec<BuiltPartition> {
        let mut builder = PartitionsBuilder::new(options, partition_bytes).building_late(late);
        for key in 0..keys {
            builder.add(hash(key));
            if key % 100 == 99 || key + 1 == keys {
                builder.end_block(InternalKey::last_of(&key.to_be_bytes()), key + 1 == keys);
            }
        }
        builder.finish()
    }

    fn hash(key: u32) -> KeyHash {
        KeyHash::of(&key.to_be_bytes())
    }

    #[test]
    fn partitions_that_are_built_late_are_the_same() {
        let options = FilterOptions { kind: FilterKind::Burr, bits_per_key: 9.6 };
        let parts = |late| {
            let parts = built_late(200_000, options, 64 << 10, late).into_iter();
            parts.map(|part| (part.content, part.key, part.seqno)).collect::<Vec<_>>()
        };
        let at_once = parts(0);
        assert!(at_once.len() > 2);
        for late in [60_000, 130_000, usize::MAX] {
            assert_eq!(parts(late), at_once, "{late} keys");
        }
    }

    #[test]
    fn each_partition_knows_the_keys_up_to_its_separator() {
        for (keys, partitions) in [(1, 1), (5_000, 1), (100_000, 3), (200_000, 5)] {
            for (kind, bits) in [(FilterKind::Bloom, 12.0), (FilterKind::Burr, 12.0)] {
                let built = built(keys, kind, bits, 64 << 10);
                let mut first = 0;
                assert_eq!(built.len(), partitions, "{keys} keys");
                for partition in &built {
                    let filter = Filter::decode(&partition.content).unwrap();
                    let end = u32::from_be_bytes(partition.separator().key.try_into().unwrap()) + 1;
                    assert!((first..end).all(|key| filter.may_contain(hash(key))));
                    let passed = (keys..keys + 10_000).filter(|&key| filter.may_contain(hash(key))).count();
                    assert!(passed < 100, "{passed} of {kind:?}");
                    first = end;
                }
                assert_eq!(first, keys);
            }
        }
    }

    #[test]
    fn partitions_of_whole_columns_have_the_bits_that_were_asked_for_together() {
        let built = built(656_000, FilterKind::Burr, 7.5, 64 << 10);
        let bytes: usize = built.iter().map(|partition| partition.content.len()).sum();

        let bits_per_key = bytes as f64 * 8.0 / 656_000.0;
        assert!((7.4..7.65).contains(&bits_per_key), "{bits_per_key}");
    }
}
