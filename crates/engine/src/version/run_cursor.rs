//! A cursor over a run: its tables one after another, opened when reached.

use super::table_file::TableRef;
use crate::{
    error::Result,
    iter::{Cursor, Entry},
    key::InternalKey,
    table::TableCursor,
    types::Slice,
};
use alloc::sync::Arc;
use core::cmp::Ordering;

/// Entries of a run in order.
pub struct RunCursor {
    tables: Arc<[TableRef]>,
    /// Place of the table that `cursor` is over.
    at: usize,
    cursor: Option<TableCursor>,
    fills_cache: bool,
}

impl RunCursor {
    /// Over tables with disjoint ranges, in key order. Keeps them from being removed.
    pub fn new(tables: Arc<[TableRef]>) -> RunCursor {
        RunCursor { tables, at: 0, cursor: None, fills_cache: true }
    }

    /// As [`RunCursor::new`]; blocks that it reads are not kept. For who reads everything once.
    pub fn past_cache(tables: Arc<[TableRef]>) -> RunCursor {
        RunCursor { fills_cache: false, ..RunCursor::new(tables) }
    }

    /// Places the cursor in table `at` by `place`; nowhere if there is no such table.
    fn enter(&mut self, at: usize, place: impl FnOnce(&mut TableCursor) -> Result<()>) -> Result<()> {
        let Some(table) = self.tables.get(at) else {
            self.cursor = None;
            return Ok(());
        };
        if self.cursor.is_none() || self.at != at {
            self.cursor = None;
            let open = table.open().map_err(|error| table.blame(error))?;
            self.cursor = Some(if self.fills_cache { open.cursor() } else { open.cursor_past_cache() });
            self.at = at;
        }
        let cursor = self.cursor.as_mut().expect("just made");
        place(cursor).map_err(|error| table.blame(error))
    }

    fn leave_forward(&mut self) -> Result<()> {
        if self.entry().is_none() && self.cursor.is_some() {
            self.enter(self.at + 1, TableCursor::seek_first)?;
        }
        Ok(())
    }

    fn leave_backward(&mut self) -> Result<()> {
        if self.entry().is_none() && self.cursor.is_some() {
            match self.at.checked_sub(1) {
                Some(before) => self.enter(before, TableCursor::seek_last)?,
                None => self.cursor = None,
            }
        }
        Ok(())
    }
}

impl Cursor for RunCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.enter(0, TableCursor::seek_first)
    }

    fn seek_last(&mut self) -> Result<()> {
        match self.tables.len().checked_sub(1) {
            Some(last) => self.enter(last, TableCursor::seek_last),
            None => Ok(()),
        }
    }

    fn seek(&mut self, target: InternalKey<'_>) -> Result<()> {
        let at = self.tables.partition_point(|table| table.last_key[..] < *target.key);
        self.enter(at, |cursor| cursor.seek(target))?;
        self.leave_forward()
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        // A table that begins with the key of the target is looked into only if it may hold a version that is
        // not behind the target: a scan that goes on before a damaged table does not touch it again.
        let behind = self.tables.partition_point(|table| match table.first_key[..].cmp(target.key) {
            Ordering::Less => true,
            Ordering::Equal => table.last_seqno >= target.seqno,
            Ordering::Greater => false,
        });
        let Some(at) = behind.checked_sub(1) else {
            self.cursor = None;
            return Ok(());
        };
        self.enter(at, |cursor| cursor.seek_back(target))?;
        self.leave_backward()
    }

    fn next(&mut self) -> Result<()> {
        let at = self.at;
        self.enter(at, TableCursor::next)?;
        self.leave_forward()
    }

    fn prev(&mut self) -> Result<()> {
        let at = self.at;
        self.enter(at, TableCursor::prev)?;
        self.leave_backward()
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.cursor.as_ref()?.entry()
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        let Some(cursor) = &self.cursor else { return Ok(&[]) };
        cursor.value_bytes().map_err(|error| self.tables[self.at].blame(error))
    }

    fn value(&self) -> Result<Slice> {
        let Some(cursor) = &self.cursor else { return Ok(Slice::EMPTY) };
        cursor.value().map_err(|error| self.tables[self.at].blame(error))
    }
}
