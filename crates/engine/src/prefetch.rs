//! Asking for memory before it is needed, so that several lines come at once where each would wait for the one
//! before.

#![allow(unsafe_code)]

const LINE_BYTES: usize = 64;

/// Asks for the lines of so many bytes at a place. A hint: whatever the address, nothing but time depends on it.
pub(crate) fn prefetch<T>(place: *const T, bytes: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for line in (0..bytes).step_by(LINE_BYTES) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction exists on every x86-64, and takes any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.wrapping_byte_add(line).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (place, bytes, LINE_BYTES);
}
