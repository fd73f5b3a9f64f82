//! How much of a table lies between two places, by index and statistics.

use super::Table;
use crate::{error::Result, key::InternalKey};

/// What a part of a table holds, about.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(crate) struct Part {
    /// Number of entries.
    pub(crate) entries: f64,
    /// Share of the table's data, 0.0 to 1.0.
    pub(crate) share: f64,
}

impl Table {
    /// What lies between two places: exactly, but for half a data block at each end. Both in one block are taken to be
    /// half a block apart.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption` of index or statistics.
    pub(crate) fn part_between(
        &self,
        from: Option<InternalKey<'_>>,
        to: Option<InternalKey<'_>>,
    ) -> Result<Part> {
        let end = Part { entries: self.meta.entries as f64, share: 1.0 };
        let block_of = |place: Option<InternalKey<'_>>| place.map(|place| self.find_block(place)).transpose();
        let (low, high) = (block_of(from)?, block_of(to)?);
        // Somewhere in a block: the middle is nearest to all.
        let (in_low, in_high) = if low == high { (0.25, 0.75) } else { (0.5, 0.5) };
        let before = match low {
            None => Part::default(),
            Some(None) => end,
            Some(Some(block)) => self.part_upto(block, in_low)?,
        };
        let behind = match high {
            None | Some(None) => end,
            Some(Some(block)) => self.part_upto(block, in_high)?,
        };
        Ok(Part {
            entries: (behind.entries - before.entries).max(0.0),
            share: (behind.share - before.share).clamp(0.0, 1.0),
        })
    }

    /// What lies before a data block, and this share of the block.
    fn part_upto(&self, block: usize, share: f64) -> Result<Part> {
        let (first, last) = (self.block_handle(0)?, self.block_handle(self.blocks() - 1)?);
        let (handle, statistics) = (self.block_handle(block)?, self.statistics()?);
        let (before, inside) = (statistics.entries_before(block), statistics.block(block).entries);
        let bytes = (handle.offset - first.offset) as f64 + share * handle.bytes as f64;
        Ok(Part {
            entries: before as f64 + share * inside as f64,
            share: bytes / (last.end() - first.offset) as f64,
        })
    }
}
