//! Where the parity of a file lies. Pure.

use super::{
    super::{Corruption, Reader, digest},
    Parity,
};
use alloc::vec::Vec;
use core::ops::{Range, RangeInclusive};
use isopach_env::File;

/// Size of a shard, but in the last stripe: that of a page, and of the sectors of media.
pub(super) const SHARD_BYTES: u64 = 4096;

/// What the shards of a file that is shorter than one are multiples of.
const SHARD_ALIGN: u64 = 64;

/// Of a shard's digest.
pub(super) const DIGEST_BYTES: usize = 8;

/// Bytes of content that share a byte of SEC-DED parity.
pub(super) const WORD_BYTES: u64 = 8;

const MAGIC: [u8; 8] = *b"ISOPECC\0";

/// Shards of content and of parity in each stripe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shards {
    pub(super) data: usize,
    pub(super) parity: usize,
}

impl Shards {
    /// Those of a scheme that has some.
    pub(super) fn of(parity: Parity) -> Option<Shards> {
        match parity {
            Parity::Xor { data } => Some(Shards { data: data.into(), parity: 1 }),
            Parity::ReedSolomon { data, parity } => Some(Shards { data: data.into(), parity: parity.into() }),
            Parity::None | Parity::SecDed | Parity::Unknown { .. } => None,
        }
    }

    /// Bytes of content in a stripe.
    pub(super) fn stripe_bytes(self) -> u64 {
        self.data as u64 * SHARD_BYTES
    }

    /// Size of a shard in a stripe of so many bytes of content, at least 1. Of a stripe that is not full the last shards are
    /// zeros.
    pub(super) fn shard_bytes(self, content_bytes: u64) -> u64 {
        content_bytes.next_multiple_of(SHARD_ALIGN).min(SHARD_BYTES)
    }

    /// Size of a frame: a shard of parity, the digests of the shards of data, the digest of all that.
    pub(super) fn frame_bytes(self, shard_bytes: u64) -> u64 {
        shard_bytes + (self.data as u64 + 1) * DIGEST_BYTES as u64
    }
}

/// Where the first frame lies behind a content of so many bytes: no sector has of both.
pub(super) fn frames_at(content_bytes: u64) -> u64 {
    content_bytes.checked_next_multiple_of(SHARD_BYTES).unwrap_or(u64::MAX)
}

/// A stripe: so much of the content, and where its frames lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stripe {
    pub(super) content: Range<u64>,
    pub(super) shard_bytes: u64,
    /// First byte of its first frame.
    pub(super) frames_at: u64,
}

/// The stripes with any of `range`, which is not empty and lies in a content of so many bytes.
pub(super) fn stripes(shards: Shards, content_bytes: u64, range: Range<u64>) -> impl Iterator<Item = Stripe> {
    let stripe_bytes = shards.stripe_bytes();
    let frames_bytes = shards.parity as u64 * shards.frame_bytes(SHARD_BYTES);
    (range.start / stripe_bytes..range.end.div_ceil(stripe_bytes)).map(move |at| {
        let content = at * stripe_bytes..((at + 1) * stripe_bytes).min(content_bytes);
        let shard_bytes = shards.shard_bytes(content.end - content.start);
        Stripe { content, shard_bytes, frames_at: frames_at(content_bytes) + at * frames_bytes }
    })
}

impl Parity {
    /// How long the content may be before such parity in a file of so many bytes, the padding between them included;
    /// `None`: no such file has this size, or nothing is known of the scheme. For a file whose [`ParityTail`] is damaged.
    pub fn possible_contents(self, file_bytes: u64) -> Option<RangeInclusive<u64>> {
        if matches!(self, Parity::Unknown { .. }) {
            return None;
        }
        let size = |content: u64| content.saturating_add(self.trailer_bytes(content));
        // Never shorter for a longer content.
        let first_of = |least: u64| {
            let (mut from, mut to) = (0, file_bytes);
            while from < to {
                let middle = from + (to - from) / 2;
                if size(middle) < least { from = middle + 1 } else { to = middle }
            }
            from
        };
        let least = first_of(file_bytes);
        let greatest = first_of(file_bytes.checked_add(1)?).checked_sub(1)?;
        (size(least) == file_bytes && least <= greatest).then_some(least..=greatest)
    }

    /// Bytes behind a content of so many bytes; `u64::MAX` if there are no files so long, 0 for a scheme that is unknown.
    pub fn trailer_bytes(self, content_bytes: u64) -> u64 {
        let tail_bytes = ParityTail::BYTES as u64;
        match self {
            Parity::None | Parity::Unknown { .. } => 0,
            Parity::SecDed => content_bytes.div_ceil(WORD_BYTES) + tail_bytes,
            Parity::Xor { .. } | Parity::ReedSolomon { .. } => {
                let Some(shards) = Shards::of(self) else { return 0 };
                let (whole, rest) =
                    (content_bytes / shards.stripe_bytes(), content_bytes % shards.stripe_bytes());
                let frames = |shard_bytes| shards.parity as u64 * shards.frame_bytes(shard_bytes);
                let of_rest = if rest == 0 { 0 } else { frames(shards.shard_bytes(rest)) };
                let padding = frames_at(content_bytes) - content_bytes;
                let of_whole = whole.saturating_mul(frames(SHARD_BYTES));
                padding.saturating_add(of_whole).saturating_add(of_rest).saturating_add(tail_bytes)
            }
        }
    }
}

/// The last bytes of a file with parity, by which tools that have no manifest know what it is.
///
/// | bytes  | field                                           |
/// |--------|-------------------------------------------------|
/// | 0..8   | magic `ISOPECC` and a zero                      |
/// | 8..16  | bytes of content before the parity              |
/// | 16..19 | scheme, as in the file's header                 |
/// | 19..24 | zero                                            |
/// | 24..32 | XXH3-64 of bytes 0..24                          |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParityTail {
    /// Bytes before the parity.
    pub content_bytes: u64,
    /// The scheme.
    pub parity: Parity,
}

impl ParityTail {
    /// Size of the encoding.
    pub const BYTES: usize = 32;

    /// Reads the tail of a file of so many bytes.
    ///
    /// # Errors
    ///
    /// It cannot be read; as [`ParityTail::decode`].
    pub fn read(file: &dyn File, file_bytes: u64) -> Result<ParityTail, Corruption> {
        const UNREAD: Corruption = Corruption("the end of the file's parity cannot be read");
        let mut tail = [0; Self::BYTES];
        let at = file_bytes.checked_sub(Self::BYTES as u64).ok_or(UNREAD)?;
        file.read_exact_at(at, &mut tail).map_err(|_| UNREAD)?;
        ParityTail::decode(&tail, file_bytes)
    }

    /// Encodes the tail; [`ParityTail::decode`] is its inverse.
    pub fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.content_bytes.to_le_bytes());
        bytes[16..19].copy_from_slice(&self.parity.to_raw());
        let check = digest(&bytes[..24]);
        bytes[24..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Takes the last bytes of a file of `file_bytes` bytes.
    ///
    /// # Errors
    ///
    /// There is no parity before them, or they are damaged.
    pub fn decode(bytes: &[u8; Self::BYTES], file_bytes: u64) -> Result<ParityTail, Corruption> {
        let mut fields = Reader::new(bytes);
        if fields.array()? != MAGIC {
            return Err(Corruption("the file does not end with parity"));
        }
        let content_bytes = fields.u64()?;
        let parity = Parity::from_raw(fields.array()?);
        let zero: [u8; 5] = fields.array()?;
        if fields.u64()? != digest(&bytes[..24]) || zero != [0; 5] {
            return Err(Corruption("the end of the file's parity fails its checksum"));
        }
        let is_whole = match parity {
            Parity::None => false,
            Parity::Unknown { .. } => content_bytes <= file_bytes,
            known => content_bytes.checked_add(known.trailer_bytes(content_bytes)) == Some(file_bytes),
        };
        if !is_whole {
            return Err(Corruption("the file has another size than its parity says"));
        }
        Ok(ParityTail { content_bytes, parity })
    }
}

/// Appends digests of what they are given, and that of everything from `start` on.
pub(super) fn push_digests(frame: &mut Vec<u8>, start: usize, of_shards: &[u64]) {
    for digest in of_shards {
        frame.extend_from_slice(&digest.to_le_bytes());
    }
    let whole = digest(&frame[start..]);
    frame.extend_from_slice(&whole.to_le_bytes());
}
