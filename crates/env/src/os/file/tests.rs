//! Interrupted and short system calls below [`OsFile`].

use super::*;
use crate::error::IoErrorKind;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::{
    io::{Error, ErrorKind, Result},
    sync::Mutex,
};

const SITE: SyncSite = SyncSite("test");

/// A file in memory whose every second call is interrupted and whose transfers move at most `STEP` bytes.
#[derive(Default)]
struct Flaky {
    content: Mutex<Vec<u8>>,
    calls_count: AtomicUsize,
    syncs_count: AtomicUsize,
    /// Fails every call that is not interrupted.
    broken: Option<ErrorKind>,
}

impl Flaky {
    const STEP: usize = 3;

    fn pass(&self) -> Result<()> {
        if self.calls_count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(ErrorKind::Interrupted.into());
        }
        self.broken.map_or(Ok(()), |kind| Err(Error::from(kind)))
    }

    fn resize(&self, bytes: u64) {
        self.content.lock().expect("no panic").resize(usize::try_from(bytes).expect("small"), 0);
    }
}

impl Calls for Flaky {
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.pass()?;
        let content = self.content.lock().expect("no panic");
        let rest = content.get(usize::try_from(offset).expect("small")..).unwrap_or_default();
        let step = rest.len().min(buf.len()).min(Self::STEP);
        buf[..step].copy_from_slice(&rest[..step]);
        Ok(step)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<usize> {
        self.pass()?;
        let step = data.len().min(Self::STEP);
        let start = usize::try_from(offset).expect("small");
        let mut content = self.content.lock().expect("no panic");
        let size_bytes = content.len().max(start + step);
        content.resize(size_bytes, 0);
        content[start..start + step].copy_from_slice(&data[..step]);
        Ok(step)
    }

    fn sync_data(&self) -> Result<()> {
        self.syncs_count.fetch_add(1, Ordering::Relaxed);
        self.pass()
    }

    fn sync_all(&self) -> Result<()> {
        self.sync_data()
    }

    fn size_bytes(&self) -> Result<u64> {
        self.pass()?;
        Ok(self.content.lock().expect("no panic").len() as u64)
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        self.pass()?;
        self.resize(bytes);
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        self.pass()?;
        self.resize(bytes);
        Ok(())
    }

    fn drop_cached(&self, _bytes: Range<u64>) -> Result<()> {
        self.pass()
    }

    fn map(&self, _bytes: u64) -> Result<Box<dyn FileMap>> {
        self.pass()?;
        Err(ErrorKind::Unsupported.into())
    }
}

fn file_over(calls: Flaky) -> OsFile<Flaky> {
    OsFile { calls, ledger: Arc::new(Ledger::new()), origin: WriteOrigin::Log, mode: OpenMode::ReadWrite }
}

#[test]
fn short_and_interrupted_writes_write_everything_and_count_it_once() {
    let file = file_over(Flaky::default());

    file.write_at(2, b"0123456789").expect("made good");

    assert_eq!(*file.calls.content.lock().expect("no panic"), b"\0\x000123456789");
    assert_eq!(file.ledger.bytes(WriteOrigin::Log), 10);
}

#[test]
fn short_and_interrupted_reads_fill_the_buffer_up_to_the_end_of_the_file() {
    let file = file_over(Flaky::default());
    file.write_at(0, b"0123456789").expect("made good");

    let mut buf = [b'-'; 8];
    assert_eq!(file.read_at(1, &mut buf), Ok(8));
    assert_eq!(&buf, b"12345678");

    let mut buf = [b'-'; 8];
    assert_eq!(file.read_at(6, &mut buf), Ok(4));
    assert_eq!(&buf, b"6789----");
    assert_eq!(file.read_at(10, &mut buf), Ok(0));
}

#[test]
fn interrupted_calls_that_move_no_bytes_are_repeated() {
    let file = file_over(Flaky::default());

    assert_eq!(file.set_len(5), Ok(()));
    assert_eq!(file.allocate(7), Ok(()));
    assert_eq!(file.size_bytes(), Ok(7));
    assert_eq!(file.sync(SyncMode::Durable, SITE), Ok(()));
    assert_eq!(file.sync(SyncMode::Full, SITE), Ok(()));
    assert_eq!(file.calls.syncs_count.load(Ordering::Relaxed), 4, "two syncs, each interrupted once");
}

#[test]
fn a_failed_sync_is_not_repeated() {
    let file = file_over(Flaky { broken: Some(ErrorKind::Other), ..Flaky::default() });

    assert_eq!(file.sync(SyncMode::Durable, SITE), Err(IoErrorKind::Other.into()));

    assert_eq!(file.calls.syncs_count.load(Ordering::Relaxed), 2, "one interruption and one failure");
}

#[test]
fn a_failed_write_is_reported_and_not_counted() {
    let file = file_over(Flaky { broken: Some(ErrorKind::StorageFull), ..Flaky::default() });

    assert_eq!(file.write_at(0, b"0123"), Err(IoErrorKind::OutOfSpace.into()));

    assert_eq!(file.ledger.bytes(WriteOrigin::Log), 0);
}

#[test]
fn offsets_beyond_any_file_are_no_overflow() {
    let file = file_over(Flaky::default());

    assert_eq!(file.read_at(u64::MAX, &mut [0; 2]), Ok(0));
    assert_eq!(file.write_at(u64::MAX, b"01").map_err(|error| error.kind()), Err(IoErrorKind::Other));
}
