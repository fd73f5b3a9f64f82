//! One measured stretch of work: clocks and counters read before and after it.

use crate::{
    Result,
    engine::Settled,
    process,
    process::{Io, MemorySampler, RunQueue},
    record::{Latency, Measured},
    sync_calls::SyncCounter,
};
use hdrhistogram::Histogram;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// What is read outside of the process's own threads. Made before the engine is opened.
pub struct Probes {
    memory: MemorySampler,
    syncs: Option<SyncCounter>,
}

impl Probes {
    /// Counts sync calls too if `is_synced` and if this user may.
    pub fn start(is_synced: bool) -> Probes {
        let syncs =
            if is_synced { SyncCounter::start().map_err(|error| eprintln!("{error}")).ok() } else { None };
        Probes { memory: MemorySampler::start(), syncs }
    }

    fn cpu_ns(&self) -> u64 {
        process::cpu_ns().saturating_sub(self.memory.own_cpu_ns())
    }
}

/// A running measurement.
pub struct Meter<'a> {
    probes: &'a mut Probes,
    syncs_before: Vec<u64>,
    io_before: Io,
    run_queue_before: RunQueue,
    cpu_before_ns: u64,
    started: Instant,
    measured: Measured,
}

impl<'a> Meter<'a> {
    pub fn start(probes: &'a mut Probes) -> Result<Meter<'a>> {
        let syncs_before = match &mut probes.syncs {
            Some(syncs) => syncs.now()?,
            None => Vec::new(),
        };
        let io_before = Io::now()?;
        let run_queue_before = RunQueue::now();
        let cpu_before_ns = probes.cpu_ns();
        let measured = Measured::default();
        // The clock last, and first when it ends: reading the others is not work.
        let started = Instant::now();
        Ok(Meter { probes, syncs_before, io_before, run_queue_before, cpu_before_ns, started, measured })
    }

    pub fn started(&self) -> Instant {
        self.started
    }

    /// The work asked for is done, and took `time`. Call it while the threads that did it still live.
    pub fn work_is_done(&mut self, time: Duration) -> Result<()> {
        self.measured.seconds = time.as_secs_f64();
        self.measured.cpu_ns = self.probes.cpu_ns().saturating_sub(self.cpu_before_ns);
        self.measured.run_queue_ns = RunQueue::now().ns_since(&self.run_queue_before);
        if let Some(syncs) = &mut self.probes.syncs {
            let after = syncs.now()?;
            self.measured.sync_calls = Some(syncs.calls(&self.syncs_before, &after));
        }
        Ok(())
    }

    /// Compaction had caught up then; nothing was done since.
    pub fn has_settled(&mut self, settled: Settled) {
        self.measured.settled_seconds = Some(settled.at.duration_since(self.started).as_secs_f64());
        self.measured.settled_cpu_ns = Some(self.probes.cpu_ns().saturating_sub(self.cpu_before_ns));
    }

    /// The measurement of what happened in `dir` until now.
    pub fn end(mut self, dir: &Path) -> Result<Measured> {
        let io = Io::now()?;
        self.measured.written_bytes = io.written_bytes - self.io_before.written_bytes;
        self.measured.write_call_bytes = io.write_call_bytes - self.io_before.write_call_bytes;
        self.measured.disk_bytes = process::disk_bytes(dir);
        (self.measured.peak_anon_bytes, self.measured.peak_file_bytes) = self.probes.memory.peaks_bytes();
        Ok(self.measured)
    }
}

/// What one thread did.
#[derive(Clone, Debug)]
pub struct Tally {
    pub operations: u64,
    pub commits: u64,
    pub user_bytes: u64,
    /// Answers that were wrong, and the first of them.
    pub wrong_count: u64,
    pub first_wrong: Option<String>,
    pub is_capped: bool,
    latency: Histogram<u64>,
}

/// Fewest operations whose percentiles are told.
const LEAST_LATENCIES: u64 = 1000;

impl Tally {
    /// Longer operations count as this long.
    const MAX_LATENCY: Duration = Duration::from_secs(600);

    pub fn new() -> Tally {
        let latency = Histogram::new_with_bounds(1, Self::MAX_LATENCY.as_nanos() as u64, 3)
            .expect("the bounds and digits are in range");
        let (operations, commits, user_bytes, wrong_count) = (0, 0, 0, 0);
        Tally { operations, commits, user_bytes, wrong_count, first_wrong: None, is_capped: false, latency }
    }

    pub fn took(&mut self, time: Duration) {
        self.latency.saturating_record(time.as_nanos() as u64);
    }

    /// One commit of one record.
    pub fn wrote(&mut self, key: &[u8], value: &[u8]) {
        self.operations += 1;
        self.commits += 1;
        self.user_bytes += (key.len() + value.len()) as u64;
    }

    /// Notes a wrong answer unless `is_right`.
    pub fn expect(&mut self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            self.wrong_count += 1;
            self.first_wrong.get_or_insert_with(what);
        }
    }

    pub fn add(&mut self, other: &Tally) {
        self.operations += other.operations;
        self.commits += other.commits;
        self.user_bytes += other.user_bytes;
        self.wrong_count += other.wrong_count;
        self.first_wrong = self.first_wrong.take().or_else(|| other.first_wrong.clone());
        self.is_capped |= other.is_capped;
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
    }

    /// Of all operations; `None` for fewer than [`LEAST_LATENCIES`], of which no p99.9 can be told.
    pub fn latency(&self) -> Option<Latency> {
        let at = |quantile: f64| self.latency.value_at_quantile(quantile);
        let latency = Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: self.latency.max() };
        (self.latency.len() >= LEAST_LATENCIES).then_some(latency)
    }

    /// `None` if every answer was right.
    pub fn wrong(&self) -> Option<String> {
        let first = self.first_wrong.as_ref()?;
        Some(format!("{} wrong answers, first: {first}", self.wrong_count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_of_threads_add_up() {
        let (mut first, mut second) = (Tally::new(), Tally::new());
        first.wrote(b"key", b"value");
        (0..LEAST_LATENCIES - 1).for_each(|_| first.took(Duration::from_micros(1)));
        assert_eq!(first.latency(), None, "too few to tell percentiles");
        second.wrote(b"key", b"value");
        second.took(Duration::from_micros(100));
        second.expect(false, || "key 7 is absent".into());
        second.is_capped = true;

        first.add(&second);

        assert_eq!((first.operations, first.commits, first.user_bytes), (2, 2, 16));
        assert!(first.is_capped);
        assert_eq!(first.wrong().unwrap(), "1 wrong answers, first: key 7 is absent");
        let latency = first.latency().unwrap();
        assert!((999..=1001).contains(&latency.p50), "{latency:?}");
        assert!((99_900..=100_100).contains(&latency.max), "{latency:?}");
    }

    #[test]
    fn measurement_times_work_and_settling() {
        let mut probes = Probes::start(false);
        let mut meter = Meter::start(&mut probes).unwrap();
        while meter.started().elapsed() < Duration::from_millis(2) {}
        meter.work_is_done(meter.started().elapsed()).unwrap();
        meter.has_settled(Settled::now());

        let measured = meter.end(Path::new("/nowhere")).unwrap();

        assert!(measured.seconds >= 0.002);
        assert!(measured.cpu_ns > 100_000, "{}", measured.cpu_ns);
        assert!(measured.settled_seconds.unwrap() >= measured.seconds);
        assert_eq!(measured.sync_calls, None);
    }
}
