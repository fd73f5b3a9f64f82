//! States of the past.

use crate::{
    close::Handle,
    error::{Error, Result},
    options::KeyspaceOptions,
    read::{Iter, Pinned, Readable, readable},
    space::Space,
};
use isopach_engine::{
    key::KeyRange,
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
    seqno: Seqno,
    handle: Arc<Handle>,
}

impl Drop for SnapshotInner {
    fn drop(&mut self) {
        self.handle.state.views.release(self.seqno);
    }
}

impl Snapshot {
    pub(crate) fn take(handle: &Arc<Handle>) -> Snapshot {
        let seqno = handle.state.views.take();
        Snapshot(Arc::new(SnapshotInner { seqno, handle: Arc::clone(handle) }))
    }

    /// It contains exactly what is `<=` this; always the end of a commit.
    pub fn seqno(&self) -> Seqno {
        self.0.seqno
    }

    /// A keyspace of the database of `handle` in this state.
    pub(crate) fn space(&self, handle: &Arc<Handle>, space: &Arc<Space>) -> KeyspaceAt {
        let at = Arc::ptr_eq(&self.0.handle, handle).then_some(self.0.seqno);
        KeyspaceAt::new(Arc::clone(space), at, Arc::clone(&self.0.handle.path), Arc::clone(&self.0) as _)
    }
}

/// A keyspace in a state of the past, with all methods of [`Readable`].
#[derive(Clone)]
pub struct KeyspaceAt {
    space: Arc<Space>,
    /// `None`: keyspace and snapshot are of different databases.
    at: Option<Seqno>,
    path: Arc<Path>,
    owner: Arc<dyn Any + Send + Sync>,
}

impl KeyspaceAt {
    pub(crate) fn new(
        space: Arc<Space>,
        at: Option<Seqno>,
        path: Arc<Path>,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> KeyspaceAt {
        KeyspaceAt { space, at, path, owner }
    }

    /// Where in the order of commits.
    pub fn seqno(&self) -> Seqno {
        self.at.unwrap_or(Seqno::ZERO)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.space.name
    }

    /// Its options now.
    pub fn options(&self) -> KeyspaceOptions {
        self.space.options()
    }

    fn pin(&self) -> Result<Pinned> {
        let locate = |error| Error::from(error).in_keyspace(&self.space.name).in_directory(&self.path);
        let at = self.at.ok_or_else(Error::foreign)?;
        Ok(Pinned {
            reader: self.space.tree.reader_at(at).map_err(locate)?,
            at: View::new(at, UnixUs(0)),
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
