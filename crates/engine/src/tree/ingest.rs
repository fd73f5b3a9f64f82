//! Ingest: entries in order become tables without a memtable or a log, and get their number when they are shown.
//!
//! [`Tree::ingest`] -> [`IngestWriter`] -> [`PreparedIngest`], whose tables are durable and named by nobody ->
//! [`Store::ingest`](crate::store::Store::ingest), one edit for as many trees as there are.

use super::{
    Tree,
    finishing::Finishing,
    outputs::{Target, Unfinished},
    separate::SeparatedValues,
};
use crate::{
    compaction::{CheckedPlan, Cutter, LAST_LEVEL, OlderData, PlanKind},
    error::{Error, ErrorKind, Result},
    expiry,
    iter::{Cursor, Entry},
    key::{InternalKey, MAX_KEY_BYTES, MAX_VALUE_BYTES, ValueKind},
    table::TableMeta,
    types::{Level, Seqno, UnixUs, Uuid},
    version::{Added, BlobRef, Hold, Lease, RunAge, TableRef, TablesChange},
};
use alloc::{format, sync::Arc, vec::Vec};
use core::sync::atomic::Ordering;
use isopach_env::WriteOrigin;

/// Takes entries in strictly ascending order of keys and writes tables. Dropped unfinished, it leaves nothing.
#[must_use]
pub struct IngestWriter {
    tree: Tree,
    target: Target,
    cutter: Cutter,
    unfinished: Option<Unfinished>,
    /// Those before it.
    finishing: Finishing,
    values: SeparatedValues,
    prepared: PreparedIngest,
    /// The key added last, if there is one.
    last_key: Option<Vec<u8>>,
    /// What went wrong: nothing more is taken.
    has_failed: bool,
}

/// Tables that wait for an edit. Dropped, they are removed.
#[must_use]
pub struct PreparedIngest {
    tree: Tree,
    finished: Vec<(TableMeta, Hold)>,
    /// What the tables point to.
    blobs: Vec<BlobRef>,
    bytes: u64,
    entries: u64,
    lease: Lease,
}

impl Drop for PreparedIngest {
    fn drop(&mut self) {
        for (_, hold) in self.finished.drain(..) {
            hold.remove();
        }
        self.blobs.iter().for_each(BlobRef::mark_obsolete);
    }
}

/// What an edit is to say of tables that were written, and their handles.
///
/// Until it is dropped no job chooses outputs that would overlap them.
pub(crate) struct Ingest {
    pub(crate) change: TablesChange,
    tree: Tree,
    tables: Vec<TableRef>,
    blobs: Vec<BlobRef>,
    bytes: u64,
    claim: CheckedPlan,
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.tree.0.busy.lock().retain(|claimed| *claimed != self.claim);
    }
}

impl Tree {
    /// Starts bulk loading. Nothing shows before [`Store::ingest`](crate::store::Store::ingest).
    ///
    /// # Errors
    ///
    /// `Closed`; `ReadOnly`; `TreeDropped`; `Poisoned`.
    pub fn ingest(&self) -> Result<IngestWriter> {
        let lease = self.0.context.enter()?;
        self.check_alive()?;
        self.0.context.manifest()?.check()?;
        let state = self.0.state.load();
        let target = Target {
            level: LAST_LEVEL,
            place: self.place_of(LAST_LEVEL)?,
            age: RunAge::SORTED,
            origin: WriteOrigin::IngestTable,
            lineage: Vec::new(),
            replay_point: state.replay_point,
            dictionary: None,
        };
        Ok(IngestWriter {
            tree: self.clone(),
            target,
            cutter: Cutter::new(&self.0.order, self.options().table_bytes, Vec::new()),
            unfinished: None,
            finishing: Finishing::new(&self.0.context.env.spawn),
            values: SeparatedValues::new(self, &state, WriteOrigin::IngestTable),
            prepared: PreparedIngest {
                tree: self.clone(),
                finished: Vec::new(),
                blobs: Vec::new(),
                bytes: 0,
                entries: 0,
                lease,
            },
            last_key: None,
            has_failed: false,
        })
    }

    /// Whether a memtable holds operations in the range of what was prepared: they are older, and would hide it.
    pub fn must_flush_for(&self, prepared: &PreparedIngest) -> bool {
        let Some((first, last)) = prepared.key_range() else { return false };
        let state = self.0.state.load();
        state.memtables().any(|memtable| {
            let mut cursor = memtable.cursor();
            let found = cursor.seek(InternalKey::first_of(first));
            let is_inside = |key: &[u8]| self.0.order.is_at_most(key, last);
            found.is_err() || cursor.entry().is_some_and(|entry| is_inside(entry.key))
        })
    }

    /// Where a table that begins with this key will most likely be: it is written as options say of that level.
    fn likely_level(&self, key: &[u8]) -> Level {
        let (state, order) = (self.0.state.load(), &self.0.order);
        let holds = |table: &TableRef| {
            order.is_at_most(&table.first_key, key) && order.is_at_most(key, &table.last_key)
        };
        let over = state.levels.tables().find(|(.., table)| holds(table)); // Levels come from 0 down.
        over.map_or(LAST_LEVEL, |(level, ..)| Level(level.0.saturating_sub(1)))
    }

    /// Claims the deepest level above which, and in which, nothing overlaps these keys, and nothing will by a job under
    /// way.
    fn claim_place(&self, first: &[u8], last: &[u8]) -> CheckedPlan {
        let order = &self.0.order;
        let overlaps = |its_first: &[u8], its_last: &[u8]| {
            order.is_at_most(its_first, last) && order.is_at_most(first, its_last)
        };
        let mut busy = self.0.busy.lock();
        let state = self.0.state.load(); // Behind the look at who is busy: each job shows there or here.
        let outputs = busy.iter().filter(|plan| plan.kind != PlanKind::Discard);
        let claimed = outputs.filter(|plan| overlaps(&plan.first_key, &plan.last_key)).map(|plan| plan.to);
        let tables = state.levels.tables().filter(|(.., table)| overlaps(&table.first_key, &table.last_key));
        let to = match claimed.chain(tables.map(|(level, ..)| level)).min() {
            None => LAST_LEVEL,
            Some(level) => Level(level.0.saturating_sub(1)),
        };
        let claim = CheckedPlan {
            kind: PlanKind::Move,
            to,
            inputs: Vec::new(),
            first_key: first.into(),
            last_key: last.into(),
            older: OlderData::NONE,
        };
        busy.push(claim.clone());
        claim
    }

    /// What the edit is to say that shows these tables as operation `at`, greater than all there are. In level 0 the age of
    /// their run is the number before, so that no memtable becomes a run of the same age.
    ///
    /// `None`: there are none. The caller promises that nothing is applied until they are installed or given up, and
    /// that no memtable holds operations in their range.
    pub(crate) fn place_ingest(&self, mut prepared: PreparedIngest, at: Seqno) -> Result<Option<Ingest>> {
        self.check_alive()?;
        let Some((first, last)) = prepared.key_range() else { return Ok(None) };
        let claim = self.claim_place(first, last);
        let level = claim.to;
        let age = if level == Level(0) { RunAge(at.before().raw()) } else { RunAge::SORTED };
        let number = |(meta, hold): (TableMeta, Hold)| {
            let tree = (self.0.id, &self.0.order);
            TableRef::new(&self.0.context.tables, tree, hold, Arc::new(meta.numbered(at)))
        };
        let tables: Vec<TableRef> = prepared.finished.drain(..).map(number).collect();
        let mut change = TablesChange::of(self.0.id);
        change.added =
            tables.iter().map(|table| Added { level, age, table: Arc::clone(table.meta()) }).collect();
        change.blobs = prepared.blobs.iter().map(|file| *file.meta()).collect();
        let blobs = core::mem::take(&mut prepared.blobs);
        Ok(Some(Ingest { change, tree: self.clone(), tables, blobs, bytes: prepared.bytes, claim }))
    }
}

impl Ingest {
    /// The edit is durable: shows the tables to views at their number.
    pub(crate) fn install(self) {
        let Ingest { change, tree, tables, blobs, .. } = &self;
        let _edits = tree.0.edits.lock();
        let _install = tree.0.install.lock();
        let mut next = tree.0.state.load().as_ref().clone();
        let placed = change.added.iter().zip(tables).map(|(added, table)| Added {
            level: added.level,
            age: added.age,
            table: table.clone(),
        });
        let levels = next.levels.apply(Some(&tree.0.order), &[], &placed.collect::<Vec<_>>());
        next.set_levels(levels.expect("INV-VER-1: the place was free"));
        let added = tables.iter().map(|table| &**table.meta());
        let blobs = next.blobs.apply(blobs, added, [].into_iter());
        next.blobs = Arc::new(blobs.expect("INV-MAN-3: an edit fits what is there"));
        drop(tree.0.state.store(Arc::new(next)));
        tree.0.counters.ingested_bytes.fetch_add(self.bytes, Ordering::Relaxed);
    }

    /// The edit was not made.
    pub(crate) fn give_up(self) {
        self.tables.iter().for_each(TableRef::mark_obsolete);
        self.blobs.iter().for_each(BlobRef::mark_obsolete);
    }
}

impl IngestWriter {
    /// Puts a value.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a key that does not come behind the last one, or one out of bounds; the backend's. What
    /// was written goes then.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.add(key, ValueKind::Put, value)
    }

    /// Puts a value that is gone from views at `expires_at` and later.
    ///
    /// # Errors
    ///
    /// As [`IngestWriter::put`].
    pub fn put_until(&mut self, key: &[u8], value: &[u8], expires_at: UnixUs) -> Result<()> {
        self.add(key, ValueKind::PutUntil, &expiry::stored_value(expires_at, value))
    }

    /// Deletes what the tree holds under the key.
    ///
    /// # Errors
    ///
    /// As [`IngestWriter::put`].
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.add(key, ValueKind::Delete, &[])
    }

    /// Adds an entry, which gets the number of all when it is shown.
    pub(super) fn add(&mut self, key: &[u8], kind: ValueKind, value: &[u8]) -> Result<()> {
        self.add_numbered(key, Seqno::ZERO, kind, value)
    }

    pub(super) fn add_numbered(
        &mut self,
        key: &[u8],
        seqno: Seqno,
        kind: ValueKind,
        value: &[u8],
    ) -> Result<()> {
        if self.has_failed {
            return Err(self.refused("the load failed before; what was written is gone".into()));
        }
        self.has_failed = true;
        self.check_sizes(key, value)?;
        self.check_order(key)?;
        let bytes = self.unfinished.as_mut().map_or(0, |table| table.writer().estimated_bytes());
        if self.cutter.should_cut_before(key, bytes, true)
            && let Some(table) = self.unfinished.take()
        {
            self.values.sync()?;
            self.finish_table(table)?;
        }
        let is_concerned = self.values.concern(kind, value);
        let placed = if is_concerned { self.values.place(Entry { key, seqno, kind }, value)? } else { None };
        let table = match &mut self.unfinished {
            Some(table) => table,
            None => {
                self.target.level = self.tree.likely_level(key);
                self.target.place = self.tree.place_of(self.target.level)?;
                let table = self.tree.begin_table(&self.target)?;
                self.unfinished.insert(self.finishing.prepare(table))
            }
        };
        match placed {
            None => table.writer().add(key, seqno, kind, value)?,
            Some(placed) => table.writer().add(key, seqno, placed.kind, &placed.stored)?,
        }
        let last = self.last_key.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        self.prepared.entries += 1;
        self.has_failed = false;
        Ok(())
    }

    /// Nothing more is taken, and there will be no end.
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
    }

    pub(super) fn check_sizes(&self, key: &[u8], value: &[u8]) -> Result<()> {
        if key.len() <= MAX_KEY_BYTES && value.len() <= MAX_VALUE_BYTES {
            return Ok(());
        }
        let (key, value) = (key.len(), value.len());
        let message = format!(
            "a key of {key} and a value of {value} bytes; at most {MAX_KEY_BYTES} and {MAX_VALUE_BYTES} are allowed"
        );
        Err(self.refused(message))
    }

    fn check_order(&self, key: &[u8]) -> Result<()> {
        let order = &self.tree.0.order;
        let is_behind = self.last_key.as_ref().is_none_or(|last| order.is_less(last, key));
        order.check().map_err(|error| error.in_tree(self.tree.0.id))?;
        if is_behind {
            return Ok(());
        }
        let shown = |key: &[u8]| format!("\"{}\"", key.escape_ascii());
        let last = shown(self.last_key.as_deref().unwrap_or_default());
        Err(self.refused(format!("key {} does not come behind key {last}", shown(key))))
    }

    fn refused(&self, message: alloc::string::String) -> Error {
        Error::new(ErrorKind::InvalidArgument, message).in_tree(self.tree.0.id)
    }

    fn finish_table(&mut self, table: Unfinished) -> Result<()> {
        self.finishing.begin(table, self.prepared.lease.clone());
        self.take_finished(false)
    }

    fn take_finished(&mut self, is_end: bool) -> Result<()> {
        while let Some(finished) = self.finishing.next(is_end) {
            self.prepared.take(finished?);
        }
        Ok(())
    }

    /// Makes the tables durable, and their entries in the directory (INV-MAN-2).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if an entry was refused before; the backend's, `Poisoned` after a failed sync of the directory.
    /// What was written goes then.
    pub fn finish(mut self) -> Result<PreparedIngest> {
        if self.has_failed {
            return Err(self.refused("an entry of the load was refused".into()));
        }
        self.values.sync()?;
        if let Some(table) = self.unfinished.take() {
            self.finish_table(table)?;
        }
        self.take_finished(true)?;
        self.prepared.blobs = self.values.finish()?;
        self.prepared.bytes += self.prepared.blobs.iter().map(|file| file.meta().bytes).sum::<u64>();
        if !self.prepared.finished.is_empty() {
            let tables = self.prepared.finished.iter().map(|(meta, _)| meta);
            self.tree.sync_tables(tables, WriteOrigin::IngestTable)?;
        }
        Ok(self.prepared)
    }

    /// Of entries that are read again: all values stay in the tables.
    pub(super) fn without_separation(self) -> IngestWriter {
        IngestWriter { values: self.values.nowhere(), ..self }
    }

    /// Ends tables that are read again and never shown.
    pub(super) fn finish_run(mut self) -> Result<Vec<TableRef>> {
        if let Some(table) = self.unfinished.take() {
            self.finish_table(table)?;
        }
        self.take_finished(true)?;
        let tree = &self.tree.0;
        let table = |(meta, hold): (TableMeta, Hold)| {
            TableRef::new(&tree.context.tables, (tree.id, &tree.order), hold, Arc::new(meta))
        };
        Ok(self.prepared.finished.drain(..).map(table).collect())
    }
}

impl PreparedIngest {
    /// Whose.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Number of entries.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    fn take(&mut self, (meta, hold): (TableMeta, Hold)) {
        hold.set_bytes(meta.bytes);
        self.bytes += meta.bytes;
        self.finished.push((meta, hold));
    }

    /// Size of the tables, and of what they point to.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the tables are told by, in the order of their keys.
    pub fn uuids(&self) -> impl Iterator<Item = Uuid> {
        self.finished.iter().map(|(meta, _)| meta.uuid)
    }

    /// The least and the greatest key; `None`: there is no entry.
    fn key_range(&self) -> Option<(&[u8], &[u8])> {
        let (first, last) = (self.finished.first()?, self.finished.last()?);
        Some((&first.0.first_key, &last.0.last_key))
    }
}
