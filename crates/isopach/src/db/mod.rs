//! The database handle.

mod builder;
mod read_db;

pub use builder::Builder;
pub use read_db::ReadDb;

use crate::{
    background::flush_all,
    batch::Batch,
    checkpoint::{checkpoint, refused},
    close::Handle,
    durable::call_and_future,
    error::{Error, ErrorKind, Result},
    health::{Health, Stats},
    ingest::{Ingest, finish_all},
    keyspace::Keyspace,
    options::{DbOptions, KeyspaceOptions, WriteOptions},
    recovery::{Progress, Recovery},
    rotation::{finish_rotation, keys_in_use},
    routes::{Route, RouteInfo, routes_of, set_routes},
    scrub::{ScrubOptions, ScrubReport, scrub},
    snapshot::Snapshot,
    verify::{VerifyOptions, VerifyReport, verify_open},
};
use isopach_engine::{
    codec::KeyId,
    store::{CheckpointInfo, CheckpointOptions, KeyUse},
    types::{Seqno, TreeId, UnixUs, Uuid},
    version::DeletionPause,
};
use isopach_env::{Env, Fs, MemFs, OsEntropy, OsFs, SystemClock};
use std::{collections::BTreeMap, ops::ControlFlow, path::Path, sync::Arc, time::Duration};

/// An open database. Clones share it; it is `Send + Sync`.
///
/// Dropping the last handle (keyspaces, snapshots and iterators count) closes it and syncs the log before the
/// drop returns; errors go to listeners only. [`Db::close`] returns them. On a background thread or in a
/// listener a thread of its own does the closing.
#[derive(Clone, Debug)]
pub struct Db(Arc<Handle>);

impl Db {
    pub(crate) fn new(handle: Arc<Handle>) -> Db {
        Db(handle)
    }

    /// Opens or creates a database with default options.
    ///
    /// # Errors
    ///
    /// As [`Builder::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Db> {
        Db::builder(path).open()
    }

    /// For everything else.
    pub fn builder(path: impl AsRef<Path>) -> Builder {
        Builder::new(path)
    }

    /// A database without files.
    ///
    /// # Errors
    ///
    /// `Io` if the operating system gives no randomness or threads.
    pub fn in_memory() -> Result<Db> {
        let env = Env::new(Arc::new(MemFs::new()), Arc::new(SystemClock::new()), Arc::new(OsEntropy));
        Db::builder("").env(env).open()
    }

    /// Closes the database for every handle, and waits at most 30 seconds for readers.
    ///
    /// In order: new calls on any handle get `Closed`; background work ends; the log is synced; iterators and
    /// running calls end. On `Ok` the directory is free.
    ///
    /// # Errors
    ///
    /// What the last sync said; `Busy` if readers remain: the database is closed, the lock is held until they
    /// end.
    pub fn close(self) -> Result<()> {
        self.close_within(Duration::from_secs(30))
    }

    /// As [`Db::close`], with another limit.
    ///
    /// # Errors
    ///
    /// As [`Db::close`].
    pub fn close_within(self, limit: Duration) -> Result<()> {
        self.0.close(limit)
    }

    /// Runs `f` once the directory is free, however the database was closed. `f` may remove it.
    pub fn on_closed(&self, f: impl FnOnce() + Send + 'static) {
        self.0.state.store.at_end(f);
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The uuid that the database got when it was created.
    pub fn uuid(&self) -> Uuid {
        self.0.state.store.uuid()
    }

    /// The options in force.
    pub fn options(&self) -> DbOptions {
        self.0.state.settings.all()
    }

    /// Changes options of the running database, durably: they are in force, and stored, when this returns, or all are as
    /// they were. Concurrent changes come one after the other; `change` must not call the database.
    ///
    /// Where memory or log are more than they may be now, keyspaces are flushed in the background; writers wait for
    /// memory meanwhile. Segments of the log keep the size that they got from [`DbOptions::max_wal_bytes`] and
    /// [`DbOptions::write_buffer_bytes`] when the database was opened. [`DbOptions::threads`] and
    /// [`DbOptions::mapped_log`] cannot change.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` naming the option that is out of bounds or cannot change; `OutOfSpace`, `Poisoned`, `Closed`,
    /// `Io`.
    pub fn set_options(&self, change: impl FnOnce(&mut DbOptions)) -> Result<()> {
        self.0.state.set_db_options(change)
    }

    // ----- secrecy -----

    /// What lies under which key, log and manifest among it; [`KeyId::CLEAR`] of what is not encrypted. Files that are
    /// not needed any more, and stay for snapshots or copies under way, do not count: no opening asks for their keys. A
    /// rotation is over when nothing is left under the earlier key; [`Db::finish_rotation`] hurries it. Costs a look at the
    /// header of each log segment.
    pub fn keys_in_use(&self) -> BTreeMap<KeyId, KeyUse> {
        keys_in_use(&self.0.state.store)
    }

    /// Brings everything under the current key, while the database is used: when this returns, [`Db::keys_in_use`] names
    /// no other, and no crash brings another one back. In the same way a database that was not encrypted becomes so, and,
    /// opened with a current key of [`KeyId::CLEAR`], one that was ceases to be. Tables and separated values under other
    /// keys are written anew, memtables are flushed for the log's sake, and the manifest is begun anew.
    ///
    /// `progress` hears now and then, on this thread and under no lock, how many bytes of tables and separated values are
    /// done, of those that lay under other keys; `Break` ends the call with `Cancelled`. What was done by then is, and the
    /// background goes on by itself. Checkpoints and copies made before stay under the keys that they were made with.
    ///
    /// Costs reading and writing what lies under other keys; nothing where there is none.
    ///
    /// ```no_run
    /// use isopach::{Db, KeyId, KeySet, Secret};
    /// use std::ops::ControlFlow;
    /// # fn rotate(db: &Db, keys: &KeySet) -> isopach::Result<()> {
    /// keys.set_current(KeyId(2))?;
    /// db.finish_rotation(|progress| {
    ///     println!("{} of {} bytes", progress.done, progress.total);
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert!(db.keys_in_use().keys().eq([&KeyId(2)]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `MissingKey` if the current key is not to be had. `InvalidArgument` if encryption is to end, and the database was
    /// opened encrypted: open it again first. `Corruption`: a file that is damaged cannot be written anew.
    /// `MissingComparator`, `MissingPrefixExtractor` of a keyspace that cannot be used. `Cancelled`, `OutOfSpace`,
    /// `Poisoned`, `Closed`, `Io`.
    pub fn finish_rotation(&self, mut progress: impl FnMut(&Progress) -> ControlFlow<()>) -> Result<()> {
        finish_rotation(&self.0.state, &mut progress)
    }

    // ----- routes -----

    /// Where files are made that are not in the database's directory, and where some are yet.
    pub fn routes(&self) -> Vec<RouteInfo> {
        routes_of(&self.0.state.store)
    }

    /// Has files made from now on in these places, and all others in the database's directory. Durable on return. Files
    /// that are there stay where they are until compactions write them anew, and their places are needed until then.
    ///
    /// Costs a record of the manifest. Compactions under way go on as they began.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if two routes are of one level, or both of separated values, or of one name or place; if a level
    /// is above 6; or if the name of a backend looks like a path. `AlreadyExists` if a place holds something else;
    /// `MixedDatabase` if it is another database's; `Locked`; `NotFound`; `OutOfSpace`, `Poisoned`, `Closed`, `Io`.
    /// Nothing is changed then.
    pub fn set_routes(&self, routes: impl IntoIterator<Item = Route>) -> Result<()> {
        set_routes(&self.0.state, routes)
    }

    /// What opening found.
    pub fn recovery(&self) -> Recovery {
        self.0.recovery.clone()
    }

    // ----- keyspaces -----

    /// Opens a keyspace, creating it with default options if missing.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a name of 0 or more than 255 bytes, or with `/` or control characters;
    /// `MissingComparator` or `MissingPrefixExtractor` if what it names is not known; those of [`Db::write`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        self.keyspace_with(name, KeyspaceOptions::default())
    }

    /// Opens a keyspace, creating it with these options if missing. Options of an existing one stay as they
    /// are.
    ///
    /// # Errors
    ///
    /// As [`Db::keyspace`]; `InvalidArgument` naming the option that is out of bounds.
    pub fn keyspace_with(&self, name: &str, options: KeyspaceOptions) -> Result<Keyspace> {
        let space = self.0.state.open_or_create(name, &options)?;
        Ok(Keyspace::new(space, &self.0))
    }

    /// Opens a keyspace if it exists.
    ///
    /// # Errors
    ///
    /// `MissingComparator`, `MissingPrefixExtractor`, `Closed`.
    pub fn get_keyspace(&self, name: &str) -> Result<Option<Keyspace>> {
        self.0.state.check_open()?;
        Ok(self.0.state.keyspace(name)?.map(|space| Keyspace::new(space, &self.0)))
    }

    /// Names and ids of all keyspaces. Never fails for one that cannot be used.
    pub fn keyspaces(&self) -> Vec<(String, TreeId)> {
        let state = &self.0.state;
        let is_there = |id| state.spaces.by_id(id).is_none_or(|space| !space.is_dropped());
        let trees = state.store.trees().into_iter().filter(|tree| is_there(tree.id));
        trees.map(|tree| (tree.name, tree.id)).collect()
    }

    /// `false` if there was none. The name is free at once, and handles get `KeyspaceDropped`. The old state
    /// is held for snapshots taken before and goes with the last.
    ///
    /// # Errors
    ///
    /// Those of [`Db::write`].
    pub fn drop_keyspace(&self, name: &str) -> Result<bool> {
        self.0.state.drop_keyspace(name)
    }

    // ----- atomic writes over keyspaces -----

    /// An empty batch.
    pub fn batch(&self) -> Batch {
        Batch::new()
    }

    /// Writes a batch: all or none, now and after a crash (of a `Volatile` batch each keyspace's part on its
    /// own). An empty one returns the present position.
    ///
    /// # Errors
    ///
    /// What building the batch found: `InvalidArgument` for a keyspace of another database, `KeyTooLarge`,
    /// `ValueTooLarge`, `BatchTooLarge`, `KeyspaceDropped`. Then `OutOfSpace`, `Poisoned`, `Io`.
    pub fn write(&self, batch: Batch) -> Result<Seqno> {
        self.write_with(batch, WriteOptions::default())
    }

    /// As [`Db::write`].
    ///
    /// # Errors
    ///
    /// As [`Db::write`].
    pub fn write_with(&self, batch: Batch, options: WriteOptions) -> Result<Seqno> {
        let (operations, spaces) = batch.into_parts(&self.0)?;
        self.0.state.write(operations, &spaces, options)
    }

    /// Finishes bulk loads of several keyspaces as one commit: all of them show at once, durable on return.
    ///
    /// # Errors
    ///
    /// As [`Ingest::finish`]; `InvalidArgument` for a load of another database, or two of one keyspace.
    pub fn finish_ingests(&self, loads: impl IntoIterator<Item = Ingest>) -> Result<Seqno> {
        finish_all(&self.0, loads)
    }

    // ----- snapshots -----

    /// Everything committed now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.0)
    }

    /// The state after the last commit at or before `at`, which may lie in the future; [`Snapshot::seqno`] says which.
    /// Entries that expired since are not in it: its time is now.
    ///
    /// The ends of all commits of one operation, and of the last thousand batches, are known exactly. Of older batches
    /// several may be known as one: a number in them leads to the commit before them all.
    ///
    /// [`KeyspaceOptions::keep_versions`] says what stays readable. Of a keyspace that does not keep the versions of
    /// `at`, a flush or compaction that began before this call may still drop some: reading it is `SnapshotTooOld`
    /// then.
    ///
    /// # Errors
    ///
    /// `SnapshotTooOld` below the read floor of any keyspace, where flush or compaction dropped versions, and before
    /// all that is known of commits. `Closed`.
    pub fn snapshot_at(&self, at: Seqno) -> Result<Snapshot> {
        Ok(Snapshot::of(self.0.state.take_view_at(at)?, &self.0))
    }

    /// As [`Db::snapshot_at`], of a time of the database's clock: the state after a commit at or before `at`.
    ///
    /// It is the last one if no other followed within a millisecond and it is recent. Of longer ago times are known more
    /// coarsely: within a few percent of their age.
    ///
    /// # Errors
    ///
    /// As [`Db::snapshot_at`].
    pub fn snapshot_at_time(&self, at: UnixUs) -> Result<Snapshot> {
        Ok(Snapshot::of(self.0.state.take_view_at_time(at)?, &self.0))
    }

    // ----- durability -----

    /// Makes everything committed so far durable, and returns up to where.
    ///
    /// # Errors
    ///
    /// `Poisoned`, `Closed`.
    pub fn sync(&self) -> Result<Seqno> {
        let state = &self.0.state;
        state.check_open()?;
        let synced = state.commits.sync();
        state.jobs.wake_keeper();
        let synced = synced.map_err(|error| state.locate(error));
        state.tell_outcome(&synced);
        synced
    }

    /// Position of the last visible commit.
    pub fn seqno(&self) -> Seqno {
        self.0.state.views.visible()
    }

    /// Everything up to here survives a power loss, `Volatile` writes excepted.
    pub fn durable_seqno(&self) -> Seqno {
        self.0.state.commits.durable()
    }

    /// Waits until `seqno` is durable, starting a sync if none is under way.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if nothing was committed under that number yet; `Poisoned`, `Closed`.
    pub fn wait_durable(&self, seqno: Seqno) -> Result<()> {
        if seqno > self.seqno() {
            let message = format!("{seqno} is above the last commit, {}", self.seqno());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        if self.durable_seqno() < seqno { self.sync().map(drop) } else { Ok(()) }
    }

    /// As [`Db::wait_durable`], for any async runtime. The sync starts when the future is first polled.
    ///
    /// # Errors
    ///
    /// As [`Db::wait_durable`].
    pub fn durable(&self, seqno: Seqno) -> impl Future<Output = Result<()>> + Send + use<> {
        let handle = Arc::clone(&self.0);
        async move {
            let (call, outcome) = call_and_future();
            handle.state.on_durable(seqno, call);
            drop(handle);
            outcome.await
        }
    }

    /// As [`Db::wait_durable`]: `f` runs on the thread that syncs, so it must be quick, or on this one if there is
    /// nothing to wait for. A panic in it is caught and reported as an event. It may drop handles, even the last
    /// one.
    pub fn on_durable(&self, seqno: Seqno, f: impl FnOnce(Result<()>) + Send + 'static) {
        self.0.state.on_durable(seqno, Box::new(f));
    }

    // ----- copies -----

    /// Makes a database of its own in the new directory `to`: all keyspaces as of one commit, durable when
    /// this returns. Writers go on meanwhile.
    ///
    /// Tables are shared with this database where the file system can, and copied else; the log is copied up
    /// to that commit. Both databases can be opened, written to and removed without regard to the other.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if anything of that name is there, `NotFound` if its parent is missing,
    /// `InvalidArgument` for a path without a last part or in this database's own directory; `OutOfSpace`,
    /// `Io`: what was made of the target is removed. `Poisoned`, `Closed`. A crash meanwhile may leave an
    /// empty directory, or one that is refused as a partial copy.
    pub fn checkpoint(&self, to: impl AsRef<Path>) -> Result<CheckpointInfo> {
        self.checkpoint_with(to, CheckpointOptions::default())
    }

    /// As [`Db::checkpoint`], with options.
    ///
    /// # Errors
    ///
    /// As [`Db::checkpoint`].
    pub fn checkpoint_with(
        &self,
        to: impl AsRef<Path>,
        options: CheckpointOptions,
    ) -> Result<CheckpointInfo> {
        let (parent, name) = split_target(to.as_ref())?;
        let path = to.as_ref();
        let fs: Arc<dyn Fs> = Arc::new(OsFs::new(parent).map_err(|error| refused(error, path))?);
        checkpoint(&self.0.state, &fs, name, path, &options)
    }

    /// As [`Db::checkpoint`], to the new directory `name` of any backend.
    ///
    /// # Errors
    ///
    /// As [`Db::checkpoint`].
    pub fn checkpoint_to(
        &self,
        fs: Arc<dyn Fs>,
        name: &str,
        options: CheckpointOptions,
    ) -> Result<CheckpointInfo> {
        checkpoint(&self.0.state, &fs, name, Path::new(name), &options)
    }

    // ----- maintenance -----

    /// Writes all memtables as tables.
    ///
    /// # Errors
    ///
    /// `OutOfSpace`, `Io`: what was not written stays in memory and in the log. `Poisoned`, `Closed`.
    pub fn flush(&self) -> Result<()> {
        let state = &self.0.state;
        state.check_open()?;
        flush_all(state)
    }

    /// Waits until no flush, compaction or removal is under way or due.
    ///
    /// # Errors
    ///
    /// `Busy` after `limit`; what background work failed with, if it keeps failing.
    pub fn wait_idle(&self, limit: Duration) -> Result<()> {
        let state = &self.0.state;
        state.check_open()?;
        if state.jobs.wait_idle(limit) {
            return Ok(());
        }
        let message = format!("background work did not end within {limit:?}");
        Err(state.jobs.last_error().unwrap_or_else(|| state.locate(Error::new(ErrorKind::Busy, message))))
    }

    /// While the result is held, no file is removed or cut, log segments included.
    pub fn pause_deletions(&self) -> DeletionPause {
        self.0.state.store.pause_deletions()
    }

    /// Checks files and entries, the manifest, and the log up to its last record while the database is used. Damage is in the
    /// report, not an error. The files that are there when it begins are not removed until it ends.
    ///
    /// # Errors
    ///
    /// `Closed`, `Cancelled`: the database was closed.
    pub fn verify(&self, options: VerifyOptions) -> Result<VerifyReport> {
        self.verify_with(options, |_| ControlFlow::Continue(()))
    }

    /// As [`Db::verify`]. `progress` is called on this thread, after each file that it read and while it pauses, with
    /// bytes done and bytes in all; `Break` ends the check.
    ///
    /// # Errors
    ///
    /// As [`Db::verify`]; `Cancelled` by `progress`.
    pub fn verify_with(
        &self,
        options: VerifyOptions,
        mut progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<VerifyReport> {
        self.0.state.check_open()?;
        verify_open(&self.0.state, options, &mut progress)
    }

    /// Reads all tables, dictionaries, files of separated values, the manifest and the log from the medium, past the caches,
    /// while the database is used, and writes anew what parity had to correct, or memory has. Damage is in the report, not
    /// an error. `progress` is called on this thread, after each file that it read and while it pauses, with bytes done and
    /// bytes in all; `Break` ends the scrub, and [`ScrubOptions::resume`] goes on later. [`DbOptions::scrub_every`] has the
    /// background do it.
    ///
    /// Files that are written after it began are not read. Waits for another scrub that is under way. Costs a read of every
    /// byte; what is written anew is bounded by the tables that were damaged, and by those of level 0 beside them.
    ///
    /// # Errors
    ///
    /// `Closed`; `Cancelled`; those of writing tables.
    pub fn scrub(
        &self,
        options: ScrubOptions,
        mut progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<ScrubReport> {
        self.0.state.check_open()?;
        scrub(&self.0.state, options, &mut progress)
    }

    // ----- measures -----

    /// Structured counters.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.0.state)
    }

    /// Whether it can write, how fast, and why not.
    pub fn health(&self) -> Health {
        Health::of(&self.0.state)
    }
}

/// The directory in which a target is made, and its name there.
fn split_target(to: &Path) -> Result<(&Path, &str)> {
    let refuse = |why: &str| {
        let message = format!("{} cannot be the target of a checkpoint: {why}", to.display());
        Err(Error::new(ErrorKind::InvalidArgument, message))
    };
    let Some(name) = to.file_name() else {
        return refuse("it has no last part that names a new directory");
    };
    let Some(name) = name.to_str() else {
        return refuse("its last part is not UTF-8");
    };
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")), name))
}
