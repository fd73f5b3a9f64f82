//! Ingest of entries in any order: an external sort (Knuth, The Art of Computer Programming 3, 5.4) in front of
//! [`Tree::ingest`].
//!
//! What memory holds is sorted and written as a run of tables when it is full; in the end the runs are merged. The number of
//! an entry in a run is that of the run, so that of one key the entry added last comes first.

use super::{IngestWriter, PreparedIngest, Tree};
use crate::{
    error::Result,
    expiry,
    iter::{Cursor, MergeCursor},
    key::ValueKind,
    types::{Seqno, UnixUs},
    version::{RunCursor, TableRef},
};
use alloc::{sync::Arc, vec::Vec};
use core::mem;

/// Takes entries in any order of keys; of one key the last counts. Dropped unfinished, it leaves nothing.
#[must_use]
pub struct IngestSorter {
    tree: Tree,
    /// Takes what is sorted in the end.
    output: IngestWriter,
    memory_bytes: usize,
    /// Keys and values one behind the other.
    bytes: Vec<u8>,
    entries: Vec<Buffered>,
    runs: Vec<SortedRun>,
}

/// An entry in memory.
struct Buffered {
    at: usize,
    key_bytes: u32,
    value_bytes: u32,
    kind: ValueKind,
}

/// Entries that were written because memory was full. Dropped, they go.
struct SortedRun(Vec<TableRef>);

impl Drop for SortedRun {
    fn drop(&mut self) {
        self.0.iter().for_each(TableRef::mark_obsolete);
    }
}

impl Tree {
    /// As [`Tree::ingest`], of entries in any order: about so many bytes of them are sorted in memory, the rest through files in
    /// the directory of tables, each entry written and read once more.
    ///
    /// # Errors
    ///
    /// As [`Tree::ingest`].
    pub fn ingest_unsorted(&self, memory_bytes: u64) -> Result<IngestSorter> {
        Ok(IngestSorter {
            tree: self.clone(),
            output: self.ingest()?,
            memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
            bytes: Vec::new(),
            entries: Vec::new(),
            runs: Vec::new(),
        })
    }
}

impl IngestSorter {
    /// Puts a value.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a key or value out of bounds; the backend's.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.add(key, ValueKind::Put, value)
    }

    /// Puts a value that is gone from views at `expires_at` and later.
    ///
    /// # Errors
    ///
    /// As [`IngestSorter::put`].
    pub fn put_until(&mut self, key: &[u8], value: &[u8], expires_at: UnixUs) -> Result<()> {
        self.add(key, ValueKind::PutUntil, &expiry::stored_value(expires_at, value))
    }

    /// Deletes what the tree holds under the key.
    ///
    /// # Errors
    ///
    /// As [`IngestSorter::put`].
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.add(key, ValueKind::Delete, &[])
    }

    fn add(&mut self, key: &[u8], kind: ValueKind, value: &[u8]) -> Result<()> {
        let added = self.buffer(key, kind, value);
        if added.is_err() {
            self.output.fail();
        }
        added
    }

    fn buffer(&mut self, key: &[u8], kind: ValueKind, value: &[u8]) -> Result<()> {
        self.output.check_sizes(key, value)?;
        let added_bytes = key.len() + value.len() + size_of::<Buffered>();
        if !self.entries.is_empty() && self.buffered_bytes() + added_bytes > self.memory_bytes {
            self.spill()?;
        }
        let (key_bytes, value_bytes) = (key.len() as u32, value.len() as u32); // They were checked.
        self.entries.push(Buffered { at: self.bytes.len(), key_bytes, value_bytes, kind });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn buffered_bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Buffered>()
    }

    /// What memory holds, sorted, of each key what was added last.
    fn sort(&mut self) -> Result<Vec<Buffered>> {
        let mut entries = mem::take(&mut self.entries);
        let (bytes, order) = (&self.bytes, &self.tree.0.order);
        // Stable: of one key in the order of additions.
        entries.sort_by(|a, b| order.compare(key_of(bytes, a), key_of(bytes, b)));
        order.check().map_err(|error| error.in_tree(self.tree.id()))?;
        entries.reverse();
        entries.dedup_by(|later, kept| key_of(bytes, later) == key_of(bytes, kept));
        entries.reverse();
        Ok(entries)
    }

    /// Writes what memory holds as a run.
    fn spill(&mut self) -> Result<()> {
        let entries = self.sort()?;
        let number = Seqno::from_raw(self.runs.len() as u64 + 1).expect("runs are few");
        let mut writer = self.tree.ingest()?.without_separation();
        for entry in &entries {
            writer.add_numbered(
                key_of(&self.bytes, entry),
                number,
                entry.kind,
                value_of(&self.bytes, entry),
            )?;
        }
        self.runs.push(SortedRun(writer.finish_run()?));
        self.entries = entries;
        self.entries.clear();
        self.bytes.clear();
        Ok(())
    }

    /// Writes all in order, as [`IngestWriter::finish`] does.
    ///
    /// # Errors
    ///
    /// As [`IngestWriter::finish`].
    pub fn finish(mut self) -> Result<PreparedIngest> {
        if self.runs.is_empty() {
            for entry in &self.sort()? {
                let (key, value) = (key_of(&self.bytes, entry), value_of(&self.bytes, entry));
                self.output.add(key, entry.kind, value)?;
            }
            return self.output.finish();
        }
        if !self.entries.is_empty() {
            self.spill()?;
        }
        (self.bytes, self.entries) = (Vec::new(), Vec::new()); // The merge has no use for their memory.
        let order = &self.tree.0.order;
        let cursor = |run: &SortedRun| RunCursor::past_cache(order, Arc::from(&run.0[..]));
        let mut cursor = MergeCursor::new(self.runs.iter().map(cursor).collect(), order);
        cursor.seek_first()?;
        let mut last_key: Option<Vec<u8>> = None;
        while let Some(entry) = cursor.entry() {
            if last_key.as_deref() != Some(entry.key) {
                self.output.add(entry.key, entry.kind, cursor.value_bytes()?)?;
                let last = last_key.get_or_insert_default();
                last.clear();
                last.extend_from_slice(entry.key);
            }
            cursor.next()?;
        }
        drop(cursor);
        self.runs.clear();
        self.output.finish()
    }
}

fn key_of<'b>(bytes: &'b [u8], entry: &Buffered) -> &'b [u8] {
    &bytes[entry.at..][..entry.key_bytes as usize]
}

fn value_of<'b>(bytes: &'b [u8], entry: &Buffered) -> &'b [u8] {
    &bytes[entry.at + entry.key_bytes as usize..][..entry.value_bytes as usize]
}
