//! Operations in memory, sorted: a [tree](blink) that threads write and read at once, and what it holds in numbers.
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
use isopach_env::sync::atomic::{AtomicU64, Ordering};

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
    counters: Counters,
}

/// What every writer changes: on lines of its own, beside nothing that readers load.
#[repr(align(128))]
struct Counters {
    /// Bytes of memory; read to decide on rotation. Pairs with nothing.
    bytes: AtomicU64,
    /// Least and greatest number applied; read after the writer published.
    first_seqno: AtomicU64,
    last_seqno: AtomicU64,
}

impl Default for Memtable {
    /// With a pool of its own, which keeps nothing.
    fn default() -> Memtable {
        Memtable::new(&Arc::default())
    }
}

impl Memtable {
    /// An empty memtable, whose memory comes from the pool and goes back there once nobody has the memtable or a
    /// cursor over it.
    pub fn new(pool: &Arc<PagePool>) -> Memtable {
        let counters = Counters {
            bytes: AtomicU64::new(0),
            first_seqno: AtomicU64::new(u64::MAX),
            last_seqno: AtomicU64::new(0),
        };
        Memtable { operations: Arc::new(Blink::new(Arc::clone(pool))), counters }
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
        if first < self.counters.first_seqno.load(Ordering::Relaxed) {
            self.counters.first_seqno.fetch_min(first, Ordering::Release);
        }
        self.counters.last_seqno.fetch_max(last, Ordering::Release);
        self.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        bytes
    }

    /// The newest version of `key` numbered `at` or below.
    pub fn get(&self, key: &[u8], at: Seqno) -> Option<(Seqno, ValueKind, Slice)> {
        let entry = self.operations.get(InternalKey { key, seqno: at })?;
        Some((entry.seqno, entry.kind, entry.value.into()))
    }

    /// Memory in use. What is prepared beyond it is less than a chunk of 2 MiB.
    pub fn bytes(&self) -> u64 {
        self.counters.bytes.load(Ordering::Relaxed)
    }

    /// Whether nothing was applied.
    pub fn is_empty(&self) -> bool {
        self.first_seqno().is_none()
    }

    /// Least number applied.
    pub fn first_seqno(&self) -> Option<Seqno> {
        Seqno::from_raw(self.counters.first_seqno.load(Ordering::Acquire))
    }

    /// Greatest number applied, `ZERO` if none.
    pub fn last_seqno(&self) -> Seqno {
        Seqno::from_raw(self.counters.last_seqno.load(Ordering::Acquire))
            .expect("numbers in a memtable are valid")
    }

    /// A cursor over the entries. Those applied while it moves may show or not; whoever reads at a published
    /// view sees no difference.
    pub fn cursor(&self) -> MemtableCursor {
        BlinkCursor::new(&self.operations)
    }
}

#[cfg(test)]
mod tests;
