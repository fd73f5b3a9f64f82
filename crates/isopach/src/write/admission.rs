//! Admission: writers are slowed by what is owed to the background, and wait while memtables fill their part
//! of the memory.

use super::{
    commit::Commits,
    throttle::{Debt, StallReason, rate},
};
use crate::{
    error::{Error, ErrorKind, Result},
    space::Space,
};
use isopach_env::sync::atomic::{AtomicU64, Ordering};
use std::{sync::Arc, time::Duration};

impl Commits {
    /// Memory of all memtables.
    pub(crate) fn memtable_bytes(&self) -> u64 {
        self.memtable_bytes.load(Ordering::Relaxed)
    }

    /// What [`Commits::memtable_bytes`] should stay within.
    pub(crate) fn memtable_limit(&self) -> u64 {
        self.memtable_limit.load(Ordering::Relaxed)
    }

    /// What memtables may still take.
    pub(crate) fn memtable_room(&self) -> u64 {
        self.memtable_limit().saturating_sub(self.memtable_bytes())
    }

    /// Changes the limit. Who waits for memory looks again.
    pub(crate) fn set_memtable_limit(&self, bytes: u64) {
        self.memtable_limit.store(bytes, Ordering::Relaxed);
        self.wake_writers();
    }

    /// Memtables of recovery count too.
    pub(crate) fn add_memory(&self, bytes: u64) {
        self.memtable_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Memtables became tables.
    pub(crate) fn free_memory(&self, bytes: u64) {
        self.memtable_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.wake_writers();
    }

    /// Those who wait for memory look again: there is more, or they should give up.
    pub(crate) fn wake_writers(&self) {
        let _wait = self.memory_wait.lock();
        self.memory_freed.notify_all();
    }

    /// Slows a writer by what is owed to the background, and holds it while memtables fill their part of the
    /// budget. `gives_up` says why waiting makes no sense any more.
    ///
    /// # Errors
    ///
    /// What `gives_up` said; `Stalled` with `no_slowdown`, if this would have waited.
    pub(crate) fn admit(
        &self,
        bytes: u64,
        spaces: &[Arc<Space>],
        no_slowdown: bool,
        gives_up: &dyn Fn() -> Option<Error>,
    ) -> Result<()> {
        if let Some((reason, bytes_per_s)) = rate(self.debt(spaces)) {
            if no_slowdown && self.throttle.is_behind(&*self.clock) {
                return Err(stalled(reason));
            }
            self.throttle.wait(&*self.clock, bytes, bytes_per_s);
        }
        if self.memtable_bytes() < self.memtable_limit() {
            return Ok(());
        }
        if no_slowdown {
            return Err(stalled(StallReason::MemoryBudget));
        }
        let since = self.clock.monotonic();
        let mut wait = self.memory_wait.lock();
        while self.memtable_bytes() >= self.memtable_limit() {
            if let Some(error) = gives_up() {
                return Err(error);
            }
            // The limit of the wait only guards against a wake-up lost with its thread.
            wait = self.memory_freed.wait_timeout(wait, Duration::from_millis(200)).0;
        }
        drop(wait);
        self.throttle.note_wait(self.clock.monotonic().saturating_sub(since));
        Ok(())
    }

    /// What the background owes to writers of these keyspaces.
    pub(crate) fn debt(&self, spaces: &[Arc<Space>]) -> Debt {
        let most = |of: fn(&Space) -> &AtomicU64| {
            spaces.iter().map(|space| of(space).load(Ordering::Relaxed)).max().unwrap_or(0)
        };
        Debt {
            l0_runs: most(|space| &space.l0_runs),
            compaction_bytes: most(|space| &space.debt_bytes),
            memtable_bytes: self.memtable_bytes(),
            memtable_limit: self.memtable_limit(),
            log_excess: self.log_excess.load(Ordering::Relaxed),
        }
    }

    /// Whether the log is longer than it should be, as far as writers were told.
    pub(crate) fn is_log_long(&self) -> bool {
        self.log_excess.load(Ordering::Relaxed) > 0
    }

    /// Tells writers how long the log is. Whether it is longer than `bound`.
    pub(crate) fn note_log(&self, bound: u64) -> bool {
        let bytes = self.wal.bytes();
        self.log_excess.store(bytes.saturating_sub(bound) * 1024 / (bound / 15).max(1), Ordering::Relaxed);
        bytes > bound
    }

    /// Bytes that callers wrote.
    pub(crate) fn accepted_bytes(&self) -> u64 {
        self.ordered.lock().accepted_bytes
    }
}

/// The error of a write that would have waited, and would rather not.
fn stalled(reason: StallReason) -> Error {
    let why = match reason {
        StallReason::L0Runs => "runs of level 0 pile up",
        StallReason::CompactionDebt => "compaction is behind",
        StallReason::MemoryBudget => "memtables fill their part of the memory",
        StallReason::LogBytes => "the log is near its bound",
    };
    Error::new(ErrorKind::Stalled, format!("the write would have waited: {why}"))
}
