//! Building a data block out of entries in order.

use super::{
    super::heads::{HEAD_BYTES, head_of},
    CHECKSUM_BYTES, CHECKSUMS, FIXED_BYTES, HEADS_ARE_CUT, MAX_KEY_SECTION_BYTES, PAGE_BYTES, PAGES,
    TAIL_END_BYTES, TAILS_DIFFER,
};
use crate::{
    codec::{BlockKind, Compression, FileCodec, Section, encode_block},
    iter::EntryChecksum,
    key::{MAX_KEY_BYTES, ValueKind, common_prefix_len},
    types::Seqno,
};
use alloc::vec::Vec;

/// Entries of a block that is not finished yet.
///
/// Keys are kept as what they do not share with the block's first key, so that memory stays near the size of
/// the block even if many versions of a long key go into it.
#[derive(Default)]
pub(in crate::table) struct BlockBuilder {
    first_key: Vec<u8>,
    shape: Option<Shape>,
    entries: Vec<Pending>,
    /// Keys without what they share with the first one, each on its own.
    tails: Vec<u8>,
    values: Vec<u8>,
}

struct Pending {
    /// Bytes shared with the first key, at least the prefix.
    shared: usize,
    tail_end: usize,
    value_end: usize,
    seqno: Seqno,
    kind: ValueKind,
    checksum: Option<EntryChecksum>,
}

/// What the size of a key section depends on.
#[derive(Clone, Copy)]
struct Shape {
    entries: usize,
    /// Bytes that all keys share.
    prefix: usize,
    /// Lengths of all keys together.
    key_bytes: usize,
    /// Lengths of all values together.
    value_bytes: usize,
    least_key_bytes: usize,
    least_seqno: Seqno,
    greatest_seqno: Seqno,
    kinds_differ: bool,
    keys_differ_in_length: bool,
    values_differ_in_length: bool,
    has_checksums: bool,
}

impl Shape {
    /// Of one entry.
    fn of(key: &[u8], seqno: Seqno, value: &[u8], has_checksums: bool) -> Shape {
        Shape {
            entries: 1,
            prefix: key.len(),
            key_bytes: key.len(),
            value_bytes: value.len(),
            least_key_bytes: key.len(),
            least_seqno: seqno,
            greatest_seqno: seqno,
            kinds_differ: false,
            keys_differ_in_length: false,
            values_differ_in_length: false,
            has_checksums,
        }
    }

    /// With another entry, whose key shares `shared` bytes with the first and whose kind is its kind or not.
    fn with(self, key: &[u8], shared: usize, seqno: Seqno, is_same_kind: bool, value: &[u8]) -> Shape {
        let is_as_long = |all: usize, one: usize| all == one.saturating_mul(self.entries);
        Shape {
            entries: self.entries + 1,
            prefix: self.prefix.min(shared),
            key_bytes: self.key_bytes + key.len(),
            value_bytes: self.value_bytes + value.len(),
            least_key_bytes: self.least_key_bytes.min(key.len()),
            least_seqno: self.least_seqno.min(seqno),
            greatest_seqno: self.greatest_seqno.max(seqno),
            kinds_differ: self.kinds_differ || !is_same_kind,
            keys_differ_in_length: self.keys_differ_in_length || !is_as_long(self.key_bytes, key.len()),
            values_differ_in_length: self.values_differ_in_length
                || !is_as_long(self.value_bytes, value.len()),
            has_checksums: self.has_checksums,
        }
    }

    /// Bytes that tails leave to heads.
    fn cut_bytes(self) -> usize {
        if self.least_key_bytes - self.prefix >= HEAD_BYTES { HEAD_BYTES } else { 0 }
    }

    fn tail_bytes(self) -> usize {
        self.key_bytes - self.entries * (self.prefix + self.cut_bytes())
    }

    fn seqno_bytes(self) -> usize {
        bytes_of(self.greatest_seqno.raw() - self.least_seqno.raw())
    }

    fn value_end_bytes(self) -> usize {
        match (self.values_differ_in_length, self.value_bytes) {
            (false, _) => 0,
            (true, 0..=0xffff) => 2,
            (true, _) => 4,
        }
    }

    fn key_section_bytes(self) -> usize {
        let tail_end = if self.keys_differ_in_length { TAIL_END_BYTES } else { 0 };
        let columns = HEAD_BYTES
            + self.value_end_bytes()
            + tail_end
            + usize::from(self.kinds_differ)
            + self.seqno_bytes()
            + if self.has_checksums { CHECKSUM_BYTES } else { 0 };
        FIXED_BYTES + self.entries * columns + self.prefix + self.tail_bytes()
    }

    fn bytes(self) -> usize {
        self.key_section_bytes().saturating_add(self.value_bytes)
    }
}

impl BlockBuilder {
    /// Whether it holds no entry.
    pub(in crate::table) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Size of the sections, uncompressed.
    pub(in crate::table) fn raw_bytes(&self) -> usize {
        self.shape.map_or(0, Shape::bytes)
    }

    /// Adds an entry, which comes behind all others, if it fits a block of at most `block_bytes` bytes: the
    /// first one always does. Else nothing changes, and the answer is `false`. All entries have checksums or none.
    pub(in crate::table) fn add(
        &mut self,
        key: &[u8],
        seqno: Seqno,
        kind: ValueKind,
        value: &[u8],
        checksum: Option<EntryChecksum>,
        block_bytes: usize,
    ) -> bool {
        debug_assert!(key.len() <= MAX_KEY_BYTES, "the writer checks keys");
        let shared;
        match self.shape {
            None => {
                self.first_key.extend_from_slice(key);
                shared = key.len();
                self.shape = Some(Shape::of(key, seqno, value, checksum.is_some()));
            }
            Some(shape) => {
                debug_assert!(shape.has_checksums == checksum.is_some(), "the writer decides for a table");
                shared = common_prefix_len(&self.first_key, key);
                let shape = shape.with(key, shared, seqno, kind == self.entries[0].kind, value);
                if shape.key_section_bytes() > MAX_KEY_SECTION_BYTES || shape.bytes() > block_bytes {
                    return false;
                }
                self.shape = Some(shape);
            }
        }
        self.tails.extend_from_slice(&key[shared..]);
        self.values.extend_from_slice(value);
        let (tail_end, value_end) = (self.tails.len(), self.values.len());
        self.entries.push(Pending { shared, tail_end, value_end, seqno, kind, checksum });
        true
    }

    /// Appends the block to `out`, which will lie at `offset` of the file, and starts over.
    pub(in crate::table) fn finish(
        &mut self,
        out: &mut Vec<u8>,
        codec: &FileCodec,
        offset: u64,
        compression: Compression,
    ) {
        let keys = self.key_section();
        let mut sections = Vec::with_capacity(1 + 2 * PAGES);
        sections.push(Section { raw: &keys, compression });
        sections.extend(self.pages().into_iter().map(|raw| Section { raw, compression }));
        encode_block(out, BlockKind::Data, codec, offset, &sections);
        self.clear();
    }

    pub(super) fn key_section(&self) -> Vec<u8> {
        let shape = self.shape.expect("a block holds an entry");
        let (seqno_bytes, value_end_bytes) = (shape.seqno_bytes(), shape.value_end_bytes());
        let cut = shape.cut_bytes();
        let (first, count) = (&self.entries[0], u32::try_from(shape.entries).expect("at most 64 Ki"));
        let of_all = |all: usize, differ: bool| if differ { 0 } else { all / shape.entries };
        let value_len = of_all(shape.value_bytes, shape.values_differ_in_length);
        let tail_len = of_all(shape.tail_bytes(), shape.keys_differ_in_length);

        let mut out = Vec::with_capacity(shape.key_section_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&to_u16(shape.prefix).to_le_bytes());
        out.push(if shape.kinds_differ { 0 } else { first.kind as u8 });
        out.push(to_u8(seqno_bytes));
        out.extend_from_slice(&shape.least_seqno.raw().to_le_bytes());
        out.extend_from_slice(&to_u32(value_len).to_le_bytes());
        out.extend_from_slice(&to_u16(tail_len).to_le_bytes());
        out.push(to_u8(value_end_bytes));
        let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
        let checksums = flag(shape.has_checksums, CHECKSUMS);
        out.push(flag(cut > 0, HEADS_ARE_CUT) | flag(shape.keys_differ_in_length, TAILS_DIFFER) | checksums);
        for (shared, tail) in self.rests(shape.prefix) {
            out.extend_from_slice(&joined_head(shared, tail).to_le_bytes());
        }
        for entry in &self.entries {
            out.extend_from_slice(&to_u32(entry.value_end).to_le_bytes()[..value_end_bytes]);
        }
        if shape.keys_differ_in_length {
            let mut tail_end = 0;
            for (shared, tail) in self.rests(shape.prefix) {
                tail_end += shared.len() + tail.len() - cut;
                out.extend_from_slice(&to_u16(tail_end).to_le_bytes());
            }
        }
        if shape.kinds_differ {
            out.extend(self.entries.iter().map(|entry| entry.kind as u8));
        }
        for entry in &self.entries {
            let delta = entry.seqno.raw() - shape.least_seqno.raw();
            out.extend_from_slice(&delta.to_le_bytes()[..seqno_bytes]);
        }
        for checksum in self.entries.iter().filter_map(|entry| entry.checksum) {
            out.extend_from_slice(&checksum.0.to_le_bytes());
        }
        out.extend_from_slice(&self.first_key[..shape.prefix]);
        for (shared, tail) in self.rests(shape.prefix) {
            let cut_of_shared = cut.min(shared.len());
            out.extend_from_slice(&shared[cut_of_shared..]);
            out.extend_from_slice(&tail[cut - cut_of_shared..]);
        }
        out
    }

    /// Values, cut into pages.
    pub(super) fn pages(&self) -> Vec<&[u8]> {
        let target = PAGE_BYTES.max(self.values.len() / PAGES);
        let mut pages = Vec::with_capacity(2 * PAGES);
        let (mut start, mut end) = (0, 0);
        for entry in &self.entries {
            if entry.value_end - start > target && end > start {
                pages.push(&self.values[start..end]);
                start = end;
            }
            end = entry.value_end;
        }
        if end > start {
            pages.push(&self.values[start..end]);
        }
        pages
    }

    /// Keys without the prefix, each in two parts: shared with the first key, and its own.
    fn rests(&self, prefix: usize) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut tail_start = 0;
        self.entries.iter().map(move |entry| {
            let tail = &self.tails[tail_start..entry.tail_end];
            tail_start = entry.tail_end;
            (&self.first_key[prefix..entry.shared], tail)
        })
    }

    fn clear(&mut self) {
        self.first_key.clear();
        self.shape = None;
        self.entries.clear();
        self.tails.clear();
        self.values.clear();
    }
}

/// Bytes that numbers up to `greatest` take.
fn bytes_of(greatest: u64) -> usize {
    8 - greatest.leading_zeros() as usize / 8
}

/// The head of a rest that lies in two parts.
fn joined_head(shared: &[u8], tail: &[u8]) -> u32 {
    if shared.len() >= HEAD_BYTES {
        return head_of(shared);
    }
    let mut head = [0; HEAD_BYTES];
    shared.iter().chain(tail).zip(&mut head).for_each(|(&byte, to)| *to = byte);
    u32::from_be_bytes(head)
}

fn to_u8(bytes: usize) -> u8 {
    u8::try_from(bytes).expect("widths are at most eight")
}

fn to_u16(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("prefix and tails are bounded by keys and by the key section")
}

fn to_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("the values of a block are less than 4 GiB")
}
