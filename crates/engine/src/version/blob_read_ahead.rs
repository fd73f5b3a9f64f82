//! Reading ahead in files of separated values, for scans: keys that follow each other have values that do, in as many files
//! as flushes wrote them to, so each file has a window of its own.

use super::blobs::BlobFiles;
use crate::{
    blob::{BlobPointer, ReadBlobs},
    error::Result,
    types::{BlobId, Slice},
};
use alloc::{collections::BTreeMap, sync::Arc};
use isopach_env::sync::{Mutex, Rank};

/// Of the windows of one scan. Held while its file is read.
const RANK: Rank = Rank::new(56, "blob.windows");

/// Bytes that the windows of one scan take together.
const ALL_BYTES: u64 = 4 << 20;
/// The largest window. Larger reads gain nothing.
const MAX_BYTES: u64 = 256 << 10;
/// Windows that would be smaller than this are not worth it.
const MIN_BYTES: u64 = 16 << 10;

/// Between two values that follow each other at most so many bytes are passed over: those of stale ones.
const MAX_GAP_BYTES: u64 = 64 << 10;

/// Reads separated values for one scan, forwards or backwards.
pub struct BlobReadAhead {
    files: Arc<BlobFiles>,
    window_bytes: u64,
    windows: Mutex<BTreeMap<BlobId, Window>>,
}

/// What was read of a file.
#[derive(Default)]
struct Window {
    /// The last record that was asked for: where it began and ended.
    last: (u64, u64),
    /// Bytes in memory, and where they begin.
    bytes: Slice,
    start: u64,
}

impl BlobReadAhead {
    /// What reads for a scan of a state that has these files.
    pub fn reader(files: &Arc<BlobFiles>) -> Arc<dyn ReadBlobs> {
        let window_bytes = (ALL_BYTES / files.len().max(1) as u64).min(MAX_BYTES);
        if files.is_empty() || window_bytes < MIN_BYTES {
            return Arc::<BlobFiles>::clone(files);
        }
        let windows = Mutex::new(RANK, BTreeMap::new());
        Arc::new(BlobReadAhead { files: Arc::clone(files), window_bytes, windows })
    }
}

impl Window {
    /// The bytes `start..end` of the file, if they are in memory.
    fn get(&self, start: u64, end: u64) -> Option<Slice> {
        let is_inside = start >= self.start && end <= self.start + self.bytes.len() as u64;
        is_inside.then(|| self.bytes.slice((start - self.start) as usize..(end - self.start) as usize))
    }

    /// Which bytes to read for the record `start..end`, of a file of `file_bytes`: more than it if it comes right behind
    /// the last one, or right before.
    fn plan(&self, (start, end): (u64, u64), window_bytes: u64, file_bytes: u64) -> (u64, u64) {
        let (last_start, last_end) = self.last;
        let is_near = |from: u64, to: u64| to.checked_sub(from).is_some_and(|gap| gap <= MAX_GAP_BYTES);
        if last_end == 0 {
            (start, end)
        } else if is_near(last_end, start) {
            (start, end.max(start + window_bytes).min(file_bytes))
        } else if is_near(end, last_start) {
            (start.min(end.saturating_sub(window_bytes)), end)
        } else {
            (start, end)
        }
    }
}

impl ReadBlobs for BlobReadAhead {
    fn read(&self, key: &[u8], pointer: &BlobPointer) -> Result<Slice> {
        self.files.with_file(key, pointer, |file| {
            let record = (pointer.offset, pointer.offset.saturating_add(pointer.record_bytes.into()));
            file.check_inside(key, pointer)?;
            let mut windows = self.windows.lock();
            let window = windows.entry(pointer.file).or_default();
            let bytes = match window.get(record.0, record.1) {
                Some(bytes) => bytes,
                None => {
                    let (start, end) = window.plan(record, self.window_bytes, file.bytes());
                    let read = file.read_bytes(key, start, end - start)?;
                    if (start, end) == record {
                        window.last = record;
                        drop(windows);
                        return file.value_in(key, pointer, read);
                    }
                    (window.bytes, window.start) = (read, start);
                    window.get(record.0, record.1).expect("it was read around the record")
                }
            };
            window.last = record;
            drop(windows);
            file.value_in(key, pointer, bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: u64, end: u64) -> Window {
        Window { last: (start, end), ..Window::default() }
    }

    #[test]
    fn more_is_read_than_asked_for_only_next_to_what_was_read_last() {
        let plan = |window: &Window, record| window.plan(record, 1000, 5000);

        assert_eq!(plan(&Window::default(), (64, 100)), (64, 100), "nothing is known yet");
        assert_eq!(plan(&at(64, 100), (100, 150)), (100, 1100));
        assert_eq!(plan(&at(64, 100), (300, 350)), (300, 1300), "over stale ones");
        assert_eq!(plan(&at(64, 100), (100, 3000)), (100, 3000), "a record longer than a window");
        assert_eq!(plan(&at(64, 4500), (4500, 4600)), (4500, 5000), "up to the end of the file");
        assert_eq!(plan(&at(2000, 2100), (1900, 2000)), (1000, 2000), "backwards");
        assert_eq!(plan(&at(400, 500), (350, 400)), (0, 400));
        let far = 100 + MAX_GAP_BYTES + 1;
        assert_eq!(at(64, 100).plan((far, far + 10), 1000, 1 << 20), (far, far + 10));
    }

    #[test]
    fn a_window_gives_what_it_holds() {
        let window =
            Window { bytes: Slice::from((0..100).collect::<alloc::vec::Vec<u8>>()), start: 50, last: (0, 0) };

        assert_eq!(window.get(60, 63).unwrap(), &[10, 11, 12]);
        assert_eq!(window.get(50, 150).unwrap().len(), 100);
        assert!(window.get(49, 60).is_none() && window.get(149, 151).is_none());
    }
}
