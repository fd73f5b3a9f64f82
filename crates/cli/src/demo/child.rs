//! The writer that the demo kills, and what it writes.
//!
//! Batch `n` has [`BATCH_RECORDS`] records with the keys `n`, `i` (8 and 4 bytes, big-endian, so that key
//! order is write order) and values that follow from `n` and `i`. Whoever reads the keyspace later can thus
//! check every byte without a record of what was written. The writer goes on behind the last batch that it
//! finds, and prints the number of a batch when the database has acknowledged it, not before.

use crate::{
    database::{self, Missing},
    exit::{self, Doing, Failure},
    output::Console,
    random::Random,
};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Where the batches go.
pub(super) const KEYSPACE: &str = "crash";

/// Records of a batch.
pub(super) const BATCH_RECORDS: u32 = 50;

/// Small, so that the writer is also killed while tables are written and compacted.
const WRITE_BUFFER_BYTES: u64 = 1 << 20;

/// What bounds the size of the demo on a fast machine.
const MAX_BATCHES_PER_S: u32 = 10_000;

/// Writes batches until it is killed or nobody reads what it says.
pub(crate) fn run(dir: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    let db = database::write_with_buffer(dir, WRITE_BUFFER_BYTES)?;
    let keyspace = database::keyspace_to_write(&db, KEYSPACE, Missing::Create)?;
    let first = match keyspace.last().doing("find the last batch")? {
        None => 0,
        Some((key, _)) => {
            let (batch, _) = split_key(&key)
                .ok_or_else(|| Failure::new(exit::FAILURE, "demo-child", "a key that no writer wrote"))?;
            batch + 1
        }
    };

    let started = Instant::now();
    for number in first.. {
        let mut batch = db.batch();
        for index in 0..BATCH_RECORDS {
            batch.insert(&keyspace, key(number, index), value(number, index));
        }
        db.write(batch).doing("write a batch")?;
        writeln!(console.out(), "{number}")?;
        console.out().flush()?;
        pace(started, number - first + 1);
    }
    database::close(db)
}

/// Sleeps if more was written than the time since the start allows.
fn pace(started: Instant, written: u64) {
    let due = Duration::from_secs_f64(written as f64 / f64::from(MAX_BATCHES_PER_S));
    let ahead = due.saturating_sub(started.elapsed());
    if ahead > Duration::from_millis(2) {
        thread::sleep(ahead);
    }
}

/// The key of a record.
pub(super) fn key(batch: u64, index: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&batch.to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The inverse of [`key`].
pub(super) fn split_key(key: &[u8]) -> Option<(u64, u32)> {
    let (batch, index) = key.split_first_chunk()?;
    Some((u64::from_be_bytes(*batch), u32::from_be_bytes(index.try_into().ok()?)))
}

/// The value of a record: 8 to 39 bytes.
pub(super) fn value(batch: u64, index: u32) -> Vec<u8> {
    let mut random = Random::new(batch << 8 | u64::from(index));
    let length = 8 + random.below(32) as usize;
    let mut value = Vec::with_capacity(length + 8);
    while value.len() < length {
        value.extend_from_slice(&random.next().to_le_bytes());
    }
    value.truncate(length);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_split_and_sort_as_written() {
        assert_eq!(split_key(&key(7, 49)), Some((7, 49)));
        assert_eq!(split_key(b"short"), None);
        assert_eq!(split_key(&[0; 13]), None);
        assert!(key(0, 49) < key(1, 0) && key(255, 0) < key(256, 0));
    }

    #[test]
    fn values_follow_from_their_place() {
        assert_eq!(value(3, 4), value(3, 4));
        assert_ne!(value(3, 4), value(3, 5));
        assert_ne!(value(3, 4), value(4, 4));
        assert!((0..1000).all(|batch| (8..40).contains(&value(batch, 0).len())));
    }
}
