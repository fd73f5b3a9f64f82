//! Memory in pieces of a huge page: asked of the operating system on Linux with `std`, else of the allocator.
//!
//! Says nothing of what such memory is for, and keeps none of it.

#![allow(unsafe_code)]

use alloc::alloc::handle_alloc_error;
use core::{alloc::Layout, fmt, ptr::NonNull};

#[cfg(not(all(feature = "std", target_os = "linux", not(miri))))]
use allocator as source;
#[cfg(all(feature = "std", target_os = "linux", not(miri)))]
use system as source;

/// Memory of the size of a huge page, that begins where such a page may. What its bytes are is not said:
/// another owner may have left them. Given back when it is dropped.
///
/// The operating system is asked for a page of this size behind it, so that a hop to memory that no cache
/// holds costs about half; where it has none, nothing else differs. Being apart from what the allocator
/// gives, such memory is neither scattered by other allocations nor left in holes between them.
pub struct HugePage(NonNull<u8>);

// SAFETY: the memory is its owner's alone, whatever the thread.
unsafe impl Send for HugePage {}
// SAFETY: nothing in it is reached by a reference to its owner.
unsafe impl Sync for HugePage {}

impl HugePage {
    /// Size, and what the address is a multiple of.
    pub const BYTES: usize = 2 << 20;

    const LAYOUT: Layout = match Layout::from_size_align(Self::BYTES, Self::BYTES) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two"),
    };

    /// Takes a page. Where there is no memory the program ends, as it does wherever an allocation fails.
    #[allow(clippy::new_without_default)] // There is nothing default in a piece of memory.
    pub fn new() -> HugePage {
        HugePage(source::take().unwrap_or_else(|| handle_alloc_error(Self::LAYOUT)))
    }

    /// Has the system bring it in now, so that nobody waits for that later. Its bytes stay what they are. A hint.
    pub fn populate(&self) {
        source::populate(self.0);
    }

    /// Where it begins.
    pub fn start(&self) -> NonNull<u8> {
        self.0
    }
}

impl Drop for HugePage {
    fn drop(&mut self) {
        // SAFETY: it was taken from there, and nobody else has it.
        unsafe { source::give_back(self.0) };
    }
}

impl fmt::Debug for HugePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HugePage").field(&self.0).finish()
    }
}

#[cfg(all(feature = "std", target_os = "linux", not(miri)))]
mod system {
    use super::HugePage;
    use core::ptr::{self, NonNull};
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    /// Maps twice as much, which holds a page that begins where it should, and gives back what is around it.
    /// Of two places the upper one: there it touches what was mapped before, and both are one mapping to the
    /// system.
    pub(super) fn take() -> Option<NonNull<u8>> {
        const BYTES: usize = HugePage::BYTES;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a mapping of no file, where the system finds room.
        let mapped = unsafe { mmap_anonymous(ptr::null_mut(), 2 * BYTES, access, flags) }.ok()?;
        let behind = mapped.addr() % BYTES;
        let before = BYTES - behind;
        // SAFETY: all of it lies in the mapping, which nobody knows of yet, and the page is left.
        let page = unsafe {
            let page = mapped.byte_add(before);
            unmap(mapped, before);
            unmap(page.byte_add(BYTES), behind);
            page
        };
        // SAFETY: this advice changes no content. It may be refused; then pages are small.
        let _ = unsafe { madvise(page, BYTES, Advice::LinuxHugepage) };
        NonNull::new(page.cast())
    }

    pub(super) fn populate(page: NonNull<u8>) {
        // SAFETY: this advice changes no content. Systems before 5.14 do not know it.
        let _ = unsafe { madvise(page.as_ptr().cast(), HugePage::BYTES, Advice::LinuxPopulateWrite) };
    }

    /// # Safety
    ///
    /// It was taken here, and nobody uses it any more.
    pub(super) unsafe fn give_back(page: NonNull<u8>) {
        // SAFETY: as the caller says.
        unsafe { unmap(page.as_ptr().cast(), HugePage::BYTES) };
    }

    /// What cannot be unmapped, for want of memory in the system, is lost to this process.
    ///
    /// # Safety
    ///
    /// That part of a mapping is the caller's, and nobody uses it any more.
    unsafe fn unmap(start: *mut core::ffi::c_void, bytes: usize) {
        if bytes > 0 {
            // SAFETY: as the caller says.
            let _ = unsafe { munmap(start, bytes) };
        }
    }
}

#[cfg(any(not(all(feature = "std", target_os = "linux", not(miri))), test))]
mod allocator {
    use super::HugePage;
    use alloc::alloc::{alloc, dealloc};
    use core::ptr::NonNull;

    pub(super) fn take() -> Option<NonNull<u8>> {
        // SAFETY: the layout is not of no bytes.
        NonNull::new(unsafe { alloc(HugePage::LAYOUT) })
    }

    /// The allocator says nothing of what is brought in.
    #[cfg(not(all(feature = "std", target_os = "linux", not(miri))))]
    pub(super) fn populate(_page: NonNull<u8>) {}

    /// # Safety
    ///
    /// It was taken here, and nobody uses it any more.
    pub(super) unsafe fn give_back(page: NonNull<u8>) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(page.as_ptr(), HugePage::LAYOUT) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Writes to all of some pages, each with bytes of its own, and looks that they are apart.
    fn use_pages(take: fn() -> NonNull<u8>) -> Vec<NonNull<u8>> {
        let pages: Vec<_> = (0..5).map(|_| take()).collect();
        for (fill, page) in (1..).zip(&pages) {
            assert_eq!(page.addr().get() % HugePage::BYTES, 0);
            // SAFETY: the page is as large.
            unsafe { page.write_bytes(fill, HugePage::BYTES) };
        }
        for (fill, page) in (1..).zip(&pages) {
            // SAFETY: it was written to, and nobody changes it.
            let bytes = unsafe { core::slice::from_raw_parts(page.as_ptr(), HugePage::BYTES) };
            assert!(bytes.iter().all(|&byte| byte == fill));
        }
        pages
    }

    #[test]
    fn pages_are_aligned_and_apart() {
        for page in use_pages(|| core::mem::ManuallyDrop::new(HugePage::new()).start()) {
            drop(HugePage(page));
        }
    }

    #[test]
    fn pages_of_the_allocator_are_aligned_and_apart() {
        for page in use_pages(|| allocator::take().unwrap()) {
            // SAFETY: taken there, and let go by `use_pages`.
            unsafe { allocator::give_back(page) };
        }
    }
}
