//! Compact: one step of a keyspace towards its shape, and whole ranges on demand.

use crate::{
    error::{Error, ErrorKind, Result},
    events::Event,
    space::Space,
    state::State,
};
use isopach_engine::{
    codec::Seal,
    compaction::{
        BottomRewrite, CompactionStrategy, Leveled, Plan, RangeProgress, TreeShape, heal, leave_garbage,
        next_range_plan, reseal,
    },
    error::{ErrorKind as EngineErrorKind, Result as EngineResult},
    key::KeyRange,
    tree::cancelled,
};
use std::{sync::atomic::Ordering, time::Duration};

/// Inputs of one step of a range compaction are near this.
const RANGE_STEP_BYTES: u64 = 256 << 20;

/// Who waits for another job looks again after this.
const OTHER_JOB: Duration = Duration::from_millis(2);

/// The shape that a keyspace should have.
pub(crate) fn strategy(space: &Space) -> Leveled {
    Leveled::for_tables_of(space.tree.options().table_bytes)
}

/// Tells writers what the background owes this keyspace.
pub(crate) fn note_shape(space: &Space) {
    let strategy = strategy(space);
    let is_stuck = !space.tree.damaged_tables().is_empty() && space.tree.pick(&strategy).is_none();
    let (l0_runs, debt) = match is_stuck {
        // Nothing can pay what is owed for the sake of damaged tables: it slows nobody.
        true => (0, 0),
        false => space.tree.with_shape(|shape| (shape.levels()[0].runs().len() as u64, strategy.debt(shape))),
    };
    space.l0_runs.store(l0_runs, Ordering::Relaxed);
    space.debt_bytes.store(debt, Ordering::Relaxed);
}

/// The most useful compaction of a keyspace, if it needs any; then asks for the next. What had to be corrected goes first;
/// where the shape is as it should be, values leave files of which too much is stale, and tables under an earlier key are
/// written anew. If it meets a damaged table, the next one leaves that alone.
///
/// # Errors
///
/// The keyspace is as before; `Cancelled` when the database closes.
pub(crate) fn compact(state: &State, space: &Space) -> Result<()> {
    let strategy = strategy(space);
    let known = space.tree.damaged_tables().len();
    drop_unneeded(state, space)?;
    let (garbage, seal) = (space.tree.blob_garbage(), space.tree.new_seal());
    let tidy = |shape: &TreeShape<'_>| {
        leave_garbage(shape, &garbage).or_else(|| reseal(shape, *seal.as_ref().ok()?))
    };
    let hinted = state.store.healing().due(space.id);
    let pick =
        |shape: &TreeShape<'_>| heal(shape, &hinted).or_else(|| strategy.pick(shape)).or_else(|| tidy(shape));
    match step(state, space, pick, &mut |_| Ok(())) {
        Ok(Step::Nothing | Step::InTheWay) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Poisoned || space.tree.damaged_tables().len() <= known => {
            Err(error)
        }
        Ok(Step::Done) | Err(_) => {
            state.jobs.compact(space.id);
            Ok(())
        }
    }
}

/// Rewrites everything in a range into the last level, and drops what nothing needs. Returns when done.
///
/// # Errors
///
/// As [`compact`]; `Closed`.
pub(crate) fn compact_range(state: &State, space: &Space, range: &impl KeyRange) -> Result<()> {
    drop_unneeded(state, space)?;
    let progress =
        space.tree.with_shape(|shape| RangeProgress::start(shape, BottomRewrite::All, RANGE_STEP_BYTES));
    loop {
        state.check_open()?;
        state.commits.check()?;
        match step(state, space, |shape| next_range_plan(shape, range, &progress), &mut |_| Ok(()))? {
            Step::Done => {}
            // The other job ends before anything here can go on.
            Step::InTheWay => state.store.env().clock.sleep(OTHER_JOB),
            Step::Nothing => {
                drop_unneeded(state, space)?; // Of what other jobs wrote meanwhile.
                state.jobs.compact(space.id);
                return Ok(());
            }
        }
    }
}

/// Writes anew what had to be corrected, whether the background does or not. Returns when done.
///
/// # Errors
///
/// As [`compact`]; `Closed`.
pub(crate) fn heal_all(state: &State, space: &Space) -> Result<()> {
    let _healing = state.store.healing().heal_meanwhile();
    loop {
        state.check_open()?;
        state.commits.check()?;
        let (hinted, garbage) = (state.store.healing().due(space.id), space.tree.blob_garbage());
        let mut hinted_blobs = garbage;
        hinted_blobs.retain(|file| hinted.contains(&file.0));
        let pick =
            |shape: &TreeShape<'_>| heal(shape, &hinted).or_else(|| leave_garbage(shape, &hinted_blobs));
        let known = space.tree.damaged_tables().len();
        match step(state, space, pick, &mut |_| Ok(())) {
            Ok(Step::Done) => {}
            Ok(Step::Nothing) if !space.tree.can_heal_any_of(&hinted) || space.is_dropped() => return Ok(()),
            // Another job has what is left.
            Ok(Step::Nothing | Step::InTheWay) => state.store.env().clock.sleep(OTHER_JOB),
            Err(error) if error.kind() == ErrorKind::KeyspaceDropped && space.is_dropped() => return Ok(()),
            // It met more than can be restored: that is known now, and left alone.
            Err(_) if space.tree.damaged_tables().len() > known => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes everything in a keyspace anew that is not sealed so. `proceed` hears of bytes as they are written, and may end it.
///
/// # Errors
///
/// As [`compact`], and `proceed`'s; what is wrong with a table that is damaged.
pub(crate) fn reseal_all(
    state: &State,
    space: &Space,
    seal: Option<Seal>,
    proceed: &mut dyn FnMut(u64) -> EngineResult<()>,
) -> Result<()> {
    while space.tree.has_other_seals() && !space.is_dropped() {
        state.check_open()?;
        state.commits.check()?;
        let blobs = space.tree.blobs_sealed_unlike(seal);
        let pick = |shape: &TreeShape<'_>| leave_garbage(shape, &blobs).or_else(|| reseal(shape, seal));
        match step(state, space, pick, proceed) {
            Ok(Step::Done) => {}
            Err(error) if error.kind() == ErrorKind::KeyspaceDropped && space.is_dropped() => {}
            Err(error) => return Err(error),
            Ok(Step::Nothing | Step::InTheWay) => {
                // Other jobs have what is left, if it can be read.
                if let Some(damage) = space.tree.damage_sealed_unlike(seal) {
                    return Err(Error::from(damage).in_keyspace(&space.name));
                }
                proceed(0)?;
                state.store.env().clock.sleep(OTHER_JOB);
            }
        }
    }
    Ok(())
}

/// Drops tables that no view needs.
fn drop_unneeded(state: &State, space: &Space) -> Result<()> {
    match space.tree.drop_unneeded(&state.views_for_job(space)) {
        Err(error) if error.kind() != EngineErrorKind::Busy => {
            Err(Error::from(error).in_keyspace(&space.name))
        }
        _ => Ok(()),
    }
}

/// What became of a step.
enum Step {
    Done,
    /// Another job has what it needs.
    InTheWay,
    /// There is nothing to do.
    Nothing,
}

/// Carries out what `pick` chooses, if anything.
fn step(
    state: &State,
    space: &Space,
    pick: impl FnOnce(&TreeShape<'_>) -> Option<Plan>,
    proceed: &mut dyn FnMut(u64) -> EngineResult<()>,
) -> Result<Step> {
    let keyspace = &space.name;
    let compaction = match space.tree.begin_compaction(pick) {
        Ok(Some(compaction)) => compaction,
        Ok(None) => return Ok(Step::Nothing),
        Err(error) if error.kind() == EngineErrorKind::Busy => return Ok(Step::InTheWay),
        Err(error) => return Err(Error::from(error).in_keyspace(keyspace)),
    };
    state.listeners.tell(&Event::CompactionBegin { keyspace, to: compaction.plan().to });
    let clock = &state.store.env().clock;
    let start = clock.monotonic();
    let mut proceed = |bytes| if state.jobs.is_stopping() { Err(cancelled()) } else { proceed(bytes) };
    let outcome = compaction.run(&state.views_for_job(space), &mut proceed);
    let took = clock.monotonic().saturating_sub(start);
    let (read, written, result) = match outcome {
        Ok(report) => (report.read_bytes, report.written_bytes, Ok(())),
        Err(error) => (0, 0, Err(Error::from(error).in_keyspace(keyspace))),
    };
    state.listeners.tell(&Event::CompactionEnd { keyspace, read, written, took, result: &result });
    note_shape(space);
    result.map(|()| Step::Done)
}
