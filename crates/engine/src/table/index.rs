//! Which block of a table may hold a key: separators of blocks, resident while the table is open.
//! Layout: `docs/format.md` §4.2.
//!
//! The separator of a block is an internal key, at or after the block's last entry and before the first of
//! the next. Between different user keys it is a short one with number 0, which lies behind all versions of
//! itself. Where the versions of one key go on in the next block it is the last entry itself, so that the
//! search finds the one block which holds the version wanted, however many blocks the key fills.

use super::{
    heads::{self, HEAD_BYTES},
    meta::BlockHandle,
};
use crate::{
    codec::{BLOCK_HEADER_BYTES, Corruption, HEADER_BYTES, Reader},
    error::KeyBounds,
    key::{InternalKey, MAX_KEY_BYTES, common_prefix_len},
    types::Seqno,
};
use alloc::vec::Vec;
use core::{cmp::Ordering, ops::Bound};

const FIXED_BYTES: usize = 16;
const HAS_SEQNOS: u8 = 1;

/// Collects the blocks of a table in order.
#[derive(Default)]
pub(super) struct IndexBuilder {
    /// Separators, one behind the other.
    keys: Vec<u8>,
    blocks: Vec<BuiltBlock>,
}

struct BuiltBlock {
    key_end: usize,
    seqno: Seqno,
    /// First byte of the file behind the block.
    end: u64,
}

impl IndexBuilder {
    /// Adds the block that ends before byte `end` of the file.
    pub(super) fn add(&mut self, separator: InternalKey<'_>, end: u64) {
        self.keys.extend_from_slice(separator.key);
        self.blocks.push(BuiltBlock { key_end: self.keys.len(), seqno: separator.seqno, end });
    }

    /// Number of blocks.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// At least the size of [`IndexBuilder::finish`].
    pub(super) fn estimated_bytes(&self) -> u64 {
        (FIXED_BYTES + self.keys.len() + self.blocks.len() * (HEAD_BYTES + 8 + 4 + 8)) as u64
    }

    /// The content of the index block, of `n` data blocks whose separators share `p` bytes.
    ///
    /// | bytes         | field                                                           |
    /// |---------------|-----------------------------------------------------------------|
    /// | 0..4          | `n`, at least 1                                                 |
    /// | 4..6          | `p`                                                             |
    /// | 6             | flags: 1 = the column of numbers is present; all others zero    |
    /// | 7             | zero                                                            |
    /// | 8..16         | where the first block begins, in bytes from the file's start    |
    /// | 4 `n`         | heads of the separators without the prefix                      |
    /// | 8 `n`         | where each block ends; the next one begins there                |
    /// | 4 `n`         | where each rest ends, from the start of the rests               |
    /// | 8 `n`, or 0   | numbers of the separators; left out if all are 0                |
    /// | `p`           | the prefix                                                      |
    /// | the remainder | rests of the separators                                         |
    ///
    /// # Panics
    ///
    /// If there is no block, or separators take 4 GiB: the writer excludes both.
    pub(super) fn finish(&self) -> Vec<u8> {
        let last = self.blocks.len().checked_sub(1).expect("a table has a block");
        let prefix = common_prefix_len(self.key(0), self.key(last));
        let has_seqnos = self.blocks.iter().any(|block| block.seqno != Seqno::ZERO);

        let mut out = Vec::new();
        out.extend_from_slice(
            &u32::try_from(self.blocks.len()).expect("bounded by the writer").to_le_bytes(),
        );
        out.extend_from_slice(&u16::try_from(prefix).expect("a key is at most 65,535 bytes").to_le_bytes());
        out.extend_from_slice(&[if has_seqnos { HAS_SEQNOS } else { 0 }, 0]);
        out.extend_from_slice(&(HEADER_BYTES as u64).to_le_bytes());
        for index in 0..self.blocks.len() {
            out.extend_from_slice(&heads::head_of(&self.key(index)[prefix..]).to_le_bytes());
        }
        for block in &self.blocks {
            out.extend_from_slice(&block.end.to_le_bytes());
        }
        for (index, block) in self.blocks.iter().enumerate() {
            let rest_end = block.key_end - (index + 1) * prefix;
            out.extend_from_slice(&u32::try_from(rest_end).expect("bounded by the writer").to_le_bytes());
        }
        if has_seqnos {
            for block in &self.blocks {
                out.extend_from_slice(&block.seqno.raw().to_le_bytes());
            }
        }
        out.extend_from_slice(&self.key(0)[..prefix]);
        for index in 0..self.blocks.len() {
            out.extend_from_slice(&self.key(index)[prefix..]);
        }
        out
    }

    fn key(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.blocks[index - 1].key_end };
        &self.keys[start..self.blocks[index].key_end]
    }
}

/// The index of an open table. A data block is named by its place in it, from 0.
pub(super) struct Index {
    bytes: Vec<u8>,
    len: usize,
    first_offset: u64,
    /// Where the columns begin in `bytes`.
    ends_at: usize,
    rest_ends_at: usize,
    seqnos_at: Option<usize>,
    prefix_at: usize,
    rests_at: usize,
}

impl Index {
    /// Reads the content of an index block whose data blocks end before byte `limit` of the file.
    ///
    /// # Errors
    ///
    /// The columns do not fit their block, separators are out of order, or the data blocks do not follow each
    /// other inside the file.
    pub(super) fn decode(bytes: Vec<u8>, limit: u64) -> Result<Index, Corruption> {
        const DOES_NOT_FIT: Corruption = Corruption("the columns of an index do not fit it");
        let mut fields = Reader::new(&bytes);
        let len = usize::try_from(fields.u32()?).map_err(|_| DOES_NOT_FIT)?;
        let prefix_bytes = usize::from(fields.u16()?);
        let flags = fields.u8()?;
        let zero = fields.u8()?;
        let first_offset = fields.u64()?;
        if len == 0 || flags & !HAS_SEQNOS != 0 || zero != 0 {
            return Err(Corruption("an index begins with bytes that none begins with"));
        }
        let mut columns_end = FIXED_BYTES;
        let mut column = |width: usize| {
            let start = columns_end;
            columns_end =
                len.checked_mul(width).and_then(|bytes| start.checked_add(bytes)).ok_or(DOES_NOT_FIT)?;
            if columns_end > bytes.len() { Err(DOES_NOT_FIT) } else { Ok(start) }
        };
        column(HEAD_BYTES)?;
        let ends_at = column(8)?;
        let rest_ends_at = column(4)?;
        let seqnos_at = if flags & HAS_SEQNOS != 0 { Some(column(8)?) } else { None };
        let (prefix_at, rests_at) = (columns_end, columns_end + prefix_bytes);
        let rests_bytes = bytes.len().checked_sub(rests_at).ok_or(DOES_NOT_FIT)?;
        let index = Index { bytes, len, first_offset, ends_at, rest_ends_at, seqnos_at, prefix_at, rests_at };
        index.check_columns(rests_bytes, limit)?;
        index.check_order()?;
        Ok(index)
    }

    fn check_columns(&self, rests_bytes: usize, limit: u64) -> Result<(), Corruption> {
        let prefix_bytes = self.rests_at - self.prefix_at;
        let (mut block_end, mut rest_end) = (self.first_offset, 0);
        if block_end < HEADER_BYTES as u64 {
            return Err(Corruption("a data block begins inside the file header"));
        }
        for block in 0..self.len {
            let next = self.block_end(block);
            if next.checked_sub(block_end).is_none_or(|bytes| bytes < BLOCK_HEADER_BYTES as u64) {
                return Err(Corruption("data blocks of an index overlap"));
            }
            block_end = next;
            let next = self.rest_end(block);
            if next.checked_sub(rest_end).is_none_or(|bytes| prefix_bytes + bytes > MAX_KEY_BYTES) {
                return Err(Corruption("a separator of an index has no valid length"));
            }
            rest_end = next;
            if self.seqnos_at.is_some() && self.raw_seqno(block) > Seqno::MAX.raw() {
                return Err(Corruption("a sequence number exceeds the greatest"));
            }
        }
        if block_end > limit || rest_end != rests_bytes {
            return Err(Corruption("an index does not end where its columns say"));
        }
        Ok(())
    }

    /// Heads are those of the rests, and separators are in strict order: searches rely on it.
    fn check_order(&self) -> Result<(), Corruption> {
        for (block, head) in self.heads().iter().enumerate() {
            let rest = self.rest(block);
            if u32::from_le_bytes(*head) != heads::head_of(rest) {
                return Err(Corruption("the head of a separator is not that of its bytes"));
            }
            let Some(before) = block.checked_sub(1) else { continue };
            let before = InternalKey { key: self.rest(before), seqno: self.seqno(before) };
            if before >= (InternalKey { key: rest, seqno: self.seqno(block) }) {
                return Err(Corruption("separators of an index are out of order"));
            }
        }
        Ok(())
    }

    /// Number of data blocks, at least 1.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first block whose separator is at or after the target: the only one that may hold the target, and
    /// the entry at or after it is there or begins the next block. `None` behind the last entry.
    pub(super) fn find(&self, target: InternalKey<'_>) -> Option<usize> {
        let prefix = &self.bytes[self.prefix_at..self.rests_at];
        let found = heads::lower_bound(self.heads(), prefix, target.key, |block, rest| {
            match self.rest(block).cmp(rest) {
                Ordering::Less => true,
                Ordering::Equal => self.seqno(block) > target.seqno,
                Ordering::Greater => false,
            }
        });
        (found < self.len).then_some(found)
    }

    /// Where a block lies.
    pub(super) fn handle(&self, block: usize) -> BlockHandle {
        let offset = if block == 0 { self.first_offset } else { self.block_end(block - 1) };
        BlockHandle { offset, bytes: self.block_end(block) - offset }
    }

    /// The separator of a block: its user key and number.
    pub(super) fn separator(&self, block: usize) -> (Vec<u8>, Seqno) {
        let prefix = &self.bytes[self.prefix_at..self.rests_at];
        ([prefix, self.rest(block)].concat(), self.seqno(block))
    }

    /// User keys that may have versions in a block.
    ///
    /// The upper end is the successor of the separator, not the separator itself, so that a seek to what lies
    /// behind the range does not come back to this block.
    pub(super) fn key_bounds(&self, block: usize) -> KeyBounds {
        let low = match block.checked_sub(1).map(|previous| self.separator(previous)) {
            None => Bound::Unbounded,
            Some((key, Seqno::ZERO)) => Bound::Excluded(key),
            Some((key, _)) => Bound::Included(key), // Its versions go on in this block.
        };
        let mut behind = self.separator(block).0;
        behind.push(0);
        (low, Bound::Excluded(behind))
    }

    /// Size in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        self.bytes.capacity() + size_of::<Index>()
    }

    fn heads(&self) -> &[[u8; HEAD_BYTES]] {
        self.bytes[FIXED_BYTES..self.ends_at].as_chunks().0
    }

    fn block_end(&self, block: usize) -> u64 {
        self.word(self.ends_at, block)
    }

    fn rest_end(&self, block: usize) -> usize {
        let at = self.rest_ends_at + 4 * block;
        let bytes = self.bytes[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    }

    fn rest(&self, block: usize) -> &[u8] {
        let start = if block == 0 { 0 } else { self.rest_end(block - 1) };
        &self.bytes[self.rests_at + start..self.rests_at + self.rest_end(block)]
    }

    fn seqno(&self, block: usize) -> Seqno {
        Seqno::from_raw(self.raw_seqno(block)).expect("numbers were checked when the index was decoded")
    }

    fn raw_seqno(&self, block: usize) -> u64 {
        self.seqnos_at.map_or(0, |at| self.word(at, block))
    }

    fn word(&self, column: usize, block: usize) -> u64 {
        let at = column + 8 * block;
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("eight bytes"))
    }
}
