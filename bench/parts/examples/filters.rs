//! Bloom filters beside BuRR, in one run: what building and probing take, how large they are, and what passes
//! wrongly.
//!
//! ```text
//! cargo run --release -p isopach-parts --example filters -- [--rounds N]
//! ```
//!
//! Keys are random, and probed in random order. In *one by one* each probe waits for the answer of the one
//! before; in the other columns the core overlaps them as far as it can. Each round does everything with all,
//! in turn; the table shows medians.

use isopach::engine::table::{
    FilterKind, FilterOptions, KeyHash,
    filter::{Filter, FilterBuilder},
};
use std::{env, hint::black_box, time::Instant};

const SIZES: [u64; 2] = [1 << 16, 1 << 20];
const PROBES: u64 = 1 << 20;
const SUBJECTS: [FilterOptions; 5] = [
    FilterOptions { kind: FilterKind::Bloom, bits_per_key: 10.0 },
    FilterOptions { kind: FilterKind::Bloom, bits_per_key: 12.0 },
    FilterOptions { kind: FilterKind::Burr, bits_per_key: 7.0 },
    FilterOptions { kind: FilterKind::Burr, bits_per_key: 8.0 },
    FilterOptions { kind: FilterKind::Burr, bits_per_key: 10.0 },
];

/// Scrambles a number, each to another one (splitmix64).
fn scrambled(n: u64) -> u64 {
    let mut word = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

fn hash(n: u64) -> KeyHash {
    KeyHash::of(&scrambled(n).to_be_bytes())
}

/// Nanoseconds for each of `count`.
fn timed(count: u64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / count as f64
}

/// What one round finds.
struct Round {
    build: f64,
    hit: f64,
    miss: f64,
    one_by_one: f64,
    bits_per_key: f64,
    passes: f64,
}

fn measure(options: FilterOptions, keys: u64, hits: &[KeyHash], misses: &[KeyHash]) -> Round {
    let hashes: Vec<KeyHash> = (0..keys).map(hash).collect();
    let mut content = Vec::new();
    let build = timed(keys, || {
        let mut builder = FilterBuilder::new(options);
        hashes.iter().for_each(|&hash| builder.add(hash));
        content = builder.finish();
    });
    let filter = Filter::decode(&content).expect("just built");
    let mut passed = 0;
    let probe = |hashes: &[KeyHash], passed: &mut u64| {
        timed(hashes.len() as u64, || {
            *passed = hashes.iter().map(|&hash| u64::from(black_box(filter.may_contain(hash)))).sum();
        })
    };
    let hit = probe(hits, &mut passed);
    assert_eq!(passed, hits.len() as u64, "no key that was added is denied");
    let miss = probe(misses, &mut passed);
    let one_by_one = timed(PROBES - 1, || {
        let mut next = 0;
        for at in 0..misses.len() - 1 {
            next = usize::from(black_box(filter.may_contain(misses[at + next])));
        }
    });
    let bits_per_key = content.len() as f64 * 8.0 / keys as f64;
    Round { build, hit, miss, one_by_one, bits_per_key, passes: passed as f64 / misses.len() as f64 }
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let rounds = match &*arguments {
        [] => 9,
        [name, rounds] if name == "--rounds" => rounds.parse().expect("a number of rounds"),
        _ => panic!("filters [--rounds N]"),
    };
    println!(
        "|    keys | filter      | build, ns | hit, ns | miss, ns | one by one, ns | bits a key | pass wrongly |"
    );
    println!(
        "|--------:|-------------|----------:|--------:|---------:|---------------:|-----------:|-------------:|"
    );
    for keys in SIZES {
        let hits: Vec<KeyHash> = (0..PROBES).map(|n| hash(scrambled(n) % keys)).collect();
        let misses: Vec<KeyHash> = (0..PROBES).map(|n| hash(keys + n)).collect();
        let mut all: [Vec<Round>; SUBJECTS.len()] = Default::default();
        for _ in 0..rounds {
            for (options, found) in SUBJECTS.into_iter().zip(&mut all) {
                found.push(measure(options, keys, &hits, &misses));
            }
        }
        for (options, found) in SUBJECTS.into_iter().zip(&all) {
            let name = format!("{:?} {}", options.kind, options.bits_per_key);
            println!(
                "| {keys:>7} | {name:<11} | {:>9.1} | {:>7.1} | {:>8.1} | {:>14.1} | {:>10.3} \
                    | {:>10.3} % |",
                median(found, |round| round.build),
                median(found, |round| round.hit),
                median(found, |round| round.miss),
                median(found, |round| round.one_by_one),
                found[0].bits_per_key,
                found[0].passes * 100.0,
            );
        }
    }
}
