//! Parity of what is written from front to back.

use super::{
    super::digest,
    Parity, ParityTail,
    layout::{SHARD_BYTES, Shards, WORD_BYTES, frames_at, push_digests},
    reed_solomon::Encoder,
    sec_ded,
};
use alloc::{vec, vec::Vec};

/// Takes the content of a file and has its parity in the end, which is held in memory until then: with
/// [`Parity::trailer_bytes`] as many bytes as the file will have behind its content.
pub struct ParityWriter {
    parity: Parity,
    content_bytes: u64,
    /// Of the stripe or word that is not full.
    pending: Vec<u8>,
    trailer: Vec<u8>,
    encoder: Encoder,
}

impl ParityWriter {
    /// For a file that is written so; the scheme was [validated](Parity::validate).
    pub fn new(parity: Parity) -> ParityWriter {
        let (pending, trailer) = (Vec::new(), Vec::new());
        ParityWriter { parity, content_bytes: 0, pending, trailer, encoder: Encoder::new() }
    }

    /// The scheme.
    pub fn parity(&self) -> Parity {
        self.parity
    }

    /// Takes the next bytes of the content.
    pub fn write(&mut self, mut bytes: &[u8]) {
        if self.parity == Parity::None {
            return;
        }
        self.content_bytes += bytes.len() as u64;
        let unit = match Shards::of(self.parity) {
            Some(shards) => shards.stripe_bytes(),
            None => WORD_BYTES,
        };
        let unit = usize::try_from(unit).expect("a stripe is short");
        if !self.pending.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(unit - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() < unit {
                return;
            }
            let mut pending = core::mem::take(&mut self.pending);
            self.push(&pending);
            pending.clear();
            self.pending = pending;
        }
        let mut units = bytes.chunks_exact(unit);
        for unit in &mut units {
            self.push(unit);
        }
        self.pending.extend_from_slice(units.remainder());
    }

    /// Appends the parity of a stripe or word, which is shorter only at the end.
    fn push(&mut self, content: &[u8]) {
        let Some(shards) = Shards::of(self.parity) else {
            let mut word = [0; WORD_BYTES as usize];
            word[..content.len()].copy_from_slice(content);
            self.trailer.push(sec_ded::parity_of(word));
            return;
        };
        let shard_bytes = to_len(shards.shard_bytes(content.len() as u64));
        let mut filled = Vec::new();
        let content = if content.len() == shards.data * SHARD_BYTES as usize {
            content
        } else {
            filled.extend_from_slice(content);
            filled.resize(shards.data * shard_bytes, 0);
            &filled
        };
        let digests: Vec<u64> = content.chunks_exact(shard_bytes).map(digest).collect();
        let trailer = &mut self.trailer;
        let mut frame = |shard: &[u8]| {
            let start = trailer.len();
            trailer.extend_from_slice(shard);
            push_digests(trailer, start, &digests);
        };
        match self.parity {
            Parity::Xor { .. } => frame(&xor_of(content, shard_bytes)),
            _ => self.encoder.encode(shards, content, &mut frame),
        }
    }

    /// What comes behind the content; nothing, if there is no parity.
    pub fn finish(mut self) -> Vec<u8> {
        if self.parity == Parity::None {
            return Vec::new();
        }
        let pending = core::mem::take(&mut self.pending);
        if !pending.is_empty() {
            self.push(&pending);
        }
        if Shards::of(self.parity).is_some() {
            let padding = to_len(frames_at(self.content_bytes) - self.content_bytes);
            self.trailer.splice(..0, core::iter::repeat_n(0, padding));
        }
        let tail = ParityTail { content_bytes: self.content_bytes, parity: self.parity };
        self.trailer.extend_from_slice(&tail.encode());
        debug_assert_eq!(self.trailer.len() as u64, self.parity.trailer_bytes(self.content_bytes));
        self.trailer
    }
}

/// The sum of shards of so many bytes.
pub(super) fn xor_of(shards: &[u8], shard_bytes: usize) -> Vec<u8> {
    let mut sum = vec![0; shard_bytes];
    for shard in shards.chunks_exact(shard_bytes) {
        sum.iter_mut().zip(shard).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

pub(super) fn to_len(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a stripe is short")
}
