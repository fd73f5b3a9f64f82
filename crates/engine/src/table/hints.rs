//! Where the cached blocks of a table lie in memory, for those who are about to search in one.
//!
//! Who finds a block in the cache goes through a lock, then to the block, then to its keys and its pages, and
//! each waits for the one before. The addresses are kept here, too, close together: all of that memory is asked
//! for at once, and while the filter is still waited for. They are good for nothing else. Nobody follows them, so
//! it does no harm if the block is gone by then and the memory another's.

use super::DataBlock;
use crate::prefetch::prefetch;
use alloc::{boxed::Box, sync::Arc};
use core::{
    ptr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Addresses for each block of a table.
pub(super) struct Hints(Box<[Hint]>);

/// Addresses of the parts of a block, or 0. All are stored and loaded `Relaxed`: no memory is read by them.
#[derive(Default)]
struct Hint([AtomicUsize; DataBlock::PART_BYTES.len()]);

impl Hints {
    /// For so many blocks, of which none is in memory.
    pub(super) fn new(blocks: usize) -> Hints {
        Hints((0..blocks).map(|_| Hint::default()).collect())
    }

    /// Notes where a block is.
    pub(super) fn note(&self, block: usize, place: &Arc<DataBlock>) {
        for (hint, part) in self.0[block].0.iter().zip(DataBlock::parts(place)) {
            hint.store(part.addr(), Relaxed);
        }
    }

    /// Asks for what a search in a block goes through, if there is such a block.
    #[inline]
    pub(super) fn prefetch(&self, block: usize) {
        let Some(hint) = self.0.get(block) else { return };
        for (hint, bytes) in hint.0.iter().zip(DataBlock::PART_BYTES) {
            prefetch(ptr::without_provenance::<u8>(hint.load(Relaxed)), bytes);
        }
    }

    /// Size in memory, beside the value itself.
    pub(super) fn resident_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}
