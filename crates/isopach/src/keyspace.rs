//! One ordered map of the database.

use crate::{
    background,
    close::Handle,
    error::{Error, ErrorKind, Result},
    health::KeyspaceStats,
    ingest::{Given, Ingest},
    options::{KeyspaceOptions, WriteOptions},
    read::{Iter, Pinned, ReadTime, Readable, end_of_prefix, readable},
    snapshot::{KeyspaceAt, Snapshot},
    space::Space,
    write::{Lives, Operations},
};
use isopach_engine::{
    key::KeyRange,
    tree::RangeEstimate,
    types::{Seqno, Slice, TreeId},
};
use std::{fmt, ops::Bound, path::Path, slice, sync::Arc};

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
    /// `MissingPrefixExtractor`; `KeyspaceDropped`, `OutOfSpace`, `Poisoned`, `Closed`, `Io`.
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
        let lives = options.ttl.map(Lives::Own).or_else(|| self.space.ttl().map(Lives::Default));
        let value = value.as_ref();
        operations.put(self.space.id, key.as_ref(), value, lives, self.space.packing(value.len()));
        self.write(operations, WriteOptions { ttl: None, ..options })
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

    /// Deletes a key that was put at most once since it was last deleted, such as an entry of a queue or of an index: the two
    /// vanish when they meet, in whatever level, instead of going down to the last.
    ///
    /// A key may have been put more often, or merged: the delete is then as any other. Nothing older shows again, as it would
    /// in engines that take the caller's word for it.
    ///
    /// # Errors
    ///
    /// As [`Keyspace::insert`].
    pub fn remove_weak(&self, key: impl AsRef<[u8]>) -> Result<Seqno> {
        let mut operations = Operations::reusing();
        operations.delete_weak(self.space.id, key.as_ref());
        self.write(operations, WriteOptions::default())
    }

    /// Deletes a range, at the cost of one write however many keys are in it.
    ///
    /// # Errors
    ///
    /// As [`Keyspace::insert`]; `InvalidArgument` if the range ends before it begins. In an order that is not that of bytes
    /// ([`KeyspaceOptions::comparator`]) also if the range does not begin with a key, `low..`, or ends before the empty one: what comes
    /// next to a key nobody knows there.
    pub fn remove_range(&self, range: impl KeyRange) -> Result<Seqno> {
        let mut operations = Operations::reusing();
        operations.delete_range(self.space.id, self.space.tree.order(), &range);
        self.write(operations, WriteOptions::default())
    }

    /// Deletes all keys that start with `prefix`; an empty prefix is every key.
    ///
    /// # Errors
    ///
    /// As [`Keyspace::insert`]; `InvalidArgument` in an order that is not that of bytes.
    pub fn remove_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Seqno> {
        let prefix = prefix.as_ref();
        self.space.check_prefixes()?;
        self.remove_range((Bound::Included(prefix), end_of_prefix(prefix)))
    }

    /// Adds an operand for the merge operator ([`KeyspaceOptions::merge_operator`]): reads combine operands with the value
    /// below them. Nothing is read to write one.
    ///
    /// # Errors
    ///
    /// As [`Keyspace::insert`]; `InvalidArgument` if the keyspace has no operator.
    pub fn merge(&self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> Result<Seqno> {
        let mut operations = Operations::reusing();
        self.add_merge(&mut operations, key.as_ref(), operand.as_ref());
        self.write(operations, WriteOptions::default())
    }

    pub(crate) fn add_merge(&self, operations: &mut Operations, key: &[u8], operand: &[u8]) {
        if self.space.tree.options().merge_operator.is_none() {
            let message = "the keyspace has no merge operator";
            operations.refuse(Error::new(ErrorKind::InvalidArgument, message).in_keyspace(&self.space.name));
        }
        operations.merge(self.space.id, key, operand);
    }

    /// Deletes everything at once, whatever there is, and durably. What was written before goes, from memory and disk,
    /// what is written after stays, and nobody sees anything between. The old state is held for snapshots taken before,
    /// and goes with the last. Writers of the database wait meanwhile: for a sync of the log and one of the manifest.
    ///
    /// Nothing of before can be seen by a new snapshot of the past, also if versions are kept.
    ///
    /// # Errors
    ///
    /// Those of [`Db::write`](crate::Db::write). If the record was written and the rest failed, the keyspace can be read
    /// as before, and writing to it is `Busy` until it is cleared again or the database was reopened, which may have
    /// cleared it.
    pub fn clear(&self) -> Result<Seqno> {
        self.handle.state.clear(&self.space)
    }

    fn write(&self, operations: Operations, options: WriteOptions) -> Result<Seqno> {
        let result = self.handle.state.write(operations, slice::from_ref(&self.space), options);
        result.map_err(|error| error.in_keyspace(&self.space.name))
    }

    /// Starts a bulk load of keys in ascending order. Several of one keyspace may be under way; each is newer than those
    /// finished before it.
    ///
    /// # Errors
    ///
    /// `KeyspaceDropped`, `Closed`, `Poisoned`.
    pub fn ingest(&self) -> Result<Ingest> {
        Ingest::begin(&self.handle, &self.space, Given::Sorted)
    }

    /// As [`Keyspace::ingest`], of keys in any order; of one key the last counts. As much as a write buffer holds is sorted in
    /// memory, which is beside the memory budget. What is more is sorted through files in the directory of tables: each entry
    /// is written and read once more, and until the finish takes its space twice.
    ///
    /// # Errors
    ///
    /// As [`Keyspace::ingest`].
    pub fn ingest_unsorted(&self) -> Result<Ingest> {
        Ingest::begin(&self.handle, &self.space, Given::Unsorted)
    }

    /// Loads files that a [`TableFileWriter`](crate::TableFileWriter) wrote, as one commit: [`Keyspace::ingest`],
    /// [`Ingest::add_files`] and [`Ingest::finish`].
    ///
    /// # Errors
    ///
    /// Those of the three: nothing shows.
    pub fn ingest_files<P: AsRef<Path>>(&self, paths: impl IntoIterator<Item = P>) -> Result<Seqno> {
        let mut load = self.ingest()?;
        load.add_files(paths)?;
        load.finish()
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
        // A state that was cleared shows in a moment.
        let visible = self.handle.state.commits.visible_from(reader.floor());
        Ok(Pinned {
            reader,
            seqno: visible,
            time: ReadTime::Now(|owner| &owner.downcast_ref::<Handle>().expect("it is one").state.views),
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
