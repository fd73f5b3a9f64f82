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
//! let mut entries = table.blocks()?.entries((Bound::Included(b"a".to_vec()), Bound::Unbounded));
//! assert_eq!(entries.next().transpose()?.expect("one at least").value, b"red");
//! # Ok(())
//! # }
//! ```

use super::{
    BlockHandle, DataBlock, FilterKind, Finding, KeyHash, Properties, Region, RegionKind,
    filter::{self, Filter},
    footer::Footer,
    index::Index,
    layout,
    open::{OpenFile, decode_properties, decode_single},
};
use crate::{
    codec::{
        BLOCK_HEADER_BYTES, BlockKind, Compression, Corruption, FileHeader, FileKind, HEADER_BYTES,
        HeaderError, StoredSection, frame_bytes, read_frame,
    },
    env::{Fs, IoErrorKind, OpenMode},
    error::{Error, ErrorKind, KeyBounds, Result},
    key::{InternalKey, ValueKind},
    types::{Seqno, Uuid},
};
use alloc::{sync::Arc, vec::Vec};
use core::ops::Bound;

/// A table file whose header and footer are sound.
pub struct LoneTable {
    file: OpenFile,
    footer: Footer,
}

impl LoneTable {
    /// Opens a file of any name.
    ///
    /// # Errors
    ///
    /// `NotFound`; `UnsupportedFormat` of a file that is no table, or of another version; `UnsupportedFeature`;
    /// `Corruption` if header or footer are damaged or the file has not the size that it says; the backend's.
    pub fn open(fs: &Arc<dyn Fs>, name: &str) -> Result<LoneTable> {
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
        let file = OpenFile::of(file, name.into())?;
        let footer = file.read_footer()?;
        Ok(LoneTable { file, footer })
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

    /// Size of the file.
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

    /// What the table says of its content.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub fn properties(&self) -> Result<Properties> {
        let handle = self.footer.properties;
        let frame = self.file.read(handle.offset, handle.bytes)?;
        decode_properties(&frame, &self.file.codec, handle).map_err(|why| self.corrupt(handle.offset, why))
    }

    /// The filter, if the table has one.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub fn filter(&self) -> Result<Option<TableFilter>> {
        let Some(handle) = self.footer.filter else { return Ok(None) };
        let content = self.read_single(BlockKind::Filter, handle)?;
        let made = filter::keys_count(&content).and_then(|keys| {
            let bytes = content.len() as u64;
            Ok(TableFilter { filter: Filter::decode(&content)?, keys, bytes })
        });
        made.map(Some).map_err(|why| self.corrupt(handle.offset, why))
    }

    /// The data blocks, as the index has them. The index is in memory as long as they are.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption` of the index.
    pub fn blocks(&self) -> Result<Blocks<'_>> {
        let handle = self.footer.index;
        let content = self.read_single(BlockKind::Index, handle)?;
        let index =
            Index::decode(content, self.file.footer_at()).map_err(|why| self.corrupt(handle.offset, why))?;
        Ok(Blocks { table: self, index })
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
        let data = (0..).map(RegionKind::Data).zip(data);
        let filter = self.footer.filter.map(|handle| (RegionKind::Filter, handle));
        let others =
            [(RegionKind::Index, self.footer.index), (RegionKind::Properties, self.footer.properties)];
        let all = data.chain(filter).chain(others).map(|(kind, handle)| Region::of(kind, handle));
        let regions = layout::regions(self.file.bytes, all);
        found.extend(layout::reconcile(&regions, self.file.bytes));
        Ok(Layout { table: self, blocks, regions, found })
    }

    /// Data blocks that follow each other behind the header.
    fn walk(&self) -> Result<Vec<BlockHandle>> {
        let Footer { index, filter, properties, .. } = &self.footer;
        let limit = filter.unwrap_or(*index).offset.min(index.offset).min(properties.offset);
        let mut blocks = Vec::new();
        let mut offset = HEADER_BYTES as u64;
        while limit.saturating_sub(offset) >= BLOCK_HEADER_BYTES as u64 {
            let header = self.file.read(offset, BLOCK_HEADER_BYTES as u64)?;
            let header = header.first_chunk().expect("as many bytes as were asked for");
            match frame_bytes(header, BlockKind::Data, &self.file.codec) {
                Some(bytes) if bytes <= limit - offset => blocks.push(BlockHandle { offset, bytes }),
                _ => break,
            }
            offset = blocks.last().map_or(limit, |block| block.end());
        }
        Ok(blocks)
    }

    /// The content of a block of one section.
    fn read_single(&self, kind: BlockKind, handle: BlockHandle) -> Result<Vec<u8>> {
        let frame = self.file.read(handle.offset, handle.bytes)?;
        decode_single(&frame, kind, &self.file.codec, handle).map_err(|why| self.corrupt(handle.offset, why))
    }

    /// A data block out of its frame, with all of its values.
    fn data_block(&self, frame: &[u8], offset: u64) -> Result<DataBlock> {
        DataBlock::decode(frame, &self.file.codec, offset)
            .and_then(|block| block.open_values().map(|()| block))
            .map_err(|why| self.corrupt(offset, why))
    }

    fn corrupt(&self, offset: u64, why: Corruption) -> Error {
        Error::corrupt(self.name(), offset, why)
    }
}

/// The filter of a table.
pub struct TableFilter {
    filter: Filter,
    /// User keys that it says it was made of.
    pub keys: u64,
    /// Size of the content of its block, in bytes.
    pub bytes: u64,
}

impl TableFilter {
    /// How it was built.
    pub fn kind(&self) -> FilterKind {
        self.filter.kind()
    }

    /// Bits that it takes for each key.
    pub fn bits_per_key(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.keys.max(1) as f64
    }

    /// `false`: the table has no version of the key.
    pub fn may_contain(&self, key: &[u8]) -> bool {
        self.filter.may_contain(KeyHash::of(key))
    }
}

/// The data blocks of a table, each named by its place, from 0. There is one at least.
pub struct Blocks<'a> {
    table: &'a LoneTable,
    index: Index,
}

impl<'a> Blocks<'a> {
    /// Number of blocks, at least 1.
    #[allow(clippy::len_without_is_empty)] // No table is empty.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Where a block lies.
    ///
    /// # Panics
    ///
    /// If there are not so many. So do the other functions that take a place.
    pub fn handle(&self, block: usize) -> BlockHandle {
        self.index.handle(block)
    }

    /// The separator of a block: at or behind its last entry, before the first of the next.
    pub fn separator(&self, block: usize) -> (Vec<u8>, Seqno) {
        self.index.separator(block)
    }

    /// Reads a block, all of its values.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`, with the keys that may be in it.
    pub fn read(&self, block: usize) -> Result<DataBlock> {
        let BlockHandle { offset, bytes } = self.handle(block);
        let read = self.table.file.read(offset, bytes);
        read.and_then(|frame| self.table.data_block(&frame, offset))
            .map_err(|error| error.over_keys(self.index.key_bounds(block)))
    }

    /// Whether the table has a version of a key, whatever its filter says.
    ///
    /// # Errors
    ///
    /// As [`Blocks::read`].
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        let newest = InternalKey { key, seqno: Seqno::MAX };
        let Some(block) = self.index.find(newest) else { return Ok(false) };
        let block = self.read(block)?;
        let entry = block.lower_bound(newest);
        Ok(entry < block.len() && block.has_key(entry, key))
    }

    /// All versions of the keys within these bounds, in order.
    pub fn entries(self, keys: KeyBounds) -> Entries<'a> {
        let next = match &keys.0 {
            Bound::Unbounded => 0,
            Bound::Included(key) | Bound::Excluded(key) => {
                self.index.find(InternalKey { key, seqno: Seqno::MAX }).unwrap_or(self.len())
            }
        };
        let end = self.len();
        Entries { blocks: self, keys, next, end, open: None }
    }

    /// All versions in one block, in order.
    pub fn entries_of(self, block: usize) -> Entries<'a> {
        assert!(block < self.len(), "there are {} blocks", self.len());
        let keys = (Bound::Unbounded, Bound::Unbounded);
        Entries { blocks: self, keys, next: block, end: block + 1, open: None }
    }
}

/// One version of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableEntry {
    /// The data block that it lies in.
    pub block: usize,
    /// Its user key.
    pub key: Vec<u8>,
    /// Its number.
    pub seqno: Seqno,
    /// What it did.
    pub kind: ValueKind,
    /// Its stored value.
    pub value: Vec<u8>,
}

/// Versions in the order of the table; one block at a time is in memory. A block that cannot be read is an error, once,
/// with the keys that it stands for, and the next block follows.
pub struct Entries<'a> {
    blocks: Blocks<'a>,
    keys: KeyBounds,
    /// Blocks that are not read yet.
    next: usize,
    end: usize,
    open: Option<OpenBlock>,
}

/// A block, its place, and the entry that comes next.
struct OpenBlock {
    block: DataBlock,
    place: usize,
    entry: usize,
}

impl OpenBlock {
    fn next(&mut self) -> Option<Result<TableEntry, Corruption>> {
        let (block, entry) = (&self.block, self.entry);
        if entry == block.len() {
            return None;
        }
        self.entry += 1;
        Some(block.value(entry).map(|value| TableEntry {
            block: self.place,
            key: block.key(entry),
            seqno: block.seqno(entry),
            kind: block.kind(entry),
            value: value.into(),
        }))
    }
}

impl Entries<'_> {
    fn is_before(&self, key: &[u8]) -> bool {
        match &self.keys.0 {
            Bound::Included(low) => *key < low[..],
            Bound::Excluded(low) => *key <= low[..],
            Bound::Unbounded => false,
        }
    }

    fn is_behind(&self, key: &[u8]) -> bool {
        match &self.keys.1 {
            Bound::Included(high) => *key > high[..],
            Bound::Excluded(high) => *key >= high[..],
            Bound::Unbounded => false,
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<TableEntry>;

    fn next(&mut self) -> Option<Result<TableEntry>> {
        loop {
            let Some(open) = &mut self.open else {
                if self.next == self.end {
                    return None;
                }
                let place = self.next;
                self.next += 1;
                match self.blocks.read(place) {
                    Ok(block) => self.open = Some(OpenBlock { block, place, entry: 0 }),
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            match open.next() {
                None => self.open = None,
                Some(Err(why)) => {
                    let offset = self.blocks.handle(open.place).offset;
                    self.open = None;
                    return Some(Err(self.blocks.table.corrupt(offset, why)));
                }
                Some(Ok(entry)) if self.is_before(&entry.key) => {}
                Some(Ok(entry)) if self.is_behind(&entry.key) => {
                    (self.open, self.next) = (None, self.end);
                }
                Some(Ok(entry)) => return Some(Ok(entry)),
            }
        }
    }
}

/// Where everything in a table lies. Keeps no keys: they are read with [`Layout::content`].
pub struct Layout<'a> {
    table: &'a LoneTable,
    /// Unless the index is damaged.
    blocks: Option<Blocks<'a>>,
    regions: Vec<Region>,
    found: Vec<Finding>,
}

impl Layout<'_> {
    /// All regions, in the order of their offsets.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Bytes of all data blocks together.
    pub fn data_bytes(&self) -> u64 {
        let data = self.regions.iter().filter(|region| matches!(region.kind, RegionKind::Data(_)));
        data.map(|region| region.bytes).sum()
    }

    /// What is wrong with the whole: bytes that belong to no region or to several, a damaged index. What lies in the
    /// regions was not looked at.
    pub fn found(&self) -> &[Finding] {
        &self.found
    }

    /// Reads a region and checks every byte of it.
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption`.
    pub fn content(&self, region: &Region) -> Result<Content> {
        let kind = match region.kind {
            RegionKind::Header | RegionKind::Footer => return Ok(Content::default()), // Checked when it was opened.
            RegionKind::Data(_) => BlockKind::Data,
            RegionKind::Filter => BlockKind::Filter,
            RegionKind::Index => BlockKind::Index,
            RegionKind::Properties => BlockKind::Properties,
        };
        let table = self.table;
        let frame = table.file.read(region.offset, region.bytes)?;
        let sections = read_frame(&frame, kind, &table.file.codec, region.offset)
            .map_err(|why| table.corrupt(region.offset, why))?;
        let block = match region.kind {
            RegionKind::Data(at) => Some(self.block(at, &table.data_block(&frame, region.offset)?)),
            RegionKind::Filter => table.filter().map(|_| None)?,
            RegionKind::Index => table.blocks().map(|_| None)?,
            RegionKind::Properties => table.properties().map(|_| None)?,
            RegionKind::Header | RegionKind::Footer => None,
        };
        Ok(Content { frame: Some(Frame::of(&sections)), block })
    }

    fn block(&self, at: usize, block: &DataBlock) -> BlockContent {
        BlockContent {
            entries: block.len() as u64,
            first_key: block.key(0),
            last_key: block.key(block.len() - 1),
            separator: self.blocks.as_ref().map(|blocks| blocks.separator(at)),
        }
    }

    /// Everything that is wrong, the regions included, in the order of their offsets.
    pub fn check(&self) -> Vec<Finding> {
        let mut found = self.found.clone();
        for region in &self.regions {
            match self.content(region) {
                // A damaged index is told of already.
                Err(error) if !self.found.iter().any(|it| it.offset == region.offset) => {
                    found.push(Finding::of(&error));
                }
                _ => {}
            }
        }
        found.sort_by_key(|it| it.offset);
        found
    }
}

/// What lies in a region.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Content {
    /// Of all but header and footer.
    pub frame: Option<Frame>,
    /// Of a data block.
    pub block: Option<BlockContent>,
}

/// The frame of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Its sections: of a data block keys, then pages of values.
    pub sections: usize,
    /// Size of the sections in the file; with the frame's header and directory it is that of the region.
    pub stored_bytes: u64,
    /// Their size once decompressed.
    pub raw_bytes: u64,
    /// How those of them that are compressed are.
    pub compression: Compression,
}

impl Frame {
    fn of(sections: &[StoredSection<'_>]) -> Frame {
        let compressed = sections.iter().map(StoredSection::compression).find(|&it| it != Compression::None);
        Frame {
            sections: sections.len(),
            stored_bytes: sections.iter().map(|section| section.stored_bytes() as u64).sum(),
            raw_bytes: sections.iter().map(|section| section.raw_bytes() as u64).sum(),
            compression: compressed.unwrap_or(Compression::None),
        }
    }
}

/// What lies in a data block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockContent {
    /// Number of entries.
    pub entries: u64,
    /// User key of the first.
    pub first_key: Vec<u8>,
    /// User key of the last.
    pub last_key: Vec<u8>,
    /// Its separator, unless the index is damaged.
    pub separator: Option<(Vec<u8>, Seqno)>,
}
