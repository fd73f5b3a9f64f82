//! Which of the blocks that follow each other may hold a key: their separators, in memory as one array.
//! Layout: `docs/format.md` §4.2.
//!
//! Mostly these are the data blocks of a table. Where a table has too many, they are the partitions of its index,
//! each an index of some data blocks; and of a filter they are its partitions (`partitions.rs`).
//!
//! The separator of a block is an internal key, at or after the block's last entry and before the first of
//! the next. Between different user keys it is a short one with number 0, which lies behind all versions of
//! itself. Where the versions of one key go on in the next block it is the last entry itself, so that the
//! search finds the one block which holds the version wanted, however many blocks the key fills.

use super::{
    heads::{self, HEAD_BYTES, Spread, partition_point},
    meta::{BlockHandle, up_to},
};
use crate::{
    codec::{BLOCK_HEADER_BYTES, Corruption, HEADER_BYTES, Reader},
    error::KeyBounds,
    key::{InternalKey, MAX_KEY_BYTES, common_prefix_len},
    order::KeyOrder,
    types::Seqno,
};
use alloc::vec::Vec;
use core::{
    cmp::Ordering,
    ops::{Bound, Range},
};

const FIXED_BYTES: usize = 16;
/// Bytes of a block in all columns, at most.
const COLUMNS_BYTES: usize = HEAD_BYTES + 8 + 4 + 8;
const HAS_SEQNOS: u8 = 1;
const IS_TOP: u8 = 2;

/// Collects blocks that follow each other.
pub(super) struct IndexBuilder {
    /// First byte of the first block.
    begin: u64,
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
    /// Of blocks from byte `begin` of the file on.
    pub(super) fn new(begin: u64) -> IndexBuilder {
        IndexBuilder { begin, keys: Vec::new(), blocks: Vec::new() }
    }

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
        (FIXED_BYTES + self.keys.len() + self.blocks.len() * COLUMNS_BYTES) as u64
    }

    /// The blocks cut into parts, each of whose indexes takes about `bytes` bytes.
    pub(super) fn parts(&self, bytes: usize) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let (mut start, mut taken) = (0, 0);
        for block in 0..self.len() {
            taken += self.key(block).len() + COLUMNS_BYTES;
            if taken >= bytes || block + 1 == self.len() {
                parts.push(start..block + 1);
                (start, taken) = (block + 1, 0);
            }
        }
        parts
    }

    /// The separator of a block.
    pub(super) fn separator(&self, block: usize) -> InternalKey<'_> {
        InternalKey { key: self.key(block), seqno: self.blocks[block].seqno }
    }

    /// The content of the index block of all blocks.
    pub(super) fn finish(&self) -> Vec<u8> {
        self.encode(0..self.len(), None)
    }

    /// That of some of them.
    pub(super) fn finish_part(&self, part: Range<usize>) -> Vec<u8> {
        self.encode(part, None)
    }

    /// That of the top index, if the blocks are partitions of an index with so many data blocks up to the end of each.
    pub(super) fn finish_top(&self, data_blocks: &[u32]) -> Vec<u8> {
        self.encode(0..self.len(), Some(data_blocks))
    }

    /// The content of an index block, of `n` blocks whose separators share `p` bytes.
    ///
    /// | bytes         | field                                                           |
    /// |---------------|-----------------------------------------------------------------|
    /// | 0..4          | `n`, at least 1                                                 |
    /// | 4..6          | `p`                                                             |
    /// | 6             | flags: 1 = the column of numbers is present; 2 = the blocks are |
    /// |               | partitions of an index, and the column of data blocks is        |
    /// |               | present; all others zero                                        |
    /// | 7             | zero                                                            |
    /// | 8..16         | where the first block begins, in bytes from the file's start    |
    /// | 4 `n`         | heads of the separators without the prefix                      |
    /// | 8 `n`         | where each block ends; the next one begins there                |
    /// | 4 `n`         | where each rest ends, from the start of the rests               |
    /// | 8 `n`, or 0   | numbers of the separators; left out if all are 0                |
    /// | 4 `n`, or 0   | data blocks of this partition and all before it                 |
    /// | `p`           | the prefix                                                      |
    /// | the remainder | rests of the separators                                         |
    ///
    /// # Panics
    ///
    /// If there is no block, or separators take 4 GiB: the writer excludes both.
    fn encode(&self, part: Range<usize>, data_blocks: Option<&[u32]>) -> Vec<u8> {
        let blocks = &self.blocks[part.clone()];
        let before = part.start.checked_sub(1).map(|before| &self.blocks[before]);
        let (begin, key_begin) = before.map_or((self.begin, 0), |before| (before.end, before.key_end));
        // Whatever their order: not of the first and the last alone.
        let shared = |block| common_prefix_len(self.key(part.start), self.key(block));
        let prefix = part.clone().map(shared).min().expect("an index has a block");
        let has_seqnos = blocks.iter().any(|block| block.seqno != Seqno::ZERO);
        let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
        let number = |number: usize| u32::try_from(number).expect("bounded by the writer").to_le_bytes();

        let mut out = Vec::new();
        out.extend_from_slice(&number(blocks.len()));
        out.extend_from_slice(&u16::try_from(prefix).expect("a key is at most 65,535 bytes").to_le_bytes());
        out.extend_from_slice(&[flag(has_seqnos, HAS_SEQNOS) | flag(data_blocks.is_some(), IS_TOP), 0]);
        out.extend_from_slice(&begin.to_le_bytes());
        for block in part.clone() {
            out.extend_from_slice(&heads::head_of(&self.key(block)[prefix..]).to_le_bytes());
        }
        for block in blocks {
            out.extend_from_slice(&block.end.to_le_bytes());
        }
        for (index, block) in blocks.iter().enumerate() {
            out.extend_from_slice(&number(block.key_end - key_begin - (index + 1) * prefix));
        }
        if has_seqnos {
            for block in blocks {
                out.extend_from_slice(&block.seqno.raw().to_le_bytes());
            }
        }
        for data_blocks in data_blocks.unwrap_or_default() {
            out.extend_from_slice(&data_blocks.to_le_bytes());
        }
        out.extend_from_slice(&self.key(part.start)[..prefix]);
        for block in part {
            out.extend_from_slice(&self.key(block)[prefix..]);
        }
        out
    }

    fn key(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.blocks[index - 1].key_end };
        &self.keys[start..self.blocks[index].key_end]
    }
}

/// An index in memory. A block is named by its place in it, from 0.
pub(super) struct Index {
    bytes: Vec<u8>,
    len: usize,
    first_offset: u64,
    /// Where the columns begin in `bytes`.
    ends_at: usize,
    rest_ends_at: usize,
    seqnos_at: Option<usize>,
    data_blocks_at: Option<usize>,
    prefix_at: usize,
    rests_at: usize,
    /// How the heads lie, if a search gains by it.
    spread: Option<Spread>,
    /// Of the separators, if it is known.
    order: Option<KeyOrder>,
}

impl Index {
    /// Reads the content of an index block whose blocks end before byte `limit` of the file, with separators in this
    /// order. `None`: nobody knows it, and nothing can be searched for.
    ///
    /// # Errors
    ///
    /// The columns do not fit their block, separators are out of order, or the blocks do not follow each other
    /// inside the file.
    pub(super) fn decode(bytes: Vec<u8>, limit: u64, order: Option<&KeyOrder>) -> Result<Index, Corruption> {
        const DOES_NOT_FIT: Corruption = Corruption("the columns of an index do not fit it");
        let mut fields = Reader::new(&bytes);
        let len = usize::try_from(fields.u32()?).map_err(|_| DOES_NOT_FIT)?;
        let prefix_bytes = usize::from(fields.u16()?);
        let flags = fields.u8()?;
        let zero = fields.u8()?;
        let first_offset = fields.u64()?;
        if len == 0 || flags & !(HAS_SEQNOS | IS_TOP) != 0 || zero != 0 {
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
        let data_blocks_at = if flags & IS_TOP != 0 { Some(column(4)?) } else { None };
        let (prefix_at, rests_at) = (columns_end, columns_end + prefix_bytes);
        let rests_bytes = bytes.len().checked_sub(rests_at).ok_or(DOES_NOT_FIT)?;
        let mut index = Index {
            bytes,
            len,
            first_offset,
            ends_at,
            rest_ends_at,
            seqnos_at,
            data_blocks_at,
            prefix_at,
            rests_at,
            spread: None,
            order: order.cloned(),
        };
        index.check_columns(rests_bytes, limit)?;
        index.check_heads()?;
        order.map_or(Ok(()), |order| index.check_order(order))?;
        if order.is_some_and(KeyOrder::is_bytewise) {
            index.spread = Spread::of(index.heads());
        }
        Ok(index)
    }

    fn check_columns(&self, rests_bytes: usize, limit: u64) -> Result<(), Corruption> {
        let prefix_bytes = self.rests_at - self.prefix_at;
        let (mut block_end, mut rest_end) = (self.first_offset, 0);
        if block_end < HEADER_BYTES as u64 {
            return Err(Corruption("a block begins inside the file header"));
        }
        for block in 0..self.len {
            let next = self.block_end(block);
            if next.checked_sub(block_end).is_none_or(|bytes| bytes < BLOCK_HEADER_BYTES as u64) {
                return Err(Corruption("blocks of an index overlap"));
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
        let upto = (0..self.len).map(|part| self.data_blocks_upto(part));
        if self.data_blocks_upto(0) == 0 || !upto.is_sorted_by(|before, next| before < next) {
            return Err(Corruption("a partition of an index has no data block"));
        }
        if block_end > limit || rest_end != rests_bytes {
            return Err(Corruption("an index does not end where its columns say"));
        }
        Ok(())
    }

    /// Heads are those of the rests.
    fn check_heads(&self) -> Result<(), Corruption> {
        let is_own = |(block, head): (usize, &[u8; HEAD_BYTES])| {
            u32::from_le_bytes(*head) == heads::head_of(self.rest(block))
        };
        if self.heads().iter().enumerate().all(is_own) {
            return Ok(());
        }
        Err(Corruption("the head of a separator is not that of its bytes"))
    }

    /// Separators are in strict order: searches rely on it.
    fn check_order(&self, order: &KeyOrder) -> Result<(), Corruption> {
        let is_behind = |block: usize| match order.is_bytewise() {
            true => {
                let at = |block| InternalKey { key: self.rest(block), seqno: self.seqno(block) };
                order.is_before(at(block - 1), at(block))
            }
            false => {
                let ((before, its), (key, seqno)) = (self.separator(block - 1), self.separator(block));
                order.is_before(InternalKey { key: &before, seqno: its }, InternalKey { key: &key, seqno })
            }
        };
        if (1..self.len).all(is_behind) {
            return Ok(());
        }
        Err(Corruption("separators of an index are out of order"))
    }

    /// Number of blocks, at least 1.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first block whose separator is at or after the target: the only one that may hold the target, and
    /// the entry at or after it is there or begins the next block. `None` behind the last entry.
    ///
    /// # Panics
    ///
    /// If the order is not known.
    #[inline]
    pub(super) fn find(&self, target: InternalKey<'_>) -> Option<usize> {
        let order = self.order.as_ref().expect("who searches knows the order");
        if order.is_bytewise() { self.find_by_heads(target) } else { self.find_by_keys(order, target) }
    }

    #[cold]
    fn find_by_keys(&self, order: &KeyOrder, target: InternalKey<'_>) -> Option<usize> {
        let found = partition_point(self.len, |block| {
            let (key, seqno) = self.separator(block);
            order.is_before(InternalKey { key: &key, seqno }, target)
        });
        (found < self.len).then_some(found)
    }

    #[inline]
    fn find_by_heads(&self, target: InternalKey<'_>) -> Option<usize> {
        let prefix = &self.bytes[self.prefix_at..self.rests_at];
        let found =
            heads::lower_bound(self.heads(), self.spread.as_ref(), prefix, target.key, |block, rest| {
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

    /// Where all blocks lie.
    pub(super) fn handles(&self) -> Vec<BlockHandle> {
        (0..self.len).map(|block| self.handle(block)).collect()
    }

    /// The separator of a block: its user key and number.
    pub(super) fn separator(&self, block: usize) -> (Vec<u8>, Seqno) {
        let prefix = &self.bytes[self.prefix_at..self.rests_at];
        ([prefix, self.rest(block)].concat(), self.seqno(block))
    }

    /// User keys that may have versions in a block. Of an unknown order they are told as if it were that of bytes.
    pub(super) fn key_bounds(&self, block: usize) -> KeyBounds {
        let low = match block.checked_sub(1).map(|previous| self.separator(previous)) {
            None => Bound::Unbounded,
            Some((key, Seqno::ZERO)) => Bound::Excluded(key),
            Some((key, _)) => Bound::Included(key), // Its versions go on in this block.
        };
        let order = self.order.as_ref().unwrap_or(KeyOrder::bytes());
        (low, up_to(self.separator(block).0, order))
    }

    /// Size in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        self.bytes.capacity() + size_of::<Index>()
    }

    /// Data blocks of all partitions, or of itself.
    pub(super) fn data_blocks(&self) -> usize {
        self.data_blocks_before(self.len)
    }

    /// Whether its blocks are partitions of an index.
    pub(super) fn is_top(&self) -> bool {
        self.data_blocks_at.is_some()
    }

    /// Data blocks of a partition and all before it, at least 1; of an index of data blocks, each counts for one.
    pub(super) fn data_blocks_upto(&self, part: usize) -> usize {
        self.data_blocks_at.map_or(part + 1, |at| self.number(at, part))
    }

    /// The partition that has a data block, and the place of the block in it.
    pub(super) fn part_of(&self, block: usize) -> (usize, usize) {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.data_blocks_upto(middle) <= block {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low, block - self.data_blocks_before(low))
    }

    /// Data blocks of all partitions before this one.
    pub(super) fn data_blocks_before(&self, part: usize) -> usize {
        part.checked_sub(1).map_or(0, |before| self.data_blocks_upto(before))
    }

    fn heads(&self) -> &[[u8; HEAD_BYTES]] {
        self.bytes[FIXED_BYTES..self.ends_at].as_chunks().0
    }

    fn block_end(&self, block: usize) -> u64 {
        self.word(self.ends_at, block)
    }

    fn rest_end(&self, block: usize) -> usize {
        self.number(self.rest_ends_at, block)
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

    fn number(&self, column: usize, block: usize) -> usize {
        let at = column + 4 * block;
        let bytes = self.bytes[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    }

    fn word(&self, column: usize, block: usize) -> u64 {
        let at = column + 8 * block;
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("eight bytes"))
    }
}
