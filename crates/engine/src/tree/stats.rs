//! Shape and counters of a tree.

use super::Tree;
use crate::types::Level;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// Shape now, and counters since the tree was opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TreeStats {
    /// Memory of all memtables.
    pub memtable_bytes: u64,
    /// Memtables waiting to be flushed.
    pub sealed_memtables: usize,
    /// Levels that hold tables.
    pub levels: Vec<(Level, LevelStats)>,
    /// Files of separated values.
    pub blobs: BlobStats,
    /// Deletes in tables.
    pub tombstones: u64,
    /// Flushes that wrote tables.
    pub flushes: u64,
    /// Bytes that flushes wrote.
    pub flushed_bytes: u64,
    /// Bytes of bulk loads.
    pub ingested_bytes: u64,
    /// Compactions, moves included.
    pub compactions: u64,
    /// Bytes that compactions read.
    pub compaction_read_bytes: u64,
    /// Bytes that compactions wrote.
    pub compaction_written_bytes: u64,
    /// Tables that scans passed over because a prefix filter denied what they looked for; each end of a scan counts
    /// its own.
    pub prefix_skips: u64,
}

/// One level.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LevelStats {
    /// Sorted runs.
    pub runs: u64,
    /// Tables of all runs.
    pub tables: u64,
    /// Size of their files.
    pub bytes: u64,
    /// Versions in them.
    pub entries: u64,
}

/// Files of separated values that tables point to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct BlobStats {
    /// Files.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
    /// Values that tables point to.
    pub live_records: u64,
    /// Their sizes, as they are stored.
    pub live_bytes: u64,
    /// Sizes of values that no table points to any more.
    pub stale_bytes: u64,
    /// Places in tables that point into a file: one for each file and each table that points there.
    pub references: u64,
}

impl Tree {
    /// How much of the files of separated values is needed.
    pub fn blob_stats(&self) -> BlobStats {
        let state = self.0.state.load();
        let references = state.levels.tables().map(|(.., table)| table.blobs.len() as u64).sum();
        let mut stats = BlobStats { references, ..BlobStats::default() };
        for account in state.blobs.accounts() {
            stats.files += 1;
            stats.bytes += account.file.meta().bytes;
            stats.live_records += account.live_records;
            stats.live_bytes += account.live_bytes;
            stats.stale_bytes += account.stale_bytes();
        }
        stats
    }

    /// Shape and counters.
    pub fn stats(&self) -> TreeStats {
        let state = self.0.state.load();
        let counters = &self.0.counters;
        let mut levels = Vec::new();
        for (level, runs) in state.levels.iter().filter(|(_, runs)| !runs.is_empty()) {
            let mut stats = LevelStats { runs: runs.len() as u64, ..LevelStats::default() };
            for table in runs.iter().flat_map(|run| &run.tables) {
                stats.tables += 1;
                stats.bytes += table.bytes;
                stats.entries += table.entries;
            }
            levels.push((level, stats));
        }
        TreeStats {
            memtable_bytes: state.memtables().map(|memtable| memtable.bytes()).sum(),
            sealed_memtables: state.sealed.len(),
            levels,
            blobs: self.blob_stats(),
            tombstones: state.levels.tables().map(|(.., table)| table.tombstones).sum(),
            flushes: counters.flushes.load(Ordering::Relaxed),
            flushed_bytes: counters.flushed_bytes.load(Ordering::Relaxed),
            ingested_bytes: counters.ingested_bytes.load(Ordering::Relaxed),
            compactions: counters.compactions.load(Ordering::Relaxed),
            compaction_read_bytes: counters.compaction_read_bytes.load(Ordering::Relaxed),
            compaction_written_bytes: counters.compaction_written_bytes.load(Ordering::Relaxed),
            prefix_skips: counters.prefix_skips.load(Ordering::Relaxed),
        }
    }

    /// Bytes of the memtable that takes new operations.
    pub fn active_bytes(&self) -> u64 {
        self.0.state.load().active.bytes()
    }

    /// Bytes of all memtables, and how many wait to be flushed.
    pub fn memtables(&self) -> (u64, usize) {
        let state = self.0.state.load();
        (state.memtables().map(|memtable| memtable.bytes()).sum(), state.sealed.len())
    }
}
