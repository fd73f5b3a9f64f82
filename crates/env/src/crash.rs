//! Files in memory that can lose power.
//!
//! The model assumes of a medium what Isopach assumes, and nothing more. Bytes outside of a written range
//! stay. A sync of a file that succeeds makes its content and size durable, and says nothing of its name; a
//! sync of a directory that succeeds makes its entries durable, and says nothing of what they lead to. A
//! rename within one directory is atomic. Of all else, whatever [`Survival`] says may survive a power loss,
//! in any order: sectors, sizes, entries made, linked, renamed and removed.
//!
//! A file is one under all its names. Nothing that was durable gets lost.

mod content;
mod state;
mod step;
mod survival;

mod files;
mod history;

pub use history::{History, Moment, Moments};
pub use step::Step;
pub use survival::{Damage, Piece, PieceKind, Survival};

use crate::{
    error::IoResult,
    file::SyncSite,
    ledger::Ledger,
    sync::{Mutex, MutexGuard, Rank},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::fmt;
use files::Holders;
use history::Record;
use state::{NodeId, State};
use step::Change;
use survival::Chooser;

#[cfg(test)]
mod tests;

const RANK: Rank = Rank::new(Rank::ENV_LEVELS + 7, "crash_fs.live");

/// Files in memory that can lose power. Clones are the same place; an image is another.
///
/// Every call that changes something is a step with a number. A test looks at the files between two steps in
/// one of two ways: it [watches](CrashFs::watch) the steps while they are taken, by any number of threads; or
/// it [records](CrashFs::record) them and takes them again afterwards.
///
/// ```
/// use isopach_env::{CrashFs, CreateOptions, Fs, SyncMode, SyncSite, WriteOrigin};
///
/// const SITE: SyncSite = SyncSite("example");
/// let fs = CrashFs::new();
/// let file = fs.create("a", &CreateOptions::new(WriteOrigin::Metadata))?;
/// file.write_at(0, b"content")?;
/// file.sync(SyncMode::Durable, SITE)?; // Its content is durable now, its name is not.
///
/// let found: Vec<bool> = (0..100).map(|seed| fs.crash(seed).exists("a").unwrap()).collect();
///
/// assert!(found.contains(&true) && found.contains(&false));
/// # Ok::<(), isopach_env::IoError>(())
/// ```
#[derive(Clone)]
pub struct CrashFs(Arc<Shared>);

struct Shared {
    /// Held for the time of one step or one copy; never while a watcher is called.
    live: Mutex<Live>,
    ledger: Ledger,
}

/// The files, and what only those have that are in use.
struct Live {
    state: State,
    steps: u64,
    record: Option<Record>,
    watch: Option<Watch>,
    muted: BTreeSet<&'static str>,
    sites: BTreeSet<&'static str>,
    /// How many handles and locks each file has.
    handles: BTreeMap<NodeId, usize>,
    locks: BTreeMap<NodeId, Holders>,
}

type Watch = Arc<dyn Fn(u64, Step<'_>) -> IoResult<()> + Send + Sync>;

impl CrashFs {
    /// An empty place.
    pub fn new() -> CrashFs {
        CrashFs::of(State::new())
    }

    fn of(state: State) -> CrashFs {
        let live = Live {
            state,
            steps: 0,
            record: None,
            watch: None,
            muted: BTreeSet::new(),
            sites: BTreeSet::new(),
            handles: BTreeMap::new(),
            locks: BTreeMap::new(),
        };
        CrashFs(Arc::new(Shared { live: Mutex::new(RANK, live), ledger: Ledger::new() }))
    }

    // Images.

    /// What a power loss at this instant leaves, with [`Survival::Any`]. The same files and the same seed
    /// make the same image. It has no handles and no locks, all of it is durable, and nobody watches.
    #[must_use]
    pub fn crash(&self, seed: u64) -> CrashFs {
        self.crash_with(Survival::Any, seed)
    }

    /// As [`CrashFs::crash`], with a rule for what survives.
    #[must_use]
    pub fn crash_with(&self, survival: Survival, seed: u64) -> CrashFs {
        let state = self.state();
        CrashFs::of(match survival {
            Survival::SyncedFiles => state.with_synced_files(),
            _ => state.after_power_loss(&mut Chooser::new(survival, seed)),
        })
    }

    /// As [`CrashFs::crash`]; those pieces survive for which `keeps` says so. Asks about what one file or
    /// directory lacks in the order of steps; of the pieces of one place that are kept, the last is there.
    #[must_use]
    pub fn crash_keeping(&self, mut keeps: impl FnMut(Piece<'_>) -> bool) -> CrashFs {
        CrashFs::of(self.state().after_power_loss(&mut Chooser::keeping(&mut keeps)))
    }

    /// What a process that dies at this instant leaves to the next one: everything that was written. What is
    /// not durable here is not durable there.
    #[must_use]
    pub fn kill(&self) -> CrashFs {
        let mut state = self.state();
        state.collect(|_| false);
        CrashFs::of(state)
    }

    /// Makes everything durable, as if all files and directories had been synced. Not a step.
    ///
    /// # Panics
    ///
    /// While steps are recorded: they could not be taken again.
    pub fn settle(&self) {
        let mut live = self.live();
        assert!(live.record.is_none(), "files that are recorded cannot be settled");
        live.state.settle();
    }

    fn state(&self) -> State {
        self.live().state.clone()
    }

    // Steps.

    /// Number of steps so far: the next one has this number.
    pub fn steps(&self) -> u64 {
        self.live().steps
    }

    /// Steps from now on are told to `watch` before they are taken, with their number; an error is what the
    /// caller gets in place of the step. Several threads may call it at once, and they may hold locks of the
    /// program. It may make images, and must not change these files. One that holds a clone of them keeps
    /// them until [`CrashFs::unwatch`].
    pub fn watch(&self, watch: impl Fn(u64, Step<'_>) -> IoResult<()> + Send + Sync + 'static) {
        let before = self.live().watch.replace(Arc::new(watch));
        drop(before); // Outside the lock: it may hold handles.
    }

    /// Nobody is told any more. Calls that run already go on.
    pub fn unwatch(&self) {
        let before = self.live().watch.take();
        drop(before);
    }

    /// Starts a history of all steps from now on, and forgets an earlier one.
    pub fn record(&self) {
        let mut live = self.live();
        let base = live.state.clone();
        live.record = Some(Record { base, changes: Vec::new() });
    }

    /// The steps since [`CrashFs::record`]; empty without it. Goes on recording.
    pub fn history(&self) -> History {
        let live = self.live();
        let nothing = || Record { base: live.state.clone(), changes: Vec::new() };
        History::new(live.record.clone().unwrap_or_else(nothing))
    }

    /// Syncs of this place in the code succeed and make nothing durable from now on: a test that passes all
    /// the same does not see what it should. Images made with [`CrashFs::crash_keeping`] know what they left
    /// behind.
    pub fn mute(&self, site: SyncSite) {
        self.live().muted.insert(site.0);
    }

    /// Syncs of this place in the code have an effect again. What was muted is durable with the next one.
    pub fn unmute(&self, site: SyncSite) {
        self.live().muted.remove(site.0);
    }

    /// Places in the code that synced something, by name.
    pub fn sites(&self) -> Vec<&'static str> {
        self.live().sites.iter().copied().collect()
    }

    /// Takes a step: `plan` says which, if any, or why it cannot be taken.
    fn take(&self, plan: impl Fn(&State) -> IoResult<Option<Change>>) -> IoResult<Option<Change>> {
        let mut live = self.live();
        let Some(mut change) = plan(&live.state)? else {
            return Ok(None);
        };
        let number = live.steps;
        live.steps += 1;
        if let Some(watch) = live.watch.clone() {
            drop(live);
            watch(number, change.step())?;
            drop(watch);
            live = self.live();
            // Others may have taken steps meanwhile.
            change = match plan(&live.state)? {
                Some(change) => change,
                None => return Ok(None),
            };
        }
        live.apply(number, &mut change);
        Ok(Some(change))
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.live.lock()
    }
}

impl Live {
    fn apply(&mut self, number: u64, change: &mut Change) {
        if let Some(site) = change.step().site() {
            self.sites.insert(site.0);
            if self.muted.contains(site.0) {
                change.mute();
            }
        }
        self.state.apply(number, change);
        if let Change::Create { node, .. } = change {
            self.hold(*node); // Under the same lock: nobody removes it before it is open.
        }
        if let Some(record) = &mut self.record {
            record.changes.push((number, change.clone()));
        }
        if matches!(change, Change::SyncDir { .. }) {
            // Only now may something be gone for good.
            self.state.collect(|node| self.handles.contains_key(&node));
        }
    }

    /// Keeps a file that may lose its names, until [`Live::release`].
    fn hold(&mut self, node: NodeId) {
        *self.handles.entry(node).or_default() += 1;
    }

    fn release(&mut self, node: NodeId) {
        let count = self.handles.get_mut(&node).expect("what is open was held");
        *count -= 1;
        if *count == 0 {
            self.handles.remove(&node);
        }
    }
}

impl Default for CrashFs {
    fn default() -> CrashFs {
        CrashFs::new()
    }
}

impl fmt::Debug for CrashFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashFs").field("steps", &self.steps()).finish_non_exhaustive()
    }
}
