//! How much memory a piece of work takes: an allocator that counts, and measurements of what it counted.
//!
//! A test binary asks for it with two lines; without them every measurement panics, rather than find nothing:
//!
//! ```
//! #[global_allocator]
//! static HEAP: testkit::allocations::Counting = testkit::allocations::Counting;
//!
//! let (_, bytes) = testkit::allocations::peak_of_thread(|| vec![0_u8; 5000]);
//! assert!((5000..6000).contains(&bytes));
//! ```
//!
//! The one file of this crate with unsafe code: the system's allocator is called as it says.

#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicIsize, Ordering},
    },
};

/// The system's allocator, counted. Memory that nobody touches costs nothing, as with the system's own.
pub struct Counting;

/// The most that was held at once while `work` ran, in bytes beyond what was held before, by allocations of
/// this thread. What it frees for other threads counts as freed; what others allocate for it does not count.
///
/// # Panics
///
/// If [`Counting`] is not the allocator of this program.
pub fn peak_of_thread<T>(work: impl FnOnce() -> T) -> (T, usize) {
    check_counted();
    let outer = THREAD.with(Cell::get);
    THREAD.with(|tally| tally.set(Tally { peak: outer.held, ..outer }));

    let result = work();

    let inner = THREAD.with(Cell::get);
    // A measurement around this one has seen its peak too.
    THREAD.with(|tally| tally.set(Tally { peak: outer.peak.max(inner.peak), ..inner }));
    (result, beyond(inner.peak, outer.held))
}

/// As [`peak_of_thread`], by allocations of all threads. Measurements of this kind take turns; what else runs
/// in the process at the time counts as well, so this is for programs that do one thing at a time.
///
/// # Panics
///
/// If [`Counting`] is not the allocator of this program.
pub fn peak_of_process<T>(work: impl FnOnce() -> T) -> (T, usize) {
    static TURN: Mutex<()> = Mutex::new(());
    check_counted();
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);

    let result = work();

    (result, beyond(PEAK.load(Ordering::Relaxed), before))
}

/// How often this thread took memory while `work` ran.
///
/// # Panics
///
/// If [`Counting`] is not the allocator of this program.
pub fn count_of_thread<T>(work: impl FnOnce() -> T) -> (T, u64) {
    check_counted();
    let before = TAKEN.with(Cell::get);
    let result = work();
    (result, TAKEN.with(Cell::get) - before)
}

fn beyond(peak: isize, before: isize) -> usize {
    usize::try_from(peak - before).unwrap_or(0)
}

fn check_counted() {
    let before = THREAD.with(Cell::get).held;
    let _probe = hint::black_box(Box::new(0_u64));
    let is_counted = THREAD.with(Cell::get).held != before;
    assert!(is_counted, "`#[global_allocator] static HEAP: Counting` is missing from this program");
}

/// Bytes that are allocated, and the most that ever were since a measurement began.
#[derive(Clone, Copy)]
struct Tally {
    held: isize,
    peak: isize,
}

thread_local! {
    /// Of this thread; below 0 if it freed what others had allocated. Needs no initialisation and no
    /// destructor, so that it can be counted in it at any time in the life of a thread.
    static THREAD: Cell<Tally> = const { Cell::new(Tally { held: 0, peak: 0 }) };
}

thread_local! {
    /// How often this thread took memory. As for [`THREAD`].
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// Of all threads. A statistic: no other memory is read because of it, so relaxed order is enough.
static HELD: AtomicIsize = AtomicIsize::new(0);
/// The most that [`HELD`] was since a measurement began.
static PEAK: AtomicIsize = AtomicIsize::new(0);

/// Counts bytes that were taken, or, below 0, given back.
fn count(bytes: isize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if bytes > 0 {
        PEAK.fetch_max(held, Ordering::Relaxed);
        TAKEN.with(|taken| taken.set(taken.get() + 1));
    }
    THREAD.with(|tally| {
        let Tally { held, peak } = tally.get();
        let held = held + bytes;
        tally.set(Tally { held, peak: peak.max(held) });
    });
}

/// A layout's size, which never exceeds `isize::MAX`.
fn size_of(layout: Layout) -> isize {
    layout.size().cast_signed()
}

// SAFETY: every call is passed on to the system's allocator as it is, and its answer given back as it is.
// Counting allocates nothing and does not panic: sums of sizes of live allocations stay below `isize::MAX`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system's allocator asks for; so of all four.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            count(size_of(layout));
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            count(size_of(layout));
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        // SAFETY: as above.
        let moved = unsafe { System.realloc(block, layout, new_bytes) };
        if !moved.is_null() {
            count(new_bytes.cast_signed() - size_of(layout));
        }
        moved
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) };
        count(-size_of(layout));
    }
}
