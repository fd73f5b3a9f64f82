//! How long a database needs to open after its process was killed, with a long log: a child fills it, is
//! killed, and what it leaves is opened again and again, each time from a copy that was never opened.
//!
//! ```text
//! cargo run --release -p isopach-parts --example open_after_kill -- [MIB [ROUNDS [recycled]]]
//! ```
//!
//! The log holds MIB (64), in records of 16 and 100 bytes in random order; no table holds any of it. Each of
//! ROUNDS (9) rounds is timed up to the first answer, then counts every record. What an open for reading
//! takes, which copies and syncs nothing, is beside it. With `recycled` as much was written and flushed before, so
//! that segments of the log are recycled ones: behind its end lie records of former lives instead of zeros.

use isopach::{Builder, Db, Result};
use std::{
    env, fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Says that this process is the child.
const CHILD: &str = "fill-and-wait";
/// What the log holds of one record: header, prefix, what the put begins with, key, value.
const RECORD_BYTES: u64 = 32 + 24 + 4 + 16 + 100;

fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [child, dir, records, times] = &args[..]
        && child == CHILD
    {
        let number = |text: &String| text.parse().expect("a number");
        return fill_and_wait(Path::new(dir), number(records), number(times));
    }
    let number = |at: usize, default| args.get(at).map_or(default, |text| text.parse().expect("a number"));
    let (records, rounds) = ((number(0, 64) << 20) / RECORD_BYTES, number(1, 9));
    let scratch = Scratch::new();
    let killed = scratch.0.join("killed");
    let times = if args.get(2).is_some_and(|word| word == "recycled") { 2 } else { 1 };
    kill_full(&killed, records, times);

    let (mut open, mut first_get, mut read_only) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let dir = scratch.0.join(format!("round-{round}"));
        copy(&killed, &dir);
        let started = Instant::now();
        let db = options(&dir).open_read_only()?;
        read_only.push(started.elapsed());
        drop(db);

        let started = Instant::now();
        let db = options(&dir).open()?;
        open.push(started.elapsed());
        let entries = db.keyspace("entries")?;
        assert_eq!(db.recovery().log_bytes / RECORD_BYTES, records, "all of it was in the log");
        assert!(entries.get(key(records - 1))?.is_some(), "the last record is there");
        first_get.push(started.elapsed());
        let sound = entries.iter().filter(|entry| entry.is_ok()).count() as u64;
        assert_eq!(sound, records, "all are there");
        drop(entries);
        db.close()?;
        fs::remove_dir_all(&dir).expect("it is ours");
    }

    println!("{records} records, {} MiB of log, ms: median, least", (records * RECORD_BYTES) >> 20);
    show("open", open);
    show("open and the first get", first_get);
    show("open for reading", read_only);
    Ok(())
}

/// What this process was started for as a child: a log of `records` records, and a line when it is there. They are
/// written several times, and flushed each time but the last.
fn fill_and_wait(dir: &Path, records: u64, times: u64) -> Result<()> {
    let db = options(dir).open()?;
    let entries = db.keyspace("entries")?;
    for time in 1..=times {
        for n in 0..records {
            let value: [u8; 100] = std::array::from_fn(|at| (key_number(n) >> (at % 8 * 8)) as u8);
            entries.insert(key(n), value)?;
        }
        if time < times {
            db.flush()?;
        }
    }
    println!("full");
    std::io::stdout().flush().expect("the parent listens");
    loop {
        thread::park();
    }
}

/// Has a child fill `dir`, and kills it.
fn kill_full(dir: &Path, records: u64, times: u64) {
    let program = env::current_exe().expect("this program is a file");
    let mut command = Command::new(program);
    command
        .arg(CHILD)
        .arg(dir)
        .args([records, times].map(|number| number.to_string()))
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("it can be started again");
    let mut line = [0; 5];
    child.stdout.as_mut().expect("it is piped").read_exact(&mut line).expect("the child fills the log");
    child.kill().expect("it is alive");
    child.wait().expect("it was killed");
}

/// No memtable is flushed, by size or by the length of the log.
fn options(dir: &Path) -> Builder {
    let builder = Db::builder(dir).memory_budget(2 << 30).write_buffer_bytes(1 << 30);
    builder.max_wal_bytes(512 << 20)
}

/// In no order that a tree could make use of.
fn key_number(n: u64) -> u64 {
    let mixed = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

fn key(n: u64) -> String {
    format!("{:016x}", key_number(n))
}

/// Copies a directory, to the medium: no sync of the database pays for it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a new directory");
    for entry in fs::read_dir(from).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("it can be copied");
            fs::File::open(&target).and_then(|file| file.sync_all()).expect("there is room");
        }
    }
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("{what:<24} {:>8.1} {:>8.1}", ms(times[times.len() / 2]), ms(times[0]));
}

/// A directory that goes with the program.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        let dir = env::temp_dir().join(format!("isopach-open-{}", process::id()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
