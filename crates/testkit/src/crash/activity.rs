//! What a database is doing, so that a crash can be said to have come in the middle of it.

use isopach::{Event, EventListener, env::Step};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What may be under way when a crash comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Activity {
    /// Memtables become tables.
    Flush,
    /// Tables are merged.
    Compaction,
    /// A log segment begins.
    Rotation,
    /// A keyspace is made or dropped.
    KeyspaceChange,
    /// A copy of the database is made.
    Checkpoint,
    /// A database that was there is opened.
    Recovery,
    /// A database is closed.
    Close,
}

impl Activity {
    /// Every activity.
    pub const ALL: [Activity; 7] = [
        Activity::Flush,
        Activity::Compaction,
        Activity::Rotation,
        Activity::KeyspaceChange,
        Activity::Checkpoint,
        Activity::Recovery,
        Activity::Close,
    ];

    /// Its name, for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Activity::Flush => "flush",
            Activity::Compaction => "compaction",
            Activity::Rotation => "rotation",
            Activity::KeyspaceChange => "keyspace change",
            Activity::Checkpoint => "checkpoint",
            Activity::Recovery => "recovery",
            Activity::Close => "close",
        }
    }
}

/// How many of each are under way now. Shared by the database's listener and by who takes images.
#[derive(Clone, Default, Debug)]
pub struct UnderWay(Arc<[AtomicU64; Activity::ALL.len()]>);

impl UnderWay {
    /// Until the value that is returned goes, this is under way.
    pub fn begin(&self, activity: Activity) -> Begun {
        self.0[activity as usize].fetch_add(1, Ordering::SeqCst);
        Begun(self.clone(), activity)
    }

    /// What a crash before this step interrupts.
    pub fn before(&self, step: Step<'_>) -> Vec<Activity> {
        let is_on = |activity: &Activity| match activity {
            Activity::Rotation => begins_a_segment(step),
            _ => self.0[*activity as usize].load(Ordering::SeqCst) > 0,
        };
        Activity::ALL.into_iter().filter(is_on).collect()
    }

    fn end(&self, activity: Activity) {
        self.0[activity as usize].fetch_sub(1, Ordering::SeqCst);
    }
}

/// See [`UnderWay::begin`].
#[derive(Debug)]
pub struct Begun(UnderWay, Activity);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// Hears of background work.
impl EventListener for UnderWay {
    fn on_event(&self, event: &Event<'_>) {
        let count = |activity: Activity| &self.0[activity as usize];
        match event {
            Event::FlushBegin { .. } => drop(count(Activity::Flush).fetch_add(1, Ordering::SeqCst)),
            Event::FlushEnd { .. } => drop(count(Activity::Flush).fetch_sub(1, Ordering::SeqCst)),
            Event::CompactionBegin { .. } => drop(count(Activity::Compaction).fetch_add(1, Ordering::SeqCst)),
            Event::CompactionEnd { .. } => drop(count(Activity::Compaction).fetch_sub(1, Ordering::SeqCst)),
            _ => {}
        }
    }
}

/// A segment is there, and has no record of a commit yet.
fn begins_a_segment(step: Step<'_>) -> bool {
    let is_log = |name: &str| name.ends_with(".wal");
    match step {
        Step::Create(name) | Step::SetLen(name, _) | Step::Write(name, 0, _) => is_log(name),
        Step::SyncDir(dir, _) => dir == "wal" || dir.ends_with("/wal"),
        _ => false,
    }
}
