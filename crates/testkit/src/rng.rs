//! Random choices that can be repeated: a seed is printed with every run, and one variable replays it.

use std::{
    collections::hash_map::RandomState,
    env,
    hash::{BuildHasher, Hasher},
};

/// A sequence of choices: SplitMix64 (Steele, Lea, Flood 2014). The same seed makes the same ones.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below `end`.
    ///
    /// # Panics
    ///
    /// If `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "there is no number below 0");
        (self.word() % end as u64) as usize
    }

    /// True once in `times`, on average.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of the items.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.word() as u8).collect()
    }

    /// Another sequence, which depends on this one.
    #[must_use]
    pub fn fork(&mut self) -> Rng {
        Rng(self.word())
    }
}

/// Seeds for the rounds of a random test: `ISOPACH_SEED` alone if it is set, else `rounds` fresh ones. Each
/// is printed as it is taken, so that the last one before a failure replays it. `ISOPACH_ROUNDS` multiplies
/// them.
pub fn seeds(rounds: u64) -> impl Iterator<Item = u64> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let fixed = number("ISOPACH_SEED");
    let rounds = if fixed.is_some() { 1 } else { rounds * number("ISOPACH_ROUNDS").unwrap_or(1) };
    (0..rounds).map(move |round| {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(round);
        let seed = fixed.unwrap_or_else(|| hasher.finish() >> 16); // Short enough to copy.
        eprintln!("ISOPACH_SEED={seed} replays this round");
        seed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_one_sequence() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (rng.word(), rng.below(1000), rng.bytes(3))
        };

        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_number_below_the_end_comes() {
        let mut rng = Rng::new(1);
        let mut seen = [false; 5];

        for _ in 0..200 {
            seen[rng.below(5)] = true;
        }

        assert_eq!(seen, [true; 5]);
    }
}
