//! The checksum of an entry: made when it is applied, and with it from the memtable through every table, so that what
//! changed it in memory is noticed. Layout: `docs/format.md` §4.1.

use super::Entry;
use crate::{
    error::{Error, ErrorKind, Result},
    key::ValueKind,
};
use alloc::{format, vec::Vec};
use core::ops::Bound;
use twox_hash::XxHash3_64;

/// Of what was done to a key with which bytes, but not of the number: a version that every view sees may lose it.
///
/// The low half of XXH3-64 of the value, seeded by XXH3-64 of the key, seeded by the kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryChecksum(pub u32);

/// A value, and the checksum that its entry was held against, if there is one.
pub type CheckedValue<'a> = (&'a [u8], Option<EntryChecksum>);

impl EntryChecksum {
    /// Computes it.
    pub fn of(kind: ValueKind, key: &[u8], value: &[u8]) -> EntryChecksum {
        let seed = XxHash3_64::oneshot_with_seed(kind as u64, key);
        EntryChecksum(XxHash3_64::oneshot_with_seed(seed, value) as u32)
    }

    /// Says whether an entry is what it was.
    ///
    /// # Errors
    ///
    /// `Corruption`, naming key, number and both checksums; it stands for the key.
    pub fn check(self, entry: Entry<'_>, value: &[u8]) -> Result<()> {
        let found = EntryChecksum::of(entry.kind, entry.key, value);
        if found == self {
            return Ok(());
        }
        let (key, seqno) = (entry.key.escape_ascii(), entry.seqno);
        let message = format!(
            "the entry of key \"{key}\" numbered {seqno} has the checksum {:08x}, not {:08x}: it changed in memory",
            found.0, self.0
        );
        let here = || Bound::Included(Vec::from(entry.key));
        Err(Error::new(ErrorKind::Corruption, message).over_keys((here(), here())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Documented in `docs/format.md` §4.1: change both or neither.
    #[test]
    fn the_checksum_is_as_documented() {
        assert_eq!(EntryChecksum::of(ValueKind::Put, b"apple", b"red"), EntryChecksum(0xC35B_6DFF));
    }

    #[test]
    fn every_bit_counts() {
        let of = |kind, key: &[u8], value: &[u8]| EntryChecksum::of(kind, key, value);
        let sound = of(ValueKind::Put, b"apple", b"red");

        for bit in 0..8 * 8 {
            let mut bytes = *b"applered";
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(of(ValueKind::Put, &bytes[..5], &bytes[5..]), sound, "bit {bit}");
        }
        assert_ne!(of(ValueKind::Delete, b"apple", b"red"), sound);
        assert_ne!(of(ValueKind::Put, b"appler", b"ed"), sound);
        assert_ne!(of(ValueKind::Put, b"a", b""), of(ValueKind::Put, b"b", b""));
    }
}
