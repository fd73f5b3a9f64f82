//! Cursors: a leaf is copied under one version, then walked without looking at the tree.
//!
//! What is inserted behind a cursor's back may show or not. What was there before a leaf was copied always
//! shows: if the leaf is split later, its right half goes to a node that the copy already covers.

use super::{
    node::{Before, Node, NodeRef},
    record::{Record, RecordRef},
    tree::{Blink, Found},
};
use crate::{
    error::Result,
    iter::{CheckedValue, Cursor, Entry},
    key::InternalKey,
    types::Slice,
};
use alloc::{sync::Arc, vec::Vec};
use core::ptr::NonNull;

/// A cursor over a tree that it keeps alive.
pub(crate) struct BlinkCursor<const N: usize = 128> {
    tree: Arc<Blink<N>>,
    /// The records of a leaf, in order.
    records: Vec<NonNull<Record>>,
    /// Where among them the cursor stands; behind them if it stands on nothing.
    at: usize,
    /// The leaf behind them.
    next: Option<NonNull<Node<N>>>,
}

// SAFETY: the pointers are to what the tree owns, which any thread may read.
unsafe impl<const N: usize> Send for BlinkCursor<N> {}

impl<const N: usize> BlinkCursor<N> {
    /// A cursor that stands on nothing.
    pub(crate) fn new(tree: &Arc<Blink<N>>) -> BlinkCursor<N> {
        BlinkCursor { tree: Arc::clone(tree), records: Vec::new(), at: 0, next: None }
    }

    fn record(&self) -> Option<RecordRef<'_>> {
        // SAFETY: the pointer was found in the tree, which lives as long as this cursor.
        self.records.get(self.at).map(|record| unsafe { RecordRef::from_ptr(*record) })
    }

    /// Copies a leaf as it was at one moment.
    fn copy(&mut self, leaf: NonNull<Node<N>>) {
        // SAFETY: as in `record`.
        let leaf = unsafe { NodeRef::<N>::from_ptr(leaf) };
        while !self.copy_once(leaf, leaf.version()) {}
    }

    /// Whether the leaf had this version all the time.
    fn copy_once(&mut self, leaf: NodeRef<'_, N>, version: super::node::Version) -> bool {
        self.records.clear();
        let pointer = |at| leaf.record(at).and_then(|record| NonNull::new(record.as_ptr()));
        self.records.extend((0..leaf.len()).filter_map(pointer));
        self.next = leaf.next().and_then(|next| NonNull::new(next.as_ptr()));
        leaf.is_still(version)
    }

    /// Copies the leaf of a place and stands behind as many of its records as come before.
    fn find(&mut self, place: InternalKey<'_>, descend: Before, rank: Before) {
        let tree = Arc::clone(&self.tree);
        loop {
            let Found { node, version, rank } = tree.find(place, 0, descend, rank);
            if self.copy_once(node, version) {
                self.at = rank;
                return;
            }
        }
    }

    /// Goes on to the next leaf that holds anything, if it stands behind one.
    fn settle_forward(&mut self) {
        while self.at >= self.records.len() {
            let Some(next) = self.next else {
                self.records.clear();
                return;
            };
            self.copy(next);
            self.at = 0;
        }
    }

    /// Steps to the record before; `at` counts those that come before the cursor.
    fn settle_backward(&mut self) {
        match self.at.checked_sub(1) {
            Some(at) => self.at = at,
            None => self.records.clear(),
        }
    }
}

impl<const N: usize> Cursor for BlinkCursor<N> {
    fn seek_first(&mut self) -> Result<()> {
        let tree = Arc::clone(&self.tree);
        self.copy(NonNull::new(tree.first_leaf().as_ptr()).expect("a leaf is somewhere"));
        self.at = 0;
        self.settle_forward();
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        let tree = Arc::clone(&self.tree);
        self.copy(NonNull::new(tree.last_leaf().as_ptr()).expect("a leaf is somewhere"));
        while let Some(next) = self.next {
            self.copy(next);
        }
        self.at = self.records.len();
        self.settle_backward();
        Ok(())
    }

    fn seek(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.find(target, Before::LessOrEqual, Before::Less);
        self.settle_forward();
        Ok(())
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.find(target, Before::LessOrEqual, Before::LessOrEqual);
        self.settle_backward();
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.at += 1;
        self.settle_forward();
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        if self.at == 0 {
            // The leaf before is the one where what is just less than the first record would lie.
            if let Some(first) = self.records.first().copied() {
                // SAFETY: as in `record`; the tree is held until the end of this block.
                let tree = Arc::clone(&self.tree);
                let first: RecordRef<'_> = unsafe { RecordRef::from_ptr(first) };
                self.find(first.place(), Before::Less, Before::Less);
                drop(tree);
            }
        }
        self.settle_backward();
        Ok(())
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.record().map(RecordRef::entry)
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        Ok(self.record().map_or(&[], RecordRef::value))
    }

    fn value(&self) -> Result<Slice> {
        self.value_bytes().map(Slice::from)
    }

    fn checked_value(&self) -> Result<CheckedValue<'_>> {
        let Some(record) = self.record() else { return Ok((&[], None)) };
        let (value, checksum) = (record.value(), record.checksum());
        checksum.map_or(Ok(()), |checksum| checksum.check(record.entry(), value)).map(|()| (value, checksum))
    }
}
