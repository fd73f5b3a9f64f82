//! Bulk loading: entries in order go straight into tables, and show at once.

mod files;

use crate::{
    background::{flush_alone, flush_now, note_shape},
    close::Handle,
    error::{Error, ErrorKind, Result},
    events::Event,
    options::Durability,
    space::Space,
    state::{KeyspaceChange, LoadedTables, State},
    write::{Body, Change, Request},
};
use isopach_engine::{
    tree::{IngestSorter, IngestWriter, PreparedIngest},
    types::{Seqno, UnixUs},
};
use isopach_env::sync::point;
use std::{fmt, sync::Arc, time::Duration};

/// A bulk load of a keyspace, straight into tables. No memtable and no log takes what is loaded, and where nothing is
/// in its range no compaction touches it again. Keys come in strictly ascending order; or in any, and then of one key
/// the last counts ([`Keyspace::ingest_unsorted`](crate::Keyspace::ingest_unsorted)). Files that were written
/// elsewhere are parts of a load with [`Ingest::add_files`].
///
/// Nothing shows before [`Ingest::finish`]; dropped unfinished, it leaves nothing. What was written to the keyspace before
/// the finish is older than what is loaded, what comes after is newer. Takes the memory of the index and
/// filter of a table for each core, and a block.
///
/// ```
/// let db = isopach::Db::in_memory()?;
/// let users = db.keyspace("users")?;
/// let mut load = users.ingest()?;
/// for n in 0..1000_u32 {
///     load.insert(n.to_be_bytes(), "a user")?;
/// }
/// load.finish()?;
/// assert_eq!(users.count(..)?, 1000);
/// # Ok::<(), isopach::Error>(())
/// ```
pub struct Ingest {
    handle: Arc<Handle>,
    space: Arc<Space>,
    writer: Writer,
    /// Files were refused, or could not be read to their end.
    lacks_files: bool,
}

enum Writer {
    Sorted(IngestWriter),
    Unsorted(IngestSorter),
}

/// The order in which a load is given its keys.
#[derive(Clone, Copy)]
pub(crate) enum Given {
    Sorted,
    Unsorted,
}

impl Ingest {
    pub(crate) fn begin(handle: &Arc<Handle>, space: &Arc<Space>, given: Given) -> Result<Ingest> {
        let state = &handle.state;
        state.check_open()?;
        space.check_alive()?;
        state.commits.check().map_err(|error| state.locate(error))?;
        let writer = match given {
            Given::Sorted => space.tree.ingest().map(Writer::Sorted),
            Given::Unsorted => {
                let memory_bytes = state.settings.write_buffer_bytes();
                space.tree.ingest_unsorted(memory_bytes).map(Writer::Unsorted)
            }
        };
        let writer = writer.map_err(|error| state.locate(error).in_keyspace(&space.name))?;
        Ok(Ingest { handle: Arc::clone(handle), space: Arc::clone(space), writer, lacks_files: false })
    }

    /// Puts a value, which lives as long as the keyspace says, from now on.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a key that does not come behind the last one, where they have to, or for a key or value out of
    /// bounds; `OutOfSpace`, `Io`. The load cannot be finished then.
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        match self.space.ttl() {
            Some(ttl) => self.insert_ttl(key, value, ttl),
            None => {
                let put = match &mut self.writer {
                    Writer::Sorted(writer) => writer.put(key.as_ref(), value.as_ref()),
                    Writer::Unsorted(sorter) => sorter.put(key.as_ref(), value.as_ref()),
                };
                put.map_err(|error| self.located(error))
            }
        }
    }

    /// Puts a value that lives so long from now on.
    ///
    /// # Errors
    ///
    /// As [`Ingest::insert`].
    pub fn insert_ttl(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<()> {
        let ttl_us = u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX);
        let expires_at = UnixUs(self.handle.state.views.now().0.saturating_add(ttl_us));
        self.insert_until(key.as_ref(), value.as_ref(), expires_at)
    }

    fn insert_until(&mut self, key: &[u8], value: &[u8], expires_at: UnixUs) -> Result<()> {
        let put = match &mut self.writer {
            Writer::Sorted(writer) => writer.put_until(key, value, expires_at),
            Writer::Unsorted(sorter) => sorter.put_until(key, value, expires_at),
        };
        put.map_err(|error| self.located(error))
    }

    /// Deletes what the keyspace holds under the key.
    ///
    /// # Errors
    ///
    /// As [`Ingest::insert`].
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let deleted = match &mut self.writer {
            Writer::Sorted(writer) => writer.delete(key.as_ref()),
            Writer::Unsorted(sorter) => sorter.delete(key.as_ref()),
        };
        deleted.map_err(|error| self.located(error))
    }

    /// Shows everything at once, as one commit, durable on return. What memtables hold in the range is flushed before. Of an
    /// empty load nothing is committed, and the newest commit is returned.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if an entry or a file was refused; `KeyspaceDropped`, `OutOfSpace`, `Io`, `Closed`: nothing
    /// shows, and the tables go. `Poisoned`: whether it shows is known after reopening.
    pub fn finish(self) -> Result<Seqno> {
        let handle = Arc::clone(&self.handle);
        finish_all(&handle, [self])
    }

    fn located(&self, error: isopach_engine::error::Error) -> Error {
        self.handle.state.locate(error).in_keyspace(&self.space.name)
    }

    fn prepare(self) -> Result<(Arc<Space>, PreparedIngest)> {
        let Ingest { handle, space, writer, lacks_files } = self;
        if lacks_files {
            let message = "a table file of the load was refused, or could not be read: begin the load again";
            let error = Error::new(ErrorKind::InvalidArgument, message);
            return Err(handle.state.locate(error).in_keyspace(&space.name));
        }
        let prepared = match writer {
            Writer::Sorted(writer) => writer.finish(),
            Writer::Unsorted(sorter) => sorter.finish(),
        };
        let prepared = prepared.map_err(|error| handle.state.locate(error).in_keyspace(&space.name))?;
        Ok((space, prepared))
    }
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("keyspace", &self.space.name).finish_non_exhaustive()
    }
}

/// Shows several loads as one commit.
pub(crate) fn finish_all(handle: &Arc<Handle>, loads: impl IntoIterator<Item = Ingest>) -> Result<Seqno> {
    let loads: Vec<Ingest> = loads.into_iter().collect();
    let state = &handle.state;
    let wrong = |what: &str| Err(state.locate(Error::new(ErrorKind::InvalidArgument, what)));
    if loads.iter().any(|load| !Arc::ptr_eq(&load.handle, handle)) {
        return wrong("a load is one of another database");
    }
    let mut ids: Vec<_> = loads.iter().map(|load| load.space.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return wrong("two loads of one keyspace cannot be finished at once");
    }
    state.check_open()?;
    state.commits.check().map_err(|error| state.locate(error))?;
    let mut prepared = Vec::new();
    for load in loads {
        let (space, tables) = load.prepare()?;
        if tables.entries() > 0 {
            prepared.push((space, tables));
        }
    }
    if prepared.is_empty() {
        return Ok(state.views.visible());
    }
    let told: Vec<_> =
        prepared.iter().map(|(space, load)| (Arc::clone(space), load.entries(), load.bytes())).collect();
    let seqno = show(state, prepared)?;
    for (space, entries, bytes) in told {
        state.listeners.tell(&Event::Ingested { keyspace: &space.name, entries, bytes });
    }
    Ok(seqno)
}

/// Shows the tables of bulk loads, each of another keyspace, as one commit that is durable on return.
fn show(state: &State, loads: Vec<(Arc<Space>, PreparedIngest)>) -> Result<Seqno> {
    let result = show_in_turn(state, loads);
    state.tell_outcome(&result);
    result
}

/// Nothing older may lie above the tables: what memtables hold in their range is flushed first, beside writers, and, if some
/// write there all the time, alone in the order of commits.
fn show_in_turn(state: &State, loads: Vec<(Arc<Space>, PreparedIngest)>) -> Result<Seqno> {
    const FLUSHES_BESIDE_WRITERS: usize = 3;
    let (spaces, prepared): (Vec<_>, Vec<_>) = loads.into_iter().unzip();
    let unflushed = || -> Vec<&Arc<Space>> {
        let both = spaces.iter().zip(&prepared);
        both.filter(|(space, load)| space.tree.must_flush_for(load)).map(|(space, _)| space).collect()
    };
    for _ in 0..FLUSHES_BESIDE_WRITERS {
        unflushed().iter().try_for_each(|space| flush_now(state, space))?;
    }
    let load = |(space, load): (&Arc<Space>, &PreparedIngest)| LoadedTables {
        id: space.id,
        entries: load.entries(),
        tables: load.uuids().collect(),
    };
    let body = KeyspaceChange::Ingest { loads: spaces.iter().zip(&prepared).map(load).collect() }.encode();
    let request = Request {
        change: Change::Ingest,
        spaces: &spaces,
        count: 2, // The first is the age of a run: no memtable is ever sealed at it.
        body: Body::Short(&body),
        durability: Durability::Sync,
    };
    let _turn = state.spaces.changes.lock();
    let order = state.commits.order();
    unflushed().iter().try_for_each(|space| flush_alone(state, &order, space))?;
    let shown = order.commit_with(&request, |at| {
        // The record first, durable; then the edit. A record without it was never acknowledged.
        state.commits.sync_once(at)?;
        point("keyspace.before_edit");
        Ok(state.store.ingest(prepared, at)?)
    });
    drop(order);
    let shown = shown.map(|(at, ())| at).map_err(|error| state.locate(error));
    state.after_request(&request, &shown);
    for space in &spaces {
        note_shape(space);
        state.jobs.compact(space.id);
    }
    shown
}
