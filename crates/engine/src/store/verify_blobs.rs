//! Verify, of separated values: every record is read, and pointers and records are held against each other, both ways.

use super::verify::{Finding, VerifyOptions};
use crate::{
    blob::{BlobFile, BlobPointer, pointer_of},
    codec::digest,
    error::{Error, Result},
    iter::Cursor,
    table::VerifyDepth,
    tree::Tree,
    types::BlobId,
    version::{BlobAccount, BlobFiles, BlobRef, TableRef},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    sync::Arc,
    vec::Vec,
};

/// Pointers that are held in memory at a time; tables are gone over as often as that takes.
const POINTERS_AT_ONCE: u64 = 1 << 20;

/// The tables of one state of a tree, and what they point to.
pub(super) struct BlobCheck {
    tree: Tree,
    tables: Vec<TableRef>,
    blobs: Arc<BlobFiles>,
    depth: VerifyDepth,
    is_past_caches: bool,
    pub(super) found: Vec<Finding>,
}

/// By file and offset of what is pointed to.
type Pointers = BTreeMap<(BlobId, u64), Pointed>;

/// What is kept of a pointer.
struct Pointed {
    pointer: BlobPointer,
    key_digest: u64,
}

impl BlobCheck {
    pub(super) fn new(tree: &Tree, options: VerifyOptions) -> BlobCheck {
        let VerifyOptions { depth, is_past_caches } = options;
        let (tables, blobs) = tree.files();
        BlobCheck { tree: tree.clone(), tables, blobs, depth, is_past_caches, found: Vec::new() }
    }

    /// Its tables.
    pub(super) fn tables(&self) -> &[TableRef] {
        &self.tables
    }

    /// Sizes of all files of separated values.
    pub(super) fn bytes(&self) -> u64 {
        self.blobs.files().map(|file| file.meta().bytes).sum()
    }

    /// Checks all files, and calls `done` after each.
    ///
    /// # Errors
    ///
    /// What `done` said.
    pub(super) fn run(&mut self, done: &mut dyn FnMut(&BlobRef) -> Result<()>) -> Result<()> {
        let blobs = Arc::clone(&self.blobs);
        let mut accounts = blobs.accounts().peekable();
        while accounts.peek().is_some() {
            let mut pointers_at_once = 0;
            let mut some: Vec<&BlobAccount<BlobRef>> = Vec::new();
            while let Some(next) = accounts
                .next_if(|next| some.is_empty() || pointers_at_once + next.live_records <= POINTERS_AT_ONCE)
            {
                pointers_at_once += next.live_records;
                some.push(next);
            }
            let mut pointers = match self.depth {
                VerifyDepth::Full => self.pointers_into(&some),
                _ => None,
            };
            for account in some {
                match account.file.open() {
                    Ok(file) => self.check_file(&file, account, pointers.as_mut()),
                    Err(error) => self.found_error(&error),
                }
                done(&account.file)?;
            }
        }
        Ok(())
    }

    /// All pointers into some files; `None` if a table cannot be read, which is found elsewhere.
    fn pointers_into(&mut self, files: &[&BlobAccount<BlobRef>]) -> Option<Pointers> {
        let ids: BTreeSet<BlobId> = files.iter().map(|account| account.file.meta().id).collect();
        let mut pointers = Pointers::new();
        let tables = self.tables.clone();
        for table in tables.iter().filter(|table| table.blobs.iter().any(|of| ids.contains(&of.file))) {
            self.collect(table, &ids, &mut pointers).ok()?;
        }
        Some(pointers)
    }

    fn collect(&mut self, table: &TableRef, ids: &BTreeSet<BlobId>, pointers: &mut Pointers) -> Result<()> {
        let mut cursor = table.open()?.cursor_past_cache();
        cursor.seek_first()?;
        while let Some(entry) = cursor.entry() {
            if entry.kind.is_separated() {
                let (key_digest, tree) = (digest(entry.key), self.tree.id());
                match pointer_of(entry.kind, cursor.value_bytes()?) {
                    Ok(Some(pointer)) if ids.contains(&pointer.file) => {
                        let at = (pointer.file, pointer.offset);
                        if pointers.insert(at, Pointed { pointer, key_digest }).is_some() {
                            self.found_at(at, "two tables point to one record, which is counted twice");
                        }
                    }
                    Ok(_) => {}
                    Err(why) => {
                        let error = Error::corrupt(table.file_name(), 0, why).in_tree(tree);
                        self.found_error(&error);
                    }
                }
            }
            cursor.next()?;
        }
        Ok(())
    }

    fn check_file(
        &mut self,
        file: &BlobFile,
        account: &BlobAccount<BlobRef>,
        mut pointers: Option<&mut Pointers>,
    ) {
        if self.depth == VerifyDepth::Outline {
            return;
        }
        let meta = *account.file.meta();
        if self.is_past_caches {
            file.drop_cached();
        }
        let mut parity = Vec::new();
        file.walk_parity(&mut |found| parity.push(found));
        for found in parity {
            let message = format!("{} ({} bytes)", found.message, found.bytes.end - found.bytes.start);
            self.found_at((meta.id, found.bytes.start), &message);
            self.found.last_mut().expect("it was found").is_harmless = found.is_corrected;
        }
        let (mut records, mut live_records, mut live_bytes) = (0, 0, 0);
        let mut others: Vec<(u64, &str)> = Vec::new();
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
                    others.push((found.offset, "a table points here to another record"));
                }
            }
            Ok(())
        });
        for (offset, message) in others {
            self.found_at((meta.id, offset), message);
        }
        if let Err(error) = walked {
            self.found_error(&error.in_tree(self.tree.id()));
            return; // What lies behind is not known.
        }
        account.file.clear_damage();
        if records != meta.records {
            self.found_at((meta.id, 0), &format!("{records} records are there, not {}", meta.records));
        }
        let Some(pointers) = pointers else { return };
        let dangling: Vec<u64> =
            pointers.range((meta.id, 0)..=(meta.id, u64::MAX)).map(|(&(_, offset), _)| offset).collect();
        for offset in &dangling {
            self.found_at((meta.id, *offset), "a table points to where no record begins");
        }
        let is_counted = (live_records, live_bytes) == (account.live_records, account.live_bytes);
        if dangling.is_empty() && !is_counted {
            let message = format!(
                "tables point to {live_records} records of {live_bytes} bytes, and say {} of {}",
                account.live_records, account.live_bytes
            );
            self.found_at((meta.id, 0), &message);
        }
    }

    fn found_at(&mut self, (id, offset): (BlobId, u64), message: &str) {
        self.found.push(Finding {
            tree: Some(self.tree.id()),
            file: self.blobs.file_name(id),
            offset: Some(offset),
            keys: None,
            message: String::from(message),
            is_harmless: false,
        });
    }

    fn found_error(&mut self, error: &Error) {
        self.found.push(Finding::of(error, Some(self.tree.id())));
    }
}
