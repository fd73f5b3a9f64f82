//! Scrub: files are read from the medium before anybody needs them, and those that parity had to correct are written anew.

use crate::{
    background::{begin_pass, heal_all, heal_remembered, note_pass, remembered_and_damaged, rest_of},
    check::run_check,
    error::Result,
    pace::Pace,
    passes::Pass,
    recovery::Progress,
    state::State,
    verify::VerifyReport,
};
use isopach_engine::tree::cancelled;
use std::{ops::ControlFlow, sync::Arc};

/// Files that are taken from the newest version at a time, for each thread: no others are kept from going.
const FILES_AT_ONCE: usize = 8;

/// How a database is scrubbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ScrubOptions {
    /// Bytes read per second, by all threads together, 0: as fast as it goes. After each file a thread pauses as long as
    /// they were ahead. Default 0.
    pub bytes_per_s: u64,
    /// Files that are read at a time, at most as many as the machine has cores. Default 1.
    pub threads: usize,
    /// Whether files that had to be corrected are written anew, whatever
    /// [`DbOptions::auto_heal`](crate::DbOptions::auto_heal) says. Default yes.
    pub heal: bool,
    /// Whether the pass that was begun last goes on where it ended, if it was not ended by having read everything.
    /// Default no: everything is read.
    pub resume: bool,
}

impl Default for ScrubOptions {
    fn default() -> ScrubOptions {
        ScrubOptions { bytes_per_s: 0, threads: 1, heal: true, resume: false }
    }
}

impl ScrubOptions {
    /// Everything, by one thread, unthrottled, healing.
    pub fn new() -> ScrubOptions {
        ScrubOptions::default()
    }

    /// Sets [`ScrubOptions::bytes_per_s`].
    #[must_use]
    pub fn bytes_per_s(self, bytes_per_s: u64) -> ScrubOptions {
        ScrubOptions { bytes_per_s, ..self }
    }

    /// Sets [`ScrubOptions::threads`].
    #[must_use]
    pub fn threads(self, threads: usize) -> ScrubOptions {
        ScrubOptions { threads, ..self }
    }

    /// Sets [`ScrubOptions::heal`].
    #[must_use]
    pub fn heal(self, heal: bool) -> ScrubOptions {
        ScrubOptions { heal, ..self }
    }

    /// Sets [`ScrubOptions::resume`].
    #[must_use]
    pub fn resume(self, resume: bool) -> ScrubOptions {
        ScrubOptions { resume, ..self }
    }
}

/// What a scrub found and did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScrubReport {
    /// What was checked, and what is, or was, wrong.
    pub checked: VerifyReport,
    /// Files that were written anew.
    pub healed: u64,
    /// Files that had to be corrected and are still there: healing was not asked for, or came upon more damage, or upon
    /// a segment of the log that a commit under way needs.
    pub unhealed: u64,
}

/// Reads manifest, dictionaries, tables, separated values and log from the medium, and writes anew what had to be corrected
/// or is in memory.
///
/// # Errors
///
/// `Closed`, `Cancelled`; those of writing tables.
pub(crate) fn scrub(
    state: &State,
    options: ScrubOptions,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<ScrubReport> {
    let _turn = state.passes.take_turn();
    state.check_open()?;
    let before = state.store.healing().stats();
    let mut report = ScrubReport::default();
    let under_way = state.passes.under_way().filter(|_| options.resume);
    let pass = under_way.unwrap_or_else(|| begin_pass(state));
    let read = read_rest(state, pass, options, &mut report.checked, progress);
    note_pass(state);
    read?;
    let mut remembered = 0;
    if options.heal {
        remembered = heal_remembered(state)?;
        for space in state.spaces.all() {
            heal_all(state, &space)?;
        }
    }
    // Files that go take their hints with them.
    let after = state.store.healing().stats();
    let healed = (before.pending + after.scheduled - before.scheduled).saturating_sub(after.pending);
    report.healed = remembered + healed;
    report.unhealed = remembered_and_damaged(state) + after.pending;
    Ok(report)
}

/// Reads what is left of a pass.
fn read_rest(
    state: &State,
    mut pass: Pass,
    options: ScrubOptions,
    report: &mut VerifyReport,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<()> {
    let store = &state.store;
    let pace = Arc::new(Pace::start(&store.env().clock, options.bytes_per_s));
    let at_once = FILES_AT_ONCE * options.threads.max(1);
    let mut tell = |done, total| {
        let is_over = progress(&Progress { phase: "scrub", done, total }).is_break();
        if is_over || state.jobs.is_stopping() { Err(cancelled()) } else { Ok(()) }
    };
    loop {
        let rest = rest_of(state, pass)?;
        let total = pace.done() + rest.bytes() + state.commits.wal.bytes();
        if rest.is_empty() {
            let log = state.commits.wal.check(true, &mut |bytes| {
                pace.add(bytes);
                pace.keep(&mut || tell(pace.done(), total))
            })?;
            pass.ended = Some(state.views.now());
            state.passes.came_to(pass, log.segments, log.bytes);
            report.add_log(log);
            return Ok(());
        }
        let some = rest.only(pass.after, pass.before, at_once);
        let files = some.len();
        pass.after = Some(some.file_number(files - 1));
        let checked = run_check(store, some, options.threads, &pace, &mut |done| tell(done, total))?;
        state.passes.came_to(pass, files as u64, checked.bytes);
        if state.passes.wants_note() {
            note_pass(state);
        }
        report.add(checked);
    }
}
