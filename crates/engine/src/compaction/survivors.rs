//! The stream of versions that a job has to write: a merged cursor less what [`fate`] drops.
//!
//! Decides nothing itself. Remembers one version: memory does not grow with the number of versions of a key.

use super::{
    fate::{Fate, Newer, VersionFacts, Views, fate},
    older::OlderData,
};
use crate::{
    error::{Error, ErrorKind, Result},
    iter::{Cursor, Entry},
    types::Seqno,
};
use alloc::{format, vec::Vec};
use core::ops::Bound;

/// A forward pass over what survives of a cursor's versions, in the cursor's order.
///
/// New ones stand on nothing; [`Survivors::advance`] moves to the first survivor, then to the next.
pub struct Survivors<C> {
    cursor: C,
    views: Views,
    older: OlderData,
    /// User key of the last version seen; meaningless before the first.
    key: Vec<u8>,
    /// The last version seen, of `key`.
    newer: Option<Newer>,
    /// Whether the rest of `key` is to be dropped.
    is_dead: bool,
    /// Whether a version of `key` survived.
    has_survivor: bool,
    /// Whether the survivor it stands on is the first of its key.
    is_first_of_key: bool,
    /// Whether it is written with number 0.
    is_timeless: bool,
    /// Whether any was.
    has_timeless: bool,
    position: Position,
    dropped: Dropped,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Position {
    Before,
    OnSurvivor,
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

impl<C: Cursor> Survivors<C> {
    /// The survivors of all entries of `cursor`, which may stand anywhere.
    ///
    /// `older` says which keys may have older versions that `cursor` does not yield.
    pub fn new(cursor: C, views: Views, older: OlderData) -> Survivors<C> {
        Survivors {
            cursor,
            views,
            older,
            key: Vec::new(),
            newer: None,
            is_dead: false,
            has_survivor: false,
            is_first_of_key: false,
            is_timeless: false,
            has_timeless: false,
            position: Position::Before,
            dropped: Dropped::default(),
        }
    }

    /// To the next survivor; `false` behind the last one.
    ///
    /// # Errors
    ///
    /// Those of the cursor, and `Corruption` if it yields a version twice. The stream is then over: what
    /// follows is unknown, so the job must be given up.
    pub fn advance(&mut self) -> Result<bool> {
        let moved = match self.position {
            Position::Before => self.cursor.seek_first(),
            Position::OnSurvivor => self.cursor.next(),
            Position::After => return Ok(false),
        };
        self.position = Position::After;
        moved?;
        while let Some(fate) = self.judge()? {
            if matches!(fate, Fate::Keep | Fate::KeepTimeless) {
                self.position = Position::OnSurvivor;
                return Ok(true);
            }
            self.cursor.next()?;
        }
        Ok(false)
    }

    /// The survivor it stands on.
    ///
    /// # Panics
    ///
    /// Unless the last [`Survivors::advance`] returned `true`.
    pub fn entry(&self) -> Entry<'_> {
        assert_eq!(self.position, Position::OnSurvivor, "a stream yields entries after advance() only");
        let entry = self.cursor.entry().expect("the cursor stays where advance() left it");
        if self.is_timeless { Entry { seqno: Seqno::ZERO, ..entry } } else { entry }
    }

    /// The stored value of the survivor it stands on; empty on nothing.
    ///
    /// # Errors
    ///
    /// As [`Cursor::value_bytes`]: the job must be given up.
    pub fn value_bytes(&self) -> Result<&[u8]> {
        match self.position {
            Position::OnSurvivor => self.cursor.value_bytes(),
            Position::Before | Position::After => Ok(&[]),
        }
    }

    /// Whether the survivor it stands on is the first of its key.
    pub fn is_new_key(&self) -> bool {
        self.position == Position::OnSurvivor && self.is_first_of_key
    }

    /// What was left out so far.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Whether something was left out or made timeless so far: a view of the past may see less, or more.
    pub fn has_changed_the_past(&self) -> bool {
        self.dropped.entries > 0 || self.has_timeless
    }

    /// Decides on the entry under the cursor and remembers it; `None` if there is no entry.
    fn judge(&mut self) -> Result<Option<Fate>> {
        let Some(entry) = self.cursor.entry() else { return Ok(None) };
        if self.newer.is_none() || self.key != entry.key {
            debug_assert!(self.newer.is_none() || &self.key[..] < entry.key, "keys come in order");
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            self.newer = None;
            self.is_dead = false;
            self.has_survivor = false;
        }
        if self.newer.is_some_and(|newer| newer.seqno <= entry.seqno) {
            // Each table is in order, so two have it: the manifest names what was never written together.
            let message = format!("two tables hold version {} of a key", entry.seqno);
            let key = Bound::Included(Vec::from(entry.key));
            return Err(Error::new(ErrorKind::Corruption, message).over_keys((key.clone(), key)));
        }

        let fate = if self.is_dead {
            Fate::DropRest
        } else {
            // Of puts it is not worth a search: where they can be timeless nothing at all lies below.
            let may_hide_older = match entry.kind.is_tombstone() {
                true => self.older.may_hold(entry.key),
                false => !self.older.is_none(),
            };
            fate(
                VersionFacts { seqno: entry.seqno, kind: entry.kind, may_hide_older },
                self.newer,
                &self.views,
            )
        };
        self.newer = Some(Newer { seqno: entry.seqno, kind: entry.kind });
        match fate {
            Fate::Keep | Fate::KeepTimeless => {
                self.is_first_of_key = !self.has_survivor;
                self.has_survivor = true;
                self.is_timeless = fate == Fate::KeepTimeless;
                self.is_dead = self.is_timeless;
                self.has_timeless |= self.is_timeless;
            }
            Fate::Drop | Fate::DropRest => {
                self.is_dead = fate == Fate::DropRest;
                self.dropped.entries += 1;
                self.dropped.tombstones += u64::from(entry.kind.is_tombstone());
            }
        }
        Ok(Some(fate))
    }
}

#[cfg(test)]
mod tests;
