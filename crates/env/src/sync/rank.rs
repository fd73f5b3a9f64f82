//! The order of locks, and the per-thread list of held ranks that asserts it in debug builds with `std`.
//!
//! In all other builds [`LockRank`] and [`Held`] are empty and every call here compiles to nothing.

/// Place of a lock in the order of locks.
///
/// The name is what a broken rule shows; two locks of one level are never held together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rank {
    /// A thread waits only for locks of a strictly greater level than all it holds.
    pub level: u8,
    /// The lock's name in messages.
    pub name: &'static str,
}

impl Rank {
    /// The first of the levels that are this crate's own; locks of other crates stay below.
    pub const ENV_LEVELS: u8 = 240;

    /// A rank with its level and name.
    pub const fn new(level: u8, name: &'static str) -> Rank {
        Rank { level, name }
    }
}

pub(super) use tracking::{Held, LockRank};

#[cfg(all(feature = "std", debug_assertions))]
mod tracking {
    use super::Rank;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    crate::sync::thread_local! {
        /// Ranks of the locks this thread holds, in the order it took them.
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    /// The rank a lock carries.
    pub(in crate::sync) struct LockRank(Rank);

    impl LockRank {
        pub(in crate::sync) const fn new(rank: Rank) -> LockRank {
            LockRank(rank)
        }

        /// Notes that the thread is about to wait for the lock.
        ///
        /// # Panics
        ///
        /// If the thread holds a lock of the same or a greater level.
        pub(in crate::sync) fn wait(&self) -> Held {
            assert_above_all_held(self.0);
            self.note()
        }

        /// Notes that the thread got the lock without waiting, in any order.
        pub(in crate::sync) fn note(&self) -> Held {
            // A thread that is being torn down has no list any more; its locks go unchecked.
            let _ = HELD.try_with(|held| held.borrow_mut().push(self.0));
            Held(self.0)
        }
    }

    /// An entry of this thread's list; dropping it removes the entry.
    pub(in crate::sync) struct Held(Rank);

    impl Held {
        /// Checks that a wait which gives up this lock and takes it again keeps the order.
        ///
        /// # Panics
        ///
        /// If the thread holds another lock of the same or a greater level.
        pub(in crate::sync) fn rewait(self) -> Held {
            let rank = self.0;
            drop(self);
            LockRank(rank).wait()
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = HELD.try_with(|held| {
                let mut held = held.borrow_mut();
                let index = held.iter().rposition(|rank| *rank == self.0);
                held.remove(index.expect("a guard is dropped by the thread that took the lock"));
            });
        }
    }

    fn assert_above_all_held(wanted: Rank) {
        let highest = |held: &RefCell<Vec<Rank>>| held.borrow().iter().copied().max_by_key(|rank| rank.level);
        if let Ok(Some(holds)) = HELD.try_with(highest) {
            assert!(
                wanted.level > holds.level,
                "lock order: `{}` (level {}) is taken under `{}` (level {})",
                wanted.name,
                wanted.level,
                holds.name,
                holds.level,
            );
        }
    }
}

#[cfg(not(all(feature = "std", debug_assertions)))]
mod tracking {
    use super::Rank;

    pub(in crate::sync) struct LockRank;

    impl LockRank {
        pub(in crate::sync) const fn new(_: Rank) -> LockRank {
            LockRank
        }

        pub(in crate::sync) fn wait(&self) -> Held {
            Held
        }

        pub(in crate::sync) fn note(&self) -> Held {
            Held
        }
    }

    pub(in crate::sync) struct Held;

    impl Held {
        pub(in crate::sync) fn rewait(self) -> Held {
            self
        }
    }
}

#[cfg(all(test, feature = "std", debug_assertions))]
mod tests {
    use super::Rank;
    use crate::sync::{Condvar, Mutex, RwLock};
    use alloc::{boxed::Box, string::String};
    use core::{any::Any, time::Duration};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const LOW: Rank = Rank::new(1, "low");
    const HIGH: Rank = Rank::new(2, "high");

    fn panic_of(f: impl FnOnce()) -> String {
        let payload: Box<dyn Any + Send> =
            catch_unwind(AssertUnwindSafe(f)).expect_err("the order is broken");
        *payload.downcast::<String>().expect("a formatted message")
    }

    #[test]
    fn locks_are_taken_upwards() {
        let (low, high) = (Mutex::new(LOW, ()), RwLock::new(HIGH, ()));

        let first = low.lock();
        let second = high.read();
        drop(first);
        drop(second);

        let _again = low.lock();
        let _and_again = high.write();
    }

    #[test]
    fn a_lock_taken_downwards_panics_with_both_names() {
        let (low, high) = (Mutex::new(LOW, ()), Mutex::new(HIGH, ()));
        let _held = high.lock();

        let message = panic_of(|| drop(low.lock()));

        assert_eq!(message, "lock order: `low` (level 1) is taken under `high` (level 2)");
    }

    #[test]
    fn two_locks_of_one_level_are_not_taken_together() {
        let (one, two) = (RwLock::new(LOW, ()), RwLock::new(LOW, ()));
        let _held = one.read();

        panic_of(|| drop(two.read()));
        panic_of(|| drop(one.read()));
    }

    #[test]
    fn a_refused_lock_is_neither_taken_nor_counted() {
        let (low, high) = (Mutex::new(LOW, ()), Mutex::new(HIGH, ()));
        let held = high.lock();
        panic_of(|| drop(low.lock()));
        drop(held);

        let _low = low.lock();
        let _high = high.lock();
    }

    #[test]
    fn a_lock_that_was_free_may_be_tried_in_any_order_and_then_counts() {
        let (low, middle, high) = (
            Mutex::new(LOW, ()),
            Mutex::new(Rank::new(2, "middle"), ()),
            Mutex::new(Rank::new(3, "high"), ()),
        );
        let held = high.lock();
        let tried = low.try_lock().expect("free");
        drop(held);

        let _upwards = middle.lock();

        assert!(low.try_lock().is_none());
        drop(tried);
    }

    #[test]
    fn other_threads_have_their_own_order() {
        let (low, high) = (Mutex::new(LOW, ()), Mutex::new(HIGH, ()));
        let _held = high.lock();

        std::thread::scope(|scope| scope.spawn(|| drop(low.lock())).join()).expect("holds nothing");
    }

    #[test]
    fn a_wait_keeps_the_lock_in_the_order() {
        let (low, high, changed) = (Mutex::new(LOW, ()), Mutex::new(HIGH, ()), Condvar::new());

        let (guard, _) = changed.wait_timeout(high.lock(), Duration::ZERO);

        panic_of(|| drop(low.lock()));
        drop(guard);
        drop(low.lock());
    }

    #[test]
    fn waiting_under_a_higher_lock_panics() {
        let (low, high, changed) = (Mutex::new(LOW, ()), Mutex::new(HIGH, ()), Condvar::new());
        let guard = low.lock();
        let _held = high.lock();

        let message = panic_of(|| drop(changed.wait_timeout(guard, Duration::ZERO)));

        assert_eq!(message, "lock order: `low` (level 1) is taken under `high` (level 2)");
    }
}
