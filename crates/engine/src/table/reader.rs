//! Reading an open table: point reads, and the blocks that cursors walk over.

use super::{
    BlockHandle, DataBlock, KeyHash, Properties, TableCursor, TableMeta,
    filter::{Filter, Worth},
    hints::Hints,
    locate::{BlockIndex, read_filter_part},
    open::{OpenFile, Opened},
    partitions::{Lazy, Partitions},
    statistics::Statistics,
};
use crate::{
    cache::{BlockCache, Charge, Shelf},
    codec::Corruption,
    error::{Error, Result},
    iter::{Entry, EntryChecksum},
    key::{InternalKey, ValueKind},
    order::KeyOrder,
    range_tombstone::RangeTombstones,
    types::{Seqno, Slice, TableId},
};
use alloc::sync::Arc;
use core::ops::Bound;

/// The cache that tables share.
pub type DataCache = BlockCache<Arc<DataBlock>>;

/// A part of the capacity of that.
pub(super) type DataCharge = Charge<Arc<DataBlock>>;

/// An open table. Shared by threads. Its index is in memory, and so are the partitions of its filter and of a long
/// index once they were needed; its blocks come through the cache.
///
/// The file may be removed meanwhile: what is open stays readable.
pub struct Table {
    pub(super) file: OpenFile,
    pub(super) meta: Arc<TableMeta>,
    /// Of its keys.
    pub(super) order: KeyOrder,
    pub(super) index: BlockIndex,
    pub(super) filter: Option<Partitions<Filter>>,
    prefix_filter: Lazy<Filter>,
    statistics: Lazy<Statistics>,
    ranges: Lazy<Arc<RangeTombstones>>,
    worth: Worth,
    /// Its blocks in the cache, and where they are.
    shelf: Shelf<Arc<DataBlock>>,
    pub(super) hints: Hints,
    /// Without partitions that are read when they are needed.
    least_bytes: usize,
    _charge: DataCharge,
}

impl Table {
    pub(super) fn assemble(opened: Opened, meta: Arc<TableMeta>, cache: &Arc<DataCache>) -> Table {
        let Opened { file, order, index, filter } = opened;
        let index = match index.is_top() {
            false => BlockIndex::Whole(index),
            true => BlockIndex::Parted(Partitions::new(index, cache)),
        };
        let (shelf, hints) = (cache.shelf(meta.id, index.len()), Hints::new(index.len()));
        let filter = filter.map(|directory| Partitions::new(directory, cache));
        let least_bytes = size_of::<Table>()
            + index.resident_bytes().0
            + filter.as_ref().map_or(0, Partitions::least_bytes)
            + shelf.resident_bytes()
            + hints.resident_bytes();
        Table {
            file,
            meta,
            order,
            index,
            filter,
            prefix_filter: Lazy::new(),
            statistics: Lazy::new(),
            ranges: Lazy::new(),
            worth: Worth::default(),
            shelf,
            hints,
            least_bytes,
            _charge: cache.charge(least_bytes),
        }
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
        let filter = self.filter.as_ref().map_or(0, Partitions::loaded_bytes);
        let lazy =
            self.prefix_filter.loaded_bytes() + self.statistics.loaded_bytes() + self.ranges.loaded_bytes();
        self.least_bytes + self.index.resident_bytes().1 + filter + lazy
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
        let target = InternalKey { key, seqno: at };
        if self.filter_denies(target, hash)? {
            return Ok(None);
        }
        let Some(index) = self.find_block(target)? else { return Ok(None) };
        let block = self.block(index, Caching::Fill)?;
        // If no entry here is at or after the target, the separator is of a later key or number, and the next
        // block begins with another key.
        let entry = block.lower_bound(&self.order, target);
        if entry == block.len() || !block.has_key(entry, key) {
            return Ok(None);
        }
        let (seqno, kind, checksum) = (block.seqno(entry), block.kind(entry), block.checksum(entry));
        let value = DataBlock::into_value(block, entry).map_err(|why| {
            let here = || Bound::Included(key.into());
            self.damaged_block(index, why).over_keys((here(), here()))
        })?;
        if let Some(checksum) = checksum {
            self.check_entry(checksum, Entry { key, seqno, kind }, &value, index)?;
        }
        Ok(Some((seqno, kind, value)))
    }

    /// Holds an entry of a block against its checksum.
    #[cold]
    fn check_entry(
        &self,
        checksum: EntryChecksum,
        entry: Entry<'_>,
        value: &[u8],
        index: usize,
    ) -> Result<()> {
        checksum.check(entry, value).map_err(|error| self.in_block(index, error))
    }

    /// Whether the filter is worth asking, and denies the key of a version.
    #[inline]
    fn filter_denies(&self, target: InternalKey<'_>, hash: KeyHash) -> Result<bool> {
        let Some(filter) = self.filter.as_ref().filter(|_| self.worth.is_worth_asking(hash)) else {
            return Ok(false);
        };
        let Some(part) = filter.find(target) else { return Ok(true) };
        let is_denied = !self.filter_part(filter, part)?.may_contain(hash);
        self.worth.note(hash, is_denied);
        Ok(is_denied)
    }

    /// About how many keys its filter denied since it was opened.
    pub(crate) fn denied_keys(&self) -> u64 {
        self.worth.denied()
    }

    /// Bytes of its filters in memory now.
    pub(crate) fn resident_filter_bytes(&self) -> u64 {
        let of_keys = self.filter.as_ref().map_or(0, |filter| filter.least_bytes() + filter.loaded_bytes());
        (of_keys + self.prefix_filter.loaded_bytes()) as u64
    }

    /// Whether the filter denies the key of a version, worth asking or not.
    pub(super) fn is_unfiltered(&self, version: InternalKey<'_>) -> Result<bool> {
        let Some(filter) = &self.filter else { return Ok(false) };
        let Some(part) = filter.find(version) else { return Ok(true) };
        Ok(!self.filter_part(filter, part)?.may_contain(KeyHash::of(version.key)))
    }

    /// Whether the filter tells that there is no version of a key.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption` of the filter.
    pub fn denies(&self, key: &[u8]) -> Result<bool> {
        self.is_unfiltered(InternalKey::first_of(key))
    }

    /// Whether no key starts with a prefix that the extractor of this name gives to all keys that do: the table has
    /// a filter of that extractor's prefixes, and it denies this one.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption` of the filter, which is read when it is first needed.
    pub fn denies_prefix(&self, extractor: &str, prefix: KeyHash) -> Result<bool> {
        match &self.meta.prefix_filter {
            Some(filter) if filter.extractor == extractor => {
                Ok(!self.prefix_filter(filter.block)?.may_contain(prefix))
            }
            _ => Ok(false),
        }
    }

    /// The filter of prefixes in this block.
    pub(super) fn prefix_filter(&self, block: BlockHandle) -> Result<&Filter> {
        self.prefix_filter.get_or_load(self.shelf.cache(), || {
            let filter = Filter::decode(&read_filter_part(&self.file, block)?)
                .map_err(|why| Error::corrupt(self.file_name(), block.offset, why))?;
            let bytes = filter.resident_bytes();
            Ok((filter, bytes))
        })
    }

    /// A cursor over all versions.
    pub fn cursor(self: &Arc<Self>) -> TableCursor {
        TableCursor::new(Arc::clone(self), Caching::Fill)
    }

    /// A cursor that uses cached blocks but adds none: for passes over whole tables.
    pub fn cursor_past_cache(self: &Arc<Self>) -> TableCursor {
        TableCursor::new(Arc::clone(self), Caching::Pass)
    }

    /// What the table says of its content. Read from the file each time; from the mirror, if one is damaged.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub fn properties(&self) -> Result<Properties> {
        self.file
            .properties_at(self.meta.properties)
            .or_else(|error| self.file.properties_at(self.meta.mirror().properties).map_err(|_| error))
    }

    /// What lies in each data block. Read when it is first asked for.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub(super) fn statistics(&self) -> Result<&Statistics> {
        self.statistics.get_or_load(self.shelf.cache(), || {
            let statistics = self.file.statistics_at(self.meta.statistics, self.blocks())?;
            let bytes = statistics.resident_bytes();
            Ok((statistics, bytes))
        })
    }

    /// Its range tombstones, if it has some. Read when they are first asked for.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub fn range_tombstones(&self) -> Result<Option<Arc<RangeTombstones>>> {
        let Some(ranges) = self.meta.ranges else { return Ok(None) };
        let loaded = self.ranges.get_or_load(self.shelf.cache(), || {
            let ranges = self.file.ranges_at(ranges.block, &self.order)?;
            let bytes = ranges.resident_bytes();
            Ok((Arc::new(ranges), bytes))
        });
        loaded.map(|ranges| Some(Arc::clone(ranges)))
    }

    /// Calls `with` with the pages of values of a data block, which is read past the cache. Returns the size of the
    /// block in the file.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    ///
    /// # Panics
    ///
    /// If there are not so many blocks.
    pub fn sample(&self, block: u64, with: impl FnOnce(&mut dyn Iterator<Item = &[u8]>)) -> Result<u64> {
        let index = usize::try_from(block).expect("blocks are counted in memory");
        let pages = self.block(index, Caching::Pass)?;
        pages.open_values().map_err(|why| self.damaged_block(index, why))?;
        with(&mut pages.opened_pages());
        Ok(self.block_handle(index)?.bytes)
    }

    /// Has what is read from now on come from the medium. A hint.
    pub(crate) fn drop_cached(&self) {
        self.file.file.drop_cached(0..self.meta.file_bytes());
    }

    /// Number of data blocks, at least 1.
    pub fn data_blocks(&self) -> u64 {
        self.blocks() as u64
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
        let read = self.read_block(self.block_handle(index)?).and_then(|block| {
            self.check_place(&block, index)?;
            Ok(block)
        });
        let block = Arc::new(read.map_err(|error| error.over_keys(self.block_keys(index)))?);
        if caching == Caching::Fill && self.shelf.insert(index, Arc::clone(&block), block.resident_bytes()) {
            self.hints.note(index, &block);
        }
        Ok(block)
    }

    /// The entries of a block lie between the separators around it, and inside of the table's range: so the
    /// blocks of a table, and the tables of a run, are in order as a whole.
    fn check_place(&self, block: &DataBlock, index: usize) -> Result<()> {
        let order = &self.order;
        let first = block.key(0);
        let is_behind = match index.checked_sub(1).map(|before| self.separator(before)).transpose()? {
            None => order.is_at_most(&self.meta.first_key, &first),
            Some((key, seqno)) => {
                let first = InternalKey { key: &first, seqno: block.seqno(0) };
                order.is_before(InternalKey { key: &key, seqno }, first)
            }
        };
        let at = block.len() - 1;
        let last = block.key(at);
        let (key, seqno) = self.separator(index)?;
        let is_before = !order
            .is_before(InternalKey { key: &key, seqno }, InternalKey { key: &last, seqno: block.seqno(at) });
        if is_behind && is_before && order.is_at_most(&last, &self.meta.last_key) {
            Ok(())
        } else {
            let why = "a data block holds keys that the table's index has elsewhere";
            Err(self.damaged_block(index, Corruption(why)))
        }
    }

    /// Reads a data block from the file.
    pub(super) fn read_block(&self, handle: BlockHandle) -> Result<DataBlock> {
        let frame = self.file.read(handle.offset, handle.bytes)?;
        DataBlock::decode(&frame, &self.file.codec, handle.offset, Some(&self.order))
            .and_then(|block| match self.meta.number {
                Some(number) => block.numbered(number),
                None => Ok(block),
            })
            .map_err(|why| Error::corrupt(self.file_name(), handle.offset, why))
    }
}

/// Whether blocks that are read go into the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Caching {
    Fill,
    Pass,
}
