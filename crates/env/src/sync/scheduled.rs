//! The primitives of a deterministic scheduler: every operation is a point where it may run another thread.
//!
//! `blocking` has the same items for every other build. Time here is what waits say it is: nothing takes any,
//! and no wait for it depends on the machine.

use core::{
    cell::Cell,
    ops::{Add, Deref, DerefMut},
    time::Duration,
};
use shuttle::{sync, thread};
use std::sync::{PoisonError, TryLockError};

pub(super) type ReadGuard<'a, T> = sync::RwLockReadGuard<'a, T>;
pub(super) type WriteGuard<'a, T> = sync::RwLockWriteGuard<'a, T>;

pub(super) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(super) const fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { mutex: self, guard }
    }

    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = match self.0.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard { mutex: self, guard })
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Knows its mutex, which a wait whose time has passed takes again.
pub(super) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    guard: sync::MutexGuard<'a, T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

pub(super) struct RwLock<T>(sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(super) const fn new(value: T) -> RwLock<T> {
        RwLock(sync::RwLock::new(value))
    }

    pub(super) fn read(&self) -> ReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> WriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait of less than this ends because its time has passed; one of this or more never does. The long ones
/// only guard against a notification that was lost: where nothing else ends one, the scheduler shall see a
/// deadlock.
const NEVER: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Condvar(sync::Condvar);

impl Condvar {
    pub(super) const fn new() -> Condvar {
        Condvar(sync::Condvar::new())
    }

    pub(super) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let MutexGuard { mutex, guard } = guard;
        let guard = self.0.wait(guard).unwrap_or_else(PoisonError::into_inner);
        MutexGuard { mutex, guard }
    }

    /// `true`: the time has passed. Others may run meanwhile, as many steps as the scheduler likes.
    pub(super) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        if time >= NEVER {
            return (self.wait(guard), false);
        }
        let MutexGuard { mutex, guard } = guard;
        drop(guard);
        thread::yield_now();
        NOW.set(NOW.get() + time);
        (mutex.lock(), true)
    }

    pub(super) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(super) fn notify_all(&self) {
        self.0.notify_all();
    }
}

std::thread_local! {
    /// Time passed in the runs of this thread of the operating system, on which all threads of a run are.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A moment, as `std::time::Instant`; only waits move it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Instant(Duration);

impl Instant {
    /// Now.
    pub fn now() -> Instant {
        Instant(NOW.get())
    }

    /// `None` if there is no such moment.
    pub fn checked_add(self, time: Duration) -> Option<Instant> {
        self.0.checked_add(time).map(Instant)
    }

    /// Time since `earlier`; zero if that is later.
    pub fn saturating_duration_since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Time since this moment.
    pub fn elapsed(self) -> Duration {
        Instant::now().saturating_duration_since(self)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, time: Duration) -> Instant {
        Instant(self.0 + time)
    }
}
