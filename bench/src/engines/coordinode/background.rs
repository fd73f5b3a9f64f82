//! The threads that coordinode-lsm-tree asks its caller for: one flushes sealed memtables, one compacts after
//! each flush. Writers wait when either is behind.

use super::Result;
use crate::engine::WAITING_BUFFERS_COUNT;
use lsm_tree::{
    AbstractTree, AnyTree, SequenceNumberCounter,
    compaction::{CompactionAction, Leveled},
};
use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{Builder, JoinHandle},
};

/// Sealed memtables of a tree above which its writers wait.
const SEALED_MEMTABLES_LIMIT: usize = WAITING_BUFFERS_COUNT as usize;

/// Runs in level 0 of a tree above which its writers wait: RocksDB's and fjall's limit.
const LEVEL_0_RUNS_LIMIT: usize = 20;

/// The limits in words.
pub(super) const LIMITS: &str = "writers wait above 4 sealed memtables or 20 level-0 runs";

pub(super) struct Background {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    trees: Arc<[AnyTree]>,
    visible: SequenceNumberCounter,
    state: Mutex<State>,
    /// Whenever `state` changes.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    flushes: Work,
    compactions: Work,
    is_closing: bool,
    /// Why background work ended.
    failure: Option<String>,
}

#[derive(Default)]
struct Work {
    /// Indices of trees.
    due: BTreeSet<usize>,
    is_running: bool,
}

impl Work {
    fn is_done(&self) -> bool {
        self.due.is_empty() && !self.is_running
    }
}

impl State {
    fn check(&self) -> Result<()> {
        match &self.failure {
            Some(failure) => Err(failure.clone().into()),
            None => Ok(()),
        }
    }
}

impl Background {
    pub(super) fn start(trees: Arc<[AnyTree]>, visible: SequenceNumberCounter) -> Result<Background> {
        let shared = Arc::new(Shared { trees, visible, state: Mutex::default(), changed: Condvar::new() });
        let spawn = |name: &str, run: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            Builder::new().name(name.into()).spawn(move || run(&shared))
        };
        let threads = vec![spawn("flush", Shared::flush)?, spawn("compaction", Shared::compact)?];
        Ok(Background { shared, threads })
    }

    /// Has the sealed memtables of `tree` flushed, and waits only while too much is behind.
    pub(super) fn flush(&self, tree: usize) -> Result<()> {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.flushes.due.insert(tree);
        shared.changed.notify_all();
        while state.failure.is_none() && shared.is_behind(tree) {
            state = shared.wait(state);
        }
        state.check()
    }

    /// Flushes everything sealed, and waits until no compaction is left to do.
    pub(super) fn settle(&self) -> Result<()> {
        let shared = &self.shared;
        let mut state = shared.lock();
        state.flushes.due.extend(0..shared.trees.len());
        shared.changed.notify_all();
        while state.failure.is_none() && !(state.flushes.is_done() && state.compactions.is_done()) {
            state = shared.wait(state);
        }
        state.check()
    }

    /// Ends the threads after what they are doing.
    pub(super) fn stop(self) -> Result<()> {
        self.shared.lock().is_closing = true;
        self.shared.changed.notify_all();
        for thread in self.threads {
            thread.join().map_err(|_| "coordinode-lsm-tree: a background thread panicked")?;
        }
        self.shared.lock().check()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn is_behind(&self, tree: usize) -> bool {
        let tree = &self.trees[tree];
        tree.sealed_memtable_count() > SEALED_MEMTABLES_LIMIT || tree.l0_run_count() > LEVEL_0_RUNS_LIMIT
    }

    fn flush(&self) {
        self.work(
            |state| &mut state.flushes,
            |tree| {
                let lock = tree.get_flush_lock();
                tree.flush(&lock, self.visible.get())?;
                Ok(false)
            },
            |state, tree| {
                state.compactions.due.insert(tree);
            },
        );
    }

    fn compact(&self) {
        let strategy = Arc::new(Leveled::default());
        self.work(
            |state| &mut state.compactions,
            |tree| {
                let result = tree.compact(strategy.clone(), self.visible.get())?;
                Ok(result.action != CompactionAction::Nothing)
            },
            |_, _| {},
        );
    }

    /// Does `step` for each tree that is due until it says that there is no more to do, and then `after`;
    /// until closed.
    fn work(
        &self,
        kind: fn(&mut State) -> &mut Work,
        step: impl Fn(&AnyTree) -> lsm_tree::Result<bool>,
        after: impl Fn(&mut State, usize),
    ) {
        let mut state = self.lock();
        while !state.is_closing && state.failure.is_none() {
            let due = mem::take(&mut kind(&mut state).due);
            if due.is_empty() {
                state = self.wait(state);
                continue;
            }
            kind(&mut state).is_running = true;
            for index in due {
                let mut more = true;
                while more && !state.is_closing {
                    drop(state);
                    let result = step(&self.trees[index]);
                    state = self.lock();
                    match result {
                        Ok(left) => more = left,
                        Err(error) => {
                            state.failure = Some(format!("coordinode-lsm-tree: background work: {error}"));
                            more = false;
                        }
                    }
                    // After each step: writers may be waiting for it.
                    self.changed.notify_all();
                }
                after(&mut state, index);
            }
            kind(&mut state).is_running = false;
            self.changed.notify_all();
        }
    }
}
