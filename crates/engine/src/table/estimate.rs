//! How much of a table lies between two places, by its index.

use super::Table;
use crate::key::InternalKey;

impl Table {
    /// The share of its data between two places, 0.0 to 1.0: within half a data block at each end. Both in one block
    /// are taken to be half a block apart.
    pub(crate) fn share_between(&self, from: Option<InternalKey<'_>>, to: Option<InternalKey<'_>>) -> f64 {
        let last = self.index.handle(self.index.len() - 1);
        let begin = self.index.handle(0).offset as f64;
        let end = last.end() as f64;
        // Somewhere in the block: the middle is nearest to all.
        let middle = |place| {
            self.index.find(place).map_or(end, |block| {
                let handle = self.index.handle(block);
                handle.offset as f64 + handle.bytes as f64 / 2.0
            })
        };
        let (low, high) = (from.map_or(begin, middle), to.map_or(end, middle));
        let apart = if low == high && low < end { last.bytes as f64 / 2.0 } else { high - low };
        (apart / (end - begin)).clamp(0.0, 1.0)
    }
}
