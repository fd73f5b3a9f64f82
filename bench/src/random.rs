//! Numbers that look random and are the same for the same seed: a generator, a permutation that needs no
//! memory, and the skewed choice of YCSB.

/// Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014 (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random { state: mix(seed) }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// Of `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        scale(self.next(), bound)
    }

    /// Of `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A bijection of `u64` in which every bit of the input reaches every bit of the output.
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Maps the whole of `u64` to `0..bound` evenly.
fn scale(number: u64, bound: u64) -> u64 {
    ((u128::from(number) * u128::from(bound)) >> 64) as u64
}

/// A random-looking bijection of `0..count`: Black and Rogaway's generalised Feistel network ("Ciphers with
/// Arbitrary Finite Domains", 2002) over a grid hardly larger than `count`; what falls outside walks on until
/// it is inside.
#[derive(Clone, Debug)]
pub struct Permutation {
    count: u64,
    columns: u64,
    rows: u64,
    seeds: [u64; 4],
}

impl Permutation {
    pub fn new(count: u64, seed: u64) -> Permutation {
        assert!(count > 0, "a permutation of nothing");
        let columns = (count as f64).sqrt().ceil() as u64;
        let mut random = Random::new(seed);
        let seeds = std::array::from_fn(|_| random.next());
        Permutation { count, columns, rows: count.div_ceil(columns), seeds }
    }

    /// The image of `index`.
    pub fn at(&self, index: u64) -> u64 {
        assert!(index < self.count, "{index} is not below {}", self.count);
        let mut image = self.once(index);
        while image >= self.count {
            image = self.once(image);
        }
        image
    }

    fn once(&self, index: u64) -> u64 {
        let (mut row, mut column) = (index / self.columns, index % self.columns);
        for seeds in self.seeds.chunks_exact(2) {
            column = add(column, scale(mix(row ^ seeds[0]), self.columns), self.columns);
            row = add(row, scale(mix(column ^ seeds[1]), self.rows), self.rows);
        }
        row * self.columns + column
    }
}

/// Modulo `bound`, of two numbers below it.
fn add(left: u64, right: u64, bound: u64) -> u64 {
    let sum = left + right;
    if sum >= bound { sum - bound } else { sum }
}

/// Ranks of `0..count`, 0 the likeliest: Gray and others, "Quickly Generating Billion-Record Synthetic
/// Databases", SIGMOD 1994, as YCSB's `ZipfianGenerator` has it. YCSB scatters ranks over the records by a
/// hash; the workloads here do it by a [`Permutation`], which lets no two ranks share a record.
#[derive(Clone, Debug)]
pub struct Zipfian {
    count: f64,
    zeta: f64,
    eta: f64,
    alpha: f64,
}

/// YCSB's constant.
pub const THETA: f64 = 0.99;

impl Zipfian {
    /// Takes time proportional to `count`.
    pub fn new(count: u64) -> Zipfian {
        assert!(count > 1, "a skewed choice needs two things to choose from");
        let zeta = (1..=count).map(|rank| (rank as f64).powf(-THETA)).sum::<f64>();
        let zeta_of_2 = 1.0 + 0.5_f64.powf(THETA);
        let count = count as f64;
        let eta = (1.0 - (2.0 / count).powf(1.0 - THETA)) / (1.0 - zeta_of_2 / zeta);
        Zipfian { count, zeta, eta, alpha: 1.0 / (1.0 - THETA) }
    }

    pub fn next(&self, random: &mut Random) -> u64 {
        let unit = random.unit();
        let share = unit * self.zeta;
        if share < 1.0 {
            return 0;
        }
        if share < 1.0 + 0.5_f64.powf(THETA) {
            return 1;
        }
        let rank = self.count * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count as u64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutation_is_a_bijection_that_scatters() {
        for count in [1, 2, 3, 7, 16, 1000, 65_537] {
            let permutation = Permutation::new(count, 5);

            let images: Vec<u64> = (0..count).map(|index| permutation.at(index)).collect();

            let mut sorted = images.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..count).collect::<Vec<_>>());
            if count >= 1000 {
                let ascending = images.windows(2).filter(|pair| pair[0] < pair[1]).count() as f64;
                assert!((ascending / count as f64 - 0.5).abs() < 0.05, "{ascending} of {count} pairs ascend");
            }
        }
    }

    #[test]
    fn permutations_of_two_seeds_differ() {
        let (first, second) = (Permutation::new(1000, 1), Permutation::new(1000, 2));

        let same = (0..1000).filter(|&index| first.at(index) == second.at(index)).count();

        assert!(same < 10, "{same} of 1000 images are the same");
    }

    #[test]
    fn zipfian_has_the_shape_of_its_formula() {
        const DRAWS: usize = 200_000;
        let zipfian = Zipfian::new(1000);
        let mut random = Random::new(3);

        let mut counts = [0_usize; 1000];
        (0..DRAWS).for_each(|_| counts[zipfian.next(&mut random) as usize] += 1);

        let share = |rank: usize| counts[rank] as f64 / DRAWS as f64;
        for rank in [0, 1] {
            let expected = ((rank + 1) as f64).powf(-THETA) / zipfian.zeta;
            assert!((share(rank) - expected).abs() < 0.01, "rank {rank}: {} not {expected}", share(rank));
        }
        let upper_half: usize = counts[500..].iter().sum();
        let expected = (501..=1000).map(|rank| f64::from(rank).powf(-THETA)).sum::<f64>() / zipfian.zeta;
        assert!((upper_half as f64 / DRAWS as f64 - expected).abs() < 0.01, "{upper_half} not {expected}");
        assert!(counts.iter().all(|&count| count > 0));
    }
}
