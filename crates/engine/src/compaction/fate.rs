//! What may be dropped. [`fate`] is the only place that decides it; nothing else drops, folds or rewrites
//! versions.
//!
//! A view at `w` sees of each key the newest version that is `<= w`. A job knows the live views and
//! `visible`, the newest view of all at its start; views taken later are at `visible` or above. So the views
//! to serve are the live ones, and every number from `visible` on. No version that one of them sees is
//! dropped (INV-GC-1).

use crate::{
    key::ValueKind,
    types::{Seqno, UnixUs, View},
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
    /// It is written as a delete: a put that has expired for every view, and may hide something older.
    KeepAsDelete,
    /// It is left out.
    Drop,
    /// It is left out, and so is everything older of its key: a tombstone with nothing left to hide.
    DropRest,
    /// It is left out, and so is the put right below it: a weak delete that met what it deletes. If something older of the
    /// key would show then, it is written as a delete in place of the two.
    DropWithPut,
    /// An operand: it can become one with what it stands on.
    Merge(Ground),
}

/// What an operand stands on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ground {
    /// Nothing: the key has no value there. The two are a put.
    Nothing,
    /// The value right below. The two are a put; what becomes of the one below is its own fate.
    Value,
    /// The operand right below, which no view tells from it. The two are an operand, under an operator that folds.
    Operand,
}

/// A version of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionFacts {
    /// When it was written.
    pub seqno: Seqno,
    /// What was done.
    pub kind: ValueKind,
    /// When it expires, if it does.
    pub expires_at: Option<UnixUs>,
    /// Whether an older version of its key, or of its range, may lie outside of the job; `true` is always safe.
    pub may_hide_older: bool,
    /// Of the range tombstones newer than it that lie over its key, or over all of its range: the number of the
    /// oldest, or of one that no view tells from that.
    pub hidden_by: Option<Seqno>,
    /// Whether any range tombstone, older or newer, lies over its key; `true` is always safe.
    pub is_under_range: bool,
}

/// The next newer version of the same key in the job that was not dropped, or one that it became.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Newer {
    /// When it was written.
    pub seqno: Seqno,
    /// What was done.
    pub kind: ValueKind,
}

/// What lies right below a version of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Below {
    /// A version in the job, and no range tombstone between the two.
    Version {
        /// When it was written.
        seqno: Seqno,
        /// What was done.
        kind: ValueKind,
        /// When it expires, if it does.
        expires_at: Option<UnixUs>,
    },
    /// A range tombstone over the key, or no older version anywhere.
    Nothing,
    /// The job has no older version, and others may lie elsewhere. Always a safe answer.
    Elsewhere,
}

/// What to do with a version, given the next newer one of its key, and of operands and weak deletes what lies right
/// below. Not asked below a [`Fate::DropRest`] or a [`Fate::KeepTimeless`].
///
/// The newest version of a key that a job meets is kept whatever lies above the job, which is newer still:
/// only a tombstone can go before its shadow is known.
///
/// # Panics
///
/// In debug builds, if `newer` is not newer.
#[inline]
pub fn fate(version: VersionFacts, newer: Option<Newer>, below: Below, views: &Views) -> Fate {
    debug_assert!(newer.is_none_or(|newer| newer.seqno > version.seqno), "versions come newest first");
    if version.kind == ValueKind::Cells {
        return Fate::Keep; // What they may come to need is not known yet.
    }
    if shadow(version, newer).is_some_and(|shadow| !views.has_view_in(version.seqno, shadow)) {
        return Fate::Drop;
    }
    let has_expired = version.expires_at.is_some_and(|expires_at| expires_at <= views.oldest_time());
    let is_seen_by_all = version.seqno <= views.oldest();
    match version.kind {
        kind if kind.is_tombstone() || has_expired => {
            let hides_nothing = !version.may_hide_older && is_seen_by_all;
            match kind {
                _ if hides_nothing => Fate::DropRest,
                ValueKind::DeleteWeak if deletes_put_below(version.seqno, newer, below, views) => {
                    Fate::DropWithPut
                }
                _ if kind.is_tombstone() => Fate::Keep,
                _ => Fate::KeepAsDelete,
            }
        }
        ValueKind::Merge => ground(version.seqno, below, views).map_or(Fate::Keep, Fate::Merge),
        _ => {
            let is_last = !version.may_hide_older && !version.is_under_range && is_seen_by_all;
            if is_last && version.seqno > Seqno::ZERO { Fate::KeepTimeless } else { Fate::Keep }
        }
    }
}

/// The number from which on views do not see a version: that of what is newer, or of a range tombstone over it.
#[inline]
fn shadow(version: VersionFacts, newer: Option<Newer>) -> Option<Seqno> {
    // A range tombstone hides other keys too, whatever is newer of the first.
    let is_hidden_by =
        |newer: &Newer| newer.kind != ValueKind::Merge && version.kind != ValueKind::DeleteRange;
    let newer = newer.filter(is_hidden_by).map(|newer| newer.seqno);
    match (newer, version.hidden_by) {
        (Some(newer), Some(range)) => Some(newer.min(range)),
        (newer, range) => newer.or(range),
    }
}

/// Whether a weak delete and the put right below it can both go: no view sees that put.
fn deletes_put_below(seqno: Seqno, newer: Option<Newer>, below: Below, views: &Views) -> bool {
    let Below::Version { seqno: put, kind, .. } = below else { return false };
    kind.is_put()
        && newer.is_none_or(|newer| newer.kind != ValueKind::Merge)
        && !views.has_view_in(put, seqno)
}

/// What an operand can be merged with, if anything.
fn ground(seqno: Seqno, below: Below, views: &Views) -> Option<Ground> {
    let Below::Version { seqno: older, kind, expires_at } = below else {
        return (below == Below::Nothing).then_some(Ground::Nothing);
    };
    match kind {
        ValueKind::Put | ValueKind::BlobPointer | ValueKind::PutPacked => Some(Ground::Value),
        ValueKind::Delete | ValueKind::DeleteWeak | ValueKind::DeleteRange => Some(Ground::Nothing),
        ValueKind::Merge => (!views.has_view_in(older, seqno)).then_some(Ground::Operand),
        // Until then it depends on the time of the view.
        ValueKind::PutUntil | ValueKind::BlobPointerUntil | ValueKind::PutPackedUntil => {
            let has_expired = expires_at.is_some_and(|expires_at| expires_at <= views.oldest_time());
            has_expired.then_some(Ground::Nothing)
        }
        ValueKind::Cells => None,
    }
}

/// What reads may still ask for, hence what a flush or compaction must keep. Taken when the job starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Views {
    /// Sorted, each once.
    live: Vec<Seqno>,
    visible: Seqno,
    oldest_time: UnixUs,
}

impl Views {
    /// Every live view, in any order, and the newest view of all. Views that are taken later are not before its time.
    pub fn new(live: &[View], visible: View) -> Views {
        let oldest_time = live.iter().map(|view| view.time).fold(visible.time, UnixUs::min);
        let mut live: Vec<Seqno> = live.iter().map(|view| view.seqno).collect();
        live.sort_unstable();
        live.dedup();
        Views { live, visible: visible.seqno, oldest_time }
    }

    /// Drops nothing at all: there may be a view at any number.
    pub fn keep_all() -> Views {
        Views { live: Vec::new(), visible: Seqno::ZERO, oldest_time: UnixUs(0) }
    }

    /// Of all views, the one that sees least.
    pub fn oldest(&self) -> Seqno {
        self.live.first().map_or(self.visible, |&first| first.min(self.visible))
    }

    /// What expires at this time or before has expired for every view.
    pub fn oldest_time(&self) -> UnixUs {
        self.oldest_time
    }

    /// Number of live views below a number.
    pub(super) fn live_before(&self, seqno: Seqno) -> usize {
        self.live.partition_point(|&view| view < seqno)
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
