//! Rotate: the memtable is sealed at a boundary; later operations go to a new one. Or to one of their own, if they
//! are a batch that is as large.

use super::{Applied, Gate, Tree};
use crate::{
    error::{Error, ErrorKind, Result},
    key::InternalKey,
    memtable::{Memtable, SortedBatch},
    types::Seqno,
};
use alloc::{format, sync::Arc};

impl Tree {
    /// The newest boundary behind which memtables wait to be flushed.
    pub fn sealed_upto(&self) -> Option<Seqno> {
        self.0.state.load().sealed.first().map(|newest| newest.boundary)
    }

    /// About how many operations on keys from `start` on up to `end` the memtable holds that takes new ones.
    pub fn active_operations(&self, start: &[u8], end: Option<&[u8]>) -> u64 {
        let state = self.0.state.load();
        let active = &state.active;
        if active.is_empty() {
            return 0;
        }
        let share = active.share_between(Some(InternalKey::first_of(start)), end.map(InternalKey::first_of));
        (share * active.len() as f64) as u64
    }

    /// Seals the memtable: operations `<= boundary` belong to it, later ones to the next, whenever they
    /// arrive.
    ///
    /// `false` if nothing was applied since the last boundary: the replay point stays.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if an operation above `boundary` was applied already, or one boundary lies below
    /// another.
    pub fn rotate(&self, boundary: Seqno) -> Result<bool> {
        let _install = self.0.install.lock();
        let mut gate = self.0.gate.write();
        let state = self.0.state.load();
        if state.active.is_empty() {
            return Ok(false);
        }
        if boundary < state.active.last_seqno() || boundary <= state.sealed_upto {
            let (last, sealed) = (state.active.last_seqno(), state.sealed_upto);
            let message = format!("boundary {boundary} lies below operation {last} or boundary {sealed}");
            return Err(Error::new(ErrorKind::InvalidArgument, message).in_tree(self.id()));
        }
        let mut next = state.as_ref().clone();
        next.seal_active(self.0.new_memtable(), boundary);
        *gate = Gate::of(&next);
        drop(self.0.state.store(Arc::new(next))); // `state` keeps it.
        Ok(true)
    }

    /// Applies a batch as a memtable of its own, sealed at once: its operations get `first` and the numbers behind
    /// it, by their positions. What came before is sealed below `first`, and operations that are still on their way
    /// there go there. Of an empty batch nothing is applied.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the batch is sorted in another order than the tree's, an operation at or above `first` was applied already, `first` lies at or below a
    /// boundary, or the numbers exceed [`Seqno::MAX`]: nothing is applied.
    pub fn apply_sorted(&self, batch: Arc<SortedBatch>, first: Seqno) -> Result<Applied> {
        let _install = self.0.install.lock();
        let mut gate = self.0.gate.write();
        let state = self.0.state.load();
        if batch.is_empty() {
            return Ok(Applied { bytes: 0, memtable_bytes: state.active.bytes() });
        }
        if batch.order() != &self.0.order {
            let message = "the batch is sorted in another order than that of the tree";
            return Err(Error::new(ErrorKind::InvalidArgument, message).in_tree(self.id()));
        }
        if first <= state.active.last_seqno().max(state.sealed_upto) {
            let (last, sealed) = (state.active.last_seqno(), state.sealed_upto);
            let message =
                format!("operation {first} does not lie above operation {last} and boundary {sealed}");
            return Err(Error::new(ErrorKind::InvalidArgument, message).in_tree(self.id()));
        }
        let memtable = Memtable::of_batch(batch, first, self.options().entry_checksums)
            .map_err(|error| error.in_tree(self.id()))?;
        let bytes = memtable.bytes();
        let mut next = state.as_ref().clone();
        if first.before() > state.sealed_upto {
            next.seal_active(self.0.new_memtable(), first.before());
        }
        let boundary = memtable.last_seqno();
        next.seal(Arc::new(memtable), boundary);
        *gate = Gate::of(&next);
        drop(self.0.state.store(Arc::new(next))); // `state` keeps it.
        Ok(Applied { bytes, memtable_bytes: 0 })
    }
}
