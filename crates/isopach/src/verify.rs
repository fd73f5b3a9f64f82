//! Verify: tables and log are read in whole. Finds, never mends.

use crate::{
    error::{Error, Result},
    recovery::{Opening, find_log},
    routes::find_places,
    state::State,
};
use isopach_engine::{
    store::{Finding, Store, StoreOptions, UnnamedFile},
    table::VerifyDepth,
};

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

/// Checks the tables of an open database.
pub(crate) fn verify_open(state: &State, options: VerifyOptions) -> Result<VerifyReport> {
    verify_tables(&state.store, options)
}

/// Checks a database that nobody writes to.
pub(crate) fn verify_closed(opening: Opening, options: VerifyOptions) -> Result<VerifyReport> {
    let locate = |error: Error| error.in_directory(&opening.path);
    let mut store_options = StoreOptions::default();
    store_options.read_only = true;
    store_options.code = opening.code.clone();
    store_options.places = find_places(&opening.routes);
    store_options.keys = opening.keys.clone();
    let store = Store::open(opening.env.clone(), &store_options).map_err(|error| locate(error.into()))?;
    let mut report = verify_tables(&store, options)?;
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

fn verify_tables(store: &Store, options: VerifyOptions) -> Result<VerifyReport> {
    let checked = store.verify(options, &mut |_, _| Ok(()))?;
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
