//! Why a call to a backend failed.

use core::{error, fmt};

/// Result of a call to a backend.
pub type IoResult<T> = core::result::Result<T, IoError>;

/// Why a call to a backend failed.
///
/// Says nothing about which file: the caller knows the name and adds it to its own error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoError {
    kind: IoErrorKind,
    raw_os: Option<i32>,
}

impl IoError {
    /// An error with the number the operating system gave.
    pub const fn from_os(kind: IoErrorKind, raw_os: i32) -> IoError {
        IoError { kind, raw_os: Some(raw_os) }
    }

    /// The class of the failure.
    pub const fn kind(&self) -> IoErrorKind {
        self.kind
    }

    /// `errno` or its like; `None` if the failure was not the operating system's.
    pub const fn raw_os_error(&self) -> Option<i32> {
        self.raw_os
    }
}

impl From<IoErrorKind> for IoError {
    fn from(kind: IoErrorKind) -> IoError {
        IoError { kind, raw_os: None }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match self.raw_os {
            Some(number) => write!(f, " (os error {number})"),
            None => Ok(()),
        }
    }
}

impl error::Error for IoError {}

/// Classes of backend failures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum IoErrorKind {
    /// There is no file or directory of that name, or its parent is missing.
    NotFound,
    /// There is already a file or directory of that name.
    AlreadyExists,
    /// The caller may not do this, or the medium is read-only.
    PermissionDenied,
    /// The name breaks the rules at the top of this crate, or the operating system cannot express it.
    InvalidName,
    /// A file stands where a directory is needed.
    NotADirectory,
    /// A directory stands where a file is needed.
    IsADirectory,
    /// The directory to be removed still has entries.
    DirectoryNotEmpty,
    /// Disk or quota full.
    OutOfSpace,
    /// Too many open files.
    OutOfHandles,
    /// Link or rename between devices.
    CrossDevice,
    /// The backend has no such operation.
    Unsupported,
    /// The lock is taken.
    WouldBlock,
    /// The file ends before the bytes that were asked for.
    UnexpectedEnd,
    /// Anything else: [`IoError::raw_os_error`] may tell more.
    Other,
}

impl fmt::Display for IoErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "no such file or directory",
            Self::AlreadyExists => "file or directory exists already",
            Self::PermissionDenied => "permission denied",
            Self::InvalidName => "invalid file name",
            Self::NotADirectory => "not a directory",
            Self::IsADirectory => "is a directory",
            Self::DirectoryNotEmpty => "directory is not empty",
            Self::OutOfSpace => "no space left",
            Self::OutOfHandles => "too many open files",
            Self::CrossDevice => "files lie on different devices",
            Self::Unsupported => "operation is not supported here",
            Self::WouldBlock => "lock is held by another",
            Self::UnexpectedEnd => "file ends too early",
            Self::Other => "input/output error",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn display_names_the_kind_and_the_number_of_the_system() {
        assert_eq!(IoError::from(IoErrorKind::NotFound).to_string(), "no such file or directory");
        assert_eq!(IoError::from_os(IoErrorKind::OutOfSpace, 28).to_string(), "no space left (os error 28)");
    }
}
