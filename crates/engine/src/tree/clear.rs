//! Clear: everything goes at once, from memory and from disk.

use super::{
    Gate, Tree,
    state::{FormerState, OldState, TreeState},
};
use crate::{
    error::{Error, ErrorKind, Result},
    types::Seqno,
    version::{Change, TablesChange, applied_upto},
};
use alloc::{format, sync::Arc, vec::Vec};

impl Tree {
    /// Removes every operation below `at`, which is a number that no operation has: one edit takes all tables out and
    /// says that nothing up to `at` has to be replayed or can be read any more. What is returned keeps the old state
    /// readable to views below `at`.
    ///
    /// The caller promises that nothing is being applied, and later operations lie above `at`. A job whose inputs go here
    /// brings nothing, and that is no error.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if an operation at or above `at` is there; `TreeDropped`; those of
    /// [`Manifest::commit`](crate::version::Manifest::commit): the tree is as before, unless it was `Poisoned`.
    pub(crate) fn clear_at(&self, at: Seqno) -> Result<OldState> {
        let _edits = self.0.edits.lock();
        self.check_alive()?;
        let found = self.0.state.load();
        let memtables = found.memtables().map(|memtable| memtable.last_seqno());
        let last = memtables.max().unwrap_or_default().max(found.levels.last_seqno());
        if last >= at {
            let message = format!("operation {last} is not below {at}, at which the tree is cleared");
            return Err(Error::new(ErrorKind::InvalidArgument, message).in_tree(self.id()));
        }
        let mut change = TablesChange::of(self.id());
        change.removed = found.levels.tables().map(|(.., table)| table.id).collect::<Vec<_>>();
        change.replay_point = Some(at);
        change.read_floor = Some(at);
        if let Some(manifest) = &self.0.context.manifest {
            manifest.commit(&[Change::Tables(change), applied_upto(at)])?; // The commit point.
        }

        let _install = self.0.install.lock();
        let mut gate = self.0.gate.write();
        let old = self.0.state.load(); // With the tables that were found: those change under `edits` only.
        let empty = TreeState {
            code: old.code.clone(),
            read_floor: at.max(old.read_floor),
            cleared_at: at,
            ..TreeState::empty(self.0.new_memtable(), at.max(old.sealed_upto))
        };
        // First to be found, then needed.
        self.remember(FormerState { at, state: Arc::downgrade(&old) });
        *gate = Gate::of(&empty);
        drop(self.0.state.store(Arc::new(empty))); // `old` keeps it.
        // In a store opened for reading the manifest names them still.
        if self.0.context.manifest.is_some() {
            old.mark_obsolete();
        }
        Ok(OldState::new(self.id(), at, old))
    }

    /// Remembers a state that the tree had, as long as somebody holds it.
    pub(super) fn remember(&self, former: FormerState) {
        let mut all = self.0.former.lock();
        all.retain(|former| former.state.strong_count() > 0);
        all.push(former);
    }

    /// The state that a view at `seqno` saw, if the tree was cleared or dropped since and somebody holds it.
    pub(super) fn former_state(&self, seqno: Seqno) -> Option<Arc<TreeState>> {
        let all = self.0.former.lock();
        all.iter().find(|former| seqno < former.at).and_then(|former| former.state.upgrade())
    }
}
