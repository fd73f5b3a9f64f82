//! The stream of versions that a job has to write: a merged cursor less what [`fate`] drops.
//!
//! Decides nothing itself. Remembers one version: memory does not grow with the number of versions of a key.

use super::{
    chain::{self, Held},
    fate::{Below, Fate, Ground, Newer, VersionFacts, Views, fate},
    filter::{CompactionFilter, FilterEntry, Verdict, ask},
    older::OlderData,
    ranges::{JobRanges, OtherTables},
};
use crate::{
    blob::ReadBlobs,
    error::{Error, ErrorKind, Result},
    expiry,
    iter::{CheckedValue, Cursor, Entry, value_apart},
    key::ValueKind,
    merge_operator::MergeOperator,
    order::KeyOrder,
    range_tombstone::RangeTombstone,
    types::{Seqno, Slice, UnixUs},
};
use alloc::{boxed::Box, collections::VecDeque, format, sync::Arc, vec::Vec};
use core::ops::Bound;

/// A forward pass over what survives of a cursor's versions, in the cursor's order.
///
/// New ones stand on nothing; [`Survivors::advance`] moves to the first survivor, then to the next.
pub struct Survivors<C> {
    cursor: C,
    job: Job,
    /// User key of the last version seen; meaningless before the first.
    key: Vec<u8>,
    /// The last version seen, of `key`: versions come newest first.
    last_seen: Option<(Seqno, ValueKind)>,
    /// What the last version that was not dropped is, of `key`.
    newer: Option<Newer>,
    /// Whether the rest of `key` is to be dropped.
    is_dead: bool,
    /// Whether a version of `key` survived.
    has_survivor: bool,
    /// Whether the survivor it stands on is the first of its key.
    is_first_of_key: bool,
    /// Survivors of `key` that come before what the cursor stands on.
    held: VecDeque<Held>,
    standing: Standing,
    /// What it stands on, if that is held.
    at_held: Option<Held>,
    /// Keys before this one are as if the filter removed them.
    removed_until: Option<Vec<u8>>,
    dropped: Dropped,
    changed: Changed,
}

/// What a job knows of its surroundings.
struct Job {
    order: KeyOrder,
    views: Views,
    older: OlderData,
    ranges: JobRanges,
    others: OtherTables,
    operator: Option<Arc<dyn MergeOperator>>,
    filter: Option<Box<dyn CompactionFilter>>,
    blobs: Option<Arc<dyn ReadBlobs>>,
}

/// Where a stream stands.
#[derive(Clone, Copy, Debug)]
enum Standing {
    /// Before the first version.
    Before,
    /// On a survivor that the cursor stands on, written with this number.
    OnCursor { seqno: Seqno },
    /// On a survivor that the cursor stands on, of which only key and number are kept.
    OnDeleted,
    /// On a survivor that is held; the cursor stands on what was not judged yet.
    OnHeld,
    /// Behind the last.
    After,
}

/// What was left out so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Dropped {
    /// Versions, tombstones included.
    pub entries: u64,
    /// Of these, deletes of any kind.
    pub tombstones: u64,
}

/// Whose past is another one so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Changed {
    /// Something was made timeless, a delete, or one with others.
    is_rewritten: bool,
    /// A filter changed something: every view of the past may see that.
    is_filtered: bool,
}

impl<C: Cursor> Survivors<C> {
    /// The survivors of all entries of `cursor`, which may stand anywhere.
    ///
    /// `older` says which keys may have older versions that `cursor` does not yield.
    pub fn new(cursor: C, views: Views, older: OlderData) -> Survivors<C> {
        let (ranges, others) =
            (JobRanges::NONE, OtherTables::new(&KeyOrder::BYTES, Vec::new(), |_, _| false));
        Survivors {
            cursor,
            job: Job {
                order: KeyOrder::BYTES,
                views,
                older,
                ranges,
                others,
                operator: None,
                filter: None,
                blobs: None,
            },
            key: Vec::new(),
            last_seen: None,
            newer: None,
            is_dead: false,
            has_survivor: false,
            is_first_of_key: false,
            held: VecDeque::new(),
            standing: Standing::Before,
            at_held: None,
            removed_until: None,
            dropped: Dropped::default(),
            changed: Changed::default(),
        }
    }

    /// Of keys in this order, if not in that of bytes.
    #[must_use]
    pub fn with_order(mut self, order: &KeyOrder) -> Survivors<C> {
        self.job.order = order.clone();
        self
    }

    /// With range tombstones: those that the job knows of, of the same views, and the tables that it does not read.
    #[must_use]
    pub fn with_ranges(mut self, ranges: JobRanges, others: OtherTables) -> Survivors<C> {
        (self.job.ranges, self.job.others) = (ranges, others);
        self
    }

    /// With an operator that makes one of operands and what they stand on.
    #[must_use]
    pub fn with_operator(mut self, operator: Option<Arc<dyn MergeOperator>>) -> Survivors<C> {
        self.job.operator = operator;
        self
    }

    /// With what reads separated values, for operators and filters.
    #[must_use]
    pub fn with_blobs(mut self, blobs: Arc<dyn ReadBlobs>) -> Survivors<C> {
        self.job.blobs = Some(blobs);
        self
    }

    /// With a filter of values.
    #[must_use]
    pub fn with_filter(mut self, filter: Option<Box<dyn CompactionFilter>>) -> Survivors<C> {
        self.job.filter = filter;
        self
    }

    /// To the next survivor; `false` behind the last one.
    ///
    /// # Errors
    ///
    /// Those of the cursor, `Corruption` if it yields a version twice, and what the filter says. The stream is then
    /// over: what follows is unknown, so the job must be given up.
    pub fn advance(&mut self) -> Result<bool> {
        match core::mem::replace(&mut self.standing, Standing::After) {
            Standing::Before => self.cursor.seek_first()?,
            Standing::OnCursor { .. } | Standing::OnDeleted => self.cursor.next()?,
            Standing::OnHeld => self.at_held = None,
            Standing::After => return Ok(false),
        }
        loop {
            if let Some(held) = self.held.pop_front() {
                self.note_survivor(held.seqno, held.kind);
                (self.standing, self.at_held) = (Standing::OnHeld, Some(held));
                return Ok(true);
            }
            if !self.see()? {
                return Ok(false);
            }
            if self.judge()? {
                return Ok(true);
            }
        }
    }

    /// The survivor it stands on.
    ///
    /// # Panics
    ///
    /// Unless the last [`Survivors::advance`] returned `true`.
    pub fn entry(&self) -> Entry<'_> {
        let entry = || self.cursor.entry().expect("the cursor stays where advance() left it");
        match self.standing {
            Standing::OnCursor { seqno } => Entry { seqno, ..entry() },
            Standing::OnDeleted => Entry { kind: ValueKind::Delete, ..entry() },
            Standing::OnHeld => {
                let held = self.at_held.as_ref().expect("it stands on it");
                Entry { key: &self.key, seqno: held.seqno, kind: held.kind }
            }
            Standing::Before | Standing::After => panic!("a stream yields entries after advance() only"),
        }
    }

    /// The stored value of the survivor it stands on, empty on nothing, and the checksum that goes with it, if one does,
    /// whatever number it is written with; the survivor was just held against that.
    ///
    /// # Errors
    ///
    /// As [`Cursor::checked_value`]: the job must be given up.
    pub fn checked_value(&self) -> Result<CheckedValue<'_>> {
        match (self.standing, &self.at_held) {
            (Standing::OnCursor { .. }, _) => self.cursor.checked_value(),
            (Standing::OnHeld, Some(held)) => Ok((&held.value, held.checksum)),
            _ => Ok((&[], None)),
        }
    }

    /// Whether the survivor it stands on is the first of its key.
    pub fn is_new_key(&self) -> bool {
        self.is_first_of_key
    }

    /// What was left out so far.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// The read floor of the job, whose newest version is `last`, if it changed the past so far: a view below it may see
    /// less, or more.
    pub fn read_floor(&self, last: Seqno) -> Option<Seqno> {
        let views = &self.job.views;
        if self.changed.is_filtered {
            return Some(views.visible());
        }
        // A range tombstone of a table that the job does not read may have hidden something.
        let last = last.max(self.job.ranges.newest());
        (self.dropped.entries > 0 || self.changed.is_rewritten).then(|| views.read_floor(last))
    }

    /// Looks at the version under the cursor; `false` if there is none.
    fn see(&mut self) -> Result<bool> {
        let Some(entry) = self.cursor.entry() else { return Ok(false) };
        if self.last_seen.is_none() || self.key != entry.key {
            let is_in_order = || self.last_seen.is_none() || self.job.order.is_less(&self.key, entry.key);
            debug_assert!(is_in_order(), "keys come in order");
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            self.newer = None;
            self.is_dead = false;
            self.has_survivor = false;
        } else if self.last_seen.is_some_and(|(last, _)| last <= entry.seqno) {
            // Each table is in order, so two have it: the manifest names what was never written together.
            let message = format!("two tables hold version {} of a key", entry.seqno);
            let key = Bound::Included(Vec::from(entry.key));
            return Err(Error::new(ErrorKind::Corruption, message).over_keys((key.clone(), key)));
        }
        self.last_seen = Some((entry.seqno, entry.kind));
        Ok(true)
    }

    /// Decides on the version under the cursor. `true` if it survives and stays under it; else the cursor has moved on,
    /// and what survives is held.
    fn judge(&mut self) -> Result<bool> {
        let (seqno, kind) = self.last_seen.expect("it was seen");
        // Of a range tombstone only the first key is dead.
        if self.is_dead && kind != ValueKind::DeleteRange {
            return self.leave_out(kind);
        }
        match kind {
            ValueKind::Merge => return self.judge_operands(),
            ValueKind::DeleteWeak => return self.judge_weak_delete(),
            _ => {}
        }
        let facts = self.facts(seqno, kind, self.expires_at(kind)?)?;
        match fate(facts, self.newer, Below::Elsewhere, &self.job.views) {
            fate @ (Fate::Keep | Fate::KeepTimeless) => self.keep(seqno, kind, fate),
            Fate::KeepAsDelete => {
                self.changed.is_rewritten = true;
                self.note_survivor(seqno, ValueKind::Delete);
                self.standing = Standing::OnDeleted;
                Ok(true)
            }
            Fate::DropRest => {
                self.is_dead = true;
                self.leave_out(kind)
            }
            Fate::Drop => self.leave_out(kind),
            Fate::DropWithPut | Fate::Merge(_) => unreachable!("these are the fates of other kinds"),
        }
    }

    /// What `fate` is told of the version under the cursor.
    #[inline]
    fn facts(&self, seqno: Seqno, kind: ValueKind, expires_at: Option<UnixUs>) -> Result<VersionFacts> {
        let Job { older, ranges, others, .. } = &self.job;
        let mut facts = VersionFacts {
            seqno,
            kind,
            expires_at,
            // Of puts it is not worth a search: where they can be timeless nothing at all lies below.
            may_hide_older: match kind.is_tombstone() || expires_at.is_some() {
                true => older.may_hold(&self.key),
                false => !older.is_none(),
            },
            hidden_by: None,
            is_under_range: false,
        };
        if kind == ValueKind::DeleteRange {
            let tombstone = RangeTombstone::of_version(&self.key, seqno, self.cursor.value_bytes()?);
            // What it hides in the job itself is known only with all tombstones at hand, itself among them.
            facts.may_hide_older |= ranges.is_incomplete() || others.may_hold_hidden(&tombstone);
            facts.hidden_by = ranges.hider_of_range(&self.key, tombstone.end_bound(), seqno);
        } else if !ranges.is_none() {
            facts.hidden_by = ranges.hider(&self.key, seqno);
            facts.is_under_range = ranges.may_lie_over(&self.key);
        }
        Ok(facts)
    }

    /// When the version under the cursor expires, if it does.
    fn expires_at(&self, kind: ValueKind) -> Result<Option<UnixUs>> {
        if !kind.expires() {
            return Ok(None);
        }
        let here = || Bound::Included(self.key.clone());
        expiry::of_version(kind, self.cursor.value_bytes()?)
            .map_err(|why| Error::new(ErrorKind::Corruption, why.0).over_keys((here(), here())))
    }

    /// The version under the cursor survives, unless the filter says otherwise.
    fn keep(&mut self, seqno: Seqno, kind: ValueKind, fate: Fate) -> Result<bool> {
        if kind.is_put() && self.job.filter.is_some() && self.is_shown_to_filter(seqno) {
            match self.filter()? {
                Verdict::Keep => {}
                Verdict::Remove => {
                    let is_seen_by_all = seqno <= self.job.views.oldest();
                    if is_seen_by_all && !self.job.older.may_hold(&self.key) {
                        self.is_dead = true;
                        return self.leave_out(kind);
                    }
                    self.note_survivor(seqno, ValueKind::Delete);
                    self.standing = Standing::OnDeleted;
                    return Ok(true);
                }
                Verdict::RemoveWeak => return self.leave_out(kind),
                Verdict::RemoveUntil(key) => {
                    self.removed_until = Some(key);
                    return self.leave_out(kind);
                }
                Verdict::Replace(value) => {
                    let (kind, value) = match self.expires_at(kind)? {
                        Some(expires_at) => (ValueKind::PutUntil, expiry::stored_value(expires_at, &value)),
                        None => (ValueKind::Put, value),
                    };
                    self.held.push_back(Held { seqno, kind, value: value.into(), checksum: None });
                    self.cursor.next()?;
                    return Ok(false);
                }
            }
        }
        let is_timeless = fate == Fate::KeepTimeless;
        self.changed.is_rewritten |= is_timeless;
        self.is_dead |= is_timeless;
        self.note_survivor(seqno, kind);
        self.standing = Standing::OnCursor { seqno: if is_timeless { Seqno::ZERO } else { seqno } };
        Ok(true)
    }

    /// Whether the version under the cursor is what later views see of its key, and no open snapshot.
    fn is_shown_to_filter(&self, seqno: Seqno) -> bool {
        let is_newest = self.newer.is_none() && !self.has_survivor;
        is_newest && self.job.views.live().last().is_none_or(|&newest| newest < seqno)
    }

    /// What the filter says of the put under the cursor.
    fn filter(&mut self) -> Result<Verdict> {
        let verdict = match &self.removed_until {
            Some(key) if self.job.order.is_less(&self.key, key) => Verdict::RemoveWeak,
            _ => {
                let entry = self.cursor.entry().expect("it was seen");
                let filter = self.job.filter.as_mut().expect("looked for before");
                match ask(&mut **filter, &FilterEntry::new(entry, &self.cursor, self.job.blobs.as_deref())) {
                    // A separated value that is damaged stays: who reads it is told.
                    Err(error) if entry.kind.is_separated() && error.kind() == ErrorKind::Corruption => {
                        Verdict::Keep
                    }
                    answer => answer?,
                }
            }
        };
        self.changed.is_filtered |= verdict != Verdict::Keep;
        Ok(verdict)
    }

    /// A weak delete is decided when what lies below it is known.
    fn judge_weak_delete(&mut self) -> Result<bool> {
        let (facts, held) = self.hold()?;
        let below = self.below(facts.seqno)?;
        match fate(facts, self.newer, below, &self.job.views) {
            Fate::DropWithPut => {
                self.see()?;
                let (put, _) = self.last_seen.expect("it was just seen");
                self.leave_out(ValueKind::Put)?;
                if self.would_show_below(put) {
                    self.held.push_back(Held { kind: ValueKind::Delete, checksum: None, ..held });
                } else {
                    self.note_dropped(facts.kind);
                }
            }
            Fate::DropRest => {
                self.is_dead = true;
                self.note_dropped(facts.kind);
            }
            Fate::Drop => self.note_dropped(facts.kind),
            _ => self.held.push_back(held),
        }
        Ok(false)
    }

    /// Whether something older of the key would show if the version with this number, which the cursor has just left, went
    /// together with its delete.
    fn would_show_below(&self, seqno: Seqno) -> bool {
        match self.cursor.entry().filter(|entry| entry.key == self.key) {
            Some(below) => !below.kind.is_tombstone(),
            None => self.job.older.may_hold(&self.key) && self.job.others.may_hold(&self.key, seqno),
        }
    }

    /// Operands in a row are decided together, when what the last one stands on is known.
    fn judge_operands(&mut self) -> Result<bool> {
        let mut operands: Vec<Held> = Vec::new();
        let (mut ground, mut base) = (None, None);
        loop {
            let (facts, held) = self.hold()?;
            let below = self.below(facts.seqno)?;
            let fate = fate(facts, self.newer, below, &self.job.views);
            if fate == Fate::Drop {
                debug_assert!(operands.is_empty(), "what an operand stands on is not dropped");
                self.note_dropped(facts.kind);
                return Ok(false);
            }
            self.newer = Some(Newer { seqno: held.seqno, kind: held.kind });
            operands.push(held);
            match fate {
                Fate::Merge(Ground::Operand) => {
                    self.see()?;
                    continue;
                }
                Fate::Merge(Ground::Value) => {
                    base = self.base()?;
                    ground = base.as_ref().map(|_| Ground::Value);
                }
                Fate::Merge(Ground::Nothing) => ground = Some(Ground::Nothing),
                _ => {}
            }
            break;
        }
        let count = operands.len();
        let operator = self.job.operator.as_deref();
        let left = chain::resolve(operator, &self.key, operands, ground, base.as_deref());
        self.dropped.entries += (count - left.len()) as u64;
        self.changed.is_rewritten |=
            left.iter().any(|held| held.kind != ValueKind::Merge) || left.len() < count;
        self.newer = left.last().map(|last| Newer { seqno: last.seqno, kind: last.kind });
        self.held.extend(left);
        Ok(false)
    }

    /// The value under the cursor, which operands stand on; `None` of a separated one that is damaged: the operands stay,
    /// and who reads them is told why.
    fn base(&self) -> Result<Option<Slice>> {
        let (stored, _) = self.cursor.checked_value()?;
        let kind = self.cursor.entry().map_or(ValueKind::Put, |entry| entry.kind);
        match value_apart(&self.key, kind, stored, self.job.blobs.as_deref()) {
            Ok(None) => Ok(Some(Slice::from(stored))),
            Err(error) if error.kind() == ErrorKind::Corruption => Ok(None),
            read => read,
        }
    }

    /// Takes the version under the cursor, with what `fate` is told of it, and moves on.
    fn hold(&mut self) -> Result<(VersionFacts, Held)> {
        let (seqno, kind) = self.last_seen.expect("it was seen");
        let facts = self.facts(seqno, kind, None)?;
        let (value, checksum) = self.cursor.checked_value()?;
        let held = Held { seqno, kind, value: value.into(), checksum };
        self.cursor.next()?;
        Ok((facts, held))
    }

    /// What lies right below a version of the key that the cursor has just left.
    fn below(&self, seqno: Seqno) -> Result<Below> {
        let Job { older, ranges, .. } = &self.job;
        if ranges.is_incomplete() {
            return Ok(Below::Elsewhere); // A range tombstone may lie between.
        }
        match self.cursor.entry().filter(|entry| entry.key == self.key) {
            Some(below) => {
                let is_hidden = ranges.hider(&self.key, below.seqno).is_some_and(|hider| hider < seqno);
                let (kind, expires_at) = (below.kind, self.expires_at(below.kind)?);
                Ok(if is_hidden {
                    Below::Nothing
                } else {
                    Below::Version { seqno: below.seqno, kind, expires_at }
                })
            }
            // Whatever lies outside of the job may be newer than a range tombstone.
            None if older.may_hold(&self.key) => Ok(Below::Elsewhere),
            None => Ok(Below::Nothing),
        }
    }

    /// The version under the cursor does not survive.
    fn leave_out(&mut self, kind: ValueKind) -> Result<bool> {
        self.note_dropped(kind);
        self.cursor.next()?;
        Ok(false)
    }

    fn note_dropped(&mut self, kind: ValueKind) {
        self.dropped.entries += 1;
        self.dropped.tombstones += u64::from(kind.is_tombstone());
    }

    fn note_survivor(&mut self, seqno: Seqno, kind: ValueKind) {
        self.newer = Some(Newer { seqno, kind });
        self.is_first_of_key = !self.has_survivor;
        self.has_survivor = true;
    }
}

#[cfg(test)]
mod tests;
