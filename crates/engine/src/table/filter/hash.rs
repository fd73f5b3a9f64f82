//! The hash that all filters share, and what they make of it.

use crate::codec::digest;

/// The hash of a user key; one serves the filters of all tables that a read visits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyHash(pub(super) u64);

impl KeyHash {
    /// Of a user key. Never changes: filters on disk are built with it.
    pub fn of(key: &[u8]) -> KeyHash {
        KeyHash(digest(key))
    }
}

/// `hash * range / 2^64`: a place below `range`, decided by the upper bits of the hash (Lemire 2019).
pub(super) fn place(hash: u64, range: u64) -> u64 {
    ((u128::from(hash) * u128::from(range)) >> 64) as u64
}

/// Both halves of the product of 128 bits, added without carry: each bit depends on all bits of `word`.
pub(super) fn fold(word: u64, factor: u64) -> u64 {
    let product = u128::from(word) * u128::from(factor);
    product as u64 ^ (product >> 64) as u64
}
