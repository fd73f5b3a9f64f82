//! Verify, of separated values: every record is read, and pointers and records are held against each other, both ways.

use super::verify::{Finding, VerifyOptions};
use crate::{
    blob::{BlobFile, BlobPointer, pointer_of},
    codec::digest,
    error::{Error, Result},
    iter::Cursor,
    table::VerifyDepth,
    tree::Tree,
    types::{BlobId, TreeId},
    version::{BlobAccount, BlobFiles, BlobRef, TableRef},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

/// Pointers that are held in memory at a time; tables are gone over as often as that takes.
const POINTERS_AT_ONCE: u64 = 1 << 20;

/// Files of separated values that one state of a tree has, and the tables of that state that point into them.
pub(super) struct BlobCheck {
    tree: TreeId,
    accounts: Vec<BlobAccount<BlobRef>>,
    /// None if pointers are not checked.
    tables: Vec<TableRef>,
    options: VerifyOptions,
}

/// By file and offset of what is pointed to.
type Pointers = BTreeMap<(BlobId, u64), Pointed>;

/// What is kept of a pointer.
struct Pointed {
    pointer: BlobPointer,
    key_digest: u64,
}

impl BlobCheck {
    /// Checks of all files of a tree, in the order of numbers: each by itself or, where pointers are checked, some
    /// together.
    pub(super) fn of_files(
        tree: &Tree,
        tables: &[TableRef],
        files: &BlobFiles,
        options: VerifyOptions,
    ) -> Vec<BlobCheck> {
        let has_pointers = options.depth == VerifyDepth::Full;
        let mut checks = Vec::new();
        let mut accounts = files.accounts().cloned().peekable();
        while let Some(first) = accounts.next() {
            let mut pointers = first.live_records;
            let mut some = Vec::from([first]);
            while let Some(next) = accounts.next_if(|next| {
                has_pointers && pointers.saturating_add(next.live_records) <= POINTERS_AT_ONCE
            }) {
                pointers += next.live_records;
                some.push(next);
            }
            let ids: BTreeSet<BlobId> = some.iter().map(|account| account.file.meta().id).collect();
            let points_there =
                |table: &&TableRef| has_pointers && table.blobs.iter().any(|of| ids.contains(&of.file));
            let tables = tables.iter().filter(points_there).cloned().collect();
            checks.push(BlobCheck { tree: tree.id(), accounts: some, tables, options });
        }
        checks
    }

    /// Sizes of its files.
    pub(super) fn bytes(&self) -> u64 {
        self.accounts.iter().map(|account| account.file.meta().bytes).sum()
    }

    /// The file that is checked last.
    pub(super) fn last_file(&self) -> BlobId {
        self.accounts.last().map_or(BlobId(0), |account| account.file.meta().id)
    }

    /// Checks its files, calls `done` after each, and gives what was found.
    ///
    /// # Errors
    ///
    /// What `done` said.
    pub(super) fn run(&self, done: &mut dyn FnMut(&BlobRef) -> Result<()>) -> Result<Vec<Finding>> {
        let mut found = Vec::new();
        let mut pointers = match self.options.depth {
            VerifyDepth::Full => self.pointers(&mut found),
            _ => None,
        };
        for account in &self.accounts {
            match account.file.open() {
                Ok(file) => self.check_file(&file, account, pointers.as_mut(), &mut found),
                Err(error) => found.push(self.error(&error)),
            }
            done(&account.file)?;
        }
        Ok(found)
    }

    /// All pointers into its files; `None` if a table cannot be read, which is found elsewhere.
    fn pointers(&self, found: &mut Vec<Finding>) -> Option<Pointers> {
        let mut pointers = Pointers::new();
        for table in &self.tables {
            self.collect(table, &mut pointers, found).ok()?;
        }
        Some(pointers)
    }

    fn collect(&self, table: &TableRef, pointers: &mut Pointers, found: &mut Vec<Finding>) -> Result<()> {
        let files: BTreeMap<BlobId, &BlobRef> =
            self.accounts.iter().map(|account| (account.file.meta().id, &account.file)).collect();
        let mut cursor = table.open()?.cursor_past_cache();
        cursor.seek_first()?;
        while let Some(entry) = cursor.entry() {
            if entry.kind.is_separated() {
                let key_digest = digest(entry.key);
                match pointer_of(entry.kind, cursor.value_bytes()?) {
                    Ok(Some(pointer)) => {
                        if let Some(file) = files.get(&pointer.file) {
                            let at = (pointer.file, pointer.offset);
                            if pointers.insert(at, Pointed { pointer, key_digest }).is_some() {
                                let message = "two tables point to one record, which is counted twice";
                                found.push(self.place(file, at.1, message));
                            }
                        }
                    }
                    Ok(None) => {}
                    Err(why) => {
                        let error = Error::corrupt(table.file_name(), 0, why).in_tree(self.tree);
                        found.push(self.error(&error));
                    }
                }
            }
            cursor.next()?;
        }
        Ok(())
    }

    fn check_file(
        &self,
        file: &BlobFile,
        account: &BlobAccount<BlobRef>,
        mut pointers: Option<&mut Pointers>,
        all_found: &mut Vec<Finding>,
    ) {
        if self.options.depth == VerifyDepth::Outline {
            return;
        }
        let meta = *account.file.meta();
        let at = |offset: u64, message: &str| self.place(&account.file, offset, message);
        if self.options.is_past_caches {
            file.drop_cached();
        }
        file.walk_parity(&mut |found| {
            let message = format!("{} ({} bytes)", found.message, found.bytes.end - found.bytes.start);
            let is_harmless = found.is_corrected;
            all_found.push(Finding { is_harmless, ..at(found.bytes.start, &message) });
        });
        let (mut records, mut live_records, mut live_bytes) = (0, 0, 0);
        let walked = file.walk(&mut |found| {
            records += 1;
            let pointed = pointers.as_mut().and_then(|all| all.remove(&(meta.id, found.offset)));
            if let Some(Pointed { pointer, key_digest }) = pointed {
                live_records += 1;
                live_bytes += found.record_bytes;
                let is_same = pointer.checksum == found.record.checksum()
                    && u64::from(pointer.record_bytes) == found.record_bytes
                    && pointer.value_bytes == found.record.value_bytes()
                    && key_digest == digest(found.record.key());
                if !is_same {
                    all_found.push(at(found.offset, "a table points here to another record"));
                }
            }
            Ok(())
        });
        if let Err(error) = walked {
            all_found.push(self.error(&account.file.blame(error)));
            return; // What lies behind is not known.
        }
        account.file.clear_damage();
        if records != meta.records {
            all_found.push(at(0, &format!("{records} records are there, not {}", meta.records)));
        }
        let Some(pointers) = pointers else { return };
        let dangling = pointers.range((meta.id, 0)..=(meta.id, u64::MAX)).map(|(&(_, offset), _)| offset);
        let dangling: Vec<u64> = dangling.collect();
        let message = "a table points to where no record begins";
        all_found.extend(dangling.iter().map(|&offset| at(offset, message)));
        let is_counted = (live_records, live_bytes) == (account.live_records, account.live_bytes);
        if dangling.is_empty() && !is_counted {
            let message = format!(
                "tables point to {live_records} records of {live_bytes} bytes, and say {} of {}",
                account.live_records, account.live_bytes
            );
            all_found.push(at(0, &message));
        }
    }

    fn place(&self, file: &BlobRef, offset: u64, message: &str) -> Finding {
        Finding {
            tree: Some(self.tree),
            file: file.meta().file_name(),
            offset: Some(offset),
            keys: None,
            message: String::from(message),
            is_harmless: false,
        }
    }

    fn error(&self, error: &Error) -> Finding {
        Finding::of(error, Some(self.tree))
    }
}
