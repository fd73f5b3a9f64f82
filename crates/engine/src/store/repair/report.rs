//! What a repair may do, and what it says of what it did.

use crate::table::salvage::LostKeys;
use alloc::{string::String, vec::Vec};

/// What a repair may do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct RepairOptions {
    /// Only says what would be done, and writes nothing at all.
    pub dry_run: bool,
    /// Writes what is left of damaged tables anew, and leaves out the rest for good. Without it a damaged table that opens
    /// stays as it is: reading what is damaged fails, and reading the rest does not. One that does not open is left out.
    pub salvage: bool,
}

impl RepairOptions {
    /// Repairs what can be repaired without losing anything that can be read.
    pub fn new() -> RepairOptions {
        RepairOptions::default()
    }

    /// Sets [`RepairOptions::dry_run`].
    #[must_use]
    pub fn dry_run(self, dry_run: bool) -> RepairOptions {
        RepairOptions { dry_run, ..self }
    }

    /// Sets [`RepairOptions::salvage`].
    #[must_use]
    pub fn salvage(self, salvage: bool) -> RepairOptions {
        RepairOptions { salvage, ..self }
    }
}

/// What a repair did, or would do.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct RepairReport {
    /// Nothing was changed, or would be: all is well, or [`RepairReport::has_losses`] and nothing can be done about them.
    pub is_unchanged: bool,
    /// Nothing was written: that was asked for.
    pub is_dry_run: bool,
    /// What was wrong with the manifest; `None`: it was sound, and stays what says which tables there are.
    pub manifest: Option<String>,
    /// IDENTITY was missing or damaged, and was written anew.
    pub has_new_identity: bool,
    /// The keyspaces of the database, by their ids.
    pub trees: Vec<RepairedTree>,
    /// Tables and files of separated values that are not simply as they were, or were found without a manifest.
    pub files: Vec<RepairedFile>,
    /// What whoever repairs should know.
    pub warnings: Vec<String>,
}

/// A tree of a repaired store.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RepairedTree {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its tables.
    pub tables: u64,
    /// Entries in them.
    pub entries: u64,
}

/// A file of a repaired store.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RepairedFile {
    /// Relative to the root; where it was before.
    pub file: String,
    /// The tree that it belongs to, if that is known.
    pub tree: Option<String>,
    /// What became of it.
    pub fate: Fate,
    /// Why; empty if it is sound.
    pub why: String,
    /// Keys that were lost with it, or that cannot be read.
    pub lost: Vec<LostKeys>,
    /// The table that what was left of it was written into.
    pub salvaged_as: Option<String>,
    /// Entries that were taken over.
    pub entries: u64,
    /// Entries that were lost, or cannot be read; `None`: nobody knows.
    pub lost_entries: Option<u64>,
}

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fate {
    /// It is sound, and part of the database again.
    Recovered,
    /// It is part of the database; reading what is damaged fails.
    Damaged,
    /// What was left of it was written anew; the file itself was left out.
    Salvaged,
    /// It is no part of the database any more. It was not removed.
    LeftOut,
    /// It is gone, and the manifest named it.
    Missing,
}

impl RepairReport {
    /// Files of this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.files.iter().filter(|file| file.fate == fate).count()
    }

    /// Whether something is lost or cannot be read.
    pub fn has_losses(&self) -> bool {
        self.files.iter().any(RepairedFile::is_loss)
    }
}

impl RepairedFile {
    /// Whether something in it is lost or cannot be read, or may be.
    pub fn is_loss(&self) -> bool {
        let is_damaged = matches!(self.fate, Fate::Damaged | Fate::Missing);
        is_damaged || !self.lost.is_empty() || (self.fate != Fate::Recovered && self.lost_entries != Some(0))
    }
}
