//! Checkpoint: a database of its own, of all keyspaces at one commit.
//!
//! Reads top-down: [`checkpoint`] is the story. The order of commits is held only while the state is captured
//! in memory ([`capture`]); everything is written while commits go on.
//!
//! A crash meanwhile leaves an empty directory, or one that is refused as a partial copy:
//! `store/checkpoint.rs` of the engine.

use crate::{
    background::flush_all,
    error::{Error, ErrorKind, Result},
    notes::{CHECKPOINT, CLEAN_END, CleanClose, FIRST_SEGMENT, LOG_SYNCED, first_segment},
    routes::system_path,
    state::State,
    wal::{LogCut, segment_name},
};
use isopach_engine::{
    error as engine,
    store::{CheckpointError, CheckpointInfo, CheckpointOptions, Cut, Extra},
    tree::Tree,
    version::Note,
};
use isopach_env::{Fs, IoError, IoErrorKind, IoResult, SubDir, SyncSite, sync::point};
use std::{path::Path, sync::Arc};

/// Makes a database of its own in the new directory `name` of `fs`; errors tell of the target as `path`.
///
/// # Errors
///
/// `AlreadyExists`, `NotFound`, `InvalidArgument`, `OutOfSpace`, `Io`: nothing is left of the target, unless
/// removing it failed too; then it is refused as a partial copy, or is whole. `Poisoned`, `Closed`.
pub(crate) fn checkpoint(
    state: &State,
    fs: &Arc<dyn Fs>,
    name: &str,
    path: &Path,
    options: &CheckpointOptions,
) -> Result<CheckpointInfo> {
    state.check_open()?;
    if let Some(error) = state.commits.poisoned() {
        return Err(state.locate(error));
    }
    let claim = Claim::make(state, fs, name, path)?;
    if options.flush {
        flush_all(state)?;
    }
    let info = write(state, &claim.target, path, options)?;
    claim.keep();
    Ok(info)
}

/// The target's directory, made for this checkpoint. It is removed, if it is empty, unless it is kept: after
/// an error and after a panic alike. A crash before may leave it empty.
struct Claim<'a> {
    fs: &'a dyn Fs,
    name: &'a str,
    target: Arc<dyn Fs>,
    is_kept: bool,
}

impl<'a> Claim<'a> {
    /// Makes the directory: of several callers one gets it.
    fn make(state: &State, fs: &'a Arc<dyn Fs>, name: &'a str, path: &Path) -> Result<Claim<'a>> {
        let own = &*state.store.env().fs;
        let in_target = |error| refused(error, path);
        // Any name of the database leads to its directory.
        if let (Some(lock), Some(target)) = (system_path(own, "LOCK"), system_path(&**fs, name))
            && lock.parent().is_some_and(|own| target.starts_with(own))
        {
            return Err(inside_itself(path));
        }
        // Of other backends only what they show can be told: names that are new in the database's own
        // directory.
        let mut suspects = inner_names(&**fs, name).map_err(in_target)?;
        suspects.retain(|suspect| own.exists(suspect) == Ok(false));

        let target = SubDir::create(Arc::clone(fs), name).map_err(in_target)?;
        let claim = Claim { fs: &**fs, name, target: Arc::new(target), is_kept: false };
        if suspects.iter().any(|suspect| own.exists(suspect) == Ok(true)) {
            return Err(inside_itself(path));
        }
        Ok(claim)
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            let parent = self.name.rsplit_once('/').map_or("", |(parent, _)| parent);
            let removed = self.fs.remove_dir(self.name);
            let _ = removed.and_then(|()| self.fs.sync_dir(parent, SyncSite("checkpoint.removed")));
        }
    }
}

/// What a file may be called in a directory on the way to it: the last part of its name, the last two, and so
/// on.
fn inner_names(fs: &dyn Fs, name: &str) -> IoResult<Vec<String>> {
    let (mut place, mut full) = (fs, String::from(name));
    while let Some((outer, outer_name)) = place.outer(&full)? {
        (place, full) = (outer, outer_name);
    }
    let starts = full.rmatch_indices('/').map(|(at, _)| at + 1).chain([0]);
    Ok(starts.map(|start| full[start..].into()).collect())
}

/// The error of a target in the directory that is copied.
fn inside_itself(path: &Path) -> Error {
    let message = format!("{} cannot be the target of a checkpoint: it lies in the database", path.display());
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Why there cannot be a target of this name.
pub(crate) fn refused(error: IoError, path: &Path) -> Error {
    let kind = match error.kind() {
        IoErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        IoErrorKind::NotFound | IoErrorKind::NotADirectory => ErrorKind::NotFound,
        IoErrorKind::InvalidName => ErrorKind::InvalidArgument,
        _ => {
            let error = engine::Error::io(error, "create the directory of the checkpoint", "");
            return Error::from(error).in_directory(path);
        }
    };
    Error::new(kind, format!("cannot create the directory {} of the checkpoint: {error}", path.display()))
}

fn write(
    state: &State,
    target: &Arc<dyn Fs>,
    path: &Path,
    options: &CheckpointOptions,
) -> Result<CheckpointInfo> {
    let Captured { cut, log, end } = capture(state).map_err(|error| state.locate(error))?;
    point("checkpoint.captured");
    let first = first_segment(cut.note(FIRST_SEGMENT)).map_err(|error| state.locate(error))?;
    let mut copy_log = |extra: &mut Extra<'_>| {
        for segment in log.segments.iter().filter(|segment| segment.number >= first) {
            extra.copy(&segment_name(segment.number), segment.bytes)?;
        }
        // What was read after a failed sync may not be what is on the medium.
        state.commits.wal.poisoned().map_or(Ok(()), |error| Err(CheckpointError::Source(error)))
    };
    // Everything that was copied is durable: the copy's log ends as that of a closed database does, and what
    // the source noted meanwhile about a longer log does not hold for it.
    let notes = [
        Note::new(CLEAN_END, end.encode()),
        Note::new(LOG_SYNCED, end.end.to_raw().to_le_bytes()),
        Note::new(CHECKPOINT, cut.at().raw().to_le_bytes()),
    ];
    state.store.checkpoint(cut, target, options, &notes, &mut copy_log).map_err(|error| match error {
        CheckpointError::Source(error) => state.locate(error),
        CheckpointError::Target(error) => Error::from(error).in_directory(path),
    })
}

/// The database at one commit.
struct Captured {
    cut: Cut,
    log: LogCut,
    end: CleanClose,
}

/// Captures the newest commit. Writers wait meanwhile, for no I/O of its own.
fn capture(state: &State) -> Result<Captured> {
    // Before the log is looked at: its segments stay as well.
    let _pause = state.store.pause_deletions();
    // Every change of keyspaces has its edit, and a record in the log.
    let _turn = state.spaces.changes.lock();
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
