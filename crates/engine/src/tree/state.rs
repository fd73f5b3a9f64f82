//! What readers pin: memtables and tables of one moment.

use super::TableLevels;
use crate::{
    memtable::Memtable,
    types::{Seqno, TreeId},
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
    /// Operations at or below it belong to a sealed memtable or to tables.
    pub(super) sealed_upto: Seqno,
    pub(super) replay_point: Seqno,
    pub(super) read_floor: Seqno,
    /// Views below the floor that every job which changed the past was told of, ascending.
    pub(super) protected: Arc<[Seqno]>,
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
        levels: TableLevels,
        replay_point: Seqno,
        read_floor: Seqno,
    ) -> TreeState {
        TreeState {
            active: Arc::new(active),
            sealed: Vec::new(),
            levels,
            sealed_upto: replay_point,
            replay_point,
            read_floor,
            protected: Arc::from([]),
        }
    }

    pub(super) fn empty(active: Memtable, at: Seqno) -> TreeState {
        TreeState::recovered(active, TableLevels::default(), at, Seqno::ZERO)
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

/// What is left of a dropped tree.
pub(super) struct DroppedTree {
    pub(super) at: Seqno,
    pub(super) state: Weak<TreeState>,
}

/// A tree's state before it was dropped. While it is held, views below [`OldState::at`] read on through
/// handles of the tree; without it they get `TreeDropped`.
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

    /// Position of the drop.
    pub fn at(&self) -> Seqno {
        self.at
    }

    /// Memory of the memtables that the drop found: what flushes had written before is not among them.
    pub fn memtable_bytes(&self) -> u64 {
        self.state.memtables().map(|memtable| memtable.bytes()).sum()
    }
}
