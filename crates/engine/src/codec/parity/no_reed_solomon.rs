//! Without feature `parity` there is no Reed-Solomon: files with it are read, and not corrected.

use super::layout::Shards;
use alloc::vec::Vec;

pub(super) const IS_AVAILABLE: bool = false;

/// Makes no shards.
pub(super) struct Encoder;

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder
    }

    #[expect(clippy::unused_self, reason = "the same as with the feature")]
    pub(super) fn encode(&mut self, _: Shards, _: &[u8], _: &mut dyn FnMut(&[u8])) {
        unreachable!("a scheme that is not available is refused before anything is written");
    }
}

/// Whether anything was restored: nothing.
pub(super) fn restore(_: Shards, _: &mut [u8], _: &[usize], _: &[(usize, Vec<u8>)]) -> bool {
    false
}
