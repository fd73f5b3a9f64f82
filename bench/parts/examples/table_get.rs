//! Whole gets on one open table whose blocks are all in the cache: filter, index, block.
//!
//! ```text
//! cargo run --release -p isopach-parts --example table_get -- [--entries N] [--rounds N]
//! ```
//!
//! Keys of 16 bytes, half of them random, values of 100 that compress by half; keys in random order, present ones
//! and absent ones between them. The table, of four million entries unless told otherwise, lies in files in memory.

use isopach::{
    Seqno, Uuid,
    engine::{
        cache::BlockCache,
        iter::Cursor,
        key::ValueKind,
        place::PlaceId,
        table::{DataCache, PropertySeed, TABLES_DIR, Table, TableIdentity, TableOptions, TableWriter},
        types::{TableId, TreeId, UnixUs},
    },
    env::{Env, WriteOrigin},
};
use std::{env, hint::black_box, sync::Arc, time::Instant};

const VALUE_BYTES: usize = 100;
const DATABASE: Uuid = Uuid([7; 16]);

/// Scrambles a number, each to another one (splitmix64).
fn scrambled(n: u64) -> u64 {
    let mut word = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

fn key(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&scrambled(n).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn value(n: u64) -> [u8; VALUE_BYTES] {
    let mut value = [b'v'; VALUE_BYTES];
    for (at, chunk) in value[..VALUE_BYTES / 2].chunks_mut(8).enumerate() {
        let noise = scrambled(n ^ ((at as u64 + 1) << 48));
        chunk.copy_from_slice(&noise.to_le_bytes()[..chunk.len()]);
    }
    value
}

fn build(env: &Env, numbers: &[u64], cache: &Arc<DataCache>) -> Arc<Table> {
    let identity =
        TableIdentity { id: TableId(1), uuid: Uuid([1; 16]), database: DATABASE, place: PlaceId::MAIN };
    let seed = PropertySeed::new(TreeId(1), "t", UnixUs(0));
    let options = TableOptions::default();
    let start = Instant::now();
    let mut writer = TableWriter::create(&env.fs, identity, options, seed, WriteOrigin::CompactionTable)
        .expect("files in memory");
    for &number in numbers {
        writer.add(&key(number), Seqno::ZERO, ValueKind::Put, &value(number)).expect("files in memory");
    }
    let meta = writer.finish().expect("files in memory");
    let bytes = numbers.len() * (16 + VALUE_BYTES);
    let rate = bytes as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!(
        "built {} MB as {} MB: {rate:.0} MB/s of keys and values",
        bytes / 1_000_000,
        meta.bytes / 1_000_000
    );
    Table::open(&env.fs, Arc::new(meta), DATABASE, cache).expect("it was just written")
}

/// Nanoseconds for each of `count`.
fn timed(count: u64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / count as f64
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let (mut entries, mut rounds) = (4_000_000, 5);
    let arguments: Vec<String> = env::args().skip(1).collect();
    for pair in arguments.chunks(2) {
        let number = pair.get(1).and_then(|number| number.parse().ok());
        match (&*pair[0], number) {
            ("--entries", Some(number)) => entries = number,
            ("--rounds", Some(number)) => rounds = number,
            _ => panic!("table_get [--entries N] [--rounds N]"),
        }
    }
    let env = Env::simulated(1);
    env.fs.create_dir(TABLES_DIR).expect("it is new");
    let cache: Arc<DataCache> = Arc::new(BlockCache::new(4 << 30));
    let mut numbers: Vec<u64> = (0..entries).collect();
    numbers.sort_unstable_by_key(|&number| key(number));
    let table = build(&env, &numbers, &cache);

    let gets = entries.min(1_000_000);
    let present = |round: u64| {
        for n in 0..gets {
            let number = scrambled(n + round * gets) % entries;
            black_box(table.get(&key(number), Seqno::MAX).expect("in memory").expect("it is there"));
        }
    };
    let absent = |round: u64| {
        for n in 0..gets {
            let number = entries + scrambled(n + round * gets) % entries;
            black_box(table.get(&key(number), Seqno::MAX).expect("in memory"));
        }
    };
    let scan = || {
        let mut cursor = table.cursor();
        cursor.seek_first().expect("in memory");
        let mut bytes = 0;
        while cursor.entry().is_some() {
            bytes += cursor.value_bytes().expect("in memory").len();
            cursor.next().expect("in memory");
        }
        assert_eq!(bytes as u64, entries * VALUE_BYTES as u64);
    };
    scan(); // All blocks are in the cache.
    let of =
        |count, work: &dyn Fn(u64)| median((0..rounds).map(|round| timed(count, || work(round))).collect());
    println!("get, present: {:.0} ns", of(gets, &present));
    println!("get, absent: {:.0} ns", of(gets, &absent));
    println!("scan, an entry: {:.1} ns", of(entries, &|_| scan()));
    let stats = cache.stats();
    println!("cache: {} MB in {} blocks", stats.block_bytes / 1_000_000, stats.blocks);
}
