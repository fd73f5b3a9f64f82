//! Patrol: the background reads files from the medium before anybody needs them, a few at a time.

use super::flush::heal_log;
use crate::{error::Result, events::Event, pace::Pace, passes::Pass, state::State};
use isopach_engine::{
    error::Result as EngineResult,
    store::{Finding, StoreCheck, VerifyOptions},
    tree::cancelled,
};
use std::time::Duration;

/// Files that are taken from the newest version at a time: no others are kept from going.
const FILES_AT_ONCE: usize = 8;
/// A turn ends after this, or when so long a rest is due, with the file that goes beyond it.
const TURN_TIME: Duration = Duration::from_millis(100);

/// A turn: reads some files of the pass that is under way, or due. What parity corrects is healed as if it had been read
/// by somebody.
///
/// # Errors
///
/// `Closed`, `Cancelled`: the database closes.
pub(super) fn patrol(state: &State) -> Result<()> {
    // Who was asked to read everything does it for the background too.
    let read = state.passes.try_turn().map_or(Ok(TURN_TIME), |_turn| read_some(state));
    let rest = *read.as_ref().unwrap_or(&TURN_TIME);
    state.passes.rest_until(state.store.env().clock.monotonic().saturating_add(rest));
    state.jobs.wake_keeper();
    read.map(drop)
}

/// In how long there is something to read; `None`: not as things are.
pub(super) fn patrol_due_in(state: &State) -> Option<Duration> {
    let every = state.settings.scrub_every()?;
    state.passes.due_in(every, state.views.now(), state.store.env().clock.monotonic())
}

/// How long to rest after it.
fn read_some(state: &State) -> Result<Duration> {
    let pace = Pace::start(&state.store.env().clock, state.settings.all().scrub_bytes_per_s);
    let goes_on = || pace.ahead().max(pace.elapsed()) < TURN_TIME;
    let tell = |found: &Finding| state.listeners.tell(&Event::ScrubFound { found });
    let mut count = |bytes| {
        pace.add(bytes);
        if state.jobs.is_stopping() { Err(cancelled()) } else { Ok(()) }
    };
    let mut pass = state.passes.under_way().unwrap_or_else(|| begin_pass(state));
    while pass.ended.is_none() && goes_on() {
        let some = rest_of(state, pass)?.only(pass.after, pass.before, FILES_AT_ONCE);
        if some.is_empty() {
            let log = state.commits.wal.check(true, &mut count)?;
            pass.ended = Some(state.views.now());
            state.passes.came_to(pass, log.segments, log.bytes);
            log.found.into_iter().map(Finding::of_remembered).for_each(|found| tell(&found));
        }
        for part in (0..some.len()).take_while(|_| goes_on()) {
            let checked = some.run(part, &mut count)?;
            checked.found.iter().for_each(tell);
            // Those of one number are done together.
            if part + 1 == some.len() || some.file_number(part) < some.file_number(part + 1) {
                pass.after = Some(some.file_number(part));
            }
            state.passes.came_to(pass, 1, checked.bytes);
        }
        some.finish().found.iter().for_each(tell);
    }
    if state.passes.wants_note() {
        note_pass(state);
    }
    if state.settings.all().auto_heal {
        heal_remembered(state)?;
    }
    Ok(pace.ahead())
}

/// A pass over the files that are there now.
pub(crate) fn begin_pass(state: &State) -> Pass {
    Pass::begin(state.views.now(), state.store.next_file_number())
}

/// What is left of a pass, which is read from the medium; the log comes last.
pub(crate) fn rest_of(state: &State, pass: Pass) -> EngineResult<StoreCheck> {
    let check = state.store.check(VerifyOptions::new().past_caches())?;
    Ok(check.only(pass.after, pass.before, usize::MAX))
}

/// Writes anew what is damaged on the medium while memory has it, the manifest and the log, and says how many files that
/// were.
///
/// # Errors
///
/// Those of flushes and of edits.
pub(crate) fn heal_remembered(state: &State) -> Result<u64> {
    let damaged = remembered_and_damaged(state);
    state.store.heal_manifest().map_err(|error| state.locate(error))?;
    heal_log(state)?;
    Ok(damaged.saturating_sub(remembered_and_damaged(state)))
}

/// How many of these files are known to be damaged.
pub(crate) fn remembered_and_damaged(state: &State) -> u64 {
    u64::from(state.store.is_manifest_damaged()) + state.commits.wal.damaged() as u64
}

/// Stores how far the pass came. Nothing depends on it: what fails is told by who needs the manifest.
pub(crate) fn note_pass(state: &State) {
    if let Some((pass, note)) = state.passes.unnoted()
        && state.store.commit(&[note]).is_ok()
    {
        state.passes.noted(pass);
    }
}
