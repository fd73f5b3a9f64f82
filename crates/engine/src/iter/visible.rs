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
/// The two ends have a cursor each, made when the end is first used. An error stands for a range of keys: it is
/// given out once, and the end goes on behind that range in all sources, so that no older value shows.
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
    /// Nothing more will come from here until a seek.
    is_exhausted: bool,
}

impl End {
    fn cursor(&mut self, make: &impl Fn() -> alloc::boxed::Box<dyn Cursor>) -> &mut dyn Cursor {
        self.cursor.get_or_insert_with(make)
    }

    fn displace(&mut self) {
        self.is_placed = false;
        self.is_exhausted = false;
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
        if self.front.is_exhausted {
            return None;
        }
        let found = self.find_next(with_value);
        match &found {
            None => self.front.is_exhausted = true,
            Some(Ok((key, _))) => self.left.0 = Bound::Excluded(key.to_vec()),
            Some(Err(error)) => {
                // Behind the range that the error stands for, or nowhere.
                let behind = match error.keys().map(|(_, high)| high) {
                    Some(Bound::Included(key)) => Bound::Excluded(key.clone()),
                    Some(Bound::Excluded(key)) => Bound::Included(key.clone()),
                    Some(Bound::Unbounded) | None => Bound::Unbounded,
                };
                self.front.is_placed = false;
                self.front.is_exhausted = !is_low_raised(&self.left.0, &behind);
                if !self.front.is_exhausted {
                    self.left.0 = behind;
                }
            }
        }
        found
    }

    fn find_next(&mut self, with_value: bool) -> Option<Result<Item>> {
        let must_place = !core::mem::replace(&mut self.front.is_placed, true);
        let cursor = self.front.cursor(&self.make);
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
                    return Some(Ok((key, if with_value { cursor.value() } else { Slice::EMPTY })));
                }
                Ok(false) => self.left.0 = Bound::Excluded(entry.key.into()),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next entry from the back. `with_value` as in [`VisibleScan::next`].
    pub fn next_back(&mut self, with_value: bool) -> Option<Result<Item>> {
        if self.back.is_exhausted {
            return None;
        }
        let found = self.find_next_back(with_value);
        match &found {
            None => self.back.is_exhausted = true,
            Some(Ok((key, _))) => self.left.1 = Bound::Excluded(key.to_vec()),
            Some(Err(error)) => {
                let before = match error.keys().map(|(low, _)| low) {
                    Some(Bound::Included(key)) => Bound::Excluded(key.clone()),
                    Some(Bound::Excluded(key)) => Bound::Included(key.clone()),
                    Some(Bound::Unbounded) | None => Bound::Unbounded,
                };
                self.back.is_placed = false;
                self.back.is_exhausted = !is_high_lowered(&self.left.1, &before);
                if !self.back.is_exhausted {
                    self.left.1 = before;
                }
            }
        }
        found
    }

    fn find_next_back(&mut self, with_value: bool) -> Option<Result<Item>> {
        let must_place = !core::mem::replace(&mut self.back.is_placed, true);
        let cursor = self.back.cursor(&self.make);
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
                    newest = Some(resolve(entry).map(|is_put| {
                        is_put.then(|| if with_value { cursor.value() } else { Slice::EMPTY })
                    }));
                }
                if let Err(error) = cursor.prev() {
                    return Some(Err(error));
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
        Bound::Excluded(key) => cursor.seek(InternalKey::last_of(key)),
    }
}

fn place_back(cursor: &mut dyn Cursor, high: &Bound<Vec<u8>>) -> Result<()> {
    match high {
        Bound::Unbounded => cursor.seek_last(),
        Bound::Included(key) => cursor.seek_back(InternalKey::last_of(key)),
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

/// Whether a lower bound leaves out more than before, so that going on makes progress.
fn is_low_raised(before: &Bound<Vec<u8>>, after: &Bound<Vec<u8>>) -> bool {
    match (before, after) {
        (_, Bound::Unbounded) => false,
        (Bound::Unbounded, _) => true,
        (Bound::Included(a), Bound::Excluded(b)) => a <= b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a < b,
    }
}

/// Whether an upper bound leaves out more than before.
fn is_high_lowered(before: &Bound<Vec<u8>>, after: &Bound<Vec<u8>>) -> bool {
    match (before, after) {
        (_, Bound::Unbounded) => false,
        (Bound::Unbounded, _) => true,
        (Bound::Included(a), Bound::Excluded(b)) => a >= b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a > b,
    }
}
