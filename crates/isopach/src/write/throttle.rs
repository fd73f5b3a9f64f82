//! How fast writers may be: a pure function of what is owed, and the pacing that follows from it.

use isopach_env::Clock;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Why writers are slowed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StallReason {
    /// Runs of level 0 pile up.
    L0Runs,
    /// Compaction is behind.
    CompactionDebt,
    /// Memtables fill their part of the memory budget.
    MemoryBudget,
    /// The log is near its bound, and flushes do not free it fast enough.
    LogBytes,
}

/// What is owed to the background.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Debt {
    /// Runs of level 0 of the keyspace written to.
    pub(crate) l0_runs: u64,
    /// Bytes its compaction has to write until its shape is as wanted.
    pub(crate) compaction_bytes: u64,
    /// Memory of all memtables.
    pub(crate) memtable_bytes: u64,
    /// What it may be.
    pub(crate) memtable_limit: u64,
    /// How far the log is between the length at which it is shortened (0) and its bound (1024).
    pub(crate) log_excess: u64,
}

impl Debt {
    /// Whether no pressure has begun. Told without division: every write asks.
    fn is_small(&self) -> bool {
        self.log_excess == 0
            && self.l0_runs as f64 <= L0_RUNS.0
            && self.compaction_bytes as f64 <= COMPACTION_BYTES.0
            && self.memtable_bytes as f64 <= MEMORY_SHARE.0 * self.memtable_limit as f64
    }
}

/// Slowing begins at the first number and is at its strongest at the second.
const L0_RUNS: (f64, f64) = (12.0, 40.0);
const COMPACTION_BYTES: (f64, f64) = ((4_u64 << 30) as f64, (64_u64 << 30) as f64);
const MEMORY_SHARE: (f64, f64) = (0.75, 1.0);
const LOG_EXCESS: (f64, f64) = (0.0, 1024.0);

/// The pace where slowing begins and where it ends: it never stops.
const FASTEST_BYTES_PER_S: f64 = 512e6;
const SLOWEST_BYTES_PER_S: f64 = 2e6;

/// Longest that one write waits for its share.
const MAX_DELAY: Duration = Duration::from_millis(100);

/// The pace of writers in bytes per second; `None`: as fast as they can.
///
/// The greatest of the pressures decides. From [`FASTEST_BYTES_PER_S`] the pace falls geometrically to
/// [`SLOWEST_BYTES_PER_S`]: no step, and no point where it stops.
pub(crate) fn rate(debt: Debt) -> Option<(StallReason, u64)> {
    if debt.is_small() {
        return None;
    }
    let pressure = |(start, end): (f64, f64), value: f64| ((value - start) / (end - start)).clamp(0.0, 1.0);
    let share = debt.memtable_bytes as f64 / debt.memtable_limit.max(1) as f64;
    let pressures = [
        (StallReason::L0Runs, pressure(L0_RUNS, debt.l0_runs as f64)),
        (StallReason::CompactionDebt, pressure(COMPACTION_BYTES, debt.compaction_bytes as f64)),
        (StallReason::MemoryBudget, pressure(MEMORY_SHARE, share)),
        (StallReason::LogBytes, pressure(LOG_EXCESS, debt.log_excess as f64)),
    ];
    let (reason, worst) = pressures.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("there are four");
    if worst == 0.0 {
        return None;
    }
    let pace = FASTEST_BYTES_PER_S * (SLOWEST_BYTES_PER_S / FASTEST_BYTES_PER_S).powf(worst);
    Some((reason, pace as u64))
}

/// Spreads writers over time at a pace that may change with each of them.
#[derive(Default, Debug)]
pub(crate) struct Throttle {
    /// When the bytes admitted so far are paid for, in nanoseconds of the monotonic clock.
    paid_at_ns: AtomicU64,
    waited_ns: AtomicU64,
}

impl Throttle {
    /// Waits until `bytes` may be written at `bytes_per_s`.
    pub(crate) fn wait(&self, clock: &dyn Clock, bytes: u64, bytes_per_s: u64) {
        let now = u64::try_from(clock.monotonic().as_nanos()).unwrap_or(u64::MAX);
        let cost = bytes.saturating_mul(1_000_000_000) / bytes_per_s.max(1);
        let mut delay = 0;
        let advance = |paid_at: u64| {
            let start = paid_at.max(now);
            delay = start - now;
            Some(start.saturating_add(cost))
        };
        let _ = self.paid_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance);
        let delay = Duration::from_nanos(delay).min(MAX_DELAY);
        if !delay.is_zero() {
            clock.sleep(delay);
            self.note_wait(delay);
        }
    }

    /// Whether the next writer would wait for its share.
    pub(crate) fn is_behind(&self, clock: &dyn Clock) -> bool {
        u128::from(self.paid_at_ns.load(Ordering::Relaxed)) > clock.monotonic().as_nanos()
    }

    /// Counts time that writers waited.
    pub(crate) fn note_wait(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.waited_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Time that writers waited, all together.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited_ns.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isopach_env::TestClock;

    fn pace(debt: Debt) -> u64 {
        rate(debt).map_or(u64::MAX, |(_, bytes_per_s)| bytes_per_s)
    }

    #[test]
    fn writers_are_slowed_smoothly_and_never_stopped() {
        let mut before = u64::MAX;
        for l0_runs in 0..200 {
            let now = pace(Debt { l0_runs, memtable_limit: 1, ..Debt::default() });
            assert!(now <= before, "more debt is never faster");
            if l0_runs > 12 {
                assert!(now as f64 > before.min(512_000_000) as f64 * 0.7, "no cliff at {l0_runs} runs");
            }
            assert!(now >= 1_900_000, "never stopped");
            before = now;
        }
    }

    #[test]
    fn the_greatest_pressure_is_the_reason() {
        let debt = Debt { l0_runs: 20, memtable_bytes: 99, memtable_limit: 100, ..Debt::default() };

        assert_eq!(rate(debt).unwrap().0, StallReason::MemoryBudget);
        assert_eq!(rate(Debt { memtable_bytes: 10, ..debt }).unwrap().0, StallReason::L0Runs);
        assert_eq!(rate(Debt { l0_runs: 3, memtable_limit: 100, ..Debt::default() }), None);
    }

    #[test]
    fn pacing_spreads_bytes_over_time() {
        let (clock, throttle) = (TestClock::default(), Throttle::default());
        let start = clock.monotonic();

        for _ in 0..101 {
            throttle.wait(&clock, 10_000, 1_000_000);
        }

        let took = clock.monotonic() - start;
        assert_eq!(took, Duration::from_secs(1), "a hundred shares of ten milliseconds were waited for");
        assert_eq!(throttle.waited(), took);
    }
}
