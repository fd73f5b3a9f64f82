//! Apply: numbered operations go to the memtable they belong to. Writes no file.

use super::Tree;
use crate::{
    error::{Error, ErrorKind, Result},
    key::{MAX_KEY_BYTES, ValueKind},
    memtable::Operation,
    types::{Seqno, Slice},
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
    /// `InvalidArgument` for a key out of bounds, or numbers at or below a flushed boundary, among those of a
    /// batch that was applied sorted, or above [`Seqno::MAX`].
    pub fn apply(&self, batch: &WriteBatch, first: Seqno) -> Result<Applied> {
        let mut operations = Vec::with_capacity(batch.len());
        for (index, (kind, key, value)) in batch.operations.iter().enumerate() {
            if key.len() > MAX_KEY_BYTES {
                let message = format!("a key of {} bytes; at most {MAX_KEY_BYTES} are allowed", key.len());
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
