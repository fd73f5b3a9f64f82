//! Rotate: the memtable is sealed at a boundary; later operations go to a new one.

use super::{Gate, Tree, state::Sealed};
use crate::{
    error::{Error, ErrorKind, Result},
    types::Seqno,
};
use alloc::{format, sync::Arc};
use core::mem;

impl Tree {
    /// The newest boundary behind which memtables wait to be flushed.
    pub fn sealed_upto(&self) -> Option<Seqno> {
        self.0.state.load().sealed.first().map(|newest| newest.boundary)
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
        let memtable = mem::replace(&mut next.active, Arc::new(self.0.context.new_memtable()));
        next.sealed.insert(0, Sealed { memtable, boundary });
        next.sealed_upto = boundary;
        *gate = Gate::of(&next);
        drop(self.0.state.store(Arc::new(next))); // `state` keeps it.
        Ok(true)
    }
}
