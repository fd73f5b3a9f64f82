//! The database's time: that of its clock, except that it never goes back.

use isopach_engine::types::UnixUs;
use isopach_env::{
    Clock,
    sync::atomic::{AtomicU64, Ordering},
};
use std::sync::Arc;

/// Gives out times. Commits and views have theirs from here, so that what is later in the order of one is never
/// earlier in time. The clock may be a hybrid logical one: what it says counts as it is, unless it steps back.
#[derive(Debug)]
pub(crate) struct Times {
    clock: Arc<dyn Clock>,
    /// The greatest time given out. Nothing else is read because of it; of two threads that raise it none goes
    /// back (one atomic has one order).
    greatest_us: AtomicU64,
}

impl Times {
    /// Times not before `floor`, the greatest that is known of earlier runs.
    pub(crate) fn new(clock: Arc<dyn Clock>, floor: UnixUs) -> Times {
        Times { clock, greatest_us: AtomicU64::new(floor.0) }
    }

    /// Now: not before any time given out.
    #[inline]
    pub(crate) fn now(&self) -> UnixUs {
        let read = self.clock.unix_us();
        // Most of those who look while another does find what that one wrote.
        if self.greatest_us.load(Ordering::Relaxed) == read {
            return UnixUs(read);
        }
        UnixUs(self.greatest_us.fetch_max(read, Ordering::Relaxed).max(read))
    }

    /// A time that tells as well as now whether something that expires at `expires_at` has: the exact time is asked for where
    /// that is near only.
    pub(crate) fn near(&self, expires_at: UnixUs) -> UnixUs {
        /// More than a coarse clock is behind.
        const FAR_US: u64 = 2_000_000;
        let least = self.clock.coarse_unix_us().max(self.greatest().0);
        let is_far = expires_at.0 <= least || expires_at.0 > least.saturating_add(FAR_US);
        if is_far { UnixUs(least) } else { self.now() }
    }

    /// The greatest time given out, or the floor.
    pub(crate) fn greatest(&self) -> UnixUs {
        UnixUs(self.greatest_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isopach_env::TestClock;

    #[test]
    fn time_never_goes_back() {
        let clock = TestClock::new();
        clock.set_unix_us(100);
        let times = Times::new(Arc::new(clock.clone()), UnixUs(150));
        assert_eq!(times.now(), UnixUs(150), "the floor");

        clock.set_unix_us(200);
        assert_eq!(times.now(), UnixUs(200));
        clock.set_unix_us(120);
        assert_eq!(times.now(), UnixUs(200));
        assert_eq!(times.greatest(), UnixUs(200));
        assert_eq!(times.near(UnixUs(150)), UnixUs(200));
    }
}
