//! Files: syncs, writes, reads from the page cache.

use super::{Effort, best_ns, limit, scattered};
use crate::Result;
use crate::record::Limit;
use crate::table::number;
use std::{
    fs::{self, File},
    hint::black_box,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Instant,
};

/// A log record of a key of 16 and a value of 100 bytes, about.
const RECORD_BYTES: usize = 140;
const PAGE_BYTES: usize = 4096;
const STEP_BYTES: usize = 1 << 20;

pub fn measure(dir: &Path, effort: &Effort) -> Result<Vec<Limit>> {
    let mut limits = syncs(dir, effort)?;
    limits.extend(sequence(dir, effort)?);
    Ok(limits)
}

/// What a durable commit costs at least, in a log that grows and in one whose bytes were written before.
fn syncs(dir: &Path, effort: &Effort) -> Result<Vec<Limit>> {
    let record = [7; RECORD_BYTES];
    let growing = Scratch::new(dir, "limits-growing.tmp")?;
    let append = sync_times(&growing, effort, |_| Ok((&growing.file).write_all(&record)?))?;
    let preallocated = Scratch::new(dir, "limits-preallocated.tmp")?;
    let zeros = vec![0; effort.syncs_count * RECORD_BYTES];
    (&preallocated.file).write_all(&zeros)?;
    preallocated.file.sync_all().map_err(|error| preallocated.error("sync", &error))?;
    let overwrite = sync_times(&preallocated, effort, |call| {
        Ok(preallocated.file.write_all_at(&record, (call * RECORD_BYTES) as u64)?)
    })?;
    let sync = |name, how, times: SyncTimes| {
        let what = format!("{how} 140 B, fdatasync; p50; p10 {}", number::duration(times.p10_ns));
        limit(name, &what, times.p50_ns / 1e3, "us")
    };
    Ok(vec![
        sync("sync, appending", "at the end of a file:", append),
        sync("sync, overwriting", "in a file whose bytes were written before:", overwrite),
    ])
}

/// On a busy machine, half of the syncs also wait for a core; the fastest tenth tells of the device.
struct SyncTimes {
    p10_ns: f64,
    p50_ns: f64,
}

/// Of one write and its sync.
fn sync_times(scratch: &Scratch, effort: &Effort, write: impl Fn(usize) -> Result<()>) -> Result<SyncTimes> {
    let begin = Instant::now();
    let mut times_ns = Vec::with_capacity(effort.syncs_count);
    for call in 0..effort.syncs_count {
        let before = Instant::now();
        write(call)?;
        scratch.file.sync_data().map_err(|error| scratch.error("sync", &error))?;
        times_ns.push(before.elapsed().as_nanos() as f64);
        if begin.elapsed() > effort.syncs_limit {
            break;
        }
    }
    times_ns.sort_by(f64::total_cmp);
    let at =
        |tenths: usize| times_ns.get(times_ns.len() * tenths / 10).copied().ok_or("no sync was measured");
    Ok(SyncTimes { p10_ns: at(1)?, p50_ns: at(5)? })
}

/// A large file, written in sequence and read at random; and single small writes.
fn sequence(dir: &Path, effort: &Effort) -> Result<Vec<Limit>> {
    let scratch = Scratch::new(dir, "limits-sequence.tmp")?;
    let step: Vec<u8> = (0..STEP_BYTES as u64).map(|index| scattered(index) as u8).collect();
    let begin = Instant::now();
    let mut left_bytes = effort.file_bytes;
    while left_bytes > 0 {
        let bytes = left_bytes.min(STEP_BYTES);
        (&scratch.file).write_all(&step[..bytes]).map_err(|error| scratch.error("write", &error))?;
        left_bytes -= bytes;
    }
    let buffered_seconds = begin.elapsed().as_secs_f64();
    scratch.file.sync_data().map_err(|error| scratch.error("sync", &error))?;
    let synced_seconds = begin.elapsed().as_secs_f64();

    let pages_count = (effort.file_bytes / PAGE_BYTES) as u64;
    let mut page = [0; PAGE_BYTES];
    let pread_ns = best_ns(effort.calls_count, |call| {
        let at = scattered(call as u64) % pages_count * PAGE_BYTES as u64;
        scratch.file.read_exact_at(black_box(&mut page), at)?;
        Ok(())
    })?;
    let small = Scratch::new(dir, "limits-small.tmp")?;
    let record = [7; RECORD_BYTES];
    let write_ns = best_ns(effort.calls_count, |_| Ok((&small.file).write_all(black_box(&record))?))?;

    let megabytes = effort.file_bytes as f64 / 1e6;
    Ok(vec![
        limit(
            "sequential write",
            "128 MiB by 1 MiB, into the page cache",
            megabytes / buffered_seconds,
            "MB/s",
        ),
        limit("sequential write, synced", "the same and one fdatasync", megabytes / synced_seconds, "MB/s"),
        limit("pread 4 KiB", "at random from 128 MiB in the page cache; best of 5 batches", pread_ns, "ns"),
        limit("write 140 B", "at the end of a file, no sync; best of 5 batches", write_ns, "ns"),
    ])
}

/// A new file that is gone when this is dropped.
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    fn new(dir: &Path, name: &str) -> Result<Scratch> {
        let path = dir.join(name);
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| format!("{}: create: {error}", path.display()))?;
        Ok(Scratch { path, file })
    }

    fn error(&self, what: &str, error: &std::io::Error) -> String {
        format!("{}: {what}: {error}", self.path.display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about a file that stays: the directory is the caller's, who removes it.
        let _ = fs::remove_file(&self.path);
    }
}
