//! What readers pin: memtables and tables of one moment, and by which prefixes tables are written and passed over.

use super::{TableLevels, code::TreeCode};
use crate::{
    error::Result,
    memtable::Memtable,
    range_tombstone::Hidden,
    types::{Seqno, TreeId},
    version::{BlobFiles, BlobRef, TableRef},
};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use core::mem;

/// One state of a tree. Immutable but for the memtables in it.
#[derive(Clone)]
pub(super) struct TreeState {
    /// Takes operations above the newest boundary.
    pub(super) active: Arc<Memtable>,
    /// Waiting to be flushed, newest first.
    pub(super) sealed: Vec<Sealed>,
    /// Tables.
    pub(super) levels: TableLevels,
    /// What these point to.
    pub(super) blobs: Arc<BlobFiles>,
    /// Those of them that have range tombstones.
    pub(super) ranged: Arc<[TableRef]>,
    /// Whether any of them has entries that expire.
    pub(super) has_expiring: bool,
    /// Operations at or below it belong to a sealed memtable or to tables.
    pub(super) sealed_upto: Seqno,
    pub(super) replay_point: Seqno,
    pub(super) read_floor: Seqno,
    /// Where the tree was cleared; zero if it never was. A job that found another one has nothing to bring.
    pub(super) cleared_at: Seqno,
    /// Views below the floor that every job which changed the past was told of, ascending.
    pub(super) protected: Arc<[Seqno]>,
    /// What the options name. A store opened for reading lacks what it does not know.
    pub(super) code: TreeCode,
}

/// A memtable that takes no operations above its boundary.
#[derive(Clone)]
pub(super) struct Sealed {
    pub(super) memtable: Arc<Memtable>,
    pub(super) boundary: Seqno,
}

impl TreeState {
    pub(super) fn recovered(
        active: Memtable,
        (levels, blobs): (TableLevels, BlobFiles),
        replay_point: Seqno,
        read_floor: Seqno,
    ) -> TreeState {
        TreeState {
            active: Arc::new(active),
            sealed: Vec::new(),
            ranged: ranged(&levels),
            has_expiring: has_expiring(&levels),
            levels,
            blobs: Arc::new(blobs),
            sealed_upto: replay_point,
            replay_point,
            read_floor,
            cleared_at: Seqno::ZERO,
            protected: Arc::from([]),
            code: TreeCode::default(),
        }
    }

    pub(super) fn empty(active: Memtable, at: Seqno) -> TreeState {
        TreeState::recovered(active, (TableLevels::default(), BlobFiles::default()), at, Seqno::ZERO)
    }

    /// All its files go when nobody reads them any more.
    pub(super) fn mark_obsolete(&self) {
        self.levels.tables().for_each(|(.., table)| table.mark_obsolete());
        self.blobs.files().for_each(BlobRef::mark_obsolete);
    }

    /// Has other tables from now on.
    pub(super) fn set_levels(&mut self, levels: TableLevels) {
        self.ranged = ranged(&levels);
        self.has_expiring = has_expiring(&levels);
        self.levels = levels;
    }

    /// What range tombstones hide from a view: those of all memtables and tables.
    ///
    /// # Errors
    ///
    /// `Corruption` or `Io` of a table whose tombstones were not read yet.
    pub(super) fn hidden(&self, at: Seqno) -> Result<Hidden> {
        if self.ranged.is_empty() && self.memtables().all(|memtable| memtable.has_no_ranges()) {
            return Ok(Hidden::nothing());
        }
        let mut sources = Vec::new();
        self.memtables().for_each(|memtable| sources.extend(memtable.range_tombstones()));
        for table in self.ranged.iter() {
            sources.extend(table.range_tombstones()?.cloned());
        }
        Ok(Hidden::new(sources, at))
    }

    /// Whether a range tombstone hides this version of a key from a view.
    ///
    /// # Errors
    ///
    /// As [`TreeState::hidden`].
    #[inline]
    pub(super) fn is_hidden(&self, key: &[u8], seqno: Seqno, at: Seqno) -> Result<bool> {
        let is_newer = |covering: Option<Seqno>| covering.is_some_and(|covering| covering > seqno);
        if self.memtables().any(|memtable| is_newer(memtable.covering(key, at))) {
            return Ok(true);
        }
        for table in self.ranged.iter() {
            if table.ranges.is_some_and(|ranges| ranges.newest > seqno)
                && let Some(ranges) = table.range_tombstones()?
                && is_newer(ranges.covering(key, at))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Seals the active memtable at a boundary; `next` takes its place.
    pub(super) fn seal_active(&mut self, next: Memtable, boundary: Seqno) {
        let memtable = mem::replace(&mut self.active, Arc::new(next));
        self.seal(memtable, boundary);
    }

    /// Adds the newest of the sealed memtables.
    pub(super) fn seal(&mut self, memtable: Arc<Memtable>, boundary: Seqno) {
        self.sealed.insert(0, Sealed { memtable, boundary });
        self.sealed_upto = boundary;
    }

    /// All memtables, newest first.
    pub(super) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        core::iter::once(&self.active).chain(self.sealed.iter().map(|sealed| &sealed.memtable))
    }

    /// The memtable that operation `seqno` belongs to, whenever it arrives; `None` if that was flushed, or is one
    /// of a batch, which has all that it will have.
    pub(super) fn memtable_for(&self, seqno: Seqno) -> Option<&Arc<Memtable>> {
        if seqno > self.sealed_upto {
            return Some(&self.active);
        }
        let holds = |sealed: &&Sealed| seqno <= sealed.boundary;
        self.sealed
            .iter()
            .rev()
            .find(holds)
            .filter(|_| seqno > self.replay_point)
            .map(|sealed| &sealed.memtable)
            .filter(|memtable| memtable.takes_operations())
    }

    /// Whether a view at `seqno` reads right here.
    pub(super) fn is_readable_at(&self, seqno: Seqno) -> bool {
        seqno >= self.read_floor || self.protected.binary_search(&seqno).is_ok()
    }
}

/// The tables that have range tombstones.
fn ranged(levels: &TableLevels) -> Arc<[TableRef]> {
    let tables = levels.tables().map(|(.., table)| table);
    tables.filter(|table| table.ranges.is_some()).cloned().collect()
}

fn has_expiring(levels: &TableLevels) -> bool {
    levels.tables().any(|(.., table)| table.expiry.is_some())
}

/// A state that a tree had before it was cleared or dropped at `at`.
pub(super) struct FormerState {
    pub(super) at: Seqno,
    pub(super) state: Weak<TreeState>,
}

/// A tree's state before it was cleared or dropped. While it is held, views below [`OldState::at`] read on through
/// handles of the tree; without it they get `SnapshotTooOld` or `TreeDropped`.
pub struct OldState {
    tree: TreeId,
    at: Seqno,
    state: Arc<TreeState>,
}

impl OldState {
    pub(super) fn new(tree: TreeId, at: Seqno, state: Arc<TreeState>) -> OldState {
        OldState { tree, at, state }
    }

    /// Whose.
    pub fn tree(&self) -> TreeId {
        self.tree
    }

    /// Position of the clearing or the drop.
    pub fn at(&self) -> Seqno {
        self.at
    }

    /// Memory of the memtables that it found: what flushes had written before is not among them.
    pub fn memtable_bytes(&self) -> u64 {
        self.state.memtables().map(|memtable| memtable.bytes()).sum()
    }
}
