//! Values: half compressible, different for every record, and checkable without storing them.

use crate::random::{Random, mix};

/// Bytes of a value that tell whose it is.
pub const TAG_BYTES: usize = 8;

/// Bytes that values are cut from. Large, so that two values of one block hardly ever share a part.
const POOL_BYTES: usize = 1 << 20;

/// As in db_bench: pieces of 100 bytes whose second half repeats the first.
const PIECE_BYTES: usize = 100;

/// The values of a run: 8 bytes that tell the record, then a cut of a pool.
#[derive(Debug)]
pub struct Values {
    pool: Vec<u8>,
    value_bytes: usize,
}

impl Values {
    /// # Panics
    ///
    /// If a value has no room for its tag.
    pub fn new(value_bytes: usize, seed: u64) -> Values {
        assert!(value_bytes >= TAG_BYTES, "a value of {value_bytes} bytes");
        let mut random = Random::new(seed);
        let pool_bytes = POOL_BYTES.max(2 * value_bytes);
        let mut pool = Vec::with_capacity(pool_bytes + PIECE_BYTES);
        while pool.len() < pool_bytes {
            let half: [u8; PIECE_BYTES / 2] = std::array::from_fn(|_| b' ' + random.below(95) as u8);
            pool.extend_from_slice(&half);
            pool.extend_from_slice(&half);
        }
        Values { pool, value_bytes }
    }

    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Puts the value of a record into `value`. Every `version` has other bytes behind the tag.
    pub fn write(&self, record: u64, version: u64, value: &mut Vec<u8>) {
        let offsets = (self.pool.len() - self.value_bytes) as u64;
        let offset = (mix(record ^ version.rotate_left(32)) % offsets) as usize;
        value.clear();
        value.extend_from_slice(&self.pool[offset..offset + self.value_bytes]);
        value[..TAG_BYTES].copy_from_slice(&tag(record).to_le_bytes());
    }

    /// Whether `value` is one of this record's, as far as its length and tag tell.
    pub fn is_of(&self, record: u64, value: &[u8]) -> bool {
        value.len() == self.value_bytes && tag_in(value) == tag(record)
    }
}

/// What the value of a record begins with.
pub fn tag(record: u64) -> u64 {
    mix(record ^ 0x1509_AC4D_15C0_7EA1)
}

/// The tag that `value` has; 0 if it is too short for one.
pub fn tag_in(value: &[u8]) -> u64 {
    value.first_chunk::<TAG_BYTES>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_belongs_to_its_record_alone() {
        let values = Values::new(100, 1);
        let mut value = Vec::new();
        for record in 0..1000 {
            values.write(record, 0, &mut value);

            assert!(values.is_of(record, &value));
            assert!(!values.is_of(record + 1, &value));
            assert!(!values.is_of(record, &value[..99]));
        }
    }

    #[test]
    fn versions_differ_behind_the_tag() {
        let values = Values::new(100, 1);
        let (mut old, mut new) = (Vec::new(), Vec::new());

        values.write(7, 0, &mut old);
        values.write(7, 1, &mut new);

        assert_eq!(old[..TAG_BYTES], new[..TAG_BYTES]);
        assert_ne!(old[TAG_BYTES..], new[TAG_BYTES..]);
    }

    #[test]
    fn half_of_a_value_repeats() {
        let values = Values::new(1000, 1);
        let mut value = Vec::new();
        values.write(1, 0, &mut value);

        let repeats = (58..1000).filter(|&at| value[at] == value[at - 50]).count();

        assert!((400..600).contains(&repeats), "{repeats} of 942 bytes repeat what is 50 bytes before");
    }
}
