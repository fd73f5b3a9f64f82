//! The two locks: ranked, not poisoned, blocking or spinning.

use super::{
    rank::{Held, LockRank, Rank},
    raw,
};
use core::{
    fmt,
    ops::{Deref, DerefMut},
};

/// Lets one thread at a time reach a value.
pub struct Mutex<T> {
    rank: LockRank,
    raw: raw::Mutex<T>,
}

impl<T> Mutex<T> {
    /// A free lock around `value`.
    pub const fn new(rank: Rank, value: T) -> Mutex<T> {
        Mutex { rank: LockRank::new(rank), raw: raw::Mutex::new(value) }
    }

    /// Waits for the lock and takes it.
    ///
    /// # Panics
    ///
    /// In debug builds with `std`, if this thread holds a lock of the same or a greater level.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.rank.wait();
        MutexGuard { raw: self.raw.lock(), _held: held }
    }

    /// Takes the lock if it is free. Never waits, so any order of ranks is fine.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let raw = self.raw.try_lock()?;
        Some(MutexGuard { raw, _held: self.rank.note() })
    }

    /// The value, which nobody else can reach now.
    pub fn get_mut(&mut self) -> &mut T {
        self.raw.get_mut()
    }

    /// The value, without the lock.
    pub fn into_inner(self) -> T {
        self.raw.into_inner()
    }
}

/// A taken [`Mutex`]; dropping it releases.
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T> {
    pub(super) raw: raw::MutexGuard<'a, T>,
    pub(super) _held: Held,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.raw
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.raw
    }
}

/// Lets many threads read a value, or one change it.
///
/// A thread that holds it for reading must not take it again: ranks forbid it, and a writer that waits in
/// between would block both.
pub struct RwLock<T> {
    rank: LockRank,
    raw: raw::RwLock<T>,
}

impl<T> RwLock<T> {
    /// A free lock around `value`.
    pub const fn new(rank: Rank, value: T) -> RwLock<T> {
        RwLock { rank: LockRank::new(rank), raw: raw::RwLock::new(value) }
    }

    /// Waits until no writer is inside, then enters as a reader.
    ///
    /// # Panics
    ///
    /// In debug builds with `std`, if this thread holds a lock of the same or a greater level.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        let held = self.rank.wait();
        RwLockReadGuard { raw: self.raw.read(), _held: held }
    }

    /// Waits until nobody is inside, then enters as the writer.
    ///
    /// # Panics
    ///
    /// In debug builds with `std`, if this thread holds a lock of the same or a greater level.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        let held = self.rank.wait();
        RwLockWriteGuard { raw: self.raw.write(), _held: held }
    }

    /// The value, which nobody else can reach now.
    pub fn get_mut(&mut self) -> &mut T {
        self.raw.get_mut()
    }

    /// The value, without the lock.
    pub fn into_inner(self) -> T {
        self.raw.into_inner()
    }
}

/// A reader of a [`RwLock`]; dropping it leaves.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockReadGuard<'a, T> {
    raw: raw::ReadGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.raw
    }
}

/// The writer of a [`RwLock`]; dropping it leaves.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T> {
    raw: raw::WriteGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.raw
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.raw
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock").finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "std")]
    use crate::sync::{Panicked, catch};
    use std::thread;

    const RANK: Rank = Rank::new(1, "test");
    #[cfg(feature = "std")]
    const OTHER_RANK: Rank = Rank::new(2, "other");

    #[test]
    fn increments_of_many_threads_are_not_lost() {
        let (mutex, lock) = (Mutex::new(RANK, 0), RwLock::new(RANK, 0));

        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        *mutex.lock() += 1;
                        *lock.write() += 1;
                    }
                });
            }
        });

        assert_eq!((mutex.into_inner(), lock.into_inner()), (800, 800));
    }

    #[test]
    fn a_taken_mutex_cannot_be_taken() {
        let mutex = Mutex::new(RANK, 7);

        let guard = mutex.lock();
        assert!(mutex.try_lock().is_none());
        drop(guard);

        assert_eq!(mutex.try_lock().map(|guard| *guard), Some(7));
    }

    #[test]
    fn readers_share_a_lock() {
        let lock = RwLock::new(RANK, 7);
        let _reader = lock.read();

        let seen = thread::scope(|scope| scope.spawn(|| *lock.read()).join()).expect("does not wait");

        assert_eq!(seen, 7);
    }

    #[test]
    fn the_owner_reaches_the_value_without_locking() {
        let (mut mutex, mut lock) = (Mutex::new(RANK, 1), RwLock::new(RANK, 2));

        *mutex.get_mut() += 10;
        *lock.get_mut() += 10;

        assert_eq!((mutex.into_inner(), lock.into_inner()), (11, 12));
    }

    #[test]
    #[cfg(feature = "std")]
    fn a_panic_under_a_lock_releases_it() {
        let (mut mutex, mut lock) = (Mutex::new(RANK, 0), RwLock::new(OTHER_RANK, 0));

        let broken = catch(|| {
            let (mut first, mut second) = (mutex.lock(), lock.write());
            (*first, *second) = (1, 1);
            panic!("a callback of a test");
        });

        assert_eq!(broken, Err::<(), _>(Panicked));
        assert_eq!(mutex.try_lock().map(|guard| *guard), Some(1));
        assert_eq!(*mutex.lock() + *lock.read(), 2);
        assert_eq!(*lock.write(), 1);
        assert_eq!(*mutex.get_mut() + *lock.get_mut(), 2);
        assert_eq!(mutex.into_inner() + lock.into_inner(), 2);
    }
}
