//! Verify: every table of a store is read and held against what the manifest says. Finds, never mends.

use super::Store;
use crate::{
    error::{Error, KeyBounds, Result},
    table::VerifyDepth,
    types::TreeId,
};
use alloc::{string::String, vec::Vec};

/// How far a check goes.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Only sizes, headers, indexes and filters: no data block is read.
    pub quick: bool,
}

impl VerifyOptions {
    /// Everything is read.
    pub fn new() -> VerifyOptions {
        VerifyOptions::default()
    }

    /// Sets [`VerifyOptions::quick`].
    pub fn quick(self, quick: bool) -> VerifyOptions {
        VerifyOptions { quick }
    }
}

/// Result of a check. Damage is a finding, not an error of the call.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Files looked at.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Versions read.
    pub entries: u64,
    /// What is wrong.
    pub found: Vec<Finding>,
}

/// One finding.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// Whose file.
    pub tree: Option<TreeId>,
    /// Relative to the root.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// Keys whose answers may be missing.
    pub keys: Option<KeyBounds>,
    /// What is wrong.
    pub message: String,
}

impl Finding {
    /// An error as a finding.
    pub fn of(error: &Error, tree: Option<TreeId>) -> Finding {
        Finding {
            tree,
            file: error.file().unwrap_or_default().into(),
            offset: error.offset(),
            keys: error.keys().cloned(),
            message: alloc::format!("{error}"),
        }
    }
}

impl Store {
    /// Checks every table. Those with findings are damaged from then on; one that is read in whole without
    /// any is not any more, whatever reading it met before. `progress` is called with bytes done and bytes in
    /// all after each; its error ends the check.
    ///
    /// # Errors
    ///
    /// `Closed`, and what `progress` said.
    pub fn verify(
        &self,
        options: VerifyOptions,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<VerifyReport> {
        let _lease = self.0.context.enter()?;
        let mut report = VerifyReport::default();
        let trees: Vec<_> = self.0.trees.read().values().map(|slot| slot.tree.clone()).collect();
        let mut tables = Vec::new();
        for tree in trees {
            match tree {
                Ok(tree) => tables.extend(tree.tables().into_iter().map(|table| (tree.id(), table))),
                Err(error) => report.found.push(Finding::of(&error, error.tree())),
            }
        }
        let total = tables.iter().map(|(_, table)| table.bytes).sum();
        for (tree, table) in tables {
            report.files += 1;
            report.bytes += table.bytes;
            match table.open().map_err(|error| table.blame(error)) {
                Ok(open) => {
                    let depth = if options.quick { VerifyDepth::Outline } else { VerifyDepth::Entries };
                    report.entries += if options.quick { 0 } else { table.entries };
                    let found = open.verify(depth);
                    match found.first() {
                        Some(first) => drop(table.blame(first.error(open.file_name()))),
                        None if depth == VerifyDepth::Entries => table.clear_damage(),
                        None => {}
                    }
                    report.found.extend(found.into_iter().map(|found| Finding {
                        tree: Some(tree),
                        file: open.file_name().into(),
                        offset: Some(found.offset),
                        keys: found.keys,
                        message: found.message,
                    }));
                }
                Err(error) => report.found.push(Finding::of(&error, Some(tree))),
            }
            progress(report.bytes, total)?;
        }
        Ok(report)
    }
}
