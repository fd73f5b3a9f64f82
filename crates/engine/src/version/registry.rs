//! The file registry: every file of a store, how often it is held, and the queue of those to be removed.
//!
//! The only place that removes, cuts or renames a file that was once registered. A file goes when it
//! is *obsolete* (nothing current names it), its last [`Hold`] was dropped and no [`DeletionPause`] is on.
//! The drop itself only queues it; [`FileRegistry::run_deletions`] removes, on a thread of the layer above,
//! under no lock but one of its own. Which files are obsolete is decided elsewhere, after the edit that says
//! so is durable.
//!
//! Invariant: no held file is removed, cut or used again (INV-FIL-1).

#[cfg(test)]
mod tests;

use crate::{
    codec::FileKind,
    error::{Error, Result},
    types::TreeId,
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::fmt;
use isopach_env::{
    Fs, IoErrorKind, IoResult, OpenMode,
    sync::{Mutex, MutexGuard, Rank, point},
};

/// Above the locks of versions and logs, below those of the environment: holds are dropped under any of them.
const RANK: Rank = Rank::new(70, "registry");
/// Of one removal or renaming. Below the registry's own: what is removed is chosen under it.
const REMOVAL: Rank = Rank::new(69, "registry.removal");

/// Every file of a store as it is now. Clones are handles to the same registry.
#[derive(Clone)]
pub struct FileRegistry(Arc<Shared>);

/// Called when a file can be removed.
type Waker = Arc<dyn Fn() + Send + Sync>;

struct Shared {
    fs: Arc<dyn Fs>,
    /// All that changes. Held during file I/O by [`Hold::trim`] only.
    state: Mutex<State>,
    /// Held from the choice of a file until it is removed, or renamed: who begins a pause waits for it.
    removal: Mutex<()>,
}

struct State {
    /// Files that are held, queued, or being removed.
    files: BTreeMap<EntryId, Entry>,
    next_id: EntryId,
    /// Obsolete files without holds, in the order they became so.
    queue: VecDeque<EntryId>,
    /// Pauses held now.
    pauses: u64,
    waker: Option<Waker>,
}

/// Which registration; a name can come back after its file is gone.
type EntryId = u64;

struct Entry {
    name: Arc<str>,
    kind: FileKind,
    tree: Option<TreeId>,
    bytes: u64,
    /// Holds of the owner, listed under no name.
    plain_holds: u64,
    /// Holds that are listed, with repetitions.
    shared_holds: Vec<Holder>,
    is_obsolete: bool,
}

impl FileRegistry {
    /// A registry without files, which removes from `fs`.
    pub fn new(fs: Arc<dyn Fs>) -> FileRegistry {
        let state =
            State { files: BTreeMap::new(), next_id: 0, queue: VecDeque::new(), pauses: 0, waker: None };
        FileRegistry(Arc::new(Shared {
            fs,
            state: Mutex::new(RANK, state),
            removal: Mutex::new(REMOVAL, ()),
        }))
    }

    /// Calls `waker` whenever [`FileRegistry::run_deletions`] has something to do.
    ///
    /// It runs inside of drops, under whatever locks their callers hold: it may signal a thread, no more. It
    /// must not own this registry, which owns it.
    pub fn set_waker(&self, waker: Arc<dyn Fn() + Send + Sync>) {
        let old = self.0.state.lock().waker.replace(waker);
        drop(old);
    }

    /// Lists a file that exists, and holds it. `name` is relative to the root.
    ///
    /// # Panics
    ///
    /// In debug builds, if a file of this name is listed and not obsolete: it would have two owners.
    pub fn register(&self, kind: FileKind, name: &str, bytes: u64, tree: Option<TreeId>) -> Hold {
        let state = self.0.state.lock();
        debug_assert!(
            state.files.values().all(|entry| entry.is_obsolete || *entry.name != *name),
            "{name} is registered once"
        );
        self.list(state, kind, name, bytes, tree)
    }

    /// As [`FileRegistry::register`], of a file about to be made whose name may come again. `None` if a file of this
    /// name is listed, one that is obsolete and not removed yet included: its removal would take the new one.
    pub fn register_unless_listed(&self, kind: FileKind, name: &str, tree: Option<TreeId>) -> Option<Hold> {
        let state = self.0.state.lock();
        let is_listed = state.files.values().any(|entry| *entry.name == *name);
        (!is_listed).then(|| self.list(state, kind, name, 0, tree))
    }

    fn list(
        &self,
        mut state: MutexGuard<'_, State>,
        kind: FileKind,
        name: &str,
        bytes: u64,
        tree: Option<TreeId>,
    ) -> Hold {
        let name: Arc<str> = Arc::from(name);
        let id = state.next_id;
        state.next_id += 1;
        let entry = Entry {
            name: Arc::clone(&name),
            kind,
            tree,
            bytes,
            plain_holds: 1,
            shared_holds: Vec::new(),
            is_obsolete: false,
        };
        state.files.insert(id, entry);
        drop(state);
        Hold { registry: self.clone(), id, name, by: None }
    }

    /// Keeps every file from being removed, cut or used again until it is dropped. Waits for the end of what is
    /// under way.
    pub fn pause(&self) -> DeletionPause {
        self.0.state.lock().pauses += 1;
        // No file is chosen any more; one that was chosen before goes before the pause begins, not during it.
        drop(self.0.removal.lock());
        DeletionPause { registry: self.clone() }
    }

    /// Removes obsolete files that nothing holds, oldest first, up to `max_bytes` but at least one. Does
    /// nothing while a [`DeletionPause`] is held.
    ///
    /// A removal that fails is tried again by the next call; a file that is gone already counts as removed.
    pub fn run_deletions(&self, max_bytes: u64) -> Freed {
        let mut freed = Freed::default();
        let mut failed = Vec::new();
        loop {
            let removal = self.0.removal.lock();
            let Some((id, name, bytes)) = self.take_queued(max_bytes, freed) else {
                break;
            };
            let removed = self.0.fs.remove_file(&name);
            drop(removal);
            match removed {
                Err(error) if error.kind() != IoErrorKind::NotFound => {
                    freed.failed += 1;
                    failed.push(id);
                }
                _ => {
                    freed.files += 1;
                    freed.bytes += bytes;
                    self.0.state.lock().files.remove(&id);
                }
            }
        }
        if !failed.is_empty() {
            self.0.state.lock().queue.extend(failed);
        }
        freed
    }

    /// Takes the next file off the queue. It stays listed as pending until its removal is over.
    fn take_queued(&self, max_bytes: u64, freed: Freed) -> Option<(EntryId, Arc<str>, u64)> {
        let mut state = self.0.state.lock();
        // A pause that began after the last removal counts from this file on.
        if state.pauses > 0 {
            return None;
        }
        let id = *state.queue.front()?;
        let entry = &state.files[&id];
        assert!(entry.holds() == 0 && entry.is_obsolete, "INV-FIL-1: no held file is removed");
        let is_affordable = freed.bytes.saturating_add(entry.bytes) <= max_bytes;
        if freed.files > 0 && !is_affordable {
            return None;
        }
        let taken = (id, Arc::clone(&entry.name), entry.bytes);
        state.queue.pop_front();
        Some(taken)
    }

    /// Totals.
    pub fn stats(&self) -> RegistryStats {
        let state = self.0.state.lock();
        let mut stats = RegistryStats { pauses: state.pauses, ..RegistryStats::default() };
        for entry in state.files.values() {
            if entry.is_obsolete {
                stats.pending_files += 1;
                stats.pending_bytes += entry.bytes;
            } else {
                stats.live_files += 1;
                stats.live_bytes += entry.bytes;
            }
        }
        stats
    }

    /// Files that are not obsolete.
    pub fn live(&self) -> Vec<LiveFile> {
        let state = self.0.state.lock();
        state.files.values().filter(|entry| !entry.is_obsolete).map(|entry| entry.list(&[])).collect()
    }

    /// Files that are obsolete and not removed yet, with what keeps each.
    pub fn pending(&self) -> Vec<LiveFile> {
        let state = self.0.state.lock();
        let obsolete = state.files.values().filter(|entry| entry.is_obsolete);
        obsolete
            .map(|entry| {
                let mut also = Vec::new();
                if entry.plain_holds > 0 {
                    also.push(Holder::OlderVersion);
                }
                if state.pauses > 0 {
                    also.push(Holder::Pause);
                }
                entry.list(&also)
            })
            .collect()
    }

    /// Whether no file is obsolete: nothing is left to be removed, now or later.
    pub fn is_idle(&self) -> bool {
        self.0.state.lock().files.values().all(|entry| !entry.is_obsolete)
    }

    /// Calls the waker if there is something to remove.
    fn wake_if_due(&self) {
        let state = self.0.state.lock();
        let is_due = state.pauses == 0 && !state.queue.is_empty();
        let waker = state.waker.clone().filter(|_| is_due);
        drop(state);
        if let Some(waker) = waker {
            waker();
        }
    }
}

impl fmt::Debug for FileRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileRegistry").field(&self.stats()).finish()
    }
}

impl Entry {
    fn holds(&self) -> u64 {
        self.plain_holds + self.shared_holds.len() as u64
    }

    fn list(&self, also: &[Holder]) -> LiveFile {
        let mut holders = Vec::new();
        for holder in self.shared_holds.iter().chain(also) {
            if !holders.contains(holder) {
                holders.push(holder.clone());
            }
        }
        LiveFile {
            name: String::from(&*self.name),
            kind: self.kind,
            bytes: self.bytes,
            tree: self.tree,
            holders,
        }
    }
}

/// A counted hold of a file; a clone is another count. While there is one the file is neither removed nor cut
/// by anybody else.
///
/// The last one dropped lets the file go: to the queue of removals if it is obsolete, else only out of the
/// registry. Dropping does no I/O.
#[must_use = "a file nobody holds is forgotten, or removed if it is obsolete"]
pub struct Hold {
    registry: FileRegistry,
    id: EntryId,
    name: Arc<str>,
    by: Option<Holder>,
}

impl Hold {
    /// Relative to the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size as last told.
    pub fn bytes(&self) -> u64 {
        self.registry.0.state.lock().entry(self.id).bytes
    }

    /// Tells the size of a file that has grown.
    pub fn set_bytes(&self, bytes: u64) {
        self.registry.0.state.lock().entry(self.id).bytes = bytes;
    }

    /// Another hold, listed under `by`.
    pub fn share(&self, by: Holder) -> Hold {
        self.another(Some(by))
    }

    fn another(&self, by: Option<Holder>) -> Hold {
        let mut state = self.registry.0.state.lock();
        let entry = state.entry(self.id);
        match &by {
            Some(by) => entry.shared_holds.push(by.clone()),
            None => entry.plain_holds += 1,
        }
        drop(state);
        Hold { registry: self.registry.clone(), id: self.id, name: Arc::clone(&self.name), by }
    }

    /// Says that nothing current names the file any more: it is removed after its last hold is dropped. Said
    /// again, nothing changes.
    ///
    /// The edit that stopped naming it is durable.
    pub fn mark_obsolete(&self) {
        self.registry.0.state.lock().entry(self.id).is_obsolete = true;
    }

    /// Marks the file obsolete and lets it go.
    pub fn remove(self) {
        self.mark_obsolete();
    }

    /// Cuts the file to `bytes`; `false` and no change if another hold or a pause is on.
    ///
    /// # Errors
    ///
    /// The backend's; the file may be cut or not.
    pub fn trim(&self, bytes: u64) -> Result<bool> {
        // Under the lock, so that neither a hold nor a pause begins before the cut is over.
        let mut state = self.registry.0.state.lock();
        if state.pauses > 0 || state.entry(self.id).holds() > 1 {
            return Ok(false);
        }
        let fs = &self.registry.0.fs;
        fs.open(&self.name, OpenMode::ReadWrite)
            .and_then(|file| file.set_len(bytes))
            .map_err(|error| Error::io(error, "cut", &*self.name))?;
        state.entry(self.id).bytes = bytes;
        Ok(true)
    }

    /// Makes the file another one: `renew` writes to it, then it is renamed to `name`, where no file is; the entry
    /// is to be synced. `false`, and nothing is done, if another hold or a pause is on.
    ///
    /// # Errors
    ///
    /// The backend's, or that of `renew`: the file has its old name, and whatever content.
    pub fn reuse(&mut self, name: &str, renew: impl FnOnce() -> IoResult<()>) -> Result<bool> {
        let shared = Arc::clone(&self.registry.0);
        // Who begins a pause waits for the end of this as for that of a removal. No other hold can come of the
        // only one.
        let _removal = shared.removal.lock();
        {
            let mut state = shared.state.lock();
            if state.pauses > 0 || state.entry(self.id).holds() > 1 {
                return Ok(false);
            }
        }
        renew().map_err(|error| Error::io(error, "use again", &*self.name))?;
        shared.fs.rename(&self.name, name).map_err(|error| Error::io(error, "rename", &*self.name))?;
        self.name = Arc::from(name);
        shared.state.lock().entry(self.id).name = Arc::clone(&self.name);
        Ok(true)
    }
}

impl State {
    fn entry(&mut self, id: EntryId) -> &mut Entry {
        self.files.get_mut(&id).expect("a held file is listed")
    }
}

impl Clone for Hold {
    fn clone(&self) -> Hold {
        self.another(self.by.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.registry.0.state.lock();
        let entry = state.entry(self.id);
        match &self.by {
            Some(by) => {
                let index = entry.shared_holds.iter().position(|holder| holder == by);
                entry.shared_holds.swap_remove(index.expect("a shared hold is listed"));
            }
            None => entry.plain_holds -= 1,
        }
        if entry.holds() > 0 {
            return;
        }
        if !entry.is_obsolete {
            state.files.remove(&self.id);
            return;
        }
        state.queue.push_back(self.id);
        drop(state);
        self.registry.wake_if_due();
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("name", &self.name).field("by", &self.by).finish_non_exhaustive()
    }
}

/// While one is held no file is removed or cut. Nested pauses count: the last one dropped ends it.
#[must_use = "the pause ends when this is dropped"]
pub struct DeletionPause {
    registry: FileRegistry,
}

impl Drop for DeletionPause {
    fn drop(&mut self) {
        self.registry.0.state.lock().pauses -= 1;
        point("registry.pause_released");
        // Another pause may have begun since, and files queued under it are its own: look again.
        self.registry.wake_if_due();
    }
}

impl fmt::Debug for DeletionPause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeletionPause").finish_non_exhaustive()
    }
}

/// What a run of deletions gave back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Freed {
    /// Files removed.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
    /// Removals that failed; they are tried again.
    pub failed: u64,
}

/// Totals of the registry, in files and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RegistryStats {
    /// Files that are not obsolete.
    pub live_files: u64,
    /// Their sizes.
    pub live_bytes: u64,
    /// Obsolete files, held or queued.
    pub pending_files: u64,
    /// Their sizes.
    pub pending_bytes: u64,
    /// Pauses held now.
    pub pauses: u64,
}

/// A file of the store.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LiveFile {
    /// Relative to the root.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its size as last told.
    pub bytes: u64,
    /// `None` for files of the whole store.
    pub tree: Option<TreeId>,
    /// Everything that holds it beside its owner, each once.
    pub holders: Vec<Holder>,
}

/// What keeps a file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Holder {
    /// A scan.
    Iterator,
    /// A version that is not the current one and that a reader pins.
    OlderVersion,
    /// A view that needs old versions.
    Snapshot,
    /// A [`DeletionPause`].
    Pause,
}
