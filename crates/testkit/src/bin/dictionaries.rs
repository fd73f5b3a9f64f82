//! What dictionaries save and cost: `cargo run --release -p testkit --features zstd --bin dictionaries`.
//!
//! Writes 200,000 records in JSON of 150 to 300 bytes to files in memory, in random order, compacts them, and tells for
//! several sizes of dictionaries: bytes of tables and dictionaries, time of the compaction, and of a get and of a scan that
//! read every block from the file.

use isopach::{
    Compression, Db, KeyspaceOptions,
    env::{Fs, MemFs},
};
use std::{process::ExitCode, time::Instant};
use testkit::{
    Rng,
    db::{Quiet, SOON, env_of, files_in, read_file},
};

const RECORDS: u64 = 200_000;
const GETS: u64 = 100_000;
const ZSTD: Compression = Compression::Zstd { level: 3 };

fn main() -> ExitCode {
    if !ZSTD.is_available() {
        eprintln!("without Zstandard there are no dictionaries: add `--features zstd`");
        return ExitCode::FAILURE;
    }
    let raw: usize = (0..RECORDS).map(|number| key(number).len() + record(number).len()).sum();
    println!("{RECORDS} records, {raw} bytes");
    println!(
        "{:>12} {:>12} {:>12} {:>14} {:>10} {:>12}",
        "dictionary", "tables", "dictionaries", "compaction, s", "get, us", "scan, ns"
    );
    for dictionary_bytes in [0, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10] {
        measure(dictionary_bytes);
    }
    ExitCode::SUCCESS
}

fn measure(dictionary_bytes: u32) {
    let files = MemFs::new();
    // No block stays in memory, so that each is decompressed.
    let db = Db::builder("db")
        .env(env_of(files.clone()))
        .cache_bytes(0)
        .listener(Quiet)
        .open()
        .expect("an empty place");
    let options = KeyspaceOptions::new().compression(ZSTD).dictionary_bytes(dictionary_bytes);
    let keyspace = db.keyspace_with("records", options).expect("memory takes it");
    let mut rng = Rng::new(1);
    let mut order: Vec<u64> = (0..RECORDS).collect();
    (1..order.len()).rev().for_each(|last| order.swap(last, rng.below(last + 1)));
    for half in order.chunks(order.len().div_ceil(2)) {
        for &number in half {
            keyspace.insert(key(number), record(number)).expect("memory takes it");
        }
        db.flush().expect("memory takes it");
    }
    db.wait_idle(SOON).expect("background work ends");

    let start = Instant::now();
    keyspace.compact_range(..).expect("memory takes it");
    let compaction = start.elapsed().as_secs_f64();
    db.wait_idle(SOON).expect("background work ends");

    let start = Instant::now();
    for _ in 0..GETS {
        let number = rng.below(RECORDS as usize) as u64;
        assert!(keyspace.get(key(number)).expect("it is sound").is_some(), "it was written");
    }
    let get = start.elapsed().as_secs_f64() * 1e6 / GETS as f64;
    let start = Instant::now();
    let values = keyspace.iter().map(|entry| entry.expect("it is sound").1.len() as u64);
    assert!(values.sum::<u64>() > RECORDS, "no value is empty");
    let scan = start.elapsed().as_secs_f64() * 1e9 / RECORDS as f64;
    let (tables, dictionaries) = (bytes_in(&files, "tables"), bytes_in(&files, "dictionaries"));
    println!(
        "{dictionary_bytes:>12} {tables:>12} {dictionaries:>12} {compaction:>14.2} {get:>10.2} {scan:>12.0}"
    );
}

fn bytes_in(files: &dyn Fs, directory: &str) -> usize {
    files_in(files, directory).iter().map(|name| read_file(files, &format!("{directory}/{name}")).len()).sum()
}

fn key(number: u64) -> String {
    format!("user/{number:010}/event")
}

/// The same for the same number. Names, mail domains, pages and agents are of lists; numbers and tokens are random.
fn record(number: u64) -> String {
    const NAMES: [&str; 16] = [
        "Ada",
        "Barbara",
        "Claude",
        "Donald",
        "Edsger",
        "Frances",
        "Grace",
        "Hedy",
        "Ivan",
        "John",
        "Katherine",
        "Leslie",
        "Margaret",
        "Niklaus",
        "Radia",
        "Tony",
    ];
    const DOMAINS: [&str; 5] =
        ["example.com", "example.org", "mail.example.net", "post.example.de", "example.co.uk"];
    const PAGES: [&str; 8] = [
        "/",
        "/search",
        "/cart",
        "/checkout/payment",
        "/account/settings",
        "/help/returns",
        "/products/shoes",
        "/products/coats",
    ];
    const AGENTS: [&str; 4] = [
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15",
        "curl/8.5.0",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/126.0.0.0",
    ];
    let mut rng = Rng::new(number);
    let name = rng.pick(&NAMES).to_lowercase();
    let (domain, page, agent) = (*rng.pick(&DOMAINS), *rng.pick(&PAGES), *rng.pick(&AGENTS));
    let (user, at, token, ms) =
        (rng.below(100_000), 1_700_000_000 + rng.below(30_000_000), rng.word(), rng.below(900));
    format!(
        "{{\"user_id\":{user},\"email\":\"{name}{}@{domain}\",\"time\":{at},\"page\":\"{page}\",\"session\":\"{token:016x}\",\
         \"duration_ms\":{ms},\"agent\":\"{agent}\",\"logged_in\":{}}}",
        user % 97,
        ms % 2 == 0,
    )
}
