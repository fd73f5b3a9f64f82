//! Files in memory that remember what a power loss may take.
//!
//! The model: a successful sync of a file makes its content and size durable, a successful sync of a directory
//! its entries. Of everything since, any subset may be there: sectors of 512 bytes, sizes, entries; of a rename
//! the old or the new, and between two directories both or neither. Nothing is torn below a sector, and nothing that was durable gets lost.

use crate::rng::Rng;
use isopach_env::{
    CreateOptions, DirEntry, File, FileLock, Fs, IoResult, Ledger, LockMode, MemFs, OpenMode, SyncMode,
    SyncSite, WriteOrigin,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[cfg(test)]
mod tests;

const SECTOR_BYTES: usize = 512;

/// See the module. Clones are the same place; [`PowerLossFs::image`] makes another.
#[derive(Clone, Default)]
pub struct PowerLossFs {
    now: MemFs,
    model: Arc<Mutex<Model>>,
}

type FileId = usize;

#[derive(Default)]
struct Model {
    files: Vec<FileModel>,
    /// Names of files as everybody sees them.
    names: BTreeMap<String, FileId>,
    /// Entries that are durable; a directory has no file.
    durable: BTreeMap<String, Option<FileId>>,
    /// Changes of entries since the last sync of their directory, in order.
    pending: Vec<Pending>,
    /// Syncs of this place in the code do nothing.
    muted: Option<SyncSite>,
    /// Places that synced.
    sites: BTreeSet<&'static str>,
}

struct FileModel {
    /// For reading: lives on without a name.
    now: Arc<dyn File>,
    synced: Vec<u8>,
    /// Sectors that differ, or may, from what is synced.
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
enum Pending {
    Add(String, Option<FileId>),
    Remove(String),
    Rename { from: String, to: String, file: FileId },
}

impl Pending {
    fn directory(&self) -> &str {
        match self {
            Pending::Add(name, _) | Pending::Remove(name) | Pending::Rename { to: name, .. } => parent(name),
        }
    }

    fn carry_out(&self, entries: &mut BTreeMap<String, Option<FileId>>) {
        match self {
            Pending::Add(name, file) => drop(entries.insert(name.clone(), *file)),
            Pending::Remove(name) => drop(entries.remove(name)),
            Pending::Rename { from, to, file } => {
                entries.remove(from);
                entries.insert(to.clone(), Some(*file));
            }
        }
    }
}

/// How much of what is not durable an image keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Luck {
    Nothing,
    Everything,
    /// Each piece by itself.
    Pieces,
    /// Each file, and each directory, in whole.
    Files,
}

impl PowerLossFs {
    /// An empty place.
    pub fn new() -> PowerLossFs {
        PowerLossFs::default()
    }

    /// What the power loss of this instant leaves behind, with `rng` to decide. Everything in it is durable.
    #[must_use]
    pub fn image(&self, rng: &mut Rng) -> PowerLossFs {
        let model = self.model();
        let luck = *rng.pick(&[Luck::Nothing, Luck::Everything, Luck::Pieces, Luck::Pieces, Luck::Files]);
        let mut entries = model.durable.clone();
        let mut kept_directories = BTreeMap::new();
        for change in &model.pending {
            let is_kept = match luck {
                Luck::Nothing => false,
                Luck::Everything => true,
                Luck::Pieces => rng.one_in(2),
                Luck::Files => *kept_directories.entry(change.directory()).or_insert_with(|| rng.one_in(2)),
            };
            if is_kept {
                change.carry_out(&mut entries);
            }
        }
        let image = PowerLossFs::new();
        for (name, file) in &entries {
            // What lies in a directory that is not there is not there either.
            let _ = match file {
                None => image.create_dir(name),
                Some(file) => image.put(name, &model.files[*file].survivors(luck, rng)),
            };
        }
        image.settle();
        image
    }

    /// Syncs of this place in the code succeed and do nothing from now on: a test that passes all the same does not
    /// see what it should.
    pub fn mute(&self, site: SyncSite) {
        self.model().muted = Some(site);
    }

    /// Places in the code that synced something, by name.
    pub fn sites(&self) -> Vec<&'static str> {
        self.model().sites.iter().copied().collect()
    }

    /// Makes everything durable.
    pub fn settle(&self) {
        let mut model = self.model();
        for file in &mut model.files {
            file.sync();
        }
        model.sync_entries(|_| true);
    }

    /// A file with this content.
    fn put(&self, name: &str, content: &[u8]) -> IoResult<()> {
        self.create(name, &CreateOptions::new(WriteOrigin::Metadata))?.write_at(0, content)
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, id: FileId, now: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(PowerLossFile { id, now, model: Arc::clone(&self.model) })
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Model {
    /// Whether a sync of this place has an effect.
    fn hears(&mut self, site: SyncSite) -> bool {
        self.sites.insert(site.0);
        self.muted != Some(site)
    }

    fn sync_entries(&mut self, is_synced: impl Fn(&str) -> bool) {
        let (synced, pending): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|change| is_synced(change.directory()));
        self.pending = pending;
        for change in synced {
            change.carry_out(&mut self.durable);
        }
    }
}

impl FileModel {
    fn content(&self) -> Vec<u8> {
        let size = self.now.size_bytes().expect("in memory");
        let mut content = vec![0; size as usize];
        self.now.read_exact_at(0, &mut content).expect("in memory");
        content
    }

    fn touch(&mut self, from: u64, to: u64) {
        let sectors = from as usize / SECTOR_BYTES..(to as usize).div_ceil(SECTOR_BYTES);
        self.dirty.extend(sectors);
    }

    fn sync(&mut self) {
        let size = self.now.size_bytes().expect("in memory") as usize;
        self.synced.resize(size, 0);
        for sector in std::mem::take(&mut self.dirty) {
            let start = (sector * SECTOR_BYTES).min(size);
            let end = (start + SECTOR_BYTES).min(size);
            self.now.read_exact_at(start as u64, &mut self.synced[start..end]).expect("in memory");
        }
    }

    /// The content after a power loss.
    fn survivors(&self, luck: Luck, rng: &mut Rng) -> Vec<u8> {
        let now = self.content();
        let keeps_file = rng.one_in(2);
        let size = match luck {
            Luck::Nothing => self.synced.len(),
            Luck::Everything => now.len(),
            Luck::Files => {
                if keeps_file {
                    now.len()
                } else {
                    self.synced.len()
                }
            }
            Luck::Pieces => {
                let (low, high) = (self.synced.len().min(now.len()), self.synced.len().max(now.len()));
                let between = low + rng.below(high - low + 1);
                let between =
                    if between == high { high } else { (between / SECTOR_BYTES * SECTOR_BYTES).max(low) };
                *rng.pick(&[low, high, between])
            }
        };
        let mut content = self.synced.clone();
        content.resize(size, 0);
        for sector in &self.dirty {
            let is_kept = match luck {
                Luck::Nothing => false,
                Luck::Everything => true,
                Luck::Files => keeps_file,
                Luck::Pieces => rng.one_in(2),
            };
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(size);
            if is_kept && start < end {
                let written = now.get(start..now.len().min(end)).unwrap_or_default();
                content[start..end].fill(0);
                content[start..start + written.len()].copy_from_slice(written);
            }
        }
        content
    }
}

impl Fs for PowerLossFs {
    fn open(&self, name: &str, mode: OpenMode) -> IoResult<Arc<dyn File>> {
        let model = self.model();
        let now = self.now.open(name, mode)?;
        Ok(self.handle(model.names[name], now))
    }

    fn create(&self, name: &str, options: &CreateOptions) -> IoResult<Arc<dyn File>> {
        let mut model = self.model();
        let now = self.now.create(name, options)?;
        let id = model.files.len();
        model.files.push(FileModel { now: Arc::clone(&now), synced: Vec::new(), dirty: BTreeSet::new() });
        model.names.insert(name.into(), id);
        model.pending.push(Pending::Add(name.into(), Some(id)));
        Ok(self.handle(id, now))
    }

    fn create_dir(&self, name: &str) -> IoResult<()> {
        let mut model = self.model();
        self.now.create_dir(name)?;
        model.pending.push(Pending::Add(name.into(), None));
        Ok(())
    }

    fn list(&self, dir: &str) -> IoResult<Vec<DirEntry>> {
        self.now.list(dir)
    }

    fn remove_file(&self, name: &str) -> IoResult<()> {
        let mut model = self.model();
        self.now.remove_file(name)?;
        model.names.remove(name);
        model.pending.push(Pending::Remove(name.into()));
        Ok(())
    }

    fn remove_dir(&self, name: &str) -> IoResult<()> {
        let mut model = self.model();
        self.now.remove_dir(name)?;
        model.pending.push(Pending::Remove(name.into()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> IoResult<()> {
        let mut model = self.model();
        self.now.rename(from, to)?;
        let file = model.names.remove(from).expect("every file has a model");
        model.names.insert(to.into(), file);
        if parent(from) == parent(to) {
            model.pending.push(Pending::Rename { from: from.into(), to: to.into(), file });
        } else {
            model.pending.push(Pending::Add(to.into(), Some(file)));
            model.pending.push(Pending::Remove(from.into()));
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &str, site: SyncSite) -> IoResult<()> {
        let mut model = self.model();
        self.now.sync_dir(dir, site)?;
        if model.hears(site) {
            model.sync_entries(|directory| directory == dir);
        }
        Ok(())
    }

    fn lock(&self, name: &str, mode: LockMode) -> IoResult<Box<dyn FileLock>> {
        if mode == LockMode::Exclusive && !self.exists(name)? {
            self.create(name, &CreateOptions::new(WriteOrigin::Metadata))?;
        }
        self.now.lock(name, mode)
    }

    fn exists(&self, name: &str) -> IoResult<bool> {
        self.now.exists(name)
    }

    fn ledger(&self) -> Option<&Ledger> {
        self.now.ledger()
    }
}

impl fmt::Debug for PowerLossFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerLossFs").field("now", &self.now).finish_non_exhaustive()
    }
}

struct PowerLossFile {
    id: FileId,
    now: Arc<dyn File>,
    model: Arc<Mutex<Model>>,
}

impl PowerLossFile {
    /// Changes the content, and notes the bytes that it changes.
    fn change(&self, change: impl FnOnce(&dyn File) -> IoResult<(u64, u64)>) -> IoResult<()> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, to) = change(&*self.now)?;
        model.files[self.id].touch(from, to);
        Ok(())
    }
}

impl File for PowerLossFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> IoResult<usize> {
        self.now.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        self.change(|now| {
            now.write_at(offset, data)?;
            Ok((offset, offset + data.len() as u64))
        })
    }

    fn sync(&self, mode: SyncMode, site: SyncSite) -> IoResult<()> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        self.now.sync(mode, site)?;
        if model.hears(site) {
            model.files[self.id].sync();
        }
        Ok(())
    }

    fn size_bytes(&self) -> IoResult<u64> {
        self.now.size_bytes()
    }

    /// What is cut off may be there again after a power loss; what is grown again over it is zeros then.
    fn set_len(&self, bytes: u64) -> IoResult<()> {
        self.change(|now| {
            let before = now.size_bytes()?;
            now.set_len(bytes)?;
            Ok((bytes.min(before), bytes.max(before)))
        })
    }

    fn allocate(&self, bytes: u64) -> IoResult<()> {
        self.change(|now| {
            let before = now.size_bytes()?;
            now.allocate(bytes)?;
            Ok((before, bytes.max(before)))
        })
    }
}
