//! Apply: numbered operations go to the memtable they belong to. Writes no file.

use super::Tree;
use crate::{
    error::{Error, ErrorKind, Result},
    expiry,
    key::{KeyRange, MAX_KEY_BYTES, ValueKind},
    memtable::Operation,
    order::KeyOrder,
    range_tombstone::range_of_delete,
    types::{Seqno, Slice, UnixUs},
};
use alloc::{format, vec::Vec};

/// Operations in order. A later one on the same key wins over an earlier one.
#[derive(Clone, Default, Debug)]
pub struct WriteBatch {
    operations: Vec<(ValueKind, Slice, Slice)>,
}

impl WriteBatch {
    /// Without operations.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Puts a value.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> &mut WriteBatch {
        self.operations.push((ValueKind::Put, key.into(), value.into()));
        self
    }

    /// Puts a value that is gone from views at `expires_at` and later.
    pub fn put_until(&mut self, key: &[u8], value: &[u8], expires_at: UnixUs) -> &mut WriteBatch {
        let stored = expiry::stored_value(expires_at, value);
        self.operations.push((ValueKind::PutUntil, key.into(), stored.into()));
        self
    }

    /// Deletes a key that was put at most once since it was last deleted: the two go when they meet, in whatever
    /// level. If it was put more often, it is a delete as any other.
    pub fn delete_weak(&mut self, key: &[u8]) -> &mut WriteBatch {
        self.operations.push((ValueKind::DeleteWeak, key.into(), Slice::EMPTY));
        self
    }

    /// Deletes a range in the order of bytes. One without keys is no operation.
    pub fn delete_range(&mut self, range: impl KeyRange) -> &mut WriteBatch {
        let _ = self.delete_range_in(&KeyOrder::BYTES, range); // One that ends before it begins has no keys.
        self
    }

    /// Deletes a range in the order of the tree that the batch is for. One without keys is no operation.
    ///
    /// # Errors
    ///
    /// Those of [`range_of_delete`].
    pub fn delete_range_in(&mut self, order: &KeyOrder, range: impl KeyRange) -> Result<&mut WriteBatch> {
        let (low, high) = range.bounds();
        if let Some((start, end)) = range_of_delete(order, low, high)? {
            self.operations.push((ValueKind::DeleteRange, start.into(), end.into()));
        }
        Ok(self)
    }

    /// Adds an operand for the tree's merge operator.
    pub fn merge(&mut self, key: &[u8], operand: &[u8]) -> &mut WriteBatch {
        self.operations.push((ValueKind::Merge, key.into(), operand.into()));
        self
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: &[u8]) -> &mut WriteBatch {
        self.operations.push((ValueKind::Delete, key.into(), Slice::EMPTY));
        self
    }

    /// Number of operations, hence of sequence numbers.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

/// Memory after [`Tree::apply`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Applied {
    /// Bytes that these operations took.
    pub bytes: u64,
    /// Bytes of the memtable that takes new operations; the caller decides when to rotate. A few KiB less where
    /// other threads apply too: [`Tree::active_bytes`] is exact.
    pub memtable_bytes: u64,
}

impl Tree {
    /// Applies operations as `first`, `first + 1`, ... They show in views at or above their number.
    ///
    /// Any thread, any order of numbers; a number is used once. All or nothing. Writes no file.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a key out of bounds, for a range that ends before it begins in the order of the tree, or numbers at or below a flushed boundary, among those of a
    /// batch that was applied sorted, or above [`Seqno::MAX`].
    pub fn apply(&self, batch: &WriteBatch, first: Seqno) -> Result<Applied> {
        let mut operations = Vec::with_capacity(batch.len());
        for (index, (kind, key, value)) in batch.operations.iter().enumerate() {
            if key.len() > MAX_KEY_BYTES {
                let message = format!("a key of {} bytes; at most {MAX_KEY_BYTES} are allowed", key.len());
                return Err(Error::new(ErrorKind::InvalidArgument, message).in_tree(self.id()));
            }
            if *kind == ValueKind::DeleteRange && !value.is_empty() && !self.0.order.is_less(key, value) {
                let message = "a range ends before it begins";
                return Err(Error::new(ErrorKind::InvalidArgument, message).in_tree(self.id()));
            }
            let seqno = first.checked_add(index as u64);
            let seqno = seqno
                .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "sequence numbers are used up"))?;
            operations.push(Operation { seqno, kind: *kind, key, value });
        }
        self.apply_operations(&operations)
    }

    /// As [`Tree::apply`], of operations that are numbered and within bounds.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for numbers at or below a flushed boundary, or among those of a batch that was applied
    /// sorted: nothing is applied.
    pub fn apply_operations(&self, operations: &[Operation<'_>]) -> Result<Applied> {
        let gate = self.0.gate.read();
        let numbers = || operations.iter().map(|operation| operation.seqno);
        let Some(first) = numbers().min() else {
            return Ok(Applied { bytes: 0, memtable_bytes: gate.active.bytes_at_least() });
        };
        if first > gate.sealed_upto {
            let bytes = gate.active.apply(operations.iter().copied());
            return Ok(Applied { bytes, memtable_bytes: gate.active.bytes_at_least() });
        }
        // Each goes to the side of a boundary on which it lies.
        let state = self.0.state.load();
        let memtable_for = |operation: &Operation<'_>| state.memtable_for(operation.seqno);
        let is_too_late = |operation: &&Operation<'_>| memtable_for(operation).is_none();
        if let Some(Operation { seqno, .. }) = operations.iter().find(is_too_late) {
            let message = format!("operation {seqno} is not new: tables or a batch hold all around it");
            return Err(Error::new(ErrorKind::InvalidArgument, message).in_tree(self.id()));
        }
        let apply = |operation| memtable_for(operation).expect("looked for before").apply([*operation]);
        let bytes = operations.iter().map(apply).sum();
        Ok(Applied { bytes, memtable_bytes: state.active.bytes_at_least() })
    }
}
