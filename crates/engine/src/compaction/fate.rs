//! What may be dropped. [`fate`] is the only place that decides it; nothing else drops, folds or rewrites
//! versions.
//!
//! A view at `w` sees of each key the newest version that is `<= w`. A job knows the live views and
//! `visible`, the newest view of all at its start; views taken later are at `visible` or above. So the views
//! to serve are the live ones, and every number from `visible` on. No version that one of them sees is
//! dropped (INV-GC-1).

use crate::{
    key::ValueKind,
    types::{Seqno, View},
};
use alloc::vec::Vec;

/// What happens to a version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// It is written.
    Keep,
    /// It is written with number 0, and everything older of its key is left out: every view there is or will be sees
    /// it or something newer. Numbers that are all 0 take no space.
    KeepTimeless,
    /// It is left out.
    Drop,
    /// It is left out, and so is everything older of its key: a tombstone with nothing left to hide.
    DropRest,
}

/// A version of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionFacts {
    /// When it was written.
    pub seqno: Seqno,
    /// What was done.
    pub kind: ValueKind,
    /// Whether an older version of its key may lie outside of the job; `true` is always safe.
    pub may_hide_older: bool,
}

/// The next newer version of the same key in the job, kept or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Newer {
    /// When it was written.
    pub seqno: Seqno,
    /// What was done.
    pub kind: ValueKind,
}

/// What to do with a version, given the next newer one of its key. Not asked below a [`Fate::DropRest`] or a
/// [`Fate::KeepTimeless`].
///
/// The newest version of a key that a job meets is kept whatever lies above the job, which is newer still:
/// only a tombstone can go before its shadow is known.
///
/// # Panics
///
/// In debug builds, if `newer` is not newer.
pub fn fate(version: VersionFacts, newer: Option<Newer>, views: &Views) -> Fate {
    debug_assert!(newer.is_none_or(|newer| newer.seqno > version.seqno), "versions come newest first");
    if newer.is_some_and(|newer| builds_on_older(newer.kind)) || is_always_kept(version.kind) {
        return Fate::Keep;
    }
    if newer.is_some_and(|newer| !views.has_view_in(version.seqno, newer.seqno)) {
        return Fate::Drop;
    }
    if version.kind.is_tombstone() && !version.may_hide_older && version.seqno <= views.oldest() {
        return Fate::DropRest;
    }
    let is_put = version.kind == ValueKind::Put && version.seqno > Seqno::ZERO;
    if is_put && !version.may_hide_older && version.seqno <= views.oldest() {
        return Fate::KeepTimeless;
    }
    Fate::Keep
}

/// Whether reading a version of this kind may need the one before it.
fn builds_on_older(kind: ValueKind) -> bool {
    match kind {
        ValueKind::Merge | ValueKind::Cells => true,
        ValueKind::Put
        | ValueKind::Delete
        | ValueKind::DeleteWeak
        | ValueKind::BlobPointer
        | ValueKind::PutUntil => false,
    }
}

/// Kinds whose dropping takes more than a shadow: folding, accounts of what blob files hold, a clock.
fn is_always_kept(kind: ValueKind) -> bool {
    match kind {
        ValueKind::Merge | ValueKind::BlobPointer | ValueKind::PutUntil | ValueKind::Cells => true,
        ValueKind::Put | ValueKind::Delete | ValueKind::DeleteWeak => false,
    }
}

/// What reads may still ask for, hence what a flush or compaction must keep. Taken when the job starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Views {
    /// Sorted, each once.
    live: Vec<Seqno>,
    visible: Seqno,
}

impl Views {
    /// Every live view, in any order, and the newest view of all.
    pub fn new(live: &[View], visible: View) -> Views {
        let mut live: Vec<Seqno> = live.iter().map(|view| view.seqno).collect();
        live.sort_unstable();
        live.dedup();
        Views { live, visible: visible.seqno }
    }

    /// Drops nothing at all: there may be a view at any number.
    pub fn keep_all() -> Views {
        Views { live: Vec::new(), visible: Seqno::ZERO }
    }

    /// Of all views, the one that sees least.
    pub fn oldest(&self) -> Seqno {
        self.live.first().map_or(self.visible, |&first| first.min(self.visible))
    }

    /// The newest view at the start of the job; later ones are not below.
    pub fn visible(&self) -> Seqno {
        self.visible
    }

    /// The read floor of a job that drops something or makes it timeless, and whose newest version is `last`.
    ///
    /// What is dropped was hidden by a version of the job, and what is timeless is one, so a view at or above the
    /// newest of them sees no difference. It matters after a crash that loses commits which were visible at the start of the job:
    /// what is left to read at lies below `visible` then.
    pub fn read_floor(&self, last: Seqno) -> Seqno {
        self.visible.min(last)
    }

    /// Every live view but for the newest of all, ascending.
    pub fn live(&self) -> &[Seqno] {
        &self.live
    }

    /// Whether there is, or may come, a view `w` with `from <= w < to`. A binary search.
    pub fn has_view_in(&self, from: Seqno, to: Seqno) -> bool {
        if from.max(self.visible) < to {
            return true;
        }
        let at = self.live.partition_point(|&view| view < from);
        self.live.get(at).is_some_and(|&view| view < to)
    }
}

#[cfg(test)]
mod tests;
