//! Estimates: how much a range holds, from what is in memory.

use super::Tree;
use crate::{
    error::Result,
    key::{InternalKey, KeyRange, places},
    order::KeyOrder,
    table::{Part, TableMeta},
};

/// About what a range holds.
///
/// Of tables within half a data block at each end. Versions count, not keys: old ones and deletes do until compaction
/// drops them.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct RangeEstimate {
    /// Versions.
    pub rows: u64,
    /// Their part of the files, that of separated values included, and of the memory of memtables.
    pub bytes: u64,
    /// Their share of all versions, 0.0 to 1.0.
    pub selectivity: f64,
}

impl Tree {
    /// Number of versions, by the counts of tables and memtables: that of keys, unless some were written twice or
    /// deleted since they were last compacted. O(tables).
    pub fn approximate_len(&self) -> u64 {
        let state = self.0.state.load();
        let in_memtables: u64 = state.memtables().map(|memtable| memtable.len()).sum();
        let in_tables: u64 = state.levels.tables().map(|(.., table)| table.entries).sum();
        in_memtables + in_tables
    }

    /// About what a range holds. Reads no data block; tables that it cuts are opened, and their statistics read,
    /// if they are not in memory. O(tables).
    ///
    /// # Errors
    ///
    /// Those of opening a table.
    pub fn approximate_range(&self, range: impl KeyRange) -> Result<RangeEstimate> {
        let _lease = self.0.context.enter()?;
        let state = self.0.state.load();
        let (low, high) = range.bounds();
        let (from, to) = places(low, high);
        let (mut rows, mut bytes) = (0.0, 0.0);
        for memtable in state.memtables() {
            let share = memtable.share_between(from, to);
            rows += share * memtable.len() as f64;
            bytes += share * memtable.bytes() as f64;
        }
        for (.., table) in state.levels.tables() {
            let part = match shortcut(&self.0.order, table.meta(), from, to) {
                Some(part) => part,
                None => {
                    let part = table.open().and_then(|opened| opened.part_between(from, to));
                    part.map_err(|error| table.blame(error))?
                }
            };
            rows += part.entries;
            let separated: u64 = table.blobs.iter().map(|of| of.bytes).sum();
            bytes += part.share * (table.bytes + separated) as f64;
        }
        // Rounded: what is cut off is less than a half.
        let (rows, bytes) = ((rows + 0.5) as u64, (bytes + 0.5) as u64);
        let selectivity = (rows as f64 / self.approximate_len().max(1) as f64).min(1.0);
        Ok(RangeEstimate { rows, bytes, selectivity })
    }
}

/// What of a table lies between two places, where its first and last key say it.
fn shortcut(
    order: &KeyOrder,
    table: &TableMeta,
    from: Option<InternalKey<'_>>,
    to: Option<InternalKey<'_>>,
) -> Option<Part> {
    let (first, last) = (InternalKey::first_of(&table.first_key), InternalKey::last_of(&table.last_key));
    let is_before = |a, b| order.is_before(a, b);
    let begins_above = from.is_some_and(|from| is_before(first, from));
    let ends_below = to.is_some_and(|to| is_before(to, last));
    let is_empty = from.zip(to).is_some_and(|(from, to)| !is_before(from, to));
    let is_outside =
        from.is_some_and(|from| !is_before(from, last)) || to.is_some_and(|to| !is_before(first, to));
    if is_empty || is_outside {
        Some(Part::default())
    } else if begins_above || ends_below {
        None
    } else {
        Some(Part { entries: table.entries as f64, share: 1.0 })
    }
}
