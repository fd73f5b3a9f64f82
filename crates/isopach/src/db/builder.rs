//! Opening a database.

use super::{Db, ReadDb};
use crate::{
    close::Handle,
    error::{Error, ErrorKind, Result},
    events::{EventListener, Listeners},
    options::{Durability, LogRecovery, SetOptions},
    recovery::{Opening, Progress, ProgressHook, open, open_read_only},
    repair::{RepairOptions, RepairReport, repair},
    routes::{Route, check_given},
    verify::{VerifyOptions, VerifyReport, verify_closed},
};
use isopach_engine::{
    codec::{Cipher, CleanCopies, KeyProvider, Keyring},
    compaction::CompactionFilterFactory,
    merge_operator::MergeOperator,
    order::Comparator,
    prefix::PrefixExtractor,
    tree::KnownCode,
};
use isopach_env::{Clock, Env, IoErrorKind, OsFs};
use std::{
    fmt,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How a database is opened.
///
/// An option set here wins and is stored; else the stored one counts, else the default. Threads, cache,
/// budget and open files are stored only if set: a directory that moves to another machine then takes that
/// one's defaults.
#[must_use]
pub struct Builder {
    path: PathBuf,
    env: Option<Env>,
    clock: Option<Arc<dyn Clock>>,
    set: SetOptions,
    create_if_missing: bool,
    log_recovery: LogRecovery,
    code: KnownCode,
    routes: Vec<Route>,
    keys: Option<Box<dyn KeyProvider>>,
    copies: Option<Arc<dyn CleanCopies>>,
    cipher: Cipher,
    listeners: Vec<Arc<dyn EventListener>>,
    progress: Option<ProgressHook>,
}

impl Builder {
    /// Also [`Db::builder`].
    pub fn new(path: impl AsRef<Path>) -> Builder {
        Builder {
            path: path.as_ref().into(),
            env: None,
            clock: None,
            set: SetOptions::default(),
            create_if_missing: true,
            log_recovery: LogRecovery::default(),
            code: KnownCode::default(),
            routes: Vec::new(),
            keys: None,
            copies: None,
            cipher: Cipher::default(),
            listeners: Vec::new(),
            progress: None,
        }
    }

    // ----- memory, threads, pace -----

    /// Blocks kept in memory, and indexes and filters of open tables. Default 64 MiB.
    pub fn cache_bytes(mut self, bytes: u64) -> Builder {
        self.set.cache_bytes = Some(bytes);
        self
    }

    /// One budget for cache, memtables, filters and table handles. Default 256 MiB, least 128 KiB.
    pub fn memory_budget(mut self, bytes: u64) -> Builder {
        self.set.memory_budget = Some(bytes);
        self
    }

    /// Size at which a memtable is sealed. Default 64 MiB, least 16 KiB.
    pub fn write_buffer_bytes(mut self, bytes: u64) -> Builder {
        self.set.write_buffer_bytes = Some(bytes);
        self
    }

    /// Log length that idle keyspaces are flushed to stay below. Default 512 MiB, least 1 MiB.
    pub fn max_wal_bytes(mut self, bytes: u64) -> Builder {
        self.set.max_wal_bytes = Some(bytes);
        self
    }

    /// Background threads, 1 to 256. Default: cores, 2 to 8.
    pub fn threads(mut self, threads: usize) -> Builder {
        self.set.threads = Some(threads as u64);
        self
    }

    /// Bytes that the filters of all tables may take together. Each new table then gets the bits that save most reads,
    /// by its keys and by how often tables like it were asked for keys that they have not; those of before keep theirs
    /// until they are compacted. `u64::MAX`, the default: as many as policies ask for.
    pub fn filter_budget_bytes(mut self, bytes: u64) -> Builder {
        self.set.filter_budget_bytes = Some(bytes);
        self
    }

    /// Tables open at a time. Default 512, least 16.
    pub fn max_open_files(mut self, files: usize) -> Builder {
        self.set.max_open_files = Some(files as u64);
        self
    }

    /// Of writes that say nothing else, in keyspaces that say nothing else. Default `Buffered`.
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.set.durability = Some(durability);
        self
    }

    /// Syncs what is unsynced this often, so that a power loss costs no more; zero: never by itself, the
    /// default.
    pub fn sync_every(mut self, time: Duration) -> Builder {
        self.set.sync_every = Some(time);
        self
    }

    /// Whether the log is mapped into memory where its file system keeps space that is reserved (ext4, XFS, tmpfs
    /// on Linux): a `Buffered` write then makes no system call, and is promised the same. Default yes. Whoever
    /// would rather have an error than a signal when such a file system breaks its word, or its medium does, says
    /// no.
    pub fn mapped_log(mut self, mapped: bool) -> Builder {
        self.set.mapped_log = Some(mapped);
        self
    }

    /// Sets [`DbOptions::scrub_every`](crate::DbOptions::scrub_every); zero: never by itself. Stored.
    pub fn scrub_every(mut self, time: Duration) -> Builder {
        self.set.scrub_every = Some(time);
        self
    }

    /// Sets [`DbOptions::scrub_bytes_per_s`](crate::DbOptions::scrub_bytes_per_s). Stored.
    pub fn scrub_bytes_per_s(mut self, bytes_per_s: u64) -> Builder {
        self.set.scrub_bytes_per_s = Some(bytes_per_s);
        self
    }

    /// Sets [`DbOptions::auto_heal`](crate::DbOptions::auto_heal). Stored.
    pub fn auto_heal(mut self, auto_heal: bool) -> Builder {
        self.set.auto_heal = Some(auto_heal);
        self
    }

    // ----- code that keyspaces name -----

    /// Registers an order of keys under its name, for this opening; built-in ones are always known.
    ///
    /// A keyspace whose order is not registered is listed, and cannot be used: `MissingComparator`. If the log holds writes
    /// of it that are not flushed, the opening fails with that, also for reading: without their order keys cannot be found.
    pub fn comparator(mut self, comparator: impl Comparator) -> Builder {
        self.code.comparators.add(Arc::new(comparator));
        self
    }

    /// Registers a prefix extractor under its name, for this opening; built-in ones are always known.
    ///
    /// A keyspace whose extractor is not registered is listed, and cannot be used: `MissingPrefixExtractor`. If the log
    /// holds writes of it that are not flushed, the opening fails with that. A database that is opened for reading
    /// does without: it finds the same, and reads more.
    pub fn prefix_extractor(mut self, extractor: impl PrefixExtractor) -> Builder {
        self.code.prefix_extractors.add(Arc::new(extractor));
        self
    }

    /// Registers a merge operator under its name, for this opening; built-in ones are always known.
    ///
    /// A keyspace whose operator is not registered is listed, and cannot be used: `MissingMergeOperator`. If the log
    /// holds writes of it that are not flushed, the opening fails with that. A database that is opened for reading
    /// reads all but what operands come to.
    pub fn merge_operator(mut self, operator: impl MergeOperator) -> Builder {
        self.code.merge_operators.add(Arc::new(operator));
        self
    }

    /// Registers a compaction filter under its name, for this opening.
    ///
    /// A keyspace whose filter is not registered is listed, and cannot be used: `MissingCompactionFilter`. If the log
    /// holds writes of it that are not flushed, the opening fails with that.
    pub fn compaction_filter(mut self, factory: impl CompactionFilterFactory) -> Builder {
        self.code.compaction_filters.add(Arc::new(factory));
        self
    }

    // ----- surroundings -----

    /// Other files, clock and randomness than the operating system's. The path is then only a name for
    /// messages.
    pub fn env(mut self, env: Env) -> Builder {
        self.env = Some(env);
        self
    }

    /// Another clock than that of [`Builder::env`] or the operating system, perhaps a hybrid logical one: times of
    /// commits and snapshots come from it. Where it steps back, also between two openings, they stay until it is
    /// past them.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Builder {
        self.clock = Some(clock);
        self
    }

    /// Places levels or separated values elsewhere. May be called several times. Stored: the routes of an existing database
    /// stay, but for one of the same name, which this one replaces. Backends have to be given at each opening, directories
    /// need not be. See [`Db::set_routes`].
    ///
    /// Reading only, routes say where stored places are, and change nothing.
    pub fn route(mut self, route: Route) -> Builder {
        self.routes.push(route);
        self
    }

    // ----- decay -----

    /// Where whole copies of tables and of files of separated values are, such as [`CopiesIn`](crate::CopiesIn) a checkpoint:
    /// where a file is damaged, and parity does not restore it, its bytes are taken from there if they pass its checksums. The
    /// file is then written anew, as one that parity restored.
    pub fn clean_copies(mut self, copies: impl CleanCopies + 'static) -> Builder {
        self.copies = Some(Arc::new(copies));
        self
    }

    // ----- secrecy -----

    /// Encrypts every file that holds user bytes: log, manifest, tables, values in files of their own, dictionaries, and
    /// what checkpoints copy. Needs feature `encryption`.
    ///
    /// New files are sealed under the current key; those of before, or of an earlier key, are read as long as their keys
    /// are given, and compactions write them anew. A database that is not encrypted becomes so, file by file; with
    /// [`KeyId::CLEAR`](crate::KeyId::CLEAR) as the current key an encrypted one ceases to be.
    ///
    /// `docs/encryption.md` says what stays visible, and against whom this helps.
    pub fn encryption(mut self, keys: impl KeyProvider) -> Builder {
        self.keys = Some(Box::new(keys));
        self
    }

    /// What new files are sealed with. Default [`Cipher::Aes256Gcm`].
    pub fn cipher(mut self, cipher: Cipher) -> Builder {
        self.cipher = cipher;
        self
    }

    /// Hears of events. May be called several times. Without any, background errors go to standard error.
    pub fn listener(mut self, listener: impl EventListener) -> Builder {
        self.listeners.push(Arc::new(listener));
        self
    }

    /// Hears of the progress of recovery: first of the phase `search`, which reads the log to find its end, told
    /// after every few segments; then of `replay`, which applies its records, told every 16 MiB or so. Both
    /// count bytes of the log. `Break` ends the opening with `Cancelled`; nothing is lost by it.
    ///
    /// Told on the thread that opens, under no lock. A hook that panics is not told again; the opening goes on.
    pub fn progress(mut self, f: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static) -> Builder {
        self.progress = Some(Box::new(f));
        self
    }

    // ----- what to open -----

    /// Default true.
    pub fn create_if_missing(mut self, create: bool) -> Builder {
        self.create_if_missing = create;
        self
    }

    /// What may be left out of a log that is not whole. Default [`LogRecovery::TornEnd`]; holds for this
    /// opening only.
    pub fn log_recovery(mut self, mode: LogRecovery) -> Builder {
        self.log_recovery = mode;
        self
    }

    /// Opens for reading and writing. One process at a time (`Locked`).
    ///
    /// The directory is created if missing, its parent is not. Recovery reads the log: its time is bounded by
    /// [`Builder::max_wal_bytes`], not by data.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` naming the option that is out of bounds, or the prefix extractor whose name is. `Locked`;
    /// `NotFound`; `UnsupportedFormat`, `Corruption` or `MixedDatabase` saying what was found where, with nothing
    /// written. `MissingPrefixExtractor`, see [`Builder::prefix_extractor`]. `MissingRoute` naming a place that is not
    /// there; those of [`Db::set_routes`]. `MissingKey` and `WrongKey` naming the key, with nothing touched.
    /// `OutOfSpace`, `Io`.
    pub fn open(self) -> Result<Db> {
        let opening = self.opening(Access::Write)?;
        let (state, recovery) = open(opening)?;
        Ok(Db::new(Handle::start(state, recovery)?))
    }

    /// Opens what is there now and writes nothing; the log is replayed in memory. Takes the lock shared where
    /// it can, so that readers do not shut each other out.
    ///
    /// # Errors
    ///
    /// As [`Builder::open`]. `Locked` beside a writer.
    pub fn open_read_only(self) -> Result<ReadDb> {
        let opening = self.opening(Access::Read)?;
        Ok(ReadDb::new(open_read_only(opening)?))
    }

    /// Checks a database that is not open for writing. Writes nothing. Damage is in the report, not an error.
    /// The log is held against [`LogRecovery::TornEnd`], whatever [`Builder::log_recovery`] says. What
    /// [`Builder::progress`] names hears, after each file, of bytes done and in all.
    ///
    /// # Errors
    ///
    /// As [`Builder::open_read_only`], where there is no database to check.
    pub fn verify(self, options: VerifyOptions) -> Result<VerifyReport> {
        verify_closed(self.opening(Access::Read)?, options)
    }

    /// Makes a database open again that lost its manifest, or of which files are damaged; it is not open, and its directory is
    /// locked meanwhile. Nothing is removed: what is no part of it any more is moved into its directory `lost`. Whoever
    /// repairs keeps a copy of all of it first.
    ///
    /// A manifest that is missing or damaged is rebuilt from tables and log: every table that can be read is found again.
    /// One that is sound stays. A damaged table stays as it is, and reading what is damaged fails, unless
    /// [`RepairOptions::salvage`] says to write what is left of it anew. A log that is damaged ends there.
    ///
    /// Custom orders of keys must be registered, and keys be given. What can be lost, and what it costs, is in
    /// `docs/repair.md`.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Locked`; `Corruption` if nobody knows which database it is, or it is an interrupted copy; `MissingKey`,
    /// `WrongKey`, `MissingComparator`; `UnsupportedFormat`; `UnsupportedFeature` if the manifest is lost and routes are
    /// given; `OutOfSpace`, `Io`. The database is then what it was, and repairing it again goes on.
    pub fn repair(self, options: RepairOptions) -> Result<RepairReport> {
        repair(self.opening(Access::Read)?, options)
    }

    fn opening(self, access: Access) -> Result<Opening> {
        check_given(&self.routes)?; // Before anything is created.
        let mut env = match self.env {
            Some(env) => env,
            None => os_env(&self.path, access == Access::Write && self.create_if_missing)?,
        };
        env.clock = self.clock.unwrap_or(env.clock);
        Ok(Opening {
            path: self.path,
            env,
            set: self.set,
            create_if_missing: self.create_if_missing,
            log_recovery: self.log_recovery,
            code: self.code,
            routes: self.routes,
            copies: self.copies,
            keys: self.keys.map_or_else(Keyring::none, |keys| Keyring::new(keys, self.cipher)),
            listeners: Listeners::new(self.listeners),
            progress: self.progress,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// The operating system's files below `path`, which is made if it may be.
fn os_env(path: &Path, create: bool) -> Result<Env> {
    let failed = |doing: &str, error: isopach_env::IoError| {
        let kind = match error.kind() {
            IoErrorKind::NotFound => ErrorKind::NotFound,
            IoErrorKind::NotADirectory => ErrorKind::UnsupportedFormat,
            _ => ErrorKind::Io,
        };
        let message = format!("cannot {doing} {}: {error}", path.display());
        Error::new(kind, message).in_directory(path)
    };
    if create {
        match OsFs::create(path) {
            Err(error) if error.kind() != IoErrorKind::AlreadyExists => return Err(failed("create", error)),
            _ => {}
        }
    }
    Env::os(path).map_err(|error| failed("open", error))
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("path", &self.path).field("set", &self.set).finish_non_exhaustive()
    }
}
