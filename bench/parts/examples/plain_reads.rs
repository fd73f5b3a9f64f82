//! What reads of keys that are there cost beside those of a plain keyspace: where every put has a time to live, and where
//! range deletes lie elsewhere.
//!
//! ```text
//! cargo run --release -p isopach-parts --example plain_reads -- [--keys N] [--rounds N]
//! ```
//!
//! Three keyspaces, all in the cache, of the same keys of 16 and values of 100 bytes, settled in tables: plain; with a time to live
//! of a year; with 1,000 range deletes of ranges without keys, in a table of their own. In each round all are read by turns,
//! at random, and from the front. The table shows medians, and the ratio to the plain one in the same round.

use isopach::{Db, Keyspace, KeyspaceOptions};
use std::{env, fs, process, time::Duration, time::Instant};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const GETS: u64 = 200_000;
const RANGES: u64 = 1_000;

fn main() {
    let (mut keys, mut rounds) = (200_000, 9);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().expect("a value follows").parse().expect("a number");
        match &*argument {
            "--keys" => keys = value,
            "--rounds" => rounds = value,
            other => panic!("{other} is not known"),
        }
    }
    let dir = env::temp_dir().join(format!("isopach-plain-reads-{}", process::id()));
    let db = Db::builder(&dir).cache_bytes(1 << 30).open().expect("a new database");
    let made = |name, options| db.keyspace_with(name, options).expect("a new keyspace");
    let spaces = [
        made("plain", KeyspaceOptions::new()),
        made("expiring", KeyspaceOptions::new().ttl(YEAR)),
        made("ranges", KeyspaceOptions::new()),
    ];
    for space in &spaces {
        for n in 0..keys {
            space.insert(key(n), [n as u8; 100]).expect("memory takes it");
        }
        db.flush().expect("memory takes it");
        space.compact_range(..).expect("memory takes it");
    }
    for n in 0..RANGES {
        let from = [&key(n)[..], b"x"].concat();
        let to = [&key(n)[..], b"y"].concat();
        spaces[2].remove_range(from..to).expect("memory takes it");
    }
    db.flush().expect("memory takes it");

    let mut times: [[Vec<f64>; 2]; 3] = Default::default();
    for round in 0..=rounds {
        for (space, times) in spaces.iter().zip(&mut times) {
            let took = [timed(|| gets(space, keys, round)), timed(|| scan(space, keys))];
            if round > 0 {
                times[0].push(took[0] / GETS as f64);
                times[1].push(took[1] / keys as f64);
            }
        }
    }
    println!("{:<10} {:>8} {:>7} {:>14} {:>7}", "", "get, ns", "ratio", "scan entry, ns", "ratio");
    let plain = times[0].clone();
    for (space, times) in spaces.iter().zip(&times) {
        let ratios = [0, 1].map(|at| median(times[at].iter().zip(&plain[at]).map(|(a, b)| a / b)));
        let medians = [0, 1].map(|at| median(times[at].iter().copied()));
        println!(
            "{:<10} {:>8.0} {:>7.3} {:>14.1} {:>7.3}",
            space.name(),
            medians[0],
            ratios[0],
            medians[1],
            ratios[1]
        );
    }
    drop(spaces);
    db.close().expect("nothing fails");
    fs::remove_dir_all(dir).expect("it is ours");
}

fn key(n: u64) -> [u8; 16] {
    let mut key = [b'k'; 16];
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn gets(space: &Keyspace, keys: u64, round: u64) {
    let mut at = round;
    for _ in 0..GETS {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = (at >> 33) % keys;
        let value = space.get(key(n)).expect("nothing is damaged").expect("it is there");
        assert_eq!(value[..], [n as u8; 100], "all of it is looked at");
    }
}

fn scan(space: &Keyspace, keys: u64) {
    let mut found = 0;
    for entry in space.iter() {
        let (_, value) = entry.expect("nothing is damaged");
        assert_eq!(value[..], [found as u8; 100]);
        found += 1;
    }
    assert_eq!(found, keys);
}

/// Nanoseconds.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
