//! Checksums bound to the place they lie at, so that a misplaced or stale copy does not pass.

use crate::types::Uuid;
use twox_hash::XxHash3_64;

/// What a file's checksums are mixed with; derived from its uuid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Salt(u64);

impl Salt {
    /// The salt of the file with this uuid.
    pub fn of(uuid: Uuid) -> Salt {
        Salt(digest(&uuid.0))
    }

    /// Spreads file and offset over 64 bits (the finalizer of SplitMix64; Steele, Lea, Flood 2014).
    fn mix(self, offset: u64) -> u64 {
        let mut z = self.0 ^ offset.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The salt under which `bytes` at `offset` have this checksum: there is exactly one. It tells nothing by
    /// itself, but under the right salt other checksums hold too.
    pub(super) fn under_which(bytes: &[u8], checksum: Checksum, offset: u64) -> Salt {
        // `mix`, backwards; the factors are inverse to those above modulo 2^64.
        let mut z = digest(bytes) ^ checksum.0;
        z ^= (z >> 31) ^ (z >> 62);
        z = z.wrapping_mul(0x3196_42B2_D24D_8EC3);
        z ^= (z >> 27) ^ (z >> 54);
        z = z.wrapping_mul(0x96DE_1B17_3F11_9089);
        z ^= (z >> 30) ^ (z >> 60);
        Salt(z ^ offset.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// `xxh3_64(bytes) XOR mix(file salt, file offset)`.
///
/// A copy elsewhere is bound anew in O(1) by [`Checksum::rebind`] after the old binding was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checksum(pub u64);

impl Checksum {
    /// Of bytes at `offset` of the file with this salt.
    pub fn of(bytes: &[u8], salt: Salt, offset: u64) -> Checksum {
        Checksum(digest(bytes) ^ salt.mix(offset))
    }

    /// The checksum of the same bytes at another place.
    #[must_use]
    pub fn rebind(self, from: (Salt, u64), to: (Salt, u64)) -> Checksum {
        Checksum(self.0 ^ from.0.mix(from.1) ^ to.0.mix(to.1))
    }
}

/// XXH3-64 of bytes, unbound.
pub fn digest(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_holds_at_its_place_only() {
        let (here, there) = (Salt::of(Uuid([1; 16])), Salt::of(Uuid([2; 16])));
        let sum = Checksum::of(b"block", here, 64);

        assert_ne!(sum, Checksum::of(b"block", here, 72));
        assert_ne!(sum, Checksum::of(b"block", there, 64));
        assert_eq!(Salt::under_which(b"block", sum, 64), here);
        assert_eq!(sum.rebind((here, 64), (there, 72)), Checksum::of(b"block", there, 72));
    }
}
