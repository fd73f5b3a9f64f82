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

mod blocks;
mod parts;

pub use blocks::{Blocks, Entries, TableEntry};
pub use parts::{BlockContent, Content, Frame, Layout};

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
        BLOCK_HEADER_BYTES, BlockKind, Corruption, FileHeader, FileKind, HEADER_BYTES, HeaderError,
        frame_bytes,
    },
    env::{Fs, IoErrorKind, OpenMode},
    error::{Error, ErrorKind, Result},
    types::Uuid,
};
use alloc::{sync::Arc, vec::Vec};

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
