//! Where Isopach loses to peers by most, and what it would be without the part that is to blame: each loss as
//! it is, and with that part taken out. On files in a temporary directory.
//!
//! ```text
//! cargo run --release -p isopach-parts --example losses
//! ```

use isopach::{
    Compression, Db, Durability, Keyspace, KeyspaceOptions, Result, Seqno, WriteOptions,
    engine::{
        iter::Cursor,
        order::KeyOrder,
        store::{Store, StoreOptions},
        types::{UnixUs, View},
        version::RunCursor,
    },
    env::{Env, OsEntropy, OsFs, SystemClock},
};
use std::{
    env, fs,
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Records of 16 and 100 bytes.
const RECORDS: u32 = 300_000;
/// Long enough for compaction to catch up.
const SOON: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let dir = Scratch::new();
    scans(&dir.0.join("scans"))?;
    ranges(&dir.0.join("ranges"))?;
    holes(&dir.0.join("holes"))?;
    recovery(&dir.0)?;
    seeks(&dir.0.join("seeks"))?;
    keyspaces(&dir.0.join("keyspaces"))?;
    large(&dir.0.join("large"))
}

/// Full scans: the entries of one run by the database's iterator, and by the cursor that it is built of.
fn scans(dir: &Path) -> Result<()> {
    let db = open(dir)?;
    let keyspace = fill(&db, number_key)?;
    keyspace.compact_range(..)?;
    db.wait_idle(SOON)?;
    let count = |reverse: bool| {
        let mut iter = keyspace.iter();
        let mut count = 0_u32;
        while let Some(entry) = if reverse { iter.next_back() } else { iter.next() } {
            black_box(entry.expect("sound"));
            count += 1;
        }
        assert_eq!(count, RECORDS);
    };
    count(false); // Blocks come into the cache.
    let (forward, reverse) = (time(5, || count(false)), time(5, || count(true)));
    drop(keyspace);
    db.close()?;

    let store = Store::open(env_of(dir), &StoreOptions::default())?;
    let tree = store.tree("entries")?;
    let at = View::new(Seqno::MAX, UnixUs(0));
    let through_tree =
        || tree.scan(.., at).expect("open").map(|entry| black_box(entry).is_ok()).filter(|ok| *ok).count();
    let run: Arc<[_]> = tree.tables().into();
    let walk = |reverse: bool| {
        let mut cursor = RunCursor::new(&KeyOrder::BYTES, Arc::clone(&run));
        let mut count = 0_u32;
        if reverse { cursor.seek_last() } else { cursor.seek_first() }.expect("sound");
        while let Some(entry) = cursor.entry() {
            black_box(entry);
            count += 1;
            if reverse { cursor.prev() } else { cursor.next() }.expect("sound");
        }
        assert_eq!(count, RECORDS);
    };
    through_tree();
    let engine = time(5, || _ = through_tree());
    let (cursor_forward, cursor_reverse) = (time(5, || walk(false)), time(5, || walk(true)));
    println!("readseq, ns an entry");
    show("  iterator of the database", per_record(forward));
    show("  without it: scan of the engine (merge, visibility)", per_record(engine));
    show("  without merge and visibility: cursor over the tables", per_record(cursor_forward));
    println!("readreverse, ns an entry");
    show("  iterator of the database", per_record(reverse));
    show("  without merge and visibility: cursor over the tables", per_record(cursor_reverse));
    Ok(())
}

/// Deleting a range: as scan and single removes; without a commit for each; the scan alone.
fn ranges(dir: &Path) -> Result<()> {
    let db = open(dir)?;
    let keyspace = fill(&db, number_key)?;
    db.wait_idle(SOON)?;
    let part = RECORDS / 10;
    let range = |n: u32| number_key(n * part)..number_key((n + 1) * part);
    let started = Instant::now();
    for key in keyspace.range(range(0)).keys() {
        keyspace.remove(key?)?;
    }
    let single = started.elapsed();
    let started = Instant::now();
    let mut batch = db.batch();
    for key in keyspace.range(range(1)).keys() {
        batch.remove(&keyspace, key?);
    }
    db.write(batch)?;
    let batched = started.elapsed();
    let scan = time(5, || assert_eq!(keyspace.range(range(2)).keys().count() as u32, part));
    println!("deleterange, ns a key of the range");
    let per_key = |time: Duration| time.as_nanos() as f64 / f64::from(part);
    show("  scan, and a remove for each", per_key(single));
    show("  without a commit for each: one batch", per_key(batched));
    show("  without removes: the scan", per_key(scan));
    db.close()
}

/// Seeking into a range just deleted, and scanning over it: past its tombstones, and without them.
fn holes(dir: &Path) -> Result<()> {
    let db = open(dir)?;
    let keyspace = fill(&db, number_key)?;
    keyspace.compact_range(..)?;
    db.wait_idle(SOON)?;
    let (from, to) = (RECORDS / 3, RECORDS / 3 * 2);
    for key in keyspace.range(number_key(from)..number_key(to)).keys() {
        keyspace.remove(key?)?;
    }
    let seeks = 200;
    let seek = || {
        for n in 0..seeks {
            let key = number_key(from + (to - from) / seeks * n);
            assert_eq!(keyspace.range(key..).take(10).filter(|entry| entry.is_ok()).count(), 10);
        }
    };
    let left = (RECORDS - (to - from)) as usize;
    let scan = || assert_eq!(keyspace.iter().filter(|entry| entry.is_ok()).count(), left);
    let (seek_past, scan_past) = (time(3, seek), time(3, scan));
    keyspace.compact_range(..)?;
    db.wait_idle(SOON)?;
    let (seek_without, scan_without) = (time(3, seek), time(3, scan));
    println!("seek-hole, us a seek");
    let per_seek = |time: Duration| time.as_nanos() as f64 / 1e3 / f64::from(seeks);
    show("  past a third of the keys, deleted one by one", per_seek(seek_past));
    show("  without the tombstones: after compaction", per_seek(seek_without));
    println!("scan-hole, ns an entry that is left");
    let per_entry = |time: Duration| time.as_nanos() as f64 / left as f64;
    show("  past a third of the keys, deleted one by one", per_entry(scan_past));
    show("  without the tombstones: after compaction", per_entry(scan_without));
    db.close()
}

/// Opening after a kill: as it is; without making the log's end durable first; without applying it.
fn recovery(dir: &Path) -> Result<()> {
    let source = dir.join("recovery");
    let db = open_with(&source, 512 << 20)?;
    fill(&db, number_key)?;
    let killed = dir.join("killed");
    copy(&source, &killed); // The process that dies now leaves just this.
    db.close()?;
    let open_and_close = |path: &Path| {
        let started = Instant::now();
        let db = open_with(path, 512 << 20).expect("it opens");
        let took = started.elapsed();
        assert!(db.keyspace("entries").expect("it is there").get(number_key(7)).expect("sound").is_some());
        (took, db)
    };
    let read_only = time(3, || {
        let db = Db::builder(&killed).memory_budget(1 << 30).open_read_only().expect("it opens");
        assert!(db.keyspace("entries").expect("it is there").get(number_key(7)).expect("sound").is_some());
    });
    let (after_kill, db) = open_and_close(&killed);
    db.close()?;
    let (after_close, db) = open_and_close(&killed);
    db.flush()?;
    db.close()?;
    let (flushed, db) = open_and_close(&killed);
    db.close()?;
    println!("recovery of {RECORDS} records, ms");
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    show("  open after a kill", ms(after_kill));
    show("  without the copy of the log's end: open of the same log, closed", ms(after_close));
    show("  without the copy, nothing written: open for reading", ms(read_only));
    show("  without the replay: open, all flushed", ms(flushed));
    Ok(())
}

/// Short scans: with an iterator for each; without making one: the same iterator, moved.
fn seeks(dir: &Path) -> Result<()> {
    const SEEKS: u32 = 50_000;
    let db = open(dir)?;
    let keyspace = fill(&db, number_key)?;
    db.wait_idle(SOON)?;
    let with_new = || {
        for n in 0..SEEKS {
            let from = number_key(scramble(n));
            black_box(keyspace.range(from..).take(10).filter(|entry| entry.is_ok()).count());
        }
    };
    let mut iter = keyspace.iter();
    let mut moved = || {
        for n in 0..SEEKS {
            iter.seek(number_key(scramble(n)));
            black_box(iter.by_ref().take(10).filter(|entry| entry.is_ok()).count());
        }
    };
    let (new, moved) = (time(3, with_new), time(3, &mut moved));
    drop(iter); // It would keep the database's files in use.
    println!("seekrandom, ycsb-e: us a seek with the next 10");
    let per_seek = |time: Duration| time.as_nanos() as f64 / 1e3 / f64::from(SEEKS);
    show("  an iterator for each", per_seek(new));
    show("  without making it: one iterator, moved", per_seek(moved));
    db.close()
}

/// Opening a thousand keyspaces with a record each, and reading it: from tables; without opening them, from
/// the log.
fn keyspaces(dir: &Path) -> Result<()> {
    const COUNT: u32 = 1000;
    println!("open-1000, us a keyspace");
    for (what, is_flushed) in
        [("  each in a table of its own", true), ("  without tables: all in the log", false)]
    {
        let path = dir.with_extension(if is_flushed { "tables" } else { "log" });
        let db = open(&path)?;
        for n in 0..COUNT {
            db.keyspace(&format!("{n}"))?.insert("key", "value")?;
        }
        if is_flushed {
            db.flush()?;
            db.wait_idle(SOON)?;
        }
        db.close()?;
        let started = Instant::now();
        let db = open(&path)?;
        let opened = started.elapsed();
        for n in 0..COUNT {
            assert!(db.keyspace(&format!("{n}"))?.get("key")?.is_some());
        }
        let per_keyspace = |time: Duration| time.as_nanos() as f64 / 1e3 / f64::from(COUNT);
        show(what, per_keyspace(started.elapsed()));
        show("    of that, opening the database", per_keyspace(opened));
        db.close()?;
    }
    Ok(())
}

/// Overwriting values of 16 KiB: as it is, without the log, without compression; until compaction is done.
fn large(dir: &Path) -> Result<()> {
    const LARGE_RECORDS: u32 = 5_000;
    println!("overwrite-16k, settled: us a put");
    for (what, compression, durability) in [
        ("  log, LZ4 at all levels", Compression::Lz4, Durability::Buffered),
        ("  without the log", Compression::Lz4, Durability::Volatile),
        ("  without compression", Compression::None, Durability::Buffered),
    ] {
        let path = dir.with_extension(format!("{compression:?}-{durability:?}"));
        let db = open_with(&path, 4 << 20)?;
        let options = KeyspaceOptions::new().compression(compression).block_bytes(4096_u32);
        let keyspace = db.keyspace_with("entries", options)?;
        let mut value = vec![0; 16 << 10];
        let mut fill = || -> Result<()> {
            for n in 0..LARGE_RECORDS {
                noise(&mut value[8 << 10..], n);
                let options = WriteOptions::new().durability(durability);
                keyspace.insert_with(number_key(scramble(n)), &value, options)?;
            }
            db.flush()?;
            db.wait_idle(SOON)
        };
        fill()?;
        let started = Instant::now();
        fill()?;
        show(what, started.elapsed().as_nanos() as f64 / 1e3 / f64::from(LARGE_RECORDS));
        db.close()?;
    }
    Ok(())
}

/// Median of `rounds` runs.
fn time(rounds: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}

fn show(what: &str, value: f64) {
    println!("{what:<66} {value:>10.1}");
}

fn per_record(time: Duration) -> f64 {
    time.as_nanos() as f64 / f64::from(RECORDS)
}

fn open(dir: &Path) -> Result<Db> {
    open_with(dir, 8 << 20)
}

fn open_with(dir: &Path, write_buffer_bytes: u64) -> Result<Db> {
    let builder = Db::builder(dir).cache_bytes(256 << 20).memory_budget(1 << 30);
    builder.write_buffer_bytes(write_buffer_bytes).open()
}

fn env_of(dir: &Path) -> Env {
    let fs = OsFs::new(dir).expect("it is there");
    Env::new(Arc::new(fs), Arc::new(SystemClock::new()), Arc::new(OsEntropy))
}

/// All records, in random order.
fn fill<K: AsRef<[u8]>>(db: &Db, key: impl Fn(u32) -> K) -> Result<Keyspace> {
    let keyspace = db.keyspace("entries")?;
    for n in 0..RECORDS {
        let mut value = [0; 100];
        noise(&mut value[50..], n);
        keyspace.insert(key(scramble(n)), value)?;
    }
    Ok(keyspace)
}

/// Bytes that do not compress.
fn noise(bytes: &mut [u8], seed: u32) {
    let mut word = (u64::from(seed) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for byte in bytes {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (word >> 56) as u8;
    }
}

/// Another order of `0..RECORDS`.
fn scramble(n: u32) -> u32 {
    (u64::from(n) * 179_424_673 % u64::from(RECORDS)) as u32
}

fn number_key(n: u32) -> [u8; 16] {
    format!("{n:016}").as_bytes().try_into().expect("16 digits")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a new directory");
    for entry in fs::read_dir(from).expect("it is there") {
        let path = entry.expect("it can be read").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("it can be copied");
        }
    }
}

/// A directory that goes with the program.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        let dir = env::temp_dir().join(format!("isopach-losses-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        Scratch(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
