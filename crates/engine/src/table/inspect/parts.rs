//! The parts of a table by itself: where each lies, and what is in it.

use super::{Blocks, LoneTable};
use crate::{
    codec::{BlockKind, Codec, StoredSection, read_frame},
    error::Result,
    table::{
        BlockHandle, BlockStatistics, DataBlock, Finding, Region, RegionKind, filter::Filter,
        locate::read_filter_part,
    },
    types::Seqno,
};
use alloc::vec::Vec;

/// Where everything in a table lies. Keeps no keys: they are read with [`Layout::content`].
pub struct Layout<'a> {
    pub(super) table: &'a LoneTable,
    /// Unless the index is damaged.
    pub(super) blocks: Option<Blocks<'a>>,
    pub(super) regions: Vec<Region>,
    pub(super) found: Vec<Finding>,
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
            RegionKind::Filter(_) | RegionKind::PrefixFilter => BlockKind::Filter,
            RegionKind::IndexPart(_)
            | RegionKind::IndexMirror
            | RegionKind::FilterDirectory
            | RegionKind::Index => BlockKind::Index,
            RegionKind::PropertiesMirror | RegionKind::Properties => BlockKind::Properties,
            RegionKind::RangeTombstones => BlockKind::RangeTombstones,
            RegionKind::Statistics => BlockKind::Statistics,
        };
        let table = self.table;
        let frame = table.file.read(region.offset, region.bytes)?;
        let sections = read_frame(&frame, kind, &table.file.codec, region.offset)
            .map_err(|why| table.corrupt(region.offset, why))?;
        let handle = BlockHandle { offset: region.offset, bytes: region.bytes };
        let mut block = None;
        match region.kind {
            RegionKind::Data(at) => block = Some(self.block(at, &table.data_block(&frame, region.offset)?)),
            RegionKind::Filter(_) | RegionKind::PrefixFilter => {
                let content = read_filter_part(&table.file, handle)?;
                Filter::decode(&content).map_err(|why| table.corrupt(region.offset, why))?;
            }
            RegionKind::IndexPart(_)
            | RegionKind::IndexMirror
            | RegionKind::FilterDirectory
            | RegionKind::Index => drop(table.index_at(handle, table.footer.index.offset)?),
            RegionKind::PropertiesMirror | RegionKind::Properties => drop(table.file.properties_at(handle)?),
            // Of an order that is not known nothing but the frame is checked.
            RegionKind::RangeTombstones => {
                table.order().map(|order| table.file.ranges_at(handle, order)).transpose()?;
            }
            RegionKind::Statistics => {
                if let Some(blocks) = &self.blocks {
                    table.file.statistics_at(handle, blocks.len())?;
                }
            }
            RegionKind::Header | RegionKind::Footer => {}
        }
        Ok(Content { frame: Some(Frame::of(&sections)), block })
    }

    fn block(&self, at: usize, block: &DataBlock) -> BlockContent {
        BlockContent {
            statistics: BlockStatistics::of(block),
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
    pub compression: Codec,
}

impl Frame {
    fn of(sections: &[StoredSection<'_>]) -> Frame {
        let compressed = sections.iter().map(StoredSection::compression).find(|&it| it != Codec::None);
        Frame {
            sections: sections.len(),
            stored_bytes: sections.iter().map(|section| section.stored_bytes() as u64).sum(),
            raw_bytes: sections.iter().map(|section| section.raw_bytes() as u64).sum(),
            compression: compressed.unwrap_or(Codec::None),
        }
    }
}

/// What lies in a data block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockContent {
    /// What was counted in it.
    pub statistics: BlockStatistics,
    /// User key of the first.
    pub first_key: Vec<u8>,
    /// User key of the last.
    pub last_key: Vec<u8>,
    /// Its separator, unless the index is damaged.
    pub separator: Option<(Vec<u8>, Seqno)>,
}
