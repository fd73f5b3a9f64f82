//! Opening a database.

use super::{Db, ReadDb};
use crate::{
    close::Handle,
    error::{Error, ErrorKind, Result},
    events::{EventListener, Listeners},
    options::{Durability, LogRecovery, SetOptions},
    recovery::{Opening, Progress, ProgressHook, open, open_read_only},
    verify::{VerifyOptions, VerifyReport, verify_closed},
};
use isopach_env::{Env, IoErrorKind, OsFs};
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
    set: SetOptions,
    create_if_missing: bool,
    log_recovery: LogRecovery,
    listeners: Vec<Arc<dyn EventListener>>,
    progress: Option<ProgressHook>,
}

impl Builder {
    /// Also [`Db::builder`].
    pub fn new(path: impl AsRef<Path>) -> Builder {
        Builder {
            path: path.as_ref().into(),
            env: None,
            set: SetOptions::default(),
            create_if_missing: true,
            log_recovery: LogRecovery::default(),
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

    // ----- surroundings -----

    /// Other files, clock and randomness than the operating system's. The path is then only a name for
    /// messages.
    pub fn env(mut self, env: Env) -> Builder {
        self.env = Some(env);
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
    /// `InvalidArgument` naming the option that is out of bounds. `Locked`; `NotFound`; `UnsupportedFormat`,
    /// `Corruption` or `MixedDatabase` saying what was found where, with nothing written. `OutOfSpace`, `Io`.
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
    /// The log is held against [`LogRecovery::TornEnd`], whatever [`Builder::log_recovery`] says.
    ///
    /// # Errors
    ///
    /// As [`Builder::open_read_only`], where there is no database to check.
    pub fn verify(self, options: VerifyOptions) -> Result<VerifyReport> {
        verify_closed(self.opening(Access::Read)?, options)
    }

    fn opening(self, access: Access) -> Result<Opening> {
        let env = match self.env {
            Some(env) => env,
            None => os_env(&self.path, access == Access::Write && self.create_if_missing)?,
        };
        Ok(Opening {
            path: self.path,
            env,
            set: self.set,
            create_if_missing: self.create_if_missing,
            log_recovery: self.log_recovery,
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
