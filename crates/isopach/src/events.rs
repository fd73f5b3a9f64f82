//! What happened inside, for whoever listens.

use crate::error::{Error, Result};
use isopach_engine::{error::KeyBounds, store::Finding, types::Level};
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
    /// A bulk load shows.
    Ingested {
        /// Which keyspace.
        keyspace: &'a str,
        /// Entries loaded.
        entries: u64,
        /// Size of the tables.
        bytes: u64,
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
        /// Bytes read; none if tables were only moved to another level.
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
    /// There is no space: writes and background work fail for want of it, reads go on. Ends by itself, with
    /// [`Event::OutOfSpaceEnd`].
    OutOfSpaceBegin {
        /// What failed first.
        error: &'a Error,
    },
    /// There is space again, and what failed for want of it succeeds.
    OutOfSpaceEnd,
    /// Reading met damage in a table, or a file of separated values, in which none was known. Told once for each.
    TableDamaged {
        /// Keyspace, file and place.
        table: &'a DamagedTable,
    },
    /// The background's scrub found something: see [`DbOptions::scrub_every`](crate::DbOptions::scrub_every). What is
    /// harmless is written anew, if [`DbOptions::auto_heal`](crate::DbOptions::auto_heal) is on.
    ScrubFound {
        /// What and where.
        found: &'a Finding,
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

/// A table, or a file of separated values, whose bytes are not what was written, or cannot be read. Reads of its keys fail where they need
/// them and go on elsewhere; background compaction leaves it alone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DamagedTable {
    /// Whose table it is.
    pub keyspace: String,
    /// Its file, relative to the database.
    pub file: String,
    /// Where in the file the damage was met first, in bytes; `None` if the file is not there or cannot be
    /// read at all.
    pub offset: Option<u64>,
    /// Keys whose answers are unknown because of that place.
    pub keys: Option<KeyBounds>,
    /// What is wrong, with file and place.
    pub message: String,
}

/// Everybody who listens. Without any, what is wrong and what recovery discarded goes to standard error.
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
        Event::Poisoned { error } | Event::BackgroundError { error } | Event::OutOfSpaceBegin { error } => {
            eprintln!("isopach: {error}");
        }
        Event::OutOfSpaceEnd => eprintln!("isopach: there is space again"),
        Event::TableDamaged { table } => eprintln!("isopach: {}", table.message),
        Event::ScrubFound { found } if !found.is_harmless => eprintln!("isopach: {}", found.message),
        Event::LogEndDiscarded { file, offset, bytes } => {
            eprintln!(
                "isopach: {bytes} bytes of the log's end were dropped, from {file} at byte {offset} on"
            );
        }
        _ => {}
    }
}
