//! Rotation of keys, to its end: all that is there is brought under the key of new files, while the database is used.
//!
//! Reads top-down: [`finish_rotation`] is the story. Every step is one that the database takes anyway, so a crash leaves
//! what a crash leaves at any other time, and what was written anew stays so.

use crate::{
    background::{flush_all, free_log, reseal_all},
    error::{Error, ErrorKind, Result},
    notes::{FIRST_SEGMENT, SEALED_FROM, first_segment, sealed_from},
    recovery::Progress,
    state::State,
    wal,
};
use isopach_engine::{
    codec::{KeyId, Seal},
    error::{Error as EngineError, ErrorKind as EngineErrorKind, Result as EngineResult},
    store::{KeyUse, Store},
};
use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

/// What lies under which key; [`KeyId::CLEAR`] of what is not encrypted.
pub(crate) fn keys_in_use(store: &Store) -> BTreeMap<KeyId, KeyUse> {
    let mut uses: BTreeMap<KeyId, KeyUse> = BTreeMap::new();
    for (seal, of_seal) in seals_in_use(store) {
        uses.entry(seal.map_or(KeyId::CLEAR, |seal| seal.key)).or_default().add_all(of_seal);
    }
    uses
}

/// Brings everything under the current key.
///
/// # Errors
///
/// `InvalidArgument`, `MissingKey`: new files are not sealed as is wanted. `Cancelled` by `watch`. Those of flushes and
/// compactions; `Corruption` of a damaged table. What was written anew by then stays so.
pub(crate) fn finish_rotation(
    state: &State,
    watch: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<()> {
    let mut told = Told { watch, total: 0, done: 0, left: 0, written: 0 };
    loop {
        state.check_open()?;
        state.commits.check().map_err(|error| state.locate(error))?;
        let seal = state.store.settled_seal().map_err(|error| state.locate(error))?;
        told.tell(state, seal, 0).map_err(|error| state.locate(error))?;

        state.store.reseal_manifest().map_err(|error| state.locate(error))?;
        // Nothing is appended to what the flush leaves in the log.
        let from = state.commits.wal.reseal().map_err(|error| state.locate(error))?;
        if log_seals(&state.store).any(|(of_segment, _)| of_segment != seal) {
            flush_all(state)?;
            free_log(state).map_err(|error| state.locate(error))?;
        }
        rewrite(state, seal, &mut told)?;

        if seals_in_use(&state.store).keys().all(|of_file| *of_file == seal) {
            // Nothing of it is undone by a crash: the edits before this one are durable with it.
            let is_noted = state.store.note(SEALED_FROM).is_some_and(|note| !note.is_empty());
            let note = (seal.is_some() && !is_noted).then(|| sealed_from(from));
            return state.store.commit(note.as_slice()).map_err(|error| state.locate(error));
        }
        unusable(state)?;
        // What was committed meanwhile, or a key that changed again.
        state.store.env().clock.sleep(Duration::from_millis(2));
    }
}

/// Writes tables and separated values anew, keyspace by keyspace.
fn rewrite(state: &State, seal: Option<Seal>, told: &mut Told<'_>) -> Result<()> {
    for space in state.spaces.all() {
        match reseal_all(state, &space, seal, &mut |bytes| told.tell(state, seal, bytes)) {
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                state.check_open()?; // It is what ended the work then.
                return Err(state.locate(error));
            }
            done => done.map_err(|error| state.locate(error))?,
        }
    }
    Ok(())
}

/// A keyspace that cannot be used cannot be written anew.
fn unusable(state: &State) -> Result<()> {
    for tree in state.store.trees() {
        match state.store.tree_by_id(tree.id) {
            Err(error) if error.kind() != EngineErrorKind::NotFound => {
                return Err(state.locate(Error::from(error).in_keyspace(&tree.name)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// How everything is sealed that an opening needs; `None`: not at all.
fn seals_in_use(store: &Store) -> BTreeMap<Option<Seal>, KeyUse> {
    let mut uses = store.seals_in_use();
    log_seals(store).for_each(|(seal, bytes)| uses.entry(seal).or_default().add(bytes));
    uses
}

/// How the segments of the log are sealed, and their sizes.
fn log_seals(store: &Store) -> impl Iterator<Item = (Option<Seal>, u64)> {
    let first_live = first_segment(store.note(FIRST_SEGMENT).as_deref());
    let first_live = first_live.expect("it was read when the database was opened, or written since");
    wal::seals_in_use(&*store.env().fs, first_live).into_iter()
}

/// What was said of the progress.
struct Told<'a> {
    watch: &'a mut dyn FnMut(&Progress) -> ControlFlow<()>,
    total: u64,
    done: u64,
    /// What was not sealed so when it was told last.
    left: u64,
    /// Written for that since, and not in use yet.
    written: u64,
}

impl Told<'_> {
    /// So many bytes more were written: says how much is sealed so that was not.
    fn tell(&mut self, state: &State, seal: Option<Seal>, bytes: u64) -> EngineResult<()> {
        let others = state.store.seals_in_use().into_iter().filter(|(of_file, _)| *of_file != seal);
        let left: u64 = others.map(|(_, used)| used.bytes).sum();
        if left != self.left {
            (self.left, self.written) = (left, 0); // What was written is in use.
        }
        self.written = (self.written + bytes).min(left);
        self.total = self.total.max(left); // More comes if the key changes again.
        self.done = self.done.max(self.total - left + self.written);
        let progress = Progress { phase: "rewrite", done: self.done, total: self.total };
        match (self.watch)(&progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                Err(EngineError::new(EngineErrorKind::Cancelled, "the rotation was ended by who watches it"))
            }
        }
    }
}
