//! Writes that go together.

use crate::{
    close::Handle,
    error::{Error, Result},
    keyspace::Keyspace,
    read::end_of_prefix,
    space::Space,
    write::{Lives, Operations},
};
use isopach_engine::key::KeyRange;
use std::{ops::Bound, sync::Arc, time::Duration};

/// Writes to any keyspaces of one database, in order: a later one on the same key wins.
///
/// Nothing is checked while building. A key, value or batch that is too large, a range that ends before it begins, a
/// prefix in an order of keys that has none, an operand for a keyspace without operator, or a keyspace of another database, makes [`Db::write`](crate::Db::write) fail, and nothing of the batch is written.
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
        let lives = ks.space().ttl().map(Lives::Default);
        let value = value.as_ref();
        self.operations.put(ks.id(), key.as_ref(), value, lives, ks.space().packing(value.len()));
        self
    }

    /// Puts a value that lives so long from the write on, whatever the write and the keyspace say.
    pub fn insert_ttl(
        &mut self,
        ks: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> &mut Batch {
        self.name(ks);
        let (value, lives) = (value.as_ref(), Some(Lives::Own(ttl)));
        self.operations.put(ks.id(), key.as_ref(), value, lives, ks.space().packing(value.len()));
        self
    }

    /// See [`Keyspace::remove_weak`].
    pub fn remove_weak(&mut self, ks: &Keyspace, key: impl AsRef<[u8]>) -> &mut Batch {
        self.name(ks);
        self.operations.delete_weak(ks.id(), key.as_ref());
        self
    }

    /// Deletes a range; of the batch, what was written to it before. In an order that is not that of bytes a range that ends with
    /// a key counts as two writes, and more are mistakes: see [`Keyspace::remove_range`].
    pub fn remove_range(&mut self, ks: &Keyspace, range: impl KeyRange) -> &mut Batch {
        self.name(ks);
        self.operations.delete_range(ks.id(), ks.space().tree.order(), &range);
        self
    }

    /// Deletes all keys that start with `prefix`; an empty prefix is every key.
    pub fn remove_prefix(&mut self, ks: &Keyspace, prefix: impl AsRef<[u8]>) -> &mut Batch {
        let prefix = prefix.as_ref();
        if let Err(mistake) = ks.space().check_prefixes() {
            self.operations.refuse(mistake);
        }
        self.remove_range(ks, (Bound::Included(prefix), end_of_prefix(prefix)))
    }

    /// Adds an operand. See [`Keyspace::merge`].
    pub fn merge(&mut self, ks: &Keyspace, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> &mut Batch {
        self.name(ks);
        ks.add_merge(&mut self.operations, key.as_ref(), operand.as_ref());
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
