//! Bytes that are not there at first, and once they are, stay as they are.
//!
//! A `OnceBox<Vec<u8>>` would be the same, but for a header on a line of its own between its pointer and the
//! bytes, which every reader would wait for.

#![allow(unsafe_code)]

use crate::env::sync::atomic::{AtomicPtr, Ordering};
use alloc::boxed::Box;
use core::{
    ptr::{self, NonNull},
    slice,
};

/// Bytes of a number that is known before them.
pub(super) struct OnceBytes {
    /// Null, or of a box of `len` bytes that is this one's until it is dropped. Changes once, from null.
    /// Stored with `Release` and loaded with `Acquire`: who sees the pointer sees the bytes.
    start: AtomicPtr<u8>,
    len: usize,
}

impl OnceBytes {
    /// Room for `len` bytes. Nothing is allocated.
    pub(super) fn new(len: usize) -> OnceBytes {
        OnceBytes { start: AtomicPtr::new(ptr::null_mut()), len }
    }

    /// How many there are, or will be.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where they are, if they are there. For who does not read them yet.
    pub(super) fn start(&self) -> *const u8 {
        self.start.load(Ordering::Relaxed)
    }

    /// The bytes, if they are there.
    #[inline]
    pub(super) fn get(&self) -> Option<&[u8]> {
        let start = NonNull::new(self.start.load(Ordering::Acquire))?;
        // SAFETY: it came out of a box of so many bytes, which were written before the pointer was stored.
        // From then on nobody changes them, and the box is dropped with `self`.
        Some(unsafe { slice::from_raw_parts(start.as_ptr(), self.len) })
    }

    /// Brings the bytes.
    ///
    /// # Panics
    ///
    /// If they are there already, or are not as many as was said.
    pub(super) fn set(&self, bytes: Box<[u8]>) {
        assert_eq!(bytes.len(), self.len, "the number of bytes was known before");
        let start = Box::into_raw(bytes).cast::<u8>();
        let before =
            self.start.compare_exchange(ptr::null_mut(), start, Ordering::Release, Ordering::Relaxed);
        assert!(before.is_ok(), "bytes are brought once");
    }
}

impl Drop for OnceBytes {
    fn drop(&mut self) {
        if let Some(start) = NonNull::new(*self.start.get_mut()) {
            // SAFETY: it came out of a box of so many bytes, and nobody has a reference to them or to `self`.
            drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(start.as_ptr(), self.len)) });
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use alloc::{vec, vec::Vec};
    use std::thread;

    #[test]
    fn bytes_are_there_once_they_were_brought() {
        let bytes = OnceBytes::new(3);
        assert_eq!((bytes.get(), bytes.len()), (None, 3));

        bytes.set(vec![1, 2, 3].into());

        assert_eq!(bytes.get(), Some(&[1, 2, 3][..]));
        assert_eq!(bytes.start(), bytes.get().unwrap().as_ptr());
    }

    #[test]
    #[should_panic(expected = "brought once")]
    fn bytes_do_not_change() {
        let bytes = OnceBytes::new(1);
        bytes.set(vec![1].into());

        bytes.set(vec![2].into());
    }

    #[test]
    fn who_sees_bytes_sees_all_of_them() {
        let pages: Vec<OnceBytes> = (0..100).map(|_| OnceBytes::new(64)).collect();

        thread::scope(|scope| {
            scope.spawn(|| pages.iter().for_each(|page| page.set(vec![7; 64].into())));
            scope.spawn(|| {
                for page in &pages {
                    while page.get().is_none() {
                        thread::yield_now();
                    }
                    assert_eq!(page.get(), Some(&[7; 64][..]));
                }
            });
        });
    }
}
