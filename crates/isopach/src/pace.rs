//! A pace at which bytes are read: who is ahead of it waits.

use isopach_engine::error::Result;
use isopach_env::{
    Clock,
    sync::atomic::{AtomicU64, Ordering},
};
use std::{sync::Arc, time::Duration};

/// Who waits looks this often whether he should go on.
const STEP: Duration = Duration::from_millis(50);

/// Bytes, counted by all threads that read together, against the time since they began.
pub(crate) struct Pace {
    clock: Arc<dyn Clock>,
    start: Duration,
    /// 0: as fast as it goes.
    bytes_per_s: u64,
    done: AtomicU64,
}

impl Pace {
    /// Begins now.
    pub(crate) fn start(clock: &Arc<dyn Clock>, bytes_per_s: u64) -> Pace {
        let clock = Arc::clone(clock);
        Pace { start: clock.monotonic(), clock, bytes_per_s, done: AtomicU64::new(0) }
    }

    /// So much more was read.
    pub(crate) fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What was read so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Time since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.start)
    }

    /// How long nothing should be read.
    pub(crate) fn ahead(&self) -> Duration {
        match self.bytes_per_s {
            0 => Duration::ZERO,
            bytes_per_s => {
                let due = Duration::try_from_secs_f64(self.done() as f64 / bytes_per_s as f64);
                due.unwrap_or(Duration::MAX).saturating_sub(self.elapsed())
            }
        }
    }

    /// Waits as long as it is ahead, and looks now and then whether to go on.
    ///
    /// # Errors
    ///
    /// What `go_on` said.
    pub(crate) fn keep(&self, go_on: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        loop {
            go_on()?;
            match self.ahead() {
                Duration::ZERO => return Ok(()),
                ahead => self.clock.sleep(ahead.min(STEP)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isopach_engine::{error::ErrorKind, tree::cancelled};
    use isopach_env::TestClock;

    #[test]
    fn who_is_ahead_waits_until_bytes_and_time_agree() {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
        let pace = Pace::start(&clock, 1000);

        pace.add(500);
        pace.add(250);
        assert_eq!(pace.ahead(), Duration::from_millis(750));
        pace.keep(&mut || Ok(())).unwrap();

        assert_eq!(
            (pace.elapsed(), pace.ahead(), pace.done()),
            (Duration::from_millis(750), Duration::ZERO, 750)
        );
    }

    #[test]
    fn without_a_pace_nobody_waits_and_who_shall_stop_does() {
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
        let pace = Pace::start(&clock, 0);
        pace.add(u64::MAX);
        assert_eq!(pace.ahead(), Duration::ZERO);

        let slow = Pace::start(&clock, 1);
        slow.add(1 << 40);
        assert_eq!(slow.keep(&mut || Err(cancelled())).unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(slow.elapsed(), Duration::ZERO);
    }
}
