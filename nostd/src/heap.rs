//! The heap of a program without a system below it: one region of memory, given out in powers of two.
//!
//! What is freed goes to a list of its size and is given out again. Sizes are never split or joined: simple,
//! and enough for a program that ends.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    hint, ptr,
    sync::atomic::{AtomicBool, Ordering},
};

/// All memory there is. It costs nothing until it is touched.
const REGION_BYTES: usize = 64 << 20;

/// Alignment of every block; also the least block, which holds the link of a free one.
const LEAST_BYTES: usize = 16;

/// Lists of free blocks: of 16 bytes, 32, 64, ...
const CLASSES: usize = 24;

/// The allocator.
pub struct Heap {
    /// Taken for each call.
    is_taken: AtomicBool,
    lists: UnsafeCell<Lists>,
    region: UnsafeCell<Region>,
}

struct Lists {
    /// Heads of the lists of free blocks; each block begins with the address of the next.
    free: [*mut u8; CLASSES],
    /// Bytes of the region that were ever given out.
    used_bytes: usize,
}

#[repr(align(4096))]
struct Region(#[expect(dead_code, reason = "blocks are reached by their address")] [u8; REGION_BYTES]);

// SAFETY: `lists` and `region` are touched only while `is_taken` is set by the thread that touches them.
unsafe impl Sync for Heap {}

impl Heap {
    /// With the whole region free.
    pub const fn new() -> Heap {
        Heap {
            is_taken: AtomicBool::new(false),
            lists: UnsafeCell::new(Lists { free: [ptr::null_mut(); CLASSES], used_bytes: 0 }),
            region: UnsafeCell::new(Region([0; REGION_BYTES])),
        }
    }

    fn with_lists<T>(&self, f: impl FnOnce(&mut Lists) -> T) -> T {
        while self.is_taken.swap(true, Ordering::Acquire) {
            hint::spin_loop();
        }
        // SAFETY: `is_taken` was clear and is set now, so this is the only reference.
        let result = f(unsafe { &mut *self.lists.get() });
        self.is_taken.store(false, Ordering::Release);
        result
    }

    /// Which list blocks of this layout belong to; `None` if there is none so large.
    fn class_of(layout: Layout) -> Option<usize> {
        let bytes = layout.size().max(layout.align()).max(LEAST_BYTES).checked_next_power_of_two()?;
        let class = (bytes / LEAST_BYTES).ilog2() as usize;
        (class < CLASSES && layout.align() <= 4096).then_some(class)
    }
}

// SAFETY: a block is given out once until it is freed: from its list, or from the part of the region that
// never was. Blocks lie at multiples of their size, up to the alignment of the region, so they have the
// alignment asked for.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = Heap::class_of(layout) else {
            return ptr::null_mut();
        };
        let bytes = LEAST_BYTES << class;
        self.with_lists(|lists| {
            let block = lists.free[class];
            if !block.is_null() {
                // SAFETY: a block in a list is free, 16 bytes or longer, and begins with the address of the
                // next.
                lists.free[class] = unsafe { block.cast::<*mut u8>().read() };
                return block;
            }
            let start = lists.used_bytes.next_multiple_of(bytes.min(4096));
            if start > REGION_BYTES - bytes.min(REGION_BYTES) || bytes > REGION_BYTES {
                return ptr::null_mut();
            }
            lists.used_bytes = start + bytes;
            // SAFETY: `start + bytes` lies within the region.
            unsafe { self.region.get().cast::<u8>().add(start) }
        })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let class = Heap::class_of(layout).expect("the layout that the block was given out for");
        self.with_lists(|lists| {
            // SAFETY: the caller gives back a block of this layout, which is 16 bytes or longer.
            unsafe { block.cast::<*mut u8>().write(lists.free[class]) };
            lists.free[class] = block;
        });
    }
}
