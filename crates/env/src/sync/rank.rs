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

    std::thread_local! {
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
            let wanted = self.0;
            assert_above_all(wanted, "would be taken");
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

    fn assert_above_all(wanted: Rank, event: &str) {
        let highest =
            HELD.try_with(|held| held.borrow().iter().copied().max_by_key(|rank| rank.level)).ok().flatten();
        if let Some(holds) = highest {
            assert!(
                wanted.level > holds.level,
                "lock order: `{}` (level {}) {event} under `{}` (level {})",
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
        #[cfg(feature = "std")]
        pub(in crate::sync) fn rewait(self) -> Held {
            self
        }
    }
}
