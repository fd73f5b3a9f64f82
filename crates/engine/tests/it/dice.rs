//! Random numbers of a seed, and tests that run with many.

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `below`.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.roll() % below
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[usize::try_from(self.below(from.len() as u64)).unwrap()])
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.roll() as u8).collect()
    }

    /// A key of at most three bytes of a small alphabet, the empty one among them.
    pub(crate) fn key(&mut self) -> Vec<u8> {
        (0..self.below(4)).map(|_| *self.pick(b"\0ab\xff").unwrap()).collect()
    }
}

/// Runs a test with the seeds from 1 on, or with that of `ISOPACH_SEED`. A failure names its seed.
pub(crate) fn with_seeds(runs: u64, test: impl Fn(&mut Dice)) {
    struct Tell(u64);
    impl Drop for Tell {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("replay with ISOPACH_SEED={} cargo test -p isopach-engine --test it", self.0);
            }
        }
    }
    let seeds = match std::env::var("ISOPACH_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("ISOPACH_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 1..runs + 1,
    };
    for seed in seeds {
        let tell = Tell(seed);
        test(&mut Dice(seed));
        drop(tell);
    }
}
