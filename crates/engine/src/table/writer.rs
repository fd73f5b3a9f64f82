//! Writing a table: entries in order become data blocks, then filter, index, properties and footer.
//!
//! Reads top-down: [`TableWriter::add`] and [`TableWriter::finish`] are the whole story. The file is written
//! from front to back. The writer never removes it: whoever drops a writer half-way removes the file.

use super::{
    BlockHandle, PropertySeed, TableMeta,
    block::BlockBuilder,
    file_name,
    filter::{FilterBuilder, FilterKind, FilterOptions, KeyHash},
    footer::{FOOTER_BYTES, Footer},
    index::IndexBuilder,
    properties::{KindCounts, Properties},
};
use crate::{
    codec::{BlockKind, Compression, FileCodec, FileHeader, FileKind, Section, encode_block},
    env::{CreateOptions, File, Fs, SyncMode, SyncSite, WriteOrigin},
    error::{Error, ErrorKind, Result},
    key::{InternalKey, MAX_KEY_BYTES, MAX_VALUE_BYTES, ValueKind, shortest_separator},
    types::{Seqno, TableId, Uuid},
};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::{hash::Hasher, mem, ops::RangeInclusive};
use twox_hash::XxHash3_64;

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

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
}

impl TableOptions {
    /// What [`TableOptions::block_bytes`] may be.
    pub const BLOCK_BYTES: RangeInclusive<usize> = 4 * 1024..=1024 * 1024;

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
        if let Some(filter) = self.filter {
            filter.validate()?;
        }
        if !self.compression.is_available() {
            let message = format!("compression {} is not compiled in", self.compression);
            return Err(Error::new(ErrorKind::UnsupportedFeature, message));
        }
        Ok(())
    }
}

/// Blocks of 16 KiB, LZ4 if compiled in, a Bloom filter of ten bits a key.
impl Default for TableOptions {
    fn default() -> TableOptions {
        let compression = if Compression::Lz4.is_available() { Compression::Lz4 } else { Compression::None };
        let filter = FilterOptions { kind: FilterKind::Bloom, bits_per_key: 10.0 };
        TableOptions { block_bytes: 16 * 1024, compression, filter: Some(filter) }
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
}

/// A table being written.
///
/// After an error only dropping it makes sense; the file is then half-made, and the caller's to remove.
pub struct TableWriter {
    id: TableId,
    uuid: Uuid,
    codec: FileCodec,
    options: TableOptions,
    out: Output,
    block: BlockBuilder,
    index: IndexBuilder,
    filter: Option<FilterBuilder>,
    /// Number of the version added last; its key is the last of the properties.
    last_added: Seqno,
    properties: Properties,
}

impl TableWriter {
    /// Creates the file `tables/<id>.table` and starts a table in it.
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
        options.validate()?;
        let name = file_name(identity.id);
        let created = fs.create(&name, &CreateOptions::new(origin));
        let file = created.map_err(|error| Error::io(error, "create", name.as_str()))?;
        let header = FileHeader { kind: FileKind::Table, file: identity.uuid, database: identity.database };
        let mut out = Output { file, name, buffer: Vec::new(), written: 0, digest: XxHash3_64::new() };
        out.buffer.extend_from_slice(&header.encode());
        Ok(TableWriter {
            id: identity.id,
            uuid: identity.uuid,
            codec: header.codec(),
            options,
            out,
            block: BlockBuilder::default(),
            index: IndexBuilder::default(),
            filter: options.filter.map(FilterBuilder::new),
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
            },
        })
    }

    /// Adds a version, which comes behind all that were added: by key, and within a key newest first.
    ///
    /// # Errors
    ///
    /// The backend's.
    ///
    /// # Panics
    ///
    /// If the order is broken, or key or value exceed their greatest length: a bug of the caller.
    pub fn add(&mut self, key: &[u8], seqno: Seqno, kind: ValueKind, value: &[u8]) -> Result<()> {
        assert!(key.len() <= MAX_KEY_BYTES && value.len() <= MAX_VALUE_BYTES, "keys and values are bounded");
        let is_first = self.entries() == 0;
        let last = InternalKey { key: &self.properties.last_key, seqno: self.last_added };
        assert!(is_first || last < InternalKey { key, seqno }, "entries of a table come in strict order");
        let is_new_key = is_first || last.key != key;
        let block_bytes = self.options.block_bytes;
        if !self.block.add(key, seqno, kind, value, block_bytes) {
            self.finish_block(Some(key))?;
            let is_added = self.block.add(key, seqno, kind, value, block_bytes);
            debug_assert!(is_added, "an empty block takes any entry");
        }
        if is_new_key {
            if let Some(filter) = &mut self.filter {
                filter.add(KeyHash::of(key));
            }
            if is_first {
                self.properties.first_key.extend_from_slice(key);
            }
            self.properties.last_key.clear();
            self.properties.last_key.extend_from_slice(key);
        }
        self.last_added = seqno;
        self.count(key, seqno, kind, value);
        Ok(())
    }

    /// Versions added so far.
    pub fn entries(&self) -> u64 {
        self.properties.counts.total()
    }

    /// About the size of the file if it were finished now, without properties.
    pub fn estimated_bytes(&self) -> u64 {
        let filter = self.filter.as_ref().map_or(0, FilterBuilder::estimated_bytes);
        self.out.position() + self.block.raw_bytes() as u64 + self.index.estimated_bytes() + filter
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
        let filter = match self.filter.take() {
            Some(filter) => Some(self.append_block(BlockKind::Filter, &filter.finish())?),
            None => None,
        };
        if self.index.estimated_bytes() > u64::from(u32::MAX) {
            return Err(Error::new(ErrorKind::InvalidArgument, "the index of a table is at most 4 GiB")
                .in_file(self.out.name));
        }
        let content = mem::take(&mut self.index).finish();
        let index = self.append_block(BlockKind::Index, &content)?;
        let content = self.properties.encode();
        let properties = self.append_block(BlockKind::Properties, &content)?;
        let footer = Footer {
            table_bytes: self.out.position() + FOOTER_BYTES as u64,
            index,
            filter,
            properties,
            entries: self.entries(),
            tombstones: self.properties.counts.tombstones(),
            data_blocks: self.properties.data_blocks,
        };
        self.out.buffer.extend_from_slice(&footer.encode(self.codec.salt));
        let digest = self.out.finish()?;
        Ok(TableMeta {
            id: self.id,
            uuid: self.uuid,
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
        })
    }

    /// Frames the entries collected; `next` is the user key behind them.
    fn finish_block(&mut self, next: Option<&[u8]>) -> Result<()> {
        debug_assert!(!self.block.is_empty(), "a block is cut behind an entry");
        let offset = self.out.position();
        self.block.finish(&mut self.out.buffer, &self.codec, offset, self.options.compression);
        let last = InternalKey { key: &self.properties.last_key, seqno: self.last_added };
        let end = self.out.position();
        match next {
            Some(next) if next == last.key => self.index.add(last, end),
            Some(next) => {
                let separator = shortest_separator(last.key, next);
                self.index.add(InternalKey::last_of(&separator), end);
            }
            None => self.index.add(InternalKey::last_of(last.key), end),
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
        let properties = &mut self.properties;
        properties.counts.add(kind);
        properties.first_seqno = properties.first_seqno.min(seqno);
        properties.last_seqno = properties.last_seqno.max(seqno);
        properties.key_bytes += key.len() as u64;
        properties.value_bytes += value.len() as u64;
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
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes everything durable and returns the digest of the file.
    fn finish(&mut self) -> Result<u64> {
        self.flush()?;
        let synced = self.file.sync(SyncMode::Durable, SyncSite("table.finish"));
        synced.map_err(|error| Error::io(error, "sync", self.name.as_str()))?;
        Ok(self.digest.finish())
    }
}
