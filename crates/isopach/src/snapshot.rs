//! States of the past.

use crate::{
    close::Handle,
    error::{Error, Result},
    options::KeyspaceOptions,
    read::{Iter, Pinned, ReadTime, Readable, readable},
    space::Space,
};
use isopach_engine::{
    key::KeyRange,
    tree::RangeEstimate,
    types::{Seqno, Slice, UnixUs, View},
};
use std::{any::Any, path::Path, sync::Arc};

/// A state of the whole database; cheap, and `Send + Sync`.
///
/// Keeps versions from being collected; files only of keyspaces that are dropped after it.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<SnapshotInner>);

#[derive(Debug)]
struct SnapshotInner {
    at: View,
    handle: Arc<Handle>,
}

impl Drop for SnapshotInner {
    fn drop(&mut self) {
        self.handle.state.views.release(self.at);
    }
}

impl Snapshot {
    pub(crate) fn take(handle: &Arc<Handle>) -> Snapshot {
        Snapshot::of(handle.state.views.take(), handle)
    }

    /// Of a view that is held for it.
    pub(crate) fn of(at: View, handle: &Arc<Handle>) -> Snapshot {
        Snapshot(Arc::new(SnapshotInner { at, handle: Arc::clone(handle) }))
    }

    /// It contains exactly what is `<=` this; always the end of a commit.
    pub fn seqno(&self) -> Seqno {
        self.0.at.seqno
    }

    /// When it was taken, by the database's clock, which never goes back: what expires at this time or before is
    /// not in it, whenever it is read.
    pub fn time(&self) -> UnixUs {
        self.0.at.time
    }

    /// A keyspace of the database of `handle` in this state.
    pub(crate) fn space(&self, handle: &Arc<Handle>, space: &Arc<Space>) -> KeyspaceAt {
        let at = Arc::ptr_eq(&self.0.handle, handle).then_some(self.0.at);
        KeyspaceAt::new(Arc::clone(space), at, Arc::clone(&self.0.handle.path), Arc::clone(&self.0) as _)
    }
}

/// A keyspace in a state of the past, with all methods of [`Readable`].
#[derive(Clone)]
pub struct KeyspaceAt {
    space: Arc<Space>,
    /// `None`: keyspace and snapshot are of different databases.
    at: Option<View>,
    path: Arc<Path>,
    owner: Arc<dyn Any + Send + Sync>,
}

impl KeyspaceAt {
    pub(crate) fn new(
        space: Arc<Space>,
        at: Option<View>,
        path: Arc<Path>,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> KeyspaceAt {
        KeyspaceAt { space, at, path, owner }
    }

    /// Where in the order of commits.
    pub fn seqno(&self) -> Seqno {
        self.at.map_or(Seqno::ZERO, |at| at.seqno)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.space.name
    }

    /// Its options now.
    pub fn options(&self) -> KeyspaceOptions {
        self.space.options()
    }

    /// About what a range holds now: as [`Keyspace::approximate_range`](crate::Keyspace::approximate_range), whatever the
    /// snapshot sees of it.
    ///
    /// # Errors
    ///
    /// `Corruption` or `Io` of a table that had to be opened; `Closed`.
    pub fn approximate_range(&self, range: impl KeyRange) -> Result<RangeEstimate> {
        let estimate = self.space.tree.approximate_range(range).map_err(Error::from);
        estimate.map_err(|error| error.in_keyspace(&self.space.name).in_directory(&self.path))
    }

    fn pin(&self) -> Result<Pinned> {
        let locate = |error| Error::from(error).in_keyspace(&self.space.name).in_directory(&self.path);
        let at = self.at.ok_or_else(Error::foreign)?;
        Ok(Pinned {
            reader: self.space.tree.reader_at(at.seqno).map_err(locate)?,
            seqno: at.seqno,
            time: ReadTime::Of(at.time),
            space: Arc::clone(&self.space),
            path: Arc::clone(&self.path),
            owner: Arc::clone(&self.owner),
        })
    }
}

impl std::fmt::Debug for KeyspaceAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyspaceAt").field("name", &self.space.name).field("at", &self.at).finish()
    }
}

readable!(KeyspaceAt);
