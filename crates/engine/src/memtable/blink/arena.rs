//! An arena: memory in chunks, given out piece by piece and given back all at once.

use super::super::pool::PagePool;
use alloc::{
    alloc::{alloc, dealloc, handle_alloc_error},
    sync::Arc,
    vec::Vec,
};
use core::{
    alloc::Layout,
    mem,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};
use isopach_env::{
    memory::HugePage,
    sync::{Mutex, Rank},
};

/// Of the list of chunks; held while one is allocated.
const CHUNKS: Rank = Rank { level: 51, name: "memtable.chunks" };

/// Every piece begins at a multiple of this.
pub(super) const ALIGN: usize = 8;

/// Chunks double in size from the first on. The greatest are pages of the pool, the others the allocator's.
const FIRST_BYTES: usize = 4 << 10;
const GREATEST_BYTES: usize = HugePage::BYTES;

/// Beyond it a piece is allocated by itself.
const LARGE_BYTES: usize = GREATEST_BYTES / 4;

/// Memory that is given out in pieces and lives as long as the arena.
pub(super) struct Arena {
    /// Where pieces come from; null before the first.
    current: AtomicPtr<Chunk>,
    /// All memory, to give back.
    memory: Mutex<Memory>,
    pool: Arc<PagePool>,
}

#[derive(Default)]
struct Memory {
    pages: Vec<HugePage>,
    blocks: Vec<Block>,
}

/// What a chunk begins with. On lines of its own: what all threads change lies beside nothing that they read.
#[repr(C, align(128))]
struct Chunk {
    /// Bytes given out, this header included; beyond `size` if somebody found no room.
    end: AtomicUsize,
    size: usize,
}

/// Memory of the allocator.
struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the arena owns the memory; pieces are given out once each.
unsafe impl Send for Arena {}
// SAFETY: `allocate` gives no byte to two callers, and nothing else changes what an arena refers to.
unsafe impl Sync for Arena {}

impl Arena {
    /// Without memory.
    pub(super) fn new(pool: Arc<PagePool>) -> Arena {
        let memory = Mutex::new(CHUNKS, Memory::default());
        Arena { current: AtomicPtr::new(ptr::null_mut()), memory, pool }
    }

    /// Memory for `bytes` bytes, not initialised, aligned to [`ALIGN`]. Takes [`Arena::taken_by`] of the arena.
    pub(super) fn allocate(&self, bytes: usize) -> NonNull<u8> {
        let bytes = Self::taken_by(bytes);
        if bytes > LARGE_BYTES {
            return self.memory.lock().allocate_block(bytes, ALIGN);
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
        let mut memory = self.memory.lock();
        if self.current.load(Ordering::Relaxed) != full {
            return;
        }
        // SAFETY: as in `allocate`.
        let last = unsafe { full.as_ref() }.map_or(FIRST_BYTES / 2, |chunk| chunk.size);
        let least = (bytes + size_of::<Chunk>()).next_power_of_two();
        let size = least.max(2 * last).min(GREATEST_BYTES);
        let start = if size == GREATEST_BYTES {
            memory.pages.push(self.pool.take());
            memory.pages.last().expect("it was pushed").start()
        } else {
            memory.allocate_block(size, align_of::<Chunk>())
        };
        let chunk = start.cast::<Chunk>();
        // SAFETY: the memory is as large as that, aligned for it, and known to nobody else yet.
        unsafe { chunk.write(Chunk { end: AtomicUsize::new(size_of::<Chunk>()), size }) };
        self.current.store(chunk.as_ptr(), Ordering::Release);
    }
}

impl Memory {
    fn allocate_block(&mut self, bytes: usize, align: usize) -> NonNull<u8> {
        let layout =
            Layout::from_size_align(bytes, align).expect("a piece is smaller than the address space");
        // SAFETY: no layout is of no bytes.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        self.blocks.push(Block { start, layout });
        start
    }
}

/// The next piece of a chunk, if there is room.
///
/// # Safety
///
/// The chunk is one, at the beginning of memory of its size.
unsafe fn piece(chunk: NonNull<Chunk>, bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: the header is written once, but for `end`, which is atomic.
    let Chunk { end, size } = unsafe { chunk.as_ref() };
    let start = end.fetch_add(bytes, Ordering::Relaxed);
    // SAFETY: the piece lies within the chunk.
    (start + bytes <= *size).then(|| unsafe { chunk.cast::<u8>().add(start) })
}

impl Drop for Arena {
    fn drop(&mut self) {
        let Memory { pages, blocks } = mem::take(self.memory.get_mut());
        for Block { start, layout } in blocks {
            // SAFETY: it was allocated with this layout, and nobody has the arena any more.
            unsafe { dealloc(start.as_ptr(), layout) };
        }
        if !pages.is_empty() {
            self.pool.give_back(pages);
        }
    }
}
