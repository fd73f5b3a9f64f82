//! A backend whose changes are steps: a test hears of each before it happens, and may refuse it.

use isopach_env::{
    CreateOptions, DirEntry, File, FileLock, Fs, IoResult, Ledger, LockMode, OpenMode, SyncMode, SyncSite,
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// A call that changes something, or makes a change durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// A file is made.
    Create(&'a str),
    /// A directory is made.
    CreateDir(&'a str),
    /// A file goes.
    Remove(&'a str),
    /// A directory goes.
    RemoveDir(&'a str),
    /// A file gets another name.
    Rename(&'a str, &'a str),
    /// Bytes are written to a file, from an offset on.
    Write(&'a str, u64, &'a [u8]),
    /// A file gets another size, or space up to it.
    Resize(&'a str, u64),
    /// A file is synced.
    Sync(&'a str, SyncSite),
    /// A directory is synced.
    SyncDir(&'a str, SyncSite),
}

/// Hears of a step, with its number, before it happens; an error is what the caller gets in its place. May be
/// called by several threads at once, which may hold locks of the database.
pub type Watch = Arc<dyn Fn(u64, Step<'_>) -> IoResult<()> + Send + Sync>;

/// Another backend, and somebody who watches what is done to it. Clones are the same place.
#[derive(Clone)]
pub struct StepFs {
    inner: Arc<dyn Fs>,
    watcher: Arc<Watcher>,
}

#[derive(Default)]
struct Watcher {
    watch: Mutex<Option<Watch>>,
    steps: AtomicU64,
    /// Names of open files, which follow renames.
    names: Mutex<Vec<Weak<Mutex<String>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watcher {
    fn tell(&self, step: Step<'_>) -> IoResult<()> {
        let number = self.steps.fetch_add(1, Ordering::SeqCst);
        let watch = lock(&self.watch).clone();
        watch.map_or(Ok(()), |watch| watch(number, step))
    }
}

impl StepFs {
    /// The files of `inner`, with nobody watching.
    pub fn new(inner: Arc<dyn Fs>) -> StepFs {
        StepFs { inner, watcher: Arc::default() }
    }

    /// Steps from now on are told to `watch`.
    pub fn watch(&self, watch: impl Fn(u64, Step<'_>) -> IoResult<()> + Send + Sync + 'static) {
        *lock(&self.watcher.watch) = Some(Arc::new(watch));
    }

    /// Nobody is told any more. Calls that run already go on.
    pub fn unwatch(&self) {
        *lock(&self.watcher.watch) = None;
    }

    /// Number of steps so far.
    pub fn steps(&self) -> u64 {
        self.watcher.steps.load(Ordering::SeqCst)
    }

    fn file(&self, name: &str, inner: Arc<dyn File>) -> Arc<dyn File> {
        let name = Arc::new(Mutex::new(String::from(name)));
        let mut names = lock(&self.watcher.names);
        names.retain(|name| name.strong_count() > 0);
        names.push(Arc::downgrade(&name));
        Arc::new(StepFile { inner, name, watcher: Arc::clone(&self.watcher) })
    }
}

impl fmt::Debug for StepFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepFs").field("steps", &self.steps()).finish_non_exhaustive()
    }
}

impl Fs for StepFs {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        self.inner.open(name, mode).map(|file| self.file(name, file))
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        self.watcher.tell(Step::Create(name))?;
        self.inner.create(name, options).map(|file| self.file(name, file))
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        self.watcher.tell(Step::CreateDir(name))?;
        self.inner.create_dir(name)
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        self.watcher.tell(Step::Remove(name))?;
        self.inner.remove_file(name)
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        self.watcher.tell(Step::RemoveDir(name))?;
        self.inner.remove_dir(name)
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        self.watcher.tell(Step::Rename(from, to))?;
        self.inner.rename(from, to)?;
        for name in lock(&self.watcher.names).iter().filter_map(Weak::upgrade) {
            let mut name = lock(&name);
            if *name == from {
                *name = to.into();
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()> {
        self.watcher.tell(Step::SyncDir(dir, site))?;
        self.inner.sync_dir(dir, site)
    }

    fn sync_parent(&self, site: SyncSite) -> IoResult<()> {
        self.inner.sync_parent(site)
    }

    fn lock(&self, name: &str, mode: LockMode) -> IoResult<Box<dyn FileLock>> {
        self.inner.lock(name, mode)
    }

    fn space_left(&self) -> IoResult<Option<u64>> {
        self.inner.space_left()
    }

    fn exists(&self, name: &str) -> IoResult<bool> {
        self.inner.exists(name)
    }

    fn ledger(&self) -> Option<&Ledger> {
        self.inner.ledger()
    }
}

struct StepFile {
    inner: Arc<dyn File>,
    name: Arc<Mutex<String>>,
    watcher: Arc<Watcher>,
}

impl StepFile {
    fn name(&self) -> String {
        lock(&self.name).clone()
    }
}

impl File for StepFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<usize> {
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        self.watcher.tell(Step::Write(&self.name(), offset, data))?;
        self.inner.write_at(offset, data)
    }

    fn sync(&self, mode: SyncMode, site: SyncSite) -> IoResult<()> {
        self.watcher.tell(Step::Sync(&self.name(), site))?;
        self.inner.sync(mode, site)
    }

    fn size_bytes(&self) -> IoResult<u64> {
        self.inner.size_bytes()
    }

    fn set_len(&self, bytes: u64) -> IoResult<()> {
        self.watcher.tell(Step::Resize(&self.name(), bytes))?;
        self.inner.set_len(bytes)
    }

    fn allocate(&self, bytes: u64) -> IoResult<()> {
        self.watcher.tell(Step::Resize(&self.name(), bytes))?;
        self.inner.allocate(bytes)
    }
}
