//! Verify: tables and log are read in whole. Finds, never mends. Scrub: reads from the medium, and mends by writing anew.

use crate::{
    background::heal_all,
    error::{Error, Result},
    recovery::{Opening, find_log},
    routes::find_places,
    state::State,
};
use isopach_engine::{
    store::{Finding, Store, StoreOptions, UnnamedFile},
    table::VerifyDepth,
    tree::cancelled,
};
use std::{ops::ControlFlow, time::Duration};

/// How long a scrub that is ahead of its pace sleeps at a time.
const STEP: Duration = Duration::from_millis(50);

pub use isopach_engine::store::VerifyOptions;

/// Result of a check. Damage is a finding, not an error of the call.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Tables looked at.
    pub files: u64,
    /// Dictionaries looked at.
    pub dictionaries: u64,
    /// Files of separated values looked at.
    pub blobs: u64,
    /// Sizes of all, in bytes.
    pub bytes: u64,
    /// Versions read.
    pub entries: u64,
    /// Records of the log that were read; 0 of an open database, whose log is being written.
    pub log_records: u64,
    /// What is wrong.
    pub found: Vec<Finding>,
    /// Files that nothing names, which [`VerifyDepth::Full`] looks for. They are no damage: a crash leaves some, and
    /// some are not the database's.
    pub unnamed: Vec<UnnamedFile>,
}

impl VerifyReport {
    /// What is wrong and not harmless: parity does not restore it.
    pub fn lost(&self) -> impl Iterator<Item = &Finding> {
        self.found.iter().filter(|found| !found.is_harmless)
    }
}

/// How a database is scrubbed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ScrubOptions {
    /// Bytes read per second, 0: as fast as it goes. After each file it pauses as long as it was ahead. Default 0.
    pub bytes_per_s: u64,
    /// Whether files that had to be corrected are written anew, whatever
    /// [`DbOptions::auto_heal`](crate::DbOptions::auto_heal) says. Default yes.
    pub heal: bool,
}

impl Default for ScrubOptions {
    fn default() -> ScrubOptions {
        ScrubOptions { bytes_per_s: 0, heal: true }
    }
}

impl ScrubOptions {
    /// Unthrottled, healing.
    pub fn new() -> ScrubOptions {
        ScrubOptions::default()
    }

    /// Sets [`ScrubOptions::bytes_per_s`].
    #[must_use]
    pub fn bytes_per_s(self, bytes_per_s: u64) -> ScrubOptions {
        ScrubOptions { bytes_per_s, ..self }
    }

    /// Sets [`ScrubOptions::heal`].
    #[must_use]
    pub fn heal(self, heal: bool) -> ScrubOptions {
        ScrubOptions { heal, ..self }
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
    /// Files that had to be corrected and are still there: healing was not asked for, or came upon more damage.
    pub unhealed: u64,
}

/// Reads all tables and separated values from the medium, and writes anew what had to be corrected.
pub(crate) fn scrub(
    state: &State,
    options: ScrubOptions,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<ScrubReport> {
    let clock = &state.store.env().clock;
    let start = clock.monotonic();
    let go_on = || if state.jobs.is_stopping() { Err(cancelled()) } else { Ok(()) };
    let mut pace = |done: u64, total: u64| {
        if progress(done, total).is_break() {
            return Err(cancelled());
        }
        let due = match options.bytes_per_s {
            0 => Duration::ZERO,
            bytes_per_s => Duration::from_secs_f64(done as f64 / bytes_per_s as f64),
        };
        // In short steps, so that the database can be closed meanwhile.
        loop {
            go_on()?;
            match due.saturating_sub(clock.monotonic().saturating_sub(start)) {
                Duration::ZERO => return Ok(()),
                ahead => clock.sleep(ahead.min(STEP)),
            }
        }
    };
    let before = state.store.healing().stats();
    let checked = verify_tables(&state.store, VerifyOptions::new().past_caches(), &mut pace)?;
    let mut report = ScrubReport { checked, ..ScrubReport::default() };
    if options.heal {
        for space in state.spaces.all() {
            heal_all(state, &space)?;
        }
    }
    // Files that go take their hints with them.
    let after = state.store.healing().stats();
    report.unhealed = after.pending;
    report.healed = (before.pending + after.scheduled - before.scheduled).saturating_sub(after.pending);
    Ok(report)
}

/// Checks the tables of an open database.
pub(crate) fn verify_open(state: &State, options: VerifyOptions) -> Result<VerifyReport> {
    verify_tables(&state.store, options, &mut |_, _| Ok(()))
}

/// Checks a database that nobody writes to.
pub(crate) fn verify_closed(opening: Opening, options: VerifyOptions) -> Result<VerifyReport> {
    let locate = |error: Error| error.in_directory(&opening.path);
    let mut store_options = StoreOptions::default();
    store_options.read_only = true;
    store_options.code = opening.code.clone();
    store_options.places = find_places(&opening.routes);
    store_options.keys = opening.keys.clone();
    store_options.copies = opening.copies.clone();
    let store = Store::open(opening.env.clone(), &store_options).map_err(|error| locate(error.into()))?;
    let mut report = verify_tables(&store, options, &mut |_, _| Ok(()))?;
    match find_log(&store).map_err(locate)? {
        Ok(recovered) => {
            report.log_records = recovered.records;
            if options.depth == VerifyDepth::Full {
                match recovered.unnamed(&*store.env().fs) {
                    Ok(unnamed) => report.unnamed.extend(unnamed),
                    Err(error) => report.found.push(Finding::of(&error, None)),
                }
            }
        }
        Err(error) => report.found.push(Finding::of(&error, None)),
    }
    Ok(report)
}

fn verify_tables(
    store: &Store,
    options: VerifyOptions,
    progress: &mut dyn FnMut(u64, u64) -> isopach_engine::error::Result<()>,
) -> Result<VerifyReport> {
    let checked = store.verify(options, progress)?;
    Ok(VerifyReport {
        files: checked.files,
        dictionaries: checked.dictionaries,
        blobs: checked.blobs,
        bytes: checked.bytes,
        entries: checked.entries,
        log_records: 0,
        found: checked.found,
        unnamed: checked.unnamed,
    })
}
