//! The error of the database.

use isopach_engine::{
    error::{Error as EngineError, ErrorKind as EngineErrorKind, KeyBounds},
    types::TreeId,
};
use std::{error, fmt, io, path::Path, path::PathBuf};

/// Result of the database.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not happen: what to do is in [`Error::kind`], where it happened is in the message.
///
/// One word wide. `Display` is for people; `Debug` shows every field. Clones cost an allocation.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    keyspace: Option<String>,
    path: Option<PathBuf>,
    offset: Option<u64>,
    engine: Option<EngineError>,
}

impl Error {
    /// An error that says what failed and which rule it broke.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        let message = message.into();
        Error(Box::new(Inner { kind, message, keyspace: None, path: None, offset: None, engine: None }))
    }

    /// Handles of two databases in one call.
    pub(crate) fn foreign() -> Error {
        Error::new(ErrorKind::InvalidArgument, "the keyspace belongs to another database")
    }

    /// Names the keyspace concerned.
    #[must_use]
    pub(crate) fn in_keyspace(mut self, name: &str) -> Error {
        if self.0.keyspace.is_none() {
            self.0.message = format!("keyspace {name:?}: {}", self.0.message);
            self.0.keyspace = Some(name.into());
        }
        self
    }

    /// Names the directory of the database: files are told relative to it.
    #[must_use]
    pub(crate) fn in_directory(mut self, root: &Path) -> Error {
        if self.0.path.is_none() {
            let file = self.0.engine.as_ref().and_then(EngineError::file);
            self.0.path = Some(file.map_or_else(|| root.into(), |file| root.join(file)));
        }
        self
    }

    /// Names a table file, which no database has: instead of its name that the engine knows, with its path.
    #[must_use]
    pub(crate) fn of_table_file(mut self, path: &Path) -> Error {
        let name = self.0.engine.as_ref().and_then(EngineError::file);
        let said = name.and_then(|name| self.0.message.strip_prefix(name));
        self.0.message = match said {
            Some(said) => format!("{}{said}", path.display()),
            None => format!("{}: {}", path.display(), self.0.message),
        };
        self.0.path = Some(path.into());
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed at once or a little later: `Stalled`. `OutOfSpace` and `Busy` can succeed
    /// when something else was done.
    pub fn is_retryable(&self) -> bool {
        self.0.kind == ErrorKind::Stalled
    }

    /// The keyspace concerned.
    pub fn keyspace(&self) -> Option<&str> {
        self.0.keyspace.as_deref()
    }

    /// The tree concerned, where the engine named one.
    pub(crate) fn tree(&self) -> Option<TreeId> {
        self.0.engine.as_ref()?.tree()
    }

    /// The file or directory concerned.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Where in the file, in bytes.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// Keys whose answers are unknown because of it: of an iterator's error, the range that was passed over.
    pub fn keys(&self) -> Option<&KeyBounds> {
        self.0.engine.as_ref()?.keys()
    }

    /// `errno` or its like, if the operating system was the cause.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.engine.as_ref()?.io_error()?.raw_os_error()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.engine.as_ref().map(|engine| engine as _)
    }
}

impl From<EngineError> for Error {
    fn from(engine: EngineError) -> Error {
        let kind = match engine.kind() {
            EngineErrorKind::Io => ErrorKind::Io,
            EngineErrorKind::Corruption => ErrorKind::Corruption,
            EngineErrorKind::Poisoned => ErrorKind::Poisoned,
            EngineErrorKind::OutOfSpace => ErrorKind::OutOfSpace,
            EngineErrorKind::Locked => ErrorKind::Locked,
            EngineErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            EngineErrorKind::NotFound => ErrorKind::NotFound,
            EngineErrorKind::ReadOnly => ErrorKind::ReadOnly,
            EngineErrorKind::TreeDropped => ErrorKind::KeyspaceDropped,
            EngineErrorKind::SnapshotTooOld => ErrorKind::SnapshotTooOld,
            EngineErrorKind::MissingComparator => ErrorKind::MissingComparator,
            EngineErrorKind::MissingPrefixExtractor => ErrorKind::MissingPrefixExtractor,
            EngineErrorKind::MissingMergeOperator => ErrorKind::MissingMergeOperator,
            EngineErrorKind::MissingCompactionFilter => ErrorKind::MissingCompactionFilter,
            EngineErrorKind::MergeFailed => ErrorKind::MergeFailed,
            EngineErrorKind::ComparatorFailed => ErrorKind::ComparatorFailed,
            EngineErrorKind::FilterFailed => ErrorKind::FilterFailed,
            EngineErrorKind::MissingDictionary => ErrorKind::MissingDictionary,
            EngineErrorKind::MissingRoute => ErrorKind::MissingRoute,
            EngineErrorKind::MissingKey => ErrorKind::MissingKey,
            EngineErrorKind::WrongKey => ErrorKind::WrongKey,
            EngineErrorKind::MixedStore => ErrorKind::MixedDatabase,
            EngineErrorKind::UnsupportedFormat => ErrorKind::UnsupportedFormat,
            EngineErrorKind::UnsupportedFeature => ErrorKind::UnsupportedFeature,
            EngineErrorKind::Busy => ErrorKind::Busy,
            EngineErrorKind::Cancelled => ErrorKind::Cancelled,
            EngineErrorKind::Closed => ErrorKind::Closed,
            _ => ErrorKind::InvalidArgument,
        };
        let mut error = Error::new(kind, engine.to_string());
        error.0.offset = engine.offset();
        error.0.engine = Some(engine);
        error
    }
}

/// With the nearest kind; the error itself is inside.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error.kind() {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::OutOfSpace => io::ErrorKind::StorageFull,
            ErrorKind::Busy | ErrorKind::Locked => io::ErrorKind::ResourceBusy,
            ErrorKind::Corruption => io::ErrorKind::InvalidData,
            ErrorKind::InvalidArgument => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// What the caller can do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    // ----- try again -----
    /// A write with `no_slowdown` would have waited: write less, or again a little later.
    Stalled,
    /// No space: free some. Reads go on; writes come back by themselves when there is space.
    OutOfSpace,
    /// Readers or jobs did not end in time: wait and call again.
    Busy,
    /// A job was ended by the closing of the database.
    Cancelled,

    // ----- the database or machine needs care -----
    /// The operating system failed; nothing was changed. [`Error::raw_os_error`] says how.
    Io,
    /// Stored bytes contradict the format: `verify`, then `repair`, or restore from a copy.
    Corruption,
    /// A sync failed, so no later write could be trusted: read on; reopen to write.
    Poisoned,

    // ----- opening -----
    /// Another process has it open: stop that one.
    Locked,
    /// No database there, and `create_if_missing(false)` or opened for reading; no such table file.
    NotFound,
    /// The target exists: choose another path.
    AlreadyExists,
    /// Written by a newer version, or not a database or table file: use that version, or check the path.
    UnsupportedFormat,
    /// Not compiled in, or impossible on this file system: enable the feature, or change the option.
    UnsupportedFeature,
    /// Files of different databases in one place: put the right ones there.
    MixedDatabase,
    /// Encrypted, and no keys were given, or not one that files name: open again with it; nothing was touched.
    MissingKey,
    /// A key is not the one that it was encrypted with: give the right one; nothing was touched.
    WrongKey,
    /// Files lie at a place that was not given, or that is not there: mount it, or give it to
    /// [`Builder::route`](crate::Builder::route).
    MissingRoute,
    /// A keyspace has an order of keys that this version does not know.
    MissingComparator,
    /// A keyspace names a prefix extractor that was not registered: open again with
    /// [`Builder::prefix_extractor`](crate::Builder::prefix_extractor).
    MissingPrefixExtractor,
    /// A keyspace names a merge operator that was not registered, or has operands and names none: open again with
    /// [`Builder::merge_operator`](crate::Builder::merge_operator).
    MissingMergeOperator,
    /// A keyspace names a compaction filter that was not registered: open again with
    /// [`Builder::compaction_filter`](crate::Builder::compaction_filter).
    MissingCompactionFilter,
    /// The file of a compression dictionary that tables need is gone: put it back from a copy of this database.
    MissingDictionary,

    // ----- the call -----
    /// An argument breaks its documented bounds, or a handle belongs to another database: fix the call.
    InvalidArgument,
    /// Over 65,535 bytes: shorten the key.
    KeyTooLarge,
    /// Over 2^32 - 1 bytes: split the value.
    ValueTooLarge,
    /// Encoded over 2^32 - 1 bytes: split the batch.
    BatchTooLarge,
    /// Opened for reading: use `open`.
    ReadOnly,
    /// No keyspace of this name: create it.
    KeyspaceMissing,
    /// Dropped meanwhile: forget the handle.
    KeyspaceDropped,
    /// A merge operator refused the operands of a key, or panicked; the message says why. Nothing is lost.
    MergeFailed,
    /// The order of keys of the keyspace panicked: open the database again, with one that does not.
    ComparatorFailed,
    /// A compaction filter failed or panicked: its job changed nothing, and is tried again later.
    FilterFailed,
    /// Versions that old are gone: use a newer snapshot.
    SnapshotTooOld,
    /// `close` was called.
    Closed,
}
