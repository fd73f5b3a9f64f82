//! One ordered map of the database.

use crate::{
    background,
    close::Handle,
    error::{Error, Result},
    health::KeyspaceStats,
    options::{KeyspaceOptions, WriteOptions},
    read::{Iter, Pinned, Readable, readable},
    snapshot::{KeyspaceAt, Snapshot},
    space::Space,
    write::Operations,
};
use isopach_engine::{
    key::KeyRange,
    tree::RangeEstimate,
    types::{Seqno, Slice, TreeId, UnixUs, View},
};
use std::{fmt, slice, sync::Arc};

/// A keyspace. Clones share it; it is `Send + Sync`. Reads see the newest commit; [`Readable`] lists them.
///
/// Every write returns the [`Seqno`] of its commit and may fail as [`Db::write`](crate::Db::write) does.
#[derive(Clone)]
pub struct Keyspace {
    space: Arc<Space>,
    handle: Arc<Handle>,
}

impl Keyspace {
    pub(crate) fn new(space: Arc<Space>, handle: &Arc<Handle>) -> Keyspace {
        Keyspace { space, handle: Arc::clone(handle) }
    }

    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.space.name
    }

    /// Never used again after it is dropped.
    pub fn id(&self) -> TreeId {
        self.space.id
    }

    /// The options in force.
    pub fn options(&self) -> KeyspaceOptions {
        self.space.options()
    }

    /// Changes options while it is in use, durably: they are in force, and stored, when this returns, or all are as
    /// they were. Tables follow them from the next on; those that are there stay as they are until they are
    /// compacted. Concurrent changes come one after the other; `change` must not call the database.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` naming the option; `UnsupportedFeature` for a compression that is not compiled in;
    /// `KeyspaceDropped`, `OutOfSpace`, `Poisoned`, `Closed`, `Io`.
    pub fn set_options(&self, change: impl FnOnce(&mut KeyspaceOptions)) -> Result<()> {
        self.handle.state.set_options(&self.space, change)
    }

    // ----- writing -----

    /// Puts a value.
    ///
    /// # Errors
    ///
    /// `KeyTooLarge`, `ValueTooLarge`, `KeyspaceDropped`, and those of [`Db::write`](crate::Db::write).
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Seqno> {
        self.insert_with(key, value, WriteOptions::default())
    }

    /// Puts a value, with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`Keyspace::insert`].
    pub fn insert_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<Seqno> {
        let mut operations = Operations::reusing();
        operations.put(self.space.id, key.as_ref(), value.as_ref());
        self.write(operations, options)
    }

    /// Deletes a key, present or not.
    ///
    /// # Errors
    ///
    /// As [`Keyspace::insert`].
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<Seqno> {
        self.remove_with(key, WriteOptions::default())
    }

    /// Deletes a key, with a durability of its own.
    ///
    /// # Errors
    ///
    /// As [`Keyspace::insert`].
    pub fn remove_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<Seqno> {
        let mut operations = Operations::reusing();
        operations.delete(self.space.id, key.as_ref());
        self.write(operations, options)
    }

    fn write(&self, operations: Operations, options: WriteOptions) -> Result<Seqno> {
        let result = self.handle.state.write(operations, slice::from_ref(&self.space), options);
        result.map_err(|error| error.in_keyspace(&self.space.name))
    }

    // ----- other reads, measures, maintenance -----

    /// This keyspace in a snapshot.
    pub fn at(&self, snapshot: &Snapshot) -> KeyspaceAt {
        snapshot.keyspace(self)
    }

    /// Number of versions, without reading any: that of keys, unless some were written twice or deleted since they were
    /// last compacted.
    pub fn approximate_len(&self) -> u64 {
        self.space.tree.approximate_len()
    }

    /// About how many versions and bytes a range holds, and its share of all: within half a data block at each end,
    /// and without reading any.
    ///
    /// # Errors
    ///
    /// `Corruption` or `Io` of a table that had to be opened; `Closed`.
    pub fn approximate_range(&self, range: impl KeyRange) -> Result<RangeEstimate> {
        let state = &self.handle.state;
        state.check_open()?;
        let estimate = self.space.tree.approximate_range(range);
        estimate.map_err(|error| state.locate(error)).map_err(|error| error.in_keyspace(&self.space.name))
    }

    /// Size of its tables on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.space.tree.stats().levels.iter().map(|(_, level)| level.bytes).sum()
    }

    /// Shape and counters.
    pub fn stats(&self) -> KeyspaceStats {
        KeyspaceStats::of(&self.space)
    }

    /// Rewrites a range into the last level and drops what nothing needs. Flushes first; returns when done.
    ///
    /// # Errors
    ///
    /// `OutOfSpace`, `Corruption`, `Io`: what was rewritten so far stays so, and nothing is lost.
    pub fn compact_range(&self, range: impl KeyRange) -> Result<()> {
        let state = &self.handle.state;
        state.check_open()?;
        self.space.check_alive()?;
        background::flush_now(state, &self.space)?;
        let result =
            background::compact_range(state, &self.space, &range).map_err(|error| state.locate(error));
        state.tell_outcome(&result);
        result
    }

    /// Pins first, then looks at what is visible: no job in the pinned state dropped anything of it.
    fn pin(&self) -> Result<Pinned> {
        let locate = |error| Error::from(error).in_keyspace(&self.space.name).in_directory(&self.handle.path);
        self.handle.state.check_open()?;
        self.space.check_alive()?;
        let reader = self.space.tree.reader().map_err(locate)?;
        Ok(Pinned {
            reader,
            at: View::new(self.handle.state.views.visible(), UnixUs(0)),
            space: Arc::clone(&self.space),
            path: Arc::clone(&self.handle.path),
            owner: Arc::clone(&self.handle) as _,
        })
    }
}

readable!(Keyspace);

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.space.name).field("id", &self.space.id).finish()
    }
}

impl Snapshot {
    /// A keyspace in this state, dropped since or not; empty if it was created later.
    ///
    /// A keyspace of another database gives errors of kind `InvalidArgument`.
    pub fn keyspace(&self, keyspace: &Keyspace) -> KeyspaceAt {
        self.space(&keyspace.handle, &keyspace.space)
    }
}
