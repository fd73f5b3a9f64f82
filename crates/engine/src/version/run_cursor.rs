//! A cursor over a run: its tables one after another, opened when reached.

use super::table_file::TableRef;
use crate::{
    error::Result,
    iter::{CheckedValue, Cursor, Entry},
    key::InternalKey,
    order::KeyOrder,
    prefix::PrefixExtractor,
    table::{KeyHash, TableCursor},
    types::{Seqno, Slice, UnixUs},
};
use alloc::sync::Arc;
use core::cmp::Ordering;
use isopach_env::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A prefix that all keys which are looked for begin with, and that its extractor covers.
pub struct CoveredPrefix {
    /// Filters of other extractors say nothing of it.
    pub extractor: Arc<dyn PrefixExtractor>,
    /// Of the prefix.
    pub hash: KeyHash,
    /// Counts tables that were passed over.
    pub skips: Arc<AtomicU64>,
}

/// Entries of a run in order.
pub struct RunCursor {
    tables: Arc<[TableRef]>,
    order: KeyOrder,
    /// Place of the table that `cursor` is over.
    at: usize,
    cursor: Option<TableCursor>,
    fills_cache: bool,
    /// What to ask the filter of the run's only table, as long as it was not asked.
    prefix: Option<Arc<CoveredPrefix>>,
}

impl RunCursor {
    /// Over tables with disjoint ranges, in key order, which is this one. Keeps them from being removed.
    pub fn new(order: &KeyOrder, tables: Arc<[TableRef]>) -> RunCursor {
        RunCursor { tables, order: order.clone(), at: 0, cursor: None, fills_cache: true, prefix: None }
    }

    /// As [`RunCursor::new`], for who looks for keys with a prefix only. The tables are those that overlap the range
    /// that is looked through.
    ///
    /// A table that has none of the keys is passed over. Of several tables each ends or begins with such a key: only
    /// a single one need be asked.
    pub fn of_prefix(order: &KeyOrder, tables: Arc<[TableRef]>, prefix: &Arc<CoveredPrefix>) -> RunCursor {
        let prefix = (tables.len() == 1).then(|| Arc::clone(prefix));
        RunCursor { prefix, ..RunCursor::new(order, tables) }
    }

    /// As [`RunCursor::new`]; blocks that it reads are not kept. For who reads everything once.
    pub fn past_cache(order: &KeyOrder, tables: Arc<[TableRef]>) -> RunCursor {
        RunCursor { fills_cache: false, ..RunCursor::new(order, tables) }
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
            if let Some(prefix) = &self.prefix {
                let is_denied = open.denies_prefix(prefix.extractor.name(), prefix.hash);
                if is_denied.map_err(|error| table.blame(error))? {
                    prefix.skips.fetch_add(1, Relaxed);
                    self.tables = Arc::from([]);
                    return Ok(());
                }
            }
            self.prefix = None;
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
        let at = self.tables.partition_point(|table| self.order.is_less(&table.last_key, target.key));
        self.enter(at, |cursor| cursor.seek(target))?;
        self.leave_forward()
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        // A table that begins with the key of the target is looked into only if it may hold a version that is
        // not behind the target: a scan that goes on before a damaged table does not touch it again.
        let first_to_target = |table: &TableRef| self.order.compare(&table.first_key, target.key);
        let behind = self.tables.partition_point(|table| match first_to_target(table) {
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

    fn seek_behind(&mut self, key: &[u8]) -> Result<()> {
        let at = self.tables.partition_point(|table| self.order.is_at_most(&table.last_key, key));
        self.enter(at, |cursor| cursor.seek_behind(key))?;
        self.leave_forward()
    }

    fn next(&mut self) -> Result<()> {
        let cursor = self.cursor.as_mut().expect("a cursor moves from an entry");
        cursor.next().map_err(|error| self.tables[self.at].blame(error))?;
        self.leave_forward()
    }

    fn prev(&mut self) -> Result<()> {
        let cursor = self.cursor.as_mut().expect("a cursor moves from an entry");
        cursor.prev().map_err(|error| self.tables[self.at].blame(error))?;
        self.leave_backward()
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.cursor.as_ref()?.entry()
    }

    fn skip(&mut self, to: Option<&[u8]>, below: Seqno) -> Result<bool> {
        let behind = |to: &[u8]| self.tables.partition_point(|table| self.order.is_less(&table.last_key, to));
        let last = to.map_or(self.tables.len(), behind);
        let is_newer = |at: &usize| self.tables[*at].last_seqno >= below;
        // The table around `to` may have newer entries before it.
        let on_the_way = self.at + 1..self.tables.len().min(last + 1);
        match (on_the_way.into_iter().find(is_newer), to) {
            (Some(at), _) => self.enter(at, TableCursor::seek_first)?,
            (None, Some(to)) => self.enter(last, |cursor| cursor.seek(InternalKey::first_of(to)))?,
            (None, None) => return Ok(false),
        }
        self.leave_forward().map(|()| true)
    }

    fn skip_back(&mut self, from: Option<&[u8]>, below: Seqno) -> Result<bool> {
        let before =
            |from: &[u8]| self.tables.partition_point(|table| self.order.is_less(&table.first_key, from));
        let last = from.map_or(0, before);
        let is_newer = |at: &usize| self.tables[*at].last_seqno >= below;
        let on_the_way = last.saturating_sub(1)..self.at;
        match (on_the_way.rev().find(is_newer), from) {
            (Some(at), _) => self.enter(at, TableCursor::seek_last)?,
            (None, Some(from)) if last > 0 => {
                return self.seek_back(InternalKey::first_of(from)).map(|()| true);
            }
            (None, _) => return Ok(false),
        }
        self.leave_backward().map(|()| true)
    }

    fn newest(&self) -> Seqno {
        self.tables.get(self.at).map_or(Seqno::MAX, |table| table.last_seqno)
    }

    fn expires_from(&self) -> UnixUs {
        self.tables.get(self.at).map_or(UnixUs(0), |table| table.expires_from())
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        let Some(cursor) = &self.cursor else { return Ok(&[]) };
        cursor.value_bytes().map_err(|error| self.tables[self.at].blame(error))
    }

    fn value(&self) -> Result<Slice> {
        let Some(cursor) = &self.cursor else { return Ok(Slice::EMPTY) };
        cursor.value().map_err(|error| self.tables[self.at].blame(error))
    }

    fn checked_value(&self) -> Result<CheckedValue<'_>> {
        let Some(cursor) = &self.cursor else { return Ok((&[], None)) };
        cursor.checked_value().map_err(|error| self.tables[self.at].blame(error))
    }
}
