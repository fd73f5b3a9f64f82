//! How long a directory is in use: the lock is held, and the end is told, by the last who uses any of it.

use alloc::{boxed::Box, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};
use isopach_env::{
    FileLock,
    sync::{Mutex, Rank, catch},
};

/// Of what runs at the end.
const AT_END: Rank = Rank { level: 80, name: "life.at_end" };

/// Shared by everything that may touch the directory. Dropped last, it releases the lock and tells.
pub struct Life {
    lock: Option<Box<dyn FileLock>>,
    at_end: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
    /// New calls are refused. Set once.
    is_closed: AtomicBool,
}

impl Life {
    /// Holds the directory's lock, where there is one.
    pub fn new(lock: Option<Box<dyn FileLock>>) -> Life {
        Life { lock, at_end: Mutex::new(AT_END, Vec::new()), is_closed: AtomicBool::new(false) }
    }

    /// Runs `f` when the directory is free. A panic in it is caught.
    pub fn at_end(&self, f: impl FnOnce() + Send + 'static) {
        self.at_end.lock().push(Box::new(f));
    }

    /// Refuses new calls from now on. Returns whether they were refused before.
    pub fn close(&self) -> bool {
        self.is_closed.swap(true, Ordering::SeqCst)
    }

    /// Whether new calls are refused.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        drop(self.lock.take());
        for f in core::mem::take(self.at_end.get_mut()) {
            let _ = catch(f);
        }
    }
}
