//! A directory of a backend as a backend.

use crate::{
    error::IoResult,
    file::{CreateOptions, File, OpenMode, SyncSite},
    fs::{DirEntry, FileLock, Fs, LockMode},
    ledger::Ledger,
    name::Name,
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};

/// Files below one directory of another backend. Names, locks, space and the ledger are that backend's.
///
/// Clones are the same directory.
#[derive(Clone, Debug)]
pub struct SubDir {
    fs: Arc<dyn Fs>,
    /// Name of the directory in `fs`; not the root.
    dir: Arc<str>,
}

impl SubDir {
    /// Makes the directory `name` of `fs`, atomically, and syncs its entry in the parent.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if anything of that name is there: of two callers one gets it. `NotFound` if the parent
    /// is missing. If the sync fails, the directory may be there all the same.
    pub fn create(fs: Arc<dyn Fs>, name: &str, site: SyncSite) -> IoResult<SubDir> {
        let parent = Name::parse(name)?.parent();
        fs.create_dir(name)?;
        fs.sync_dir(parent.as_str(), site)?;
        Ok(SubDir { fs, dir: name.into() })
    }

    /// The directory `name` of `fs`, which exists.
    ///
    /// # Errors
    ///
    /// `NotFound`; `NotADirectory`.
    pub fn open(fs: Arc<dyn Fs>, name: &str) -> IoResult<SubDir> {
        Name::parse(name)?;
        fs.list(name)?;
        Ok(SubDir { fs, dir: name.into() })
    }

    /// The name in `fs` of the file or directory `name` of this backend.
    fn inner(&self, name: &str) -> IoResult<String> {
        let name = Name::parse(name)?;
        Ok([&*self.dir, "/", name.as_str()].concat())
    }

    /// As [`SubDir::inner`]; `""` is this directory.
    fn inner_dir(&self, dir: &str) -> IoResult<String> {
        if dir.is_empty() { Ok((*self.dir).into()) } else { self.inner(dir) }
    }
}

impl Fs for SubDir {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        self.fs.open(&self.inner(name)?, mode)
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        self.fs.create(&self.inner(name)?, options)
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        self.fs.create_dir(&self.inner(name)?)
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        self.fs.list(&self.inner_dir(dir)?)
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        self.fs.remove_file(&self.inner(name)?)
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        self.fs.remove_dir(&self.inner(name)?)
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        self.fs.rename(&self.inner(from)?, &self.inner(to)?)
    }

    fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()> {
        self.fs.sync_dir(&self.inner_dir(dir)?, site)
    }

    /// Syncs the directory of the inner backend that holds this one.
    fn sync_parent(&self, site: SyncSite) -> IoResult<()> {
        self.fs.sync_dir(Name::parse(&self.dir)?.parent().as_str(), site)
    }

    fn lock(&self, name: &str, mode: LockMode) -> IoResult<Box<dyn FileLock>> {
        self.fs.lock(&self.inner(name)?, mode)
    }

    fn space_left(&self) -> IoResult<Option<u64>> {
        self.fs.space_left()
    }

    fn exists(&self, name: &str) -> IoResult<bool> {
        self.fs.exists(&self.inner(name)?)
    }

    fn ledger(&self) -> Option<&Ledger> {
        self.fs.ledger()
    }
}
