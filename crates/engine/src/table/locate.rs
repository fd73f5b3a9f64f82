//! Which data block, and where it lies: by the index, whose partitions are read when they are first needed.

use super::{
    BlockHandle, Table,
    filter::Filter,
    index::Index,
    open::{OpenFile, decode_single},
    partitions::Partitions,
};
use crate::{
    codec::{BlockKind, Corruption},
    error::{Error, KeyBounds, Result},
    key::InternalKey,
    order::KeyOrder,
    types::Seqno,
};
use alloc::vec::Vec;
use core::ops::Bound;

/// The index of an open table. Its data blocks are named by their place, from 0.
pub(super) enum BlockIndex {
    /// One array of all data blocks.
    Whole(Index),
    /// Arrays of some data blocks each.
    Parted(Partitions<Index>),
}

impl BlockIndex {
    /// Number of data blocks, at least 1.
    pub(super) fn len(&self) -> usize {
        match self {
            BlockIndex::Whole(index) => index.len(),
            BlockIndex::Parted(parts) => parts.directory().data_blocks(),
        }
    }

    /// Where its partitions lie, if it has any.
    pub(super) fn part_handles(&self) -> Vec<BlockHandle> {
        match self {
            BlockIndex::Whole(_) => Vec::new(),
            BlockIndex::Parted(parts) => parts.directory().handles(),
        }
    }

    /// Size in memory, of partitions as far as they were needed.
    pub(super) fn resident_bytes(&self) -> (usize, usize) {
        match self {
            BlockIndex::Whole(index) => (index.resident_bytes(), 0),
            BlockIndex::Parted(parts) => (parts.least_bytes(), parts.loaded_bytes()),
        }
    }
}

/// Reads a partition of an index whose data blocks end before byte `limit`, and their number is known.
pub(super) fn read_index_part(
    file: &OpenFile,
    handle: BlockHandle,
    limit: u64,
    data_blocks: usize,
    order: Option<&KeyOrder>,
) -> Result<Index> {
    let frame = file.read(handle.offset, handle.bytes)?;
    let index = decode_single(&frame, BlockKind::Index, &file.codec, handle).and_then(|bytes| {
        let index = Index::decode(bytes, limit, order)?;
        let is_as_said = index.len() == data_blocks && !index.is_top();
        if is_as_said { Ok(index) } else { Err(Corruption("a partition of an index has other data blocks")) }
    });
    index.map_err(|why| Error::corrupt(file.name.as_str(), handle.offset, why))
}

/// Reads a filter, or a partition of one.
pub(super) fn read_filter_part(file: &OpenFile, handle: BlockHandle) -> Result<Vec<u8>> {
    let frame = file.read(handle.offset, handle.bytes)?;
    decode_single(&frame, BlockKind::Filter, &file.codec, handle)
        .map_err(|why| Error::corrupt(file.name.as_str(), handle.offset, why))
}

impl Table {
    /// Number of data blocks, at least 1.
    pub(super) fn blocks(&self) -> usize {
        self.index.len()
    }

    /// The first block whose separator is at or after the target; see [`Index::find`].
    ///
    /// # Errors
    ///
    /// The backend's, and `Corruption` of a partition of the index, with its keys. As of all functions here.
    #[inline]
    pub(super) fn find_block(&self, target: InternalKey<'_>) -> Result<Option<usize>> {
        match &self.index {
            BlockIndex::Whole(index) => Ok(index.find(target)),
            BlockIndex::Parted(parts) => self.find_in_parts(parts, target),
        }
    }

    fn find_in_parts(&self, parts: &Partitions<Index>, target: InternalKey<'_>) -> Result<Option<usize>> {
        let Some(part) = parts.find(target) else { return Ok(None) };
        let block = self.index_part(parts, part)?.find(target);
        Ok(block.map(|block| parts.directory().data_blocks_before(part) + block))
    }

    /// Where a data block lies.
    pub(super) fn block_handle(&self, block: usize) -> Result<BlockHandle> {
        let (index, at) = self.index_of(block)?;
        Ok(index.handle(at))
    }

    /// The separator of a block: its user key and number.
    pub(super) fn separator(&self, block: usize) -> Result<(Vec<u8>, Seqno)> {
        let (index, at) = self.index_of(block)?;
        Ok(index.separator(at))
    }

    /// User keys that may have versions in a data block; of the whole table, if its index cannot be read.
    pub(super) fn block_keys(&self, block: usize) -> KeyBounds {
        let Ok((index, at)) = self.index_of(block) else { return self.meta.key_bounds(&self.order) };
        match (index.key_bounds(at), &self.index) {
            ((Bound::Unbounded, high), BlockIndex::Parted(parts)) if block > 0 => {
                let part = parts.directory().part_of(block).0;
                (parts.directory().key_bounds(part).0, high)
            }
            ((Bound::Unbounded, high), _) => (Bound::Included(self.meta.first_key.clone()), high),
            (bounds, _) => bounds,
        }
    }

    /// Something is wrong with a data block.
    pub(super) fn damaged_block(&self, block: usize, why: Corruption) -> Error {
        match self.block_handle(block) {
            Ok(handle) => Error::corrupt(self.file_name(), handle.offset, why),
            Err(error) => error,
        }
    }

    /// Names a data block as the place of an error.
    pub(super) fn in_block(&self, block: usize, error: Error) -> Error {
        let error = error.in_file(self.file_name());
        match self.block_handle(block) {
            Ok(handle) => error.at(handle.offset),
            Err(_) => error,
        }
    }

    /// The array that has a data block, and the place of the block in it.
    fn index_of(&self, block: usize) -> Result<(&Index, usize)> {
        match &self.index {
            BlockIndex::Whole(index) => Ok((index, block)),
            BlockIndex::Parted(parts) => {
                let (part, at) = parts.directory().part_of(block);
                Ok((self.index_part(parts, part)?, at))
            }
        }
    }

    fn index_part<'a>(&self, parts: &'a Partitions<Index>, part: usize) -> Result<&'a Index> {
        match parts.get(part) {
            Some(index) => Ok(index),
            None => self.load_index_part(parts, part),
        }
    }

    #[cold]
    fn load_index_part<'a>(&self, parts: &'a Partitions<Index>, part: usize) -> Result<&'a Index> {
        let loaded = parts.get_or_load(part, |handle| {
            let directory = parts.directory();
            let data_blocks = directory.data_blocks_upto(part) - directory.data_blocks_before(part);
            let limit = directory.handle(0).offset;
            let index = read_index_part(&self.file, handle, limit, data_blocks, Some(&self.order))?;
            let bytes = index.resident_bytes();
            Ok((index, bytes))
        });
        loaded.map_err(|error| error.over_keys(self.part_keys(parts.directory(), part)))
    }

    /// A partition of the filter.
    #[inline]
    pub(super) fn filter_part<'a>(&self, parts: &'a Partitions<Filter>, part: usize) -> Result<&'a Filter> {
        match parts.get(part) {
            Some(filter) => Ok(filter),
            None => self.load_filter_part(parts, part),
        }
    }

    #[cold]
    fn load_filter_part<'a>(&self, parts: &'a Partitions<Filter>, part: usize) -> Result<&'a Filter> {
        let loaded = parts.get_or_load(part, |handle| {
            let content = read_filter_part(&self.file, handle)?;
            let filter = Filter::decode(&content)
                .map_err(|why| Error::corrupt(self.file_name(), handle.offset, why))?;
            let bytes = filter.resident_bytes();
            Ok((filter, bytes))
        });
        loaded.map_err(|error| error.over_keys(self.part_keys(parts.directory(), part)))
    }

    fn part_keys(&self, directory: &Index, part: usize) -> KeyBounds {
        match directory.key_bounds(part) {
            (Bound::Unbounded, high) => (Bound::Included(self.meta.first_key.clone()), high),
            bounds => bounds,
        }
    }
}
