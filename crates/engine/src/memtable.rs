//! Operations in memory, sorted. An ordered map behind a lock, behind this boundary.
//!
//! Owns the memory of what was applied and not yet flushed, and accounts for it. Knows nothing of rotation or
//! of what is visible: its tree does.

use crate::{
    error::Result,
    iter::{Cursor, Entry},
    key::{InternalKey, ValueKind},
    types::{Seqno, Slice},
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::{borrow::Borrow, cmp::Ordering, ops::Bound};
use isopach_env::sync::{
    Rank, RwLock,
    atomic::{self, AtomicU64},
};

/// Of the map; held for a lookup, for the operations of a batch, or for a cursor's refill.
const ENTRIES: Rank = Rank { level: 50, name: "memtable.entries" };

/// What an entry takes beside its key and value: the map's key and value (64 bytes) at two thirds full nodes,
/// and its share of the batch it shares bytes with.
const ENTRY_OVERHEAD_BYTES: u64 = 112;

/// Entries that a cursor copies each time it takes the lock.
const REFILL_ENTRIES: usize = 32;

/// One operation, numbered.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its number.
    pub seqno: Seqno,
    /// What it does.
    pub kind: ValueKind,
    /// To which key.
    pub key: Slice,
    /// With which bytes.
    pub value: Slice,
}

/// A memtable. Shared by threads.
pub struct Memtable {
    entries: RwLock<BTreeMap<VersionKey, (ValueKind, Slice)>>,
    /// Bytes of memory; read without the lock to decide on rotation. Pairs with nothing.
    bytes: AtomicU64,
    /// Least and greatest number applied; written under the lock, read without it after the writer published.
    first_seqno: AtomicU64,
    last_seqno: AtomicU64,
}

impl Default for Memtable {
    fn default() -> Memtable {
        Memtable {
            entries: RwLock::new(ENTRIES, BTreeMap::new()),
            bytes: AtomicU64::new(0),
            first_seqno: AtomicU64::new(u64::MAX),
            last_seqno: AtomicU64::new(0),
        }
    }
}

impl Memtable {
    /// Adds operations; a reader sees all of them or none. Returns the bytes they take.
    pub fn apply(&self, operations: impl IntoIterator<Item = Operation>) -> u64 {
        let (mut bytes, mut first, mut last) = (0, u64::MAX, 0);
        let mut entries = self.entries.write();
        for Operation { seqno, kind, key, value } in operations {
            bytes += ENTRY_OVERHEAD_BYTES + (key.len() + value.len()) as u64;
            first = first.min(seqno.raw());
            last = last.max(seqno.raw());
            let replaced = entries.insert(VersionKey { key, seqno }, (kind, value));
            debug_assert!(replaced.is_none(), "a number is used once");
        }
        self.first_seqno.fetch_min(first, atomic::Ordering::Release);
        self.last_seqno.fetch_max(last, atomic::Ordering::Release);
        self.bytes.fetch_add(bytes, atomic::Ordering::Relaxed);
        bytes
    }

    /// The newest version of `key` numbered `at` or below.
    pub fn get(&self, key: &[u8], at: Seqno) -> Option<(Seqno, ValueKind, Slice)> {
        let entries = self.entries.read();
        let from = InternalKey { key, seqno: at };
        let (version, (kind, value)) = entries
            .range::<dyn Place + '_, _>((Bound::Included(&from as &dyn Place), Bound::Unbounded))
            .next()?;
        (version.key[..] == *key).then(|| (version.seqno, *kind, value.clone()))
    }

    /// Memory in use.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(atomic::Ordering::Relaxed)
    }

    /// Whether nothing was applied.
    pub fn is_empty(&self) -> bool {
        self.first_seqno().is_none()
    }

    /// Least number applied.
    pub fn first_seqno(&self) -> Option<Seqno> {
        Seqno::from_raw(self.first_seqno.load(atomic::Ordering::Acquire))
    }

    /// Greatest number applied, `ZERO` if none.
    pub fn last_seqno(&self) -> Seqno {
        Seqno::from_raw(self.last_seqno.load(atomic::Ordering::Acquire))
            .expect("numbers in a memtable are valid")
    }

    /// A cursor over the entries. Those applied while it moves may show or not; whoever reads at a published
    /// view sees no difference.
    pub fn cursor(self: &Arc<Memtable>) -> MemtableCursor {
        MemtableCursor { memtable: Arc::clone(self), copied: Vec::new(), at: 0, is_forward: true }
    }
}

/// Key of the map: user key ascending, number descending.
#[derive(Clone, PartialEq, Eq)]
struct VersionKey {
    key: Slice,
    seqno: Seqno,
}

/// What [`VersionKey`] and [`InternalKey`] have in common, so that lookups need no owned key.
trait Place {
    fn place(&self) -> InternalKey<'_>;
}

impl Place for VersionKey {
    fn place(&self) -> InternalKey<'_> {
        InternalKey { key: &self.key, seqno: self.seqno }
    }
}

impl Place for InternalKey<'_> {
    fn place(&self) -> InternalKey<'_> {
        *self
    }
}

impl<'a> Borrow<dyn Place + 'a> for VersionKey {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl Ord for VersionKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for VersionKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A cursor over a memtable that it keeps alive. Takes the lock once for a few dozen entries.
pub struct MemtableCursor {
    memtable: Arc<Memtable>,
    /// Entries in the order of movement.
    copied: Vec<(VersionKey, ValueKind, Slice)>,
    at: usize,
    is_forward: bool,
}

impl MemtableCursor {
    /// Copies the entries that follow a bound in a direction; stands on the first.
    fn refill(&mut self, is_forward: bool, from: Bound<InternalKey<'_>>) {
        self.at = 0;
        self.is_forward = is_forward;
        self.copied.clear();
        let entries = self.memtable.entries.read();
        let from = from.as_ref().map(|place| place as &dyn Place);
        let copy = |(version, (kind, value)): (&VersionKey, &(ValueKind, Slice))| {
            (version.clone(), *kind, value.clone())
        };
        if is_forward {
            let range = entries.range::<dyn Place + '_, _>((from, Bound::Unbounded));
            self.copied.extend(range.take(REFILL_ENTRIES).map(copy));
        } else {
            let range = entries.range::<dyn Place + '_, _>((Bound::Unbounded, from));
            self.copied.extend(range.rev().take(REFILL_ENTRIES).map(copy));
        }
    }

    fn step(&mut self, is_forward: bool) {
        if self.is_forward == is_forward && self.at + 1 < self.copied.len() {
            self.at += 1;
            return;
        }
        if self.is_forward != is_forward && self.at > 0 {
            self.at -= 1;
            return;
        }
        let (here, ..) = self.copied[self.at].clone();
        self.refill(is_forward, Bound::Excluded(here.place()));
    }
}

impl Cursor for MemtableCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.refill(true, Bound::Unbounded);
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.refill(false, Bound::Unbounded);
        Ok(())
    }

    fn seek(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.refill(true, Bound::Included(target));
        Ok(())
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.refill(false, Bound::Included(target));
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.step(true);
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        self.step(false);
        Ok(())
    }

    fn entry(&self) -> Option<Entry<'_>> {
        let (version, kind, value) = self.copied.get(self.at)?;
        Some(Entry { key: &version.key, seqno: version.seqno, kind: *kind, value })
    }

    fn value(&self) -> Slice {
        self.copied.get(self.at).map_or(Slice::EMPTY, |(_, _, value)| value.clone())
    }
}

#[cfg(test)]
mod tests;
