//! What listeners were told of the database's condition, so that each change is told once and in order.
//!
//! Decides nothing: whether there is space or poison is asked of who knows. Never tells under a lock.

use crate::{
    error::{Error, ErrorKind},
    events::{Event, Listeners},
};
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module.
#[derive(Default, Debug)]
pub(crate) struct Told {
    poison: AtomicBool,
    lacks_space: AtomicBool,
    /// Somebody tells of space now, and looks again before he ends.
    is_telling: AtomicBool,
}

impl Told {
    /// Tells once that writing stopped for good, if that is the error.
    pub(crate) fn poison(&self, listeners: &Listeners, error: &Error) {
        if error.kind() == ErrorKind::Poisoned && !self.poison.swap(true, Ordering::Relaxed) {
            listeners.tell(&Event::Poisoned { error });
        }
    }

    /// Whether the last that was told of space is that there is none.
    pub(crate) fn lacks_space(&self) -> bool {
        self.lacks_space.load(Ordering::SeqCst)
    }

    /// Tells that space is missing or is there again, if that changed. `lacking` is the error for want of
    /// space that lasts.
    pub(crate) fn space(&self, listeners: &Listeners, lacking: &dyn Fn() -> Option<Error>) {
        // One at a time, so that begin and end come in turn; who comes meanwhile leaves his change to the one
        // who tells, which may be himself, further up: a listener may write.
        while !self.is_telling.swap(true, Ordering::SeqCst) {
            let error = lacking();
            let lacks = error.is_some();
            if self.lacks_space.swap(lacks, Ordering::SeqCst) != lacks {
                match &error {
                    Some(error) => listeners.tell(&Event::OutOfSpaceBegin { error }),
                    None => listeners.tell(&Event::OutOfSpaceEnd),
                }
            }
            self.is_telling.store(false, Ordering::SeqCst);
            if lacking().is_some() == self.lacks_space() {
                return;
            }
        }
    }
}
