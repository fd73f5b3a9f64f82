//! An arena: memory that is given out piece by piece and given back all at once.
//!
//! Memory is cut under a lock. What is small comes from slices of it, one for each group of threads, that
//! need none: so threads which write at once change no line of memory together.

use super::super::pool::PagePool;
use alloc::{
    alloc::{alloc, dealloc, handle_alloc_error},
    sync::Arc,
    vec::Vec,
};
use core::{
    alloc::Layout,
    mem,
    ptr::NonNull,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};
use isopach_env::{
    memory::HugePage,
    sync::{Mutex, Rank, Striped},
};

/// Of all memory of an arena; held while more is allocated.
const MEMORY: Rank = Rank { level: 51, name: "memtable.memory" };

/// Every piece begins at a multiple of this.
const ALIGN: usize = 8;

/// What is cut begins at a multiple of this and ends at one, so that no line of memory is of two owners.
const LINE: usize = 128;

/// Blocks of the allocator double in size from the first on; those behind the greatest are pages of the pool.
const FIRST_BYTES: usize = 4 << 10;

/// Beyond it memory is allocated by itself.
const LARGE_BYTES: usize = HugePage::BYTES / 4;

/// Slices take a quarter of a block, up to the greatest.
const LEAST_SLICE_BYTES: usize = 4 << 10;
const GREATEST_SLICE_BYTES: usize = 32 << 10;

/// Beyond it a piece is cut by itself: little of a slice is left unused.
const SMALL_BYTES: usize = GREATEST_SLICE_BYTES / 8;

/// Memory that is given out in pieces and lives as long as the arena.
pub(super) struct Arena {
    /// Where small pieces come from; null before the first.
    slices: Striped<AtomicPtr<Slice>>,
    memory: Mutex<Memory>,
}

/// What a slice begins with.
#[repr(C, align(128))]
struct Slice {
    /// Bytes given out, this header included; beyond `size` if somebody found no room.
    end: AtomicUsize,
    size: usize,
}

/// All memory, to cut and to give back.
struct Memory {
    pool: Arc<PagePool>,
    pages: Vec<HugePage>,
    blocks: Vec<Block>,
    /// Size of the block or page that was added last.
    last_bytes: usize,
    /// What is left of it.
    rest: NonNull<u8>,
    rest_bytes: usize,
}

/// Memory of the allocator.
struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns the memory, and what is left is given out once.
unsafe impl Send for Memory {}

impl Arena {
    /// Without memory. Pages come from the pool and go back there.
    pub(super) fn new(pool: Arc<PagePool>) -> Arena {
        let memory = Memory {
            pool,
            pages: Vec::new(),
            blocks: Vec::new(),
            last_bytes: FIRST_BYTES / 2,
            rest: NonNull::dangling(),
            rest_bytes: 0,
        };
        Arena { slices: Striped::default(), memory: Mutex::new(MEMORY, memory) }
    }

    /// Memory for `bytes` bytes, not initialised, aligned to eight. Takes [`Arena::taken_by`] of the arena.
    pub(super) fn allocate(&self, bytes: usize) -> NonNull<u8> {
        let bytes = Self::taken_by(bytes);
        if bytes > SMALL_BYTES {
            return self.memory.lock().cut(bytes);
        }
        let place = self.slices.own();
        loop {
            let slice = place.load(Ordering::Acquire);
            // SAFETY: slices live as long as the arena, and their header was written before the pointer.
            if let Some(piece) = NonNull::new(slice).and_then(|slice| unsafe { piece(slice, bytes) }) {
                return piece;
            }
            self.renew(place, slice, bytes);
        }
    }

    /// What a piece of `bytes` bytes takes.
    pub(super) fn taken_by(bytes: usize) -> usize {
        bytes.next_multiple_of(if bytes > SMALL_BYTES { LINE } else { ALIGN })
    }

    /// Memory for `bytes` bytes, not initialised, on lines of its own. Takes [`Arena::taken_by_lines`].
    pub(super) fn allocate_lines(&self, bytes: usize) -> NonNull<u8> {
        self.memory.lock().cut(Self::taken_by_lines(bytes))
    }

    /// What `bytes` bytes take on lines of their own.
    pub(super) fn taken_by_lines(bytes: usize) -> usize {
        bytes.next_multiple_of(LINE)
    }

    /// Puts a new slice, with room for `bytes`, in the place of `full`, unless somebody did.
    fn renew(&self, place: &AtomicPtr<Slice>, full: *mut Slice, bytes: usize) {
        let mut memory = self.memory.lock();
        if place.load(Ordering::Relaxed) != full {
            return;
        }
        let least = (size_of::<Slice>() + bytes).next_multiple_of(LINE);
        let wanted = (memory.last_bytes / 4).clamp(LEAST_SLICE_BYTES, GREATEST_SLICE_BYTES).max(least);
        // Rather a small one than none of what is left.
        let size = if memory.rest_bytes >= least { wanted.min(memory.rest_bytes) } else { wanted };
        let slice = memory.cut(size).cast::<Slice>();
        // SAFETY: the memory is as large as that, aligned for it, and known to nobody else yet.
        unsafe { slice.write(Slice { end: AtomicUsize::new(size_of::<Slice>()), size }) };
        place.store(slice.as_ptr(), Ordering::Release);
    }
}

/// The next piece of a slice, if there is room.
///
/// # Safety
///
/// The slice is one, at the beginning of memory of its size.
unsafe fn piece(slice: NonNull<Slice>, bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: the header is written once, but for `end`, which is atomic.
    let Slice { end, size } = unsafe { slice.as_ref() };
    let start = end.fetch_add(bytes, Ordering::Relaxed);
    // SAFETY: the piece lies within the slice.
    (start + bytes <= *size).then(|| unsafe { slice.cast::<u8>().add(start) })
}

impl Memory {
    /// Memory of so many bytes, whole lines.
    fn cut(&mut self, bytes: usize) -> NonNull<u8> {
        debug_assert!(bytes > 0 && bytes.is_multiple_of(LINE), "whole lines");
        if bytes > LARGE_BYTES {
            return self.add_block(bytes);
        }
        if bytes > self.rest_bytes {
            self.grow(bytes);
        }
        let start = self.rest;
        // SAFETY: there are as many bytes left.
        self.rest = unsafe { start.add(bytes) };
        self.rest_bytes -= bytes;
        start
    }

    /// Adds memory, of which at least so many bytes can be cut.
    fn grow(&mut self, bytes: usize) {
        let size = bytes.next_power_of_two().max(2 * self.last_bytes).min(HugePage::BYTES);
        self.rest = if size == HugePage::BYTES {
            let page = self.pool.take();
            let start = page.start();
            self.pages.push(page);
            start
        } else {
            self.add_block(size)
        };
        (self.last_bytes, self.rest_bytes) = (size, size);
    }

    fn add_block(&mut self, bytes: usize) -> NonNull<u8> {
        let layout = Layout::from_size_align(bytes, LINE).expect("a piece is smaller than the address space");
        // SAFETY: no layout is of no bytes.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        self.blocks.push(Block { start, layout });
        start
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for Block { start, layout } in self.blocks.drain(..) {
            // SAFETY: it was allocated with this layout, and nobody has the arena any more.
            unsafe { dealloc(start.as_ptr(), layout) };
        }
        if !self.pages.is_empty() {
            self.pool.give_back(mem::take(&mut self.pages));
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::iter::simulated::with_seeds;
    use core::slice;

    #[test]
    fn pieces_of_an_arena_overlap_nowhere_whoever_takes_them() {
        let pool = Arc::new(PagePool::new(16 << 20));
        with_seeds(5, |dice| {
            let arena = Arena::new(Arc::clone(&pool));
            let sizes: Vec<Vec<usize>> = (0..12)
                .map(|_| {
                    let most = [100, 1 << 10, 8 << 10, 700 << 10][dice.index(4)];
                    (0..200_000 / most + 20).map(|_| 1 + dice.index(most)).collect()
                })
                .collect();
            std::thread::scope(|scope| {
                for (fill, sizes) in (1..).zip(&sizes) {
                    let arena = &arena;
                    scope.spawn(move || {
                        let piece = |(at, &size): (usize, &usize)| {
                            let on_lines = at % 16 == 0;
                            let piece =
                                if on_lines { arena.allocate_lines(size) } else { arena.allocate(size) };
                            assert_eq!(piece.addr().get() % if on_lines { 128 } else { 8 }, 0);
                            // SAFETY: the piece is as large.
                            unsafe { piece.write_bytes(fill, size) };
                            (piece, size)
                        };
                        for (piece, size) in sizes.iter().enumerate().map(piece).collect::<Vec<_>>() {
                            // SAFETY: it was written to, and nobody else has it.
                            let bytes = unsafe { slice::from_raw_parts(piece.as_ptr(), size) };
                            assert!(bytes.iter().all(|&byte| byte == fill), "somebody wrote to it");
                        }
                    });
                }
            });
        });
        assert!(pool.kept_bytes() > 0);
    }
}
