//! A file without its names: content and advisory lock, counted against the space of its place.

use crate::{
    error::{IoErrorKind, IoResult},
    fs::LockMode,
    sync::{
        Rank, RwLock,
        core_atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use alloc::{sync::Arc, vec::Vec};

/// Above the lock of the tree: content changes while the tree is held for reading.
const CONTENT_RANK: Rank = Rank::new(Rank::ENV_LEVELS + 6, "mem_fs.content");

/// A file's content and lock; freed with its last name and handle.
pub(super) struct Inode {
    content: RwLock<Vec<u8>>,
    advisory: Advisory,
    space: Arc<Space>,
}

impl Inode {
    pub(super) fn new(space: Arc<Space>) -> Inode {
        Inode { content: RwLock::new(CONTENT_RANK, Vec::new()), advisory: Advisory::default(), space }
    }

    /// The same content in another place, whose capacity it may exceed.
    pub(super) fn copy_into(&self, space: Arc<Space>) -> Inode {
        let content = self.content.read().clone();
        space.used_bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
        Inode { content: RwLock::new(CONTENT_RANK, content), advisory: Advisory::default(), space }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.content.read().len() as u64
    }

    pub(super) fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        let content = self.content.read();
        let rest = usize::try_from(offset).ok().and_then(|start| content.get(start..)).unwrap_or_default();
        let read_bytes = rest.len().min(buf.len());
        buf[..read_bytes].copy_from_slice(&rest[..read_bytes]);
        read_bytes
    }

    /// Writes all of `data`, or fails with `OutOfSpace` and writes nothing.
    pub(super) fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        if data.is_empty() {
            return Ok(()); // Even far behind the end this extends nothing.
        }
        let end = offset.checked_add(data.len() as u64).ok_or(IoErrorKind::OutOfSpace)?;
        let mut content = self.content.write();
        self.grow(&mut content, end)?;
        let start = usize::try_from(offset).expect("the end fits, and this lies before it");
        content[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }

    /// Cuts or extends with zeros; fails with `OutOfSpace` and changes nothing.
    pub(super) fn set_len(&self, bytes: u64) -> IoResult<()> {
        let mut content = self.content.write();
        let Some(less) = (content.len() as u64).checked_sub(bytes) else {
            return self.grow(&mut content, bytes);
        };
        content.truncate(usize::try_from(bytes).expect("not longer than the content"));
        content.shrink_to_fit();
        self.space.give_back(less);
        Ok(())
    }

    /// Extends with zeros to at least `bytes`; fails with `OutOfSpace` and changes nothing.
    pub(super) fn extend(&self, bytes: u64) -> IoResult<()> {
        self.grow(&mut self.content.write(), bytes)
    }

    fn grow(&self, content: &mut Vec<u8>, bytes: u64) -> IoResult<()> {
        let size_bytes = usize::try_from(bytes).map_err(|_| IoErrorKind::OutOfSpace)?;
        let more = size_bytes.saturating_sub(content.len());
        if more == 0 {
            return Ok(()); // Also where the capacity is below what is used.
        }
        self.space.take(more as u64)?;
        if content.try_reserve(more).is_err() {
            self.space.give_back(more as u64);
            return Err(IoErrorKind::OutOfSpace.into());
        }
        content.resize(size_bytes, 0);
        Ok(())
    }

    /// Takes the advisory lock if nobody is in the way.
    pub(super) fn try_lock(&self, mode: LockMode) -> bool {
        self.advisory.take(mode)
    }

    /// Gives back what [`Inode::try_lock`] took.
    pub(super) fn unlock(&self, mode: LockMode) {
        self.advisory.give_back(mode);
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        let size_bytes = self.content.get_mut().len() as u64;
        self.space.give_back(size_bytes);
    }
}

/// Bytes of all files, and their limit. Counters that stand alone: nothing is ordered by them.
#[derive(Debug)]
pub(super) struct Space {
    used_bytes: AtomicU64,
    /// `u64::MAX`: no limit.
    capacity_bytes: AtomicU64,
}

impl Space {
    /// Empty; `None` is no limit.
    pub(super) fn new(capacity_bytes: Option<u64>) -> Space {
        let space = Space { used_bytes: AtomicU64::new(0), capacity_bytes: AtomicU64::new(0) };
        space.set_capacity(capacity_bytes);
        space
    }

    pub(super) fn set_capacity(&self, bytes: Option<u64>) {
        self.capacity_bytes.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn capacity_bytes(&self) -> Option<u64> {
        Some(self.capacity_bytes.load(Ordering::Relaxed)).filter(|&bytes| bytes != u64::MAX)
    }

    pub(super) fn left_bytes(&self) -> Option<u64> {
        self.capacity_bytes().map(|bytes| bytes.saturating_sub(self.used_bytes.load(Ordering::Relaxed)))
    }

    fn take(&self, bytes: u64) -> IoResult<()> {
        let capacity_bytes = self.capacity_bytes.load(Ordering::Relaxed);
        let take = |used: u64| used.checked_add(bytes).filter(|&after| after <= capacity_bytes);
        match self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(IoErrorKind::OutOfSpace.into()),
        }
    }

    fn give_back(&self, bytes: u64) {
        let before = self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "gives back only what was taken");
    }
}

/// Who holds a file's lock: a count of shared holders, or [`Advisory::EXCLUSIVE`].
///
/// Taking acquires and giving back releases, so that a holder sees what its predecessor did under the lock.
#[derive(Default)]
struct Advisory(AtomicUsize);

impl Advisory {
    const EXCLUSIVE: usize = usize::MAX;

    fn take(&self, mode: LockMode) -> bool {
        let take = |holders: usize| match mode {
            LockMode::Shared => holders.checked_add(1).filter(|&after| after != Self::EXCLUSIVE),
            LockMode::Exclusive => (holders == 0).then_some(Self::EXCLUSIVE),
        };
        self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_ok()
    }

    fn give_back(&self, mode: LockMode) {
        match mode {
            LockMode::Shared => self.0.fetch_sub(1, Ordering::Release),
            LockMode::Exclusive => self.0.swap(0, Ordering::Release),
        };
    }
}
