//! A Bloom filter (Bloom 1970) in blocks of one cache line (Putze, Sanders, Singler 2007): all bits of a key
//! lie in one line, so that a probe waits for memory once. Layout: `docs/format.md` §4.3.

use super::hash::{KeyHash, fold, place};
use crate::codec::{Corruption, Reader};
use alloc::{vec, vec::Vec};

pub(super) const ALGORITHM: u8 = 1;

/// Of which a hash has bits enough: nine for each.
const MAX_PROBES: u8 = 14;
const PROBES_A_WORD: u8 = 7;
const LINE_BYTES: usize = 64;
const LINE_BITS: f64 = 512.0;
/// So that a section holds the filter: 2 GiB.
const MAX_LINES: usize = 1 << 25;
const HEADER_BYTES: usize = 16;

/// 512 bits; as little-endian words, bit `i` of the line is bit `i % 64` of word `i / 64`.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// Where the bits of a key lie in its line: nine bits for each probe, seven probes in a word.
#[derive(Clone, Copy)]
struct Places([u64; 2]);

impl Places {
    #[inline]
    fn of(hash: KeyHash) -> Places {
        Places([fold(hash.0, 0x9FB2_1C65_1E98_DF25), fold(hash.0, 0xC2B2_AE3D_27D4_EB4F)])
    }

    /// Of probe `probe`, below 512.
    #[inline]
    fn at(self, probe: u8) -> (usize, u32) {
        let word = self.0[usize::from(probe / PROBES_A_WORD)];
        let place = (word >> (9 * (probe % PROBES_A_WORD))) as u32;
        ((place / 64 % 8) as usize, place % 64)
    }
}

/// A filter in memory.
pub(super) struct Bloom {
    lines: Vec<Line>,
    probes: u8,
}

/// Size of what [`encode`] makes.
pub(super) fn encoded_bytes(keys: usize, bits_per_key: f32) -> usize {
    HEADER_BYTES + lines(keys, bits_per_key) * LINE_BYTES
}

/// The content of a filter of these keys.
///
/// | bytes | field                                     |
/// |-------|-------------------------------------------|
/// | 0     | algorithm: 1 = Bloom                      |
/// | 1     | probes a key, 1 to 14                     |
/// | 2..8  | zero                                      |
/// | 8..16 | keys                                      |
/// | 16..  | lines of 64 bytes, the lowest bit first   |
pub(super) fn encode(hashes: &[KeyHash], bits_per_key: f32) -> Vec<u8> {
    let mut filter =
        Bloom { lines: vec![Line([0; 8]); lines(hashes.len(), bits_per_key)], probes: probes(bits_per_key) };
    for &hash in hashes {
        let line = filter.line_of(hash);
        let places = Places::of(hash);
        for probe in 0..filter.probes {
            let (word, bit) = places.at(probe);
            filter.lines[line].0[word] |= 1 << bit;
        }
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + filter.lines.len() * LINE_BYTES);
    bytes.extend_from_slice(&[ALGORITHM, filter.probes, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&(hashes.len() as u64).to_le_bytes());
    bytes.extend(filter.lines.iter().flat_map(|line| line.0).flat_map(u64::to_le_bytes));
    bytes
}

fn lines(keys: usize, bits_per_key: f32) -> usize {
    let lines = keys as f64 * f64::from(bits_per_key) / LINE_BITS;
    (lines as usize).saturating_add(1).min(MAX_LINES)
}

/// What makes false positives about as rare as can be. A line that has more keys than others wants fewer
/// probes than `bits * ln 2`, the best of a filter without lines.
fn probes(bits_per_key: f32) -> u8 {
    ((bits_per_key / 2.0 + 1.5) as u8).clamp(1, MAX_PROBES)
}

impl Bloom {
    /// Reads what [`encode`] made.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub(super) fn decode(bytes: &[u8]) -> Result<Bloom, Corruption> {
        const OUT_OF_BOUNDS: Corruption = Corruption("a Bloom filter's parameters are out of bounds");
        let mut fields = Reader::new(bytes);
        let (algorithm, probes, zero) = (fields.u8()?, fields.u8()?, fields.array()?);
        let _keys = fields.u64()?;
        let (lines, rest) = fields.bytes(fields.remaining())?.as_chunks::<LINE_BYTES>();
        if algorithm != ALGORITHM || zero != [0_u8; 6] || !(1..=MAX_PROBES).contains(&probes) {
            return Err(OUT_OF_BOUNDS);
        }
        if lines.is_empty() || !rest.is_empty() {
            return Err(OUT_OF_BOUNDS);
        }
        let line = |line: &[u8; LINE_BYTES]| {
            let words = line.as_chunks::<8>().0;
            Line(core::array::from_fn(|word| u64::from_le_bytes(words[word])))
        };
        Ok(Bloom { lines: lines.iter().map(line).collect(), probes })
    }

    /// `false`: no such key was added.
    #[inline]
    pub(super) fn may_contain(&self, hash: KeyHash) -> bool {
        let line = &self.lines[self.line_of(hash)];
        let places = Places::of(hash);
        let mut all = 1;
        for probe in 0..self.probes {
            let (word, bit) = places.at(probe);
            all &= line.0[word] >> bit;
        }
        all & 1 == 1
    }

    #[inline]
    fn line_of(&self, hash: KeyHash) -> usize {
        place(hash.0, self.lines.len() as u64) as usize
    }

    /// Size in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        self.lines.capacity() * LINE_BYTES
    }
}
