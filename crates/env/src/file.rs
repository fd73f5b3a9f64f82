//! The contract of an open file.

use crate::{
    error::{IoErrorKind, IoResult},
    ledger::WriteOrigin,
};
use core::fmt;

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
