//! Replay: the records of a recovered log go to the trees whose tables lack them.
//!
//! The log comes in pieces. Operations may be applied in any order, so pieces that only write are applied
//! beside each other, in rounds that end before memtables could outgrow their bounds by much; what changes
//! keyspaces is applied in order, alone. Between rounds memtables that grew large are flushed, so that what a
//! flush says it holds is a prefix of the log.

use super::{progress::Watch, starting::Starting};
use crate::{
    error::{Error, Result},
    state::KeyspaceChange,
    together::in_parts,
    wal::{LogPiece, LogRecord, RecordKind, Recovered},
    write::decode_operations,
};
use isopach_engine::{
    compaction::Views,
    error::{Error as EngineError, ErrorKind as EngineErrorKind, Result as EngineResult},
    key::ValueKind,
    memtable::Operation,
    store::Store,
    tree::Tree,
    types::{Seqno, TreeId},
};
use std::{collections::BTreeMap, fmt, slice, sync::Arc};

/// Most memory that a round takes: progress is told between rounds.
const ROUND_BYTES: u64 = 16 << 20;

/// Replay of a recovered log into the trees of a store.
pub(super) struct Replay<'a> {
    trees: Trees,
    recovered: &'a Recovered,
    watch: &'a mut Watch,
    /// What holds if the store is written to.
    writing: Option<Writing<'a>>,
    /// Position of the record that was applied last; all before it were.
    applied: Seqno,
    /// Memory taken since memtables were looked at.
    unchecked_bytes: u64,
}

/// A replay that may flush.
pub(super) struct Writing<'a> {
    /// Size at which a memtable is flushed.
    pub(super) write_buffer_bytes: u64,
    /// Bound of all memtables.
    pub(super) memtable_limit: u64,
    /// Nothing becomes durable before the log is that holds it.
    pub(super) wal: &'a mut Starting,
}

/// The trees that records go to.
#[derive(Clone)]
struct Trees {
    store: Store,
    /// Those that can be used. One that cannot stays closed; a log that holds its operations keeps the
    /// database from opening.
    usable: Arc<BTreeMap<TreeId, Target>>,
}

#[derive(Clone)]
struct Target {
    tree: Tree,
    /// Operations up to this one lie in its tables. What a replay flushes does not come again, so this stays.
    held_upto: Seqno,
}

/// What was applied of a piece.
#[derive(Clone, Copy)]
struct Applied {
    memory_bytes: u64,
    last_seqno: Seqno,
}

impl<'a> Replay<'a> {
    pub(super) fn new(
        store: &Store,
        recovered: &'a Recovered,
        watch: &'a mut Watch,
        writing: Option<Writing<'a>>,
    ) -> Replay<'a> {
        let trees = store.trees().into_iter().filter_map(|info| store.tree_by_id(info.id).ok());
        let usable = Arc::new(trees.map(|tree| (tree.id(), Target::new(tree))).collect());
        let trees = Trees { store: store.clone(), usable };
        Replay { trees, recovered, watch, writing, applied: Seqno::ZERO, unchecked_bytes: 0 }
    }

    /// Applies every record, and gives the trees.
    pub(super) fn run(mut self) -> Result<Vec<Tree>> {
        let pieces: Vec<LogPiece> = self.recovered.pieces().collect();
        let (mut done, total) = (0, pieces.iter().map(LogPiece::bytes).sum());
        let mut rest = &pieces[..];
        while let Some(first) = rest.first() {
            let room = self.make_room()?;
            let count = self.count_together(rest, room);
            let (round, later) = rest.split_at(count.max(1));
            match count {
                0 => self.apply_in_order(first)?,
                _ => self.apply_together(round)?,
            }
            rest = later;
            done += round.iter().map(LogPiece::bytes).sum::<u64>();
            self.watch.tell("replay", done, total)?;
        }
        Ok(self.trees.usable.values().map(|target| target.tree.clone()).collect())
    }

    /// How many of these may be applied in any order, if it is more than one.
    fn count_together(&self, pieces: &[LogPiece], room: u64) -> usize {
        if self.trees.store.env().spawn.parallelism() == 1 {
            return 0;
        }
        let mut bytes = 0;
        let fits = |piece: &&LogPiece| {
            bytes += piece.memory_bytes();
            !piece.changes_keyspaces() && bytes <= room.min(ROUND_BYTES)
        };
        Some(pieces.iter().take_while(fits).count()).filter(|&count| count > 1).unwrap_or(0)
    }

    fn apply_together(&mut self, pieces: &[LogPiece]) -> Result<()> {
        let (trees, theirs) = (self.trees.clone(), pieces.to_vec());
        let env = self.trees.store.env().clone();
        let fs = Arc::clone(&env.fs);
        let apply = move |index: usize| {
            let piece: &LogPiece = &theirs[index];
            let mut applied = Applied { memory_bytes: 0, last_seqno: Seqno::ZERO };
            let read = piece.read(&*fs, &mut |record| {
                applied.memory_bytes += match record.kind {
                    RecordKind::Batch => trees.apply_batch(&record)?,
                    RecordKind::Keyspace => {
                        return Err(corrupt(&record, "the log changed while it was read"));
                    }
                };
                applied.last_seqno = record.last_seqno();
                Ok(())
            });
            read.map(|()| applied)
        };
        for applied in in_parts(&*env.spawn, pieces.len(), apply) {
            let Applied { memory_bytes, last_seqno } = applied?;
            self.unchecked_bytes += memory_bytes;
            self.applied = last_seqno;
        }
        Ok(())
    }

    /// Applies one record after the other; memory is looked at behind each.
    fn apply_in_order(&mut self, piece: &LogPiece) -> Result<()> {
        let fs = Arc::clone(&self.trees.store.env().fs);
        let mut failure = None;
        let read = piece.read(&*fs, &mut |record| {
            self.apply(&record).map_err(|error| {
                failure = Some(error);
                EngineError::new(EngineErrorKind::Cancelled, "the replay was ended")
            })
        });
        match failure {
            Some(failure) => Err(failure),
            None => Ok(read?),
        }
    }

    fn apply(&mut self, record: &LogRecord<'_>) -> Result<()> {
        match record.kind {
            RecordKind::Batch => self.unchecked_bytes += self.trees.apply_batch(record)?,
            RecordKind::Keyspace => self.redo(record)?,
        }
        self.applied = record.last_seqno();
        self.flush_if_large()
    }

    /// Makes the edit that a record announces, unless it was made before the crash.
    fn redo(&mut self, record: &LogRecord<'_>) -> Result<()> {
        let change = KeyspaceChange::decode(record.body()).map_err(|why| corrupt(record, why))?;
        let at = record.last_seqno();
        if at <= self.trees.store.applied_upto() {
            return Ok(());
        }
        self.make_log_durable()?;
        let tree = match change.redo(&self.trees.store, at, &[]) {
            // The edit of an earlier creation of that name, or of an earlier drop, failed when it was made,
            // and was made just now: its caller was told of the failure, and nothing was written under this
            // id.
            Err(error)
                if matches!(error.kind(), EngineErrorKind::AlreadyExists | EngineErrorKind::NotFound) =>
            {
                None
            }
            redone => redone.map_err(|error| match &change {
                KeyspaceChange::Create { name, .. } => Error::from(error).in_keyspace(name),
                KeyspaceChange::Drop { .. }
                | KeyspaceChange::Clear { .. }
                | KeyspaceChange::Ingest { .. } => error.into(),
            })?,
        };
        let usable = Arc::make_mut(&mut self.trees.usable);
        match (change, tree) {
            (KeyspaceChange::Create { id, .. }, Some(tree)) => drop(usable.insert(id, Target::new(tree))),
            (KeyspaceChange::Drop { id }, _) => drop(usable.remove(&id)),
            (KeyspaceChange::Create { .. }, None)
            | (KeyspaceChange::Clear { .. } | KeyspaceChange::Ingest { .. }, _) => {}
        }
        Ok(())
    }

    /// Flushes what is due, and says how much memory may be taken before something else is, and an eighth of
    /// the bounds beyond.
    fn make_room(&mut self) -> Result<u64> {
        self.unchecked_bytes = 0;
        self.flush_large()?;
        let Some(writing) = &self.writing else {
            return Ok(u64::MAX);
        };
        let (total, largest) = self.trees.memory();
        let to_a_flush = writing.write_buffer_bytes.saturating_sub(largest);
        Ok(to_a_flush.min(writing.memtable_limit.saturating_sub(total)) + writing.step())
    }

    /// Keeps memory within its bounds while a long log is replayed.
    fn flush_if_large(&mut self) -> Result<()> {
        // Looking at all trees behind every record would cost more than the replay.
        if self.writing.as_ref().is_none_or(|writing| self.unchecked_bytes < writing.step()) {
            return Ok(());
        }
        self.unchecked_bytes = 0;
        self.flush_large()
    }

    /// The log is made durable before, so what was applied may be flushed.
    fn flush_large(&mut self) -> Result<()> {
        let Some(&Writing { write_buffer_bytes, memtable_limit, .. }) = self.writing.as_ref() else {
            return Ok(());
        };
        let (total, largest) = self.trees.memory();
        if largest < write_buffer_bytes && total < memtable_limit {
            return Ok(());
        }
        self.make_log_durable()?;
        for Target { tree, .. } in self.trees.usable.values() {
            let bytes = tree.memtables().0;
            if bytes >= write_buffer_bytes || (total >= memtable_limit && bytes == largest) {
                tree.rotate(self.applied)?;
                tree.flush(self.applied, &Views::keep_all(), &[])?;
            }
        }
        Ok(())
    }

    fn make_log_durable(&mut self) -> Result<()> {
        self.writing.as_mut().map_or(Ok(()), |writing| writing.wal.wait().map_err(Error::from))
    }
}

impl Writing<'_> {
    /// How much memory is taken between two looks at memtables.
    fn step(&self) -> u64 {
        self.write_buffer_bytes.min(self.memtable_limit) / 8
    }
}

impl Target {
    fn new(tree: Tree) -> Target {
        Target { held_upto: tree.replay_point(), tree }
    }
}

impl Trees {
    /// What all memtables take, and the largest tree's.
    fn memory(&self) -> (u64, u64) {
        let sizes = self.usable.values().map(|target| target.tree.memtables().0);
        sizes.fold((0, 0), |(total, largest), bytes| (total + bytes, largest.max(bytes)))
    }

    /// Each operation goes to its tree. Returns the memory that they take.
    fn apply_batch(&self, record: &LogRecord<'_>) -> EngineResult<u64> {
        if record.count == 1 {
            // Most records are. The outer error is of the bytes, the inner of applying them.
            let mut applied = Ok(0);
            decode(record, |id, operation| applied = self.apply_to(id, slice::from_ref(&operation), record))?;
            return applied;
        }
        let mut operations: BTreeMap<TreeId, Vec<Operation<'_>>> = BTreeMap::new();
        decode(record, |id, operation| operations.entry(id).or_default().push(operation))?;
        operations.into_iter().map(|(id, operations)| self.apply_to(id, &operations, record)).sum()
    }

    /// Applies operations in the order of their numbers, but for those that tables hold already.
    fn apply_to(
        &self,
        id: TreeId,
        operations: &[Operation<'_>],
        record: &LogRecord<'_>,
    ) -> EngineResult<u64> {
        if let Some(Target { tree, held_upto }) = self.usable.get(&id) {
            let held = operations.partition_point(|operation| operation.seqno <= *held_upto);
            let lacking = &operations[held..];
            let is_reversed = |it: &&Operation<'_>| {
                it.kind == ValueKind::DeleteRange
                    && !it.value.is_empty()
                    && !tree.order().is_less(it.key, it.value)
            };
            if lacking.iter().find(is_reversed).is_some() {
                return Err(corrupt(record, "a range ends before it begins"));
            }
            return Ok(tree.apply_operations(lacking)?.bytes);
        }
        match self.store.tree_by_id(id) {
            // Of a tree that was dropped later, in an edit that is there already.
            Err(error) if error.kind() == EngineErrorKind::NotFound => {
                if record.first_seqno > self.store.applied_upto() {
                    return Err(corrupt(record, format_args!("keyspace {id} never was")));
                }
                Ok(0)
            }
            unusable => unusable.map(|_| 0),
        }
    }
}

fn decode<'a>(record: &LogRecord<'a>, each: impl FnMut(TreeId, Operation<'a>)) -> EngineResult<()> {
    let decoded = decode_operations(record.body(), record.first_seqno, record.count, each);
    decoded.map_err(|why| corrupt(record, why))
}

fn corrupt(record: &LogRecord<'_>, why: impl fmt::Display) -> EngineError {
    EngineError::corrupt(record.file_name(), record.position.offset, why)
}
