//! Operations in memory, sorted: a B-link tree that threads write and read at once, and what it holds in
//! numbers.
//!
//! Owns the memory of what was applied and not yet flushed, and accounts for it. Knows nothing of rotation or
//! of what is visible: its tree does.

mod atomics;
mod pool;

mod blink;

pub use pool::PagePool;

use crate::{
    key::{InternalKey, ValueKind},
    types::{Seqno, Slice},
};
use alloc::sync::Arc;
use blink::{Blink, BlinkCursor};
use isopach_env::sync::{
    Striped,
    atomic::{AtomicU64, Ordering},
};

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

/// A cursor over a memtable, which it keeps.
pub type MemtableCursor = BlinkCursor;

/// A memtable. Shared by threads.
pub struct Memtable {
    operations: Arc<Blink>,
    /// Least number applied, beside what readers load: it hardly ever changes. Read after the writer published.
    first_seqno: AtomicU64,
    counters: Striped<Counters>,
    counted: Counted,
}

/// What writers count, each group of threads for itself.
#[derive(Default)]
struct Counters {
    /// Bytes of memory. Pairs with nothing.
    bytes: AtomicU64,
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
    /// With a pool of its own, which keeps nothing.
    fn default() -> Memtable {
        Memtable::new(&Arc::default())
    }
}

impl Memtable {
    /// An empty memtable, whose memory comes from the pool and goes back there once nobody has the memtable
    /// or a cursor over it.
    pub fn new(pool: &Arc<PagePool>) -> Memtable {
        Memtable {
            operations: Arc::new(Blink::new(Arc::clone(pool))),
            first_seqno: AtomicU64::new(u64::MAX),
            counters: Striped::default(),
            counted: Counted::default(),
        }
    }

    /// Adds operations, each with a number of its own. A reader may see some of them before the call returns.
    /// Returns the bytes they take.
    pub fn apply<'a>(&self, operations: impl IntoIterator<Item = Operation<'a>>) -> u64 {
        let (mut bytes, mut first, mut last) = (0, u64::MAX, 0);
        for Operation { seqno, kind, key, value } in operations {
            bytes += self.operations.insert(InternalKey { key, seqno }, kind, value);
            first = first.min(seqno.raw());
            last = last.max(seqno.raw());
        }
        // Most of the time the least number is there already, and is only read.
        if first < self.first_seqno.load(Ordering::Relaxed) {
            self.first_seqno.fetch_min(first, Ordering::Release);
        }
        let counters = self.counters.own();
        counters.last_seqno.fetch_max(last, Ordering::Release);
        let before = counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        let steps = (before + bytes) / STEP_BYTES - before / STEP_BYTES;
        if steps > 0 {
            self.counted.0.fetch_add(steps * STEP_BYTES, Ordering::Relaxed);
        }
        bytes
    }

    /// The newest version of `key` numbered `at` or below.
    pub fn get(&self, key: &[u8], at: Seqno) -> Option<(Seqno, ValueKind, Slice)> {
        // Of an empty memtable, as there is after each flush, nothing is searched.
        if self.first_seqno.load(Ordering::Acquire) > at.raw() {
            return None;
        }
        let (entry, value) = self.operations.get(InternalKey { key, seqno: at })?;
        Some((entry.seqno, entry.kind, value.into()))
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

    /// A cursor over the entries. Those applied while it moves may show or not; whoever reads at a published
    /// view sees no difference.
    pub fn cursor(&self) -> MemtableCursor {
        BlinkCursor::new(&self.operations)
    }
}

#[cfg(test)]
mod tests;
