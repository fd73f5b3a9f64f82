//! Visibility and bounds: what a view sees of a merged cursor, from both ends.

use super::{Cursor, Entry};
use crate::{
    error::{Error, ErrorKind, KeyBounds, Result},
    key::{InternalKey, ValueKind},
    types::{Seqno, Slice},
};
use alloc::{format, vec::Vec};
use core::ops::Bound;

/// Steps over versions of one key before seeking behind them instead.
const MAX_STEPS: usize = 8;

/// Entries that a view sees, in key order, from both ends; they meet without repeating.
///
/// The two ends have a cursor each, made when the end is first used. An error stands for a range of keys: it
/// is given out once, and the end goes on behind that range in all sources, so that no older value shows.
/// Errors of keys that are not asked for, or not any more, are not given out.
pub struct VisibleScan<M> {
    make: M,
    at: Seqno,
    /// The range asked for.
    range: KeyBounds,
    /// What is left between the two ends.
    left: KeyBounds,
    front: End,
    back: End,
}

#[derive(Default)]
struct End {
    cursor: Option<alloc::boxed::Box<dyn Cursor>>,
    /// The cursor stands where `left` says that this end is.
    is_placed: bool,
    /// An error was given out that stands for all that this end could reach; until this end seeks.
    is_lost: bool,
    /// Where this end was when an error sent it back to where it was: a second time would be for ever.
    sent_back_at: Option<Bound<Vec<u8>>>,
}

impl End {
    fn displace(&mut self) {
        self.is_placed = false;
        self.is_lost = false;
        self.sent_back_at = None;
    }
}

/// An entry given out. The value is empty if it was not asked for.
pub type Item = (Slice, Slice);

impl<M: Fn() -> alloc::boxed::Box<dyn Cursor>> VisibleScan<M> {
    /// What a view at `at` sees in `range` of the cursors that `make` makes.
    pub fn new(make: M, at: Seqno, range: KeyBounds) -> VisibleScan<M> {
        VisibleScan { make, at, left: range.clone(), range, front: End::default(), back: End::default() }
    }

    /// Moves the front to the first key `>= key`, inside the range and before the back.
    pub fn seek(&mut self, key: &[u8]) {
        self.left.0 = greater_low(&self.range.0, key);
        self.front.displace();
    }

    /// Moves the back to the last key `<= key`, inside the range and behind the front.
    pub fn seek_back(&mut self, key: &[u8]) {
        self.left.1 = lesser_high(&self.range.1, key);
        self.back.displace();
    }

    /// The next entry from the front. `with_value`: else the value stays empty and is not touched.
    pub fn next(&mut self, with_value: bool) -> Option<Result<Item>> {
        while !self.front.is_lost {
            match self.find_next(with_value)? {
                Ok((key, value)) => {
                    self.left.0 = Bound::Excluded(key.to_vec());
                    return Some(Ok((key, value)));
                }
                Err(error) => match self.pass_in_front(error) {
                    Passed::Harmed(error) => return Some(Err(error)),
                    Passed::Harmless => {}
                    Passed::OutOfReach => return None,
                },
            }
        }
        None
    }

    /// Moves the front behind what an error stands for.
    fn pass_in_front(&mut self, error: Error) -> Passed {
        self.front.is_placed = false;
        let Some((low, high)) = error.keys() else {
            self.front.is_lost = true;
            return Passed::Harmed(error);
        };
        if is_between_empty(low, &self.left.1) || self.is_nothing_left() {
            return Passed::OutOfReach;
        }
        if is_between_empty(&self.left.0, high) {
            if self.front.sent_back_at.as_ref() != Some(&self.left.0) {
                self.front.sent_back_at = Some(self.left.0.clone());
                return Passed::Harmless;
            }
            self.front.is_lost = true;
            return Passed::Harmed(error.over_keys(self.left.clone()));
        }
        match high {
            Bound::Included(key) => self.left.0 = Bound::Excluded(key.clone()),
            Bound::Excluded(key) => self.left.0 = Bound::Included(key.clone()),
            Bound::Unbounded => self.front.is_lost = true,
        }
        Passed::Harmed(error)
    }

    fn find_next(&mut self, with_value: bool) -> Option<Result<Item>> {
        let End { cursor, is_placed, .. } = &mut self.front;
        let must_place = !core::mem::replace(is_placed, true);
        let cursor = cursor.get_or_insert_with(&self.make).as_mut();
        if must_place && let Err(error) = place_front(cursor, &self.left.0) {
            return Some(Err(error));
        }
        loop {
            // Over the versions of the key that was decided last, and those of keys already given out.
            if let Bound::Excluded(done) = &self.left.0
                && let Err(error) = skip_key(cursor, done)
            {
                return Some(Err(error));
            }
            let entry = cursor.entry()?;
            if !is_below(entry.key, &self.left.1) {
                return None;
            }
            if entry.seqno > self.at {
                let key = Vec::from(entry.key);
                if let Err(error) = cursor.seek(InternalKey { key: &key, seqno: self.at }) {
                    return Some(Err(error));
                }
                continue;
            }
            match resolve(entry) {
                Ok(true) => {
                    let key = Slice::from(entry.key);
                    let value = if with_value { cursor.value() } else { Ok(Slice::EMPTY) };
                    return Some(value.map(|value| (key, value)));
                }
                Ok(false) => self.left.0 = Bound::Excluded(entry.key.into()),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn is_nothing_left(&self) -> bool {
        is_between_empty(&self.left.0, &self.left.1)
    }

    /// The next entry from the back. `with_value` as in [`VisibleScan::next`].
    pub fn next_back(&mut self, with_value: bool) -> Option<Result<Item>> {
        while !self.back.is_lost {
            match self.find_next_back(with_value)? {
                Ok((key, value)) => {
                    self.left.1 = Bound::Excluded(key.to_vec());
                    return Some(Ok((key, value)));
                }
                Err(error) => match self.pass_at_back(error) {
                    Passed::Harmed(error) => return Some(Err(error)),
                    Passed::Harmless => {}
                    Passed::OutOfReach => return None,
                },
            }
        }
        None
    }

    /// Moves the back before what an error stands for.
    fn pass_at_back(&mut self, error: Error) -> Passed {
        self.back.is_placed = false;
        let Some((low, high)) = error.keys() else {
            self.back.is_lost = true;
            return Passed::Harmed(error);
        };
        if is_between_empty(&self.left.0, high) || self.is_nothing_left() {
            return Passed::OutOfReach;
        }
        if is_between_empty(low, &self.left.1) {
            if self.back.sent_back_at.as_ref() != Some(&self.left.1) {
                self.back.sent_back_at = Some(self.left.1.clone());
                return Passed::Harmless;
            }
            self.back.is_lost = true;
            return Passed::Harmed(error.over_keys(self.left.clone()));
        }
        match low {
            Bound::Included(key) => self.left.1 = Bound::Excluded(key.clone()),
            Bound::Excluded(key) => self.left.1 = Bound::Included(key.clone()),
            Bound::Unbounded => self.back.is_lost = true,
        }
        Passed::Harmed(error)
    }

    fn find_next_back(&mut self, with_value: bool) -> Option<Result<Item>> {
        let End { cursor, is_placed, .. } = &mut self.back;
        let must_place = !core::mem::replace(is_placed, true);
        let cursor = cursor.get_or_insert_with(&self.make).as_mut();
        if must_place && let Err(error) = place_back(cursor, &self.left.1) {
            return Some(Err(error));
        }
        loop {
            // Versions come oldest first: the last one that the view sees decides.
            let key = Vec::from(cursor.entry()?.key);
            if !is_above(&key, &self.left.0) {
                return None;
            }
            let mut newest = None;
            while let Some(entry) = cursor.entry().filter(|entry| entry.key == key) {
                if entry.seqno <= self.at {
                    newest = Some(resolve(entry).and_then(|is_put| match (is_put, with_value) {
                        (true, true) => cursor.value().map(Some),
                        (true, false) => Ok(Some(Slice::EMPTY)),
                        (false, _) => Ok(None),
                    }));
                }
                if let Err(error) = cursor.prev() {
                    let stands_for_key = error.keys().is_none_or(|(_, high)| is_below(&key, high));
                    if stands_for_key || !matches!(newest, Some(Ok(Some(_)))) {
                        return Some(Err(error));
                    }
                    // All versions of this key were read. The error comes again when the end goes on.
                    *is_placed = false;
                    break;
                }
            }
            match newest {
                Some(Ok(Some(value))) => return Some(Ok((Slice::from(key), value))),
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(None)) | None => {}
            }
        }
    }
}

/// What an error of a cursor means for an end of a scan.
enum Passed {
    /// Keys that were left: it is given out, with the range that was passed over.
    Harmed(Error),
    /// Only keys that this end has behind it, say older versions of the key given out last.
    Harmless,
    /// Only keys that the scan does not come to: nothing is left.
    OutOfReach,
}

/// Whether the newest version that a view sees is a value.
///
/// # Errors
///
/// Its kind needs what this build lacks; the error stands for this key.
pub fn resolve(entry: Entry<'_>) -> Result<bool> {
    match entry.kind {
        ValueKind::Put => Ok(true),
        ValueKind::Delete | ValueKind::DeleteWeak => Ok(false),
        ValueKind::Merge | ValueKind::BlobPointer | ValueKind::PutUntil | ValueKind::Cells => {
            let here = || Bound::Included(Vec::from(entry.key));
            let message = format!("an entry of kind {:?} needs a later version of this program", entry.kind);
            Err(Error::new(ErrorKind::UnsupportedFeature, message).over_keys((here(), here())))
        }
    }
}

fn place_front(cursor: &mut dyn Cursor, low: &Bound<Vec<u8>>) -> Result<()> {
    match low {
        Bound::Unbounded => cursor.seek_first(),
        Bound::Included(key) => cursor.seek(InternalKey::first_of(key)),
        Bound::Excluded(key) => {
            // The least key behind it, so that no block is touched that holds versions of `key` only.
            cursor.seek(InternalKey::first_of(&successor(key)))
        }
    }
}

fn place_back(cursor: &mut dyn Cursor, high: &Bound<Vec<u8>>) -> Result<()> {
    match high {
        Bound::Unbounded => cursor.seek_last(),
        Bound::Included(key) => cursor.seek_back(InternalKey::last_of(key)),
        // A key that ends with a zero has another right before it: no block is touched that begins behind
        // that.
        Bound::Excluded(key) if key.last() == Some(&0) => {
            cursor.seek_back(InternalKey::last_of(&key[..key.len() - 1]))
        }
        Bound::Excluded(key) => {
            cursor.seek_back(InternalKey::first_of(key))?;
            while cursor.entry().is_some_and(|entry| entry.key == key) {
                cursor.prev()?;
            }
            Ok(())
        }
    }
}

/// Moves forward over the versions of `key` that the cursor stands before.
fn skip_key(cursor: &mut dyn Cursor, key: &[u8]) -> Result<()> {
    let mut steps = 0;
    while cursor.entry().is_some_and(|entry| entry.key == key) {
        if steps == MAX_STEPS {
            cursor.seek(InternalKey::last_of(key))?;
        } else {
            cursor.next()?;
        }
        steps += 1;
    }
    Ok(())
}

fn is_below(key: &[u8], high: &Bound<Vec<u8>>) -> bool {
    match high {
        Bound::Included(high) => key <= &high[..],
        Bound::Excluded(high) => key < &high[..],
        Bound::Unbounded => true,
    }
}

fn is_above(key: &[u8], low: &Bound<Vec<u8>>) -> bool {
    match low {
        Bound::Included(low) => key >= &low[..],
        Bound::Excluded(low) => key > &low[..],
        Bound::Unbounded => true,
    }
}

/// The greater of a lower bound and "from `key` on".
fn greater_low(low: &Bound<Vec<u8>>, key: &[u8]) -> Bound<Vec<u8>> {
    if is_above(key, low) { Bound::Included(key.into()) } else { low.clone() }
}

/// The lesser of an upper bound and "up to and with `key`".
fn lesser_high(high: &Bound<Vec<u8>>, key: &[u8]) -> Bound<Vec<u8>> {
    if is_below(key, high) { Bound::Included(key.into()) } else { high.clone() }
}

/// Whether no key can lie between a lower and an upper bound.
fn is_between_empty(low: &Bound<Vec<u8>>, high: &Bound<Vec<u8>>) -> bool {
    let least = match low {
        Bound::Unbounded => Vec::new(),
        Bound::Included(low) => low.clone(),
        Bound::Excluded(low) => successor(low),
    };
    !is_below(&least, high)
}

/// The least key behind a key.
fn successor(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

#[cfg(test)]
mod tests;
