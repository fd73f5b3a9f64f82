//! Spin locks for targets without `std`: the one file of this crate with unsafe code.
//!
//! Both kinds are one lock: a word that counts its readers, or says that a writer is inside. A waiter spins
//! until the word lets it in, so a holder must never wait for the thread it interrupted. Not fair: writers
//! may starve under readers that overlap without end.

#![allow(unsafe_code)]

use core::{
    cell::UnsafeCell,
    hint,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicUsize, Ordering},
};

pub(super) type MutexGuard<'a, T> = WriteGuard<'a, T>;

pub(super) struct Mutex<T>(RwLock<T>);

impl<T> Mutex<T> {
    pub(super) const fn new(value: T) -> Mutex<T> {
        Mutex(RwLock::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.write()
    }

    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_write()
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    pub(super) fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

/// [`RwLock::word`] when nobody is inside.
const FREE: usize = 0;
/// [`RwLock::word`] when a writer is inside. Smaller values count readers.
const WRITER: usize = usize::MAX;

pub(super) struct RwLock<T> {
    /// Who is inside. Entering acquires and leaving releases, so that who enters sees what its predecessors
    /// wrote to `value`.
    word: AtomicUsize,
    /// Touched only through guards, which exist only while `word` counts them.
    value: UnsafeCell<T>,
}

// SAFETY: sending the lock sends the value, and nothing in it is tied to a thread.
unsafe impl<T: Send> Send for RwLock<T> {}
// SAFETY: a shared lock hands out `&T` to many threads at once (T: Sync) and `&mut T` to one after another,
// which can move the value out of the thread that made it (T: Send).
unsafe impl<T: Send + Sync> Sync for RwLock<T> {}
// SAFETY: a mutex hands out one guard at a time, so the value is never shared, only passed on (T: Send).
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> RwLock<T> {
    pub(super) const fn new(value: T) -> RwLock<T> {
        RwLock { word: AtomicUsize::new(FREE), value: UnsafeCell::new(value) }
    }

    pub(super) fn read(&self) -> ReadGuard<'_, T> {
        loop {
            let seen = self.word.load(Ordering::Relaxed);
            // The last free count is never taken: one more reader would look like a writer.
            if seen < WRITER - 1
                && self
                    .word
                    .compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return ReadGuard { lock: self, value: PhantomData };
            }
            hint::spin_loop();
        }
    }

    pub(super) fn write(&self) -> WriteGuard<'_, T> {
        loop {
            if let Some(guard) = self.try_write() {
                return guard;
            }
            while self.word.load(Ordering::Relaxed) != FREE {
                hint::spin_loop();
            }
        }
    }

    fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        self.word
            .compare_exchange(FREE, WRITER, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| WriteGuard { lock: self, value: PhantomData })
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    pub(super) fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

/// Proof that `lock.word` counts this reader.
pub(super) struct ReadGuard<'a, T> {
    lock: &'a RwLock<T>,
    /// Shared between threads only if `&T` may be.
    value: PhantomData<&'a T>,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: while this guard lives, `word` counts it as a reader and no writer enters.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.word.fetch_sub(1, Ordering::Release);
    }
}

/// Proof that `lock.word` is [`WRITER`] for this guard alone.
pub(super) struct WriteGuard<'a, T> {
    lock: &'a RwLock<T>,
    /// Shared between threads only if `&T` may be, sent only if `T` may be.
    value: PhantomData<&'a mut T>,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: while this guard lives, `word` is `WRITER` and nobody else enters.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference that this guard gives out.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.word.store(FREE, Ordering::Release);
    }
}

/// Nobody is parked: waiting is giving the lock up for a moment.
#[derive(Debug, Default)]
pub(super) struct Condvar;

impl Condvar {
    pub(super) const fn new() -> Condvar {
        Condvar
    }

    pub(super) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let lock = guard.lock;
        drop(guard);
        hint::spin_loop();
        lock.write()
    }

    pub(super) fn notify_one(&self) {}

    pub(super) fn notify_all(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn who_waits_for_a_condition_sees_it_become_true() {
        let (ready, changed) = (Mutex::new(false), Condvar::new());

        thread::scope(|scope| {
            scope.spawn(|| {
                let mut guard = ready.lock();
                while !*guard {
                    guard = changed.wait(guard);
                }
            });
            *ready.lock() = true;
            changed.notify_one();
            changed.notify_all();
        });
    }

    #[test]
    fn a_held_mutex_lets_nobody_else_in() {
        let mutex = Mutex::new(1);

        let guard = mutex.lock();
        assert!(mutex.try_lock().is_none());
        drop(guard);

        assert_eq!(mutex.try_lock().map(|guard| *guard), Some(1));
    }

    #[test]
    fn readers_share_and_keep_writers_out() {
        let lock = RwLock::new(1);

        let (first, second) = (lock.read(), lock.read());
        assert_eq!(*first + *second, 2);
        assert!(lock.try_write().is_none());
        drop(first);
        assert!(lock.try_write().is_none());
        drop(second);

        assert!(lock.try_write().is_some());
    }

    #[test]
    fn increments_of_many_threads_are_not_lost() {
        const THREADS: usize = 4;
        const ROUNDS: usize = 500;
        let lock = RwLock::new([0; 2]);

        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let mut both = lock.write();
                        both[0] += 1;
                        both[1] += 1;
                        drop(both);
                        let both = lock.read();
                        assert_eq!(both[0], both[1], "a reader saw a write half done");
                    }
                });
            }
        });

        assert_eq!(lock.into_inner(), [THREADS * ROUNDS; 2]);
    }

    #[test]
    fn the_value_is_reached_without_locking_by_its_owner() {
        let (mut mutex, mut lock) = (Mutex::new(1), RwLock::new(2));

        *mutex.get_mut() += 10;
        *lock.get_mut() += 10;

        assert_eq!((mutex.into_inner(), lock.into_inner()), (11, 12));
    }
}
