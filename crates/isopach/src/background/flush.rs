//! Flush: sealed memtables become tables, then log segments that nobody needs go.

use crate::{
    error::{ErrorKind, Result},
    events::Event,
    notes::{FIRST_SEGMENT, LOG_SYNCED},
    space::Space,
    state::State,
    write::Order,
};
use isopach_engine::{types::Seqno, version::Note};

/// Writes the sealed memtables of a keyspace as tables.
///
/// # Errors
///
/// The keyspace is as before, and the job is tried again; `Poisoned` after a failed sync.
pub(crate) fn flush(state: &State, space: &Space) -> Result<()> {
    if space.tree.sealed_upto().is_none() {
        return Ok(());
    }
    state.listeners.tell(&Event::FlushBegin { keyspace: &space.name });
    let clock = &state.store.env().clock;
    let start = clock.monotonic();
    let result = write_sealed(state, space).map_err(|error| error.in_keyspace(&space.name));
    let (bytes, result) = match result {
        Ok(bytes) => (bytes, Ok(())),
        Err(error) => (0, Err(error)),
    };
    let took = clock.monotonic().saturating_sub(start);
    state.listeners.tell(&Event::FlushEnd { keyspace: &space.name, bytes, took, result: &result });
    result?;
    super::compact::note_shape(space);
    state.jobs.compact(space.id);
    state.jobs.wake_keeper();
    if space.tree.memtables().1 > 0 {
        state.jobs.flush(space.id);
    }
    free_log(state)?;
    state.bound_log();
    Ok(())
}

/// Writes the sealed memtables of a keyspace as tables, and returns their size.
fn write_sealed(state: &State, space: &Space) -> Result<u64> {
    let Some(barrier) = space.tree.sealed_upto() else {
        return Ok(0);
    };
    // No edit makes an operation durable before the log is durable through it (INV-WAL-6).
    state.commits.sync_once(barrier)?;
    let synced = Note::new(LOG_SYNCED, state.commits.wal.synced_upto().to_raw().to_le_bytes());
    let mut notes = vec![synced];
    if space.last_volatile() > space.tree.replay_point() {
        notes.push(state.commits.note_of_ends()); // The log does not tell of them.
    }
    let report = space.tree.flush(barrier, &state.views_for_job(space), &notes)?;
    state.commits.free_memory(report.memtable_bytes);
    Ok(report.bytes)
}

/// As [`flush_now`], for who is alone in the order of commits, and holds the turn of changes of keyspaces: everybody waits,
/// and the log is not freed.
///
/// # Errors
///
/// As [`flush`].
pub(crate) fn flush_alone(state: &State, order: &Order<'_>, space: &Space) -> Result<()> {
    space.tree.rotate(order.visible()).map_err(|error| state.locate(error))?;
    let written = write_sealed(state, space).map(drop);
    state.jobs.flush(space.id); // What else a flush does.
    written.map_err(|error| state.locate(error.in_keyspace(&space.name)))
}

/// Seals the memtable of a keyspace at the newest commit and writes it, on the caller's thread.
///
/// # Errors
///
/// As [`flush`]; what was sealed is then flushed in the background.
pub(crate) fn flush_now(state: &State, space: &Space) -> Result<()> {
    {
        let order = state.commits.order();
        state.commits.check().map_err(|error| state.locate(error))?;
        if space.tree.rotate(order.visible()).map_err(|error| state.locate(error))? {
            // For want of space the log goes on where it is.
            let _ = state.commits.wal.rotate_mapped_segment();
        }
    }
    let result = flush(state, space).and_then(|()| free_log(state)).map_err(|error| {
        state.jobs.flush(space.id);
        state.locate(error)
    });
    state.tell_outcome(&result);
    result
}

/// Seals and writes all memtables, on the caller's thread.
///
/// # Errors
///
/// As [`flush_now`]. A keyspace that was dropped meanwhile has nothing to write.
pub(crate) fn flush_all(state: &State) -> Result<()> {
    state.spaces.all().iter().try_for_each(|space| match flush_now(state, space) {
        Err(error) if error.kind() == ErrorKind::KeyspaceDropped && space.is_dropped() => Ok(()),
        flushed => flushed,
    })
}

/// Has what a damaged segment of the log says in tables, so that it goes. Operations that are on their way keep theirs.
///
/// # Errors
///
/// As [`flush_now`].
pub(crate) fn heal_log(state: &State) -> Result<()> {
    if state.commits.wal.damaged() > 0 {
        state.commits.wal.leave_damaged_segment().map_err(|error| state.locate(error))?;
        flush_all(state)?;
        free_log(state).map_err(|error| state.locate(error))?;
    }
    Ok(())
}

/// Gives up the segments below the first operation that is in memory only, or on its way there.
pub(crate) fn free_log(state: &State) -> Result<()> {
    let wal = &state.commits.wal;
    let first_needed = || {
        // The order matters: what is not in sight yet may be in the log only, and what is in sight at this reading is
        // in tables or unflushed at the next. Of a log that nothing was appended to since it was recovered all
        // segments may go.
        let in_sight = state.views.visible();
        let upcoming = wal.segment_of(in_sight.checked_add(1).unwrap_or(Seqno::MAX));
        state.spaces.first_unflushed().map_or(upcoming, |seqno| wal.segment_of(seqno)).min(upcoming)
    };
    if first_needed() <= wal.oldest() {
        return Ok(());
    }
    // No segment goes while a change of keyspaces has its record in the log and not yet its edit (INV-WAL-7).
    // Who holds it waits for commits and edits only, never for a flush.
    let _turn = state.spaces.changes.lock();
    let first = first_needed();
    if first > wal.oldest() {
        // What these segments say of the ends of commits is known on.
        let notes = [Note::new(FIRST_SEGMENT, first.to_le_bytes()), state.commits.note_of_ends()];
        state.store.commit(&notes)?;
        wal.free_below(first);
    }
    Ok(())
}

/// Seals the memtables that hold the oldest segments, idle keyspaces included, until what is left of the log
/// is within its bound; their flushes free the segments.
pub(crate) fn bound_log(state: &State) -> Result<()> {
    free_log(state)?;
    let segments = state.commits.wal.segments();
    let mut left = segments.iter().map(|segment| segment.bytes).sum::<u64>();
    let mut kept = segments.iter();
    while left > state.log_bound() {
        left -= kept.next().map_or(left, |oldest| oldest.bytes);
    }
    let Some(behind) = kept.find_map(|segment| segment.first_seqno) else {
        return Ok(());
    };
    let order = state.commits.order();
    for space in state.spaces.all() {
        if space.tree.first_unflushed().is_some_and(|first| first < behind) && !state.rotate(&order, &space) {
            state.jobs.flush(space.id);
        }
    }
    Ok(())
}
