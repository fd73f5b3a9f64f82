//! Whether a filter is worth asking. One that denies no key costs a wait for memory and saves nothing: of a table
//! at the bottom whose keys are all looked for because they are there.

use super::KeyHash;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Of so many keys one is asked about in any case, to see whether things have changed.
const SAMPLE: u64 = 16;

/// So many such keys in a row that a filter did not deny, and it is worth nothing. One in a thousand that it could deny,
/// each of which costs a read from a disk, would cost as much as asking does.
const ENOUGH: u32 = 512;

/// What a filter was good for lately. Shared by threads; a count that is lost does no harm.
#[derive(Default)]
pub(in crate::table) struct Worth {
    /// Keys of the sample that were not denied since the last one that was, up to [`ENOUGH`].
    let_through: AtomicU32,
    /// Keys of the sample that were denied.
    denied: AtomicU32,
}

impl Worth {
    /// Whether to ask the filter about a key.
    #[inline]
    pub(in crate::table) fn is_worth_asking(&self, hash: KeyHash) -> bool {
        self.let_through.load(Relaxed) < ENOUGH || is_sample(hash)
    }

    /// About how many keys were denied.
    pub(in crate::table) fn denied(&self) -> u64 {
        u64::from(self.denied.load(Relaxed)) * SAMPLE
    }

    /// Notes what the filter said of a key.
    #[inline]
    pub(in crate::table) fn note(&self, hash: KeyHash, is_denied: bool) {
        if is_sample(hash) {
            let before = self.let_through.load(Relaxed);
            let after = if is_denied { 0 } else { ENOUGH.min(before + 1) };
            if is_denied {
                self.denied.store(self.denied.load(Relaxed).saturating_add(1), Relaxed);
            }
            // Mostly it is as it was, and its line stays with all who read it.
            if after != before {
                self.let_through.store(after, Relaxed);
            }
        }
    }
}

/// By bits of the hash that choose no place in a filter.
fn is_sample(hash: KeyHash) -> bool {
    hash.0.is_multiple_of(SAMPLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers about keys with these hashes; how many of them were asked for.
    fn ask(worth: &Worth, hashes: core::ops::Range<u64>, is_denied: bool) -> u64 {
        let mut asked = 0;
        for hash in hashes.map(KeyHash) {
            if worth.is_worth_asking(hash) {
                worth.note(hash, is_denied);
                asked += 1;
            }
        }
        asked
    }

    #[test]
    fn a_filter_that_denies_nothing_is_asked_about_a_sample_only() {
        let worth = Worth::default();
        let enough = SAMPLE * u64::from(ENOUGH);

        assert_eq!(ask(&worth, 0..enough, false), enough - SAMPLE + 1);
        assert_eq!(ask(&worth, 0..1600, false), 100);
    }

    #[test]
    fn a_filter_that_denies_a_key_of_the_sample_is_asked_about_all_again() {
        let worth = Worth::default();
        ask(&worth, 0..SAMPLE * u64::from(ENOUGH), false);

        assert_eq!(ask(&worth, 1..SAMPLE + 1, true), 1);

        assert_eq!(ask(&worth, 0..1600, false), 1600);
    }

    #[test]
    fn a_filter_that_denies_now_and_then_is_asked_about_all() {
        let worth = Worth::default();
        for _ in 0..20 {
            assert_eq!(ask(&worth, 0..SAMPLE * 400, false), SAMPLE * 400);
            assert_eq!(ask(&worth, 0..1, true), 1);
        }
    }
}
