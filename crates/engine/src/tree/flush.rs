//! Flush: the sealed memtables become tables of level 0.

use super::{
    Gate, Tree,
    outputs::Target,
    separate::SeparatedValues,
    state::{Sealed, TreeState},
};
use crate::{
    compaction::{Cutter, OlderData, Survivors, Views},
    error::Result,
    iter::MergeCursor,
    memtable::Memtable,
    types::{Level, Seqno, TableId},
    version::{Added, Note, RunAge, TablesChange, check_names},
};
use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;
use isopach_env::WriteOrigin;

/// Result of a flush.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FlushReport {
    /// Memtables that are tables now.
    pub memtables: usize,
    /// These tables.
    pub tables: Vec<TableId>,
    /// Their size, and that of the values that were separated.
    pub bytes: u64,
    /// Memory that the memtables took.
    pub memtable_bytes: u64,
    /// Everything up to here is in tables.
    pub replay_point: Seqno,
}

impl Tree {
    /// Writes sealed memtables whose boundary is `<= barrier` as one run of level 0 and raises the replay
    /// point to the last boundary.
    ///
    /// `notes` go into the same edit. With nothing unflushed `<= barrier` the replay point rises to `barrier`
    /// in memory: no edit, no notes. The caller promises that everything `<= barrier` was applied and, if it
    /// was logged, is durable in the log (INV-WAL-6).
    ///
    /// # Errors
    ///
    /// Of a tree that is cleared meanwhile nothing is written, and that is no error. A failed table write leaves the tree as it was; its files go. `Poisoned` after a failed sync of the
    /// manifest or a directory: whether the edit survived is known only after reopening. `Closed`;
    /// `ReadOnly`.
    pub fn flush(&self, barrier: Seqno, views: &Views, notes: &[Note]) -> Result<FlushReport> {
        let _lease = self.0.context.enter()?;
        check_names(notes)?;
        let _flush = self.0.flush.lock();
        let state = self.0.state.load();
        let is_due = |sealed: &&Sealed| sealed.boundary <= barrier;
        let due: Vec<Sealed> = state.sealed.iter().filter(is_due).cloned().collect();
        let Some(replay_point) = due.first().map(|newest| newest.boundary) else {
            return Ok(self.advance_idle(barrier));
        };
        self.0.context.manifest()?.check()?;

        let ranges = state.levels.tables().map(|(.., table)| (&table.first_key[..], &table.last_key[..]));
        let older = OlderData::in_ranges(&self.0.order, ranges);
        let sources = due.iter().map(|sealed| sealed.memtable.cursor()).collect();
        let read: Vec<_> = due.iter().flat_map(|sealed| sealed.memtable.range_tombstones()).collect();
        let is_last = older.is_none();
        let cursor = MergeCursor::new(sources, &self.0.order);
        let survivors = Survivors::new(cursor, views.clone(), older);
        let mut survivors = self.with_code(survivors, &state, (Level(0), is_last), views, (&read, &[]));
        let age = RunAge(replay_point.raw());
        let target = Target {
            level: Level(0),
            place: self.place_of(Level(0))?,
            age,
            origin: WriteOrigin::FlushTable,
            lineage: Vec::new(),
            replay_point,
            dictionary: None,
        };
        let mut cutter = Cutter::new(&self.0.order, self.options().table_bytes, Vec::new());
        let values = SeparatedValues::new(self, &state, target.origin);
        let written = self.write_tables(&mut survivors, &mut cutter, &target, values, &mut |_| Ok(()))?;
        let bytes = written.bytes();

        let read_floor = survivors.read_floor(replay_point);
        let added = written.tables().iter();
        let added = added.map(|table| Added { level: Level(0), age, table: Arc::clone(table.meta()) });
        let mut change = TablesChange::of(self.0.id);
        change.added = added.collect();
        change.replay_point = Some(replay_point);
        change.read_floor = read_floor;
        change.blobs = written.blobs().iter().map(|file| *file.meta()).collect();
        let committed = self.commit_tables(&state, &change, notes, written, |next| {
            next.sealed.retain(|sealed| sealed.boundary > replay_point);
            next.protect(views, read_floor.is_some());
        })?;
        let Some(tables) = committed else {
            return Ok(FlushReport::nothing(self.replay_point()));
        };
        let memtable_bytes = due.iter().map(|sealed| sealed.memtable.bytes()).sum();
        let tables = tables.iter().map(|table| table.id).collect();
        self.0.counters.flushes.fetch_add(1, Ordering::Relaxed);
        self.0.counters.flushed_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(FlushReport { memtables: due.len(), tables, bytes, memtable_bytes, replay_point })
    }

    /// Nothing is unflushed up to `barrier`: the replay point rises in memory.
    fn advance_idle(&self, barrier: Seqno) -> FlushReport {
        let _install = self.0.install.lock();
        let mut gate = self.0.gate.write();
        let state = self.0.state.load();
        let mut replay_point = state.replay_point;
        let is_unflushed =
            |memtable: &Arc<Memtable>| memtable.first_seqno().is_some_and(|first| first <= barrier);
        if !state.memtables().any(is_unflushed) {
            replay_point = replay_point.max(barrier);
            let sealed_upto = state.sealed_upto.max(barrier);
            let next = TreeState { replay_point, sealed_upto, ..state.as_ref().clone() };
            *gate = Gate::of(&next);
            drop(self.0.state.store(Arc::new(next))); // `state` keeps it.
        }
        FlushReport::nothing(replay_point)
    }
}

impl FlushReport {
    fn nothing(replay_point: Seqno) -> FlushReport {
        FlushReport { memtables: 0, tables: Vec::new(), bytes: 0, memtable_bytes: 0, replay_point }
    }
}

impl TreeState {
    /// Remembers which views read right although a job that was told of `views` changed the past. Called
    /// while the floor is still that of the jobs before.
    ///
    /// A view is harmed by a job if it lies below what was visible at the job's start and the job did not
    /// know of it.
    pub(super) fn protect(&mut self, views: &Views, has_changed: bool) {
        if !has_changed {
            return;
        }
        let unharmed_before =
            |seqno: Seqno| seqno >= self.read_floor || self.protected.binary_search(&seqno).is_ok();
        let unharmed_now =
            |seqno: Seqno| seqno >= views.visible() || views.live().binary_search(&seqno).is_ok();
        let candidates = self.protected.iter().chain(views.live()).copied();
        let mut protected: Vec<Seqno> =
            candidates.filter(|&seqno| unharmed_before(seqno) && unharmed_now(seqno)).collect();
        protected.sort_unstable();
        protected.dedup();
        self.protected = Arc::from(protected);
    }
}

#[cfg(test)]
mod tests;
