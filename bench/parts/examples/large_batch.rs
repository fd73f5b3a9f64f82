//! What one batch costs that is larger than a memtable: its time, and the memory beside its own.
//!
//! ```text
//! cargo run --release -p isopach-parts --example large_batch -- DIR [RECORDS [WRITE_BUFFER_MIB]]
//! ```
//!
//! RECORDS (1,000,000) of 16 and 100 bytes in random order, as one batch into an empty database at DIR, which must not
//! exist. With a write buffer (64 MiB) larger than the batch it goes to the memtable that there is.

use isopach::{Db, Result};
use std::{
    env, fs,
    time::{Duration, Instant},
};

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let dir = args.first().expect("a directory that does not exist yet");
    let number = |at: usize, default| args.get(at).map_or(default, |arg| arg.parse().expect("a number"));
    let (records, write_buffer_mib): (u64, u64) = (number(1, 1_000_000), number(2, 64));
    let db = Db::builder(dir).write_buffer_bytes(write_buffer_mib << 20).memory_budget(4 << 30).open()?;
    let ks = db.keyspace("k")?;

    let mut batch = db.batch();
    for record in 0..records {
        let key = record.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        batch.insert(&ks, [key.to_be_bytes(), record.to_be_bytes()].concat(), [record as u8; 100]);
    }
    println!("{} MiB of batch, {} MiB before it is written", batch.bytes() >> 20, peak_mib());
    let start = Instant::now();
    db.write(batch)?;
    println!("written in {} ms, at most {} MiB", start.elapsed().as_millis(), peak_mib());
    let start = Instant::now();
    db.flush()?;
    db.wait_idle(Duration::from_secs(600))?;
    println!("in tables {} ms later, at most {} MiB", start.elapsed().as_millis(), peak_mib());
    assert_eq!(ks.iter().count() as u64, records);
    Ok(())
}

/// Most memory that the process had at once, in MiB.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("there since 2.6");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") >> 10
}
