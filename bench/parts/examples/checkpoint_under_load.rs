//! A checkpoint of a large database while writers go on as fast as they can: how long it takes, how long it
//! makes writers wait, and whether it holds exactly the commits that it says.
//!
//! ```text
//! cargo run --release -p isopach-parts --example checkpoint_under_load -- [DIR [GIB [TAIL_MIB [RUNS]]]]
//! ```
//!
//! In DIR, which is made and removed, it builds a database of GIB (2). Each of RUNS (3) rounds writes until
//! the log holds TAIL_MIB (64) that no table has, makes a checkpoint in the same file system without stopping
//! the writers, opens it, and compares every entry with what was written up to its commit.
//!
//! Where threads outnumber cores a writer's longest pause is mostly that it has no core. On Linux that part
//! is told from the rest: the time that the writer was ready to run (`/proc/thread-self/schedstat`).

use isopach::{CheckpointInfo, Compression, Db, Keyspace, KeyspaceOptions, Result, Seqno};
use std::{
    env, fs,
    io::{Read, Seek},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const WRITERS: u64 = 2;
const VALUE_BYTES: usize = 1000;
/// Long enough for compaction to catch up.
const SOON: Duration = Duration::from_secs(600);
/// Shorter waits are no pauses.
const SHORT: Duration = Duration::from_micros(50);

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let dir = args
        .next()
        .map_or_else(|| env::temp_dir().join(format!("isopach-copy-{}", process::id())), PathBuf::from);
    let mut number = |default: u64| args.next().map_or(default, |text| text.parse().expect("a number"));
    let (bytes, tail_bytes, runs) = (number(2) << 30, number(64) << 20, number(3));
    fs::create_dir(&dir).expect("the directory is new");
    let scratch = Scratch(dir);

    let mut rig = Rig::build(&scratch.0, bytes, tail_bytes)?;
    for run in 1..=runs {
        rig.run(run, &scratch.0.join(format!("copy-{run}")))?;
    }
    Ok(())
}

/// Removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The database and what is in it.
struct Rig {
    db: Db,
    keyspace: Keyspace,
    tail_bytes: u64,
    /// Of each key, how often it was written.
    versions: Vec<u32>,
}

/// A write that was acknowledged.
struct Write {
    seqno: Seqno,
    key: u32,
}

/// A call that took long.
struct Pause {
    start: Instant,
    end: Instant,
    /// Without the time in which the thread could have run, had there been a core for it.
    waited: Duration,
}

/// What a writer did, and when.
#[derive(Default)]
struct Written {
    writes: Vec<Write>,
    ends: Vec<Instant>,
    pauses: Vec<Pause>,
}

impl Rig {
    fn build(dir: &Path, bytes: u64, tail_bytes: u64) -> Result<Rig> {
        let started = Instant::now();
        // A memtable holds the whole tail: no flush shortens it meanwhile.
        let db = Db::builder(dir.join("db"))
            .write_buffer_bytes(tail_bytes * 3)
            .memory_budget(tail_bytes * 12)
            .max_wal_bytes(tail_bytes * 16)
            .open()?;
        let options = KeyspaceOptions::new().compression(Compression::None);
        let keyspace = db.keyspace_with("entries", options)?;
        let keys = (bytes / (VALUE_BYTES as u64 + 16)) as u32;
        let mut batch = db.batch();
        for key in 0..keys {
            batch.insert(&keyspace, key_of(key), value_of(key, 1));
            if key % 1000 == 999 || key + 1 == keys {
                db.write(std::mem::replace(&mut batch, db.batch()))?;
            }
        }
        db.flush()?;
        db.wait_idle(SOON)?;
        println!("{keys} keys written in {:.0} s", started.elapsed().as_secs_f64());
        Ok(Rig { db, keyspace, tail_bytes, versions: vec![1; keys as usize] })
    }

    /// A round: writes, the checkpoint among them, the comparison.
    fn run(&mut self, run: u64, target: &Path) -> Result<()> {
        self.db.flush()?;
        self.db.wait_idle(SOON)?;
        let is_over = AtomicBool::new(false);
        let (copied, written) = thread::scope(|scope| {
            let (rig, is_over) = (&*self, &is_over);
            let writers: Vec<_> =
                (0..WRITERS).map(|writer| scope.spawn(move || rig.write_on(run, writer, is_over))).collect();
            let copied = rig.copy_under_load(target);
            is_over.store(true, Ordering::Release);
            let written: Result<Vec<_>> =
                writers.into_iter().map(|writer| writer.join().expect("it returns its errors")).collect();
            let done: Result<_> = copied.and_then(|copied| Ok((copied, written?)));
            done
        })?;

        let writes = || written.iter().flat_map(|written| &written.writes);
        self.count(writes().filter(|write| write.seqno <= copied.info.seqno));
        let entries = self.compare(target)?;
        self.count(writes().filter(|write| write.seqno > copied.info.seqno));
        report(run, &copied, &written, entries);
        fs::remove_dir_all(target).expect("the target is there");
        Ok(())
    }

    /// Writes random keys of its own, one after the other, as fast as the database takes them.
    fn write_on(&self, run: u64, writer: u64, is_over: &AtomicBool) -> Result<Written> {
        let (mut written, mut versions) = (Written::default(), self.versions.clone());
        let (mut random, queue) = (run << 32 | writer, RunQueue::of_this_thread());
        while !is_over.load(Ordering::Acquire) {
            random = mixed(random);
            let own = random % (versions.len() as u64 / WRITERS);
            let key = (own * WRITERS + writer) as u32;
            versions[key as usize] += 1;
            let value = value_of(key, versions[key as usize]);
            let (ready, start) = (queue.waited(), Instant::now());
            let seqno = self.keyspace.insert(key_of(key), value)?;
            let end = Instant::now();
            written.writes.push(Write { seqno, key });
            written.ends.push(end);
            if end - start > SHORT {
                let waited = (end - start).saturating_sub(queue.waited() - ready);
                written.pauses.push(Pause { start, end, waited });
            }
        }
        Ok(written)
    }

    /// The checkpoint, and a time of the same length before and after it.
    fn copy_under_load(&self, target: &Path) -> Result<Copied> {
        while self.db.stats().wal_bytes < self.tail_bytes {
            thread::sleep(Duration::from_millis(1));
        }
        let start = Instant::now();
        let info = self.db.checkpoint(target)?;
        let end = Instant::now();
        thread::sleep(end - start);
        Ok(Copied { info, start, end })
    }

    fn count<'a>(&mut self, writes: impl Iterator<Item = &'a Write>) {
        writes.for_each(|write| self.versions[write.key as usize] += 1);
    }

    /// Opens the target and compares every entry with what was written; returns how many there are.
    fn compare(&self, target: &Path) -> Result<usize> {
        let copy = Db::builder(target).open()?;
        let keyspace = copy.get_keyspace("entries")?.expect("the keyspace was copied");
        let mut entries = keyspace.iter();
        for (key, &version) in (0..).zip(&self.versions) {
            let (found, value) = entries.next().expect("no key is missing")?;
            assert!(*found == key_of(key), "a key is missing or was invented at {key}");
            assert!(*value == *value_of(key, version), "key {key} does not have version {version}");
        }
        assert!(entries.next().is_none(), "no key is invented");
        drop((entries, keyspace));
        copy.close()?;
        Ok(self.versions.len())
    }
}

/// A checkpoint that was made.
struct Copied {
    info: CheckpointInfo,
    start: Instant,
    end: Instant,
}

fn report(run: u64, copied: &Copied, written: &[Written], entries: usize) {
    let Copied { info, start, end } = *copied;
    let took = end - start;
    let pauses_ms = |start, end| longest_pauses(written, start, end).map(|pause| pause.as_secs_f64() * 1e3);
    let rate = |start, end| {
        let count =
            written.iter().flat_map(|written| &written.ends).filter(|at| (start..end).contains(*at)).count();
        count as f64 / took.as_secs_f64()
    };
    println!(
        "run {run}: {:.2} GB in {} files: {} linked, {} cloned, {:.1} MiB copied; took {:.0} ms",
        info.bytes as f64 / 1e9,
        info.files,
        info.linked_files,
        info.cloned_files,
        info.copied_bytes as f64 / f64::from(1 << 20),
        took.as_secs_f64() * 1e3,
    );
    for (name, start, end) in
        [("before", start - took, start), ("during", start, end), ("after", end, end + took)]
    {
        let [longest, waited] = pauses_ms(start, end);
        println!(
            "  {name}: longest pause of a writer {longest:.2} ms, {waited:.2} ms apart from waiting for a core; \
             {:.0} writes/s",
            rate(start, end),
        );
    }
    println!("  opened for writing: all {entries} entries as of commit {}", info.seqno);
}

/// The longest wait for a write that overlaps a time: in whole, and apart from waiting for a core.
fn longest_pauses(written: &[Written], start: Instant, end: Instant) -> [Duration; 2] {
    let pauses = || written.iter().flat_map(|written| &written.pauses);
    let overlapping = || pauses().filter(|pause| pause.end >= start && pause.start <= end);
    let longest = overlapping().map(|pause| pause.end - pause.start).max();
    [longest, overlapping().map(|pause| pause.waited).max()].map(|pause| pause.unwrap_or(SHORT))
}

/// How long a thread was ready to run while others had the cores. Elsewhere than on Linux nothing.
struct RunQueue(Option<fs::File>);

impl RunQueue {
    fn of_this_thread() -> RunQueue {
        RunQueue(fs::File::open("/proc/thread-self/schedstat").ok())
    }

    fn waited(&self) -> Duration {
        let mut text = [0; 64];
        let Some(mut file) = self.0.as_ref() else { return Duration::ZERO };
        let read = file.rewind().and_then(|()| file.read(&mut text)).unwrap_or(0);
        // Time on a core, time ready for one, both in nanoseconds, and a count.
        let ready = std::str::from_utf8(&text[..read])
            .ok()
            .and_then(|text| text.split_whitespace().nth(1)?.parse().ok());
        Duration::from_nanos(ready.unwrap_or(0))
    }
}

fn key_of(key: u32) -> [u8; 16] {
    let mut bytes = *b"key-............";
    bytes[4..8].copy_from_slice(&key.to_be_bytes());
    bytes
}

/// Bytes that do not compress and follow from key and version.
fn value_of(key: u32, version: u32) -> Vec<u8> {
    let mut random = u64::from(key) << 32 | u64::from(version);
    let mut value = Vec::with_capacity(VALUE_BYTES + 8);
    while value.len() < VALUE_BYTES {
        random = mixed(random);
        value.extend_from_slice(&random.to_le_bytes());
    }
    value.truncate(VALUE_BYTES);
    value
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
