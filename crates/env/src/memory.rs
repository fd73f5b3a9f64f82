//! What the operating system is told of memory. Hints: without `std` or where it knows none, nothing happens.

use core::ptr::NonNull;

/// Asks for huge pages behind `bytes` bytes of memory from `start` on, whole ones of which should begin and end at
/// multiples of two megabytes. A hop to memory that no cache holds then costs about half.
///
/// The memory must be the caller's; nothing in it changes. The answer of the system does not matter.
pub fn prefer_huge_pages(start: NonNull<u8>, bytes: usize) {
    #[cfg(all(feature = "std", target_os = "linux", not(miri)))]
    {
        use rustix::mm::{Advice, madvise};
        // SAFETY: this advice changes no content of any memory, whosever it is.
        #[allow(unsafe_code)]
        let advised = unsafe { madvise(start.as_ptr().cast(), bytes, Advice::LinuxHugepage) };
        let _ = advised; // It may be off; then pages are small.
    }
    #[cfg(not(all(feature = "std", target_os = "linux", not(miri))))]
    let _ = (start, bytes);
}
