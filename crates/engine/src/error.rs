//! The engine's error. It names files relative to the store's root; `isopach::Error` wraps it once.

use crate::types::TreeId;
use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{error, fmt, ops::Bound};
use isopach_env::{IoError, IoErrorKind};

/// Result of the engine.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Both ends of a range of keys.
pub type KeyBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Why an operation did not happen: what to do is in [`Error::kind`], where it happened is in the message.
///
/// One word wide. Clones share nothing and cost an allocation.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    tree: Option<TreeId>,
    file: Option<String>,
    offset: Option<u64>,
    keys: Option<KeyBounds>,
    io: Option<IoError>,
}

impl Error {
    /// An error that says what failed and which rule it broke.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            tree: None,
            file: None,
            offset: None,
            keys: None,
            io: None,
        }))
    }

    /// A failure of the backend while doing something to a file or directory.
    pub fn io(io: IoError, doing: &str, file: impl Into<String>) -> Error {
        let kind = match io.kind() {
            IoErrorKind::OutOfSpace => ErrorKind::OutOfSpace,
            IoErrorKind::Unsupported => ErrorKind::UnsupportedFeature,
            _ => ErrorKind::Io,
        };
        let mut error = Error::new(kind, format!("cannot {doing}: {io}")).in_file(file);
        error.0.io = Some(io);
        error
    }

    /// Stored bytes that contradict the format.
    pub fn corrupt(file: impl Into<String>, offset: u64, why: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Corruption, format!("{why}")).in_file(file).at(offset)
    }

    /// Says more.
    #[must_use]
    pub(crate) fn adding(mut self, more: &str) -> Error {
        self.0.message.push_str(more);
        self
    }

    /// Names the file concerned, relative to the root.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Error {
        self.0.file = Some(file.into());
        self
    }

    /// Names the place in the file, in bytes.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Error {
        self.0.offset = Some(offset);
        self
    }

    /// Names the tree concerned.
    #[must_use]
    pub fn in_tree(mut self, tree: TreeId) -> Error {
        self.0.tree = Some(tree);
        self
    }

    /// Names the keys whose answers are unknown because of it.
    #[must_use]
    pub fn over_keys(mut self, keys: KeyBounds) -> Error {
        self.0.keys = Some(keys);
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The tree concerned.
    pub fn tree(&self) -> Option<TreeId> {
        self.0.tree
    }

    /// The file concerned, relative to the root.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// Where in the file, in bytes.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// Keys whose answers are unknown because of it: of an iterator's error, the range that was passed over.
    pub fn keys(&self) -> Option<&KeyBounds> {
        self.0.keys.as_ref()
    }

    /// The backend's error, if it was the cause.
    pub fn io_error(&self) -> Option<IoError> {
        self.0.io
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.0.file {
            f.write_str(file)?;
            if let Some(offset) = self.0.offset {
                write!(f, " at byte {offset}")?;
            }
            f.write_str(": ")?;
        }
        if self.0.kind == ErrorKind::Corruption {
            f.write_str("corrupt: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.io.as_ref().map(|io| io as _)
    }
}

/// What the caller can do. A name that `isopach::ErrorKind` has too means the same there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The backend failed; nothing was changed. [`Error::io_error`] says how.
    Io,
    /// Stored bytes contradict the format: verify, then repair, or restore from a copy.
    Corruption,
    /// A sync or manifest write failed half-way: read on, reopen to write.
    Poisoned,
    /// No space: free some; nothing was changed.
    OutOfSpace,
    /// Another opener holds the store, or a reader while opening to write.
    Locked,
    /// The target exists: choose another name.
    AlreadyExists,
    /// No such store, tree or file.
    NotFound,
    /// Opened for reading only.
    ReadOnly,
    /// The tree was dropped: forget the handle.
    TreeDropped,
    /// An argument breaks its documented bounds: fix the call.
    InvalidArgument,
    /// Below the read floor, and in no list of views: use a newer view.
    SnapshotTooOld,
    /// A tree names a key order that this build does not know.
    MissingComparator,
    /// A tree names a prefix extractor that was not registered: open again with it.
    MissingPrefixExtractor,
    /// A tree names a merge operator that was not registered, or has operands and names none: open again with it.
    MissingMergeOperator,
    /// A tree names a compaction filter that was not registered: open again with it.
    MissingCompactionFilter,
    /// A merge operator refused the operands of a key, or panicked.
    MergeFailed,
    /// The order of keys of the tree panicked: open it again, with one that does not.
    ComparatorFailed,
    /// A compaction filter failed or panicked: its job changed nothing.
    FilterFailed,
    /// A compression dictionary that tables need is gone: put it back from a copy.
    MissingDictionary,
    /// Files lie at a place that nobody knows, or that is not there: open again with its route.
    MissingRoute,
    /// Encrypted, and no keys were given, or not this one: open again with it; nothing was changed.
    MissingKey,
    /// The key of this name is another one than it was encrypted with: give the right one; nothing was changed.
    WrongKey,
    /// Files of different stores lie in one directory: put the right ones there.
    MixedStore,
    /// Written by a newer version, or not a store at all.
    UnsupportedFormat,
    /// Not compiled in, or not possible on this backend.
    UnsupportedFeature,
    /// Inputs are taken by another job: pick again.
    Busy,
    /// The caller said stop; nothing was changed.
    Cancelled,
    /// The store is closed.
    Closed,
}
