//! Large values of a job: written into files of their own, in the order of keys, and pointed to by its tables.
//!
//! What options say counts when a table is written: a value that is in a table, or in a file, stays where it is until its
//! table is written again, or its file is left behind because most of it is stale.

use super::{Tree, state::TreeState};
use crate::{
    blob::{BLOBS_DIR, BlobPointer, BlobWriter, MAX_BLOB_VALUE_BYTES, file_name, pointer_of, stored_pointer},
    codec::{Compression, FileKind},
    compaction::garbage_files,
    error::{Error, ErrorKind, Result},
    expiry,
    iter::Entry,
    key::ValueKind,
    packed::packed_of,
    types::{BlobId, Level, UnixUs},
    version::{BlobFiles, BlobRef, HealedFile, Hold, new_uuid},
};
use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};
use core::ops::Bound;
use isopach_env::{IoErrorKind, SyncSite, WriteOrigin};

/// Where the values of one job go. Dropped unfinished, the files go to the deleter.
pub(super) struct SeparatedValues {
    tree: Tree,
    /// Values of at least so many bytes are separated.
    from_bytes: usize,
    file_bytes: u64,
    compression: Compression,
    origin: WriteOrigin,
    /// What its inputs point to.
    sources: Arc<BlobFiles>,
    /// Files of which nothing is to stay.
    left: BTreeSet<BlobId>,
    unfinished: Option<(BlobWriter, Hold)>,
    finished: Vec<BlobRef>,
}

/// What a table gets in place of a version.
pub(super) struct Placed {
    pub(super) kind: ValueKind,
    pub(super) stored: Vec<u8>,
    /// What was written beside the table.
    record_bytes: u64,
}

impl Placed {
    /// A value that is stored in the table.
    fn in_table(expires_at: Option<UnixUs>, value: Vec<u8>) -> Placed {
        let (kind, stored) = match expires_at {
            None => (ValueKind::Put, value),
            Some(at) => (ValueKind::PutUntil, expiry::stored_value(at, &value)),
        };
        Placed { kind, stored, record_bytes: 0 }
    }

    /// Bytes that were written or are to be.
    pub(super) fn bytes(&self) -> u64 {
        self.stored.len() as u64 + self.record_bytes
    }
}

impl Tree {
    /// The files of separated values that are to be left behind now; see
    /// [`leave_garbage`](crate::compaction::leave_garbage).
    pub fn blob_garbage(&self) -> Vec<BlobId> {
        self.garbage_files(&self.0.state.load())
    }

    /// Whether some of these files are still named that can be written anew: neither they nor, of separated values, tables that
    /// point to them are known to be damaged beyond what restores them.
    pub fn can_heal_any_of(&self, files: &BTreeSet<HealedFile>) -> bool {
        let state = self.0.state.load();
        let tables = || state.levels.tables().map(|(.., table)| table);
        let stuck: BTreeSet<BlobId> = tables()
            .filter(|table| table.is_damaged())
            .flat_map(|table| table.blobs.iter().map(|of| of.file))
            .collect();
        let sound_tables = tables().filter(|table| !table.is_damaged()).map(|table| table.id.0);
        let blobs = state.blobs.files().filter(|file| !file.is_damaged()).map(|file| file.meta().id);
        let sound_blobs = blobs.filter(|id| !stuck.contains(id)).map(|id| id.0);
        sound_tables.chain(sound_blobs).any(|file| files.contains(&file))
    }

    /// The files of separated values of a state that are to be left behind: most of them is stale, or they are sealed in
    /// another way than new ones, or are to be healed.
    pub(super) fn garbage_files(&self, state: &TreeState) -> Vec<BlobId> {
        let sound = || state.blobs.accounts().filter(|account| !account.file.is_damaged());
        let mut left = garbage_files(sound(), self.options().blob_garbage_percent);
        if let Ok(seal) = self.new_seal() {
            let old = sound().filter(|account| account.file.meta().seal != seal).map(|it| it.file.meta().id);
            left.extend(old);
        }
        let due = self.0.context.tables.healing.due(self.id());
        let ids = sound().map(|account| account.file.meta().id);
        left.extend(ids.filter(|id| due.contains(&id.0)));
        left
    }
}

impl SeparatedValues {
    /// Of a job that found this state, as options say now.
    pub(super) fn new(tree: &Tree, state: &TreeState, of_tables: WriteOrigin) -> SeparatedValues {
        let options = tree.options();
        let origin = match of_tables {
            WriteOrigin::FlushTable => WriteOrigin::FlushBlob,
            WriteOrigin::IngestTable => WriteOrigin::IngestBlob,
            _ => WriteOrigin::CompactionBlob,
        };
        SeparatedValues {
            tree: tree.clone(),
            from_bytes: options.blobs_from_bytes.map_or(usize::MAX, |bytes| bytes as usize),
            file_bytes: options.blob_file_bytes,
            compression: options.compression.at(Level(u8::MAX)), // They stay while their keys sink.
            origin,
            sources: Arc::clone(&state.blobs),
            left: BTreeSet::new(),
            unfinished: None,
            finished: Vec::new(),
        }
    }

    /// Takes every value that survives out of these files.
    pub(super) fn leaving(mut self, files: Vec<BlobId>) -> SeparatedValues {
        self.left.extend(files);
        self
    }

    /// Leaves all values in tables, and takes none out of files.
    pub(super) fn nowhere(mut self) -> SeparatedValues {
        self.from_bytes = usize::MAX;
        self
    }

    /// Whether [`SeparatedValues::place`] may change anything of a version.
    #[inline]
    pub(super) fn concern(&self, kind: ValueKind, stored: &[u8]) -> bool {
        stored.len() >= self.from_bytes || kind.is_apart()
    }

    /// Puts the value of a version where it belongs; `None`: it stays as it is.
    pub(super) fn place(&mut self, entry: Entry<'_>, stored: &[u8]) -> Result<Option<Placed>> {
        match entry.kind {
            ValueKind::Put | ValueKind::PutUntil if stored.len() >= self.from_bytes => {
                self.separate(entry, stored)
            }
            ValueKind::PutPacked | ValueKind::PutPackedUntil => self.separate_packed(entry, stored),
            ValueKind::BlobPointer | ValueKind::BlobPointerUntil if !self.left.is_empty() => {
                self.leave(entry, stored)
            }
            _ => Ok(None),
        }
    }

    fn separate(&mut self, entry: Entry<'_>, stored: &[u8]) -> Result<Option<Placed>> {
        let expires_at = expires_at(entry, stored)?;
        let value = &stored[expires_at.map_or(0, |_| expiry::EXPIRY_BYTES)..];
        if !(self.from_bytes..=MAX_BLOB_VALUE_BYTES).contains(&value.len()) {
            return Ok(None);
        }
        let (key, seqno, compression) = (entry.key, entry.seqno, self.compression);
        self.point(expires_at, |writer| writer.add(key, seqno, value, compression))
    }

    /// A packed value is written as it is, or unpacked into the table. One that is damaged stays: who reads it is told.
    fn separate_packed(&mut self, entry: Entry<'_>, stored: &[u8]) -> Result<Option<Placed>> {
        let Ok(Some(packed)) = packed_of(entry.kind, stored) else { return Ok(None) };
        let Ok(expires_at) = expires_at(entry, stored) else { return Ok(None) };
        if packed.value_bytes as usize >= self.from_bytes {
            let (key, seqno) = (entry.key, entry.seqno);
            return self.point(expires_at, |writer| writer.add_packed(key, seqno, packed));
        }
        let Ok(value) = packed.unpack() else { return Ok(None) };
        Ok(Some(Placed::in_table(expires_at, value)))
    }

    /// A pointer into a file that is left behind gets another one, or the value in its place; one to what is damaged stays.
    fn leave(&mut self, entry: Entry<'_>, stored: &[u8]) -> Result<Option<Placed>> {
        let pointer = pointer_of(entry.kind, stored).map_err(|why| damaged(entry, why.0))?;
        let Some(pointer) = pointer.filter(|pointer| self.left.contains(&pointer.file)) else {
            return Ok(None);
        };
        let expires_at = expires_at(entry, stored)?;
        let record = match self.sources.read_record(entry.key, &pointer) {
            Err(_) if self.sources.is_damaged(&pointer) => return Ok(None), // Who reads it is told.
            read => read?,
        };
        if pointer.value_bytes as usize >= self.from_bytes {
            return self.point(expires_at, |writer| writer.copy(&record));
        }
        let value = record
            .into_value()
            .map_err(|why| damaged(entry, why.0).in_file(self.sources.file_name(pointer.file)))?;
        Ok(Some(Placed::in_table(expires_at, Vec::from(&*value))))
    }

    /// Adds a record to the file that is being written.
    fn point(
        &mut self,
        expires_at: Option<UnixUs>,
        add: impl FnOnce(&mut BlobWriter) -> Result<BlobPointer>,
    ) -> Result<Option<Placed>> {
        if self.unfinished.as_ref().is_some_and(|(writer, _)| writer.bytes() >= self.file_bytes) {
            self.finish_file()?;
        }
        if self.unfinished.is_none() {
            self.unfinished = Some(self.begin_file()?);
        }
        let (writer, _) = self.unfinished.as_mut().expect("just begun");
        let pointer = add(writer)?;
        let (kind, stored) = stored_pointer(expires_at, &pointer);
        Ok(Some(Placed { kind, stored, record_bytes: u64::from(pointer.record_bytes) }))
    }

    fn begin_file(&self) -> Result<(BlobWriter, Hold)> {
        let context = &self.tree.0.context;
        let id = context.file_ids.next_blob(context.manifest()?)?;
        let tree = Some(self.tree.id());
        let place = context.manifest()?.with_catalog(|catalog| catalog.routes.place_of_blobs());
        let name = place.name_of(&file_name(id));
        let hold = context.tables.registry.register(FileKind::Blob, &name, 0, tree);
        let uuid = new_uuid(&*context.env.entropy);
        let created = uuid.and_then(|uuid| {
            BlobWriter::create(&context.env.fs, (id, uuid), place, &context.tables.owner, self.origin)
        });
        let created = created.map(|writer| writer.with_parity(self.tree.options().blob_parity));
        match created {
            Ok(writer) => Ok((writer, hold)),
            Err(error) => {
                // A file that was there before is not this job's, whoever's it is.
                if error.io_error().is_none_or(|io| io.kind() != IoErrorKind::AlreadyExists) {
                    hold.remove();
                }
                Err(error)
            }
        }
    }

    fn finish_file(&mut self) -> Result<()> {
        let Some((writer, hold)) = self.unfinished.take() else { return Ok(()) };
        match writer.finish() {
            Ok(meta) => {
                let tree = &self.tree.0;
                self.finished.push(BlobRef::new(&tree.context.tables, tree.id, hold, meta));
                Ok(())
            }
            Err(error) => {
                hold.remove();
                Err(error)
            }
        }
    }

    /// Makes what was pointed to so far durable: before a table that points there is (INV-BLB-1).
    pub(super) fn sync(&mut self) -> Result<()> {
        self.unfinished.as_mut().map_or(Ok(()), |(writer, _)| writer.sync())
    }

    /// Makes all files durable, and their entries in their directories.
    pub(super) fn finish(mut self) -> Result<Vec<BlobRef>> {
        self.finish_file()?;
        if !self.finished.is_empty() {
            let doing = "sync the directory of separated values";
            let places = self.finished.iter().map(|file| file.meta().place).collect();
            self.tree.sync_directories(places, BLOBS_DIR, SyncSite("blob.directory"), doing)?;
        }
        Ok(core::mem::take(&mut self.finished))
    }
}

impl Drop for SeparatedValues {
    fn drop(&mut self) {
        if let Some((_, hold)) = self.unfinished.take() {
            hold.remove();
        }
        self.finished.iter().for_each(BlobRef::mark_obsolete);
    }
}

fn expires_at(entry: Entry<'_>, stored: &[u8]) -> Result<Option<UnixUs>> {
    expiry::of_version(entry.kind, stored).map_err(|why| damaged(entry, why.0))
}

#[cold]
fn damaged(entry: Entry<'_>, why: &'static str) -> Error {
    let here = || Bound::Included(Vec::from(entry.key));
    Error::new(ErrorKind::Corruption, why).over_keys((here(), here()))
}
