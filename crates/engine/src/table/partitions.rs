//! Parts of a table that are read when they are first needed, and in memory from then on, as long as it is open.

use super::{
    BlockHandle,
    index::Index,
    reader::{DataCache, DataCharge},
};
use crate::{error::Result, key::InternalKey};
use alloc::{boxed::Box, sync::Arc};
use once_cell::race::OnceBox;

/// A part of a table.
pub(super) struct Lazy<T>(OnceBox<Loaded<T>>);

struct Loaded<T> {
    content: T,
    bytes: usize,
    /// It takes part in the capacity of the cache.
    _charge: DataCharge,
}

impl<T> Lazy<T> {
    /// Not in memory.
    pub(super) fn new() -> Lazy<T> {
        Lazy(OnceBox::new())
    }

    /// The part, if it is in memory.
    #[inline]
    pub(super) fn get(&self) -> Option<&T> {
        self.0.get().map(|loaded| &loaded.content)
    }

    /// The part. If it is not in memory `load` brings it, with its size there.
    ///
    /// # Errors
    ///
    /// Those of `load`; the next call tries again.
    pub(super) fn get_or_load(
        &self,
        cache: &Arc<DataCache>,
        load: impl FnOnce() -> Result<(T, usize)>,
    ) -> Result<&T> {
        let loaded = self.0.get_or_try_init(|| {
            let (content, bytes) = load()?;
            let bytes = bytes + size_of::<Loaded<()>>();
            Ok(Box::new(Loaded { content, bytes, _charge: cache.charge(bytes) }))
        });
        loaded.map(|loaded| &loaded.content)
    }

    /// Size in memory; 0 if it is not there.
    pub(super) fn loaded_bytes(&self) -> usize {
        self.0.get().map_or(0, |loaded| loaded.bytes)
    }
}

/// The partitions of an index or a filter, one at least, each a block of its own.
pub(super) struct Partitions<T> {
    /// Which of them a key belongs to, and where each lies.
    directory: Index,
    parts: Box<[Lazy<T>]>,
    cache: Arc<DataCache>,
}

impl<T> Partitions<T> {
    /// None of them is in memory.
    pub(super) fn new(directory: Index, cache: &Arc<DataCache>) -> Partitions<T> {
        let parts = (0..directory.len()).map(|_| Lazy::new()).collect();
        Partitions { directory, parts, cache: Arc::clone(cache) }
    }

    /// Which of them a key belongs to, and where each lies.
    pub(super) fn directory(&self) -> &Index {
        &self.directory
    }

    /// The partition that a version would be in; `None` behind the last.
    #[inline]
    pub(super) fn find(&self, target: InternalKey<'_>) -> Option<usize> {
        // What lies behind the last entry is not in the only one either.
        if self.parts.len() == 1 { Some(0) } else { self.directory.find(target) }
    }

    /// A partition, if it is in memory.
    #[inline]
    pub(super) fn get(&self, part: usize) -> Option<&T> {
        self.parts[part].get()
    }

    /// A partition. If it is not in memory `load` brings it, with its size there.
    ///
    /// # Errors
    ///
    /// Those of `load`; the next call tries again.
    pub(super) fn get_or_load(
        &self,
        part: usize,
        load: impl FnOnce(BlockHandle) -> Result<(T, usize)>,
    ) -> Result<&T> {
        self.parts[part].get_or_load(&self.cache, || load(self.directory.handle(part)))
    }

    /// Size in memory at first.
    pub(super) fn least_bytes(&self) -> usize {
        self.directory.resident_bytes() + size_of_val(&*self.parts)
    }

    /// Bytes of the partitions in memory now.
    pub(super) fn loaded_bytes(&self) -> usize {
        self.parts.iter().map(Lazy::loaded_bytes).sum()
    }
}
