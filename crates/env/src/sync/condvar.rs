//! Waiting for a condition under a mutex.

use super::{MutexGuard, raw};
#[cfg(feature = "std")]
use core::time::Duration;

/// Parks threads until another says that a condition may have changed.
///
/// Wakes for no reason too: wait in a loop that checks the condition. Without `std` it does so at once, every time.
#[derive(Debug, Default)]
pub struct Condvar(raw::Condvar);

impl Condvar {
    /// With no thread waiting.
    pub const fn new() -> Condvar {
        Condvar(raw::Condvar::new())
    }

    /// Releases the lock, waits to be notified, and takes the lock again.
    ///
    /// # Panics
    ///
    /// In debug builds, if this thread holds another lock of the same or a greater level: it would take this
    /// one again under that. Also if this `Condvar` is used with two locks.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let MutexGuard { raw, _held: held } = guard;
        let held = held.rewait();
        MutexGuard { raw: self.0.wait(raw), _held: held }
    }

    /// As [`Condvar::wait`], for at most `time`; `true` beside the guard says that the time has passed.
    ///
    /// # Panics
    ///
    /// As [`Condvar::wait`].
    #[cfg(feature = "std")]
    pub fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, time: Duration) -> (MutexGuard<'a, T>, bool) {
        let MutexGuard { raw, _held: held } = guard;
        let held = held.rewait();
        let (raw, has_passed) = self.0.wait_timeout(raw, time);
        (MutexGuard { raw, _held: held }, has_passed)
    }

    /// Wakes one waiting thread.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiting threads.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Mutex, Rank};
    use std::thread;

    const RANK: Rank = Rank::new(1, "test");

    #[test]
    fn every_waiting_thread_sees_the_change_it_waited_for() {
        let (ready, changed) = (Mutex::new(RANK, false), Condvar::new());

        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut guard = ready.lock();
                    while !*guard {
                        guard = changed.wait(guard);
                    }
                });
            }
            *ready.lock() = true;
            changed.notify_all();
        });
    }

    #[test]
    fn notifying_one_hands_over_turn_by_turn() {
        let (turn, changed) = (Mutex::new(RANK, 0), Condvar::new());

        thread::scope(|scope| {
            for mine in [0, 1] {
                let (turn, changed) = (&turn, &changed);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let mut guard = turn.lock();
                        while *guard % 2 != mine {
                            guard = changed.wait(guard);
                        }
                        *guard += 1;
                        changed.notify_one();
                    }
                });
            }
        });

        assert_eq!(turn.into_inner(), 100);
    }

    #[test]
    fn a_wait_for_nothing_ends_when_its_time_has_passed() {
        let (mutex, changed) = (Mutex::new(RANK, 5), Condvar::new());

        let mut guard = mutex.lock();
        loop {
            let (again, timed_out) = changed.wait_timeout(guard, Duration::from_millis(1));
            guard = again;
            if timed_out {
                break;
            }
        }

        assert_eq!(*guard, 5);
    }
}
