//! The operating system's clock.

use crate::clock::Clock;
use core::time::Duration;
use std::{
    thread,
    time::{Instant, SystemTime},
};

/// The operating system's clock.
#[derive(Clone, Debug)]
pub struct SystemClock {
    /// Where monotonic time starts.
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    /// 0 while the system's date lies before 1970.
    fn unix_us(&self) -> u64 {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    }

    /// As of the last tick of the system's timer, some milliseconds ago.
    #[cfg(target_os = "linux")]
    fn coarse_unix_us(&self) -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
        seconds
            .unwrap_or_default()
            .saturating_mul(1_000_000)
            .saturating_add(nanos.unwrap_or_default() / 1_000)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_day_is_after_this_was_written() {
        assert!(SystemClock::new().unix_us() > 1_700_000_000_000_000);
    }

    #[test]
    fn the_coarse_time_is_a_little_behind_and_never_ahead() {
        let clock = SystemClock::new();
        for _ in 0..1_000 {
            let (coarse, exact) = (clock.coarse_unix_us(), clock.unix_us());
            assert!(coarse <= exact && exact - coarse < 1_000_000, "{coarse} before {exact}");
        }
    }

    #[test]
    fn sleeping_takes_at_least_the_time_asked_for() {
        let clock = SystemClock::new();
        let start = clock.monotonic();

        clock.sleep(Duration::from_millis(2));

        assert!(clock.monotonic() - start >= Duration::from_millis(2));
    }
}
