//! Repair: a database that does not open is made to open again.
//!
//! Reads top-down: [`repair`] is the story. What tables say is the engine's part; here the log is read, and cut where it is
//! damaged, and the notes are made that a new manifest has of it. Opening replays the log afterwards, as ever.

use crate::{
    error::{Error, ErrorKind, Result},
    notes::{
        CLEAN_END, FIRST_SEGMENT, LOG_SYNCED, RESERVED, SEALED_FROM, TIMELINE, TIMELINE_FROM,
        keyspace_options,
    },
    options::LogRecovery,
    recovery::{Opening, log_facts},
    state::KeyspaceChange,
    wal::{LogRecord, LogSurvey, Reading, RecordKind, Recovered, Wal, WalOptions, recover, survey},
    write::{decode_operations, reserve_behind},
};
use isopach_engine::{
    error::{Error as EngineError, Result as EngineResult},
    store::{LogTold, Plan, Repair, StoreOptions, TreeChange},
    types::{Seqno, TreeId},
    version::{FileRegistry, Note},
};
use isopach_env::Fs;
use std::sync::Arc;

pub use isopach_engine::store::{Fate, RepairOptions, RepairedFile, RepairedTree};

/// Numbers that were given out and of which nothing is left lie below the greatest that is found by so much at most:
/// a reservation of commits, and some.
const LOST_SEQNOS: u64 = 1 << 24;

/// What a repair did, or would do.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct RepairReport {
    /// Nothing was changed, or would be: all is well, or [`RepairReport::has_losses`] and nothing can be done about them.
    pub is_unchanged: bool,
    /// Nothing was written: that was asked for.
    pub is_dry_run: bool,
    /// What was wrong with the manifest; `None`: it was sound, and stays what says which tables there are.
    pub manifest: Option<String>,
    /// IDENTITY was missing or damaged, and was written anew.
    pub has_new_identity: bool,
    /// The keyspaces of the database, by their ids, without what only the log holds.
    pub keyspaces: Vec<RepairedTree>,
    /// Files that are not simply as they were, or were found without a manifest.
    pub files: Vec<RepairedFile>,
    /// Records of the log that are left for the next opening.
    pub log_records: u64,
    /// Where the log was damaged, and why it ends there now: commits behind it are lost, unless tables hold them.
    pub log_damage: Option<String>,
    /// What whoever repairs should know.
    pub warnings: Vec<String>,
}

impl RepairReport {
    /// Files of this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.files.iter().filter(|file| file.fate == fate).count()
    }

    /// Whether something is lost or cannot be read.
    pub fn has_losses(&self) -> bool {
        self.log_damage.is_some() || self.files.iter().any(RepairedFile::is_loss)
    }
}

/// Repairs a database that is not open.
pub(crate) fn repair(opening: Opening, how: RepairOptions) -> Result<RepairReport> {
    let locate = |error: Error| error.in_directory(&opening.path);
    let mut options = StoreOptions::default();
    options.code = opening.code.clone();
    options.keys = opening.keys.clone();
    let begun = Repair::begin(opening.env.clone(), &options, how).map_err(|error| locate(error.into()))?;
    if begun.notes().is_none() && !opening.routes.is_empty() {
        let why = "a manifest that is lost cannot be rebuilt with tables in the places of routes: only it knew them";
        return Err(locate(Error::new(ErrorKind::UnsupportedFeature, why)));
    }
    repair_begun(begun, how).map_err(locate)
}

fn repair_begun(begun: Repair, how: RepairOptions) -> Result<RepairReport> {
    let (env, owner) = (begun.env().clone(), begun.owner().clone());
    let surveyed = match begun.notes() {
        Some(_) => None,
        None => Some(survey(&*env.fs, &owner)?),
    };
    let facts = match (&surveyed, begun.notes()) {
        (Some(surveyed), _) => surveyed.facts(),
        (None, notes) => log_facts(&|name| notes?.get(name).cloned())?,
    };
    let find = |mode| {
        let reading = Reading { spawn: &*env.spawn, watch: &mut |_, _| Ok(()) };
        recover(&*env.fs, &owner, facts, mode, reading)
    };
    let has_log = env.fs.exists("wal") != Ok(false);
    let log = match has_log.then(|| find(LogRecovery::TornEnd)).transpose() {
        Err(error) if error.kind() == isopach_engine::error::ErrorKind::Corruption => {
            Some(find(LogRecovery::PointInTime)?)
        }
        found => found?,
    };

    let log = log.map(Arc::new);
    let mut told = Told::default();
    if let (Some(log), Some(_)) = (&log, &surveyed) {
        read_log(&*env.fs, log, &mut |record| told.note(record))?;
    }
    let of_log = told.log.clone();
    let (fs, replayed) = (Arc::clone(&env.fs), log.clone());
    let mut plan = begun.plan(&of_log, &mut |each| match &replayed {
        Some(log) => read_log(&*fs, log, &mut |record| for_each_operation(record, each)),
        None => Ok(()),
    })?;
    let damage = log.as_ref().and_then(|log| log.damage.clone().map(|damage| (Arc::clone(log), damage)));
    let mut notes = match &surveyed {
        Some(surveyed) => notes_of_rebuilt(surveyed, &told, log.as_deref(), &plan),
        None => Vec::new(),
    };
    if let Some((log, damage)) = &damage {
        plan.warn(format!(
            "the log ends at commit {} now; what tables hold of later commits may be part of some only",
            log.last_seqno
        ));
        notes.push(Note::new(LOG_SYNCED, log.end.to_raw().to_le_bytes()));
        notes.push(Note::new(CLEAN_END, Vec::new()));
        keep_log(&mut plan, log, damage);
        if !how.dry_run {
            cut_log(plan.repair(), log)?;
        }
    }
    let done = plan.carry_out(&notes)?;
    Ok(RepairReport {
        is_unchanged: done.is_unchanged,
        is_dry_run: done.is_dry_run,
        manifest: done.manifest,
        has_new_identity: done.has_new_identity,
        keyspaces: done.trees,
        files: done.files,
        log_records: log.map_or(0, |log| log.records),
        log_damage: damage.map(|(_, damage)| damage.to_string()),
        warnings: done.warnings,
    })
}

/// What the log tells of keyspaces.
#[derive(Default)]
struct Told {
    log: LogTold,
    /// Of keyspaces whose creation is in the log, what the engine does not know of their options.
    notes: Vec<Note>,
}

impl Told {
    fn note(&mut self, record: &LogRecord<'_>) -> EngineResult<()> {
        let at = record.last_seqno();
        if record.kind == RecordKind::Batch {
            return for_each_operation(record, &mut |tree, _, _| {
                self.log.trees.insert(tree);
            });
        }
        let change = KeyspaceChange::decode(record.body()).map_err(|why| corrupt(record, why))?;
        let change = match change {
            KeyspaceChange::Create { id, name, tree_options: options, note } => {
                self.notes.push(Note::new(keyspace_options(id), note));
                TreeChange::Created { id, name, options }
            }
            KeyspaceChange::Drop { id } => TreeChange::Dropped(id),
            KeyspaceChange::Clear { id } => TreeChange::Cleared(id),
            KeyspaceChange::Ingest { loads } => {
                TreeChange::Loaded(loads.into_iter().flat_map(|load| load.tables).collect())
            }
        };
        self.log.changes.push((at, change));
        Ok(())
    }
}

fn for_each_operation(
    record: &LogRecord<'_>,
    each: &mut dyn FnMut(TreeId, Seqno, &[u8]),
) -> EngineResult<()> {
    if record.kind != RecordKind::Batch {
        return Ok(());
    }
    let each =
        |tree, operation: isopach_engine::memtable::Operation<'_>| each(tree, operation.seqno, operation.key);
    decode_operations(record.body(), record.first_seqno, record.count, each)
        .map_err(|why| corrupt(record, why.0))
}

fn corrupt(record: &LogRecord<'_>, why: &str) -> EngineError {
    EngineError::corrupt(record.file_name(), record.position.offset, why)
}

fn read_log(
    fs: &dyn Fs,
    log: &Recovered,
    each: &mut dyn FnMut(&LogRecord<'_>) -> EngineResult<()>,
) -> EngineResult<()> {
    log.pieces().try_for_each(|piece| piece.read(fs, &mut |record| each(&record)))
}

/// What a rebuilt manifest says of log and numbers: the log may go on anywhere behind its end, which is not known to be
/// clean, and no number is given out that may have been before.
fn notes_of_rebuilt(surveyed: &LogSurvey, told: &Told, log: Option<&Recovered>, plan: &Plan) -> Vec<Note> {
    let last = log.map_or(Seqno::ZERO, |log| log.last_seqno).max(plan.greatest_seqno());
    let reserved = reserve_behind(last.checked_add(LOST_SEQNOS).unwrap_or(Seqno::MAX));
    let mut notes = told.notes.clone();
    notes.push(Note::new(FIRST_SEGMENT, surveyed.first_live.to_le_bytes()));
    notes.push(Note::new(RESERVED, reserved.raw().to_le_bytes()));
    if let Some((timeline, from)) = surveyed.timeline {
        notes.push(Note::new(TIMELINE, timeline.to_le_bytes()));
        notes.push(Note::new(TIMELINE_FROM, from.to_le_bytes()));
    }
    if let Some(from) = surveyed.sealed_from {
        notes.push(Note::new(SEALED_FROM, from.to_le_bytes()));
    }
    notes
}

/// The damaged segment and those behind it are no log any more; opening removes them.
fn keep_log(plan: &mut Plan, log: &Recovered, damage: &EngineError) {
    plan.keep_copy(damage.file().unwrap_or_default());
    for name in log.names_behind() {
        plan.keep_copy(name);
    }
}

/// Ends a damaged log where it can be read up to, by a segment that says so: opening then finds a log that is whole.
fn cut_log(repair: &Repair, log: &Recovered) -> EngineResult<()> {
    let options = WalOptions { segment_bytes: 64 << 10, maps: false };
    let registry = FileRegistry::new(Arc::clone(&repair.env().fs)); // What is given up to it is not removed.
    Wal::start(repair.env(), &registry, options, log).map(drop)
}
