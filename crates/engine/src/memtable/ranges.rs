//! The range tombstones of a memtable, beside its operations: which keys they cover.

use crate::{
    order::KeyOrder,
    range_tombstone::{RangeTombstone, RangeTombstones},
    types::Seqno,
};
use alloc::{sync::Arc, vec::Vec};
use isopach_env::sync::{
    Rank, RwLock,
    atomic::{AtomicU64, Ordering},
};

/// Of the parts. Held for a search, and by who adds while parts are joined.
const PARTS: Rank = Rank::new(53, "memtable.ranges");

/// Tombstones as they come, in parts of which each has at least twice as many as the next: adding one costs `log n`
/// comparisons `log n` times, over all, and a search asks `log n` parts.
pub(super) struct Ranges {
    /// How many there are, stored behind them (Release): most memtables have none, and are not asked (Acquire).
    len: AtomicU64,
    parts: RwLock<Vec<Arc<RangeTombstones>>>,
    order: KeyOrder,
}

impl Ranges {
    /// None, of keys in this order.
    pub(super) fn new(order: &KeyOrder) -> Ranges {
        Ranges { len: AtomicU64::new(0), parts: RwLock::new(PARTS, Vec::new()), order: order.clone() }
    }

    /// Adds one. Returns the bytes it takes.
    pub(super) fn add(&self, tombstone: RangeTombstone) -> u64 {
        let mut parts = self.parts.write();
        let mut part = RangeTombstones::new(&self.order, Vec::from([tombstone]));
        let bytes = part.resident_bytes() as u64;
        while let Some(last) = parts.pop_if(|last| last.all().len() < 2 * part.all().len()) {
            part = RangeTombstones::new(&self.order, [last.all(), part.all()].concat());
        }
        parts.push(Arc::new(part));
        self.len.fetch_add(1, Ordering::Release);
        bytes
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// All of them, as they are now.
    pub(super) fn parts(&self) -> Vec<Arc<RangeTombstones>> {
        if self.is_empty() { Vec::new() } else { self.parts.read().clone() }
    }

    /// The greatest number `<= at` of those that cover a key.
    pub(super) fn covering(&self, key: &[u8], at: Seqno) -> Option<Seqno> {
        if self.is_empty() {
            return None;
        }
        self.parts.read().iter().filter_map(|part| part.covering(key, at)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_searched_in_few_parts() {
        let ranges = Ranges::new(&KeyOrder::BYTES);
        for number in 1..=1_000_u64 {
            let key = number.to_be_bytes();
            let seqno = Seqno::from_raw(number).unwrap();
            ranges.add(RangeTombstone::of_version(&key, seqno, &(number + 2).to_be_bytes()));
        }

        assert!(ranges.parts().len() <= 10, "{} parts", ranges.parts().len());
        for number in 2..=1_000_u64 {
            let covering = |at| ranges.covering(&number.to_be_bytes(), Seqno::from_raw(at).unwrap());
            assert_eq!(covering(2_000).map(Seqno::raw), Some(number));
            assert_eq!(covering(number - 1).map(Seqno::raw), Some(number - 1));
            assert_eq!(covering(number - 2), None);
        }
    }
}
