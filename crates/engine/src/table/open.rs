//! Opening a table: header, then everything behind the data blocks in one read.
//!
//! [`Table::open`] trusts neither the manifest nor the file alone: where they differ it is corruption.
//! [`Table::read_meta`] is for tools that have no manifest.

use super::{
    BlockHandle, Properties, Table, TableMeta, file_name,
    filter::Filter,
    footer::{FOOTER_BYTES, Footer},
    index::Index,
    reader::DataCache,
};
use crate::{
    codec::{
        BlockKind, Corruption, FORMAT_VERSION, FileCodec, FileHeader, FileKind, HEADER_BYTES, HeaderError,
        decode_block,
    },
    env::{File, Fs, IoErrorKind, OpenMode},
    error::{Error, ErrorKind, Result},
    types::{TableId, Uuid},
};
use alloc::{format, string::String, sync::Arc, vec, vec::Vec};
use core::hash::Hasher;
use twox_hash::XxHash3_64;

/// Bytes that are read at once where a file is read from front to back.
const CHUNK_BYTES: usize = 256 * 1024;

impl Table {
    /// Opens the table that the manifest describes. Its index and filter stay in memory and take part in the
    /// capacity of `cache`.
    ///
    /// # Errors
    ///
    /// `MixedStore` if the file is another database's; `Corruption` if it is damaged or is not what `meta`
    /// says; `UnsupportedFormat`, `UnsupportedFeature`; the backend's. All name the keys of the whole table.
    pub fn open(
        fs: &Arc<dyn Fs>,
        meta: Arc<TableMeta>,
        database: Uuid,
        cache: &Arc<DataCache>,
    ) -> Result<Arc<Table>> {
        let keys = || meta.key_bounds();
        let opened = open_checked(fs, &meta, database).map_err(|error| error.over_keys(keys()))?;
        Ok(Arc::new(Table::assemble(opened, meta, cache)))
    }

    /// Reads what the manifest would say of a table out of the table itself, the digest included: it reads
    /// the whole file, but no data block is checked.
    ///
    /// # Errors
    ///
    /// As [`Table::open`].
    pub fn read_meta(fs: &Arc<dyn Fs>, id: TableId, database: Uuid) -> Result<TableMeta> {
        let name = file_name(id);
        let file = OpenFile::open(fs, name, database)?;
        let footer = file.read_footer()?;
        let frame = file.read(footer.properties.offset, footer.properties.bytes)?;
        let properties = decode_properties(&frame, &file.codec, footer.properties)
            .map_err(|why| Error::corrupt(file.name.as_str(), footer.properties.offset, why))?;
        let meta = TableMeta {
            id,
            uuid: file.uuid,
            bytes: footer.table_bytes,
            digest: file.digest()?,
            entries: footer.entries,
            tombstones: footer.tombstones,
            first_key: properties.first_key,
            last_key: properties.last_key,
            first_seqno: properties.first_seqno,
            last_seqno: properties.last_seqno,
            created_at: properties.seed.created_at,
            index: footer.index,
            filter: footer.filter,
            properties: footer.properties,
        };
        meta.check().map_err(|why| file.damaged_footer(why))?;
        Ok(meta)
    }
}

/// What opening found.
pub(super) struct Opened {
    pub(super) file: OpenFile,
    pub(super) index: Index,
    pub(super) filter: Option<Filter>,
}

fn open_checked(fs: &Arc<dyn Fs>, meta: &TableMeta, database: Uuid) -> Result<Opened> {
    let file = OpenFile::open(fs, file_name(meta.id), database)?;
    let at_header = |why| Error::corrupt(file.name.as_str(), 0, why);
    if file.uuid != meta.uuid {
        return Err(at_header("the file is another table than the manifest says"));
    }
    if file.bytes != meta.bytes {
        return Err(at_header("the table has another size than the manifest says"));
    }
    meta.check().map_err(|why| at_header(why.0))?;

    let tail_at = meta.filter.unwrap_or(meta.index).offset.min(meta.index.offset).min(meta.properties.offset);
    let tail = file.read(tail_at, file.bytes - tail_at)?;
    let footer = file.decode_footer(&tail)?;
    if !footer.agrees_with(meta) {
        return Err(file.damaged_footer(Corruption("the table's footer contradicts the manifest")));
    }
    let content = |kind, handle: BlockHandle| {
        let frame = &tail[to_index(handle.offset - tail_at)..to_index(handle.end() - tail_at)];
        decode_single(frame, kind, &file.codec, handle)
    };
    let index = content(BlockKind::Index, meta.index)
        .and_then(|bytes| Index::decode(bytes, tail_at))
        .and_then(|index| {
            let agrees = index.len() as u64 == footer.data_blocks;
            if agrees { Ok(index) } else { Err(Corruption("index and footer count different blocks")) }
        })
        .map_err(|why| Error::corrupt(file.name.as_str(), meta.index.offset, why))?;
    let filter = match meta.filter {
        None => None,
        Some(handle) => Some(
            content(BlockKind::Filter, handle)
                .and_then(|bytes| Filter::decode(&bytes))
                .map_err(|why| Error::corrupt(file.name.as_str(), handle.offset, why))?,
        ),
    };
    Ok(Opened { file, index, filter })
}

/// A table's file whose header was checked.
pub(super) struct OpenFile {
    pub(super) file: Arc<dyn File>,
    pub(super) name: String,
    pub(super) uuid: Uuid,
    /// The database that it says it belongs to.
    pub(super) database: Uuid,
    pub(super) codec: FileCodec,
    /// Size, once and for all: tables do not change.
    pub(super) bytes: u64,
}

impl OpenFile {
    /// Opens the file of a table of this database.
    fn open(fs: &Arc<dyn Fs>, name: String, database: Uuid) -> Result<OpenFile> {
        let opened = fs.open(&name, OpenMode::Read);
        let file = opened.map_err(|error| match error.kind() {
            IoErrorKind::NotFound => Error::corrupt(name.as_str(), 0, "the file is missing"),
            _ => Error::io(error, "open", name.as_str()),
        })?;
        let file = OpenFile::of(file, name)?;
        if file.database != database {
            return Err(
                Error::new(ErrorKind::MixedStore, "the table belongs to another database").in_file(file.name)
            );
        }
        Ok(file)
    }

    /// Checks size and header of a file.
    pub(super) fn of(file: Arc<dyn File>, name: String) -> Result<OpenFile> {
        let bytes = file.size_bytes().map_err(|error| Error::io(error, "measure", name.as_str()))?;
        if bytes < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(Error::corrupt(name, 0, "the file is too short for a table"));
        }
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(0, &mut header).map_err(|error| Error::io(error, "read", name.as_str()).at(0))?;
        let header = FileHeader::decode(&header).map_err(|why| header_error(why, &name))?;
        if header.kind != FileKind::Table {
            return Err(Error::corrupt(name, 0, "the file is no table"));
        }
        let (uuid, database) = (header.file, header.database);
        Ok(OpenFile { file, name, uuid, database, codec: header.codec(), bytes })
    }

    /// Reads bytes that lie inside the file.
    pub(super) fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        debug_assert!(offset.checked_add(bytes).is_some_and(|end| end <= self.bytes));
        let mut read = vec![0; to_index(bytes)];
        self.file.read_exact_at(offset, &mut read).map_err(|error| self.read_error(error, offset))?;
        Ok(read)
    }

    pub(super) fn read_footer(&self) -> Result<Footer> {
        self.decode_footer(&self.read(self.footer_at(), FOOTER_BYTES as u64)?)
    }

    /// The footer out of the file's last bytes.
    fn decode_footer(&self, tail: &[u8]) -> Result<Footer> {
        let bytes = tail.last_chunk().expect("a file shorter than a footer was refused");
        Footer::decode(bytes, self.codec.salt, self.bytes).map_err(|why| self.damaged_footer(why))
    }

    pub(super) fn footer_at(&self) -> u64 {
        self.bytes - FOOTER_BYTES as u64
    }

    /// XXH3-64 of the whole file.
    pub(super) fn digest(&self) -> Result<u64> {
        let mut digest = XxHash3_64::new();
        let mut offset = 0;
        while offset < self.bytes {
            let bytes = (self.bytes - offset).min(CHUNK_BYTES as u64);
            digest.write(&self.read(offset, bytes)?);
            offset += bytes;
        }
        Ok(digest.finish())
    }

    fn damaged_footer(&self, why: Corruption) -> Error {
        Error::corrupt(self.name.as_str(), self.footer_at(), why)
    }

    fn read_error(&self, error: crate::env::IoError, offset: u64) -> Error {
        Error::io(error, "read", self.name.as_str()).at(offset)
    }
}

/// The one section of a block.
pub(super) fn decode_single(
    frame: &[u8],
    kind: BlockKind,
    codec: &FileCodec,
    handle: BlockHandle,
) -> core::result::Result<Vec<u8>, Corruption> {
    let mut sections = decode_block(frame, kind, codec, handle.offset)?;
    match (sections.pop(), sections.is_empty()) {
        (Some(section), true) => Ok(section),
        _ => Err(Corruption("a block of one section has several or none")),
    }
}

pub(super) fn decode_properties(
    frame: &[u8],
    codec: &FileCodec,
    handle: BlockHandle,
) -> core::result::Result<Properties, Corruption> {
    Properties::decode(&decode_single(frame, BlockKind::Properties, codec, handle)?)
}

fn header_error(why: HeaderError, name: &str) -> Error {
    match why {
        HeaderError::Foreign => Error::corrupt(name, 0, "the file does not begin with a header"),
        HeaderError::Corrupt(why) => Error::corrupt(name, 0, why),
        HeaderError::Version(version) => {
            let message =
                format!("format version {version:#06x}; this program reads {FORMAT_VERSION:#06x} only");
            Error::new(ErrorKind::UnsupportedFormat, message).in_file(name)
        }
        HeaderError::Protected => {
            let message = "the file is encrypted or protected by parity, which this build does not do";
            Error::new(ErrorKind::UnsupportedFeature, message).in_file(name)
        }
    }
}

pub(super) fn to_index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("what is read at once fits the address space")
}
