//! The operations of one batch, sorted where they lie: for a batch that would fill a memtable by itself, and need
//! twice its memory in one.
//!
//! After "flushable batches" of Pebble: what is sorted are places in the batch's own bytes, 16 bytes each.

use crate::{
    error::{Error, ErrorKind, Result},
    iter::{CheckedValue, Cursor, Entry, EntryChecksum},
    key::{InternalKey, ValueKind},
    order::KeyOrder,
    range_tombstone::RangeTombstone,
    types::{Seqno, Slice},
};
use alloc::{sync::Arc, vec::Vec};
use core::mem::size_of;

/// Operations in order of key, newest first, that have no numbers yet.
pub struct SortedBatch {
    order: KeyOrder,
    bytes: Arc<Vec<u8>>,
    places: Vec<Place>,
    /// Bytes of keys and values.
    operation_bytes: u64,
    last_position: u32,
    /// Whether any operation deletes a range.
    has_ranges: bool,
    /// Whether any expires.
    may_expire: bool,
}

/// Where an operation lies: its key, and right behind that its value.
struct Place {
    key_at: u32,
    value_bytes: u32,
    /// Which operation of the batch it is, from 0: a greater one is newer.
    position: u32,
    key_bytes: u16,
    kind: ValueKind,
}

/// Operations of a batch that are to be sorted where they lie.
pub struct Sorter<'a> {
    order: KeyOrder,
    bytes: &'a Arc<Vec<u8>>,
    /// Each with its key's head.
    places: Vec<(u64, Place)>,
    operation_bytes: u64,
    last_position: u32,
}

impl<'a> Sorter<'a> {
    /// Without operations. Those of this batch lie in `bytes`, and their keys are sorted in `order`.
    pub fn new(bytes: &'a Arc<Vec<u8>>, order: &KeyOrder) -> Sorter<'a> {
        Sorter { order: order.clone(), bytes, places: Vec::new(), operation_bytes: 0, last_position: 0 }
    }

    /// Adds an operation: which of the batch it is, from 0, what it does, its key, and its value right behind that.
    /// Takes 24 bytes until all are sorted, then 16.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it does not lie so in the bytes of the batch, or beyond 4 GiB.
    pub fn add(&mut self, position: u32, kind: ValueKind, key: &[u8], value: &[u8]) -> Result<()> {
        let place = Place::find(self.bytes, key, value).ok_or_else(elsewhere)?;
        self.places.push((head_of(key), Place { position, kind, ..place }));
        self.operation_bytes += (key.len() + value.len()) as u64;
        self.last_position = self.last_position.max(position);
        Ok(())
    }

    /// Sorts them.
    pub fn sort(mut self) -> SortedBatch {
        match self.order.is_bytewise() {
            // Most keys differ in what lies at hand.
            true => self.places.sort_unstable_by(|(a_head, a), (b_head, b)| {
                let rest = || a.key(self.bytes).cmp(b.key(self.bytes)).then(b.position.cmp(&a.position));
                a_head.cmp(b_head).then_with(rest)
            }),
            false => self.places.sort_unstable_by(|(_, a), (_, b)| {
                let keys = self.order.compare(a.key(self.bytes), b.key(self.bytes));
                keys.then(b.position.cmp(&a.position))
            }),
        }
        SortedBatch {
            order: self.order,
            bytes: Arc::clone(self.bytes),
            has_ranges: self.places.iter().any(|(_, place)| place.kind == ValueKind::DeleteRange),
            may_expire: self.places.iter().any(|(_, place)| place.kind.expires()),
            places: self.places.into_iter().map(|(_, place)| place).collect(),
            operation_bytes: self.operation_bytes,
            last_position: self.last_position,
        }
    }
}

impl SortedBatch {
    /// Number of operations.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Of its keys.
    pub(crate) fn order(&self) -> &KeyOrder {
        &self.order
    }

    /// Whether any operation expires.
    pub(crate) fn may_expire(&self) -> bool {
        self.may_expire
    }

    /// Greatest position of an operation.
    pub(crate) fn last_position(&self) -> u32 {
        self.last_position
    }

    /// Memory of its operations; of what else lies in the same bytes others tell.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.operation_bytes + (self.places.len() * size_of::<Place>()) as u64
    }
}

impl Place {
    /// Where key and value lie in `bytes`, if they do; kind and position are still to be set.
    fn find(bytes: &[u8], key: &[u8], value: &[u8]) -> Option<Place> {
        let key_at = (key.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
        let place = Place {
            key_at: u32::try_from(key_at).ok()?,
            value_bytes: u32::try_from(value.len()).ok()?,
            position: 0,
            key_bytes: u16::try_from(key.len()).ok()?,
            kind: ValueKind::Put,
        };
        let end = key_at.checked_add(key.len())?.checked_add(value.len())?;
        let is_inside = end <= bytes.len() && u32::try_from(end).is_ok();
        (is_inside && place.key(bytes) == key && place.value(bytes) == value).then_some(place)
    }

    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.key_at as usize..][..usize::from(self.key_bytes)]
    }

    fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.key_at as usize + usize::from(self.key_bytes)..][..self.value_bytes as usize]
    }
}

/// The first eight bytes of a key as a number, shorter ones filled with zeros: in order wherever they differ.
fn head_of(key: &[u8]) -> u64 {
    let mut head = [0; 8];
    let len = key.len().min(8);
    head[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(head)
}

fn elsewhere() -> Error {
    Error::new(ErrorKind::InvalidArgument, "an operation does not lie in the bytes of its batch")
}

/// A sorted batch whose operations are numbered: by `first` and their positions.
#[derive(Clone)]
pub(super) struct Numbered {
    pub(super) batch: Arc<SortedBatch>,
    pub(super) first: Seqno,
    /// Of the operations in their order; empty if they have none.
    pub(super) checksums: Arc<[EntryChecksum]>,
}

impl Numbered {
    /// With checksums of the operations as they are now.
    pub(super) fn with_checksums(mut self) -> Numbered {
        let entries = (0..self.batch.len()).filter_map(|at| self.entry(at));
        self.checksums =
            entries.map(|(entry, value)| EntryChecksum::of(entry.kind, entry.key, value)).collect();
        self
    }

    fn seqno(&self, place: &Place) -> Seqno {
        self.first.checked_add(u64::from(place.position)).expect("checked for the last position")
    }

    /// The entry at an index, and its value.
    pub(super) fn entry(&self, at: usize) -> Option<(Entry<'_>, &[u8])> {
        let place = self.batch.places.get(at)?;
        let bytes = &self.batch.bytes[..];
        let entry = Entry { key: place.key(bytes), seqno: self.seqno(place), kind: place.kind };
        Some((entry, place.value(bytes)))
    }

    /// Those that delete ranges.
    pub(super) fn range_tombstones(&self) -> impl Iterator<Item = RangeTombstone> {
        let all = if self.batch.has_ranges { self.batch.len() } else { 0 };
        let ranges = (0..all).filter_map(|at| self.entry(at));
        ranges
            .filter(|(entry, _)| entry.kind == ValueKind::DeleteRange)
            .map(|(entry, end)| RangeTombstone::of_version(entry.key, entry.seqno, end))
    }

    /// Number of entries for which `is_before` holds; it holds for all before one for which it does.
    fn count(&self, is_before: impl Fn(InternalKey<'_>) -> bool) -> usize {
        let key = |place: &Place| place.key(&self.batch.bytes);
        let is_before = |place: &Place| is_before(InternalKey { key: key(place), seqno: self.seqno(place) });
        self.batch.places.partition_point(is_before)
    }

    /// The share of the entries that come before a place, 0.0 to 1.0.
    pub(super) fn share_before(&self, place: InternalKey<'_>) -> f64 {
        self.count(|other| self.batch.order.is_before(other, place)) as f64 / self.batch.len() as f64
    }

    /// The newest version of a key at or below a number, and its value.
    pub(super) fn get(&self, wanted: InternalKey<'_>) -> Option<(Entry<'_>, &[u8])> {
        let at = self.count(|place| self.batch.order.is_before(place, wanted));
        self.entry(at).filter(|(entry, _)| entry.key == wanted.key)
    }
}

/// A cursor over a sorted batch, which it keeps.
pub(super) struct SortedCursor {
    operations: Numbered,
    at: Option<usize>,
}

impl SortedCursor {
    /// A cursor that stands on nothing.
    pub(super) fn new(operations: Numbered) -> SortedCursor {
        SortedCursor { operations, at: None }
    }

    fn stand_on(&mut self, at: Option<usize>) -> Result<()> {
        self.at = at.filter(|at| *at < self.operations.batch.len());
        Ok(())
    }
}

impl Cursor for SortedCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.stand_on(Some(0))
    }

    fn seek_last(&mut self) -> Result<()> {
        self.stand_on(self.operations.batch.len().checked_sub(1))
    }

    fn seek(&mut self, target: InternalKey<'_>) -> Result<()> {
        let order = self.operations.batch.order();
        self.stand_on(Some(self.operations.count(|place| order.is_before(place, target))))
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        let order = self.operations.batch.order();
        self.stand_on(self.operations.count(|place| !order.is_before(target, place)).checked_sub(1))
    }

    fn next(&mut self) -> Result<()> {
        self.stand_on(self.at.map(|at| at + 1))
    }

    fn prev(&mut self) -> Result<()> {
        self.stand_on(self.at.and_then(|at| at.checked_sub(1)))
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.at.and_then(|at| self.operations.entry(at)).map(|(entry, _)| entry)
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        Ok(self.at.and_then(|at| self.operations.entry(at)).map_or(&[], |(_, value)| value))
    }

    fn value(&self) -> Result<Slice> {
        self.value_bytes().map(Slice::from)
    }

    fn checked_value(&self) -> Result<CheckedValue<'_>> {
        let Some((at, (entry, value))) = self.at.and_then(|at| Some((at, self.operations.entry(at)?))) else {
            return Ok((&[], None));
        };
        let checksum = self.operations.checksums.get(at).copied();
        checksum.map_or(Ok(()), |checksum| checksum.check(entry, value)).map(|()| (value, checksum))
    }
}
