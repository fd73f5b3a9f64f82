//! What happened inside, for whoever listens.

use crate::error::{Error, Result};
use isopach_engine::types::Level;
use isopach_env::sync::catch;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Hears of events, on the thread where they happen. Must be quick. A panic inside is caught and counted.
///
/// It may call the database, except to wait for background work, and may drop handles, even the last one: the
/// closing is then handed to a thread of its own.
pub trait EventListener: Send + Sync + 'static {
    /// Called once for each event.
    fn on_event(&self, event: &Event<'_>);
}

/// One event.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Memtables of a keyspace are about to become tables.
    FlushBegin {
        /// Which keyspace.
        keyspace: &'a str,
    },
    /// They did, or not.
    FlushEnd {
        /// Which keyspace.
        keyspace: &'a str,
        /// Bytes written.
        bytes: u64,
        /// Time it took.
        took: Duration,
        /// How it ended.
        result: &'a Result<()>,
    },
    /// Tables of a keyspace are about to be merged or moved.
    CompactionBegin {
        /// Which keyspace.
        keyspace: &'a str,
        /// Where the outputs go.
        to: Level,
    },
    /// They were, or not.
    CompactionEnd {
        /// Which keyspace.
        keyspace: &'a str,
        /// Bytes read.
        read: u64,
        /// Bytes written.
        written: u64,
        /// Time it took.
        took: Duration,
        /// How it ended.
        result: &'a Result<()>,
    },
    /// Recovery dropped the end of the log, which was never promised to be durable.
    LogEndDiscarded {
        /// Where it begins, relative to the database.
        file: &'a str,
        /// Where in the file.
        offset: u64,
        /// How much of it is not zero.
        bytes: u64,
    },
    /// Nothing can be written until the database is reopened.
    Poisoned {
        /// Why.
        error: &'a Error,
    },
    /// Background work failed; it is tried again.
    BackgroundError {
        /// Why.
        error: &'a Error,
    },
    /// A listener panicked.
    ListenerPanicked,
}

/// Everybody who listens. Without any, background errors and what recovery discarded go to standard error.
pub(crate) struct Listeners {
    listeners: Vec<Arc<dyn EventListener>>,
    panics: AtomicU64,
}

impl Listeners {
    pub(crate) fn new(listeners: Vec<Arc<dyn EventListener>>) -> Listeners {
        Listeners { listeners, panics: AtomicU64::new(0) }
    }

    /// Tells everybody. A listener that panics harms nobody; the others are told of it.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        if self.listeners.is_empty() {
            to_standard_error(event);
        }
        for listener in &self.listeners {
            if catch(|| listener.on_event(event)).is_err() {
                self.panics.fetch_add(1, Ordering::Relaxed);
                for other in self.listeners.iter().filter(|other| !Arc::ptr_eq(other, listener)) {
                    let _ = catch(|| other.on_event(&Event::ListenerPanicked));
                }
            }
        }
    }

    /// Panics of listeners so far.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("listeners", &self.listeners.len()).finish()
    }
}

fn to_standard_error(event: &Event<'_>) {
    match event {
        Event::Poisoned { error } | Event::BackgroundError { error } => eprintln!("isopach: {error}"),
        Event::LogEndDiscarded { file, offset, bytes } => {
            eprintln!(
                "isopach: {bytes} bytes of the log's end were dropped, from {file} at byte {offset} on"
            );
        }
        _ => {}
    }
}
