//! The contract of a place for files.

use crate::{
    error::{IoErrorKind, IoResult},
    file::{CreateOptions, File, OpenMode, SyncSite},
    ledger::Ledger,
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{any::Any, fmt};

/// A place for files, shared by threads.
///
/// Every method refuses names that break the rules at the top of this crate with `InvalidName`, and may fail
/// with what the medium reports; `# Errors` name the rest. Where a directory on the way is missing, that is
/// `NotFound`; where it is a file, `NotADirectory`. `testkit::fs_conformance` runs this contract and that of
/// [`File`] against any backend.
pub trait Fs: Any + Send + Sync {
    /// Opens an existing file.
    ///
    /// # Errors
    ///
    /// `NotFound`; `IsADirectory`; `PermissionDenied`; `OutOfHandles`.
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>>;

    /// Creates an empty file and opens it for reading and writing. Its entry is durable after
    /// [`Fs::sync_dir`] of its directory.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if anything has that name; `NotFound` if the parent is missing; `OutOfSpace`;
    /// `OutOfHandles`.
    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>>;

    /// Creates one directory, atomically: of two callers one gets it.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if anything has that name; `NotFound` if the parent is missing; `OutOfSpace`.
    fn create_dir(&self, name: &str) -> IoResult<()>;

    /// Lists a directory, in no particular order. `""` is the root. Entries with names that no method takes
    /// are left out.
    ///
    /// # Errors
    ///
    /// `NotFound`; `NotADirectory`.
    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>>;

    /// Removes a file. Handles that are open stay readable and writable.
    ///
    /// # Errors
    ///
    /// `NotFound`; `IsADirectory`.
    fn remove_file(&self, name: &str) -> IoResult<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// `NotFound`; `NotADirectory`; `DirectoryNotEmpty`.
    fn remove_dir(&self, name: &str) -> IoResult<()>;

    /// Renames a file and replaces the file `to`, atomically: at every moment `to` is the old or the new one.
    /// Handles of the replaced file stay readable. Durable after [`Fs::sync_dir`] of both parents.
    ///
    /// # Errors
    ///
    /// `NotFound` if `from` or the parent of `to` is missing; `IsADirectory` if either is a directory;
    /// `CrossDevice`.
    fn rename(&self, from: &str, to: &str) -> IoResult<()>;

    /// The backend that this one is a part of, and what `name` is called there; `None` if it is no part of
    /// another. For links between places.
    ///
    /// # Errors
    ///
    /// `InvalidName`.
    fn outer(&self, name: &str) -> IoResult<Option<(&dyn Fs, String)>> {
        let _ = name;
        Ok(None)
    }

    /// Gives the file `from` of this place a second name, `to` in `target`, under which it is the same file:
    /// what is written through one is read through the other, and removing one leaves the other. The name is
    /// durable after [`Fs::sync_dir`] of its directory; the content becomes durable with [`File::sync`] as
    /// ever.
    ///
    /// A rename of one name of a file onto another of its names changes nothing, or takes the first away, as
    /// the system has it.
    ///
    /// # Errors
    ///
    /// `Unsupported` and `CrossDevice` if it cannot be between these places, or the file can have no further
    /// name: callers then copy. `NotFound` if `from` or the parent of `to` is missing; `AlreadyExists` if
    /// anything has the name `to`; `IsADirectory` if `from` is a directory; `OutOfSpace`.
    fn link_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        let _ = (from, target, to);
        Err(IoErrorKind::Unsupported.into())
    }

    /// As [`Fs::link_to`], within this place.
    ///
    /// # Errors
    ///
    /// As [`Fs::link_to`].
    fn link(&self, from: &str, to: &str) -> IoResult<()>
    where
        Self: Sized,
    {
        self.link_to(from, self, to)
    }

    /// Makes `to` in `target` a clone of the file `from` of this place: a file of its own that shares blocks
    /// until either is written to. To be synced as any new file.
    ///
    /// # Errors
    ///
    /// As [`Fs::link_to`].
    fn reflink_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        let _ = (from, target, to);
        Err(IoErrorKind::Unsupported.into())
    }

    /// Makes the directory's entries durable. The content of the files is not its business.
    ///
    /// # Errors
    ///
    /// `NotFound`; `NotADirectory`. After any other failure nothing may be assumed about the entries.
    fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()>;

    /// Makes the entry of the root itself durable in its parent. The default: the root was always there.
    ///
    /// # Errors
    ///
    /// As [`Fs::sync_dir`].
    fn sync_parent(&self, site: SyncSite) -> IoResult<()> {
        let _ = site;
        Ok(())
    }

    /// Takes the advisory lock of a file, without waiting, until the returned value is dropped. The lock is
    /// the file's: it binds other processes, and other callers in this one. [`LockMode::Exclusive`] creates
    /// the file if there is none.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another holder is in the way; `Unsupported`; `NotFound` for a shared lock of a file
    /// that is missing; otherwise as [`Fs::open`].
    fn lock(&self, name: &str, mode: LockMode) -> IoResult<Box<dyn FileLock>> {
        let _ = (name, mode);
        Err(IoErrorKind::Unsupported.into())
    }

    /// Bytes that can still be written, if known.
    ///
    /// # Errors
    ///
    /// What the medium reports.
    fn space_left(&self) -> IoResult<Option<u64>> {
        Ok(None)
    }

    /// Whether a file or directory of that name is there.
    ///
    /// # Errors
    ///
    /// As [`Fs::open`], other than that nothing is there.
    fn exists(&self, name: &str) -> IoResult<bool> {
        match self.open(name, OpenMode::Read) {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                IoErrorKind::IsADirectory => Ok(true),
                IoErrorKind::NotFound | IoErrorKind::NotADirectory => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Bytes written through this backend by origin, if it counts them.
    fn ledger(&self) -> Option<&Ledger> {
        None
    }
}

impl dyn Fs {
    /// The backend in which the file `name` of this place lies, and its name there, if that backend is an
    /// `F`.
    ///
    /// # Errors
    ///
    /// `Unsupported` if it is another; `InvalidName`.
    pub fn locate<F: Fs>(&self, name: &str) -> IoResult<(&F, String)> {
        let (mut fs, mut name) = (self, String::from(name));
        while let Some((outer, outer_name)) = fs.outer(&name)? {
            (fs, name) = (outer, outer_name);
        }
        let fs = (fs as &dyn Any).downcast_ref().ok_or(IoErrorKind::Unsupported)?;
        Ok((fs, name))
    }

    /// The first `F` on the way to that backend, this place included, and the file's name there; `None` if
    /// there is none.
    pub(crate) fn find_outer<F: Fs>(&self, name: &str) -> IoResult<Option<(&F, String)>> {
        let (mut fs, mut name) = (self, String::from(name));
        loop {
            if let Some(found) = (fs as &dyn Any).downcast_ref() {
                return Ok(Some((found, name)));
            }
            match fs.outer(&name)? {
                Some((outer, outer_name)) => (fs, name) = (outer, outer_name),
                None => return Ok(None),
            }
        }
    }
}

impl fmt::Debug for dyn Fs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fs").finish_non_exhaustive()
    }
}

/// One entry of a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    /// Last part of the name.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Held advisory lock; dropping it releases.
pub trait FileLock: Send + Sync {}

impl fmt::Debug for dyn FileLock + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLock").finish_non_exhaustive()
    }
}

/// Who may hold a lock beside this holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockMode {
    /// Other shared holders: who only reads. Works on a file that cannot be written.
    Shared,
    /// Nobody.
    Exclusive,
}
