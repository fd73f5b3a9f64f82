//! Files that fail on request, and that remember what was done to them.

use isopach_engine::env::{
    CreateOptions, DirEntry, Env, File, FileLock, Fs, IoErrorKind, IoResult, LockMode, MemFs, OpenMode,
    SyncMode, SyncSite,
};
use std::sync::{Arc, Mutex};

/// A call that changes something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Op {
    pub(crate) what: What,
    /// The file or directory; of a rename its new name.
    pub(crate) name: String,
    /// Of syncs.
    pub(crate) site: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Create,
    CreateDir,
    Lock,
    Write,
    SetLen,
    Allocate,
    Sync,
    SyncDir,
    Rename,
    Remove,
}

/// How a call fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fail {
    /// Nothing happens.
    Before(IoErrorKind),
    /// It happens, and an error is returned all the same.
    After(IoErrorKind),
}

type Rule = Box<dyn FnMut(&Op) -> Option<Fail> + Send>;
type Hook = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    done: Vec<Op>,
    rule: Option<Rule>,
    before_sync: Option<Hook>,
}

/// A [`MemFs`] with faults. Clones are the same place.
#[derive(Clone)]
pub(crate) struct Faults {
    pub(crate) files: MemFs,
    state: Arc<Mutex<State>>,
}

impl Faults {
    pub(crate) fn new(files: &MemFs) -> Faults {
        Faults { files: files.clone(), state: Arc::default() }
    }

    /// An environment over these files.
    pub(crate) fn env(&self) -> Env {
        let mut env = Env::simulated(7);
        env.fs = Arc::new(self.clone());
        env
    }

    /// Fails what `rule` says, from now on.
    pub(crate) fn fail(&self, rule: impl FnMut(&Op) -> Option<Fail> + Send + 'static) {
        self.state.lock().unwrap().rule = Some(Box::new(rule));
    }

    /// Fails the next call that `is_meant`, once.
    pub(crate) fn fail_next(&self, fail: Fail, is_meant: impl Fn(&Op) -> bool + Send + 'static) {
        let mut fail = Some(fail);
        self.fail(move |op| if is_meant(op) { fail.take() } else { None });
    }

    /// After `calls` more, nothing changes any more: every call fails.
    pub(crate) fn stop_after(&self, calls: usize) {
        let mut left = calls;
        self.fail(move |_| {
            let fails = left == 0;
            left = left.saturating_sub(1);
            fails.then_some(Fail::Before(IoErrorKind::Other))
        });
    }

    /// Calls `hook` before each sync of a file, on the thread that syncs.
    pub(crate) fn hold_syncs(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.state.lock().unwrap().before_sync = Some(Arc::new(hook));
    }

    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().rule = None;
    }

    /// What was done since the last time this was asked.
    pub(crate) fn take_done(&self) -> Vec<Op> {
        std::mem::take(&mut self.state.lock().unwrap().done)
    }

    pub(crate) fn count(&self, is_meant: impl Fn(&Op) -> bool) -> usize {
        self.state.lock().unwrap().done.iter().filter(|op| is_meant(op)).count()
    }

    fn perform<T>(
        &self,
        what: What,
        name: &str,
        site: &'static str,
        call: impl FnOnce() -> IoResult<T>,
    ) -> IoResult<T> {
        let op = Op { what, name: name.into(), site };
        let fail = {
            let mut state = self.state.lock().unwrap();
            let fail = state.rule.as_mut().and_then(|rule| rule(&op));
            state.done.push(op);
            fail
        };
        match fail {
            None => call(),
            Some(Fail::Before(kind)) => Err(kind.into()),
            Some(Fail::After(kind)) => call().and(Err(kind.into())),
        }
    }

    fn wrap(&self, name: &str, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { faults: self.clone(), name: Mutex::new(name.into()), file })
    }
}

impl Fs for Faults {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        Ok(self.wrap(name, self.files.open(name, mode)?))
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        let file = self.perform(What::Create, name, "", || self.files.create(name, options))?;
        Ok(self.wrap(name, file))
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        self.perform(What::CreateDir, name, "", || self.files.create_dir(name))
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        self.files.list(dir)
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        self.perform(What::Remove, name, "", || self.files.remove_file(name))
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        self.perform(What::Remove, name, "", || self.files.remove_dir(name))
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        self.perform(What::Rename, to, "", || self.files.rename(from, to))
    }

    fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()> {
        self.perform(What::SyncDir, dir, site.0, || self.files.sync_dir(dir, site))
    }

    fn sync_parent(&self, site: SyncSite) -> IoResult<()> {
        self.perform(What::SyncDir, "..", site.0, || self.files.sync_parent(site))
    }

    fn lock(&self, name: &str, mode: LockMode) -> IoResult<Box<dyn FileLock>> {
        self.perform(What::Lock, name, "", || self.files.lock(name, mode))
    }
}

struct FaultyFile {
    faults: Faults,
    name: Mutex<String>,
    file: Arc<dyn File>,
}

impl FaultyFile {
    fn perform(&self, what: What, site: &'static str, call: impl FnOnce() -> IoResult<()>) -> IoResult<()> {
        let name = self.name.lock().unwrap().clone();
        self.faults.perform(what, &name, site, call)
    }
}

impl File for FaultyFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<usize> {
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        self.perform(What::Write, "", || self.file.write_at(offset, data))
    }

    fn sync(&self, mode: SyncMode, site: SyncSite) -> IoResult<()> {
        let hook = self.faults.state.lock().unwrap().before_sync.clone();
        if let Some(hook) = hook {
            hook();
        }
        self.perform(What::Sync, site.0, || self.file.sync(mode, site))
    }

    fn size_bytes(&self) -> IoResult<u64> {
        self.file.size_bytes()
    }

    fn set_len(&self, bytes: u64) -> IoResult<()> {
        self.perform(What::SetLen, "", || self.file.set_len(bytes))
    }

    fn allocate(&self, bytes: u64) -> IoResult<()> {
        self.perform(What::Allocate, "", || self.file.allocate(bytes))
    }
}

/// Every file with its content, in the order of names.
pub(crate) fn contents(files: &MemFs) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for entry in files.list(&directory).unwrap() {
            let name = if directory.is_empty() { entry.name } else { format!("{directory}/{}", entry.name) };
            if entry.is_dir {
                found.push((format!("{name}/"), Vec::new()));
                directories.push(name);
            } else {
                found.push((name.clone(), read(files, &name)));
            }
        }
    }
    found.sort();
    found
}

/// Names only.
pub(crate) fn names(files: &MemFs) -> Vec<String> {
    contents(files).into_iter().map(|(name, _)| name).collect()
}

pub(crate) fn read(files: &MemFs, name: &str) -> Vec<u8> {
    let file = files.open(name, OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size_bytes().unwrap()).unwrap()];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

pub(crate) fn write(files: &MemFs, name: &str, bytes: &[u8]) {
    let _ = files.remove_file(name);
    let options = CreateOptions::new(isopach_engine::env::WriteOrigin::Metadata);
    files.create(name, &options).unwrap().write_at(0, bytes).unwrap();
}

/// Changes one byte of a file.
pub(crate) fn flip(files: &MemFs, name: &str, at: usize) {
    let mut bytes = read(files, name);
    bytes[at] ^= 0x10;
    write(files, name, &bytes);
}
