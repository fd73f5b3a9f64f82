//! Waiting for what other threads do in moments: first on the core, then parked.

use isopach_env::sync::{
    Condvar, Mutex, Rank,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

/// How often who has a turn gives its core away for others who may come.
const YIELDS: u32 = 32;

/// Turns that a waiter spins before it parks: about a microsecond.
const SPINS: u32 = 100;

/// On lines of its own: what one thread writes all the time is not beside what others read.
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// Threads that wait until something is so.
pub(crate) struct Waiters {
    /// Who is parked, or about to be.
    parked: Padded<AtomicUsize>,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Waiters {
    /// Nobody. `rank` is of the lock under which those who are parked look.
    pub(crate) const fn new(rank: Rank) -> Waiters {
        Waiters { parked: Padded(AtomicUsize::new(0)), lock: Mutex::new(rank, ()), changed: Condvar::new() }
    }

    /// Waits until `look` finds something.
    ///
    /// What it looks at is changed and loaded with `SeqCst`, and [`Waiters::wake`] follows each change: then either
    /// the waiter sees the change, or who made it sees the waiter.
    pub(crate) fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..SPINS {
            if let Some(found) = look() {
                return found;
            }
            std::hint::spin_loop();
        }
        self.parked.0.fetch_add(1, Ordering::SeqCst);
        let mut lock = self.lock.lock();
        let found = loop {
            match look() {
                Some(found) => break found,
                None => lock = self.changed.wait(lock),
            }
        };
        drop(lock);
        self.parked.0.fetch_sub(1, Ordering::SeqCst);
        found
    }

    /// As [`Waiters::wait_for`], for a condition.
    pub(crate) fn wait_until(&self, is_so: impl Fn() -> bool) {
        self.wait_for(|| is_so().then_some(()));
    }

    /// How many are parked, or about to be.
    fn parked(&self) -> usize {
        self.parked.0.load(Ordering::SeqCst)
    }

    /// Those who wait look again.
    pub(crate) fn wake(&self) {
        if self.parked() > 0 {
            let _lock = self.lock.lock();
            self.changed.notify_all();
        }
    }
}

/// A turn: one thread at a time does what several wait for. All who wait look again when it ends, and are often
/// done then.
pub(crate) struct Turn {
    is_taken: AtomicBool,
    waiters: Waiters,
    /// Who waited when the last turn ended, its owner among them.
    known: AtomicUsize,
}

/// The turn of one thread; ends when dropped.
pub(crate) struct Taken<'t>(&'t Turn);

impl Turn {
    /// Nobody has it. `rank` is as for [`Waiters::new`].
    pub(crate) const fn new(rank: Rank) -> Turn {
        Turn { is_taken: AtomicBool::new(false), waiters: Waiters::new(rank), known: AtomicUsize::new(0) }
    }

    /// Waits for the turn.
    pub(crate) fn take(&self) -> Taken<'_> {
        self.waiters.wait_for(|| self.try_take())
    }

    /// Waits for the turn, or until another's made it needless: `done` then says something, which is the error.
    pub(crate) fn take_unless<T>(&self, mut done: impl FnMut() -> Option<T>) -> Result<Taken<'_>, T> {
        let taken = self.waiters.wait_for(|| match done() {
            Some(done) => Some(Err(done)),
            None => self.try_take().map(Ok),
        })?;
        // It may have ended between the two looks.
        done().map_or(Ok(taken), Err)
    }

    /// Has the turn if nobody has it.
    pub(crate) fn try_take(&self) -> Option<Taken<'_>> {
        let taken = self.is_taken.compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst);
        taken.is_ok().then(|| Taken(self))
    }
}

impl Taken<'_> {
    /// Lets those come who waited when the turn before ended: threads that do the same again and again are back in
    /// moments, and one turn then serves all of them. Gives the core away for that, a few times at most.
    pub(crate) fn gather(&self) {
        for _ in 0..YIELDS {
            if self.0.waiters.parked() + 1 >= self.0.known.load(Ordering::Relaxed) {
                return;
            }
            thread::yield_now();
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.known.store(self.0.waiters.parked() + 1, Ordering::Relaxed);
        self.0.is_taken.store(false, Ordering::SeqCst);
        self.0.waiters.wake();
    }
}
