//! Which views are live: what flush and compaction must keep.

mod held;

use crate::time::Times;
use held::HeldViews;
use isopach_engine::{
    compaction::Views,
    tree::OldState,
    types::{Seqno, UnixUs, View},
};
use isopach_env::sync::{
    Mutex, Rank,
    atomic::{AtomicU64, Ordering},
};

/// Of the live views. Held for a lookup.
const LIVE: Rank = Rank::new(25, "views.live");

/// The newest commit that can be seen, and the older ones that somebody still sees.
#[derive(Debug)]
pub(crate) struct LiveViews {
    /// Greatest published commit end. Written by the commit pipeline alone, after the operations were applied;
    /// read by readers after they pinned a state (Acquire).
    visible: AtomicU64,
    times: Times,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    snapshots: HeldViews,
    /// States of dropped keyspaces that snapshots taken before may still read.
    old: Vec<OldState>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("snapshots", &self.snapshots.count())
            .field("old", &self.old.len())
            .finish()
    }
}

impl LiveViews {
    pub(crate) fn new(visible: Seqno, times: Times) -> LiveViews {
        let visible = AtomicU64::new(visible.raw());
        LiveViews { visible, times, live: Mutex::new(LIVE, Live::default()) }
    }

    /// The newest commit end that readers see.
    pub(crate) fn visible(&self) -> Seqno {
        Seqno::from_raw(self.visible.load(Ordering::Acquire)).expect("only valid numbers are published")
    }

    /// Shows everything up to `seqno`, which is applied (INV-WAL-2).
    pub(crate) fn publish(&self, seqno: Seqno) {
        // Of two threads that publish the later commit may be the faster one. `SeqCst`: whoever waits for it looks
        // again after this, or is seen waiting.
        self.visible.fetch_max(seqno.raw(), Ordering::SeqCst);
    }

    /// The database's time now. Who reads at the newest view asks after it has learnt what is visible.
    pub(crate) fn now(&self) -> UnixUs {
        self.times.now()
    }

    /// See [`Times::near`].
    pub(crate) fn near(&self, expires_at: UnixUs) -> UnixUs {
        self.times.near(expires_at)
    }

    /// The greatest time given out so far.
    pub(crate) fn greatest_time(&self) -> UnixUs {
        self.times.greatest()
    }

    /// A snapshot of now; [`LiveViews::release`] ends it.
    pub(crate) fn take(&self) -> View {
        let mut live = self.live.lock();
        // Under the lock: no job that starts later has an earlier time.
        let view = View::new(self.visible(), self.now());
        live.snapshots.add(view);
        view
    }

    /// As [`LiveViews::take`], at a commit of the past. Whether all that it sees is there is for the caller to look.
    pub(crate) fn take_at(&self, seqno: Seqno) -> View {
        let mut live = self.live.lock();
        let view = View::new(seqno, self.now());
        live.snapshots.add(view);
        view
    }

    pub(crate) fn release(&self, view: View) {
        let mut live = self.live.lock();
        live.snapshots.remove(view);
        let gone = live.take_unseen();
        drop(live);
        drop(gone); // Files may be given to the deleter here, outside the lock.
    }

    /// Keeps the state of a dropped keyspace for the snapshots taken before.
    pub(crate) fn keep_old(&self, old: OldState) {
        let mut live = self.live.lock();
        live.old.push(old);
        let gone = live.take_unseen();
        drop(live);
        drop(gone);
    }

    /// What a job that starts now must keep: every live view, and every one that may come: at the newest commit or
    /// later, or from `retained_from` on.
    pub(crate) fn for_job(&self, retained_from: Option<Seqno>) -> Views {
        let live = self.live.lock();
        let views: Vec<View> = live.snapshots.iter().collect();
        let first = self.visible().min(retained_from.unwrap_or(Seqno::MAX));
        Views::new(&views, View::new(first, self.now()))
    }

    /// Of the views that are held the one that sees least.
    pub(crate) fn oldest(&self) -> Option<View> {
        self.live.lock().snapshots.oldest()
    }

    /// Number of open snapshots.
    pub(crate) fn snapshots(&self) -> u64 {
        self.live.lock().snapshots.count()
    }
}

impl Live {
    fn take_unseen(&mut self) -> Vec<OldState> {
        let oldest = self.snapshots.oldest();
        let is_seen = |old: &OldState| oldest.is_some_and(|oldest| oldest.seqno < old.at());
        let (seen, gone) = std::mem::take(&mut self.old).into_iter().partition(is_seen);
        self.old = seen;
        gone
    }
}
