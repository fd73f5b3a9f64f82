//! Stores to a file through shared memory: the page cache has them at once, without a call.

use crate::file::{FileMap, is_storable};
use core::{
    ops::Range,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};
use rustix::{
    fs::fstatfs,
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap},
};
use std::{
    fs::File,
    io::{Error, ErrorKind, Result},
};

/// File systems that keep space which was reserved, and allocate none for a store to it: a store can then not
/// fail for want of space, for which it would have no other way than a signal. `statfs(2)` tells these numbers.
///
/// Not among them are those that copy on write, and those of a network.
const SAFE: [u32; 3] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x0102_1994, // tmpfs
];

/// A multiple of the size of a page, whatever that is.
const ALIGN_BYTES: usize = 64 << 10;

/// The first bytes of a file in the memory of this process.
pub(super) struct OsMap {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is this map's own, and is only stored to atomically.
unsafe impl Send for OsMap {}
// SAFETY: as above.
unsafe impl Sync for OsMap {}

impl OsMap {
    /// Maps the first `bytes` bytes of a file that is as long, and not cut while the map is there.
    pub(super) fn new(file: &File, bytes: u64) -> Result<OsMap> {
        let kind = fstatfs(file)?.f_type as u32;
        if bytes == 0 || !SAFE.contains(&kind) {
            return Err(ErrorKind::Unsupported.into());
        }
        if file.metadata()?.len() < bytes {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let bytes = usize::try_from(bytes).map_err(|_| Error::from(ErrorKind::Unsupported))?;
        // SAFETY: the system chooses the address, so no memory of anybody is replaced.
        let start = unsafe {
            mmap(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)
        }?;
        Ok(OsMap { start: NonNull::new(start.cast()).expect("the system maps nothing at 0"), bytes })
    }
}

impl FileMap for OsMap {
    fn store(&self, offset: u64, data: &[u8]) {
        assert!(is_storable(self.bytes as u64, offset, data), "a store lies in the map and is aligned");
        let (words, rest) = data.as_chunks::<8>();
        // SAFETY: all bytes lie in the map, whose start is aligned to a page and `offset` to a word. They are
        // stored atomically, as another thread may store to them, against the contract.
        unsafe {
            let mut at = self.start.add(offset as usize);
            for word in words {
                at.cast::<AtomicU64>().as_ref().store(u64::from_ne_bytes(*word), Ordering::Relaxed);
                at = at.add(8);
            }
            for byte in rest {
                at.cast::<AtomicU8>().as_ref().store(*byte, Ordering::Relaxed);
                at = at.add(1);
            }
        }
    }

    fn populate(&self, bytes: Range<u64>) {
        let inside = |at: u64| usize::try_from(at).map_or(self.bytes, |at| at.min(self.bytes));
        let (from, to) = (inside(bytes.start) & !(ALIGN_BYTES - 1), inside(bytes.end));
        if from >= to {
            return;
        }
        // SAFETY: the memory is this map's, and begins at a page; nothing in it changes.
        let populated =
            unsafe { madvise(self.start.as_ptr().add(from).cast(), to - from, Advice::LinuxPopulateWrite) };
        let _ = populated; // Systems before 5.14 do not know it; pages then come one by one.
    }
}

impl Drop for OsMap {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody has the map any more.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "a map is unmapped once");
    }
}
