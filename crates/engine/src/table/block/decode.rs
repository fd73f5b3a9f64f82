//! A data block in memory: checked once, then read in place.

use super::{super::heads, FIXED_BYTES, REST_END_BYTES, VALUE_END_BYTES};
use crate::{
    codec::{BlockKind, Corruption, FileCodec, Reader, decode_block},
    key::{InternalKey, MAX_KEY_BYTES, ValueKind},
    types::{Seqno, SharedBytes, Slice},
};
use alloc::{sync::Arc, vec::Vec};
use core::cmp::Ordering;
use heads::HEAD_BYTES;

/// A decoded data block. An entry is named by its place, from 0.
///
/// Every offset, kind and number in it was checked, so that no accessor can leave the block; and so was the
/// order of its entries, which searches, merges and the writer of the next table rely on to end.
pub struct DataBlock {
    /// The key section.
    keys: Vec<u8>,
    values: SharedBytes,
    len: usize,
    /// `None`: they differ.
    kind: Option<ValueKind>,
    least_seqno: u64,
    seqno_bytes: usize,
    /// Where the columns begin in `keys`.
    value_ends_at: usize,
    rest_ends_at: usize,
    kinds_at: usize,
    seqnos_at: usize,
    prefix_at: usize,
    rests_at: usize,
}

impl DataBlock {
    /// Decodes the frame that is all of `frame`, read at `offset` of the file.
    ///
    /// # Errors
    ///
    /// The frame fails its checks, or its sections are no data block.
    pub(in crate::table) fn decode(
        frame: &[u8],
        codec: &FileCodec,
        offset: u64,
    ) -> Result<DataBlock, Corruption> {
        let sections = decode_block(frame, BlockKind::Data, codec, offset)?;
        let [keys, values] = <[Vec<u8>; 2]>::try_from(sections)
            .map_err(|_| Corruption("a data block has not two sections"))?;
        DataBlock::from_sections(keys, values)
    }

    /// Takes sections as a block.
    ///
    /// # Errors
    ///
    /// They contradict themselves or each other. Nothing is allocated.
    pub(super) fn from_sections(keys: Vec<u8>, values: Vec<u8>) -> Result<DataBlock, Corruption> {
        const DOES_NOT_FIT: Corruption = Corruption("the columns of a data block do not fit it");
        let mut fields = Reader::new(&keys);
        let len = usize::try_from(fields.u32()?).map_err(|_| DOES_NOT_FIT)?;
        let prefix_bytes = usize::from(fields.u16()?);
        let raw_kind = fields.u8()?;
        let seqno_bytes = usize::from(fields.u8()?);
        let least_seqno = fields.u64()?;
        if len == 0 {
            return Err(Corruption("a data block is empty"));
        }
        if !matches!(seqno_bytes, 0 | 1 | 2 | 4 | 8) || least_seqno > Seqno::MAX.raw() {
            return Err(Corruption("the numbers of a data block are out of bounds"));
        }
        let kind = match raw_kind {
            0 => None,
            raw => Some(ValueKind::from_raw(raw).ok_or(Corruption("unknown kind of value"))?),
        };
        let mut columns_end = FIXED_BYTES;
        let mut column = |width: usize| {
            let start = columns_end;
            columns_end =
                len.checked_mul(width).and_then(|bytes| start.checked_add(bytes)).ok_or(DOES_NOT_FIT)?;
            if columns_end > keys.len() { Err(DOES_NOT_FIT) } else { Ok(start) }
        };
        column(HEAD_BYTES)?;
        let value_ends_at = column(VALUE_END_BYTES)?;
        let rest_ends_at = column(REST_END_BYTES)?;
        let kinds_at = column(usize::from(kind.is_none()))?;
        let seqnos_at = column(seqno_bytes)?;
        let (prefix_at, rests_at) = (columns_end, columns_end + prefix_bytes);
        if rests_at > keys.len() {
            return Err(DOES_NOT_FIT);
        }
        let values = Arc::new(values.into_boxed_slice());
        let block = DataBlock {
            keys,
            values,
            len,
            kind,
            least_seqno,
            seqno_bytes,
            value_ends_at,
            rest_ends_at,
            kinds_at,
            seqnos_at,
            prefix_at,
            rests_at,
        };
        block.check_columns()?;
        block.check_order()?;
        Ok(block)
    }

    fn check_columns(&self) -> Result<(), Corruption> {
        let prefix_bytes = self.rests_at - self.prefix_at;
        let (mut value_end, mut rest_end) = (0, 0);
        for entry in 0..self.len {
            let (next_value, next_rest) = (self.value_end(entry), self.rest_end(entry));
            if next_value < value_end || next_rest < rest_end {
                return Err(Corruption("offsets of a data block descend"));
            }
            if prefix_bytes + (next_rest - rest_end) > MAX_KEY_BYTES {
                return Err(Corruption("a key exceeds the longest"));
            }
            (value_end, rest_end) = (next_value, next_rest);
            if self.kind.is_none() && ValueKind::from_raw(self.keys[self.kinds_at + entry]).is_none() {
                return Err(Corruption("unknown kind of value"));
            }
            // The sum cannot wrap for less than eight bytes; of eight it is checked.
            let seqno = self.least_seqno.checked_add(self.seqno_delta(entry));
            if seqno.is_none_or(|seqno| seqno > Seqno::MAX.raw()) {
                return Err(Corruption("a sequence number exceeds the greatest"));
            }
        }
        if value_end != self.values.len() || rest_end != self.keys.len() - self.rests_at {
            return Err(Corruption("a data block does not end where its columns say"));
        }
        Ok(())
    }

    /// Heads are those of the rests, and entries are in strict order. Heads decide nearly always.
    fn check_order(&self) -> Result<(), Corruption> {
        let rests = &self.keys[self.rests_at..];
        let (rest_ends, _) =
            self.keys[self.rest_ends_at..][..REST_END_BYTES * self.len].as_chunks::<REST_END_BYTES>();
        let (mut start, mut head_before) = (0, None);
        for (entry, (head, end)) in self.heads().iter().zip(rest_ends).enumerate() {
            let (head, end) = (u32::from_le_bytes(*head), usize::from(u16::from_le_bytes(*end)));
            if head != heads::head_of(&rests[start..end]) {
                return Err(Corruption("the head of a key is not that of its bytes"));
            }
            if head_before >= Some(head) && !self.is_behind_the_one_before(entry) {
                return Err(Corruption("entries of a data block are out of order"));
            }
            (start, head_before) = (end, Some(head));
        }
        Ok(())
    }

    /// Of an entry that is not the first.
    fn is_behind_the_one_before(&self, entry: usize) -> bool {
        let at = |entry| InternalKey { key: self.rest(entry), seqno: self.seqno(entry) };
        at(entry - 1) < at(entry)
    }

    /// Number of entries, at least 1.
    #[allow(clippy::len_without_is_empty)] // No block is empty.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first entry at or after the target; [`DataBlock::len`] if there is none.
    pub fn lower_bound(&self, target: InternalKey<'_>) -> usize {
        heads::lower_bound(self.heads(), self.prefix(), target.key, |entry, rest| {
            match self.rest(entry).cmp(rest) {
                Ordering::Less => true,
                Ordering::Equal => self.seqno(entry) > target.seqno,
                Ordering::Greater => false,
            }
        })
    }

    /// Bytes that all user keys begin with.
    pub fn prefix(&self) -> &[u8] {
        &self.keys[self.prefix_at..self.rests_at]
    }

    /// The user key of an entry, without the prefix.
    pub fn rest(&self, entry: usize) -> &[u8] {
        let start = if entry == 0 { 0 } else { self.rest_end(entry - 1) };
        &self.keys[self.rests_at + start..self.rests_at + self.rest_end(entry)]
    }

    /// Whether an entry is a version of `key`.
    pub fn has_key(&self, entry: usize, key: &[u8]) -> bool {
        key.strip_prefix(self.prefix()).is_some_and(|rest| rest == self.rest(entry))
    }

    /// When an entry was written.
    pub fn seqno(&self, entry: usize) -> Seqno {
        let raw = self.least_seqno + self.seqno_delta(entry);
        Seqno::from_raw(raw).expect("numbers were checked when the block was decoded")
    }

    /// What an entry did.
    pub fn kind(&self, entry: usize) -> ValueKind {
        match self.kind {
            Some(kind) => kind,
            None => ValueKind::from_raw(self.keys[self.kinds_at + entry])
                .expect("kinds were checked when the block was decoded"),
        }
    }

    /// The stored bytes of an entry.
    pub fn value(&self, entry: usize) -> &[u8] {
        &self.values[self.value_start(entry)..self.value_end(entry)]
    }

    /// The stored bytes of an entry; a long value shares those of the block.
    pub fn value_slice(&self, entry: usize) -> Slice {
        let start = self.value_start(entry);
        Slice::window(&self.values, start, self.value_end(entry) - start)
    }

    /// Size in memory.
    pub fn resident_bytes(&self) -> usize {
        size_of::<DataBlock>() + self.keys.capacity() + self.values.len()
    }

    fn heads(&self) -> &[[u8; HEAD_BYTES]] {
        self.keys[FIXED_BYTES..self.value_ends_at].as_chunks().0
    }

    fn value_start(&self, entry: usize) -> usize {
        if entry == 0 { 0 } else { self.value_end(entry - 1) }
    }

    fn value_end(&self, entry: usize) -> usize {
        let at = self.value_ends_at + VALUE_END_BYTES * entry;
        let bytes = self.keys[at..at + VALUE_END_BYTES].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    }

    fn rest_end(&self, entry: usize) -> usize {
        let at = self.rest_ends_at + REST_END_BYTES * entry;
        usize::from(u16::from_le_bytes([self.keys[at], self.keys[at + 1]]))
    }

    fn seqno_delta(&self, entry: usize) -> u64 {
        let at = self.seqnos_at + self.seqno_bytes * entry;
        let mut wide = [0; 8];
        wide[..self.seqno_bytes].copy_from_slice(&self.keys[at..at + self.seqno_bytes]);
        u64::from_le_bytes(wide)
    }
}
