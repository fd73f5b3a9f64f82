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

/// Of a link that could not be made. What can be copied all the same is `Unsupported`: the file has as many
/// names as it may have, or the file system knows no second ones. Where it is the permissions that lack, unix
/// says `EACCES`.
pub(super) fn of_link(error: Error) -> IoError {
    let is_refused = error.raw_os_error().is_some_and(|number| NO_LINK.contains(&number));
    if is_refused || error.kind() == ErrorKind::TooManyLinks {
        return IoErrorKind::Unsupported.into();
    }
    error.into()
}

/// Of a clone that could not be made: file systems without clones have many ways to say so.
#[cfg(target_os = "linux")]
pub(super) fn of_clone(error: Error) -> IoError {
    if error.raw_os_error().is_some_and(|number| NO_CLONE.contains(&number)) {
        return IoErrorKind::Unsupported.into();
    }
    error.into()
}

// Numbers for which `std` has no kind.

#[cfg(unix)]
const OUT_OF_HANDLES: [i32; 2] =
    [rustix::io::Errno::MFILE.raw_os_error(), rustix::io::Errno::NFILE.raw_os_error()];
#[cfg(unix)]
const UNSUPPORTED: [i32; 2] =
    [rustix::io::Errno::OPNOTSUPP.raw_os_error(), rustix::io::Errno::NOSYS.raw_os_error()];

#[cfg(unix)]
const NO_LINK: [i32; 1] = [rustix::io::Errno::PERM.raw_os_error()];
#[cfg(target_os = "linux")]
const NO_CLONE: [i32; 3] = [
    rustix::io::Errno::INVAL.raw_os_error(),
    rustix::io::Errno::NOTTY.raw_os_error(),
    rustix::io::Errno::BADF.raw_os_error(),
];

/// `ERROR_TOO_MANY_OPEN_FILES`.
#[cfg(windows)]
const OUT_OF_HANDLES: [i32; 1] = [4];
/// `ERROR_NOT_SUPPORTED`.
#[cfg(windows)]
const UNSUPPORTED: [i32; 1] = [50];
/// `ERROR_INVALID_FUNCTION`.
#[cfg(windows)]
const NO_LINK: [i32; 1] = [1];

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
    fn links_and_clones_that_cannot_be_are_left_to_a_copy() {
        let kind = |error: IoError| error.kind();
        let raw = |errno: Errno| Error::from_raw_os_error(errno.raw_os_error());

        for errno in [Errno::MLINK, Errno::PERM, Errno::OPNOTSUPP] {
            assert_eq!(kind(of_link(raw(errno))), IoErrorKind::Unsupported, "{errno:?}");
        }
        assert_eq!(kind(of_link(raw(Errno::XDEV))), IoErrorKind::CrossDevice);
        assert_eq!(kind(of_link(raw(Errno::ACCESS))), IoErrorKind::PermissionDenied);
        #[cfg(target_os = "linux")]
        {
            for errno in [Errno::INVAL, Errno::NOTTY, Errno::BADF, Errno::OPNOTSUPP] {
                assert_eq!(kind(of_clone(raw(errno))), IoErrorKind::Unsupported, "{errno:?}");
            }
            assert_eq!(kind(of_clone(raw(Errno::NOSPC))), IoErrorKind::OutOfSpace);
        }
    }

    #[test]
    fn an_error_without_a_number_keeps_none() {
        assert_eq!(IoError::from(Error::from(ErrorKind::WriteZero)), IoErrorKind::Other.into());
    }
}
