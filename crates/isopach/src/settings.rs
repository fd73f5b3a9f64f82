//! The options of an open database that are in force. Stores none: that is for who changes them.

use crate::options::{DbOptions, Durability};
use isopach_env::sync::{
    Mutex, Rank,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

/// Of all of them together. Held for a copy.
const OPTIONS: Rank = Rank::new(27, "options");

/// See the module. What commits look at is at hand without a lock: each by itself, and nothing else is read because of
/// it. Changes take turns outside.
#[derive(Debug)]
pub(crate) struct Settings {
    all: Mutex<DbOptions>,
    /// [`Durability::to_raw`].
    durability: AtomicU64,
    write_buffer_bytes: AtomicU64,
    max_wal_bytes: AtomicU64,
    /// Microseconds; 0: never.
    sync_every_us: AtomicU64,
    /// Microseconds; 0: never.
    scrub_every_us: AtomicU64,
}

impl Settings {
    pub(crate) fn new(options: DbOptions) -> Settings {
        let settings = Settings {
            all: Mutex::new(OPTIONS, options.clone()),
            durability: AtomicU64::new(0),
            write_buffer_bytes: AtomicU64::new(0),
            max_wal_bytes: AtomicU64::new(0),
            sync_every_us: AtomicU64::new(0),
            scrub_every_us: AtomicU64::new(0),
        };
        settings.set(options);
        settings
    }

    /// All of them.
    pub(crate) fn all(&self) -> DbOptions {
        self.all.lock().clone()
    }

    pub(crate) fn set(&self, options: DbOptions) {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.durability.store(options.durability.to_raw(), Ordering::Relaxed);
        self.write_buffer_bytes.store(options.write_buffer_bytes, Ordering::Relaxed);
        self.max_wal_bytes.store(options.max_wal_bytes, Ordering::Relaxed);
        self.sync_every_us.store(options.sync_every.map_or(0, us), Ordering::Relaxed);
        self.scrub_every_us.store(options.scrub_every.map_or(0, us), Ordering::Relaxed);
        *self.all.lock() = options;
    }

    /// See [`DbOptions::durability`].
    #[inline]
    pub(crate) fn durability(&self) -> Durability {
        Durability::from_raw(self.durability.load(Ordering::Relaxed)).expect("only such are stored")
    }

    /// See [`DbOptions::write_buffer_bytes`].
    #[inline]
    pub(crate) fn write_buffer_bytes(&self) -> u64 {
        self.write_buffer_bytes.load(Ordering::Relaxed)
    }

    /// See [`DbOptions::max_wal_bytes`].
    #[inline]
    pub(crate) fn max_wal_bytes(&self) -> u64 {
        self.max_wal_bytes.load(Ordering::Relaxed)
    }

    /// See [`DbOptions::sync_every`].
    #[inline]
    pub(crate) fn sync_every(&self) -> Option<Duration> {
        time(&self.sync_every_us)
    }

    /// See [`DbOptions::scrub_every`].
    pub(crate) fn scrub_every(&self) -> Option<Duration> {
        time(&self.scrub_every_us)
    }
}

fn time(us: &AtomicU64) -> Option<Duration> {
    let us = us.load(Ordering::Relaxed);
    (us > 0).then(|| Duration::from_micros(us))
}
