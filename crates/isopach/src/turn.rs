//! A turn: one thread at a time does what several wait for.

use isopach_env::sync::{Condvar, Mutex, Rank};

/// Who has it works without a lock; all who wait look again when it ends, and are often done then.
pub(crate) struct Turn {
    is_taken: Mutex<bool>,
    ended: Condvar,
}

/// The turn of one thread; ends when dropped.
pub(crate) struct Taken<'t>(&'t Turn);

impl Turn {
    /// Nobody has it. `rank` is of the lock under which those who wait look.
    pub(crate) const fn new(rank: Rank) -> Turn {
        Turn { is_taken: Mutex::new(rank, false), ended: Condvar::new() }
    }

    /// Waits for the turn.
    pub(crate) fn take(&self) -> Taken<'_> {
        match self.take_unless(|| None::<std::convert::Infallible>) {
            Ok(taken) => taken,
            Err(never) => match never {},
        }
    }

    /// Waits for the turn, or until another's made it needless: `done` then says something, which is the error.
    pub(crate) fn take_unless<T>(&self, mut done: impl FnMut() -> Option<T>) -> Result<Taken<'_>, T> {
        let mut is_taken = self.is_taken.lock();
        loop {
            if let Some(done) = done() {
                return Err(done);
            }
            if !*is_taken {
                *is_taken = true;
                return Ok(Taken(self));
            }
            is_taken = self.ended.wait(is_taken);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.is_taken.lock() = false;
        self.0.ended.notify_all();
    }
}
