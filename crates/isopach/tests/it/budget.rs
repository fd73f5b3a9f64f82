//! Memory of a process that writes and reads more than its budget, watched from outside.
//!
//! `ISOPACH_RECORDS=1000000 cargo test --release -p isopach --test it budget -- --nocapture` is the long
//! version.

use isopach::Db;
use std::{
    collections::hash_map::DefaultHasher,
    env, fs,
    hash::{Hash, Hasher},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};
use testkit::TempDir;

/// Set for the child: the directory it works in.
const CHILD: &str = "ISOPACH_MEMORY_CHILD";
const BUDGET: u64 = 48 << 20;
/// What a process may have beside the budget: code, stacks, buffers of flush and compaction.
const BESIDE: u64 = 64 << 20;

fn records() -> u64 {
    env::var("ISOPACH_RECORDS").map_or(150_000, |text| text.parse().expect("ISOPACH_RECORDS is a number"))
}

fn mixed(n: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    n.hash(&mut hasher);
    hasher.finish()
}

fn key(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mixed(n).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn value(n: u64) -> [u8; 100] {
    let mut value = [0; 100];
    for (word, chunk) in value.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&mixed(n ^ (word as u64) << 40).to_le_bytes()[..chunk.len()]);
    }
    value
}

#[test]
fn memory_stays_within_the_budget() {
    if let Ok(dir) = env::var(CHILD) {
        work(Path::new(&dir));
        return;
    }
    let dir = TempDir::new();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["memory_stays_within_the_budget", "--nocapture"])
        .env(CHILD, dir.path().join("db"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak = peak.max(anonymous_bytes(child.id()).unwrap_or(0));
        thread::sleep(Duration::from_millis(10)); // How often the process is looked at, not what is waited for.
    };

    eprintln!("peak of anonymous memory: {} MiB, budget {} MiB", peak >> 20, BUDGET >> 20);
    assert!(status.success(), "no mismatch");
    assert!(peak > 4 << 20, "the process was watched");
    assert!(peak <= BUDGET + BESIDE, "{peak} bytes of anonymous memory");
}

fn anonymous_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Writes, and reads what was written at random and in both directions while flush and compaction run.
fn work(dir: &Path) {
    let records = records();
    let start = Instant::now();
    let db = Db::builder(dir)
        .write_buffer_bytes(8 << 20)
        .cache_bytes(8 << 20)
        .memory_budget(BUDGET)
        .open()
        .unwrap();
    let ks = db.keyspace("k").unwrap();
    let (written, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..records {
                ks.insert(key(n), value(n)).unwrap();
                written.store(n + 1, Ordering::Release);
            }
            eprintln!("written in {:?}", start.elapsed());
            is_done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            let mut reads = 0_u64;
            while !is_done.load(Ordering::Acquire) {
                let upto = written.load(Ordering::Acquire);
                if upto > 0 {
                    let n = mixed(reads) % upto;
                    assert_eq!(ks.get(key(n)).unwrap().unwrap(), &value(n), "record {n}");
                    reads += 1;
                }
            }
            eprintln!("{reads} reads beside the writer");
        });
        scope.spawn(|| {
            let mut is_reversed = false;
            while !is_done.load(Ordering::Acquire) {
                let least = written.load(Ordering::Acquire);
                let seen = if is_reversed { check(ks.iter().rev()) } else { check(ks.iter()) };
                assert!(seen >= least, "a scan misses records: {seen} of {least}");
                is_reversed = !is_reversed;
            }
        });
    });
    for n in 0..records {
        assert_eq!(ks.get(key(n)).unwrap().unwrap(), &value(n), "record {n}");
    }
    db.wait_idle(Duration::from_secs(120)).unwrap();
    assert_eq!(check(ks.iter()), records);
    assert_eq!(check(ks.iter().rev()), records);
    eprintln!("{}\ndone in {:?}", db.stats(), start.elapsed());
    db.close().unwrap();
}

fn check(entries: impl Iterator<Item = isopach::Result<(isopach::Slice, isopach::Slice)>>) -> u64 {
    let mut seen = 0;
    for entry in entries {
        let (found, value_found) = entry.unwrap();
        let n = u64::from_be_bytes(found[8..].try_into().unwrap());
        assert_eq!(found, &key(n));
        assert_eq!(value_found, &value(n), "record {n}");
        seen += 1;
    }
    seen
}
