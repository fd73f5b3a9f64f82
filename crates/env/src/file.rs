//! The contract of an open file.

use crate::{
    error::{IoErrorKind, IoResult},
    ledger::WriteOrigin,
};
use alloc::boxed::Box;
use core::{fmt, ops::Range};

/// An open file. Shared by threads; positioned access only, so there is no cursor.
///
/// Concurrent writes to ranges that do not overlap do not disturb each other; of ranges that do overlap, or
/// of a read beside a write, nothing is promised.
pub trait File: Send + Sync {
    /// Reads up to `buf.len()` bytes from byte `offset` on; fewer only at the end of the file, none behind
    /// it.
    ///
    /// # Errors
    ///
    /// What the medium reports; `buf` may then hold anything.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<usize>;

    /// Writes all of `data` from byte `offset` on. Past the end the file grows; a gap reads as zeros.
    ///
    /// # Errors
    ///
    /// `OutOfSpace`; `PermissionDenied` on a handle for reading; what the medium reports. Any part of `data`
    /// may have been written.
    fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()>;

    /// Makes the content durable: all writes, through any handle of the file, that returned before this call.
    ///
    /// # Errors
    ///
    /// What the medium reports. Nothing may then be assumed about earlier writes, and a later sync that
    /// succeeds says nothing about them either.
    fn sync(&self, mode: SyncMode, site: SyncSite) -> IoResult<()>;

    /// Present size.
    ///
    /// # Errors
    ///
    /// What the medium reports.
    fn size_bytes(&self) -> IoResult<u64>;

    /// Cuts the file to `bytes`, or extends it with zeros.
    ///
    /// # Errors
    ///
    /// As [`File::write_at`].
    fn set_len(&self, bytes: u64) -> IoResult<()>;

    /// Reserves space, so that later writes below `bytes` do not fail for lack of it. Makes the size at least
    /// `bytes`: new bytes read as zeros. Content stays as it is.
    ///
    /// # Errors
    ///
    /// `Unsupported` where space cannot be reserved; `OutOfSpace`. The file may have grown in part.
    fn allocate(&self, bytes: u64) -> IoResult<()> {
        let _ = bytes;
        Err(IoErrorKind::Unsupported.into())
    }

    /// Has what is read of these bytes come from the medium, and not from memory of the system, as far as that can be had;
    /// bytes that are not durable stay where they are. A hint.
    fn drop_cached(&self, bytes: Range<u64>) {
        let _ = bytes;
    }

    /// Maps the first `bytes` bytes, which must be reserved: [`File::allocate`] said so. What is stored through
    /// the map is written as by [`File::write_at`], without a call and without a way to fail.
    ///
    /// While the map is there the file must not be cut below `bytes`.
    ///
    /// # Errors
    ///
    /// `Unsupported` where stores to reserved space can fail, or there are no maps: callers then write.
    /// `UnexpectedEnd` if the file is shorter; `PermissionDenied` on a handle for reading.
    fn map(&self, bytes: u64) -> IoResult<Box<dyn FileMap>> {
        let _ = bytes;
        Err(IoErrorKind::Unsupported.into())
    }
}

/// The beginning of a file, to be stored to. Shared by threads; dropping it unmaps, and what was stored stays.
pub trait FileMap: Send + Sync {
    /// Stores `data` from byte `offset` on, a multiple of eight. Readers of the file see it, and it outlives the
    /// process. Of two stores to one range, or of a read beside a store, nothing is promised.
    ///
    /// # Panics
    ///
    /// If the bytes do not lie in the map, or `offset` is no multiple of eight.
    fn store(&self, offset: u64, data: &[u8]);

    /// Brings the pages of these bytes into memory, so that stores do not wait for them; as if they were stored to, they are
    /// written to the medium. A hint.
    fn populate(&self, bytes: Range<u64>) {
        let _ = bytes;
    }
}

impl fmt::Debug for dyn FileMap + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileMap").finish_non_exhaustive()
    }
}

/// Whether a store lies in a map of so many bytes, as [`FileMap::store`] asks.
pub(crate) fn is_storable(map_bytes: u64, offset: u64, data: &[u8]) -> bool {
    let end = offset.checked_add(data.len() as u64);
    offset.is_multiple_of(8) && end.is_some_and(|end| end <= map_bytes)
}

impl dyn File + '_ {
    /// Fills `buf` from byte `offset` on.
    ///
    /// # Errors
    ///
    /// `UnexpectedEnd` if the file ends before `buf` is full; otherwise as [`File::read_at`].
    pub fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<()> {
        let read_bytes = self.read_at(offset, buf)?;
        if read_bytes < buf.len() { Err(IoErrorKind::UnexpectedEnd.into()) } else { Ok(()) }
    }
}

impl fmt::Debug for dyn File + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").finish_non_exhaustive()
    }
}

/// How [`Fs::open`](crate::Fs::open) opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OpenMode {
    /// Reading only: writes are `PermissionDenied`.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// How [`Fs::create`](crate::Fs::create) creates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CreateOptions {
    /// Who writes: the ledger of written bytes is kept by origin.
    pub origin: WriteOrigin,
}

impl CreateOptions {
    /// A file written by `origin`.
    pub const fn new(origin: WriteOrigin) -> CreateOptions {
        CreateOptions { origin }
    }
}

/// What a sync promises when it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SyncMode {
    /// Content and size are on the medium.
    Durable,
    /// As `Durable`, with the file's metadata, and the device's own cache is emptied too where the operating
    /// system distinguishes that.
    Full,
}

/// Name of the place in the code that syncs, so that tests can mute one site and expect a violation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SyncSite(pub &'static str);
