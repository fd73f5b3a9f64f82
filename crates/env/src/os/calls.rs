//! The shim between an open file and the system calls on it, and the loops that make interrupted and short
//! calls good. Tests put a shim here that interrupts and shortens.

use crate::file::FileMap;
use alloc::boxed::Box;
use core::ops::Range;
use std::{
    fs::File,
    io::{Error, ErrorKind, Result},
};

/// The system calls on an open file. Each may be interrupted, and a transfer may move fewer bytes than asked.
pub(super) trait Calls: Send + Sync {
    /// Reads some bytes; 0 at the end of the file.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// Writes some bytes.
    fn write(&self, offset: u64, data: &[u8]) -> Result<usize>;

    /// Content and size to the medium.
    fn sync_data(&self) -> Result<()>;

    /// Content and all metadata to the medium.
    fn sync_all(&self) -> Result<()>;

    /// Present size.
    fn size_bytes(&self) -> Result<u64>;

    /// Cuts or extends with zeros.
    fn set_len(&self, bytes: u64) -> Result<()>;

    /// Reserves the first `bytes`, which are not 0, and extends the file to them.
    fn allocate(&self, bytes: u64) -> Result<()>;

    /// Drops clean pages from the cache.
    fn drop_cached(&self, bytes: Range<u64>) -> Result<()>;

    /// Maps the first `bytes` for stores.
    fn map(&self, bytes: u64) -> Result<Box<dyn FileMap>>;
}

impl Calls for File {
    #[cfg(unix)]
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, offset)
    }

    #[cfg(windows)]
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self, buf, offset)
    }

    #[cfg(unix)]
    fn write(&self, offset: u64, data: &[u8]) -> Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, data, offset)
    }

    #[cfg(windows)]
    fn write(&self, offset: u64, data: &[u8]) -> Result<usize> {
        std::os::windows::fs::FileExt::seek_write(self, data, offset)
    }

    fn sync_data(&self) -> Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> Result<()> {
        File::sync_all(self)
    }

    fn size_bytes(&self) -> Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        File::set_len(self, bytes)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, bytes: u64) -> Result<()> {
        Ok(rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _bytes: u64) -> Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    fn drop_cached(&self, bytes: Range<u64>) -> Result<()> {
        let len = core::num::NonZeroU64::new(bytes.end.saturating_sub(bytes.start));
        Ok(rustix::fs::fadvise(self, bytes.start, len, rustix::fs::Advice::DontNeed)?)
    }

    #[cfg(not(all(target_os = "linux", not(miri))))]
    fn drop_cached(&self, _bytes: Range<u64>) -> Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    fn map(&self, bytes: u64) -> Result<Box<dyn FileMap>> {
        Ok(Box::new(super::map::OsMap::new(self, bytes)?))
    }

    #[cfg(not(all(target_os = "linux", not(miri))))]
    fn map(&self, _bytes: u64) -> Result<Box<dyn FileMap>> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// Reads until `buf` is full or the file ends; returns the bytes read.
pub(super) fn read_full(calls: &impl Calls, offset: u64, buf: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match uninterrupted(|| calls.read(offset + done as u64, &mut buf[done..]))? {
            0 => break,
            read_bytes => done += read_bytes,
        }
    }
    Ok(done)
}

/// Writes all of `data`.
pub(super) fn write_all(calls: &impl Calls, offset: u64, data: &[u8]) -> Result<()> {
    // Checked once for all steps: the system's limit is lower still.
    offset.checked_add(data.len() as u64).ok_or_else(|| Error::from(ErrorKind::FileTooLarge))?;
    let mut done = 0;
    while done < data.len() {
        match uninterrupted(|| calls.write(offset + done as u64, &data[done..]))? {
            0 => return Err(ErrorKind::WriteZero.into()),
            written_bytes => done += written_bytes,
        }
    }
    Ok(())
}

/// Repeats a call until no signal interrupts it.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match once(&mut call) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A system call, which a signal may interrupt; in tests when they say so.
#[inline]
pub(super) fn once<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    #[cfg(test)]
    interruptions::pass()?;
    call()
}

/// Signals that come when a test says so.
#[cfg(test)]
pub(super) mod interruptions {
    use core::cell::Cell;
    use std::io::{ErrorKind, Result};

    std::thread_local! {
        /// Calls of this thread that pass before one is interrupted.
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// Interrupts one call of this thread, after so many that pass.
    pub(in crate::os) fn after(calls: u32) {
        LEFT.set(Some(calls));
    }

    /// Takes back what is left of [`after`]; whether the call was interrupted.
    pub(in crate::os) fn happened() -> bool {
        LEFT.take().is_none()
    }

    pub(super) fn pass() -> Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => {
                LEFT.set(None);
                Err(ErrorKind::Interrupted.into())
            }
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }
}
