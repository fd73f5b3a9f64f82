//! The regions of a table file, and whether they take every byte of it once. Pure.

use super::{BlockHandle, Finding, footer::FOOTER_BYTES, meta::Mirror};
use crate::codec::HEADER_BYTES;
use alloc::{format, vec::Vec};
use core::fmt;

/// What lies in a part of a table file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegionKind {
    /// The file header.
    Header,
    /// A data block, by its place among them from 0.
    Data(usize),
    /// A partition of a long index, by its place among them from 0.
    IndexPart(usize),
    /// The mirror of the index block.
    IndexMirror,
    /// The mirror of the properties block.
    PropertiesMirror,
    /// The range tombstones.
    RangeTombstones,
    /// The statistics block.
    Statistics,
    /// The filter of prefixes.
    PrefixFilter,
    /// A partition of the filter, by its place among them from 0.
    Filter(usize),
    /// The directory of the filter's partitions.
    FilterDirectory,
    /// The index block.
    Index,
    /// The properties block.
    Properties,
    /// The footer.
    Footer,
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RegionKind::Header => "the file header",
            RegionKind::Data(block) => return write!(f, "data block {block}"),
            RegionKind::IndexPart(part) => return write!(f, "partition {part} of the index"),
            RegionKind::IndexMirror => "the mirror of the index block",
            RegionKind::PropertiesMirror => "the mirror of the properties block",
            RegionKind::RangeTombstones => "the range tombstones",
            RegionKind::Statistics => "the statistics block",
            RegionKind::PrefixFilter => "the filter of prefixes",
            RegionKind::Filter(part) => return write!(f, "partition {part} of the filter"),
            RegionKind::FilterDirectory => "the directory of the filter",
            RegionKind::Index => "the index block",
            RegionKind::Properties => "the properties block",
            RegionKind::Footer => "the footer",
        })
    }
}

/// A part of a table file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Region {
    /// What lies there.
    pub kind: RegionKind,
    /// Its first byte.
    pub offset: u64,
    /// Its size.
    pub bytes: u64,
}

impl Region {
    /// Of a block whose handle was checked.
    pub(super) fn of(kind: RegionKind, handle: BlockHandle) -> Region {
        Region { kind, offset: handle.offset, bytes: handle.bytes }
    }

    /// First byte behind it.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

/// Where the blocks of a table lie.
pub(super) struct Places {
    pub(super) data: Vec<BlockHandle>,
    pub(super) index_parts: Vec<BlockHandle>,
    pub(super) filter_parts: Vec<BlockHandle>,
    pub(super) filter: Option<BlockHandle>,
    pub(super) index: BlockHandle,
    pub(super) properties: BlockHandle,
    pub(super) mirror: Mirror,
    pub(super) ranges: Option<BlockHandle>,
    pub(super) statistics: BlockHandle,
    pub(super) prefix_filter: Option<BlockHandle>,
}

impl Places {
    /// All regions of their file.
    pub(super) fn regions(self, file_bytes: u64) -> Vec<Region> {
        let each = |handles: Vec<BlockHandle>, kind: fn(usize) -> RegionKind| {
            handles.into_iter().enumerate().map(move |(at, handle)| (kind(at), handle))
        };
        let single = [
            (RegionKind::IndexMirror, self.mirror.index),
            (RegionKind::PropertiesMirror, self.mirror.properties),
            (RegionKind::Statistics, self.statistics),
            (RegionKind::Index, self.index),
            (RegionKind::Properties, self.properties),
        ];
        let blocks = each(self.data, RegionKind::Data)
            .chain(each(self.index_parts, RegionKind::IndexPart))
            .chain(each(self.filter_parts, RegionKind::Filter))
            .chain(self.filter.map(|handle| (RegionKind::FilterDirectory, handle)))
            .chain(self.ranges.map(|handle| (RegionKind::RangeTombstones, handle)))
            .chain(self.prefix_filter.map(|handle| (RegionKind::PrefixFilter, handle)))
            .chain(single);
        regions(file_bytes, blocks.map(|(kind, handle)| Region::of(kind, handle)))
    }
}

/// All regions of a file of `file_bytes` bytes, which holds a header and a footer at least, in the order of their
/// offsets.
fn regions(file_bytes: u64, blocks: impl IntoIterator<Item = Region>) -> Vec<Region> {
    let footer_bytes = FOOTER_BYTES as u64;
    let header = Region { kind: RegionKind::Header, offset: 0, bytes: HEADER_BYTES as u64 };
    let footer = Region { kind: RegionKind::Footer, offset: file_bytes - footer_bytes, bytes: footer_bytes };
    let mut regions: Vec<Region> = [header, footer].into_iter().chain(blocks).collect();
    regions.sort_by_key(|region| region.offset);
    regions
}

/// Where the regions, in the order of their offsets, leave bytes of the file out or take some twice.
pub(super) fn reconcile(regions: &[Region], file_bytes: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut furthest: Option<Region> = None;
    for &region in regions {
        let end = furthest.map_or(0, |it| it.end());
        if region.offset > end {
            found.push(gap(end, region.offset));
        } else if let Some(before) = furthest.filter(|_| region.offset < end) {
            let twice = end.min(region.end()) - region.offset;
            let message =
                format!("{} begins inside {}: {twice} bytes belong to both", region.kind, before.kind);
            found.push(Finding::at(region.offset, message));
        }
        if region.end() > end {
            furthest = Some(region);
        }
    }
    let end = furthest.map_or(0, |it| it.end());
    if end < file_bytes {
        found.push(gap(end, file_bytes));
    }
    found
}

fn gap(from: u64, to: u64) -> Finding {
    Finding::at(from, format!("the bytes from {from} to {to} belong to nothing that the table names"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    const FOOTER: u64 = FOOTER_BYTES as u64;

    fn messages(blocks: &[(RegionKind, u64, u64)], file_bytes: u64) -> Vec<(u64, String)> {
        let blocks = blocks.iter().map(|&(kind, offset, bytes)| Region { kind, offset, bytes });
        let found = reconcile(&regions(file_bytes, blocks), file_bytes);
        found.into_iter().map(|it| (it.offset, it.message)).collect()
    }

    #[test]
    fn regions_that_follow_each_other_take_every_byte_in_any_order() {
        let blocks =
            [(RegionKind::Index, 100, 50), (RegionKind::Data(0), 64, 36), (RegionKind::Properties, 150, 30)];
        assert_eq!(messages(&blocks, 180 + FOOTER), []);
    }

    #[test]
    fn a_gap_is_told_with_both_ends() {
        let gap = |from, to| format!("the bytes from {from} to {to} belong to nothing that the table names");
        assert_eq!(messages(&[(RegionKind::Data(0), 72, 28)], 100 + FOOTER), [(64, gap(64, 72))]);
        assert_eq!(messages(&[(RegionKind::Data(0), 64, 28)], 100 + FOOTER), [(92, gap(92, 100))]);
    }

    #[test]
    fn an_overlap_is_told_with_both_regions() {
        let blocks =
            [(RegionKind::Data(0), 64, 40), (RegionKind::Index, 100, 20), (RegionKind::Filter(3), 102, 1)];
        let expected = [
            (100, "the index block begins inside data block 0: 4 bytes belong to both".into()),
            (102, "partition 3 of the filter begins inside data block 0: 1 bytes belong to both".into()),
        ];
        assert_eq!(messages(&blocks[..2], 120 + FOOTER), expected[..1]);
        assert_eq!(
            messages(&[blocks[0], blocks[2], (RegionKind::Index, 104, 16)], 120 + FOOTER),
            expected[1..]
        );
    }
}
