//! Memory between memtables: what one leaves behind, the next begins with.
//!
//! New memory costs a fault of the system for each page, which clears it. Owns only what no memtable has;
//! knows nothing of what they keep in theirs.

use alloc::{vec, vec::Vec};
use isopach_env::{
    memory::HugePage,
    sync::{
        Mutex, Rank,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Of the pages that nobody has.
const POOL: Rank = Rank { level: 52, name: "memtable.pool" };

/// So many are had ahead where memtables grow.
const READY_PAGES: usize = 4;

/// Pages that memtables have one after the other. The default keeps none between them.
///
/// The system is asked for a page only where none is kept, so those in use and those kept together are no more
/// than the most that were in use at once (INV-MEM-1), and the four that are had ahead.
pub struct PagePool {
    kept: Mutex<Kept>,
    /// How many are kept, for who asks without the lock.
    count: AtomicUsize,
    /// Few are kept, and more may be: somebody should have some ready.
    runs_short: AtomicBool,
}

struct Kept {
    /// The one that was used last is the first to be used again.
    pages: Vec<HugePage>,
    /// Bound of their number.
    capacity: usize,
}

impl PagePool {
    /// A pool that keeps up to so many bytes, in whole pages.
    pub fn new(capacity_bytes: u64) -> PagePool {
        let kept = Kept { pages: Vec::new(), capacity: pages_in(capacity_bytes) };
        PagePool {
            kept: Mutex::new(POOL, kept),
            count: AtomicUsize::new(0),
            runs_short: AtomicBool::new(false),
        }
    }

    /// Changes the bound. What is beyond it goes back to the system.
    pub fn set_capacity(&self, bytes: u64) {
        self.kept.lock().capacity = pages_in(bytes);
        self.shed(bytes);
    }

    /// Gives back to the system what is kept beyond so many bytes. The bound stays. Costs a load where there is
    /// nothing beyond.
    pub fn shed(&self, to_bytes: u64) {
        if self.kept_bytes() <= to_bytes {
            return;
        }
        let mut kept = self.kept.lock();
        let excess = kept.pages.len().saturating_sub(pages_in(to_bytes));
        let excess: Vec<HugePage> = kept.pages.drain(..excess).collect();
        self.count.store(kept.pages.len(), Ordering::Relaxed);
        drop(kept);
        drop(excess); // No lock is held over calls of the system.
    }

    /// Memory that is kept for the next.
    pub fn kept_bytes(&self) -> u64 {
        (self.count.load(Ordering::Relaxed) * HugePage::BYTES) as u64
    }

    /// A page: one that is kept, with whatever is in it, or a new one.
    pub(super) fn take(&self) -> HugePage {
        let mut kept = self.kept.lock();
        let page = kept.pages.pop();
        self.count.store(kept.pages.len(), Ordering::Relaxed);
        if kept.pages.len() < READY_PAGES.min(kept.capacity) {
            self.runs_short.store(true, Ordering::Relaxed);
        }
        drop(kept);
        page.unwrap_or_else(HugePage::new)
    }

    /// Whether [`PagePool::prepare`] should be called; `true` once.
    pub fn takes_wish(&self) -> bool {
        self.runs_short.load(Ordering::Relaxed) && self.runs_short.swap(false, Ordering::Relaxed)
    }

    /// Has some pages ready, if there is room for them within the bound and `room_bytes`: whoever takes one then waits
    /// for no page fault. For a thread that does not write.
    pub fn prepare(&self, room_bytes: u64) {
        let lacks_one = || {
            let kept = self.kept.lock();
            kept.pages.len() < READY_PAGES.min(kept.capacity).min(pages_in(room_bytes))
        };
        while lacks_one() {
            let page = HugePage::new();
            page.populate();
            self.give_back(vec![page]);
        }
    }

    /// Keeps as many of these as there is room for. The others go back to the system.
    pub(super) fn give_back(&self, mut pages: Vec<HugePage>) {
        let mut kept = self.kept.lock();
        let room = kept.capacity.saturating_sub(kept.pages.len());
        kept.pages.extend(pages.drain(..room.min(pages.len())));
        self.count.store(kept.pages.len(), Ordering::Relaxed);
        drop(kept);
        drop(pages);
    }
}

impl Default for PagePool {
    fn default() -> PagePool {
        PagePool::new(0)
    }
}

fn pages_in(bytes: u64) -> usize {
    usize::try_from(bytes / HugePage::BYTES as u64).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = HugePage::BYTES as u64;

    fn pages(pool: &PagePool, count: usize) -> Vec<HugePage> {
        (0..count).map(|_| pool.take()).collect()
    }

    #[test]
    fn a_page_that_was_given_back_is_the_next_to_be_taken() {
        let pool = PagePool::new(2 * PAGE);
        let given = pages(&pool, 2);
        let starts: Vec<_> = given.iter().map(HugePage::start).collect();
        pool.give_back(given);

        let mut taken = pages(&pool, 3);

        let new = taken.pop().unwrap();
        taken.reverse();
        assert_eq!(taken.iter().map(HugePage::start).collect::<Vec<_>>(), starts);
        assert!(!starts.contains(&new.start()), "none was left");
    }

    #[test]
    fn no_more_is_kept_than_the_bound_says() {
        let pool = PagePool::new(3 * PAGE - 1);
        pool.give_back(pages(&pool, 3));
        assert_eq!(pool.kept_bytes(), 2 * PAGE);
        pool.give_back(pages(&PagePool::default(), 1));
        assert_eq!(pool.kept_bytes(), 2 * PAGE, "it was full");

        pool.set_capacity(PAGE);
        assert_eq!(pool.kept_bytes(), PAGE);
        pool.set_capacity(u64::MAX);
        pool.give_back(pages(&PagePool::default(), 4));
        assert_eq!(pool.kept_bytes(), 5 * PAGE);
        pool.shed(3 * PAGE + 1);
        assert_eq!(pool.kept_bytes(), 3 * PAGE);
        pool.give_back(pages(&PagePool::default(), 1));
        assert_eq!(pool.kept_bytes(), 4 * PAGE, "the bound is what it was");
        pool.set_capacity(0);
        assert_eq!(pool.kept_bytes(), 0);
    }

    #[test]
    fn some_pages_are_had_ahead_where_memtables_take_them() {
        let pool = PagePool::new(100 * PAGE);
        assert!(!pool.takes_wish(), "nobody took any");

        let first = pool.take();
        assert!(pool.takes_wish() && !pool.takes_wish(), "it is wished for once");
        pool.prepare(u64::MAX);

        assert_eq!(pool.kept_bytes(), READY_PAGES as u64 * PAGE);
        let more = pages(&pool, 3);
        pool.prepare(u64::MAX);
        assert_eq!(pool.kept_bytes(), READY_PAGES as u64 * PAGE);
        drop((first, more));
        let small = PagePool::new(PAGE);
        drop(small.take());
        small.prepare(PAGE - 1);
        assert_eq!(small.kept_bytes(), 0, "no more than there is room for");
        small.prepare(u64::MAX);
        assert_eq!(small.kept_bytes(), PAGE, "no more than the bound says");
    }
}
