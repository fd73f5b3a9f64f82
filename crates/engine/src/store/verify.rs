//! Verify: every file of tables, dictionaries and separated values of a store is read and held against what the manifest
//! says, and pointers against what they point to. Finds, never mends.

use super::{Store, UnnamedFile, verify_blobs::BlobCheck};
use crate::{
    dictionary,
    error::{Error, KeyBounds, Result},
    table::{self, VerifyDepth, inspect::LoneTable},
    types::TreeId,
};
use alloc::{format, string::String, vec::Vec};

/// How a check is made.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// How far it goes in each table. At [`VerifyDepth::Full`] files that nothing names are looked for as well, and
    /// what is sound is checked of tables that cannot be opened.
    pub depth: VerifyDepth,
    /// Whether what is checked is read from the medium, and not from memory of the system.
    pub is_past_caches: bool,
}

impl VerifyOptions {
    /// Every entry is read.
    pub fn new() -> VerifyOptions {
        VerifyOptions::default()
    }

    /// Sets [`VerifyOptions::depth`].
    pub fn depth(self, depth: VerifyDepth) -> VerifyOptions {
        VerifyOptions { depth, ..self }
    }

    /// Sets [`VerifyOptions::is_past_caches`].
    pub fn past_caches(self) -> VerifyOptions {
        VerifyOptions { is_past_caches: true, ..self }
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
    /// Sizes of all.
    pub bytes: u64,
    /// Versions read.
    pub entries: u64,
    /// What is wrong.
    pub found: Vec<Finding>,
    /// Files that nothing names, if they were looked for: no damage.
    pub unnamed: Vec<UnnamedFile>,
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
    /// Whether nothing is lost: parity restores what was there, or is itself what is damaged.
    pub is_harmless: bool,
}

impl Finding {
    /// An error as a finding.
    pub fn of(error: &Error, tree: Option<TreeId>) -> Finding {
        Finding {
            tree,
            file: error.file().unwrap_or_default().into(),
            offset: error.offset(),
            keys: error.keys().cloned(),
            message: format!("{error}"),
            is_harmless: false,
        }
    }
}

impl Finding {
    /// What was found in a table.
    fn of_table(found: Vec<table::Finding>, file: &str, tree: TreeId) -> impl Iterator<Item = Finding> {
        found.into_iter().map(move |found| Finding {
            tree: Some(tree),
            file: file.into(),
            offset: Some(found.offset),
            keys: found.keys,
            message: found.message,
            is_harmless: found.is_harmless,
        })
    }
}

impl Store {
    /// Checks every table, every dictionary that one needs, and every file of separated values. Tables with findings are
    /// damaged from then on; one that is read in whole without any is not any more, whatever reading it met before.
    /// `progress` is called with bytes done and bytes in all after each; its error ends the check.
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
        let (mut tables, mut blobs) = (Vec::new(), Vec::new());
        for tree in trees {
            match tree {
                Ok(tree) => {
                    let check = BlobCheck::new(&tree, options);
                    tables.extend(check.tables().iter().map(|table| (tree.id(), table.clone())));
                    blobs.push(check);
                }
                Err(error) => report.found.push(Finding::of(&error, error.tree())),
            }
        }
        let dictionaries = self.0.context.tables.dictionaries.needed();
        let bytes_of = dictionaries.iter().map(|(handle, _)| handle.bytes);
        let bytes_of = bytes_of.chain(blobs.iter().map(BlobCheck::bytes));
        let total = tables.iter().map(|(_, table)| table.bytes).chain(bytes_of).sum();
        for (handle, table) in dictionaries {
            report.dictionaries += 1;
            report.bytes += handle.bytes;
            if let Err(error) = self.0.context.tables.dictionaries.read(handle) {
                let needed = table.map(|table| format!("; {} needs it", table::file_name(table)));
                let error = error.adding(&needed.unwrap_or_default());
                report.found.push(Finding::of(&error, None));
            }
            progress(report.bytes, total)?;
        }
        for (tree, table) in tables {
            report.files += 1;
            report.bytes += table.bytes;
            match table.open().map_err(|error| table.blame(error)) {
                Ok(open) => {
                    if options.is_past_caches {
                        open.drop_cached();
                    }
                    report.entries += if options.depth == VerifyDepth::Outline { 0 } else { table.entries };
                    let found = open.verify(options.depth, &self.0.context.code.prefix_extractors);
                    match found.iter().find(|found| !found.is_harmless) {
                        Some(first) => drop(table.blame(first.error(open.file_name()))),
                        None if options.depth >= VerifyDepth::Entries => table.clear_damage(),
                        None => {}
                    }
                    report.found.extend(Finding::of_table(found, open.file_name(), tree));
                }
                Err(error) => {
                    if options.depth == VerifyDepth::Full {
                        let name = table.file_name();
                        let found = self.check_alone(&name, error.offset());
                        report.found.extend(Finding::of_table(found, &name, tree));
                    }
                    report.found.push(Finding::of(&error, Some(tree)));
                }
            }
            progress(report.bytes, total)?;
        }
        for mut check in blobs {
            check.run(&mut |file| {
                report.blobs += 1;
                report.bytes += file.meta().bytes;
                progress(report.bytes, total)
            })?;
            report.found.append(&mut check.found);
        }
        if options.depth == VerifyDepth::Full {
            match self.unnamed_files() {
                Ok((unnamed, found)) => {
                    report.unnamed = unnamed;
                    report.found.extend(found.iter().map(|error| Finding::of(error, None)));
                }
                Err(error) => report.found.push(Finding::of(&error, None)),
            }
        }
        Ok(report)
    }

    /// What is wrong with a table that cannot be opened, beside what opening said of byte `known`.
    fn check_alone(&self, name: &str, known: Option<u64>) -> Vec<table::Finding> {
        let fs = &self.env().fs;
        let Ok(table) = LoneTable::open_with(fs, name, &self.0.context.tables.owner.keys) else {
            return Vec::new();
        };
        let table = table.with_dictionary(&**fs, dictionary::file_name);
        let mut found = match table.layout() {
            Ok(layout) => layout.check(),
            Err(error) => Vec::from([table::Finding::of(&error)]),
        };
        found.retain(|it| Some(it.offset) != known);
        found
    }
}
