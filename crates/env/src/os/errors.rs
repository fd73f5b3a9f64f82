//! From the operating system's errors to the kinds of this crate.

use crate::error::{IoError, IoErrorKind};
use std::io::{Error, ErrorKind};

impl From<Error> for IoError {
    fn from(error: Error) -> IoError {
        let kind = kind_of(&error);
        match error.raw_os_error() {
            Some(number) => IoError::from_os(kind, number),
            None => kind.into(),
        }
    }
}

fn kind_of(error: &Error) -> IoErrorKind {
    if error.raw_os_error().is_some_and(|number| OUT_OF_HANDLES.contains(&number)) {
        return IoErrorKind::OutOfHandles;
    }
    if error.raw_os_error().is_some_and(|number| UNSUPPORTED.contains(&number)) {
        return IoErrorKind::Unsupported;
    }
    match error.kind() {
        ErrorKind::NotFound => IoErrorKind::NotFound,
        ErrorKind::AlreadyExists => IoErrorKind::AlreadyExists,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => IoErrorKind::PermissionDenied,
        ErrorKind::InvalidFilename => IoErrorKind::InvalidName,
        ErrorKind::NotADirectory => IoErrorKind::NotADirectory,
        ErrorKind::IsADirectory => IoErrorKind::IsADirectory,
        ErrorKind::DirectoryNotEmpty => IoErrorKind::DirectoryNotEmpty,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => IoErrorKind::OutOfSpace,
        ErrorKind::CrossesDevices => IoErrorKind::CrossDevice,
        ErrorKind::Unsupported => IoErrorKind::Unsupported,
        ErrorKind::WouldBlock => IoErrorKind::WouldBlock,
        ErrorKind::UnexpectedEof => IoErrorKind::UnexpectedEnd,
        _ => IoErrorKind::Other,
    }
}

// Numbers for which `std` has no kind.

#[cfg(unix)]
const OUT_OF_HANDLES: [i32; 2] =
    [rustix::io::Errno::MFILE.raw_os_error(), rustix::io::Errno::NFILE.raw_os_error()];
#[cfg(unix)]
const UNSUPPORTED: [i32; 2] =
    [rustix::io::Errno::OPNOTSUPP.raw_os_error(), rustix::io::Errno::NOSYS.raw_os_error()];

/// `ERROR_TOO_MANY_OPEN_FILES`.
#[cfg(windows)]
const OUT_OF_HANDLES: [i32; 1] = [4];
/// `ERROR_NOT_SUPPORTED`.
#[cfg(windows)]
const UNSUPPORTED: [i32; 1] = [50];

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn every_number_that_callers_act_on_has_its_kind() {
        let table = [
            (Errno::NOENT, IoErrorKind::NotFound),
            (Errno::EXIST, IoErrorKind::AlreadyExists),
            (Errno::ACCESS, IoErrorKind::PermissionDenied),
            (Errno::PERM, IoErrorKind::PermissionDenied),
            (Errno::ROFS, IoErrorKind::PermissionDenied),
            (Errno::NAMETOOLONG, IoErrorKind::InvalidName),
            (Errno::NOTDIR, IoErrorKind::NotADirectory),
            (Errno::ISDIR, IoErrorKind::IsADirectory),
            (Errno::NOTEMPTY, IoErrorKind::DirectoryNotEmpty),
            (Errno::NOSPC, IoErrorKind::OutOfSpace),
            (Errno::DQUOT, IoErrorKind::OutOfSpace),
            (Errno::MFILE, IoErrorKind::OutOfHandles),
            (Errno::NFILE, IoErrorKind::OutOfHandles),
            (Errno::XDEV, IoErrorKind::CrossDevice),
            (Errno::OPNOTSUPP, IoErrorKind::Unsupported),
            (Errno::NOSYS, IoErrorKind::Unsupported),
            (Errno::WOULDBLOCK, IoErrorKind::WouldBlock),
            (Errno::IO, IoErrorKind::Other),
        ];

        for (errno, kind) in table {
            let number = errno.raw_os_error();
            assert_eq!(
                IoError::from(Error::from_raw_os_error(number)),
                IoError::from_os(kind, number),
                "{errno:?}"
            );
        }
    }

    #[test]
    fn an_error_without_a_number_keeps_none() {
        assert_eq!(IoError::from(Error::from(ErrorKind::WriteZero)), IoErrorKind::Other.into());
    }
}
