//! A table file by itself: what it says of its content, where everything in it lies, and every entry, without a
//! database, its lock or its manifest.
//!
//! For tools that look at files. [`LoneTable::open`] checks header and footer; everything else is read, and
//! checked, when it is asked for, so that of a damaged table whatever is sound can be seen. Nothing is cached and
//! nothing written. Layout of the files: `docs/format.md` §4.
//!
//! ```
//! use core::ops::Bound;
//! use isopach_engine::{env::Env, table::inspect::LoneTable};
//! # use isopach_engine::{
//! #     compaction::Views,
//! #     store::{Store, StoreOptions},
//! #     tree::{TreeOptions, WriteBatch},
//! #     types::{Seqno, UnixUs, View},
//! # };
//!
//! # fn main() -> isopach_engine::error::Result<()> {
//! # let env = Env::simulated(1);
//! # let store = Store::open(env.clone(), &StoreOptions::default())?;
//! # let number = |raw| Seqno::from_raw(raw).expect("below 2^56");
//! # let tree = store.create_tree(store.reserve_tree_id()?, "t", &TreeOptions::default(), &[], number(1))?;
//! # let mut batch = WriteBatch::new();
//! # batch.put(b"apple", b"red").put(b"plum", b"blue");
//! # tree.apply(&batch, number(2))?;
//! # tree.rotate(number(3))?;
//! # let now = View::new(number(3), UnixUs(0));
//! # tree.flush(number(3), &Views::new(&[], now), &[])?;
//! # let name = isopach_engine::table::file_name(store.tables()[0].meta.id);
//! let table = LoneTable::open(&env.fs, &name)?;
//! assert_eq!(table.properties()?.first_key, b"apple");
//! assert!(table.layout()?.check().is_empty(), "every byte belongs to a sound region");
//! assert!(table.verify()?.is_empty(), "and all of it fits together");
//! let mut entries = table.blocks()?.entries((Bound::Included(b"a".to_vec()), Bound::Unbounded))?;
//! assert_eq!(entries.next().transpose()?.expect("one at least").value, b"red");
//! # Ok(())
//! # }
//! ```

mod blocks;
mod parts;

pub use blocks::{Blocks, Entries, TableEntry};
pub use parts::{BlockContent, Content, Frame, Layout};

use super::{
    BlockHandle, BlockStatistics, DataBlock, DataCache, FilterKind, Finding, KeyHash, Properties, Table,
    TableMeta,
    filter::{self, Filter},
    footer::Footer,
    index::{Index, IndexBuilder},
    layout::{self, Places},
    locate::{read_filter_part, read_index_part},
    meta::Mirror,
    open::{OpenFile, decode_single},
};
use crate::{
    codec::{
        BLOCK_HEADER_BYTES, BlockKind, Corruption, Dictionary, FileCodec, FileDictionary, FileHeader,
        FileKind, HEADER_BYTES, HeaderError, Keyring, frame_bytes,
    },
    dictionary::{DictionaryHandle, read_file},
    env::{Fs, IoErrorKind, OpenMode},
    error::{Error, ErrorKind, Result},
    key::InternalKey,
    order::{Comparators, KeyOrder},
    types::{DictionaryId, Seqno, TableId, Uuid},
};
use alloc::{format, string::String, sync::Arc, vec::Vec};

/// A table file whose header and footer are sound.
pub struct LoneTable {
    file: OpenFile,
    keys: Keyring,
    footer: Footer,
    dictionary: LoneDictionary,
    /// Of its keys; `None` if it is none that is built in, or the properties are damaged.
    order: Option<KeyOrder>,
}

/// What is known of a table's dictionary.
enum LoneDictionary {
    /// The table names none, or its properties are damaged.
    None,
    Found(DictionaryHandle, Arc<Dictionary>),
    /// Values cannot be read, and why.
    Wanted(DictionaryHandle, Error),
}

impl LoneTable {
    /// Opens a file of any name.
    ///
    /// # Errors
    ///
    /// `NotFound`; `UnsupportedFormat` of a file that is no table, or of another version; `UnsupportedFeature`;
    /// `Corruption` if header or footer are damaged or the file has not the size that it says; the backend's.
    pub fn open(fs: &Arc<dyn Fs>, name: &str) -> Result<LoneTable> {
        LoneTable::open_with(fs, name, &Keyring::none())
    }

    /// As [`LoneTable::open`], of a file that may be encrypted.
    ///
    /// # Errors
    ///
    /// As [`LoneTable::open`]; those of [`Keyring::check`].
    pub fn open_with(fs: &Arc<dyn Fs>, name: &str, keys: &Keyring) -> Result<LoneTable> {
        let file = fs.open(name, OpenMode::Read).map_err(|error| match error.kind() {
            IoErrorKind::NotFound => Error::new(ErrorKind::NotFound, "there is no such file").in_file(name),
            _ => Error::io(error, "open", name),
        })?;
        let mut header = [0; HEADER_BYTES];
        file.read_at(0, &mut header).map_err(|error| Error::io(error, "read", name).at(0))?;
        let foreign = match FileHeader::decode(&header) {
            Err(HeaderError::Foreign) => Some("no table: it does not begin as a file of Isopach"),
            Ok(header) if header.kind != FileKind::Table => Some("no table, but another file of a database"),
            _ => None,
        };
        if let Some(why) = foreign {
            return Err(Error::new(ErrorKind::UnsupportedFormat, why).in_file(name));
        }
        let file = OpenFile::of(file, name.into(), keys)?;
        let footer = file.read_footer()?;
        let mut table =
            LoneTable { file, keys: keys.clone(), footer, dictionary: LoneDictionary::None, order: None };
        let Ok(properties) = table.properties() else { return Ok(table) };
        table.order = Comparators::new().find(&properties.seed.comparator).ok().map(KeyOrder::of);
        if let Some(handle) = properties.dictionary {
            let missing = Error::new(ErrorKind::MissingDictionary, "the dictionary was not looked for");
            table.dictionary = table.wanted(handle, missing.in_file(crate::dictionary::file_name(handle.id)));
        }
        Ok(table)
    }

    fn wanted(&self, handle: DictionaryHandle, why: Error) -> LoneDictionary {
        LoneDictionary::Wanted(handle, why.adding(&format!("; {} needs it", self.name())))
    }

    /// Looks for the dictionary, if the table names one, in the file whose name `name_of` tells. Without it everything but
    /// values can be read; what asks for these gets the error that was met here.
    #[must_use]
    pub fn with_dictionary(mut self, fs: &dyn Fs, name_of: impl FnOnce(DictionaryId) -> String) -> LoneTable {
        let Some(handle) = self.dictionary() else { return self };
        let name = name_of(handle.id);
        self.dictionary = match read_file(fs, &name, handle, &self.keys) {
            Ok((found, header)) if header.database == self.file.database => {
                LoneDictionary::Found(handle, Arc::new(found))
            }
            Ok(_) => {
                let message = "the dictionary belongs to another database";
                self.wanted(handle, Error::new(ErrorKind::MixedStore, message).in_file(name))
            }
            Err(error) => self.wanted(handle, error),
        };
        self
    }

    /// The dictionary that it names; `None` also if its properties are damaged.
    pub fn dictionary(&self) -> Option<DictionaryHandle> {
        match &self.dictionary {
            LoneDictionary::None => None,
            LoneDictionary::Found(handle, _) | LoneDictionary::Wanted(handle, _) => Some(*handle),
        }
    }

    /// The order of its keys; `None` if it is none that is built in, or its properties are damaged. Whether keys are in
    /// order is then not checked, and none is searched for by it.
    pub fn order(&self) -> Option<&KeyOrder> {
        self.order.as_ref()
    }

    /// Tells the order of its keys where that is none that is built in. The caller knows it by the name that the
    /// properties say.
    #[must_use]
    pub fn with_order(self, order: &KeyOrder) -> LoneTable {
        LoneTable { order: Some(order.clone()), ..self }
    }

    /// Checks every byte and every entry, as the check of a database does, but for what only a manifest says: the
    /// digest of the file, that it is this one, and where separated values are. What a prefix filter says of prefixes
    /// is not checked. Reads the file once, and takes the memory of its index and filter, and a block.
    ///
    /// # Errors
    ///
    /// `MissingComparator` if the order of keys is not known; `Corruption` of a table that cannot even be opened;
    /// that of a dictionary that is missing; the backend's.
    pub fn verify(&self) -> Result<Vec<Finding>> {
        const CACHE_BYTES: u64 = 1 << 20;
        let Some(order) = self.order() else {
            let message =
                "the table has its keys in an order that is not known: whether they are in it cannot be told";
            return Err(Error::new(ErrorKind::MissingComparator, message).in_file(self.name()));
        };
        let file = OpenFile { codec: self.data_codec()?, ..self.file.clone() };
        let table = Table::open_alone(file, order, &Arc::new(DataCache::new(CACHE_BYTES)))?;
        table.verify_alone()
    }

    /// The name it was opened by.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// The uuid in its header.
    pub fn uuid(&self) -> Uuid {
        self.file.uuid
    }

    /// The uuid of the database that it was written for.
    pub fn database(&self) -> Uuid {
        self.file.database
    }

    /// Size of the file, without parity.
    pub fn bytes(&self) -> u64 {
        self.file.bytes
    }

    /// XXH3-64 of the whole file, which is read for it.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub fn digest(&self) -> Result<u64> {
        self.file.digest()
    }

    /// What the table says of its content; by the mirror, if it is damaged in one place.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub fn properties(&self) -> Result<Properties> {
        let read = self.file.properties_at(self.footer.properties);
        read.or_else(|error| self.file.properties_at(self.mirror().properties).map_err(|_| error))
    }

    /// What a manifest would say of the table under this number, but for where separated values are. Reads the whole file.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub fn meta(&self, id: TableId) -> Result<TableMeta> {
        self.file.meta(id, self.digest()?)
    }

    /// The filter, if the table has one.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub fn filter(&self) -> Result<Option<TableFilter>> {
        let Some(directory) = self.filter_directory()? else { return Ok(None) };
        let (mut parts, mut keys, mut bytes) = (Vec::new(), 0, 0);
        for handle in directory.handles() {
            let content = read_filter_part(&self.file, handle)?;
            let corrupt = |why| self.corrupt(handle.offset, why);
            parts.push(Filter::decode(&content).map_err(corrupt)?);
            keys += filter::keys_count(&content).map_err(corrupt)?;
            bytes += content.len() as u64;
        }
        // Without an order nobody knows which of them has a key.
        let directory = self.order().map(|_| directory);
        Ok(Some(TableFilter { directory, parts, keys, bytes }))
    }

    /// The filter of prefixes, if the table has one. [`PropertySeed::extractor`](super::PropertySeed::extractor) says
    /// of which.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub fn prefix_filter(&self) -> Result<Option<TableFilter>> {
        let Some(handle) = self.footer.prefix_filter else { return Ok(None) };
        let content = read_filter_part(&self.file, handle)?;
        let corrupt = |why| self.corrupt(handle.offset, why);
        let parts = Vec::from([Filter::decode(&content).map_err(corrupt)?]);
        let keys = filter::keys_count(&content).map_err(corrupt)?;
        Ok(Some(TableFilter { directory: None, parts, keys, bytes: content.len() as u64 }))
    }

    fn filter_directory(&self) -> Result<Option<Index>> {
        self.footer.filter.map(|handle| self.index_at(handle, handle.offset)).transpose()
    }

    /// The data blocks, as the index has them, or its mirror, if that is damaged. The index is in memory as long as
    /// they are.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption` of the index.
    pub fn blocks(&self) -> Result<Blocks<'_>> {
        let top = self.top_index()?;
        let index = if top.is_top() { self.joined(&top)? } else { top };
        Ok(Blocks { table: self, index })
    }

    /// The index of the data blocks, or of the partitions of such.
    fn top_index(&self) -> Result<Index> {
        let limit = self.footer.mirror_at;
        self.index_at(self.footer.index, limit)
            .or_else(|error| self.index_at(self.mirror().index, limit).map_err(|_| error))
    }

    /// The partitions of an index, as if it were one.
    fn joined(&self, top: &Index) -> Result<Index> {
        let mut whole = IndexBuilder::new(HEADER_BYTES as u64);
        for (part, handle) in top.handles().into_iter().enumerate() {
            let data_blocks = top.data_blocks_upto(part) - top.data_blocks_before(part);
            let (limit, order) = (top.handle(0).offset, self.order());
            let index = read_index_part(&self.file, handle, limit, data_blocks, order)?;
            for block in 0..index.len() {
                let (key, seqno) = index.separator(block);
                whole.add(InternalKey { key: &key, seqno }, index.handle(block).end());
            }
        }
        Index::decode(whole.finish(), top.handle(0).offset, self.order())
            .map_err(|why| self.corrupt(self.footer.index.offset, why))
    }

    /// What lies in each data block, as the table says.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`, of the index too.
    pub fn statistics(&self) -> Result<Vec<BlockStatistics>> {
        let data_blocks = self.top_index()?.data_blocks();
        let statistics = self.file.statistics_at(self.footer.statistics, data_blocks)?;
        Ok((0..data_blocks).map(|block| statistics.block(block)).collect())
    }

    fn mirror(&self) -> Mirror {
        Mirror::of(self.footer.mirror_at, self.footer.index, self.footer.properties)
    }

    /// Where everything lies. Of a table whose index is damaged the data blocks are found by what each says of
    /// its own size, up to the first that does not.
    ///
    /// # Errors
    ///
    /// The backend's. Damage is in [`Layout::found`].
    pub fn layout(&self) -> Result<Layout<'_>> {
        let mut found = Vec::new();
        let (blocks, data) = match self.blocks() {
            Ok(blocks) => {
                let data = (0..blocks.len()).map(|at| blocks.handle(at)).collect();
                if blocks.len() as u64 != self.footer.data_blocks {
                    let message = "the footer counts other blocks than the index";
                    found.push(Finding::at(self.file.footer_at(), message));
                }
                (Some(blocks), data)
            }
            Err(error) if error.kind() == ErrorKind::Corruption => {
                found.push(Finding::of(&error));
                (None, self.walk()?)
            }
            Err(error) => return Err(error),
        };
        let filter_parts = match self.filter_directory() {
            Ok(directory) => directory.map_or_else(Vec::new, |directory| directory.handles()),
            Err(error) => {
                found.push(Finding::of(&error));
                Vec::new()
            }
        };
        let top = self.top_index().ok().filter(Index::is_top);
        let places = Places {
            data,
            index_parts: top.map_or_else(Vec::new, |top| top.handles()),
            filter_parts,
            filter: self.footer.filter,
            index: self.footer.index,
            properties: self.footer.properties,
            mirror: self.mirror(),
            ranges: self
                .properties()
                .ok()
                .and_then(|properties| properties.ranges)
                .map(|ranges| ranges.block),
            statistics: self.footer.statistics,
            prefix_filter: self.footer.prefix_filter,
        };
        let regions = places.regions(self.file.bytes);
        found.extend(layout::reconcile(&regions, self.file.bytes));
        Ok(Layout { table: self, blocks, regions, found })
    }

    /// Data blocks that follow each other behind the header.
    fn walk(&self) -> Result<Vec<BlockHandle>> {
        let limit = self.footer.mirror_at;
        let mut blocks = Vec::new();
        let mut offset = HEADER_BYTES as u64;
        while limit.saturating_sub(offset) >= BLOCK_HEADER_BYTES as u64 {
            let header = self.file.read(offset, BLOCK_HEADER_BYTES as u64)?;
            let header = header.first_chunk().expect("as many bytes as were asked for");
            match frame_bytes(header, BlockKind::Data) {
                Some(bytes) if bytes <= limit - offset => blocks.push(BlockHandle { offset, bytes }),
                _ => break,
            }
            offset = blocks.last().map_or(limit, |block| block.end());
        }
        Ok(blocks)
    }

    /// An index whose blocks end before byte `limit`.
    fn index_at(&self, handle: BlockHandle, limit: u64) -> Result<Index> {
        let frame = self.file.read(handle.offset, handle.bytes)?;
        decode_single(&frame, BlockKind::Index, &self.file.codec, handle)
            .and_then(|content| Index::decode(content, limit, self.order()))
            .map_err(|why| self.corrupt(handle.offset, why))
    }

    /// How data blocks are framed.
    fn data_codec(&self) -> Result<FileCodec> {
        let dictionary = match &self.dictionary {
            LoneDictionary::None => FileDictionary::None,
            LoneDictionary::Found(_, found) => FileDictionary::Reading(Arc::clone(found)),
            LoneDictionary::Wanted(_, why) => return Err(why.clone()),
        };
        Ok(FileCodec { dictionary, ..self.file.codec.clone() })
    }

    /// A data block out of its frame, with all of its values.
    fn data_block(&self, frame: &[u8], offset: u64) -> Result<DataBlock> {
        let codec = self.data_codec()?;
        DataBlock::decode(frame, &codec, offset, self.order())
            .and_then(|block| block.open_values().map(|()| block))
            .map_err(|why| self.corrupt(offset, why))
    }

    fn corrupt(&self, offset: u64, why: Corruption) -> Error {
        Error::corrupt(self.name(), offset, why)
    }
}

/// A filter of a table.
pub struct TableFilter {
    /// `None`: any part may have any key.
    directory: Option<Index>,
    /// One at least.
    parts: Vec<Filter>,
    /// User keys, or prefixes of some, that it says it was made of.
    pub keys: u64,
    /// Size of the contents of its partitions, in bytes.
    pub bytes: u64,
}

impl TableFilter {
    /// How it was built.
    pub fn kind(&self) -> FilterKind {
        self.parts[0].kind()
    }

    /// Number of its partitions, at least 1.
    pub fn partitions(&self) -> usize {
        self.parts.len()
    }

    /// Bits that it takes for each key.
    pub fn bits_per_key(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.keys.max(1) as f64
    }

    /// `false`: the table has no version of the key, or of any key with this prefix.
    pub fn may_contain(&self, key: &[u8]) -> bool {
        let hash = KeyHash::of(key);
        match &self.directory {
            None => self.parts.iter().any(|part| part.may_contain(hash)),
            Some(directory) => {
                let part = directory.find(InternalKey { key, seqno: Seqno::MAX });
                part.is_some_and(|part| self.parts[part].may_contain(hash))
            }
        }
    }
}
