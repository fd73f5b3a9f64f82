//! Replay: the records of a recovered log go to the trees whose tables lack them.

use crate::{
    error::{Error, ErrorKind, Result},
    recovery::{Progress, ProgressHook},
    state::KeyspaceChange,
    wal::{LogRecord, RecordKind, Recovered},
    write::decode_operations,
};
use isopach_engine::{
    error::{Error as EngineError, ErrorKind as EngineErrorKind, Result as EngineResult},
    memtable::Operation,
    store::Store,
    tree::Tree,
    types::{Seqno, TreeId},
};
use std::{collections::BTreeMap, fmt, ops::ControlFlow, sync::Arc};

/// Replay of a recovered log into the trees of a store.
pub(super) struct Replay<'a> {
    store: Store,
    recovered: &'a Recovered,
    progress: Option<ProgressHook>,
    pub(super) trees: BTreeMap<TreeId, Tree>,
    /// Position of the record that was applied last.
    pub(super) applied: Seqno,
    done_bytes: u64,
    /// Memory taken since memtables were looked at.
    pub(super) unchecked_bytes: u64,
}

impl<'a> Replay<'a> {
    pub(super) fn new(store: Store, recovered: &'a Recovered, progress: Option<ProgressHook>) -> Replay<'a> {
        Replay {
            store,
            recovered,
            progress,
            trees: BTreeMap::new(),
            applied: Seqno::ZERO,
            done_bytes: 0,
            unchecked_bytes: 0,
        }
    }

    /// Trees that can be used. One that cannot stays closed; a log that holds its operations keeps the
    /// database from opening.
    pub(super) fn open_trees(&mut self) -> Result<()> {
        for info in self.store.trees() {
            if let Ok(tree) = self.store.tree_by_id(info.id) {
                self.trees.insert(info.id, tree);
            }
        }
        Ok(())
    }

    /// Applies every record; `after` is called behind each.
    pub(super) fn run(&mut self, after: &mut dyn FnMut(&mut Replay<'a>) -> Result<()>) -> Result<()> {
        let mut failure = None;
        let fs = Arc::clone(&self.store.env().fs);
        let recovered = self.recovered;
        let result = recovered.replay(&*fs, &mut |record| {
            let outcome = self.apply(&record).map_err(Error::from).and_then(|()| {
                self.applied = record.last_seqno();
                self.report(record.body().len() as u64)?;
                after(self)
            });
            outcome.map_err(|error| {
                failure = Some(error);
                EngineError::new(EngineErrorKind::Cancelled, "the replay was ended")
            })
        });
        match (result, failure) {
            (_, Some(failure)) => Err(failure),
            (result, None) => Ok(result?),
        }
    }

    fn report(&mut self, bytes: u64) -> Result<()> {
        let before = self.done_bytes >> 20;
        self.done_bytes += bytes;
        if self.done_bytes >> 20 == before {
            return Ok(());
        }
        let progress = Progress { phase: "replay", done: self.done_bytes, total: self.recovered.bytes };
        match self.progress.as_mut().map(|hook| hook(&progress)) {
            Some(ControlFlow::Break(())) => {
                Err(Error::new(ErrorKind::Cancelled, "opening was ended by its progress hook"))
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, record: &LogRecord<'_>) -> EngineResult<()> {
        match record.kind {
            RecordKind::Batch => self.apply_batch(record),
            RecordKind::Keyspace => self.redo(record),
        }
    }

    /// Each operation goes to its tree, unless its tables hold it already.
    fn apply_batch(&mut self, record: &LogRecord<'_>) -> EngineResult<()> {
        let mut operations: BTreeMap<TreeId, Vec<Operation<'_>>> = BTreeMap::new();
        let each = |id, operation| operations.entry(id).or_default().push(operation);
        decode_operations(record.body(), record.first_seqno, record.count, each)
            .map_err(|why| corrupt(record, why))?;
        for (id, mut operations) in operations {
            match self.trees.get(&id) {
                Some(tree) => {
                    let replay_point = tree.replay_point();
                    operations.retain(|operation| operation.seqno > replay_point);
                    self.unchecked_bytes += tree.apply_operations(&operations)?.bytes;
                }
                None => match self.store.tree_by_id(id) {
                    // Of a tree that was dropped later, in an edit that is there already.
                    Err(error) if error.kind() == EngineErrorKind::NotFound => {
                        if record.first_seqno > self.store.applied_upto() {
                            return Err(corrupt(record, format_args!("keyspace {id} never was")));
                        }
                    }
                    unusable => drop(unusable?),
                },
            }
        }
        Ok(())
    }

    /// Makes the edit that a record announces, unless it was made before the crash.
    fn redo(&mut self, record: &LogRecord<'_>) -> EngineResult<()> {
        let change = KeyspaceChange::decode(record.body()).map_err(|why| corrupt(record, why))?;
        let at = record.last_seqno();
        if at <= self.store.applied_upto() {
            return Ok(());
        }
        let tree = match change.redo(&self.store, at, &[]) {
            // The edit of an earlier creation of that name, or of an earlier drop, failed when it was made,
            // and was made just now: its caller was told of the failure, and nothing was written under this
            // id.
            Err(error)
                if matches!(error.kind(), EngineErrorKind::AlreadyExists | EngineErrorKind::NotFound) =>
            {
                None
            }
            redone => redone?,
        };
        match (change, tree) {
            (KeyspaceChange::Create { id, .. }, Some(tree)) => drop(self.trees.insert(id, tree)),
            (KeyspaceChange::Drop { id }, _) => drop(self.trees.remove(&id)),
            (KeyspaceChange::Create { .. }, None) => {}
        }
        Ok(())
    }
}

fn corrupt(record: &LogRecord<'_>, why: impl fmt::Display) -> EngineError {
    EngineError::corrupt(record.file_name(), record.position.offset, why)
}
