//! Building a data block out of entries in order.

use super::{
    super::heads::{HEAD_BYTES, head_of},
    FIXED_BYTES, MAX_KEY_SECTION_BYTES, REST_END_BYTES, VALUE_END_BYTES,
};
use crate::{
    codec::{BlockKind, Compression, FileCodec, Section, encode_block},
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
    /// Bytes that all keys share with the first one.
    prefix: usize,
    entries: Vec<Pending>,
    /// Keys without what they share with the first one, each on its own.
    tails: Vec<u8>,
    values: Vec<u8>,
    /// Lengths of all keys together.
    key_bytes: usize,
    seqnos: Option<(Seqno, Seqno)>,
    kinds_differ: bool,
}

struct Pending {
    /// Bytes shared with the first key, at least the prefix.
    shared: usize,
    tail_end: usize,
    value_end: usize,
    seqno: Seqno,
    kind: ValueKind,
}

impl BlockBuilder {
    /// Whether it holds no entry.
    pub(in crate::table) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Size of the sections, uncompressed.
    pub(in crate::table) fn raw_bytes(&self) -> usize {
        match self.seqnos {
            None => 0,
            Some((least, greatest)) => {
                let entries = self.entries.len();
                let rests = self.key_bytes - entries * self.prefix;
                let widths = usize::from(self.kinds_differ) + width_of(greatest.raw() - least.raw());
                key_section_bytes(entries, widths, self.prefix, rests) + self.values.len()
            }
        }
    }

    /// Whether an entry may be added to a block of at most `block_bytes` bytes. The first one always may.
    pub(in crate::table) fn has_room(
        &self,
        key: &[u8],
        seqno: Seqno,
        kind: ValueKind,
        value: &[u8],
        block_bytes: usize,
    ) -> bool {
        let Some((least, greatest)) = self.seqnos else { return true };
        let entries = self.entries.len() + 1;
        let prefix = common_prefix_len(&self.first_key[..self.prefix], key);
        let rests = self.key_bytes + key.len() - entries * prefix;
        let kinds = usize::from(self.kinds_differ || kind != self.entries[0].kind);
        let width = width_of(greatest.max(seqno).raw() - least.min(seqno).raw());
        let section = key_section_bytes(entries, kinds + width, prefix, rests);
        section <= MAX_KEY_SECTION_BYTES
            && section.saturating_add(self.values.len()).saturating_add(value.len()) <= block_bytes
    }

    /// Adds an entry, which comes behind all others and has room.
    pub(in crate::table) fn add(&mut self, key: &[u8], seqno: Seqno, kind: ValueKind, value: &[u8]) {
        debug_assert!(key.len() <= MAX_KEY_BYTES, "the writer checks keys");
        let shared = match self.entries.first() {
            None => {
                self.first_key.extend_from_slice(key);
                self.prefix = key.len();
                key.len()
            }
            Some(first) => {
                self.kinds_differ |= first.kind != kind;
                common_prefix_len(&self.first_key, key)
            }
        };
        self.prefix = self.prefix.min(shared);
        self.key_bytes += key.len();
        self.tails.extend_from_slice(&key[shared..]);
        self.values.extend_from_slice(value);
        let (least, greatest) = self.seqnos.unwrap_or((seqno, seqno));
        self.seqnos = Some((least.min(seqno), greatest.max(seqno)));
        let (tail_end, value_end) = (self.tails.len(), self.values.len());
        self.entries.push(Pending { shared, tail_end, value_end, seqno, kind });
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
        let sections = [
            Section { raw: &keys, compression: Compression::None },
            Section { raw: &self.values, compression },
        ];
        encode_block(out, BlockKind::Data, codec, offset, &sections);
        self.clear();
    }

    pub(super) fn key_section(&self) -> Vec<u8> {
        let (least, greatest) = self.seqnos.expect("a block holds an entry");
        let seqno_bytes = width_of(greatest.raw() - least.raw());
        let count = u32::try_from(self.entries.len()).expect("a key section is at most 64 KiB");

        let mut out = Vec::with_capacity(self.raw_bytes() - self.values.len());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&to_u16(self.prefix).to_le_bytes());
        out.push(if self.kinds_differ { 0 } else { self.entries[0].kind as u8 });
        out.push(u8::try_from(seqno_bytes).expect("at most eight"));
        out.extend_from_slice(&least.raw().to_le_bytes());
        for (shared, tail) in self.rests() {
            out.extend_from_slice(&joined_head(shared, tail).to_le_bytes());
        }
        for entry in &self.entries {
            let end = u32::try_from(entry.value_end).expect("a value section is less than 4 GiB");
            out.extend_from_slice(&end.to_le_bytes());
        }
        let mut rest_end = 0;
        for (shared, tail) in self.rests() {
            rest_end += shared.len() + tail.len();
            out.extend_from_slice(&to_u16(rest_end).to_le_bytes());
        }
        if self.kinds_differ {
            out.extend(self.entries.iter().map(|entry| entry.kind as u8));
        }
        for entry in &self.entries {
            let delta = entry.seqno.raw() - least.raw();
            out.extend_from_slice(&delta.to_le_bytes()[..seqno_bytes]);
        }
        out.extend_from_slice(&self.first_key[..self.prefix]);
        for (shared, tail) in self.rests() {
            out.extend_from_slice(shared);
            out.extend_from_slice(tail);
        }
        out
    }

    #[cfg(test)]
    pub(super) fn values(&self) -> &[u8] {
        &self.values
    }

    /// Each key without the prefix, in two parts: what it shares with the first key, and its tail.
    fn rests(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut tail_start = 0;
        self.entries.iter().map(move |entry| {
            let tail = &self.tails[tail_start..entry.tail_end];
            tail_start = entry.tail_end;
            (&self.first_key[self.prefix..entry.shared], tail)
        })
    }

    fn clear(&mut self) {
        self.first_key.clear();
        self.prefix = 0;
        self.entries.clear();
        self.tails.clear();
        self.values.clear();
        self.key_bytes = 0;
        self.seqnos = None;
        self.kinds_differ = false;
    }
}

/// Size of a key section with `optional` bytes an entry in the columns of kinds and numbers.
fn key_section_bytes(entries: usize, optional: usize, prefix: usize, rests: usize) -> usize {
    FIXED_BYTES + entries * (HEAD_BYTES + VALUE_END_BYTES + REST_END_BYTES + optional) + prefix + rests
}

/// Bytes that numbers up to `greatest` take in their column.
fn width_of(greatest: u64) -> usize {
    match greatest {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
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

fn to_u16(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("prefix and rests are bounded by keys and by the key section")
}
