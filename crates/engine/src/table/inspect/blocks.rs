//! The data blocks of a table by itself, and its entries in order.

use super::LoneTable;
use crate::{
    codec::Corruption,
    error::{Error, ErrorKind, KeyBounds, Result},
    key::{InternalKey, ValueKind},
    order::KeyOrder,
    table::{BlockHandle, DataBlock, index::Index},
    types::Seqno,
};
use alloc::vec::Vec;
use core::ops::Bound;

/// The data blocks of a table, each named by its place, from 0. There is one at least.
pub struct Blocks<'a> {
    pub(super) table: &'a LoneTable,
    pub(super) index: Index,
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

    /// Between which keys the entries of a block lie, by the index.
    pub(in crate::table) fn bounds(&self, block: usize) -> KeyBounds {
        self.index.key_bounds(block)
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

    /// Whether the table has a version of a key, whatever its filter says. In an order that is not known all blocks are
    /// looked through.
    ///
    /// # Errors
    ///
    /// As [`Blocks::read`].
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        let Some(order) = self.table.order() else {
            for block in 0..self.len() {
                let block = self.read(block)?;
                if (0..block.len()).any(|entry| block.has_key(entry, key)) {
                    return Ok(true);
                }
            }
            return Ok(false);
        };
        let newest = InternalKey { key, seqno: Seqno::MAX };
        let Some(block) = self.index.find(newest) else { return Ok(false) };
        let block = self.read(block)?;
        let entry = block.lower_bound(order, newest);
        Ok(entry < block.len() && block.has_key(entry, key))
    }

    /// All versions of the keys within these bounds, in order.
    ///
    /// # Errors
    ///
    /// `MissingComparator`: there is a bound, and the order of keys is not known.
    pub fn entries(self, keys: KeyBounds) -> Result<Entries<'a>> {
        let is_everything = matches!(keys, (Bound::Unbounded, Bound::Unbounded));
        if self.table.order().is_none() && !is_everything {
            let message =
                "the table has its keys in an order that is not known: which lie between two cannot be told";
            return Err(Error::new(ErrorKind::MissingComparator, message).in_file(self.table.name()));
        }
        let next = match &keys.0 {
            Bound::Unbounded => 0,
            Bound::Included(key) | Bound::Excluded(key) => {
                self.index.find(InternalKey { key, seqno: Seqno::MAX }).unwrap_or(self.len())
            }
        };
        let end = self.len();
        Ok(Entries { blocks: self, keys, next, end, open: None })
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
    /// Where a block begins, as the entries in it name it.
    pub(in crate::table) fn offset(&self, block: usize) -> u64 {
        self.blocks.handle(block).offset
    }

    /// Asked with bounds only if it is known.
    fn order(&self) -> &KeyOrder {
        self.blocks.table.order().unwrap_or(KeyOrder::bytes())
    }

    fn is_before(&self, key: &[u8]) -> bool {
        !self.order().is_above(key, self.keys.0.as_ref().map(Vec::as_slice))
    }

    fn is_behind(&self, key: &[u8]) -> bool {
        !self.order().is_below(key, self.keys.1.as_ref().map(Vec::as_slice))
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
