//! A database opened for reading.

use crate::{
    error::{Error, ErrorKind, Result},
    health::{KeyspaceStats, MemoryStats, Stats},
    passes::ScrubStats,
    recovery::{ReadState, Recovery},
    rotation::keys_in_use,
    routes::{RouteInfo, routes_of},
    snapshot::KeyspaceAt,
};
use isopach_engine::{
    codec::KeyId,
    store::{KeyUse, NamedTable},
    types::{Seqno, TreeId, Uuid},
};
use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

/// A database opened for reading. Clones share it; it is `Send + Sync`.
#[derive(Clone)]
pub struct ReadDb(Arc<ReadState>);

impl ReadDb {
    pub(crate) fn new(state: ReadState) -> ReadDb {
        ReadDb(Arc::new(state))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The uuid that the database got when it was created.
    pub fn uuid(&self) -> Uuid {
        self.0.store.uuid()
    }

    /// A keyspace as it was when the database was opened.
    ///
    /// # Errors
    ///
    /// `KeyspaceMissing`; `MissingComparator`. Never `MissingPrefixExtractor`: reading does without.
    pub fn keyspace(&self, name: &str) -> Result<KeyspaceAt> {
        let space = match self.0.spaces.by_name(name) {
            Some(space) => space,
            None => {
                let unusable = self.0.store.trees().iter().any(|tree| tree.name == name);
                if unusable {
                    self.0.store.tree(name).map_err(|error| Error::from(error).in_keyspace(name))?;
                }
                return Err(Error::new(ErrorKind::KeyspaceMissing, format!("there is no keyspace {name:?}")));
            }
        };
        let path = Arc::from(self.path());
        Ok(KeyspaceAt::new(space, Some(self.0.at), path, Arc::clone(&self.0) as _))
    }

    /// Names and ids.
    pub fn keyspaces(&self) -> Vec<(String, TreeId)> {
        self.0.store.trees().into_iter().map(|tree| (tree.name, tree.id)).collect()
    }

    /// Where files lie that are not in the database's directory.
    pub fn routes(&self) -> Vec<RouteInfo> {
        routes_of(&self.0.store)
    }

    /// The tables of all keyspaces, also of those that cannot be opened, as the manifest has them.
    pub fn tables(&self) -> Vec<NamedTable> {
        self.0.store.tables()
    }

    /// As [`Db::keys_in_use`](crate::Db::keys_in_use).
    pub fn keys_in_use(&self) -> BTreeMap<KeyId, KeyUse> {
        keys_in_use(&self.0.store)
    }

    /// Where it is in the order of commits.
    pub fn seqno(&self) -> Seqno {
        self.0.at.seqno
    }

    /// What opening found. A log end that was torn is passed over, not removed.
    pub fn recovery(&self) -> Recovery {
        self.0.recovery.clone()
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let cache = self.0.store.cache();
        let keyspaces: Vec<KeyspaceStats> =
            self.0.spaces.all().iter().map(|space| KeyspaceStats::of(space)).collect();
        Stats {
            memory: MemoryStats {
                memtables: keyspaces.iter().map(|keyspace| keyspace.tree.memtable_bytes).sum(),
                spare: self.0.store.spare_memory_bytes(),
                cache: cache.block_bytes,
                indexes_and_filters: cache.table_bytes,
            },
            keyspaces,
            filters: self.0.store.filter_memory(),
            wal_bytes: self.0.wal_bytes,
            wal_segments: self.0.wal_segments,
            open_snapshots: 0,
            cache_hits: cache.hits,
            cache_misses: cache.misses,
            accepted_bytes: 0,
            written_bytes: Vec::new(),
            stalled: Duration::ZERO,
            healing: self.0.store.healing().stats(),
            scrub: ScrubStats::default(),
        }
    }
}

impl fmt::Debug for ReadDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDb").field("path", &self.path()).finish_non_exhaustive()
    }
}
