//! Writing a table: entries in order become data blocks, then index, properties, filters and footer.
//!
//! Reads top-down: [`TableWriter::add`] and [`TableWriter::finish`] are the whole story. The file is written
//! from front to back. The writer never removes it: whoever drops a writer half-way removes the file.

use super::{
    BlockHandle, PrefixFilter, PropertySeed, RangeBlock, TableMeta,
    block::BlockBuilder,
    file_name,
    filter::{BuiltPartition, FilterBuilder, FilterKind, FilterOptions, KeyHash, PartitionsBuilder},
    footer::{FOOTER_BYTES, Footer},
    index::IndexBuilder,
    properties::{KindCounts, Properties},
    statistics::{self, BlockStatistics},
};
use crate::{
    blob::BlobUses,
    codec::{
        BlockKind, Compression, Dictionary, FileCodec, FileDictionary, FileHeader, FileKind, HEADER_BYTES,
        Keyring, Owner, Parity, ParityWriter, Seal, Section, WritingDictionary, encode_block,
    },
    dictionary::DictionaryHandle,
    env::{CreateOptions, File, Fs, SyncMode, SyncSite, WriteOrigin},
    error::{Error, ErrorKind, Result},
    expiry::{self, ExpiryBounds},
    iter::EntryChecksum,
    key::{InternalKey, MAX_KEY_BYTES, MAX_VALUE_BYTES, ValueKind, shortest_separator},
    order::KeyOrder,
    place::PlaceId,
    prefix::{OrderedPrefixes, PrefixExtractor},
    range_tombstone::{RangeTombstone, RangeTombstones},
    types::{Seqno, TableId, Uuid},
};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::{
    hash::Hasher,
    mem,
    ops::{Bound, RangeInclusive},
};
use twox_hash::XxHash3_64;

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// An index that takes up to so many partitions is one block.
const INDEX_PARTS: usize = 16;

/// How a table is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TableOptions {
    /// Uncompressed size of a data block, in bytes; within [`TableOptions::BLOCK_BYTES`]. A larger entry gets
    /// a block of its own.
    pub block_bytes: usize,
    /// Compression of values.
    pub compression: Compression,
    /// Its filter. `None`: it has none.
    pub filter: Option<FilterOptions>,
    /// Size of the parts that a filter and a long index are read in, in bytes; within
    /// [`TableOptions::PARTITION_BYTES`]. An index is cut into such if it takes more than sixteen of them.
    pub partition_bytes: usize,
    /// Whether each entry has a checksum of its own, of 4 bytes.
    pub entry_checksums: bool,
    /// What lies behind the table, and restores what the medium damages.
    pub parity: Parity,
}

impl TableOptions {
    /// What [`TableOptions::block_bytes`] may be.
    pub const BLOCK_BYTES: RangeInclusive<usize> = 4 * 1024..=1024 * 1024;
    /// What [`TableOptions::partition_bytes`] may be.
    pub const PARTITION_BYTES: RangeInclusive<usize> = 1024..=16 * 1024 * 1024;

    /// Says whether a table can be written so.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` outside of the bounds, `UnsupportedFeature` for a compression that is not compiled
    /// in.
    pub fn validate(&self) -> Result<()> {
        if !Self::BLOCK_BYTES.contains(&self.block_bytes) {
            return Err(Error::new(ErrorKind::InvalidArgument, "a block has 4 KiB to 1 MiB"));
        }
        if !Self::PARTITION_BYTES.contains(&self.partition_bytes) {
            return Err(Error::new(ErrorKind::InvalidArgument, "a partition has 1 KiB to 16 MiB"));
        }
        if let Some(filter) = self.filter {
            filter.validate()?;
        }
        self.parity.validate()?;
        if !self.compression.is_available() {
            let message = format!("compression {} is not compiled in", self.compression);
            return Err(Error::new(ErrorKind::UnsupportedFeature, message));
        }
        Ok(())
    }
}

/// Blocks of 16 KiB, LZ4 if compiled in, a Bloom filter of ten bits a key, partitions of 64 KiB.
impl Default for TableOptions {
    fn default() -> TableOptions {
        let compression = if Compression::Lz4.is_available() { Compression::Lz4 } else { Compression::None };
        let filter = FilterOptions { kind: FilterKind::Bloom, bits_per_key: 10.0 };
        TableOptions {
            block_bytes: 16 << 10,
            compression,
            filter: Some(filter),
            partition_bytes: 64 << 10,
            entry_checksums: false,
            parity: Parity::None,
        }
    }
}

/// Who a new table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableIdentity {
    /// Its number; its name is made of it.
    pub id: TableId,
    /// Its own uuid, fresh from the random source.
    pub uuid: Uuid,
    /// The uuid of its database.
    pub database: Uuid,
    /// Where it is written.
    pub place: PlaceId,
}

/// A table being written.
///
/// After an error only dropping it makes sense; the file is then half-made, and the caller's to remove.
pub struct TableWriter {
    identity: TableIdentity,
    codec: FileCodec,
    seal: Option<Seal>,
    options: TableOptions,
    order: KeyOrder,
    out: Output,
    block: BlockBuilder,
    index: IndexBuilder,
    /// Of the blocks that are finished.
    statistics: Vec<BlockStatistics>,
    /// Of the one that is not.
    counted: BlockStatistics,
    filter: Option<PartitionsBuilder>,
    prefixes: Option<(OrderedPrefixes, FilterBuilder)>,
    /// Those among the entries.
    ranges: Vec<RangeTombstone>,
    /// What the entries point to.
    blobs: BlobUses,
    /// Number of the version added last; its key is the last of the properties.
    last_added: Seqno,
    properties: Properties,
}

impl TableWriter {
    /// Creates the file `tables/<id>.table` in its place and starts a table in it.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the file is there; those of [`TableOptions::validate`]; the backend's.
    pub fn create(
        fs: &Arc<dyn Fs>,
        identity: TableIdentity,
        options: TableOptions,
        seed: PropertySeed,
        origin: WriteOrigin,
    ) -> Result<TableWriter> {
        let name = identity.place.name_of(&file_name(identity.id));
        TableWriter::create_as(fs, name, identity, options, seed, origin)
    }

    /// As [`TableWriter::create`], in a file of this name.
    ///
    /// # Errors
    ///
    /// As [`TableWriter::create`].
    pub(super) fn create_as(
        fs: &Arc<dyn Fs>,
        name: String,
        identity: TableIdentity,
        options: TableOptions,
        seed: PropertySeed,
        origin: WriteOrigin,
    ) -> Result<TableWriter> {
        options.validate()?;
        let created = fs.create(&name, &CreateOptions::new(origin));
        let file = created.map_err(|error| Error::io(error, "create", name.as_str()))?;
        let parity = options.parity;
        let header =
            FileHeader { parity, ..FileHeader::clear(FileKind::Table, identity.uuid, identity.database) };
        let (buffer, digest, parity) = (Vec::new(), XxHash3_64::new(), ParityWriter::new(parity));
        let mut out = Output { file, name, buffer, written: 0, digest, parity };
        out.buffer.extend_from_slice(&header.encode());
        Ok(TableWriter {
            identity,
            codec: FileCodec::clear(identity.uuid),
            seal: None,
            options,
            order: KeyOrder::BYTES,
            out,
            block: BlockBuilder::default(),
            index: IndexBuilder::new(HEADER_BYTES as u64),
            statistics: Vec::new(),
            counted: BlockStatistics::NONE,
            filter: options.filter.map(|filter| PartitionsBuilder::new(filter, options.partition_bytes)),
            prefixes: None,
            ranges: Vec::new(),
            blobs: BlobUses::default(),
            last_added: Seqno::MAX,
            properties: Properties {
                seed,
                counts: KindCounts::default(),
                first_key: Vec::new(),
                last_key: Vec::new(),
                first_seqno: Seqno::MAX,
                last_seqno: Seqno::ZERO,
                key_bytes: 0,
                value_bytes: 0,
                data_blocks: 0,
                compression: options.compression,
                filter: options.filter,
                dictionary: None,
                ranges: None,
                expiry: None,
            },
        })
    }

    /// Seals the table under the current key. Before anything is added.
    ///
    /// # Errors
    ///
    /// Those of [`Keyring::current`].
    pub fn sealed_by(mut self, keys: &Keyring) -> Result<TableWriter> {
        debug_assert!(self.entries() == 0 && self.out.written == 0, "the whole file is sealed");
        let owner = Owner { database: self.identity.database, keys: keys.clone() };
        let (header, codec) = owner.new_file(FileKind::Table, self.identity.uuid)?;
        let header = FileHeader { parity: self.options.parity, ..header };
        self.out.buffer.clear();
        self.out.buffer.extend_from_slice(&header.encode());
        self.seal = header.seal;
        self.codec = codec;
        Ok(self)
    }

    /// How the file is sealed.
    pub fn seal(&self) -> Option<Seal> {
        self.seal
    }

    /// Says how keys are ordered, if not by their bytes. Before anything is added; `seed` names the order.
    #[must_use]
    pub fn with_order(self, order: &KeyOrder) -> TableWriter {
        debug_assert!(self.entries() == 0, "the order is one of all keys");
        TableWriter { order: order.clone(), ..self }
    }

    /// Has the table filter the prefixes of its keys as well, if it filters keys. Before anything is added.
    #[must_use]
    pub fn with_prefixes(mut self, extractor: &Arc<dyn PrefixExtractor>) -> TableWriter {
        debug_assert!(self.entries() == 0, "the filter is one of all keys");
        let prefixes = || OrderedPrefixes::new(Arc::clone(extractor));
        self.prefixes = self.options.filter.map(|options| (prefixes(), FilterBuilder::new(options)));
        self.properties.seed.extractor = extractor.name().into();
        self
    }

    /// Compresses values against a dictionary, whose file has this handle. For before the first is added; without
    /// effect on a table whose compression is not Zstandard's, and for want of memory.
    #[must_use]
    pub fn with_dictionary(mut self, dictionary: &Dictionary, handle: DictionaryHandle) -> TableWriter {
        debug_assert!(self.entries() == 0 && dictionary.id() == handle.id, "a table has one dictionary");
        if let Some(writing) = WritingDictionary::new(dictionary, self.options.compression) {
            self.codec.dictionary = FileDictionary::Writing(Arc::new(writing));
            self.properties.dictionary = Some(handle);
        }
        self
    }

    /// Adds a version, which comes behind all that were added: by key, and within a key newest first.
    ///
    /// # Errors
    ///
    /// The backend's; `Corruption` if it is to be a pointer, and none can be so.
    ///
    /// # Panics
    ///
    /// If the order is broken, or key or value exceed their greatest length: a bug of the caller.
    pub fn add(&mut self, key: &[u8], seqno: Seqno, kind: ValueKind, value: &[u8]) -> Result<()> {
        self.add_with(key, seqno, kind, value, None)
    }

    /// As [`TableWriter::add`], with the checksum that came with the version: it is written as it is, if entries have
    /// checksums; for one that came without it is computed.
    ///
    /// # Errors
    ///
    /// As [`TableWriter::add`].
    ///
    /// # Panics
    ///
    /// As [`TableWriter::add`].
    pub fn add_with(
        &mut self,
        key: &[u8],
        seqno: Seqno,
        kind: ValueKind,
        value: &[u8],
        checksum: Option<EntryChecksum>,
    ) -> Result<()> {
        let computed = || EntryChecksum::of(kind, key, value);
        let checksum = self.options.entry_checksums.then(|| checksum.unwrap_or_else(computed));
        assert!(key.len() <= MAX_KEY_BYTES && value.len() <= MAX_VALUE_BYTES, "keys and values are bounded");
        let is_first = self.entries() == 0;
        let last = InternalKey { key: &self.properties.last_key, seqno: self.last_added };
        let is_in_order = is_first || self.order.is_before(last, InternalKey { key, seqno });
        assert!(is_in_order, "entries of a table come in strict order");
        let is_new_key = is_first || last.key != key;
        let block_bytes = self.options.block_bytes;
        if !self.block.add(key, seqno, kind, value, checksum, block_bytes) {
            self.finish_block(Some(key))?;
            let is_added = self.block.add(key, seqno, kind, value, checksum, block_bytes);
            debug_assert!(is_added, "an empty block takes any entry");
        }
        if let Some(filter) = &mut self.filter
            && (is_new_key || filter.is_at_start())
        {
            filter.add(KeyHash::of(key));
        }
        if is_new_key {
            if let Some((prefixes, filter)) = &mut self.prefixes {
                prefixes.of_next(&self.properties.last_key, key, |prefix| filter.add(KeyHash::of(prefix)));
            }
            if is_first {
                self.properties.first_key.extend_from_slice(key);
            }
            self.properties.last_key.clear();
            self.properties.last_key.extend_from_slice(key);
        }
        self.last_added = seqno;
        if kind.is_separated() {
            let counted = self.blobs.count(kind, value);
            let here = || Bound::Included(Vec::from(key));
            counted.map_err(|why| Error::new(ErrorKind::Corruption, why.0).over_keys((here(), here())))?;
        }
        self.count(key, seqno, kind, value);
        Ok(())
    }

    /// Leaves the building of filters for so many keys to [`TableWriter::finish`], which another thread may call: eight
    /// bytes are held of each. The table is the same.
    #[must_use]
    pub fn with_late_filters(self, keys: usize) -> TableWriter {
        TableWriter { filter: self.filter.map(|filter| filter.building_late(keys)), ..self }
    }

    /// Versions added so far.
    pub fn entries(&self) -> u64 {
        self.properties.counts.total()
    }

    /// The key added last, if there is one.
    pub(super) fn last_key(&self) -> Option<&[u8]> {
        (self.entries() > 0).then_some(&self.properties.last_key)
    }

    /// About the size of the file if it were finished now, without properties.
    pub fn estimated_bytes(&self) -> u64 {
        let filter = self.filter.as_ref().map_or(0, PartitionsBuilder::estimated_bytes);
        let prefixes = self.prefixes.as_ref().map_or(0, |(_, filter)| filter.estimated_bytes());
        let filters = filter + prefixes;
        self.out.position() + self.block.raw_bytes() as u64 + self.index.estimated_bytes() + filters
    }

    /// The name of the file, relative to the root.
    pub fn file_name(&self) -> &str {
        &self.out.name
    }

    /// Writes what is left and makes the file durable. Its entry in the directory is the caller's to sync.
    ///
    /// # Errors
    ///
    /// The backend's; `InvalidArgument` if keys are so long and blocks so many that no index holds them.
    ///
    /// # Panics
    ///
    /// If nothing was added: a table holds an entry.
    pub fn finish(mut self) -> Result<TableMeta> {
        assert!(self.entries() > 0, "a table holds an entry");
        self.finish_block(None)?;
        self.properties.data_blocks = self.index.len() as u64;
        if self.index.estimated_bytes() > u64::from(u32::MAX) {
            return Err(Error::new(ErrorKind::InvalidArgument, "the index of a table is at most 4 GiB")
                .in_file(self.out.name));
        }
        let index = self.finish_index()?;
        self.properties.ranges = self.append_ranges()?;
        let properties = self.properties.encode();
        let mirror_at = self.out.position();
        self.append_block(BlockKind::Index, &index)?;
        self.append_block(BlockKind::Properties, &properties)?;
        let content = statistics::encode(&self.statistics);
        let statistics = self.append_block(BlockKind::Statistics, &content)?;
        let prefix_filter = match self.prefixes.take() {
            Some((_, filter)) => Some(self.append_block(BlockKind::Filter, &filter.finish())?),
            None => None,
        };
        let filter = match self.filter.take() {
            Some(filter) => Some(self.append_filter(&filter.finish())?),
            None => None,
        };
        let index = self.append_block(BlockKind::Index, &index)?;
        let properties = self.append_block(BlockKind::Properties, &properties)?;
        let footer = Footer {
            table_bytes: self.out.position() + FOOTER_BYTES as u64,
            index,
            filter,
            properties,
            mirror_at,
            statistics,
            entries: self.entries(),
            tombstones: self.properties.counts.tombstones(),
            data_blocks: self.properties.data_blocks,
            prefix_filter,
        };
        self.out.buffer.extend_from_slice(&footer.encode(self.codec.salt));
        let digest = self.out.finish()?;
        Ok(TableMeta {
            id: self.identity.id,
            uuid: self.identity.uuid,
            bytes: footer.table_bytes,
            digest,
            entries: footer.entries,
            tombstones: footer.tombstones,
            first_key: self.properties.first_key,
            last_key: self.properties.last_key,
            first_seqno: self.properties.first_seqno,
            last_seqno: self.properties.last_seqno,
            created_at: self.properties.seed.created_at,
            index,
            filter,
            properties,
            mirror_at,
            statistics,
            prefix_filter: prefix_filter
                .map(|block| PrefixFilter { block, extractor: self.properties.seed.extractor }),
            dictionary: self.properties.dictionary,
            ranges: self.properties.ranges,
            expiry: self.properties.expiry,
            number: None,
            blobs: self.blobs.finish(),
            place: self.identity.place,
            seal: self.seal,
            parity: self.options.parity,
        })
    }

    /// The content of the index block, once all data blocks are there. Appends the partitions of a long one.
    fn finish_index(&mut self) -> Result<Vec<u8>> {
        let index = mem::replace(&mut self.index, IndexBuilder::new(0));
        let partition_bytes = self.options.partition_bytes;
        if index.estimated_bytes() <= (INDEX_PARTS * partition_bytes) as u64 {
            return Ok(index.finish());
        }
        let mut top = IndexBuilder::new(self.out.position());
        let mut data_blocks = Vec::new();
        for part in index.parts(partition_bytes) {
            data_blocks.push(u32::try_from(part.end).expect("an index is at most 4 GiB"));
            let separator = index.separator(part.end - 1);
            let block = self.append_block(BlockKind::Index, &index.finish_part(part))?;
            top.add(separator, block.end());
        }
        Ok(top.finish_top(&data_blocks))
    }

    /// The range tombstones among the entries, once more, for who reads other keys.
    fn append_ranges(&mut self) -> Result<Option<RangeBlock>> {
        let Some(newest) = self.ranges.iter().map(|tombstone| tombstone.seqno).max() else { return Ok(None) };
        let content = RangeTombstones::encode(&mem::take(&mut self.ranges));
        let block = self.append_block(BlockKind::RangeTombstones, &content)?;
        Ok(Some(RangeBlock { block, newest }))
    }

    /// The partitions of the filter, then their directory.
    fn append_filter(&mut self, partitions: &[BuiltPartition]) -> Result<BlockHandle> {
        let mut directory = IndexBuilder::new(self.out.position());
        for partition in partitions {
            let block = self.append_block(BlockKind::Filter, &partition.content)?;
            directory.add(partition.separator(), block.end());
        }
        self.append_block(BlockKind::Index, &directory.finish())
    }

    /// Frames the entries collected; `next` is the user key behind them.
    fn finish_block(&mut self, next: Option<&[u8]>) -> Result<()> {
        debug_assert!(!self.block.is_empty(), "a block is cut behind an entry");
        let offset = self.out.position();
        self.block.finish(&mut self.out.buffer, &self.codec, offset, self.options.compression);
        let last = InternalKey { key: &self.properties.last_key, seqno: self.last_added };
        let shortest;
        let separator = match next {
            Some(next) if next == last.key => last,
            Some(_) if !self.order.is_bytewise() => InternalKey::last_of(last.key),
            Some(next) => {
                shortest = shortest_separator(last.key, next);
                InternalKey::last_of(&shortest)
            }
            None => InternalKey::last_of(last.key),
        };
        self.index.add(separator, self.out.position());
        self.statistics.push(mem::replace(&mut self.counted, BlockStatistics::NONE));
        if let Some(filter) = &mut self.filter {
            filter.end_block(separator, next.is_none());
        }
        self.out.flush_if_full()
    }

    fn append_block(&mut self, kind: BlockKind, content: &[u8]) -> Result<BlockHandle> {
        let offset = self.out.position();
        let section = Section { raw: content, compression: Compression::None };
        encode_block(&mut self.out.buffer, kind, &self.codec, offset, &[section]);
        let bytes = self.out.position() - offset;
        self.out.flush_if_full()?;
        Ok(BlockHandle { offset, bytes })
    }

    fn count(&mut self, key: &[u8], seqno: Seqno, kind: ValueKind, value: &[u8]) {
        self.counted.count(seqno, kind.is_tombstone());
        let properties = &mut self.properties;
        properties.counts.add(kind);
        properties.first_seqno = properties.first_seqno.min(seqno);
        properties.last_seqno = properties.last_seqno.max(seqno);
        properties.key_bytes += key.len() as u64;
        properties.value_bytes += value.len() as u64;
        if properties.expiry.is_some() || kind.expires() {
            let (bounds, is_first) = (properties.expiry, properties.counts.total() == 1);
            let expires_at = expiry::of_version(kind, value).unwrap_or_default();
            properties.expiry = ExpiryBounds::with(bounds, is_first, expires_at);
        }
        if kind == ValueKind::DeleteRange {
            self.ranges.push(RangeTombstone::of_version(key, seqno, value));
        }
    }
}

/// The file, written from front to back.
struct Output {
    file: Arc<dyn File>,
    name: String,
    /// Bytes that are not written yet.
    buffer: Vec<u8>,
    /// Bytes that are.
    written: u64,
    /// Of the bytes written.
    digest: XxHash3_64,
    parity: ParityWriter,
}

impl Output {
    /// Where the next byte goes.
    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.file.write_at(self.written, &self.buffer);
        written.map_err(|error| Error::io(error, "write", self.name.as_str()).at(self.written))?;
        self.digest.write(&self.buffer);
        self.parity.write(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Adds the parity of everything, makes it durable, and returns the digest of what is not parity.
    fn finish(mut self) -> Result<u64> {
        self.flush()?;
        let parity = self.parity.finish();
        if !parity.is_empty() {
            let written = self.file.write_at(self.written, &parity);
            written.map_err(|error| Error::io(error, "write", self.name.as_str()).at(self.written))?;
        }
        let synced = self.file.sync(SyncMode::Durable, SyncSite("table.finish"));
        synced.map_err(|error| Error::io(error, "sync", self.name.as_str()))?;
        Ok(self.digest.finish())
    }
}
