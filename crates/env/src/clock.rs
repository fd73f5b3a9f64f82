//! Time of day and waiting.

use alloc::sync::Arc;
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Time of day and waiting. May be a hybrid logical clock.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970-01-01 UTC. May step back; readers of it keep the greatest value seen.
    fn unix_us(&self) -> u64;

    /// As [`Clock::unix_us`], at most a second behind it, never ahead, and cheaper where the system has such a clock.
    fn coarse_unix_us(&self) -> u64 {
        self.unix_us()
    }

    /// Time since an arbitrary start; never steps back.
    fn monotonic(&self) -> Duration;

    /// Waits at least `time`.
    fn sleep(&self, time: Duration);
}

impl fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

/// A clock moved by hand; sleeping moves it and returns at once. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<TestTime>);

/// The two times move one after the other: a reader may see a sleep in one and not yet in the other.
#[derive(Debug)]
struct TestTime {
    unix_us: AtomicU64,
    monotonic_ns: AtomicU64,
}

impl TestClock {
    /// Time of day of a new clock, in microseconds: 2023-11-14 22:13:20 UTC.
    pub const START_UNIX_US: u64 = 1_700_000_000_000_000;

    /// A clock at [`TestClock::START_UNIX_US`] whose monotonic time is zero.
    pub fn new() -> TestClock {
        TestClock(Arc::new(TestTime {
            unix_us: AtomicU64::new(Self::START_UNIX_US),
            monotonic_ns: AtomicU64::new(0),
        }))
    }

    /// Moves time of day, forwards or backwards. Monotonic time stays.
    pub fn set_unix_us(&self, us: u64) {
        self.0.unix_us.store(us, Ordering::SeqCst);
    }

    /// Moves both times forwards.
    pub fn advance(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        add_saturating(&self.0.unix_us, us);
        add_saturating(&self.0.monotonic_ns, ns);
    }
}

fn add_saturating(counter: &AtomicU64, more: u64) {
    let add = |value: u64| Some(value.saturating_add(more));
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).expect("the update always has a value");
}

impl Default for TestClock {
    fn default() -> TestClock {
        TestClock::new()
    }
}

impl Clock for TestClock {
    fn unix_us(&self) -> u64 {
        self.0.unix_us.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.monotonic_ns.load(Ordering::SeqCst))
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_moves_both_times_of_every_clone() {
        let clock = TestClock::new();
        let same = clock.clone();

        clock.sleep(Duration::from_micros(1_500));

        assert_eq!(same.unix_us(), TestClock::START_UNIX_US + 1_500);
        assert_eq!(same.monotonic(), Duration::from_micros(1_500));
    }

    #[test]
    fn time_of_day_steps_back_and_monotonic_time_does_not() {
        let clock = TestClock::new();
        clock.advance(Duration::from_secs(1));

        clock.set_unix_us(5);

        assert_eq!(clock.unix_us(), 5);
        assert_eq!(clock.monotonic(), Duration::from_secs(1));
    }

    #[test]
    fn sleeping_for_ever_stops_at_the_end_of_time() {
        let clock = TestClock::new();

        clock.sleep(Duration::MAX);
        clock.sleep(Duration::MAX);

        assert_eq!(clock.unix_us(), u64::MAX);
    }
}
