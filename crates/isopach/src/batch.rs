//! Writes that go together.

use crate::{
    close::Handle,
    error::{Error, Result},
    keyspace::Keyspace,
    space::Space,
    write::Operations,
};
use std::sync::Arc;

/// Writes to any keyspaces of one database, in order: a later one on the same key wins.
///
/// Nothing is checked while building. A key, value or batch that is too large, or a keyspace of another
/// database, makes [`Db::write`](crate::Db::write) fail, and nothing of the batch is written.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    operations: Operations,
    /// Keyspaces named, each once.
    spaces: Vec<Arc<Space>>,
    /// The database of the first keyspace.
    handle: Option<Arc<Handle>>,
}

impl Batch {
    /// Without writes.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Puts a value.
    pub fn insert(&mut self, ks: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Batch {
        self.name(ks);
        self.operations.put(ks.id(), key.as_ref(), value.as_ref());
        self
    }

    /// Deletes a key.
    pub fn remove(&mut self, ks: &Keyspace, key: impl AsRef<[u8]>) -> &mut Batch {
        self.name(ks);
        self.operations.delete(ks.id(), key.as_ref());
        self
    }

    /// Number of writes.
    pub fn len(&self) -> usize {
        self.operations.count() as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes it holds; with 24 bytes of its record at most 2^32 - 1 (`BatchTooLarge`).
    pub fn bytes(&self) -> usize {
        self.operations.bytes()
    }

    /// Forgets the writes, keeps the memory.
    pub fn clear(&mut self) {
        self.operations.clear();
        self.spaces.clear();
        self.handle = None;
    }

    fn name(&mut self, ks: &Keyspace) {
        let handle = self.handle.get_or_insert_with(|| Arc::clone(ks.handle()));
        if !Arc::ptr_eq(handle, ks.handle()) {
            self.operations.refuse(Error::foreign());
        }
        if !self.spaces.iter().any(|space| space.id == ks.id()) {
            self.spaces.push(Arc::clone(ks.space()));
        }
    }

    /// What to write to the database of `handle`.
    ///
    /// # Errors
    ///
    /// The batch belongs to another one.
    pub(crate) fn into_parts(self, handle: &Arc<Handle>) -> Result<(Operations, Vec<Arc<Space>>)> {
        match self.handle {
            Some(own) if !Arc::ptr_eq(&own, handle) => Err(Error::foreign()),
            _ => Ok((self.operations, self.spaces)),
        }
    }
}
