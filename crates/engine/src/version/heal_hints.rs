//! Files that reads had to correct: which of them are to be written anew.
//!
//! In memory only: a hint that is lost comes back with the next read of what is damaged. It stays until its file goes, so a
//! job that fails takes none away.

use crate::{codec::CorrectionWatch, types::TreeId};
use alloc::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    vec::Vec,
};
use core::{
    fmt,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};
use isopach_env::sync::{Mutex, Rank, atomic::AtomicU64};

/// Of the hints. Held for moments.
const HINTS: Rank = Rank::new(64, "heal.hints");
/// Of who is told. Held for moments.
const WATCH: Rank = Rank::new(65, "heal.watch");

/// Number of a table or of a file of separated values: they have a sequence in common.
pub type HealedFile = u64;

/// Hears of a tree with a new hint. Called on the thread that read.
pub type HealWatch = dyn Fn(TreeId) + Send + Sync;

/// What reads of a store had to correct.
#[derive(Default)]
pub struct HealHints {
    is_enabled: AtomicBool,
    /// Who heals whether that is on or not.
    scrubs: AtomicU64,
    corrected: AtomicU64,
    scheduled: AtomicU64,
    hints: Hints,
    watch: Watch,
}

struct Hints(Mutex<BTreeMap<HealedFile, Hint>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hint {
    /// To be written anew; of this tree.
    Due(TreeId),
    /// No version names the file any more: who still reads it needs not tell.
    Retired,
}

impl Default for Hints {
    fn default() -> Hints {
        Hints(Mutex::new(HINTS, BTreeMap::new()))
    }
}

struct Watch(Mutex<Option<Arc<HealWatch>>>);

impl Default for Watch {
    fn default() -> Watch {
        Watch(Mutex::new(WATCH, None))
    }
}

/// What healing did and has to do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct HealStats {
    /// Reads that parity corrected.
    pub corrected: u64,
    /// Files that were found damaged on their medium and were to be written anew, since the store was opened.
    pub scheduled: u64,
    /// Of these, files that still are.
    pub pending: u64,
}

impl HealHints {
    /// Whether hinted files are written anew. Off at first; hints are kept either way.
    pub fn set_enabled(&self, is_enabled: bool) {
        self.is_enabled.store(is_enabled, Ordering::Relaxed);
    }

    /// While the result is held hinted files are written anew, whether that is on or not.
    pub fn heal_meanwhile(self: &Arc<Self>) -> Healing {
        self.scrubs.fetch_add(1, Ordering::Relaxed);
        Healing(Arc::clone(self))
    }

    /// From now on `watch` is told, and nobody else.
    pub fn set_watch(&self, watch: Arc<HealWatch>) {
        let old = self.watch.0.lock().replace(watch);
        drop(old);
    }

    /// Notes a file whose medium is damaged. `true`: that was not known.
    pub fn record(&self, tree: TreeId, file: HealedFile) -> bool {
        let is_new = match self.hints.0.lock().entry(file) {
            Entry::Vacant(vacant) => {
                vacant.insert(Hint::Due(tree));
                true
            }
            Entry::Occupied(_) => false,
        };
        if is_new {
            self.scheduled.fetch_add(1, Ordering::Relaxed);
            let watch = self.watch.0.lock().clone();
            if let Some(watch) = watch {
                watch(tree);
            }
        }
        is_new
    }

    /// No version names the file any more: it was written anew, or is not needed.
    pub(super) fn retire(&self, file: HealedFile) {
        self.hints.0.lock().insert(file, Hint::Retired);
    }

    /// Nobody reads the file any more.
    pub(super) fn forget(&self, file: HealedFile) {
        self.hints.0.lock().remove(&file);
    }

    /// The files of a tree that are to be written anew now, in the order of their numbers; none while that is off.
    pub fn due(&self, tree: TreeId) -> BTreeSet<HealedFile> {
        if !self.is_enabled.load(Ordering::Relaxed) && self.scrubs.load(Ordering::Relaxed) == 0 {
            return BTreeSet::new();
        }
        let hints = self.hints.0.lock();
        hints.iter().filter(|(_, hint)| **hint == Hint::Due(tree)).map(|(&file, _)| file).collect()
    }

    /// Trees with hints.
    pub fn trees(&self) -> Vec<TreeId> {
        let due = |hint: &Hint| match *hint {
            Hint::Due(tree) => Some(tree),
            Hint::Retired => None,
        };
        let mut trees: Vec<TreeId> = self.hints.0.lock().values().filter_map(due).collect();
        trees.sort_unstable();
        trees.dedup();
        trees
    }

    /// What was corrected, and what is to do.
    pub fn stats(&self) -> HealStats {
        HealStats {
            corrected: self.corrected.load(Ordering::Relaxed),
            scheduled: self.scheduled.load(Ordering::Relaxed),
            pending: self.hints.0.lock().values().filter(|hint| **hint != Hint::Retired).count() as u64,
        }
    }
}

/// See [`HealHints::heal_meanwhile`].
pub struct Healing(Arc<HealHints>);

impl Drop for Healing {
    fn drop(&mut self) {
        self.0.scrubs.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for HealHints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealHints").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Turns corrections of one file into hints.
pub(super) struct FileWatch {
    pub(super) hints: Arc<HealHints>,
    pub(super) tree: TreeId,
    pub(super) file: HealedFile,
}

impl CorrectionWatch for FileWatch {
    fn corrected(&self, _: Range<u64>, persists: bool) {
        self.hints.corrected.fetch_add(1, Ordering::Relaxed);
        if persists {
            self.hints.record(self.tree, self.file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: TreeId = TreeId(1);

    #[test]
    fn a_second_record_of_a_file_is_not_new_and_files_come_out_sorted() {
        let hints = HealHints::default();
        assert!(hints.record(TREE, 7));
        assert!(!hints.record(TREE, 7));
        assert!(hints.record(TREE, 3) && hints.record(TreeId(2), 5));

        assert!(hints.due(TREE).is_empty(), "nothing is due while healing is off");
        hints.set_enabled(true);
        assert_eq!(hints.due(TREE).into_iter().collect::<Vec<_>>(), [3, 7]);
        assert_eq!(hints.trees(), [TREE, TreeId(2)]);
        hints.forget(3);
        let stats = hints.stats();
        assert_eq!((stats.scheduled, stats.pending), (3, 2), "each file is scheduled once");
        hints.retire(7);
        assert!(!hints.record(TREE, 7), "who still reads what was written anew tells nothing");
        assert!(hints.due(TREE).is_empty());
        let stats = hints.stats();
        assert_eq!((stats.scheduled, stats.pending), (3, 1));
    }

    #[test]
    fn only_a_fault_that_persists_leaves_a_hint() {
        let hints = Arc::new(HealHints::default());
        let watch = FileWatch { hints: Arc::clone(&hints), tree: TREE, file: 7 };
        watch.corrected(0..8, false);
        assert_eq!(hints.stats(), HealStats { corrected: 1, scheduled: 0, pending: 0 });
        watch.corrected(0..8, true);
        assert_eq!(hints.stats(), HealStats { corrected: 2, scheduled: 1, pending: 1 });
    }
}
