//! How long a directory is in use: the lock is held, and the end is told, until the last user after the
//! close.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use isopach_env::{
    FileLock,
    sync::{
        Mutex, Rank,
        atomic::{AtomicU64, Ordering},
        catch,
    },
};

/// Of the lock and of what runs at the end.
const END: Rank = Rank { level: 80, name: "life.end" };

/// Set in [`Life::users`] when new users are refused.
const CLOSED: u64 = 1 << 63;

/// Whether a directory is in use, and by how many.
///
/// Users (readers, scans, jobs) hold a [`Lease`]. After [`Life::close`] no new ones come, and the last one
/// releases the lock and runs what waits for the end. Handles that are not leases, such as open trees and
/// slices, do not keep the directory.
pub struct Life {
    /// Number of leases, and [`CLOSED`]. Whoever brings it to `CLOSED` alone ends the life.
    users: AtomicU64,
    end: Mutex<End>,
}

struct End {
    locks: Vec<Box<dyn FileLock>>,
    waiting: Vec<Box<dyn FnOnce() + Send>>,
    has_come: bool,
}

impl Life {
    /// Holds the locks of the directory and of its other places, where there are some.
    pub fn new(locks: Vec<Box<dyn FileLock>>) -> Life {
        let end = End { locks, waiting: Vec::new(), has_come: false };
        Life { users: AtomicU64::new(0), end: Mutex::new(END, end) }
    }

    /// Holds the locks of further places.
    pub fn hold(&self, locks: Vec<Box<dyn FileLock>>) {
        self.end.lock().locks.extend(locks);
    }

    /// Uses the directory; `None` if it is closed.
    pub fn enter(self: &Arc<Life>) -> Option<Lease> {
        if self.users.fetch_add(1, Ordering::SeqCst) & CLOSED == 0 {
            return Some(Lease(Arc::clone(self)));
        }
        self.leave();
        None
    }

    fn leave(&self) {
        if self.users.fetch_sub(1, Ordering::SeqCst) == CLOSED + 1 {
            self.finish();
        }
    }

    /// Refuses new users from now on. Ends at once if there are none.
    pub fn close(&self) {
        if self.users.fetch_or(CLOSED, Ordering::SeqCst) == 0 {
            self.finish();
        }
    }

    /// Whether new users are refused.
    pub fn is_closed(&self) -> bool {
        self.users.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Runs `f` when the directory is free, at once if it is. A panic in it is caught.
    pub fn at_end(&self, f: impl FnOnce() + Send + 'static) {
        let mut end = self.end.lock();
        if end.has_come {
            drop(end);
            let _ = catch(f);
        } else {
            end.waiting.push(Box::new(f));
        }
    }

    fn finish(&self) {
        let mut end = self.end.lock();
        end.has_come = true;
        // Before anybody can see that the end has come. The directory's own goes last: who has it gets the others.
        while end.locks.pop().is_some() {}
        let waiting = core::mem::take(&mut end.waiting);
        drop(end);
        for f in waiting {
            let _ = catch(f);
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Use of a directory: it stays locked until the last one is dropped.
pub struct Lease(Arc<Life>);

impl Clone for Lease {
    fn clone(&self) -> Lease {
        // Counted while one is held, so the end has not come, closed or not.
        self.0.users.fetch_add(1, Ordering::SeqCst);
        Lease(Arc::clone(&self.0))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.leave();
    }
}
