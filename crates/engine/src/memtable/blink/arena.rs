//! An arena: memory in chunks, given out piece by piece and given back all at once.

use alloc::{
    alloc::{alloc, dealloc, handle_alloc_error},
    vec::Vec,
};
use core::{
    alloc::Layout,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};
use isopach_env::{
    memory,
    sync::{Mutex, Rank},
};

/// Of the list of chunks; held while one is allocated.
const CHUNKS: Rank = Rank { level: 51, name: "memtable.chunks" };

/// Every piece begins at a multiple of this.
pub(super) const ALIGN: usize = 8;

/// Chunks double in size from the first to the greatest, which are those of huge pages.
const FIRST_BYTES: usize = 4 << 10;
const HUGE_BYTES: usize = 2 << 20;

/// Memory that is given out in pieces and lives as long as the arena.
pub(super) struct Arena {
    /// Where pieces come from; null before the first.
    current: AtomicPtr<Chunk>,
    /// All memory, to give back.
    blocks: Mutex<Vec<Block>>,
}

/// What a chunk begins with. On lines of its own: what all threads change lies beside nothing that they read.
#[repr(C, align(128))]
struct Chunk {
    /// Bytes given out, this header included; beyond `size` if somebody found no room.
    end: AtomicUsize,
    size: usize,
}

/// Memory as it was allocated.
struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the arena owns the memory; pieces are given out once each.
unsafe impl Send for Arena {}
// SAFETY: `allocate` gives no byte to two callers, and nothing else changes what an arena refers to.
unsafe impl Sync for Arena {}

impl Arena {
    pub(super) fn new() -> Arena {
        Arena { current: AtomicPtr::new(ptr::null_mut()), blocks: Mutex::new(CHUNKS, Vec::new()) }
    }

    /// Memory for `bytes` bytes, not initialised, aligned to [`ALIGN`]. Takes [`Arena::taken_by`] of the arena.
    pub(super) fn allocate(&self, bytes: usize) -> NonNull<u8> {
        let bytes = Self::taken_by(bytes);
        if bytes > HUGE_BYTES / 4 {
            return self.allocate_block(block_layout(bytes, ALIGN), &mut self.blocks.lock());
        }
        loop {
            let chunk = self.current.load(Ordering::Acquire);
            // SAFETY: chunks live as long as the arena, and their header was written before the pointer.
            if let Some(piece) = NonNull::new(chunk).and_then(|chunk| unsafe { piece(chunk, bytes) }) {
                return piece;
            }
            self.grow(chunk, bytes);
        }
    }

    /// What a piece of `bytes` bytes takes.
    pub(super) fn taken_by(bytes: usize) -> usize {
        bytes.next_multiple_of(ALIGN)
    }

    /// Puts a new chunk, with room for `bytes`, in the place of `full`, unless somebody did.
    fn grow(&self, full: *mut Chunk, bytes: usize) {
        let mut blocks = self.blocks.lock();
        if self.current.load(Ordering::Relaxed) != full {
            return;
        }
        // SAFETY: as in `allocate`.
        let last = unsafe { full.as_ref() }.map_or(FIRST_BYTES / 2, |chunk| chunk.size);
        let size = (2 * last).max((bytes + size_of::<Chunk>()).next_power_of_two()).min(HUGE_BYTES);
        let align = if size == HUGE_BYTES { HUGE_BYTES } else { align_of::<Chunk>() };
        let chunk = self.allocate_block(block_layout(size, align), &mut blocks).cast::<Chunk>();
        if size == HUGE_BYTES {
            memory::prefer_huge_pages(chunk.cast(), size);
        }
        // SAFETY: the block is as large as that, aligned for it, and known to nobody else yet.
        unsafe { chunk.write(Chunk { end: AtomicUsize::new(size_of::<Chunk>()), size }) };
        self.current.store(chunk.as_ptr(), Ordering::Release);
    }

    fn allocate_block(&self, layout: Layout, blocks: &mut Vec<Block>) -> NonNull<u8> {
        // SAFETY: no layout is of no bytes.
        let start = unsafe { alloc(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        blocks.push(Block { start, layout });
        start
    }
}

/// The next piece of a chunk, if there is room.
///
/// # Safety
///
/// The chunk is one, at the beginning of a block of its size.
unsafe fn piece(chunk: NonNull<Chunk>, bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: the header is written once, but for `end`, which is atomic.
    let Chunk { end, size } = unsafe { chunk.as_ref() };
    let start = end.fetch_add(bytes, Ordering::Relaxed);
    // SAFETY: the piece lies within the block.
    (start + bytes <= *size).then(|| unsafe { chunk.cast::<u8>().add(start) })
}

fn block_layout(bytes: usize, align: usize) -> Layout {
    Layout::from_size_align(bytes, align).expect("a piece is smaller than the address space")
}

impl Drop for Arena {
    fn drop(&mut self) {
        for Block { start, layout } in self.blocks.get_mut().drain(..) {
            // SAFETY: it was allocated with this layout, and nobody has the arena any more.
            unsafe { dealloc(start.as_ptr(), layout) };
        }
    }
}
