//! Which views are live: what flush and compaction must keep.

use isopach_engine::{
    compaction::Views,
    tree::OldState,
    types::{Seqno, UnixUs, View},
};
use isopach_env::sync::{
    Mutex, Rank,
    atomic::{AtomicU64, Ordering},
};
use std::collections::BTreeMap;

/// Of the live views. Held for a lookup.
const LIVE: Rank = Rank::new(25, "views.live");

/// The newest commit that can be seen, and the older ones that somebody still sees.
#[derive(Debug)]
pub(crate) struct LiveViews {
    /// Greatest published commit end. Written by the commit pipeline alone, after the operations were applied;
    /// read by readers after they pinned a state (Acquire).
    visible: AtomicU64,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    /// Snapshots by position.
    snapshots: BTreeMap<Seqno, usize>,
    /// States of dropped keyspaces that snapshots taken before may still read.
    old: Vec<OldState>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("snapshots", &self.snapshots).field("old", &self.old.len()).finish()
    }
}

impl LiveViews {
    pub(crate) fn new(visible: Seqno) -> LiveViews {
        LiveViews { visible: AtomicU64::new(visible.raw()), live: Mutex::new(LIVE, Live::default()) }
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

    /// A snapshot of now; [`LiveViews::release`] ends it.
    pub(crate) fn take(&self) -> Seqno {
        let mut live = self.live.lock();
        let seqno = self.visible();
        *live.snapshots.entry(seqno).or_default() += 1;
        seqno
    }

    pub(crate) fn release(&self, seqno: Seqno) {
        let mut live = self.live.lock();
        let count = live.snapshots.get_mut(&seqno).expect("a snapshot is released once");
        *count -= 1;
        if *count == 0 {
            live.snapshots.remove(&seqno);
        }
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

    /// What a job that starts now must keep: every live view, and the newest of all.
    pub(crate) fn for_job(&self) -> Views {
        let live = self.live.lock();
        let view = |seqno| View::new(seqno, UnixUs(0));
        let views: Vec<View> = live.snapshots.keys().copied().map(view).collect();
        Views::new(&views, view(self.visible()))
    }

    /// Number of open snapshots.
    pub(crate) fn snapshots(&self) -> u64 {
        self.live.lock().snapshots.values().map(|&count| count as u64).sum()
    }
}

impl Live {
    fn take_unseen(&mut self) -> Vec<OldState> {
        let oldest = self.snapshots.keys().next().copied();
        let is_seen = |old: &OldState| oldest.is_some_and(|oldest| oldest < old.at());
        let (seen, gone) = std::mem::take(&mut self.old).into_iter().partition(is_seen);
        self.old = seen;
        gone
    }
}
