//! What stands in for Zstandard where it is not compiled in: nothing is compressed, and what is cannot be read.

use super::Corruption;
use alloc::vec::Vec;
use core::convert::Infallible;

const ABSENT: Corruption = Corruption("Zstandard is not compiled in: enable feature `zstd`");

/// Does not compress.
pub(super) fn compress(_raw: &[u8], _level: i8) -> Option<Vec<u8>> {
    None
}

/// Always an error.
pub(super) fn decompress(_stored: &[u8], _raw_bytes: usize) -> Result<Vec<u8>, Corruption> {
    Err(ABSENT)
}

/// There is none.
pub(super) struct Reading(Infallible);

impl Reading {
    pub(super) fn new(_content: &[u8]) -> Result<Reading, Corruption> {
        Err(ABSENT)
    }

    pub(super) fn decompress(&self, _stored: &[u8], _raw_bytes: usize) -> Result<Vec<u8>, Corruption> {
        match self.0 {}
    }

    pub(super) fn resident_bytes(&self) -> usize {
        match self.0 {}
    }
}

/// There is none.
pub(super) struct Writing(Infallible);

impl Writing {
    pub(super) fn new(_content: &[u8], _level: i8) -> Option<Writing> {
        None
    }

    pub(super) fn compress(&self, _raw: &[u8]) -> Option<Vec<u8>> {
        match self.0 {}
    }
}

/// Trains nothing.
pub(super) fn train(_samples: &[u8], _lengths: &[usize], _bytes: usize) -> Option<Vec<u8>> {
    None
}
