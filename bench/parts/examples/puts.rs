//! Puts as fast as they go: rate, CPU time of all threads, and percentiles of single puts.
//!
//! ```text
//! cargo run --release -p isopach-parts --example puts -- [--dir DIR] [--puts N] [--threads N] [--rounds N]
//!     [--buffer MIB] [--written] [--sync] [--checksums]
//! ```
//!
//! Random keys of 16 bytes and values of 100, `Buffered` or, with `--sync`, synced each; into a database of its
//! own below DIR (the directory for temporary files), which is removed. `--written` does without a mapped log;
//! `--checksums` gives each entry one.
//! Without `--buffer` nothing is flushed: the write buffer holds all puts.

use isopach::{Db, Durability, Keyspace, KeyspaceOptions};
use rustix::time::{ClockId, clock_gettime};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

#[derive(Clone)]
struct Plan {
    dir: PathBuf,
    puts: u64,
    threads: u64,
    rounds: u64,
    buffer_bytes: Option<u64>,
    is_mapped: bool,
    is_synced: bool,
    has_checksums: bool,
}

fn main() {
    let mut plan = Plan {
        dir: env::temp_dir(),
        puts: 1_000_000,
        threads: 1,
        rounds: 3,
        buffer_bytes: None,
        is_mapped: true,
        is_synced: false,
        has_checksums: false,
    };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number follows");
        match &*argument {
            "--dir" => plan.dir = arguments.next().expect("a directory follows").into(),
            "--puts" => plan.puts = number(),
            "--threads" => plan.threads = number(),
            "--rounds" => plan.rounds = number(),
            "--buffer" => plan.buffer_bytes = Some(number() << 20),
            "--written" => plan.is_mapped = false,
            "--sync" => plan.is_synced = true,
            "--checksums" => plan.has_checksums = true,
            _ => panic!("an unknown option: {argument}"),
        }
    }
    for _ in 0..plan.rounds {
        let dir = plan.dir.join(format!("isopach-puts-{}", process::id()));
        fs::create_dir_all(&dir).expect("a directory can be made");
        run(&plan, &dir);
        fs::remove_dir_all(&dir).expect("it was made above");
    }
}

fn run(plan: &Plan, dir: &Path) {
    let all_bytes = plan.puts * 256;
    let buffer_bytes = plan.buffer_bytes.unwrap_or(all_bytes).max(1 << 20);
    let durability = if plan.is_synced { Durability::Sync } else { Durability::Buffered };
    let builder = Db::builder(dir.join("db")).durability(durability).mapped_log(plan.is_mapped);
    let builder = builder.cache_bytes(64 << 20).memory_budget((64 << 20) + 8 * buffer_bytes);
    let db = builder.write_buffer_bytes(buffer_bytes).max_wal_bytes(4 << 30).open().expect("a new database");
    let options = KeyspaceOptions::new().entry_checksums(plan.has_checksums);
    let keyspace = db.keyspace_with("puts", options).expect("a new keyspace");

    let (start, cpu) = (Instant::now(), cpu_time());
    let mut times: Vec<u32> = thread::scope(|scope| {
        let (keyspace, plan) = (&keyspace, plan);
        let writer = |thread| scope.spawn(move || write(keyspace, plan, thread));
        let writers: Vec<_> = (0..plan.threads).map(writer).collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("no writer panics")).collect()
    });
    let (took, cpu) = (start.elapsed(), cpu_time() - cpu);
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{:>7.0} k/s   {:>6.0} ns of CPU   p50 {} ns, p99 {}, p99.9 {}, p99.99 {}, most {} us",
        times.len() as f64 / took.as_secs_f64() / 1e3,
        cpu.as_nanos() as f64 / times.len() as f64,
        at(0.5),
        at(0.99),
        at(0.999),
        at(0.9999),
        at(1.0) / 1000,
    );
    db.close().expect("it closes");
}

fn write(keyspace: &Keyspace, plan: &Plan, thread: u64) -> Vec<u32> {
    let mut value = [0; 100];
    (0..plan.puts / plan.threads)
        .map(|index| {
            let word = scrambled(index * plan.threads + thread);
            let mut key = [0; 16];
            key[..8].copy_from_slice(&word.to_be_bytes());
            value[..8].copy_from_slice(&word.to_le_bytes());
            let start = Instant::now();
            keyspace.insert(key, value).expect("there is space");
            u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX)
        })
        .collect()
}

/// Scrambles a number, each to another one (splitmix64).
fn scrambled(n: u64) -> u64 {
    let mut word = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
