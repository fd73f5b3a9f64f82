//! Operations in memory, sorted: a B-link tree that threads write and read at once, or one batch that came sorted;
//! and what it holds in numbers.
//!
//! Owns the memory of what was applied and not yet flushed, and accounts for it. Knows nothing of rotation or
//! of what is visible: its tree does.

mod atomics;
mod pool;

mod blink;
mod ranges;
mod sorted;

pub use pool::PagePool;
pub use sorted::{SortedBatch, Sorter};

use crate::{
    error::{Error, ErrorKind, Result},
    iter::{Cursor, EntryChecksum},
    key::{InternalKey, ValueKind},
    order::KeyOrder,
    range_tombstone::{RangeTombstone, RangeTombstones},
    types::{Seqno, Slice},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use blink::{Blink, BlinkCursor};
use isopach_env::sync::{
    Striped,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use ranges::Ranges;
use sorted::{Numbered, SortedCursor};

/// One operation, numbered.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// Its number.
    pub seqno: Seqno,
    /// What it does.
    pub kind: ValueKind,
    /// To which key.
    pub key: &'a [u8],
    /// With which bytes.
    pub value: &'a [u8],
}

/// A memtable. Shared by threads.
pub struct Memtable {
    operations: Operations,
    /// Those of them that delete ranges, once more.
    ranges: Ranges,
    /// Whether any of them expires. Set before it is published, and read by who knows what is (Relaxed both: the
    /// publication orders them).
    may_expire: AtomicBool,
    /// Whether operations that are added get checksums.
    is_checked: bool,
    /// Least number applied, beside what readers load: it hardly ever changes. Read after the writer published.
    first_seqno: AtomicU64,
    counters: Striped<Counters>,
    counted: Counted,
}

/// Where the operations of a memtable are.
enum Operations {
    /// Those of many batches.
    Tree(Arc<Blink>),
    /// Those of one.
    Batch(Numbered),
}

/// What writers count, each group of threads for itself.
#[derive(Default)]
struct Counters {
    /// Bytes of memory. Pairs with nothing.
    bytes: AtomicU64,
    /// Operations applied. Pairs with nothing.
    operations: AtomicU64,
    /// Greatest number applied; read after the writer published.
    last_seqno: AtomicU64,
}

/// Whole steps of what the groups counted. On lines of its own, as it changes now and then.
#[derive(Default)]
#[repr(align(128))]
struct Counted(AtomicU64);

/// A group tells the others of its memory in such steps.
const STEP_BYTES: u64 = 4 << 10;

impl Default for Memtable {
    /// In the order of bytes, with a pool of its own, which keeps nothing.
    fn default() -> Memtable {
        Memtable::new(&Arc::default(), &KeyOrder::BYTES)
    }
}

impl Memtable {
    /// An empty memtable for keys in this order, whose memory comes from the pool and goes back there once nobody has the memtable
    /// or a cursor over it.
    pub fn new(pool: &Arc<PagePool>, order: &KeyOrder) -> Memtable {
        Memtable {
            operations: Operations::Tree(Arc::new(Blink::new(Arc::clone(pool), order))),
            ranges: Ranges::new(order),
            may_expire: AtomicBool::new(false),
            is_checked: false,
            first_seqno: AtomicU64::new(u64::MAX),
            counters: Striped::default(),
            counted: Counted::default(),
        }
    }

    /// Says whether operations get a checksum each when they are added, which goes with them
    /// ([`Cursor::checked_value`]): 4 bytes more.
    #[must_use]
    pub fn with_checksums(self, is_checked: bool) -> Memtable {
        Memtable { is_checked, ..self }
    }

    /// A memtable of one batch, which is not empty: the operation at position 0 has the number `first`, in this memtable
    /// or in another tree's. It takes no further operations. If `is_checked`, each gets a checksum.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the numbers exceed [`Seqno::MAX`].
    pub(crate) fn of_batch(batch: Arc<SortedBatch>, first: Seqno, is_checked: bool) -> Result<Memtable> {
        let used_up = || Error::new(ErrorKind::InvalidArgument, "sequence numbers are used up");
        let last = first.checked_add(u64::from(batch.last_position())).ok_or_else(used_up)?;
        let (bytes, operations) = (batch.memory_bytes(), batch.len() as u64);
        let numbered = Numbered { batch, first, checksums: Arc::default() };
        let (ranges, may_expire) = (Ranges::new(numbered.batch.order()), numbered.batch.may_expire());
        let range_bytes = numbered.range_tombstones().map(|tombstone| ranges.add(tombstone)).sum::<u64>();
        let memtable = Memtable {
            operations: Operations::Batch(if is_checked { numbered.with_checksums() } else { numbered }),
            ranges,
            may_expire: AtomicBool::new(may_expire),
            is_checked,
            first_seqno: AtomicU64::new(u64::MAX),
            counters: Striped::default(),
            counted: Counted::default(),
        };
        memtable.count(bytes + range_bytes, operations, (first.raw(), last.raw()));
        Ok(memtable)
    }

    /// Adds operations, each with a number of its own. A reader may see some of them before the call returns.
    /// Returns the bytes they take.
    ///
    /// # Panics
    ///
    /// If it is a memtable of one batch.
    pub fn apply<'a>(&self, operations: impl IntoIterator<Item = Operation<'a>>) -> u64 {
        let Operations::Tree(tree) = &self.operations else {
            panic!("a memtable of one batch has all that it will have");
        };
        let (mut bytes, mut count, mut first, mut last) = (0, 0, u64::MAX, 0);
        for Operation { seqno, kind, key, value } in operations {
            let checksum = self.is_checked.then(|| EntryChecksum::of(kind, key, value));
            bytes += tree.insert(InternalKey { key, seqno }, kind, value, checksum);
            if kind.expires() {
                self.may_expire.store(true, Ordering::Relaxed);
            }
            if kind == ValueKind::DeleteRange {
                bytes += self.ranges.add(RangeTombstone::of_version(key, seqno, value));
            }
            count += 1;
            first = first.min(seqno.raw());
            last = last.max(seqno.raw());
        }
        self.count(bytes, count, (first, last));
        bytes
    }

    /// Whether operations may be added: not to that of one batch.
    pub(crate) fn takes_operations(&self) -> bool {
        matches!(self.operations, Operations::Tree(_))
    }

    fn count(&self, bytes: u64, operations: u64, (first, last): (u64, u64)) {
        // Most of the time the least number is there already, and is only read.
        if first < self.first_seqno.load(Ordering::Relaxed) {
            self.first_seqno.fetch_min(first, Ordering::Release);
        }
        let counters = self.counters.own();
        counters.last_seqno.fetch_max(last, Ordering::Release);
        counters.operations.fetch_add(operations, Ordering::Relaxed);
        let before = counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        let steps = (before + bytes) / STEP_BYTES - before / STEP_BYTES;
        if steps > 0 {
            self.counted.0.fetch_add(steps * STEP_BYTES, Ordering::Relaxed);
        }
    }

    /// The newest version of `key` numbered `at` or below.
    pub fn get(&self, key: &[u8], at: Seqno) -> Option<(Seqno, ValueKind, Slice)> {
        // Of an empty memtable, as there is after each flush, nothing is searched.
        if self.first_seqno.load(Ordering::Acquire) > at.raw() {
            return None;
        }
        let wanted = InternalKey { key, seqno: at };
        let (entry, value) = match &self.operations {
            Operations::Tree(tree) => tree.get(wanted),
            Operations::Batch(batch) => batch.get(wanted),
        }?;
        Some((entry.seqno, entry.kind, value.into()))
    }

    /// Whether no operation deletes a range.
    pub fn has_no_ranges(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether any operation that is published expires.
    pub fn may_expire(&self) -> bool {
        self.may_expire.load(Ordering::Relaxed)
    }

    /// Its range tombstones, as they are now.
    pub fn range_tombstones(&self) -> Vec<Arc<RangeTombstones>> {
        self.ranges.parts()
    }

    /// The greatest number `<= at` of its range tombstones that cover a key.
    pub fn covering(&self, key: &[u8], at: Seqno) -> Option<Seqno> {
        self.ranges.covering(key, at)
    }

    /// Memory in use. What is prepared beyond it is less than a page of 2 MiB and some slices of 32 KiB.
    pub fn bytes(&self) -> u64 {
        self.counters.all().map(|counters| counters.bytes.load(Ordering::Relaxed)).sum()
    }

    /// As [`Memtable::bytes`], for who asks after every write: as much or less, by up to 4 KiB for each group of
    /// other threads that write.
    pub fn bytes_at_least(&self) -> u64 {
        let own = self.counters.own().bytes.load(Ordering::Relaxed);
        self.counted.0.load(Ordering::Relaxed) + own % STEP_BYTES
    }

    /// Number of operations applied.
    pub fn len(&self) -> u64 {
        self.counters.all().map(|counters| counters.operations.load(Ordering::Relaxed)).sum()
    }

    /// About the share of its operations between two places, 0.0 to 1.0.
    pub(crate) fn share_between(&self, from: Option<InternalKey<'_>>, to: Option<InternalKey<'_>>) -> f64 {
        let before = |place| match &self.operations {
            Operations::Tree(tree) => tree.share_before(place),
            Operations::Batch(batch) => batch.share_before(place),
        };
        (to.map_or(1.0, before) - from.map_or(0.0, before)).max(0.0)
    }

    /// Whether nothing was applied.
    pub fn is_empty(&self) -> bool {
        self.first_seqno().is_none()
    }

    /// Least number applied.
    pub fn first_seqno(&self) -> Option<Seqno> {
        Seqno::from_raw(self.first_seqno.load(Ordering::Acquire))
    }

    /// Greatest number applied, `ZERO` if none.
    pub fn last_seqno(&self) -> Seqno {
        let numbers = self.counters.all().map(|counters| counters.last_seqno.load(Ordering::Acquire));
        numbers.max().and_then(Seqno::from_raw).expect("numbers in a memtable are valid")
    }

    /// A cursor over the entries, which it keeps. Those applied while it moves may show or not; whoever reads at a published
    /// view sees no difference.
    pub fn cursor(&self) -> Box<dyn Cursor> {
        match &self.operations {
            Operations::Tree(tree) => Box::new(BlinkCursor::new(tree)),
            Operations::Batch(batch) => Box::new(SortedCursor::new(batch.clone())),
        }
    }
}

#[cfg(test)]
impl Memtable {
    /// Changes a bit of the value of the newest operation of a key, as a broken memory would.
    pub(crate) fn flip(&self, key: &[u8], bit: usize) {
        match &self.operations {
            Operations::Tree(tree) => tree.flip(key, bit),
            Operations::Batch(_) => panic!("its bytes are others'"),
        }
    }
}

#[cfg(test)]
mod tests;
