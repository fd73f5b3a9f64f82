//! Verify: tables and log are read in whole. Finds, never mends.

use crate::{
    check::run_check,
    error::{Error, Result},
    pace::Pace,
    recovery::{Opening, Progress, Watch, find_log},
    routes::find_places,
    state::State,
    wal::{LogReport, Wal},
};
use isopach_engine::{
    error::Result as EngineResult,
    store::{self, Finding, Store, StoreOptions, UnnamedFile},
    table::VerifyDepth,
    tree::cancelled,
};
use std::{ops::ControlFlow, sync::Arc};

/// How a check is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// How far it goes in each table. At [`VerifyDepth::Full`] files that nothing names are looked for as well, and
    /// what is sound is checked of tables that cannot be opened. Default [`VerifyDepth::Entries`].
    pub depth: VerifyDepth,
    /// Whether what is checked is read from the medium, and not from memory of the system. Default no.
    pub is_past_caches: bool,
    /// Files that are read at a time, at most as many as the machine has cores. Default 1.
    pub threads: usize,
    /// Bytes read per second, by all threads together, 0: as fast as it goes. After each file a thread pauses as long as
    /// they were ahead. Default 0.
    pub bytes_per_s: u64,
}

impl Default for VerifyOptions {
    fn default() -> VerifyOptions {
        VerifyOptions { depth: VerifyDepth::default(), is_past_caches: false, threads: 1, bytes_per_s: 0 }
    }
}

impl VerifyOptions {
    /// Every entry is read, by one thread, unthrottled.
    pub fn new() -> VerifyOptions {
        VerifyOptions::default()
    }

    /// Sets [`VerifyOptions::depth`].
    #[must_use]
    pub fn depth(self, depth: VerifyDepth) -> VerifyOptions {
        VerifyOptions { depth, ..self }
    }

    /// Sets [`VerifyOptions::is_past_caches`].
    #[must_use]
    pub fn past_caches(self) -> VerifyOptions {
        VerifyOptions { is_past_caches: true, ..self }
    }

    /// Sets [`VerifyOptions::threads`].
    #[must_use]
    pub fn threads(self, threads: usize) -> VerifyOptions {
        VerifyOptions { threads, ..self }
    }

    /// Sets [`VerifyOptions::bytes_per_s`].
    #[must_use]
    pub fn bytes_per_s(self, bytes_per_s: u64) -> VerifyOptions {
        VerifyOptions { bytes_per_s, ..self }
    }

    fn of_store(self) -> store::VerifyOptions {
        let options = store::VerifyOptions::new().depth(self.depth);
        if self.is_past_caches { options.past_caches() } else { options }
    }
}

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
    /// Records of the log that were read.
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

    /// Adds what a check of a store found.
    pub(crate) fn add(&mut self, checked: store::VerifyReport) {
        self.files += checked.files;
        self.dictionaries += checked.dictionaries;
        self.blobs += checked.blobs;
        self.bytes += checked.bytes;
        self.entries += checked.entries;
        self.found.extend(checked.found);
        self.unnamed.extend(checked.unnamed);
    }

    /// Adds what reading the log of an open database showed.
    pub(crate) fn add_log(&mut self, log: LogReport) {
        self.log_records += log.records;
        self.bytes += log.bytes;
        self.found.extend(log.found.into_iter().map(Finding::of_remembered));
    }
}

/// Checks the files of an open database.
///
/// # Errors
///
/// `Closed`, `Cancelled`.
pub(crate) fn verify_open(
    state: &State,
    options: VerifyOptions,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<VerifyReport> {
    let wal = &state.commits.wal;
    verify_files(&state.store, Some(wal), options, &mut |done, total| {
        let progress = progress(&Progress { phase: "verify", done, total });
        if progress.is_break() || state.jobs.is_stopping() { Err(cancelled()) } else { Ok(()) }
    })
}

/// Checks a database that nobody writes to.
pub(crate) fn verify_closed(mut opening: Opening, options: VerifyOptions) -> Result<VerifyReport> {
    let locate = |error: Error| error.in_directory(&opening.path);
    let mut watch = Watch::new(opening.progress.take());
    let mut store_options = StoreOptions::default();
    store_options.read_only = true;
    store_options.code = opening.code.clone();
    store_options.places = find_places(&opening.routes);
    store_options.keys = opening.keys.clone();
    store_options.copies = opening.copies.clone();
    let store = Store::open(opening.env.clone(), &store_options).map_err(|error| locate(error.into()))?;
    let mut report =
        verify_files(&store, None, options, &mut |done, total| watch.tell("verify", done, total))?;
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

/// Checks the files of a store, and the log of a database that is open.
fn verify_files(
    store: &Store,
    wal: Option<&Wal>,
    options: VerifyOptions,
    progress: &mut dyn FnMut(u64, u64) -> EngineResult<()>,
) -> Result<VerifyReport> {
    let check = store.check(options.of_store())?;
    let total = check.bytes() + wal.map_or(0, Wal::bytes);
    let pace = Arc::new(Pace::start(&store.env().clock, options.bytes_per_s));
    let mut report = VerifyReport::default();
    if let Some(wal) = wal {
        let log = wal.check(options.is_past_caches, &mut |bytes| {
            pace.add(bytes);
            pace.keep(&mut || progress(pace.done(), total))
        });
        report.add_log(log?);
    }
    report.add(run_check(store, check, options.threads, &pace, &mut |done| progress(done, total))?);
    Ok(report)
}
