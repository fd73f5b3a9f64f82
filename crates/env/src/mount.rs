//! A backend in which others are mounted.

use crate::{
    error::{IoErrorKind, IoResult},
    file::{CreateOptions, File, OpenMode, SyncSite},
    fs::{DirEntry, FileLock, Fs, LockMode},
    ledger::Ledger,
    name::Name,
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::iter;
use once_cell::race::OnceBox;

/// A backend in which others are mounted: what lies below the directory of a mount is that backend's. Parent, lock files
/// outside of mounts, space and the ledger are those of the first.
///
/// A mount is there for good. It shows in no listing, and hides what the first backend has below that directory.
pub struct MountFs {
    first: Arc<dyn Fs>,
    mounts: OnceBox<Mount>,
}

/// One of a list that only grows, so that what was found in it stays where it is.
struct Mount {
    /// Name of the directory, in the first backend.
    dir: String,
    fs: Arc<dyn Fs>,
    next: OnceBox<Mount>,
}

impl MountFs {
    /// A backend in which none is mounted yet.
    pub fn new(first: Arc<dyn Fs>) -> MountFs {
        MountFs { first, mounts: OnceBox::new() }
    }

    /// Mounts a backend: names below `dir` are its own from now on.
    ///
    /// # Errors
    ///
    /// `InvalidName`; `AlreadyExists` if another is mounted there, above it, or below it.
    pub fn mount(&self, dir: &str, fs: Arc<dyn Fs>) -> IoResult<()> {
        Name::parse(dir)?;
        let mut new = Box::new(Mount { dir: dir.into(), fs, next: OnceBox::new() });
        let mut end = &self.mounts;
        loop {
            while let Some(mount) = end.get() {
                if below(dir, &mount.dir).or_else(|| below(&mount.dir, dir)).is_some() {
                    return Err(IoErrorKind::AlreadyExists.into());
                }
                end = &mount.next;
            }
            match end.set(new) {
                Ok(()) => return Ok(()),
                Err(lost) => new = lost, // Another thread came first.
            }
        }
    }

    /// All backends, each once for each of its mounts, the first backend first.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<dyn Fs>> {
        iter::once(&self.first).chain(self.mounts().map(|mount| &mount.fs))
    }

    /// The backend that is mounted at exactly this directory.
    pub fn mounted(&self, dir: &str) -> Option<&Arc<dyn Fs>> {
        self.mounts().find(|mount| mount.dir == dir).map(|mount| &mount.fs)
    }

    fn mounts(&self) -> impl Iterator<Item = &Mount> {
        iter::successors(self.mounts.get(), |mount| mount.next.get())
    }

    /// Whose a name is, and what it is called there; `""` is the directory of the mount.
    fn find<'a>(&self, name: &'a str) -> (&dyn Fs, &'a str) {
        let found = self.mounts().find_map(|mount| Some((&*mount.fs, below(name, &mount.dir)?)));
        found.unwrap_or((&*self.first, name))
    }

    /// As [`MountFs::find`], of something below the root of a backend.
    fn find_entry<'a>(&self, name: &'a str) -> IoResult<(&dyn Fs, &'a str)> {
        match self.find(name) {
            (_, "") => Err(IoErrorKind::InvalidName.into()),
            found => Ok(found),
        }
    }
}

/// What is left of a name below a directory, `""` of the directory itself; `None` of one that lies elsewhere.
fn below<'a>(name: &'a str, dir: &str) -> Option<&'a str> {
    match name.strip_prefix(dir)? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    }
}

impl Fs for MountFs {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        let (fs, name) = self.find_entry(name)?;
        fs.open(name, mode)
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        let (fs, name) = self.find_entry(name)?;
        fs.create(name, options)
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        let (fs, name) = self.find_entry(name)?;
        fs.create_dir(name)
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        let (fs, dir) = self.find(dir);
        fs.list(dir)
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        let (fs, name) = self.find_entry(name)?;
        fs.remove_file(name)
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        let (fs, name) = self.find_entry(name)?;
        fs.remove_dir(name)
    }

    /// `CrossDevice` between backends.
    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        let ((fs, from), (target, to)) = (self.find_entry(from)?, self.find_entry(to)?);
        if !core::ptr::addr_eq(fs, target) {
            return Err(IoErrorKind::CrossDevice.into());
        }
        fs.rename(from, to)
    }

    fn outer(&self, name: &str) -> IoResult<Option<(&dyn Fs, String)>> {
        let (fs, name) = self.find_entry(name)?;
        Ok(Some((fs, name.into())))
    }

    fn link_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        let (fs, from) = self.find_entry(from)?;
        fs.link_to(from, target, to)
    }

    fn reflink_to(&self, from: &str, target: &dyn Fs, to: &str) -> IoResult<()> {
        let (fs, from) = self.find_entry(from)?;
        fs.reflink_to(from, target, to)
    }

    fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()> {
        let (fs, dir) = self.find(dir);
        fs.sync_dir(dir, site)
    }

    fn sync_parent(&self, site: SyncSite) -> IoResult<()> {
        self.first.sync_parent(site)
    }

    fn lock(&self, name: &str, mode: LockMode) -> IoResult<Box<dyn FileLock>> {
        let (fs, name) = self.find_entry(name)?;
        fs.lock(name, mode)
    }

    fn space_left(&self) -> IoResult<Option<u64>> {
        self.first.space_left()
    }

    fn exists(&self, name: &str) -> IoResult<bool> {
        let (fs, name) = self.find_entry(name)?;
        fs.exists(name)
    }

    fn ledger(&self) -> Option<&Ledger> {
        self.first.ledger()
    }
}

impl core::fmt::Debug for MountFs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.mounts().map(|mount| &mount.dir)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemFs, SubDir, WriteOrigin};

    const LOG: CreateOptions = CreateOptions::new(WriteOrigin::Log);

    fn kind<T>(result: IoResult<T>) -> Option<IoErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn names_below_a_mount_are_its_own_and_all_others_the_first_backends() {
        let (first, other) = (MemFs::new(), MemFs::new());
        let fs = MountFs::new(Arc::new(first.clone()));
        first.create_dir("cold").unwrap();
        fs.mount("cold/1", Arc::new(other.clone())).unwrap();

        fs.create("a", &LOG).unwrap();
        fs.create("cold/2", &LOG).unwrap();
        fs.create_dir("cold/1/tables").unwrap();
        fs.create("cold/1/tables/b", &LOG).unwrap().write_at(0, b"there").unwrap();

        assert_eq!((first.exists("a"), first.exists("cold/2")), (Ok(true), Ok(true)));
        assert_eq!(other.exists("tables/b"), Ok(true));
        assert_eq!(fs.list("cold/1").map(|entries| entries.len()), Ok(1));
        assert_eq!(fs.open("cold/1/tables/b", OpenMode::Read).unwrap().size_bytes(), Ok(5));
        fs.rename("cold/1/tables/b", "cold/1/tables/c").unwrap();
        fs.sync_dir("cold/1", SyncSite("test")).unwrap();
        fs.remove_file("cold/1/tables/c").unwrap();
        assert_eq!(fs.exists("cold/1/tables/c"), Ok(false));
    }

    #[test]
    fn a_place_is_taken_once_and_the_root_of_a_mount_is_no_file() {
        let fs = MountFs::new(Arc::new(MemFs::new()));
        let other = || Arc::new(MemFs::new()) as Arc<dyn Fs>;
        fs.mount("a/b", other()).unwrap();

        assert_eq!(kind(fs.mount("a/b", other())), Some(IoErrorKind::AlreadyExists));
        assert_eq!(kind(fs.mount("a/b/c", other())), Some(IoErrorKind::AlreadyExists));
        assert_eq!(kind(fs.mount("a", other())), Some(IoErrorKind::AlreadyExists));
        assert_eq!(kind(fs.mount("../x", other())), Some(IoErrorKind::InvalidName));
        fs.mount("a/bc", other()).unwrap();
        assert_eq!(kind(fs.create("a/b", &LOG)), Some(IoErrorKind::InvalidName));
        assert_eq!(kind(fs.create("a/b/../c", &LOG)), Some(IoErrorKind::InvalidName));
        assert_eq!((fs.backends().count(), fs.mounted("a/b").is_some()), (3, true));
    }

    #[test]
    fn files_of_mounts_of_one_backend_are_linked_and_of_several_are_not_renamed() {
        let files: Arc<dyn Fs> = Arc::new(MemFs::new());
        let fs = MountFs::new(Arc::new(SubDir::create(Arc::clone(&files), "db").unwrap()));
        fs.mount("1", Arc::new(SubDir::create(Arc::clone(&files), "cold").unwrap())).unwrap();
        fs.mount("2", Arc::new(MemFs::new())).unwrap();
        fs.create("1/a", &LOG).unwrap();

        fs.link("1/a", "b").unwrap();
        assert_eq!((files.exists("db/b"), files.exists("cold/a")), (Ok(true), Ok(true)));
        assert_eq!(kind(fs.link("1/a", "2/a")), Some(IoErrorKind::CrossDevice));
        assert_eq!(kind(fs.rename("1/a", "c")), Some(IoErrorKind::CrossDevice));
    }
}
