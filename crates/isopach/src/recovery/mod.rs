//! Recovery: from a directory to the state that its handles share.
//!
//! Reads top-down: [`open`] is the story. IDENTITY and manifest are the engine's part; here the log is found,
//! made durable, meanwhile replayed above each tree's replay point, and numbering goes on where nothing was
//! used. Threads of the environment help; what is found and what is left in the trees hangs on none of them.

mod facts;
mod progress;
mod replay;
mod salvage;
mod starting;

pub use progress::Progress;
pub(crate) use progress::{ProgressHook, Watch};

use crate::{
    durable::DurableCalls,
    error::{Error, ErrorKind, Result},
    events::{Event, Listeners},
    jobs::Jobs,
    notes::{
        CHECKPOINT, CLEAN_END, COMMIT_ENDS, FIRST_SEGMENT, LOG_SYNCED, OPTIONS, RESERVED, SCRUB, TIMELINE,
        TIMELINE_FROM, first_segment, keyspace_options,
    },
    options::{DbOptions, KeyspaceOptions, LogRecovery, SetOptions},
    passes::Passes,
    routes::{Route, add_routes, find_places},
    settings::Settings,
    space::{Space, Spaces},
    state::State,
    time::Times,
    told::Told,
    views::LiveViews,
    wal::{Discarded, LogFacts, Reading, Recovered, WalOptions, check_keys, recover},
    write::{Commits, Start, reserve_behind},
};
use facts::Facts;
use isopach_engine::{
    codec::{CleanCopies, Keyring},
    store::{Admit, Store, StoreOptions},
    tree::{KnownCode, Tree},
    types::{Seqno, View},
    version::Note,
};
use isopach_env::{Env, sync::atomic::AtomicBool};
use replay::{Replay, Writing};
use starting::Starting;
use std::{path::PathBuf, sync::Arc};

/// Recovery that finds more segments than this flushes what it replayed.
const MANY_SEGMENTS: usize = 16;

/// What opening a database found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// The database was closed properly, or is new.
    pub is_clean: bool,
    /// Records of the log that were read.
    pub log_records: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// The end of the log that was dropped: never promised to be durable, unless it says so.
    pub discarded: Option<DiscardedEnd>,
    /// Table files that no version named, left by a crash; removed.
    pub orphans_removed: u64,
}

/// The end of a log that recovery dropped.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DiscardedEnd {
    /// The file in which it begins, relative to the database.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// Bytes that were not zero, in this file and later ones. 0 of files that are gone.
    pub bytes: u64,
    /// Some of it was known to be durable, and is lost: with [`LogRecovery::PointInTime`] only.
    pub was_durable: bool,
}

/// How to open.
pub(crate) struct Opening {
    pub(crate) path: PathBuf,
    pub(crate) env: Env,
    pub(crate) set: SetOptions,
    pub(crate) create_if_missing: bool,
    pub(crate) log_recovery: LogRecovery,
    pub(crate) code: KnownCode,
    pub(crate) routes: Vec<Route>,
    pub(crate) keys: Keyring,
    pub(crate) copies: Option<Arc<dyn CleanCopies>>,
    pub(crate) listeners: Listeners,
    pub(crate) progress: Option<ProgressHook>,
}

/// A database opened for reading: everything replayed, nothing written.
pub(crate) struct ReadState {
    pub(crate) path: PathBuf,
    pub(crate) store: Store,
    pub(crate) spaces: Spaces,
    /// What was visible, and when it was opened.
    pub(crate) at: View,
    pub(crate) wal_bytes: u64,
    pub(crate) wal_segments: u64,
    pub(crate) recovery: Recovery,
}

/// Opens for reading and writing.
pub(crate) fn open(mut opening: Opening) -> Result<(State, Recovery)> {
    let path = opening.path.clone();
    let locate = |error: Error| error.in_directory(&path);
    opening.set.validate()?; // Before anything is created.
    let mut watch = Watch::new(opening.progress.take());
    let mut store_options = StoreOptions::default();
    store_options.create_if_missing = opening.create_if_missing;
    store_options.code = opening.code.clone();
    store_options.places = find_places(&opening.routes);
    store_options.keys = opening.keys.clone();
    store_options.copies = opening.copies.clone();
    store_options.admit = admit_with(&opening.keys);
    let store = Store::open(opening.env.clone(), &store_options).map_err(|error| locate(error.into()))?;

    let stored = store.note(OPTIONS).map_or(Ok(SetOptions::default()), |note| SetOptions::decode(&note));
    let set = opening.set.clone().over(stored.map_err(locate)?);
    let options = set.resolve()?;
    store.set_cache(options.cache_bytes, options.max_open_files);
    store.set_filter_budget(options.filter_budget_bytes.unwrap_or(u64::MAX));
    store.set_spare_memory(options.write_buffer_bytes);

    let facts = Facts::read(&store).map_err(locate)?;
    let mut recovered = find_end(&store, &facts, opening.log_recovery, &mut watch).map_err(locate)?;
    let last_used = facts.last_used(&recovered);
    check_numbers(&store, last_used).map_err(locate)?;
    store.check_file_numbers().map_err(|error| locate(error.into()))?;
    let visible = last_visible(&store, &recovered);
    let ends = facts.ends(&recovered, visible);
    // From here on the log has no clean end, and numbers go on above all that were ever given out: the first of them
    // are reserved, so that no commit waits for that.
    let reserved = reserve_behind(last_used);
    let mut notes = vec![
        Note::new(CLEAN_END, Vec::new()),
        Note::new(RESERVED, reserved.raw().to_le_bytes()),
        Note::new(OPTIONS, set.encode()),
        Note::new(COMMIT_ENDS, ends.encode()),
    ];
    let owner = store.owner();
    let seal = owner.keys.current(owner.database).map_err(|error| locate(error.into()))?;
    notes.extend(facts.sealed_from_now(seal.is_some(), recovered.next_number));
    recovered.timeline = facts.timeline(&recovered);
    if facts.is_copy() {
        recovered.timeline = new_timeline(&store).map_err(locate)?;
        notes.push(Note::new(CHECKPOINT, Vec::new()));
        notes.push(Note::new(TIMELINE, recovered.timeline.to_le_bytes()));
        notes.push(Note::new(TIMELINE_FROM, recovered.next_number.to_le_bytes()));
    }
    if recovered.is_cut() {
        // What was durable is no log any more: nobody shall miss it from here on.
        notes.push(Note::new(LOG_SYNCED, recovered.end.to_raw().to_le_bytes()));
    }
    store.commit(&notes).map_err(|error| locate(error.into()))?;
    add_routes(&store, &opening.routes).map_err(locate)?;
    let recovered = Arc::new(recovered);
    let wal_options = WalOptions { segment_bytes: segment_bytes(&options), maps: options.mapped_log };
    let memtable_limit = options.memory_budget - options.cache_bytes;
    let mut starting = Starting::begin(&store, wal_options, Arc::clone(&recovered));
    let writing =
        Writing { write_buffer_bytes: options.write_buffer_bytes, memtable_limit, wal: &mut starting };
    let replayed = Replay::new(&store, &recovered, &mut watch, Some(writing)).run();
    let wal = starting.finish().map_err(|error| locate(error.into()))?;
    let trees = replayed.map_err(|error| locate(in_its_keyspace(&store, error)))?;

    let times = Times::new(Arc::clone(&store.env().clock), facts.last_time(&recovered));
    let views = Arc::new(LiveViews::new(visible, times));
    let start = Start { last_used, reserved, ends, memtable_limit };
    let commits = Commits::new(store.clone(), wal, Arc::clone(&views), start);
    let passes = Passes::of_note(store.note(SCRUB)).map_err(locate)?;
    let state = State {
        path: path.clone(),
        spaces: Spaces::new(),
        views,
        commits,
        jobs: Jobs::new(options.threads),
        listeners: opening.listeners,
        is_closed: AtomicBool::new(false),
        told: Told::default(),
        durable_calls: DurableCalls::new(),
        passes,
        settings: Settings::new(options),
        store,
    };
    finish(state, trees, &recovered, facts.is_clean())
}

/// Refuses a log of which a segment needs a key that is not there.
fn admit_with(keys: &Keyring) -> Admit {
    let keys = keys.clone();
    Admit::by(move |fs, catalog| match first_segment(catalog.notes.get(FIRST_SEGMENT).map(Vec::as_slice)) {
        Ok(first_live) => check_keys(fs, &keys, first_live),
        Err(_) => Ok(()), // What is wrong with it is told when it is needed.
    })
}

/// No tree holds a number, or claims to have flushed one, that was never given out: it would be given out
/// again, to a commit that nobody sees.
fn check_numbers(store: &Store, last_used: Seqno) -> Result<()> {
    let trees = store.trees().into_iter().filter_map(|tree| store.tree_by_id(tree.id).ok());
    let in_trees = trees.map(|tree| tree.highest_seqno().max(tree.replay_point())).max();
    let greatest = in_trees.unwrap_or(Seqno::ZERO).max(store.applied_upto());
    if greatest > last_used {
        let message = format!(
            "the manifest tells of number {greatest}, and {last_used} is the last that was given out"
        );
        return Err(Error::new(ErrorKind::Corruption, message));
    }
    Ok(())
}

/// Names the keyspace of an error that names its tree only.
fn in_its_keyspace(store: &Store, error: Error) -> Error {
    match store.trees().into_iter().find(|tree| Some(tree.id) == error.tree()) {
        Some(tree) => error.in_keyspace(&tree.name),
        None => error,
    }
}

/// A number for the history that begins here: the copy and its source go on apart, and two openings of one
/// copy too.
fn new_timeline(store: &Store) -> Result<u64> {
    let mut bytes = [0; 8];
    store.env().entropy.fill(&mut bytes).map_err(|error| {
        isopach_engine::error::Error::io(error, "draw the number of a timeline", "the random source")
    })?;
    Ok(u64::from_le_bytes(bytes))
}

/// Finds the log of a store, for a check of it. The inner error is what is wrong with the log.
pub(crate) fn find_log(store: &Store) -> Result<isopach_engine::error::Result<Recovered>> {
    let facts = Facts::read(store)?;
    Ok(find(store, &facts, LogRecovery::TornEnd, &mut Watch::none()))
}

/// What notes of a manifest say of the log.
pub(crate) fn log_facts(note: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<LogFacts> {
    Facts::of(note).map(|facts| facts.log())
}

/// The log, with what is left of its end.
fn find_end(store: &Store, facts: &Facts, mode: LogRecovery, watch: &mut Watch) -> Result<Recovered> {
    let recovered = find(store, facts, mode, watch)?;
    if let Some(damage) = &recovered.damage {
        salvage::check_prefix(store, recovered.last_seqno, damage)?;
    }
    Ok(recovered)
}

fn find(
    store: &Store,
    facts: &Facts,
    mode: LogRecovery,
    watch: &mut Watch,
) -> isopach_engine::error::Result<Recovered> {
    let env = store.env();
    let reading = Reading { spawn: &*env.spawn, watch: &mut |done, total| watch.tell("search", done, total) };
    recover(&*env.fs, store.owner(), facts.log(), mode, reading)
}

/// Everything is replayed: the rest makes the state ready for handles.
fn finish(
    state: State,
    trees: Vec<Tree>,
    recovered: &Recovered,
    is_clean: bool,
) -> Result<(State, Recovery)> {
    for tree in trees {
        let space = space_of(&state.store, tree).map_err(|error| state.locate(error))?;
        state.commits.add_memory(space.tree.memtables().0);
        crate::background::note_shape(&space);
        state.spaces.insert(space);
    }
    let orphans = state.store.remove_orphans().map_err(|error| state.locate(error))?;
    let recovery = recovery_of(recovered, is_clean, orphans);
    if let Some(DiscardedEnd { file, offset, bytes, .. }) = &recovery.discarded {
        state.listeners.tell(&Event::LogEndDiscarded { file, offset: *offset, bytes: *bytes });
    }
    // First of all: a process that is killed again and again must not leave more than it removes.
    state.jobs.delete();
    let has_many_segments = recovered.segments().count() > MANY_SEGMENTS;
    for space in state.spaces.all() {
        let is_large = space.tree.active_bytes() >= state.settings.write_buffer_bytes();
        if has_many_segments || is_large {
            let order = state.commits.order();
            state.rotate(&order, &space);
        }
        let has_runs = space.l0_runs.load(std::sync::atomic::Ordering::Relaxed) > 0;
        if has_runs || space.tree.has_other_seals() {
            state.jobs.compact(space.id);
        }
    }
    Ok((state, recovery))
}

/// Opens for reading: the log is replayed in memory.
pub(crate) fn open_read_only(mut opening: Opening) -> Result<ReadState> {
    let path = opening.path.clone();
    let locate = |error: Error| error.in_directory(&path);
    opening.set.validate()?;
    let mut watch = Watch::new(opening.progress.take());
    let mut store_options = StoreOptions::default();
    store_options.read_only = true;
    store_options.code = opening.code.clone();
    store_options.places = find_places(&opening.routes);
    store_options.keys = opening.keys.clone();
    store_options.copies = opening.copies.clone();
    let store = Store::open(opening.env.clone(), &store_options).map_err(|error| locate(error.into()))?;
    let stored = store.note(OPTIONS).map_or(Ok(SetOptions::default()), |note| SetOptions::decode(&note));
    let options = opening.set.clone().over(stored.map_err(locate)?).resolve()?;
    store.set_cache(options.cache_bytes, options.max_open_files);
    store.set_filter_budget(options.filter_budget_bytes.unwrap_or(u64::MAX));
    let facts = Facts::read(&store).map_err(locate)?;
    let recovered = find_end(&store, &facts, opening.log_recovery, &mut watch).map_err(locate)?;

    check_numbers(&store, facts.last_used(&recovered)).map_err(locate)?;

    let trees = Replay::new(&store, &recovered, &mut watch, None).run().map_err(locate)?;
    let spaces = Spaces::new();
    for tree in trees {
        spaces.insert(space_of(&store, tree).map_err(locate)?);
    }
    let now = Times::new(Arc::clone(&store.env().clock), facts.last_time(&recovered)).now();
    Ok(ReadState {
        path: path.clone(),
        at: View::new(last_visible(&store, &recovered), now),
        wal_bytes: recovered.bytes,
        wal_segments: recovered.segments().count() as u64,
        recovery: recovery_of(&recovered, facts.is_clean(), 0),
        spaces,
        store,
    })
}

fn recovery_of(recovered: &Recovered, is_clean: bool, orphans_removed: u64) -> Recovery {
    let discarded = recovered.discarded.as_ref().map(|Discarded { file, offset, bytes, .. }| DiscardedEnd {
        file: file.clone(),
        offset: *offset,
        bytes: *bytes,
        was_durable: recovered.is_cut(),
    });
    Recovery {
        is_clean: is_clean && !recovered.is_cut(),
        log_records: recovered.records,
        log_bytes: recovered.bytes,
        discarded,
        orphans_removed,
    }
}

/// Segments are at most a sixteenth of the log's bound, 64 KiB to 64 MiB. Whole ones hold what a memtable does, which
/// takes a sixth more in the log: the next memtable begins a new one, and what is left of the last was brought into
/// memory, and is written to the medium, for nothing.
fn segment_bytes(options: &DbOptions) -> u64 {
    let most = (options.max_wal_bytes / 16).clamp(64 << 10, 64 << 20);
    let memtable = options.write_buffer_bytes.saturating_add(options.write_buffer_bytes / 4);
    (memtable / memtable.div_ceil(most)).max(64 << 10)
}

/// The newest commit: of the log, or of the tables where the log is shorter. Never below a read floor, which
/// may lie above what survived of the log: nothing between was.
fn last_visible(store: &Store, recovered: &Recovered) -> Seqno {
    let trees = store.trees().into_iter().filter_map(|tree| store.tree_by_id(tree.id).ok());
    let flushed = trees.map(|tree| tree.highest_seqno()).max();
    recovered.last_seqno.max(flushed.unwrap_or(Seqno::ZERO)).max(store.applied_upto())
}

fn space_of(store: &Store, tree: Tree) -> Result<Arc<Space>> {
    let note = store.note(&keyspace_options(tree.id())).unwrap_or_default();
    let options = KeyspaceOptions::from_stored(&tree.options(), &note)
        .map_err(|error| error.in_keyspace(tree.name()))?;
    Ok(Space::new(tree, &options))
}
