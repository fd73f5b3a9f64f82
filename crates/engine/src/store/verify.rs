//! Verify: the manifest and every file of tables, dictionaries and separated values of a store are read, the files held
//! against what the manifest says, and pointers against what they point to. Finds, never mends.

use super::{Store, UnnamedFile, verify_blobs::BlobCheck};
use crate::{
    dictionary,
    error::{Error, KeyBounds, Result},
    table::{self, VerifyDepth, inspect::LoneTable},
    types::TreeId,
    version::{NeededDictionary, TableRef},
};
use alloc::{format, string::String, vec::Vec};
use core::fmt;

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
    /// Whether nothing is lost: parity restores what was there, or is itself what is damaged; or memory has it.
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

    /// An error of a file whose content is in memory too.
    pub fn of_remembered(error: Error) -> Finding {
        Finding { is_harmless: true, ..Finding::of(&error.adding("; memory has what it says"), None) }
    }

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

impl VerifyReport {
    /// Adds what another check found.
    pub fn add(&mut self, other: VerifyReport) {
        self.files += other.files;
        self.dictionaries += other.dictionaries;
        self.blobs += other.blobs;
        self.bytes += other.bytes;
        self.entries += other.entries;
        self.found.extend(other.found);
        self.unnamed.extend(other.unnamed);
    }
}

/// A check of the files that a store had when it was begun, part by part, by as many threads as one likes. None of them
/// is removed while it is held.
pub struct StoreCheck {
    store: Store,
    options: VerifyOptions,
    parts: Vec<Part>,
    /// What is wrong with trees that cannot be opened.
    found: Vec<Finding>,
}

/// What is checked in one go.
enum Part {
    /// Of a store that is open for writing; so many bytes of it.
    Manifest(u64),
    Dictionary(NeededDictionary),
    Table(TreeId, TableRef),
    Blobs(BlobCheck),
}

impl Part {
    fn bytes(&self) -> u64 {
        match self {
            Part::Manifest(bytes) => *bytes,
            Part::Dictionary(needed) => needed.handle.bytes,
            Part::Table(_, table) => table.bytes,
            Part::Blobs(check) => check.bytes(),
        }
    }

    /// The greatest number of its files; 0 of a manifest or a dictionary, which have none.
    fn file_number(&self) -> u64 {
        match self {
            Part::Manifest(_) | Part::Dictionary(_) => 0,
            Part::Table(_, table) => table.id.0,
            Part::Blobs(check) => check.last_file().0,
        }
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
        let check = self.check(options)?;
        let total = check.bytes();
        let mut done = 0;
        let mut report = VerifyReport::default();
        for part in 0..check.len() {
            let checked = check.run(part, &mut |bytes| {
                done += bytes;
                progress(done, total)
            });
            report.add(checked?);
        }
        report.add(check.finish());
        Ok(report)
    }

    /// Begins what [`Store::verify`] does: the manifest and dictionaries first, then tables, then separated values, the last two in the
    /// order of their numbers.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn check(&self, options: VerifyOptions) -> Result<StoreCheck> {
        let _lease = self.0.context.enter()?;
        let trees: Vec<_> = self.0.trees.read().values().map(|slot| slot.tree.clone()).collect();
        let (mut tables, mut blobs, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for tree in trees {
            match tree {
                Ok(tree) => {
                    let (of_tree, files) = tree.files();
                    blobs.extend(BlobCheck::of_files(&tree, &of_tree, &files, options));
                    tables.extend(of_tree.into_iter().map(|table| Part::Table(tree.id(), table)));
                }
                Err(error) => found.push(Finding::of(&error, error.tree())),
            }
        }
        let blobs = blobs.into_iter().map(Part::Blobs);
        let dictionaries = self.0.context.tables.dictionaries.needed().into_iter().map(Part::Dictionary);
        let manifest = self.0.context.manifest.as_ref().map(|manifest| Part::Manifest(manifest.bytes()));
        let mut parts: Vec<Part> =
            manifest.into_iter().chain(dictionaries).chain(tables).chain(blobs).collect();
        // Of its own order each kind keeps its place.
        parts.sort_by_key(|part| (matches!(part, Part::Blobs(_)), part.file_number()));
        Ok(StoreCheck { store: self.clone(), options, parts, found })
    }

    /// The number that no table and no file of separated values has yet, nor one with a greater number.
    pub fn next_file_number(&self) -> u64 {
        self.0.context.file_ids.next_file()
    }
}

impl StoreCheck {
    /// Only the first `most` parts of those whose files have numbers above `after` and below `before`, in the order of
    /// numbers, and the others of the last number; the manifest and dictionaries have none, they count as 0, and belong to
    /// `None`. The other files are let go.
    #[must_use]
    pub fn only(mut self, after: Option<u64>, before: u64, most: usize) -> StoreCheck {
        let is_in = |part: &Part| after.is_none_or(|after| part.file_number() > after);
        self.parts.retain(|part| is_in(part) && part.file_number() < before);
        self.parts.sort_by_key(Part::file_number);
        let last = most.checked_sub(1).and_then(|last| self.parts.get(last)).map(Part::file_number);
        self.parts
            .truncate(self.parts.partition_point(|part| last.is_none_or(|last| part.file_number() <= last)));
        if after.is_some() {
            self.found.clear(); // Its first parts had that.
        }
        self
    }

    /// Number of parts.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Sizes of all files.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// The greatest number of files of a part; 0 of the manifest and of a dictionary.
    pub fn file_number(&self, part: usize) -> u64 {
        self.parts[part].file_number()
    }

    /// Checks a part. `done` is called with the size of each file after it; its error ends the check.
    ///
    /// # Errors
    ///
    /// `Closed`, and what `done` said.
    pub fn run(&self, part: usize, done: &mut dyn FnMut(u64) -> Result<()>) -> Result<VerifyReport> {
        let _lease = self.store.0.context.enter()?;
        let mut report = VerifyReport::default();
        match &self.parts[part] {
            Part::Manifest(bytes) => {
                self.check_manifest(&mut report);
                report.bytes = *bytes;
                done(report.bytes)?;
            }
            Part::Dictionary(needed) => {
                self.check_dictionary(needed, &mut report);
                report.bytes = needed.handle.bytes;
                done(report.bytes)?;
            }
            Part::Table(tree, table) => {
                self.check_table(*tree, table, &mut report);
                report.bytes = table.bytes;
                done(report.bytes)?;
            }
            Part::Blobs(check) => {
                report.found = check.run(&mut |file| {
                    report.blobs += 1;
                    report.bytes += file.meta().bytes;
                    done(file.meta().bytes)
                })?;
            }
        }
        Ok(report)
    }

    /// What is left when all parts are done: trees that cannot be opened and, of a full check, files that nothing names.
    pub fn finish(self) -> VerifyReport {
        let mut report = VerifyReport { found: self.found, ..VerifyReport::default() };
        if self.options.depth == VerifyDepth::Full {
            match self.store.unnamed_files() {
                Ok((unnamed, found)) => {
                    report.unnamed = unnamed;
                    report.found.extend(found.iter().map(|error| Finding::of(error, None)));
                }
                Err(error) => report.found.push(Finding::of(&error, None)),
            }
        }
        report
    }

    fn check_manifest(&self, report: &mut VerifyReport) {
        let manifest = self.store.0.context.manifest.as_ref().expect("it is a part of stores that have one");
        if let Err(error) = manifest.check_stored(self.options.is_past_caches) {
            report.found.push(Finding::of_remembered(error));
        }
    }

    fn check_dictionary(&self, needed: &NeededDictionary, report: &mut VerifyReport) {
        report.dictionaries = 1;
        if let Err(error) = self.store.0.context.tables.dictionaries.read(needed.handle) {
            let table = needed.table.map(|table| format!("; {} needs it", table::file_name(table)));
            report.found.push(Finding::of(&error.adding(&table.unwrap_or_default()), None));
        }
    }

    fn check_table(&self, tree: TreeId, table: &TableRef, report: &mut VerifyReport) {
        let VerifyOptions { depth, is_past_caches } = self.options;
        report.files = 1;
        match table.open().map_err(|error| table.blame(error)) {
            Ok(open) => {
                if is_past_caches {
                    open.drop_cached();
                }
                report.entries = if depth == VerifyDepth::Outline { 0 } else { table.entries };
                let found = open.verify(depth, &self.store.0.context.code.prefix_extractors);
                match found.iter().find(|found| !found.is_harmless) {
                    Some(first) => drop(table.blame(first.error(open.file_name()))),
                    None if depth >= VerifyDepth::Entries => table.clear_damage(),
                    None => {}
                }
                report.found.extend(Finding::of_table(found, open.file_name(), tree));
            }
            Err(error) => {
                if depth == VerifyDepth::Full {
                    let name = table.file_name();
                    let found = self.check_alone(&name, error.offset());
                    report.found.extend(Finding::of_table(found, &name, tree));
                }
                report.found.push(Finding::of(&error, Some(tree)));
            }
        }
    }

    /// What is wrong with a table that cannot be opened, beside what opening said of byte `known`.
    fn check_alone(&self, name: &str, known: Option<u64>) -> Vec<table::Finding> {
        let fs = &self.store.env().fs;
        let Ok(table) = LoneTable::open_with(fs, name, &self.store.0.context.tables.owner.keys) else {
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

impl fmt::Debug for StoreCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreCheck").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}
