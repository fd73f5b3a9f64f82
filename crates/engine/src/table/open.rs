//! Opening a table: header, then index, properties, footer and the directory of the filter in one read. Where a part
//! of those is damaged and the manifest or the mirror says the same, the table is open all the same; [`Table::verify`]
//! tells of it.
//!
//! [`Table::open`] trusts neither the manifest nor the file alone: where they differ it is corruption.
//! [`Table::read_meta`] is for tools that have no manifest.

use super::{
    BlockHandle, PrefixFilter, Properties, Table, TableMeta, file_name,
    footer::{FOOTER_BYTES, Footer},
    index::Index,
    meta::Mirror,
    reader::DataCache,
    statistics::Statistics,
};
use crate::{
    codec::{
        BlockKind, Corrector, Corruption, FORMAT_VERSION, FileCodec, FileDictionary, FileHeader, FileKind,
        HEADER_BYTES, HeaderError, Keyring, Owner, Parity, ParityTail, Rescue, Salt, Seal, decode_block,
    },
    env::{File, Fs, IoErrorKind, OpenMode},
    error::{Error, ErrorKind, Result},
    order::KeyOrder,
    place::PlaceId,
    range_tombstone::RangeTombstones,
    types::{TableId, Uuid},
};
use alloc::{borrow::Cow, format, string::String, sync::Arc, vec, vec::Vec};
use core::hash::Hasher;
use twox_hash::XxHash3_64;

/// Bytes that are read at once where a file is read from front to back.
const CHUNK_BYTES: usize = 256 * 1024;

impl Table {
    /// Opens the table that the manifest describes, of keys in the order of their bytes. Its index and filter stay in memory and take part in the
    /// capacity of `cache`.
    ///
    /// # Errors
    ///
    /// `MixedStore` if the file is another database's; `Corruption` if it is damaged or is not what `meta`
    /// says; `UnsupportedFormat`, `UnsupportedFeature`; the backend's. All name the keys of the whole table.
    pub fn open(
        fs: &Arc<dyn Fs>,
        meta: Arc<TableMeta>,
        owner: impl Into<Owner>,
        cache: &Arc<DataCache>,
    ) -> Result<Arc<Table>> {
        Table::open_with(fs, meta, owner, cache, (FileDictionary::None, &KeyOrder::BYTES), Rescue::default())
    }

    /// As [`Table::open`], of a table that names a dictionary, or has its keys in another order. `rescue` is what helps
    /// where it is damaged.
    ///
    /// # Errors
    ///
    /// As [`Table::open`].
    pub fn open_with(
        fs: &Arc<dyn Fs>,
        meta: Arc<TableMeta>,
        owner: impl Into<Owner>,
        cache: &Arc<DataCache>,
        (dictionary, order): (FileDictionary, &KeyOrder),
        rescue: Rescue,
    ) -> Result<Arc<Table>> {
        let keys = || meta.key_bounds(order);
        let mut opened =
            open_checked(fs, &meta, &owner.into(), order, rescue).map_err(|error| error.over_keys(keys()))?;
        opened.file.codec.dictionary = dictionary;
        Ok(Arc::new(Table::assemble(opened, meta, cache)))
    }

    /// Reads what the manifest would say of a table out of the table itself, the digest included: it reads
    /// the whole file, but no data block is checked, nor the order of the first and the last key.
    ///
    /// # Errors
    ///
    /// As [`Table::open`].
    pub fn read_meta(fs: &Arc<dyn Fs>, id: TableId, owner: impl Into<Owner>) -> Result<TableMeta> {
        let name = file_name(id);
        let file = OpenFile::open(fs, name, &owner.into(), None)?;
        file.meta(id, file.digest()?)
    }

    /// Opens a table by what it says of itself, which nothing else confirms.
    ///
    /// # Errors
    ///
    /// As [`Table::open_with`].
    pub(super) fn open_alone(file: OpenFile, order: &KeyOrder, cache: &Arc<DataCache>) -> Result<Table> {
        const UNKNOWN_DIGEST: u64 = 0;
        let meta = file.meta(TableId(0), UNKNOWN_DIGEST)?;
        let opened = open_parts(file, &meta, order)?;
        Ok(Table::assemble(opened, Arc::new(meta), cache))
    }
}

impl OpenFile {
    /// What the manifest would say of the table, whose digest this is.
    pub(super) fn meta(&self, id: TableId, digest: u64) -> Result<TableMeta> {
        let footer = self.read_footer()?;
        let mirror = Mirror::of(footer.mirror_at, footer.index, footer.properties);
        let properties = self
            .properties_at(footer.properties)
            .or_else(|error| self.properties_at(mirror.properties).map_err(|_| error))?;
        let meta = TableMeta {
            id,
            uuid: self.uuid,
            bytes: footer.table_bytes,
            digest,
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
            mirror_at: footer.mirror_at,
            statistics: footer.statistics,
            prefix_filter: footer
                .prefix_filter
                .map(|block| PrefixFilter { block, extractor: properties.seed.extractor }),
            dictionary: properties.dictionary,
            ranges: properties.ranges,
            expiry: properties.expiry,
            number: None,
            blobs: Vec::new(),
            place: PlaceId::MAIN,
            seal: self.seal,
            parity: self.parity,
        };
        meta.check().map_err(|why| self.damaged_footer(why))?;
        Ok(meta)
    }
}

/// What opening found.
pub(super) struct Opened {
    pub(super) file: OpenFile,
    pub(super) order: KeyOrder,
    /// Of the data blocks, or of the partitions of such an index.
    pub(super) index: Index,
    /// The directory of its partitions.
    pub(super) filter: Option<Index>,
}

fn open_checked(
    fs: &Arc<dyn Fs>,
    meta: &TableMeta,
    owner: &Owner,
    order: &KeyOrder,
    rescue: Rescue,
) -> Result<Opened> {
    let known = Known { parity: meta.parity, bytes: meta.bytes, rescue };
    open_parts(OpenFile::open(fs, meta.file_name(), owner, Some(known))?, meta, order)
}

fn open_parts(file: OpenFile, meta: &TableMeta, order: &KeyOrder) -> Result<Opened> {
    let at_header = |why| Error::corrupt(file.name.as_str(), 0, why);
    if file.uuid != meta.uuid {
        return Err(at_header("the file is another table than the manifest says"));
    }
    if file.seal != meta.seal {
        return Err(Error::corrupt(file.name.as_str(), 40, "the file is not sealed as the manifest says"));
    }
    if file.parity != meta.parity {
        return Err(Error::corrupt(
            file.name.as_str(),
            48,
            "the file has not the parity that the manifest says",
        ));
    }
    if file.bytes != meta.bytes {
        return Err(at_header("the table has another size than the manifest says"));
    }
    meta.check().and_then(|()| meta.check_keys(order)).map_err(|why| at_header(why.0))?;

    let tail = Tail::read(&file, meta, order);
    match tail.bytes(file.footer_at(), FOOTER_BYTES as u64).and_then(|bytes| file.decode_footer(&bytes)) {
        Ok(footer) if !footer.agrees_with(meta) => {
            return Err(file.damaged_footer(Corruption("the table's footer contradicts the manifest")));
        }
        // The manifest knows what a damaged one said.
        Ok(_) | Err(_) => {}
    }
    let index = tail
        .index(meta.index, meta.mirror_at)
        .or_else(|error| tail.index(meta.mirror().index, meta.mirror_at).map_err(|_| error))?;
    let filter = meta.filter.map(|handle| tail.index(handle, handle.offset)).transpose()?;
    Ok(Opened { file, order: order.clone(), index, filter })
}

/// The end of a file, from the directory of the filter on.
struct Tail<'a> {
    file: &'a OpenFile,
    order: &'a KeyOrder,
    offset: u64,
    /// Nothing, if it cannot be read as a whole.
    bytes: Vec<u8>,
}

impl Tail<'_> {
    fn read<'a>(file: &'a OpenFile, meta: &TableMeta, order: &'a KeyOrder) -> Tail<'a> {
        let offset =
            meta.filter.unwrap_or(meta.index).offset.min(meta.index.offset).min(meta.properties.offset);
        Tail { file, order, offset, bytes: file.read(offset, file.bytes - offset).unwrap_or_default() }
    }

    /// Bytes of the file, wherever they are.
    fn bytes(&self, offset: u64, bytes: u64) -> Result<Cow<'_, [u8]>> {
        let start = offset.checked_sub(self.offset).filter(|_| !self.bytes.is_empty());
        match start {
            Some(start) => Ok(Cow::Borrowed(&self.bytes[to_index(start)..to_index(start + bytes)])),
            None => self.file.read(offset, bytes).map(Cow::Owned),
        }
    }

    /// An index whose blocks end before byte `limit`.
    fn index(&self, handle: BlockHandle, limit: u64) -> Result<Index> {
        let frame = self.bytes(handle.offset, handle.bytes)?;
        decode_single(&frame, BlockKind::Index, &self.file.codec, handle)
            .and_then(|bytes| Index::decode(bytes, limit, Some(self.order)))
            .map_err(|why| Error::corrupt(self.file.name.as_str(), handle.offset, why))
    }
}

/// A table's file whose header was checked.
#[derive(Clone)]
pub(super) struct OpenFile {
    pub(super) file: Arc<dyn File>,
    pub(super) name: String,
    pub(super) uuid: Uuid,
    /// The database that it says it belongs to.
    pub(super) database: Uuid,
    pub(super) seal: Option<Seal>,
    pub(super) parity: Parity,
    pub(super) codec: FileCodec,
    /// Size without parity, once and for all: tables do not change.
    pub(super) bytes: u64,
}

/// Where the content of a table ends whose parity does not tell: behind its footer.
fn find_end(file: &dyn File, file_bytes: u64, header: &FileHeader) -> Option<ParityTail> {
    let possible = header.parity.possible_contents(file_bytes)?;
    let first_footer = possible.start().checked_sub(FOOTER_BYTES as u64)?;
    let mut end = vec![0; to_index(possible.end() - first_footer)];
    file.read_exact_at(first_footer, &mut end).ok()?;
    let salt = Salt::of(header.file);
    let mut footers = possible.zip(end.windows(FOOTER_BYTES));
    let (content_bytes, _) = footers.find(|(content_bytes, bytes)| {
        bytes.first_chunk().is_some_and(|bytes| Footer::decode(bytes, salt, *content_bytes).is_ok())
    })?;
    Some(ParityTail { content_bytes, parity: header.parity })
}

/// What a manifest says of the parity of a file.
struct Known {
    parity: Parity,
    /// Size without parity.
    bytes: u64,
    rescue: Rescue,
}

impl OpenFile {
    /// Opens the file of a table of this database.
    fn open(fs: &Arc<dyn Fs>, name: String, owner: &Owner, known: Option<Known>) -> Result<OpenFile> {
        let opened = fs.open(&name, OpenMode::Read);
        let file = opened.map_err(|error| match error.kind() {
            IoErrorKind::NotFound => Error::corrupt(name.as_str(), 0, "the file is missing"),
            _ => Error::io(error, "open", name.as_str()),
        })?;
        let file = OpenFile::of_known(file, name, &owner.keys, known)?;
        if file.database != owner.database {
            return Err(
                Error::new(ErrorKind::MixedStore, "the table belongs to another database").in_file(file.name)
            );
        }
        Ok(file)
    }

    /// Checks size and header of a file that no manifest tells of.
    pub(super) fn of(file: Arc<dyn File>, name: String, keys: &Keyring) -> Result<OpenFile> {
        OpenFile::of_known(file, name, keys, None)
    }

    /// Checks size and header of a file.
    fn of_known(file: Arc<dyn File>, name: String, keys: &Keyring, known: Option<Known>) -> Result<OpenFile> {
        let file_bytes = file.size_bytes().map_err(|error| Error::io(error, "measure", name.as_str()))?;
        if file_bytes < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(Error::corrupt(name, 0, "the file is too short for a table"));
        }
        let mut start = [0; HEADER_BYTES];
        let read =
            file.read_exact_at(0, &mut start).map_err(|error| Error::io(error, "read", name.as_str()).at(0));
        let decoded = read.and_then(|()| FileHeader::decode(&start).map_err(|why| header_error(why, &name)));
        let Known { parity, bytes, rescue } = match (known, &decoded) {
            (Some(known), _) => known,
            (None, Ok(FileHeader { parity: Parity::None, .. })) => {
                Known { parity: Parity::None, bytes: file_bytes, rescue: Rescue::default() }
            }
            (None, _) => {
                let tail = ParityTail::read(&*file, file_bytes);
                let tail = tail.or_else(|why| match &decoded {
                    // What is known to end with parity, and does not, was cut, or that end is damaged.
                    Ok(header) => find_end(&*file, file_bytes, header)
                        .ok_or_else(|| Error::corrupt(name.as_str(), file_bytes, why)),
                    Err(error) => Err(error.clone()),
                })?;
                Known { parity: tail.parity, bytes: tail.content_bytes, rescue: Rescue::default() }
            }
        };
        let is_whole = match parity {
            Parity::Unknown { .. } => bytes <= file_bytes,
            known => bytes.saturating_add(known.trailer_bytes(bytes)) == file_bytes,
        };
        if !is_whole || bytes < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(Error::corrupt(name, 0, "the table has another size than the manifest says"));
        }
        let corrector = Corrector::new(&file, parity, bytes, rescue);
        let header = decoded.or_else(|error| {
            let corrected = corrector.as_ref().and_then(|corrector| corrector.header());
            corrected.ok_or(error)
        })?;
        if header.kind != FileKind::Table {
            return Err(Error::corrupt(name, 0, "the file is no table"));
        }
        let codec = keys.codec(&header).map_err(|error| error.in_file(name.as_str()))?;
        let codec = FileCodec { corrector, ..codec };
        let FileHeader { file: uuid, database, seal, parity, .. } = header;
        Ok(OpenFile { file, name, uuid, database, seal, parity, codec, bytes })
    }

    /// Reads bytes that lie inside the file.
    pub(super) fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        debug_assert!(offset.checked_add(bytes).is_some_and(|end| end <= self.bytes));
        let mut read = vec![0; to_index(bytes)];
        match (self.file.read_exact_at(offset, &mut read), &self.codec.corrector) {
            (Ok(()), _) => Ok(read),
            (Err(error), Some(corrector)) => {
                corrector.read(offset..offset + bytes, error).map_err(|error| self.read_error(error, offset))
            }
            (Err(error), None) => Err(self.read_error(error, offset)),
        }
    }

    /// What the properties block at this place says.
    pub(super) fn properties_at(&self, handle: BlockHandle) -> Result<Properties> {
        let frame = self.read(handle.offset, handle.bytes)?;
        decode_single(&frame, BlockKind::Properties, &self.codec, handle)
            .and_then(|content| Properties::decode(&content))
            .map_err(|why| Error::corrupt(self.name.as_str(), handle.offset, why))
    }

    /// The statistics at this place, of so many data blocks.
    pub(super) fn statistics_at(&self, handle: BlockHandle, data_blocks: usize) -> Result<Statistics> {
        let frame = self.read(handle.offset, handle.bytes)?;
        decode_single(&frame, BlockKind::Statistics, &self.codec, handle)
            .and_then(|content| Statistics::decode(&content, data_blocks))
            .map_err(|why| Error::corrupt(self.name.as_str(), handle.offset, why))
    }

    /// The range tombstones in the block at this place.
    pub(super) fn ranges_at(&self, handle: BlockHandle, order: &KeyOrder) -> Result<RangeTombstones> {
        let frame = self.read(handle.offset, handle.bytes)?;
        decode_single(&frame, BlockKind::RangeTombstones, &self.codec, handle)
            .and_then(|content| RangeTombstones::decode(&content, order))
            .map_err(|why| Error::corrupt(self.name.as_str(), handle.offset, why))
    }

    pub(super) fn read_footer(&self) -> Result<Footer> {
        self.decode_footer(&self.read(self.footer_at(), FOOTER_BYTES as u64)?)
    }

    /// The footer out of the file's last bytes.
    fn decode_footer(&self, tail: &[u8]) -> Result<Footer> {
        let decode = |tail: &[u8]| {
            let bytes = tail.last_chunk().expect("a file shorter than a footer was refused");
            Footer::decode(bytes, self.codec.salt, self.bytes)
        };
        self.codec.retry(tail, self.footer_at(), decode).map_err(|why| self.damaged_footer(why))
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
