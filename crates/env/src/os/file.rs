//! An open file of the operating system.

use super::calls::{Calls, read_full, uninterrupted, write_all};
use crate::{
    error::{IoErrorKind, IoResult},
    file::{File, FileMap, OpenMode, SyncMode, SyncSite},
    ledger::{Ledger, WriteOrigin},
};
use alloc::{boxed::Box, sync::Arc};
use core::ops::Range;

/// Keeps the contract of [`File`] over calls that may be interrupted or short. A sync that failed for any
/// other reason is never repeated: the second one could succeed without the lost pages.
pub(super) struct OsFile<C: Calls> {
    pub(super) calls: C,
    pub(super) ledger: Arc<Ledger>,
    pub(super) origin: WriteOrigin,
    pub(super) mode: OpenMode,
}

impl<C: Calls> OsFile<C> {
    /// Refuses to change a file opened for reading: systems report that by different numbers, some of which
    /// mean other things too.
    fn check_writable(&self) -> IoResult<()> {
        match self.mode {
            OpenMode::Read => Err(IoErrorKind::PermissionDenied.into()),
            OpenMode::ReadWrite => Ok(()),
        }
    }
}

impl<C: Calls> File for OsFile<C> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<usize> {
        // No file has bytes up there, and the system would call the offset invalid.
        if offset > i64::MAX as u64 {
            return Ok(0);
        }
        Ok(read_full(&self.calls, offset, buf)?)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        self.check_writable()?;
        write_all(&self.calls, offset, data)?;
        self.ledger.add(self.origin, data.len() as u64);
        Ok(())
    }

    fn sync(&self, mode: SyncMode, _site: SyncSite) -> IoResult<()> {
        Ok(uninterrupted(|| match mode {
            SyncMode::Durable => self.calls.sync_data(),
            SyncMode::Full => self.calls.sync_all(),
        })?)
    }

    fn size_bytes(&self) -> IoResult<u64> {
        Ok(uninterrupted(|| self.calls.size_bytes())?)
    }

    fn set_len(&self, bytes: u64) -> IoResult<()> {
        self.check_writable()?;
        Ok(uninterrupted(|| self.calls.set_len(bytes))?)
    }

    fn allocate(&self, bytes: u64) -> IoResult<()> {
        self.check_writable()?;
        if bytes == 0 {
            return Ok(()); // The system would call it invalid.
        }
        Ok(uninterrupted(|| self.calls.allocate(bytes))?)
    }

    fn drop_cached(&self, bytes: Range<u64>) {
        let _is_only_a_hint = uninterrupted(|| self.calls.drop_cached(bytes.clone()));
    }

    fn map(&self, bytes: u64) -> IoResult<Box<dyn FileMap>> {
        self.check_writable()?;
        let map = uninterrupted(|| self.calls.map(bytes))?;
        Ok(Box::new(CountedMap { map, ledger: Arc::clone(&self.ledger), origin: self.origin }))
    }
}

/// Counts what is stored among what is written.
struct CountedMap {
    map: Box<dyn FileMap>,
    ledger: Arc<Ledger>,
    origin: WriteOrigin,
}

impl FileMap for CountedMap {
    fn store(&self, offset: u64, data: &[u8]) {
        self.map.store(offset, data);
        self.ledger.add(self.origin, data.len() as u64);
    }

    fn populate(&self, bytes: Range<u64>) {
        self.map.populate(bytes);
    }
}

#[cfg(test)]
mod tests;
