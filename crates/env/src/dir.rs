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
    /// Makes the directory `name` of `fs`, atomically. Its entry is durable after [`Fs::sync_parent`].
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if anything of that name is there: of two callers one gets it. `NotFound` if the
    /// parent is missing.
    pub fn create(fs: Arc<dyn Fs>, name: &str) -> IoResult<SubDir> {
        fs.create_dir(name)?;
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

    fn outer(&self, name: &str) -> IoResult<Option<(&dyn Fs, String)>> {
        Ok(Some((&*self.fs, self.inner(name)?)))
    }

    fn link_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        self.fs.link_to(&self.inner(from)?, target, to)
    }

    fn reflink_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        self.fs.reflink_to(&self.inner(from)?, target, to)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IoErrorKind, MemFs, WriteOrigin};

    const SITE: SyncSite = SyncSite("test");
    const LOG: CreateOptions = CreateOptions::new(WriteOrigin::Log);

    #[test]
    fn what_is_made_inside_lies_below_the_directory() {
        let fs = MemFs::new();
        let dir = SubDir::create(Arc::new(fs.clone()), "db").expect("new");

        dir.create_dir("tables").expect("new");
        dir.create("tables/a", &LOG).expect("new");

        assert_eq!(fs.exists("db/tables/a"), Ok(true));
        assert_eq!(dir.list("tables").map(|entries| entries.len()), Ok(1));
        assert_eq!(dir.list("").map(|entries| entries.len()), Ok(1));
    }

    #[test]
    fn no_name_leads_out() {
        let fs = Arc::new(MemFs::new());
        fs.create("outside", &LOG).expect("new");
        let dir = SubDir::create(fs, "db").expect("new");

        for name in ["", "/outside", "../outside", "a/../../outside"] {
            let kind = dir.open(name, OpenMode::Read).map_err(|error| error.kind());
            assert_eq!(kind.err(), Some(IoErrorKind::InvalidName), "{name:?}");
        }
    }

    #[test]
    fn it_is_made_by_one_caller_only_and_opened_only_if_it_exists() {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        fs.create("file", &LOG).expect("new");
        let kind_of = |result: IoResult<SubDir>| result.err().map(|error| error.kind());

        assert_eq!(kind_of(SubDir::open(Arc::clone(&fs), "db")), Some(IoErrorKind::NotFound));
        assert_eq!(kind_of(SubDir::open(Arc::clone(&fs), "file")), Some(IoErrorKind::NotADirectory));
        assert_eq!(kind_of(SubDir::create(Arc::clone(&fs), "a/db")), Some(IoErrorKind::NotFound));
        assert_eq!(kind_of(SubDir::create(Arc::clone(&fs), "db")), None);
        assert_eq!(kind_of(SubDir::create(Arc::clone(&fs), "db")), Some(IoErrorKind::AlreadyExists));
        assert_eq!(kind_of(SubDir::open(fs, "db")), None);
    }

    #[test]
    fn syncing_its_parent_syncs_the_directory_that_holds_it() {
        let fs = Arc::new(SyncLog::default());
        fs.inner.create_dir("a").expect("new");

        let outer = SubDir::create(Arc::clone(&fs) as Arc<dyn Fs>, "a/db").expect("new");
        outer.sync_parent(SITE).expect("in memory");
        let inner = SubDir::create(Arc::new(outer), "copy").expect("new");
        inner.sync_parent(SITE).expect("in memory");
        inner.sync_dir("", SITE).expect("in memory");

        assert_eq!(*fs.synced.lock(), ["a", "a/db", "a/db/copy"]);
    }

    /// Notes which directories are synced.
    struct SyncLog {
        inner: MemFs,
        synced: crate::sync::Mutex<Vec<String>>,
    }

    impl Default for SyncLog {
        fn default() -> SyncLog {
            let rank = crate::sync::Rank::new(0, "test");
            SyncLog { inner: MemFs::new(), synced: crate::sync::Mutex::new(rank, Vec::new()) }
        }
    }

    impl Fs for SyncLog {
        fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
            self.inner.open(name, mode)
        }

        fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
            self.inner.create(name, options)
        }

        fn create_dir(&self, name: &str) -> IoResult<()> {
            self.inner.create_dir(name)
        }

        fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
            self.inner.list(dir)
        }

        fn remove_file(&self, name: &str) -> IoResult<()> {
            self.inner.remove_file(name)
        }

        fn remove_dir(&self, name: &str) -> IoResult<()> {
            self.inner.remove_dir(name)
        }

        fn rename(&self, from: &str, to: &str) -> IoResult<()> {
            self.inner.rename(from, to)
        }

        fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()> {
            self.synced.lock().push(dir.into());
            self.inner.sync_dir(dir, site)
        }
    }
}
