//! A cursor over the versions of one table, both ways.

use super::{DataBlock, Table, reader::Caching};
use crate::{
    codec::Corruption,
    error::{Error, Result},
    iter::{CheckedValue, Cursor, Entry},
    key::{InternalKey, ValueKind},
    types::{Seqno, Slice},
};
use alloc::{sync::Arc, vec::Vec};
use core::{cell::Cell, ops::Bound};

/// A cursor over all versions of a table; see [`Cursor`].
///
/// Holds the table, the block it stands in, and a buffer in which the key is put together.
pub struct TableCursor {
    table: Arc<Table>,
    caching: Caching,
    position: Option<Position>,
    /// User key of the entry it stands on; only its first `prefix_bytes` bytes mean something otherwise.
    key: Vec<u8>,
}

/// An entry of a block.
struct Position {
    block: Arc<DataBlock>,
    /// Place of the block in the index.
    index: usize,
    entry: usize,
    seqno: Seqno,
    kind: ValueKind,
    /// The page of the last value that was asked for in the block.
    page: Cell<usize>,
}

impl TableCursor {
    pub(super) fn new(table: Arc<Table>, caching: Caching) -> TableCursor {
        TableCursor { table, caching, position: None, key: Vec::new() }
    }

    /// The table it walks over.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The block it stands in.
    pub fn block(&self) -> Option<&Arc<DataBlock>> {
        self.position.as_ref().map(|position| &position.block)
    }

    /// A block, the one it stands in if that is it. The cursor stands on nothing until it is put on an entry.
    fn take_block(&mut self, index: usize) -> Result<Arc<DataBlock>> {
        match self.position.take() {
            Some(position) if position.index == index => Ok(position.block),
            _ => self.table.block(index, self.caching),
        }
    }

    fn stand_on(&mut self, block: Arc<DataBlock>, index: usize, entry: usize) {
        self.key.clear();
        self.key.extend_from_slice(block.prefix());
        block.push_rest(entry, &mut self.key);
        let (seqno, kind) = (block.seqno(entry), block.kind(entry));
        self.position = Some(Position { block, index, entry, seqno, kind, page: Cell::new(0) });
    }

    /// To the first entry of a block, if there is such a block.
    fn stand_on_first_of(&mut self, index: usize) -> Result<()> {
        self.position = None;
        if index < self.table.blocks() {
            let block = self.table.block(index, self.caching)?;
            self.table.hints.prefetch(index + 1); // It comes while this one is walked over.
            self.stand_on(block, index, 0);
        }
        Ok(())
    }

    /// To the last entry of the block before `end`, if there is one.
    fn stand_on_last_before(&mut self, end: usize) -> Result<()> {
        self.position = None;
        if let Some(index) = end.checked_sub(1) {
            let block = self.table.block(index, self.caching)?;
            self.table.hints.prefetch(index.wrapping_sub(1));
            let last = block.len() - 1;
            self.stand_on(block, index, last);
        }
        Ok(())
    }

    /// The error of the value at a position, which stands for its key.
    fn damaged_value(&self, position: &Position, why: Corruption) -> Error {
        let here = || Bound::Included(self.key.clone());
        self.table.damaged_block(position.index, why).over_keys((here(), here()))
    }

    /// Moves to another entry of the same block.
    fn step_to(&mut self, entry: usize) {
        let Some(position) = &mut self.position else { return };
        self.key.truncate(position.block.prefix().len());
        position.block.push_rest(entry, &mut self.key);
        position.entry = entry;
        position.seqno = position.block.seqno(entry);
        position.kind = position.block.kind(entry);
    }
}

impl Cursor for TableCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.stand_on_first_of(0)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.stand_on_last_before(self.table.blocks())
    }

    fn seek(&mut self, target: InternalKey<'_>) -> Result<()> {
        let Some(index) = self.table.find_block(target)? else {
            self.position = None;
            return Ok(());
        };
        let block = self.take_block(index)?;
        let entry = block.lower_bound(&self.table.order, target);
        if entry < block.len() {
            self.stand_on(block, index, entry);
            return Ok(());
        }
        // The separator is behind the target and the block's last entry is not.
        self.stand_on_first_of(index + 1)
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        // Before the first entry nothing is read: so a scan that goes on before a damaged first block does
        // not meet it again.
        let meta = self.table.meta();
        let first = InternalKey { key: &meta.first_key, seqno: meta.last_seqno };
        if self.table.order.is_before(target, first) {
            self.position = None;
            return Ok(());
        }
        let Some(index) = self.table.find_block(target)? else {
            return self.seek_last();
        };
        let block = self.take_block(index)?;
        let entry = block.lower_bound(&self.table.order, target);
        let is_at =
            entry < block.len() && block.has_key(entry, target.key) && block.seqno(entry) == target.seqno;
        if is_at {
            self.stand_on(block, index, entry);
        } else if entry > 0 {
            self.stand_on(block, index, entry - 1);
        } else {
            return self.stand_on_last_before(index);
        }
        Ok(())
    }

    fn seek_behind(&mut self, key: &[u8]) -> Result<()> {
        let target = InternalKey::last_of(key);
        if let Some(index) = self.table.find_block(target)? {
            let (separator, seqno) = self.table.separator(index)?;
            if separator == key && seqno == target.seqno {
                return self.stand_on_first_of(index + 1); // All of the block is at or before the key.
            }
        }
        self.seek(target)?;
        while self.entry().is_some_and(|entry| entry.key == key) {
            self.next()?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        let position = self.position.as_ref().expect("the cursor stands on an entry");
        if position.entry + 1 < position.block.len() {
            self.step_to(position.entry + 1);
            return Ok(());
        }
        self.stand_on_first_of(position.index + 1)
    }

    fn prev(&mut self) -> Result<()> {
        let position = self.position.as_ref().expect("the cursor stands on an entry");
        if position.entry > 0 {
            self.step_to(position.entry - 1);
            return Ok(());
        }
        self.stand_on_last_before(position.index)
    }

    fn entry(&self) -> Option<Entry<'_>> {
        let position = self.position.as_ref()?;
        Some(Entry { key: &self.key, seqno: position.seqno, kind: position.kind })
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        let Some(position) = &self.position else { return Ok(&[]) };
        let value = position.block.value_near(position.entry, &position.page);
        value.map_err(|why| self.damaged_value(position, why))
    }

    fn value(&self) -> Result<Slice> {
        let Some(position) = &self.position else { return Ok(Slice::EMPTY) };
        let value = DataBlock::slice_near(&position.block, position.entry, &position.page);
        value.map_err(|why| self.damaged_value(position, why))
    }

    fn checked_value(&self) -> Result<CheckedValue<'_>> {
        let Some(position) = &self.position else { return Ok((&[], None)) };
        let (value, checksum) = (self.value_bytes()?, position.block.checksum(position.entry));
        if let (Some(checksum), Some(entry)) = (checksum, self.entry()) {
            let checked = checksum.check(entry, value);
            checked.map_err(|error| self.table.in_block(position.index, error))?;
        }
        Ok((value, checksum))
    }
}
