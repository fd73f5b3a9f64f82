//! What lies in each data block of a table: how many entries, how many of them deletes, between which numbers.
//! Layout: `docs/format.md` §4.5.
//!
//! Estimates count by it, and who looks for what changed since a number skips blocks by it. Which keys a block holds its
//! separators say. Read when it is first needed.

use super::DataBlock;
use crate::{
    codec::{Corruption, Reader},
    types::Seqno,
};
use alloc::vec::Vec;

const FIXED_BYTES: usize = 16;

/// What lies in one data block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockStatistics {
    /// Number of entries, at least 1.
    pub entries: u64,
    /// Of these, deletes of any kind.
    pub tombstones: u64,
    /// Least number of a version.
    pub first_seqno: Seqno,
    /// Greatest number of a version.
    pub last_seqno: Seqno,
}

impl BlockStatistics {
    /// Of no entry yet.
    pub(super) const NONE: BlockStatistics =
        BlockStatistics { entries: 0, tombstones: 0, first_seqno: Seqno::MAX, last_seqno: Seqno::ZERO };

    /// Counted in the block itself.
    pub(super) fn of(block: &DataBlock) -> BlockStatistics {
        let mut counted = BlockStatistics::NONE;
        (0..block.len()).for_each(|at| counted.count(block.seqno(at), block.kind(at).is_tombstone()));
        counted
    }

    /// Counts an entry.
    pub(super) fn count(&mut self, seqno: Seqno, is_tombstone: bool) {
        self.entries += 1;
        self.tombstones += u64::from(is_tombstone);
        self.first_seqno = self.first_seqno.min(seqno);
        self.last_seqno = self.last_seqno.max(seqno);
    }
}

/// Encodes the content of the statistics block of `n` data blocks; [`Statistics::decode`] is its inverse.
///
/// | bytes         | field                                                              |
/// |---------------|--------------------------------------------------------------------|
/// | 0..4          | `n`, at least 1                                                    |
/// | 4..8          | `e`, `t`, `f`, `l`: bytes of a number in each column, 0 to 8       |
/// | 8..16         | the least number of a version                                      |
/// | `e` `n`       | entries of each block                                              |
/// | `t` `n`       | deletes among them                                                 |
/// | `f` `n`       | their least number, less the least of all                          |
/// | `l` `n`       | their greatest number, less their least                            |
///
/// # Panics
///
/// If there is no block, or 2^32: the writer excludes both.
pub(super) fn encode(blocks: &[BlockStatistics]) -> Vec<u8> {
    let least = blocks.iter().map(|block| block.first_seqno).min().expect("a table has a block");
    let columns: [Vec<u64>; 4] = [
        blocks.iter().map(|block| block.entries).collect(),
        blocks.iter().map(|block| block.tombstones).collect(),
        blocks.iter().map(|block| block.first_seqno.raw() - least.raw()).collect(),
        blocks.iter().map(|block| block.last_seqno.raw() - block.first_seqno.raw()).collect(),
    ];
    let widths = columns.each_ref().map(|column| {
        let greatest = column.iter().max().expect("a table has a block");
        8 - greatest.leading_zeros() as usize / 8
    });

    let mut out = Vec::with_capacity(FIXED_BYTES + blocks.len() * widths.iter().sum::<usize>());
    out.extend_from_slice(&u32::try_from(blocks.len()).expect("bounded by the writer").to_le_bytes());
    out.extend(widths.iter().map(|&width| width as u8));
    out.extend_from_slice(&least.raw().to_le_bytes());
    for (column, width) in columns.iter().zip(widths) {
        for number in column {
            out.extend_from_slice(&number.to_le_bytes()[..width]);
        }
    }
    out
}

/// The statistics of a table in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Statistics {
    blocks: Vec<BlockStatistics>,
    /// Entries of each block and all before it.
    entries_upto: Vec<u64>,
}

impl Statistics {
    /// Reads the content of the statistics block of a table with so many data blocks.
    ///
    /// # Errors
    ///
    /// The columns do not fit, or a block says what none can hold.
    pub(super) fn decode(bytes: &[u8], data_blocks: usize) -> Result<Statistics, Corruption> {
        const DOES_NOT_FIT: Corruption = Corruption("the columns of statistics do not fit them");
        let mut fields = Reader::new(bytes);
        let (len, widths): (u32, [u8; 4]) = (fields.u32()?, fields.array()?);
        let least = fields.u64()?;
        let row_bytes: usize = widths.iter().map(|&width| usize::from(width)).sum();
        let columns_bytes = data_blocks.checked_mul(row_bytes).ok_or(DOES_NOT_FIT)?;
        if data_blocks == 0
            || u64::from(len) != data_blocks as u64
            || widths.iter().any(|&width| width > 8)
            || bytes.len() - FIXED_BYTES != columns_bytes
        {
            return Err(DOES_NOT_FIT);
        }
        let mut column = |width: u8| -> Result<Vec<u64>, Corruption> {
            let width = usize::from(width);
            let number = |_| {
                let mut number = [0; 8];
                number[..width].copy_from_slice(fields.bytes(width)?);
                Ok(u64::from_le_bytes(number))
            };
            (0..data_blocks).map(number).collect()
        };
        let [entries, tombstones, firsts, spans] = widths;
        let (entries, tombstones) = (column(entries)?, column(tombstones)?);
        let (firsts, spans) = (column(firsts)?, column(spans)?);
        let (mut blocks, mut entries_upto, mut total) = (Vec::new(), Vec::new(), 0_u64);
        for at in 0..data_blocks {
            let first = least.checked_add(firsts[at]);
            let last = first.and_then(|first| first.checked_add(spans[at]));
            let seqnos = first.and_then(Seqno::from_raw).zip(last.and_then(Seqno::from_raw));
            let (first_seqno, last_seqno) = seqnos.ok_or(Corruption("a number exceeds its bounds"))?;
            total = total.checked_add(entries[at]).ok_or(DOES_NOT_FIT)?;
            if entries[at] == 0 || tombstones[at] > entries[at] {
                return Err(Corruption("statistics of a block contradict each other"));
            }
            blocks.push(BlockStatistics {
                entries: entries[at],
                tombstones: tombstones[at],
                first_seqno,
                last_seqno,
            });
            entries_upto.push(total);
        }
        Ok(Statistics { blocks, entries_upto })
    }

    /// What lies in a data block.
    pub(super) fn block(&self, block: usize) -> BlockStatistics {
        self.blocks[block]
    }

    /// Entries of all blocks before this one.
    pub(super) fn entries_before(&self, block: usize) -> u64 {
        block.checked_sub(1).map_or(0, |before| self.entries_upto[before])
    }

    /// Size in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<BlockStatistics>()
            + self.entries_upto.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(entries: u64, tombstones: u64, first: u64, last: u64) -> BlockStatistics {
        let seqno = |raw| Seqno::from_raw(raw).unwrap();
        BlockStatistics { entries, tombstones, first_seqno: seqno(first), last_seqno: seqno(last) }
    }

    #[test]
    fn statistics_are_read_as_they_were_written() {
        let blocks = [block(100, 0, 70_000, 70_000), block(1, 1, 9, 9), block(300, 20, 5, 1 << 40)];

        let content = encode(&blocks);
        let read = Statistics::decode(&content, 3).unwrap();

        assert_eq!(content.len(), 16 + 3 * (2 + 1 + 3 + 5), "columns are as wide as they must be");
        assert!((0..3).all(|at| read.block(at) == blocks[at]));
        assert_eq!([0, 1, 2, 3].map(|at| read.entries_before(at)), [0, 100, 101, 401]);
    }

    #[test]
    fn what_all_blocks_have_alike_takes_no_column() {
        let content = encode(&[block(7, 0, 3, 3), block(9, 0, 3, 3)]);

        assert_eq!(content.len(), 16 + 2);
    }

    #[test]
    fn hostile_statistics_are_refused_or_harmless() {
        let good = encode(&[block(100, 3, 70_000, 70_009), block(1, 1, 9, 9)]);

        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = good.clone();
                bytes[at] = byte;
                if let Ok(read) = Statistics::decode(&bytes, 2) {
                    assert!((0..2).all(|at| read.block(at).entries >= read.block(at).tombstones));
                }
            }
            assert!(Statistics::decode(&good[..at], 2).is_err(), "cut at {at}");
        }
        assert!(Statistics::decode(&good, 3).is_err(), "of another table");
    }
}
