//! A data block in memory: its keys checked once, then read in place; its values opened as they are needed.

use super::{
    super::heads::{self, HEAD_BYTES, partition_point},
    CHECKSUM_BYTES, CHECKSUMS, FIXED_BYTES, HEADS_ARE_CUT, TAIL_END_BYTES, TAILS_DIFFER,
    pages::Pages,
};
use crate::{
    codec::{BlockKind, Corruption, FileCodec, Reader, read_frame},
    iter::EntryChecksum,
    key::{InternalKey, MAX_KEY_BYTES, ValueKind},
    order::KeyOrder,
    prefetch::prefetch,
    types::{Seqno, Slice, SliceOwner},
};
use alloc::{sync::Arc, vec::Vec};
use core::{cell::Cell, cmp::Ordering, ops::Range};

/// A decoded data block. An entry is named by its place, from 0.
///
/// Every offset, kind and number in it was checked, so that no accessor can leave the block; and so was the
/// order of its entries, which searches, merges and the writer of the next table rely on to end.
pub struct DataBlock {
    /// The key section.
    keys: Vec<u8>,
    pages: Pages,
    len: usize,
    /// `None`: they differ.
    kind: Option<ValueKind>,
    least_seqno: u64,
    seqno_bytes: usize,
    /// Bytes of the heads that lie in front of tails.
    cut_bytes: usize,
    /// Of all, where they have no column.
    value_len: usize,
    value_end_bytes: usize,
    /// Of all, where they have no column.
    tail_len: usize,
    tails_differ: bool,
    /// Where the columns begin in `keys`.
    value_ends_at: usize,
    tail_ends_at: usize,
    kinds_at: usize,
    seqnos_at: usize,
    /// `None`: entries have no checksums.
    checksums_at: Option<usize>,
    prefix_at: usize,
    tails_at: usize,
}

impl DataBlock {
    /// Sizes of its parts, about, in a block of usual size: the block itself, its keys, its pages without what is
    /// in them.
    pub(in crate::table) const PART_BYTES: [usize; 3] = [size_of::<DataBlock>(), 2400, 128];

    /// Decodes the frame that is all of `frame`, read at `offset` of the file. Pages that are compressed are
    /// verified when they are opened. Entries are held against `order`; `None`: nobody knows it.
    ///
    /// # Errors
    ///
    /// The frame fails its checks, or its sections are no data block.
    pub(in crate::table) fn decode(
        frame: &[u8],
        codec: &FileCodec,
        offset: u64,
        order: Option<&KeyOrder>,
    ) -> Result<DataBlock, Corruption> {
        let mut sections = read_frame(frame, BlockKind::Data, codec, offset)?.into_iter();
        let keys = sections.next().ok_or(Corruption("a data block has no section"))?.open(codec)?;
        DataBlock::from_sections(keys, Pages::new(sections, codec)?, order)
    }

    /// The block of a table that was written without numbers, with the one that all its entries got.
    ///
    /// # Errors
    ///
    /// It has numbers.
    pub(in crate::table) fn numbered(mut self, number: Seqno) -> Result<DataBlock, Corruption> {
        if self.least_seqno != 0 || self.seqno_bytes != 0 {
            return Err(Corruption("a data block has numbers, and its table was written without"));
        }
        self.least_seqno = number.raw();
        Ok(self)
    }

    /// Takes sections as a block.
    ///
    /// # Errors
    ///
    /// They contradict themselves or each other. Nothing is allocated.
    pub(super) fn from_sections(
        keys: Vec<u8>,
        pages: Pages,
        order: Option<&KeyOrder>,
    ) -> Result<DataBlock, Corruption> {
        const DOES_NOT_FIT: Corruption = Corruption("the columns of a data block do not fit it");
        let mut fields = Reader::new(&keys);
        let len = usize::try_from(fields.u32()?).map_err(|_| DOES_NOT_FIT)?;
        let prefix_bytes = usize::from(fields.u16()?);
        let raw_kind = fields.u8()?;
        let seqno_bytes = usize::from(fields.u8()?);
        let least_seqno = fields.u64()?;
        let value_len = usize::try_from(fields.u32()?).map_err(|_| DOES_NOT_FIT)?;
        let tail_len = usize::from(fields.u16()?);
        let value_end_bytes = usize::from(fields.u8()?);
        let flags = fields.u8()?;
        if len == 0 {
            return Err(Corruption("a data block is empty"));
        }
        if seqno_bytes > 8 || least_seqno > Seqno::MAX.raw() {
            return Err(Corruption("the numbers of a data block are out of bounds"));
        }
        let tails_differ = flags & TAILS_DIFFER != 0;
        if flags & !(HEADS_ARE_CUT | TAILS_DIFFER | CHECKSUMS) != 0
            || !matches!((value_end_bytes, value_len), (0, _) | (2 | 4, 0))
            || (tails_differ && tail_len > 0)
        {
            return Err(Corruption("a data block begins with bytes that none begins with"));
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
        let value_ends_at = column(value_end_bytes)?;
        let tail_ends_at = column(if tails_differ { TAIL_END_BYTES } else { 0 })?;
        let kinds_at = column(usize::from(kind.is_none()))?;
        let seqnos_at = column(seqno_bytes)?;
        let checksums_at = (flags & CHECKSUMS != 0).then(|| column(CHECKSUM_BYTES)).transpose()?;
        let (prefix_at, tails_at) = (columns_end, columns_end + prefix_bytes);
        if tails_at > keys.len() {
            return Err(DOES_NOT_FIT);
        }
        let block = DataBlock {
            keys,
            pages,
            len,
            kind,
            least_seqno,
            seqno_bytes,
            cut_bytes: if flags & HEADS_ARE_CUT != 0 { HEAD_BYTES } else { 0 },
            value_len,
            value_end_bytes,
            tail_len,
            tails_differ,
            value_ends_at,
            tail_ends_at,
            kinds_at,
            seqnos_at,
            checksums_at,
            prefix_at,
            tails_at,
        };
        block.check_values()?;
        block.check_keys()?;
        block.check_columns()?;
        if order.is_some_and(KeyOrder::is_bytewise) {
            block.check_order()?;
        } else {
            block.check_other_order(order)?;
        }
        Ok(block)
    }

    /// Values fill the pages, and none lies in two.
    fn check_values(&self) -> Result<(), Corruption> {
        const WRONG_END: Corruption = Corruption("the values of a data block do not end where its pages do");
        if self.value_end_bytes == 0 && self.len.checked_mul(self.value_len) != Some(self.pages.bytes()) {
            return Err(WRONG_END);
        }
        let (mut before, mut page) = (0, 0);
        for entry in 0..self.len {
            let end = self.value_end(entry);
            if end < before {
                return Err(Corruption("offsets of a data block descend"));
            }
            if end > before {
                (page, _) = self.pages.place_of(before..end, page).ok_or(WRONG_END)?;
            }
            before = end;
        }
        if before == self.pages.bytes() { Ok(()) } else { Err(WRONG_END) }
    }

    /// Tails fill what is behind the prefix, and no key is too long.
    fn check_keys(&self) -> Result<(), Corruption> {
        let tails_bytes = self.keys.len() - self.tails_at;
        if !self.tails_differ && self.len.checked_mul(self.tail_len) != Some(tails_bytes) {
            return Err(Corruption("a data block does not end where its columns say"));
        }
        let before_tail = self.tails_at - self.prefix_at + self.cut_bytes;
        let mut before = 0;
        for entry in 0..self.len {
            let end = self.tail_end(entry);
            if end < before {
                return Err(Corruption("offsets of a data block descend"));
            }
            if before_tail + (end - before) > MAX_KEY_BYTES {
                return Err(Corruption("a key exceeds the longest"));
            }
            before = end;
        }
        if before == tails_bytes {
            Ok(())
        } else {
            Err(Corruption("a data block does not end where its columns say"))
        }
    }

    /// Kinds and numbers are ones.
    fn check_columns(&self) -> Result<(), Corruption> {
        for entry in 0..self.len {
            if self.kind.is_none() && ValueKind::from_raw(self.keys[self.kinds_at + entry]).is_none() {
                return Err(Corruption("unknown kind of value"));
            }
            // The sum cannot wrap for less than eight bytes; of eight it is checked.
            let seqno = self.least_seqno.checked_add(self.seqno_delta(entry));
            if seqno.is_none_or(|seqno| seqno > Seqno::MAX.raw()) {
                return Err(Corruption("a sequence number exceeds the greatest"));
            }
        }
        Ok(())
    }

    /// Heads are those of the rests, and entries are in strict order. Heads decide nearly always.
    fn check_order(&self) -> Result<(), Corruption> {
        let mut head_before = None;
        for (entry, head) in self.heads().iter().enumerate() {
            let head = u32::from_le_bytes(*head);
            if self.cut_bytes == 0 && head != heads::head_of(self.tail(entry)) {
                return Err(Corruption("the head of a key is not that of its bytes"));
            }
            if head_before >= Some(head) && !self.is_behind_the_one_before(entry, head_before == Some(head)) {
                return Err(Corruption("entries of a data block are out of order"));
            }
            head_before = Some(head);
        }
        Ok(())
    }

    /// Heads are those of the rests; entries are in strict order, of which heads tell nothing, if it is known.
    #[cold]
    fn check_other_order(&self, order: Option<&KeyOrder>) -> Result<(), Corruption> {
        let is_own = |(entry, head): (usize, &[u8; HEAD_BYTES])| {
            u32::from_le_bytes(*head) == heads::head_of(self.tail(entry))
        };
        if self.cut_bytes == 0 && !self.heads().iter().enumerate().all(is_own) {
            return Err(Corruption("the head of a key is not that of its bytes"));
        }
        let Some(order) = order else { return Ok(()) };
        let mut before = self.key(0);
        for entry in 1..self.len {
            let key = self.key(entry);
            let place = |key, entry| InternalKey { key, seqno: self.seqno(entry) };
            if !order.is_before(place(&before, entry - 1), place(&key, entry)) {
                return Err(Corruption("entries of a data block are out of order"));
            }
            before = key;
        }
        Ok(())
    }

    /// Of an entry that is not the first, and whose head is that of the one before or less.
    fn is_behind_the_one_before(&self, entry: usize, is_same_head: bool) -> bool {
        // What is behind equal heads decides; without cut heads tails are rests, which have their heads in them.
        is_same_head
            && match self.tail(entry - 1).cmp(self.tail(entry)) {
                Ordering::Less => true,
                Ordering::Equal => self.seqno(entry - 1) > self.seqno(entry),
                Ordering::Greater => false,
            }
    }

    /// Number of entries, at least 1.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // No block is empty.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first entry at or after the target in the order of the table; [`DataBlock::len`] if there is none.
    #[inline]
    pub fn lower_bound(&self, order: &KeyOrder, target: InternalKey<'_>) -> usize {
        match order.is_bytewise() {
            true => self.lower_bound_by_heads(target),
            false => self.lower_bound_by_keys(order, target),
        }
    }

    #[inline]
    fn lower_bound_by_heads(&self, target: InternalKey<'_>) -> usize {
        prefetch(self.prefix().as_ptr(), 1);
        heads::lower_bound(self.heads(), None, self.prefix(), target.key, |entry, rest| {
            self.prefetch_value(entry);
            match self.compare_rest(entry, rest) {
                Ordering::Less => true,
                Ordering::Equal => self.seqno(entry) > target.seqno,
                Ordering::Greater => false,
            }
        })
    }

    #[cold]
    fn lower_bound_by_keys(&self, order: &KeyOrder, target: InternalKey<'_>) -> usize {
        let mut key = Vec::from(self.prefix());
        partition_point(self.len, |entry| {
            key.truncate(self.prefix().len());
            self.push_rest(entry, &mut key);
            order.is_before(InternalKey { key: &key, seqno: self.seqno(entry) }, target)
        })
    }

    /// Bytes that all user keys begin with.
    #[inline]
    pub fn prefix(&self) -> &[u8] {
        &self.keys[self.prefix_at..self.tails_at]
    }

    /// The user key of an entry.
    pub fn key(&self, entry: usize) -> Vec<u8> {
        let mut key = Vec::from(self.prefix());
        self.push_rest(entry, &mut key);
        key
    }

    /// Appends the user key of an entry without the prefix.
    #[inline]
    pub fn push_rest(&self, entry: usize, to: &mut Vec<u8>) {
        if self.cut_bytes != 0 {
            to.extend_from_slice(&self.head_bytes(entry));
        }
        to.extend_from_slice(self.tail(entry));
    }

    /// Whether an entry is a version of `key`.
    pub fn has_key(&self, entry: usize, key: &[u8]) -> bool {
        let rest = key.strip_prefix(self.prefix());
        rest.is_some_and(|rest| self.compare_rest(entry, rest) == Ordering::Equal)
    }

    /// When an entry was written.
    #[inline]
    pub fn seqno(&self, entry: usize) -> Seqno {
        let raw = self.least_seqno + self.seqno_delta(entry);
        Seqno::from_raw(raw).expect("numbers were checked when the block was decoded")
    }

    /// What an entry did.
    #[inline]
    pub fn kind(&self, entry: usize) -> ValueKind {
        match self.kind {
            Some(kind) => kind,
            None => ValueKind::from_raw(self.keys[self.kinds_at + entry])
                .expect("kinds were checked when the block was decoded"),
        }
    }

    /// The checksum of an entry, if it has one. It was not held against the entry.
    #[inline]
    pub fn checksum(&self, entry: usize) -> Option<EntryChecksum> {
        let at = self.checksums_at? + entry * CHECKSUM_BYTES;
        let bytes = self.keys[at..].first_chunk().expect("the column was checked when the block was decoded");
        Some(EntryChecksum(u32::from_le_bytes(*bytes)))
    }

    /// Size of the stored value of an entry, in bytes. Opens no page.
    pub fn value_len(&self, entry: usize) -> usize {
        self.value_range(entry).len()
    }

    /// The stored value of an entry.
    ///
    /// # Errors
    ///
    /// Its page is damaged.
    pub fn value(&self, entry: usize) -> Result<&[u8], Corruption> {
        self.value_near(entry, &Cell::new(0))
    }

    /// As [`DataBlock::value`]. `page` is where the value that was asked for before lies, or 0: values that
    /// follow each other mostly lie in one page, which then need not be searched for.
    ///
    /// # Errors
    ///
    /// As [`DataBlock::value`].
    #[inline]
    pub(in crate::table) fn value_near(&self, entry: usize, page: &Cell<usize>) -> Result<&[u8], Corruption> {
        let Some((at, place)) = self.place_of_value(entry, page.get()) else { return Ok(&[]) };
        page.set(at);
        Ok(&self.pages.open(at)?[place])
    }

    /// The stored value of an entry; a long one holds the block.
    ///
    /// # Errors
    ///
    /// As [`DataBlock::value`].
    pub fn value_slice(block: &Arc<DataBlock>, entry: usize) -> Result<Slice, Corruption> {
        DataBlock::slice_near(block, entry, &Cell::new(0))
    }

    /// As [`DataBlock::value_slice`], with a page as for [`DataBlock::value_near`].
    ///
    /// # Errors
    ///
    /// As [`DataBlock::value`].
    #[inline]
    pub(in crate::table) fn slice_near(
        block: &Arc<DataBlock>,
        entry: usize,
        page: &Cell<usize>,
    ) -> Result<Slice, Corruption> {
        let Some((at, place)) = block.place_of_value(entry, page.get()) else { return Ok(Slice::EMPTY) };
        page.set(at);
        let value = &block.pages.open(at)?[place.clone()];
        let part = u16::try_from(at).expect("a block has few sections");
        Ok(Slice::window_over(value, part, place.start, || Arc::clone(block) as Arc<dyn SliceOwner>))
    }

    /// As [`DataBlock::value_slice`], for who needs the block no longer.
    ///
    /// # Errors
    ///
    /// As [`DataBlock::value`].
    pub fn into_value(block: Arc<DataBlock>, entry: usize) -> Result<Slice, Corruption> {
        let Some((page, place)) = block.place_of_value(entry, 0) else { return Ok(Slice::EMPTY) };
        block.pages.open(page)?;
        let page = u16::try_from(page).expect("a block has few sections");
        Ok(Slice::window(block, page, place.start, place.len()))
    }

    /// Opens all pages.
    ///
    /// # Errors
    ///
    /// One is damaged.
    pub fn open_values(&self) -> Result<(), Corruption> {
        self.pages.open_all()
    }

    /// All pages, which [`DataBlock::open_values`] has opened.
    pub(in crate::table) fn opened_pages(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.pages.len()).map(|at| self.pages.opened(at))
    }

    /// Size in memory, once all pages are open.
    pub fn resident_bytes(&self) -> usize {
        size_of::<DataBlock>() + self.keys.capacity() + self.pages.resident_bytes()
    }

    /// Where its parts are in memory: the block itself, its keys, its pages.
    pub(in crate::table) fn parts(block: &Arc<DataBlock>) -> [*const u8; 3] {
        [Arc::as_ptr(block).cast(), block.keys.as_ptr(), block.pages.start()]
    }

    /// Asks for a value that is about to be read, as far as its page is open.
    fn prefetch_value(&self, entry: usize) {
        if let Some((page, place)) = self.place_of_value(entry, 0) {
            self.pages.prefetch_value(page, &place);
        }
    }

    #[inline]
    fn heads(&self) -> &[[u8; HEAD_BYTES]] {
        self.keys[FIXED_BYTES..self.value_ends_at].as_chunks().0
    }

    /// The head of an entry as the bytes it stands for.
    #[inline]
    fn head_bytes(&self, entry: usize) -> [u8; HEAD_BYTES] {
        u32::from_le_bytes(self.heads()[entry]).to_be_bytes()
    }

    #[inline]
    fn tail(&self, entry: usize) -> &[u8] {
        let start = entry.checked_sub(1).map_or(0, |before| self.tail_end(before));
        &self.keys[self.tails_at + start..self.tails_at + self.tail_end(entry)]
    }

    #[inline]
    fn tail_end(&self, entry: usize) -> usize {
        if !self.tails_differ {
            return self.tail_len * (entry + 1);
        }
        let at = self.tail_ends_at + TAIL_END_BYTES * entry;
        usize::from(u16::from_le_bytes([self.keys[at], self.keys[at + 1]]))
    }

    /// Compares the rest of an entry.
    fn compare_rest(&self, entry: usize, rest: &[u8]) -> Ordering {
        let tail = self.tail(entry);
        if self.cut_bytes == 0 {
            return tail.cmp(rest);
        }
        let head = self.head_bytes(entry);
        match rest.split_first_chunk::<HEAD_BYTES>() {
            Some((other, behind)) => head.cmp(other).then_with(|| tail.cmp(behind)),
            None => head[..].cmp(rest),
        }
    }

    #[inline]
    fn place_of_value(&self, entry: usize, near: usize) -> Option<(usize, Range<usize>)> {
        let range = self.value_range(entry);
        (!range.is_empty()).then(|| self.pages.place_of(range, near).expect("values were checked"))
    }

    /// Where a value lies among those of the block.
    #[inline]
    fn value_range(&self, entry: usize) -> Range<usize> {
        entry.checked_sub(1).map_or(0, |before| self.value_end(before))..self.value_end(entry)
    }

    #[inline]
    fn value_end(&self, entry: usize) -> usize {
        let at = self.value_ends_at + self.value_end_bytes * entry;
        match self.value_end_bytes {
            0 => self.value_len * (entry + 1),
            2 => usize::from(u16::from_le_bytes([self.keys[at], self.keys[at + 1]])),
            _ => u32::from_le_bytes(self.keys[at..at + 4].try_into().expect("four bytes")) as usize,
        }
    }

    #[inline]
    fn seqno_delta(&self, entry: usize) -> u64 {
        let bytes = &self.keys[self.seqnos_at + self.seqno_bytes * entry..][..self.seqno_bytes];
        bytes.iter().rev().fold(0, |delta, &byte| delta << 8 | u64::from(byte))
    }
}

/// Slices are of pages that are open.
impl SliceOwner for DataBlock {
    fn part(&self, part: u16) -> &[u8] {
        self.pages.opened(usize::from(part))
    }
}
