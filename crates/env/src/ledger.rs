//! How many bytes were written, by cause: what write amplification is computed from.

use alloc::vec::Vec;
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// Cause of a write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WriteOrigin {
    /// Segments of the write-ahead log.
    Log,
    /// The manifest.
    Manifest,
    /// Tables made from a memtable.
    FlushTable,
    /// Tables made from other tables.
    CompactionTable,
    /// Tables of bulk loads.
    IngestTable,
    /// Separated values of memtables.
    FlushBlob,
    /// Separated values that compactions write: of longer values than before, and those that leave files behind.
    CompactionBlob,
    /// Separated values of bulk loads.
    IngestBlob,
    /// Copies of files for a checkpoint, and tables of what it holds from memory.
    Checkpoint,
    /// Everything small beside them. Also what is written through handles from [`Fs::open`](crate::Fs::open),
    /// whose cause is not known.
    Metadata,
}

impl WriteOrigin {
    /// Every origin, in the order of reports.
    pub const ALL: [WriteOrigin; 10] = [
        Self::Log,
        Self::Manifest,
        Self::FlushTable,
        Self::CompactionTable,
        Self::IngestTable,
        Self::FlushBlob,
        Self::CompactionBlob,
        Self::IngestBlob,
        Self::Checkpoint,
        Self::Metadata,
    ];

    /// Name in reports and metrics; never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Manifest => "manifest",
            Self::FlushTable => "flush_table",
            Self::CompactionTable => "compaction_table",
            Self::IngestTable => "ingest_table",
            Self::FlushBlob => "flush_blob",
            Self::CompactionBlob => "compaction_blob",
            Self::IngestBlob => "ingest_blob",
            Self::Checkpoint => "checkpoint",
            Self::Metadata => "metadata",
        }
    }
}

/// Counts written bytes by origin. Shared by all handles of a backend.
#[derive(Default)]
pub struct Ledger {
    /// In the order of [`WriteOrigin::ALL`]. Each counter stands alone: nothing is ordered by it.
    bytes: [AtomicU64; WriteOrigin::ALL.len()],
}

impl Ledger {
    /// With nothing written.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Counts `bytes` more for `origin`.
    pub fn add(&self, origin: WriteOrigin, bytes: u64) {
        self.bytes[origin as usize].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes written for `origin` so far.
    pub fn bytes(&self, origin: WriteOrigin) -> u64 {
        self.bytes[origin as usize].load(Ordering::Relaxed)
    }

    /// All counters, in the order of [`WriteOrigin::ALL`]; not of one instant while others write.
    pub fn snapshot(&self) -> Vec<(WriteOrigin, u64)> {
        WriteOrigin::ALL.iter().map(|&origin| (origin, self.bytes(origin))).collect()
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(WriteOrigin::ALL.iter().map(|&it| (it.name(), self.bytes(it)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_origin() {
        let ledger = Ledger::new();

        ledger.add(WriteOrigin::Log, 3);
        ledger.add(WriteOrigin::Log, 4);
        ledger.add(WriteOrigin::Metadata, 1);

        assert_eq!(ledger.bytes(WriteOrigin::Log), 7);
        assert_eq!(ledger.snapshot().iter().map(|(_, bytes)| bytes).sum::<u64>(), 8);
    }

    #[test]
    fn every_origin_has_its_own_counter_and_name() {
        let ledger = Ledger::new();

        for (index, &origin) in WriteOrigin::ALL.iter().enumerate() {
            assert_eq!(origin as usize, index);
            assert_eq!(WriteOrigin::ALL.iter().filter(|other| other.name() == origin.name()).count(), 1);
            ledger.add(origin, index as u64 + 1);
        }

        for (index, (_, bytes)) in ledger.snapshot().into_iter().enumerate() {
            assert_eq!(bytes, index as u64 + 1);
        }
    }
}
