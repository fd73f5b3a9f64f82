//! Membership of user keys: a Bloom filter (Bloom 1970), resident while its table is open.
//!
//! One 64-bit hash of a key gives all its probes by double hashing (Kirsch, Mitzenmacher 2006).
//! Layout: `docs/format.md` §4.3.

use crate::codec::{Corruption, Reader, digest};
use alloc::vec::Vec;

const BLOOM: u8 = 1;
const HEADER_BYTES: usize = 16;
const WORD_BYTES: u64 = 8;
const MAX_PROBES: u8 = 30;
/// So that a section holds the filter: 2 GiB.
const MAX_WORDS: u64 = 1 << 28;

/// The hash of a user key; one serves the filters of all tables that a read visits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyHash(u64);

impl KeyHash {
    /// Of a user key. Never changes: filters on disk are built with it.
    pub fn of(key: &[u8]) -> KeyHash {
        KeyHash(digest(key))
    }

    /// The bits of a filter of `bits` bits that belong to the key.
    fn probes(self, count: u8, bits: u64) -> impl Iterator<Item = u64> {
        // Odd, and unlike the hash in its upper half, which alone decides where a probe lands.
        let step = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32) | 1;
        let mut hash = self.0;
        (0..count).map(move |_| {
            let bit = (u128::from(hash) * u128::from(bits)) >> 64;
            hash = hash.wrapping_add(step);
            u64::try_from(bit).expect("a product's upper half fits")
        })
    }
}

/// Collects the keys of a table.
pub(super) struct FilterBuilder {
    hashes: Vec<KeyHash>,
    bits_per_key: f32,
}

impl FilterBuilder {
    pub(super) fn new(bits_per_key: f32) -> FilterBuilder {
        FilterBuilder { hashes: Vec::new(), bits_per_key }
    }

    /// Adds a key. Equal keys are better added once.
    pub(super) fn add(&mut self, key: &[u8]) {
        self.hashes.push(KeyHash::of(key));
    }

    /// About the size of [`FilterBuilder::finish`].
    pub(super) fn estimated_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.words() * WORD_BYTES
    }

    /// The content of the filter block.
    ///
    /// | bytes | field                                                    |
    /// |-------|----------------------------------------------------------|
    /// | 0     | algorithm: 1 = Bloom                                     |
    /// | 1     | probes a key, 1 to 30                                    |
    /// | 2..8  | zero                                                     |
    /// | 8..16 | keys                                                     |
    /// | 16..  | bits, a multiple of 64 of them, the lowest of a byte first |
    ///
    /// Probe `i` of a key with hash `h` (XXH3-64) looks at bit `((h + i * step) mod 2^64) * bits / 2^64`,
    /// where `step` is `h * 0x9E3779B97F4A7C15 mod 2^64`, rotated by 32, with its lowest bit set.
    pub(super) fn finish(&self) -> Vec<u8> {
        let words = self.words();
        let bits = words * 64;
        let probes = self.probes();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + to_index(words * WORD_BYTES));
        bytes.extend_from_slice(&[BLOOM, probes, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&(self.hashes.len() as u64).to_le_bytes());
        bytes.resize(HEADER_BYTES + to_index(words * WORD_BYTES), 0);
        let array = &mut bytes[HEADER_BYTES..];
        for hash in &self.hashes {
            for bit in hash.probes(probes, bits) {
                array[to_index(bit / 8)] |= 1 << (bit % 8);
            }
        }
        bytes
    }

    fn words(&self) -> u64 {
        let bits = self.hashes.len() as f64 * f64::from(self.bits_per_key);
        (bits as u64).div_ceil(64).clamp(1, MAX_WORDS)
    }

    /// `bits_per_key * ln 2`, rounded: what makes false positives rarest.
    fn probes(&self) -> u8 {
        ((self.bits_per_key * core::f32::consts::LN_2 + 0.5) as u8).clamp(1, MAX_PROBES)
    }
}

/// A filter in memory.
pub(super) struct Filter {
    bytes: Vec<u8>,
    probes: u8,
    bits: u64,
}

impl Filter {
    /// Reads the content of a filter block.
    ///
    /// # Errors
    ///
    /// It is no filter of this format.
    pub(super) fn decode(bytes: Vec<u8>) -> Result<Filter, Corruption> {
        let mut fields = Reader::new(&bytes);
        let algorithm = fields.u8()?;
        let probes = fields.u8()?;
        let zero: [u8; 6] = fields.array()?;
        let _keys = fields.u64()?;
        let array_bytes = fields.remaining() as u64;
        if algorithm != BLOOM || zero != [0; 6] {
            return Err(Corruption("unknown kind of filter"));
        }
        if probes == 0 || probes > MAX_PROBES || array_bytes == 0 || !array_bytes.is_multiple_of(WORD_BYTES) {
            return Err(Corruption("a filter's parameters are out of bounds"));
        }
        Ok(Filter { bytes, probes, bits: array_bytes * 8 })
    }

    /// `false`: the table holds no version of the key.
    pub(super) fn may_contain(&self, hash: KeyHash) -> bool {
        let array = &self.bytes[HEADER_BYTES..];
        hash.probes(self.probes, self.bits).all(|bit| array[to_index(bit / 8)] & (1 << (bit % 8)) != 0)
    }

    /// Size in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

fn to_index(position: u64) -> usize {
    usize::try_from(position).expect("a filter is in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter_of(keys: u32, bits_per_key: f32) -> Filter {
        let mut builder = FilterBuilder::new(bits_per_key);
        (0..keys).for_each(|key| builder.add(&key.to_be_bytes()));
        let bytes = builder.finish();
        assert_eq!(bytes.len() as u64, builder.estimated_bytes());
        Filter::decode(bytes).unwrap()
    }

    #[test]
    fn every_key_that_was_added_may_be_contained() {
        for keys in [1, 2, 63, 1_000] {
            let filter = filter_of(keys, 10.0);

            assert!((0..keys).all(|key| filter.may_contain(KeyHash::of(&key.to_be_bytes()))), "{keys} keys");
        }
    }

    #[test]
    fn false_positives_are_as_rare_as_the_bits_allow() {
        const PROBED: u32 = 200_000;
        for (bits_per_key, at_most) in [(5.0, 0.10), (10.0, 0.0105), (16.0, 0.0010)] {
            let filter = filter_of(50_000, bits_per_key);

            let hits = (0..PROBED).filter(|i| filter.may_contain(KeyHash::of(&(i + 50_000).to_be_bytes())));

            let rate = hits.count() as f64 / f64::from(PROBED);
            assert!(rate <= at_most, "{bits_per_key} bits a key: {rate}");
        }
    }

    #[test]
    fn foreign_bytes_are_no_filter() {
        let good = FilterBuilder::new(10.0).finish();

        for (at, byte) in [(0, 2), (1, 0), (1, 31), (2, 1)] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert!(Filter::decode(bytes).is_err(), "byte {at} = {byte}");
        }
        assert!(Filter::decode(good[..HEADER_BYTES].into()).is_err());
        assert!(Filter::decode(good[..HEADER_BYTES + 4].into()).is_err());
    }
}
