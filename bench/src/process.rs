//! What the kernel knows of this process: I/O, CPU time, waiting, memory, and the space of a directory.

use crate::Result;
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// `/proc/self/io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// Given to write calls.
    pub write_call_bytes: u64,
    /// Given to the block layer.
    pub written_bytes: u64,
}

impl Io {
    pub fn now() -> Result<Io> {
        let text = fs::read_to_string("/proc/self/io")?;
        let field = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            Ok(line.ok_or_else(|| format!("/proc/self/io has no {name}"))?.trim().parse()?)
        };
        Ok(Io { write_call_bytes: field("wchar")?, written_bytes: field("write_bytes")? })
    }
}

/// CPU time of all threads that this process has or had, user and system.
pub fn cpu_ns() -> u64 {
    clock_ns(ClockId::ProcessCPUTime)
}

fn clock_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Time that each thread was ready and waited for a core, by thread id. Threads that have ended are not in
/// it.
#[derive(Clone, Debug)]
pub struct RunQueue(HashMap<String, u64>);

impl RunQueue {
    /// Empty where the kernel keeps no such statistics.
    pub fn now() -> RunQueue {
        let mut waits = HashMap::new();
        for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let wait = text.split_whitespace().nth(1).and_then(|field| field.parse().ok());
            waits.insert(task.file_name().to_string_lossy().into_owned(), wait.unwrap_or(0));
        }
        RunQueue(waits)
    }

    pub fn ns_since(&self, earlier: &RunQueue) -> u64 {
        let before = |thread: &String| earlier.0.get(thread).copied().unwrap_or(0);
        self.0.iter().map(|(thread, wait)| wait.saturating_sub(before(thread))).sum()
    }
}

/// Reads the memory of this process every 10 ms in a thread of its own and keeps the highest.
#[derive(Debug)]
pub struct MemorySampler {
    state: Arc<SamplerState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct SamplerState {
    is_over: AtomicBool,
    /// Anonymous and file-backed.
    peaks_bytes: Mutex<(u64, u64)>,
    own_cpu_ns: AtomicU64,
}

impl MemorySampler {
    const PERIOD: Duration = Duration::from_millis(10);

    pub fn start() -> MemorySampler {
        let state = Arc::new(SamplerState::default());
        state.sample();
        let of_thread = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            while !of_thread.is_over.load(Ordering::Relaxed) {
                std::thread::park_timeout(MemorySampler::PERIOD);
                of_thread.sample();
                of_thread.own_cpu_ns.store(clock_ns(ClockId::ThreadCPUTime), Ordering::Relaxed);
            }
        });
        MemorySampler { state, thread: Some(thread) }
    }

    /// CPU time that sampling took: not the engine's.
    pub fn own_cpu_ns(&self) -> u64 {
        self.state.own_cpu_ns.load(Ordering::Relaxed)
    }

    /// Highest anonymous and file-backed memory so far.
    pub fn peaks_bytes(&self) -> (u64, u64) {
        self.state.sample();
        *self.state.peaks_bytes.lock().unwrap()
    }
}

impl Drop for MemorySampler {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It holds nothing that could be left half done.
            let _ = thread.join();
        }
    }
}

impl SamplerState {
    fn sample(&self) {
        let Ok(text) = fs::read_to_string("/proc/self/status") else { return };
        let field_bytes = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            kib.unwrap_or(0) * 1024
        };
        let (anon_bytes, file_bytes) = (field_bytes("RssAnon"), field_bytes("RssFile"));
        let mut peaks_bytes = self.peaks_bytes.lock().unwrap();
        *peaks_bytes = (peaks_bytes.0.max(anon_bytes), peaks_bytes.1.max(file_bytes));
    }
}

/// Allocated for all files below `dir`. Files that vanish meanwhile do not count.
pub fn disk_bytes(dir: &Path) -> u64 {
    let mut total_bytes = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        total_bytes += if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.blocks() * 512 };
    }
    total_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_bytes_are_those_allocated_at_any_depth() {
        let dir = std::env::temp_dir().join(format!("isopach-bench-disk-{}", std::process::id()));
        fs::create_dir_all(dir.join("below")).unwrap();
        fs::write(dir.join("below/data"), vec![7; 100_000]).unwrap();
        fs::File::create(dir.join("hole")).unwrap().set_len(1 << 30).unwrap();

        let bytes = disk_bytes(&dir);

        fs::remove_dir_all(&dir).unwrap();
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn memory_that_was_touched_shows() {
        let sampler = MemorySampler::start();

        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        let (anon_bytes, _) = sampler.peaks_bytes();

        assert!(anon_bytes >= touched.len() as u64, "{anon_bytes}");
    }

    #[test]
    fn cpu_time_grows_with_work() {
        let before = cpu_ns();
        let mut sum = 0_u64;
        while cpu_ns() < before + 1_000_000 {
            sum = std::hint::black_box(sum + 1);
        }

        assert!(sum > 0);
    }
}
