//! Scans of prefixes with and without a prefix extractor: of prefixes that nothing has, and of such that have ten
//! entries; and what writing takes.
//!
//! ```text
//! cargo run --release -p isopach-parts --example prefix_scans -- [--dir DIR] [--tenants N] [--rounds N]
//!     [--cache MIB]
//! ```
//!
//! Ten entries of 100 bytes for each even tenant, in random order, in two keyspaces of one database below DIR (the
//! directory for temporary files), which is removed. What is asked for: all entries of odd tenants, then of even
//! ones, at random. The cache of 1 GiB holds all blocks, unless
//! `--cache` says otherwise. The table shows medians.

use isopach::{Db, FixedPrefix, Keyspace, KeyspaceOptions};
use std::{env, fs, hint::black_box, path::PathBuf, process, time::Duration, time::Instant};

const ENTRIES: u64 = 10;
const SCANS: u64 = 100_000;

fn main() {
    let (mut dir, mut tenants, mut rounds, mut cache_bytes) = (env::temp_dir(), 100_000, 5, 1 << 30);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().expect("a value follows");
        match &*argument {
            "--dir" => dir = PathBuf::from(value),
            "--tenants" => tenants = value.parse().expect("a number of tenants"),
            "--rounds" => rounds = value.parse().expect("a number of rounds"),
            "--cache" => cache_bytes = value.parse::<u64>().expect("a number of MiB") << 20,
            other => panic!("{other} is not known"),
        }
    }
    let dir = dir.join(format!("isopach-prefix-scans-{}", process::id()));
    let db = Db::builder(&dir)
        .cache_bytes(cache_bytes)
        .write_buffer_bytes(16 << 20)
        .open()
        .expect("a new database");
    let small = KeyspaceOptions::new().table_bytes(8 << 20);
    let spaces = [("without", small.clone()), ("with", small.prefix_extractor(&FixedPrefix::new(8)))]
        .map(|(name, options)| db.keyspace_with(name, options).expect("a new keyspace"));
    for space in &spaces {
        let took = timed(|| fill(&db, space, tenants));
        println!(
            "{:<8} filled and settled in {:.1} s, {} bytes",
            space.name(),
            took.as_secs_f64(),
            space.disk_bytes()
        );
    }
    println!("{}", db.stats());

    println!("\n{:<8} {:>12} {:>14}", "", "absent, ns", "10 entries, ns");
    let mut times: [[Vec<u64>; 2]; 2] = Default::default();
    for round in 0..=rounds {
        for (space, times) in spaces.iter().zip(&mut times) {
            for (offset, times) in [1, 0].into_iter().zip(times) {
                let took = timed(|| scan(space, tenants, round, offset));
                if round > 0 {
                    times.push(took.as_nanos() as u64 / SCANS); // The first brings tables and blocks into memory.
                }
            }
        }
    }
    for (space, times) in spaces.iter().zip(&mut times) {
        let [absent, present] = times.each_mut().map(|times| median(times));
        println!("{:<8} {absent:>12} {present:>14}", space.name());
    }
    drop(spaces);
    db.close().expect("nothing fails");
    fs::remove_dir_all(&dir).expect("it is ours");
}

/// Everything goes down the levels; then come three runs of level 0.
fn fill(db: &Db, space: &Keyspace, tenants: u64) {
    let rows = tenants * ENTRIES;
    let put = |row: u64| {
        let row = scrambled(row) % rows;
        let key = key(row / ENTRIES * 2, row % ENTRIES);
        space.insert(key, scrambled(row).to_le_bytes().repeat(12)).expect("nothing fails");
    };
    (0..2 * rows).for_each(put);
    space.compact_range(..).expect("nothing fails");
    for run in 0..3 {
        (0..rows / 50).for_each(|row| put(run * rows + row));
        db.flush().expect("nothing fails");
    }
    db.wait_idle(Duration::from_secs(60)).expect("it settles");
}

fn scan(space: &Keyspace, tenants: u64, round: u64, offset: u64) {
    for at in 0..SCANS {
        let tenant = scrambled(round << 32 | at) % tenants * 2 + offset;
        let mut entries = 0;
        for entry in space.prefix(format!("{tenant:08x}")) {
            black_box(entry.expect("nothing fails"));
            entries += 1;
        }
        assert!(entries <= ENTRIES * (1 - offset), "{entries} entries of tenant {tenant}");
    }
}

fn key(tenant: u64, entry: u64) -> String {
    format!("{tenant:08x}{entry:08x}")
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(times: &mut [u64]) -> u64 {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Scrambles a number, each to another one (splitmix64).
fn scrambled(n: u64) -> u64 {
    let mut word = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
