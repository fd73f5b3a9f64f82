//! Files below a directory of the operating system.

#[cfg(target_os = "linux")]
use super::errors::of_clone;
use super::{
    calls::{once, uninterrupted},
    errors::of_link,
    file::OsFile,
};
use crate::{
    error::{IoErrorKind, IoResult},
    file::{CreateOptions, File, OpenMode, SyncSite},
    fs::{DirEntry, FileLock, Fs, LockMode},
    ledger::{Ledger, WriteOrigin},
    name::{Name, is_part},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use std::{
    fs::{self, DirBuilder, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// Files below a directory of the operating system. Cheap to clone; clones share the ledger.
///
/// New files and directories are open to their owner only (on unix: modes 0600 and 0700, less the umask).
/// Interrupted and short system calls are made good; nothing else is repeated.
#[derive(Clone, Debug)]
pub struct OsFs {
    /// Absolute, without symbolic links, so that changing the working directory changes nothing.
    root: Arc<Path>,
    ledger: Arc<Ledger>,
}

impl OsFs {
    /// A backend rooted at the directory `root`, which must exist.
    ///
    /// # Errors
    ///
    /// `NotFound`; `NotADirectory`; what the system reports.
    pub fn new(root: impl AsRef<Path>) -> IoResult<OsFs> {
        let root = uninterrupted(|| fs::canonicalize(root.as_ref()))?;
        if !uninterrupted(|| fs::metadata(&root))?.is_dir() {
            return Err(IoErrorKind::NotADirectory.into());
        }
        Ok(OsFs { root: root.into(), ledger: Arc::new(Ledger::new()) })
    }

    /// Makes the directory `root`, atomically. Its entry is durable after [`Fs::sync_parent`].
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if anything of that name is there: of two callers one gets it. `NotFound` if the
    /// parent is missing.
    pub fn create(root: impl AsRef<Path>) -> IoResult<OsFs> {
        let root = root.as_ref();
        make_dir(root)?;
        OsFs::new(root)
    }

    /// The directory: absolute, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a valid name lies.
    fn path(&self, name: Name<'_>) -> IoResult<PathBuf> {
        let mut path = self.root.to_path_buf();
        for part in name.parts() {
            // `C:x` would replace the path so far, and `a:b` is a stream of `a`.
            if cfg!(windows) && part.contains(':') {
                return Err(IoErrorKind::InvalidName.into());
            }
            path.push(part);
        }
        Ok(path)
    }

    fn handle(&self, file: fs::File, mode: OpenMode, origin: WriteOrigin) -> Arc<dyn File> {
        Arc::new(OsFile { calls: file, ledger: Arc::clone(&self.ledger), origin, mode })
    }
}

impl Fs for OsFs {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        let path = self.path(Name::parse(name)?)?;
        let mut options = OpenOptions::new();
        options.read(true).write(mode == OpenMode::ReadWrite);
        let file = open_file(&path, &options)?;
        Ok(self.handle(file, mode, WriteOrigin::Metadata))
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        let path = self.path(Name::parse(name)?)?;
        let file = uninterrupted(|| for_owner().create_new(true).open(&path))?;
        Ok(self.handle(file, OpenMode::ReadWrite, options.origin))
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        make_dir(&self.path(Name::parse(name)?)?)
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        let path = self.path(Name::parse_dir(dir)?)?;
        // From the start again: a listing that is interrupted cannot be continued.
        Ok(uninterrupted(|| list_once(&path))?)
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        let path = self.path(Name::parse(name)?)?;
        check_no_dir(&path)?;
        Ok(uninterrupted(|| fs::remove_file(&path))?)
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        let path = self.path(Name::parse(name)?)?;
        Ok(uninterrupted(|| fs::remove_dir(&path))?)
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        let (from, to) = (self.path(Name::parse(from)?)?, self.path(Name::parse(to)?)?);
        // Some systems rename directories, and over empty ones; no backend does.
        check_no_dir(&from)?;
        match check_no_dir(&to) {
            Err(error) if error.kind() != IoErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(uninterrupted(|| fs::rename(&from, &to))?)
    }

    fn link_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        let from = self.path(Name::parse(from)?)?;
        let (target, to) = target.locate::<OsFs>(to)?;
        let to = target.path(Name::parse(&to)?)?;
        check_no_dir(&from)?; // Some systems say that the caller may not.
        uninterrupted(|| fs::hard_link(&from, &to)).map_err(of_link)
    }

    #[cfg(target_os = "linux")]
    fn reflink_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        let (target, to) = target.locate::<OsFs>(to)?;
        let from = open_file(&self.path(Name::parse(from)?)?, OpenOptions::new().read(true))?;
        let to = target.path(Name::parse(&to)?)?;
        let clone = uninterrupted(|| for_owner().create_new(true).open(&to))?;
        uninterrupted(|| Ok(rustix::fs::ioctl_ficlone(&clone, &from)?)).map_err(|error| {
            let _ = fs::remove_file(&to); // Created above: nobody else's.
            of_clone(error)
        })
    }

    fn sync_dir(&self, dir: &str, _site: SyncSite) -> IoResult<()> {
        sync_dir_at(&self.path(Name::parse_dir(dir)?)?)
    }

    fn sync_parent(&self, _site: SyncSite) -> IoResult<()> {
        // The root of the whole file system has no entry.
        self.root.parent().map_or(Ok(()), sync_dir_at)
    }

    fn lock(&self, name: &str, mode: LockMode) -> IoResult<Box<dyn FileLock>> {
        let path = self.path(Name::parse(name)?)?;
        let file = match mode {
            LockMode::Shared => open_file(&path, OpenOptions::new().read(true))?,
            LockMode::Exclusive => open_file(&path, for_owner().create(true).truncate(false))?,
        };
        let is_taken = uninterrupted(|| {
            let result = match mode {
                LockMode::Shared => file.try_lock_shared(),
                LockMode::Exclusive => file.try_lock(),
            };
            match result {
                Ok(()) => Ok(true),
                Err(TryLockError::WouldBlock) => Ok(false),
                Err(TryLockError::Error(error)) => Err(error),
            }
        })?;
        if is_taken { Ok(Box::new(OsLock { _file: file })) } else { Err(IoErrorKind::WouldBlock.into()) }
    }

    #[cfg(unix)]
    fn space_left(&self) -> IoResult<Option<u64>> {
        let stat = uninterrupted(|| Ok(rustix::fs::statvfs(&*self.root)?))?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    fn exists(&self, name: &str) -> IoResult<bool> {
        let path = self.path(Name::parse(name)?)?;
        match uninterrupted(|| fs::symlink_metadata(&path)) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn ledger(&self) -> Option<&Ledger> {
        Some(&self.ledger)
    }
}

fn list_once(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    let mut found = once(|| fs::read_dir(path))?;
    while let Some(entry) = once(|| found.next().transpose())? {
        let Some(name) = entry.file_name().to_str().filter(|name| is_part(name)).map(Into::into) else {
            continue;
        };
        let mut kind = uninterrupted(|| entry.file_type())?;
        if kind.is_symlink() {
            // One that leads nowhere counts as a file, as what it would be to `remove_file`.
            let target = uninterrupted(|| fs::metadata(entry.path()));
            kind = target.map_or(kind, |target| target.file_type());
        }
        entries.push(DirEntry { name, is_dir: kind.is_dir() });
    }
    Ok(entries)
}

/// Opens for reading and writing; a file that this makes is its owner's alone.
fn for_owner() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn open_file(path: &Path, options: &OpenOptions) -> IoResult<fs::File> {
    let file = uninterrupted(|| options.open(path))?;
    // Unix opens directories for reading like files.
    if uninterrupted(|| file.metadata())?.is_dir() { Err(IoErrorKind::IsADirectory.into()) } else { Ok(file) }
}

fn make_dir(path: &Path) -> IoResult<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    Ok(uninterrupted(|| builder.create(path))?)
}

/// Refuses a directory, for systems that have another error for it or none. Does not guard against a change
/// between this look and the call after it: the store's lock keeps others out.
fn check_no_dir(path: &Path) -> IoResult<()> {
    let found = uninterrupted(|| fs::symlink_metadata(path))?;
    if found.is_dir() { Err(IoErrorKind::IsADirectory.into()) } else { Ok(()) }
}

#[cfg(not(windows))]
fn sync_dir_at(path: &Path) -> IoResult<()> {
    let dir = uninterrupted(|| fs::File::open(path))?;
    if !uninterrupted(|| dir.metadata())?.is_dir() {
        return Err(IoErrorKind::NotADirectory.into());
    }
    Ok(uninterrupted(|| dir.sync_all())?)
}

/// Windows has no sync of a directory: its journal orders changes of names.
#[cfg(windows)]
fn sync_dir_at(path: &Path) -> IoResult<()> {
    if uninterrupted(|| fs::metadata(path))?.is_dir() {
        Ok(())
    } else {
        Err(IoErrorKind::NotADirectory.into())
    }
}

/// The lock is the open file's: closing it releases.
struct OsLock {
    _file: fs::File,
}

impl FileLock for OsLock {}

#[cfg(all(test, unix))]
mod tests;
