//! Checkpoint: a database of its own, of all keyspaces at one commit.
//!
//! Reads top-down: [`checkpoint`] is the story. The order of commits is held only while the state is captured in memory
//! ([`capture`]); everything is written while commits go on.

use crate::{
    background::flush_now,
    error::{Error, ErrorKind, Result},
    notes::{CHECKPOINT, CLEAN_END, CleanClose, FIRST_SEGMENT, first_segment},
    state::State,
    wal::{LogCut, segment_name},
};
use isopach_engine::{
    error as engine,
    store::{CheckpointInfo, CheckpointOptions, Cut, Extra},
    tree::Tree,
    version::Note,
};
use isopach_env::{Fs, IoError, IoErrorKind, IoResult, SubDir, SyncSite};
use std::sync::Arc;

/// Makes a database of its own in the new directory `name` of `fs`.
///
/// # Errors
///
/// `AlreadyExists`, `NotFound`, `OutOfSpace`, `Io`: nothing is left of the target, unless removing it failed too; then it
/// is no database, and is refused as a partial copy. `Poisoned`, `Closed`.
pub(crate) fn checkpoint(
    state: &State,
    fs: Arc<dyn Fs>,
    name: &str,
    options: &CheckpointOptions,
) -> Result<CheckpointInfo> {
    state.check_open()?;
    if let Some(error) = state.commits.poisoned() {
        return Err(state.locate(error));
    }
    if options.flush {
        state.spaces.all().iter().try_for_each(|space| flush_now(state, space))?;
    }
    let target: Arc<dyn Fs> = Arc::new(claim(&fs, name)?);
    write(state, &target, options).map_err(|error| {
        drop(target);
        let _ = fs.remove_dir(name).and_then(|()| sync_parent_of(&*fs, name));
        state.locate(error)
    })
}

/// Makes the target's directory: of several callers one gets it.
fn claim(fs: &Arc<dyn Fs>, name: &str) -> Result<SubDir> {
    let target = SubDir::create(Arc::clone(fs), name, SyncSite("checkpoint.target"));
    target.map_err(|error| refused(error, name))
}

/// Why there cannot be a target of this name.
pub(crate) fn refused(error: IoError, name: &str) -> Error {
    let kind = match error.kind() {
        IoErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        IoErrorKind::NotFound | IoErrorKind::NotADirectory => ErrorKind::NotFound,
        IoErrorKind::InvalidName => ErrorKind::InvalidArgument,
        _ => return engine::Error::io(error, "create the directory of the checkpoint", name).into(),
    };
    Error::new(kind, format!("cannot create the directory {name:?} of the checkpoint: {error}"))
}

fn sync_parent_of(fs: &dyn Fs, name: &str) -> IoResult<()> {
    let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
    fs.sync_dir(parent, SyncSite("checkpoint.removed"))
}

fn write(state: &State, target: &Arc<dyn Fs>, options: &CheckpointOptions) -> Result<CheckpointInfo> {
    let Captured { cut, log, end } = capture(state)?;
    let first = first_segment(cut.note(FIRST_SEGMENT))?;
    let mut copy_log = |extra: &mut Extra<'_>| {
        let needed = log.segments.iter().filter(|segment| segment.number >= first);
        needed.into_iter().try_for_each(|segment| extra.copy(&segment_name(segment.number), segment.bytes))
    };
    // Everything that was copied is durable: the copy's log ends as that of a closed database does.
    let notes = [Note::new(CLEAN_END, end.encode()), Note::new(CHECKPOINT, cut.at().raw().to_le_bytes())];
    Ok(state.store.checkpoint(cut, target, options, &notes, &mut copy_log)?)
}

/// The database at one commit.
struct Captured {
    cut: Cut,
    log: LogCut,
    end: CleanClose,
}

/// Captures the newest commit. Writers wait meanwhile; there is no I/O.
fn capture(state: &State) -> Result<Captured> {
    // Before the log is looked at: its segments stay as well.
    let _pause = state.store.pause_deletions();
    let order = state.commits.order();
    let at = order.visible();
    let is_unlogged = |tree: &Tree, last_volatile| last_volatile > tree.replay_point();
    let unlogged: Vec<Tree> = state
        .spaces
        .all()
        .into_iter()
        .filter(|space| is_unlogged(&space.tree, space.last_volatile()))
        .map(|space| space.tree.clone())
        .collect();
    // The log before the manifest: the segments that the manifest needs are among those found here.
    let log = state.commits.wal.cut();
    let cut = state.store.cut(at, &unlogged)?;
    let (last_used, last_time) = order.numbered();
    let end = CleanClose { end: log.end, last_used, last_time };
    Ok(Captured { cut, log, end })
}
