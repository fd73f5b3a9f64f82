//! Reading an open table: point reads, and the blocks that cursors walk over.

use super::{
    BlockHandle, DataBlock, KeyHash, Properties, TableCursor, TableMeta,
    filter::{Filter, Worth},
    hints::Hints,
    index::Index,
    open::{OpenFile, Opened, decode_properties},
};
use crate::{
    cache::{BlockCache, Charge, Shelf},
    codec::Corruption,
    error::{Error, KeyBounds, Result},
    key::{InternalKey, ValueKind},
    types::{Seqno, Slice, TableId},
};
use alloc::sync::Arc;
use core::ops::Bound;

/// The cache that tables share.
pub type DataCache = BlockCache<Arc<DataBlock>>;

/// An open table. Shared by threads; its index and filter are in memory, its blocks come through the cache.
///
/// The file may be removed meanwhile: what is open stays readable.
pub struct Table {
    pub(super) file: OpenFile,
    pub(super) meta: Arc<TableMeta>,
    pub(super) index: Index,
    pub(super) filter: Option<Filter>,
    worth: Worth,
    /// Its blocks in the cache, and where they are.
    shelf: Shelf<Arc<DataBlock>>,
    pub(super) hints: Hints,
    /// For index, filter, shelf and hints.
    charge: ResidentBytes,
}

struct ResidentBytes {
    bytes: usize,
    _charge: Charge<Arc<DataBlock>>,
}

impl Table {
    pub(super) fn assemble(opened: Opened, meta: Arc<TableMeta>, cache: &Arc<DataCache>) -> Table {
        let Opened { file, index, filter } = opened;
        let (shelf, hints) = (cache.shelf(meta.id, index.len()), Hints::new(index.len()));
        let bytes = size_of::<Table>()
            + index.resident_bytes()
            + filter.as_ref().map_or(0, Filter::resident_bytes)
            + shelf.resident_bytes()
            + hints.resident_bytes();
        let charge = ResidentBytes { bytes, _charge: cache.charge(bytes) };
        Table { file, meta, index, filter, worth: Worth::default(), shelf, hints, charge }
    }

    /// Its number.
    pub fn id(&self) -> TableId {
        self.meta.id
    }

    /// What the manifest keeps of it.
    pub fn meta(&self) -> &Arc<TableMeta> {
        &self.meta
    }

    /// The name of its file, relative to the root.
    pub fn file_name(&self) -> &str {
        &self.file.name
    }

    /// Bytes of memory that it holds while open, beside its blocks in the cache.
    pub fn resident_bytes(&self) -> usize {
        self.charge.bytes
    }

    /// The newest version of a key with a number of at most `at`, whatever its kind.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`, with the keys of the block that could not be read.
    pub fn get(&self, key: &[u8], at: Seqno) -> Result<Option<(Seqno, ValueKind, Slice)>> {
        self.get_hashed(key, KeyHash::of(key), at)
    }

    /// As [`Table::get`], with the hash of the key at hand.
    ///
    /// # Errors
    ///
    /// As [`Table::get`].
    pub fn get_hashed(
        &self,
        key: &[u8],
        hash: KeyHash,
        at: Seqno,
    ) -> Result<Option<(Seqno, ValueKind, Slice)>> {
        debug_assert!(hash == KeyHash::of(key), "the hash is that of the key");
        if self.filter_denies(hash) {
            return Ok(None);
        }
        let target = InternalKey { key, seqno: at };
        let Some(index) = self.index.find(target) else { return Ok(None) };
        let block = self.block(index, Caching::Fill)?;
        // If no entry here is at or after the target, the separator is of a later key or number, and the next
        // block begins with another key.
        let entry = block.lower_bound(target);
        if entry == block.len() || !block.has_key(entry, key) {
            return Ok(None);
        }
        let (seqno, kind) = (block.seqno(entry), block.kind(entry));
        let value = DataBlock::into_value(block, entry).map_err(|why| {
            let here = || Bound::Included(key.into());
            self.damaged_block(index, why).over_keys((here(), here()))
        })?;
        Ok(Some((seqno, kind, value)))
    }

    /// Whether the filter is worth asking, and denies a key.
    #[inline]
    fn filter_denies(&self, hash: KeyHash) -> bool {
        let Some(filter) = self.filter.as_ref().filter(|_| self.worth.is_worth_asking(hash)) else {
            return false;
        };
        let is_denied = !filter.may_contain(hash);
        self.worth.note(hash, is_denied);
        is_denied
    }

    /// A cursor over all versions.
    pub fn cursor(self: &Arc<Self>) -> TableCursor {
        TableCursor::new(Arc::clone(self), Caching::Fill)
    }

    /// A cursor that uses cached blocks but adds none: for passes over whole tables.
    pub fn cursor_past_cache(self: &Arc<Self>) -> TableCursor {
        TableCursor::new(Arc::clone(self), Caching::Pass)
    }

    /// What the table says of its content. Read from the file each time.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub fn properties(&self) -> Result<Properties> {
        let handle = self.meta.properties;
        let frame = self.file.read(handle.offset, handle.bytes)?;
        decode_properties(&frame, &self.file.codec, handle)
            .map_err(|why| Error::corrupt(self.file_name(), handle.offset, why))
    }

    /// Number of data blocks, at least 1.
    pub(super) fn blocks(&self) -> usize {
        self.index.len()
    }

    /// A data block by its place.
    pub(super) fn block(&self, index: usize, caching: Caching) -> Result<Arc<DataBlock>> {
        // Before the lock: nothing behind one begins until all before it has ended, the filter's line included.
        self.hints.prefetch(index);
        match self.shelf.get(index) {
            Some(block) => Ok(block),
            None => self.block_from_file(index, caching),
        }
    }

    #[cold]
    fn block_from_file(&self, index: usize, caching: Caching) -> Result<Arc<DataBlock>> {
        let read = self.read_block(self.index.handle(index)).and_then(|block| {
            let damaged = |why| self.damaged_block(index, why);
            self.check_place(&block, index).map_err(damaged).map(|()| block)
        });
        let block = Arc::new(read.map_err(|error| error.over_keys(self.block_keys(index)))?);
        if caching == Caching::Fill && self.shelf.insert(index, Arc::clone(&block), block.resident_bytes()) {
            self.hints.note(index, &block);
        }
        Ok(block)
    }

    /// User keys that may have versions in a data block.
    pub(super) fn block_keys(&self, index: usize) -> KeyBounds {
        match self.index.key_bounds(index) {
            (Bound::Unbounded, high) => (Bound::Included(self.meta.first_key.clone()), high),
            bounds => bounds,
        }
    }

    /// The entries of a block lie between the separators around it, and inside of the table's range: so the
    /// blocks of a table, and the tables of a run, are in order as a whole.
    fn check_place(&self, block: &DataBlock, index: usize) -> core::result::Result<(), Corruption> {
        let first = block.key(0);
        let is_behind = match index.checked_sub(1).map(|before| self.index.separator(before)) {
            None => self.meta.first_key <= first,
            Some((key, seqno)) => {
                InternalKey { key: &key, seqno } < InternalKey { key: &first, seqno: block.seqno(0) }
            }
        };
        let at = block.len() - 1;
        let last = block.key(at);
        let (key, seqno) = self.index.separator(index);
        let is_before =
            InternalKey { key: &last, seqno: block.seqno(at) } <= InternalKey { key: &key, seqno };
        if is_behind && is_before && last <= self.meta.last_key {
            Ok(())
        } else {
            Err(Corruption("a data block holds keys that the table's index has elsewhere"))
        }
    }

    /// Something is wrong with a data block.
    pub(super) fn damaged_block(&self, index: usize, why: Corruption) -> Error {
        Error::corrupt(self.file_name(), self.index.handle(index).offset, why)
    }

    /// Reads a data block from the file.
    pub(super) fn read_block(&self, handle: BlockHandle) -> Result<DataBlock> {
        let frame = self.file.read(handle.offset, handle.bytes)?;
        DataBlock::decode(&frame, &self.file.codec, handle.offset)
            .map_err(|why| Error::corrupt(self.file_name(), handle.offset, why))
    }
}

/// Whether blocks that are read go into the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Caching {
    Fill,
    Pass,
}
