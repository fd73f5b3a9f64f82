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
