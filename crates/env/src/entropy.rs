//! Random bytes.

use crate::error::IoResult;
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// Random bytes. For real stores: the operating system's, never a seeded generator.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out`.
    ///
    /// # Errors
    ///
    /// The source failed; `out` may hold anything and must not be used.
    fn fill(&self, out: &mut [u8]) -> IoResult<()>;
}

impl fmt::Debug for dyn Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entropy").finish_non_exhaustive()
    }
}

/// The same bytes for the same seed, for tests that replay. Not a secret source.
///
/// SplitMix64 (Steele, Lea, Flood 2014). Threads that share it get disjoint parts of its sequence; which one
/// gets which part depends on their timing.
#[derive(Debug)]
pub struct SeededEntropy {
    /// A counter that each word of output moves one step.
    state: AtomicU64,
}

impl SeededEntropy {
    /// Odd, so that the state visits every value before it repeats.
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> SeededEntropy {
        SeededEntropy { state: AtomicU64::new(seed) }
    }

    /// The next 64 bits.
    pub(crate) fn next_word(&self) -> u64 {
        let mut word = self.state.fetch_add(Self::STEP, Ordering::Relaxed).wrapping_add(Self::STEP);
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) -> IoResult<()> {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_word().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(seed: u64) -> [u8; 20] {
        let mut out = [0; 20];
        SeededEntropy::new(seed).fill(&mut out).expect("never fails");
        out
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        assert_eq!(bytes_of(7), bytes_of(7));
        assert_ne!(bytes_of(7), bytes_of(8));
    }

    #[test]
    fn the_sequence_is_that_of_splitmix64() {
        let entropy = SeededEntropy::new(0);
        assert_eq!(entropy.next_word(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(entropy.next_word(), 0x6E78_9E6A_A1B9_65F4);
    }
}
