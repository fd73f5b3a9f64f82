//! State and counters.

use crate::{
    error::Error,
    events::DamagedTable,
    passes::ScrubStats,
    space::Space,
    state::State,
    write::{StallReason, rate},
};
use isopach_engine::{
    store::FilterMemory,
    tree::{BlobStats, LevelStats, TreeStats},
    types::{Level, Seqno, View},
    version::HealStats,
};
use isopach_env::WriteOrigin;
use std::{fmt, sync::atomic::Ordering, time::Duration};

/// Whether the database can write, how fast, and why not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// State of writing.
    pub writes: WriteState,
    /// Everything up to here is durable.
    pub durable_seqno: Seqno,
    /// The last failure of background work that is still being retried, or the poison that ended it.
    pub background_error: Option<Error>,
    /// Tables and files of separated values that reading found damaged since the database was opened, and that it still has. `verify` looks
    /// for more, and forgets what it cannot find again.
    pub damaged_tables: Vec<DamagedTable>,
    /// Of the snapshots that are held the one that sees least: nothing that it sees is dropped.
    pub oldest_view: Option<OldestView>,
    /// Panics of listeners, which were caught.
    pub listener_panics: u64,
}

/// The snapshot that sees least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OldestView {
    /// What it sees.
    pub seqno: Seqno,
    /// How long it has been held, by the database's clock.
    pub age: Duration,
}

impl OldestView {
    fn of(state: &State) -> Option<OldestView> {
        let View { seqno, time, .. } = state.views.oldest()?;
        let age = Duration::from_micros(state.views.now().0.saturating_sub(time.0));
        Some(OldestView { seqno, age })
    }
}

/// State of writing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WriteState {
    /// Writers are not slowed.
    Normal,
    /// Writers are slowed to a pace.
    Delayed {
        /// Why.
        reason: StallReason,
        /// To how many bytes per second.
        bytes_per_s: u64,
    },
    /// Commits, or background work, lack space: the last error. Reads go on. Ends by itself when there is
    /// space.
    OutOfSpace(Error),
    /// Until reopened.
    Poisoned(Error),
}

impl Health {
    pub(crate) fn of(state: &State) -> Health {
        let writes = if let Some(error) = state.commits.poisoned() {
            WriteState::Poisoned(state.locate(error))
        } else if let Some(error) = state.out_of_space() {
            WriteState::OutOfSpace(error)
        } else {
            match rate(state.commits.debt(&state.spaces.all())) {
                None => WriteState::Normal,
                Some((reason, bytes_per_s)) => WriteState::Delayed { reason, bytes_per_s },
            }
        };
        let damaged = state.store.damaged_tables();
        Health {
            writes,
            durable_seqno: state.commits.durable(),
            background_error: state.jobs.last_error(),
            damaged_tables: damaged.iter().map(|error| state.damaged_table(error)).collect(),
            oldest_view: OldestView::of(state),
            listener_panics: state.listeners.panics(),
        }
    }
}

/// Counters since open, and sizes now. `Display` shows the levels of all keyspaces as a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Each keyspace.
    pub keyspaces: Vec<KeyspaceStats>,
    /// Memory in use.
    pub memory: MemoryStats,
    /// What filters take, in files and in memory, beside [`Builder::filter_budget_bytes`](crate::Builder).
    pub filters: FilterMemory,
    /// Length of the log, in bytes.
    pub wal_bytes: u64,
    /// Its segments.
    pub wal_segments: u64,
    /// Snapshots that are held.
    pub open_snapshots: u64,
    /// Blocks found in the cache.
    pub cache_hits: u64,
    /// Blocks read.
    pub cache_misses: u64,
    /// Bytes that callers wrote; with `written_bytes` this gives write amplification.
    pub accepted_bytes: u64,
    /// Bytes written to files, by cause.
    pub written_bytes: Vec<(WriteOrigin, u64)>,
    /// Time that writers waited, all together.
    pub stalled: Duration,
    /// What parity corrected, and files that are written anew because of it.
    pub healing: HealStats,
    /// What scrubs have read.
    pub scrub: ScrubStats,
}

/// Memory in use, in bytes.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct MemoryStats {
    /// All memtables.
    pub memtables: u64,
    /// Of memtables that were flushed, kept for the next ones: up to a write buffer.
    pub spare: u64,
    /// Blocks.
    pub cache: u64,
    /// Of open tables.
    pub indexes_and_filters: u64,
}

/// One keyspace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyspaceStats {
    /// Its name.
    pub name: String,
    /// Its tree.
    pub tree: TreeStats,
    /// Bytes that compaction has to write until the shape is as wanted.
    pub compaction_debt: u64,
}

impl KeyspaceStats {
    pub(crate) fn of(space: &Space) -> KeyspaceStats {
        KeyspaceStats {
            name: space.name.clone(),
            tree: space.tree.stats(),
            compaction_debt: space.debt_bytes.load(Ordering::Relaxed),
        }
    }
}

impl Stats {
    pub(crate) fn of(state: &State) -> Stats {
        let cache = state.store.cache();
        Stats {
            keyspaces: state.spaces.all().iter().map(|space| KeyspaceStats::of(space)).collect(),
            memory: MemoryStats {
                memtables: state.commits.memtable_bytes(),
                spare: state.store.spare_memory_bytes(),
                cache: cache.block_bytes,
                indexes_and_filters: cache.table_bytes,
            },
            filters: state.store.filter_memory(),
            wal_bytes: state.commits.wal.bytes(),
            wal_segments: state.commits.wal.segments().len() as u64,
            open_snapshots: state.views.snapshots(),
            cache_hits: cache.hits,
            cache_misses: cache.misses,
            accepted_bytes: state.commits.accepted_bytes(),
            written_bytes: state.store.written_bytes(),
            stalled: state.commits.throttle.waited(),
            healing: state.store.healing().stats(),
            scrub: state.passes.stats(),
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:>5} {:>5} {:>7} {:>14} {:>12}",
            "keyspace", "level", "runs", "tables", "bytes", "entries"
        )?;
        for KeyspaceStats { name, tree, .. } in &self.keyspaces {
            writeln!(
                f,
                "{name:<24} {:>5} {:>5} {:>7} {:>14} {:>12}",
                "mem", "", tree.sealed_memtables, tree.memtable_bytes, ""
            )?;
            for (Level(level), LevelStats { runs, tables, bytes, entries, .. }) in &tree.levels {
                writeln!(f, "{name:<24} {level:>5} {runs:>5} {tables:>7} {bytes:>14} {entries:>12}")?;
            }
            if tree.blobs.files > 0 {
                let BlobStats { files, bytes, live_records, .. } = tree.blobs;
                writeln!(
                    f,
                    "{name:<24} {:>5} {:>5} {files:>7} {bytes:>14} {live_records:>12}",
                    "values", ""
                )?;
            }
        }
        write!(f, "log: {} bytes in {} segments", self.wal_bytes, self.wal_segments)
    }
}
