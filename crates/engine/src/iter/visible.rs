//! Visibility and bounds: what a view sees of a merged cursor, from both ends.

use super::{
    Cursor,
    sight::{Answer, Sight},
};
use crate::{
    error::{Error, KeyBounds, Result},
    key::InternalKey,
    order::KeyOrder,
    range_tombstone::{HiddenNear, successor},
    types::{Seqno, Slice},
};
use alloc::vec::Vec;
use core::ops::Bound;

/// Steps over versions of one key before seeking behind them instead.
const MAX_STEPS: usize = 8;

/// Entries that a view sees, in key order, from both ends; they meet without repeating.
///
/// The two ends have a cursor each, made when the end is first used. An error stands for a range of keys: it
/// is given out once, and the end goes on behind that range in all sources, so that no older value shows.
/// Errors of keys that are not asked for, or not any more, are not given out.
pub struct VisibleScan<M, C> {
    make: M,
    sight: Sight,
    /// The range asked for.
    range: KeyBounds,
    /// What is left between the two ends.
    left: KeyBounds,
    front: End<C>,
    back: End<C>,
}

struct End<C> {
    cursor: Option<C>,
    /// The cursor stands where `left` says that this end is.
    is_placed: bool,
    /// It stands on the entry that was given out last.
    is_on_last: bool,
    /// An error was given out that stands for all that this end could reach; until this end seeks.
    is_lost: bool,
    /// Where this end was when an error sent it back to where it was: a second time would be for ever.
    sent_back_at: Option<Bound<Vec<u8>>>,
    /// What is hidden around the key it was at last.
    hidden: HiddenNear,
    /// The key whose versions it goes over, backwards.
    key: Vec<u8>,
}

impl<C> End<C> {
    fn of(sight: &Sight) -> End<C> {
        End {
            cursor: None,
            is_placed: false,
            is_on_last: false,
            is_lost: false,
            sent_back_at: None,
            hidden: HiddenNear::new(sight.hidden.clone()),
            key: Vec::new(),
        }
    }

    fn displace(&mut self) {
        self.is_placed = false;
        self.is_on_last = false;
        self.is_lost = false;
        self.sent_back_at = None;
    }
}

/// An entry given out. The value is empty if it was not asked for.
pub type Item = (Slice, Slice);

impl<C: Cursor, M: Fn() -> C> VisibleScan<M, C> {
    /// What a view sees in `range` of the cursors that `make` makes.
    pub fn new(make: M, sight: Sight, range: KeyBounds) -> VisibleScan<M, C> {
        let (front, back) = (End::of(&sight), End::of(&sight));
        VisibleScan { make, sight, left: range.clone(), range, front, back }
    }

    /// Moves the front to the first key `>= key`, inside the range and before the back.
    pub fn seek(&mut self, key: &[u8]) {
        self.left.0 = greater_low(&self.sight.order, &self.range.0, key);
        self.front.displace();
    }

    /// Moves the back to the last key `<= key`, inside the range and behind the front.
    pub fn seek_back(&mut self, key: &[u8]) {
        self.left.1 = lesser_high(&self.sight.order, &self.range.1, key);
        self.back.displace();
    }

    /// The next entry from the front. `with_value`: else the value stays empty and is not touched.
    pub fn next(&mut self, with_value: bool) -> Option<Result<Item>> {
        while !self.front.is_lost {
            match self.find_next(with_value)? {
                Ok(item) => return Some(Ok(item)),
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
        if is_between_empty(&self.sight.order, low, &self.left.1) || self.is_nothing_left() {
            return Passed::OutOfReach;
        }
        if is_between_empty(&self.sight.order, &self.left.0, high) {
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
        let End { cursor, is_placed, is_on_last, hidden, .. } = &mut self.front;
        let (must_place, must_step) = (!core::mem::replace(is_placed, true), core::mem::take(is_on_last));
        let cursor = cursor.get_or_insert_with(&self.make);
        let order = &self.sight.order;
        let moved = match (must_place, must_step) {
            (true, _) => place_front(order, cursor, &self.left.0),
            (false, true) => cursor.next(),
            (false, false) => Ok(()),
        };
        if let Err(error) = moved {
            return Some(Err(error));
        }
        let at = self.sight.at.seqno;
        let mut steps = 0;
        loop {
            let entry = cursor.entry()?;
            // Over the versions of the key that was decided last, and those of keys already given out.
            if let Bound::Excluded(done) = &self.left.0
                && entry.key == done
            {
                if let Err(error) = skip_version(cursor, done, &mut steps) {
                    return Some(Err(error));
                }
                continue;
            }
            if !order.is_below(entry.key, as_slice(&self.left.1)) {
                return None;
            }
            if entry.seqno > at {
                let key = Vec::from(entry.key);
                // In disorder it might lead here for ever.
                let sought = order.check().and_then(|()| cursor.seek(InternalKey { key: &key, seqno: at }));
                if let Err(error) = sought {
                    return Some(Err(error));
                }
                continue;
            }
            match self.sight.answer(cursor, entry, hidden.below(entry.key), with_value) {
                Ok(Answer::Value(value)) => {
                    exclude(&mut self.left.0, entry.key);
                    *is_on_last = true;
                    return Some(Ok((Slice::from(entry.key), value)));
                }
                Ok(Answer::Nothing) => {
                    exclude(&mut self.left.0, entry.key);
                    steps = 0;
                }
                Ok(Answer::Operands) => {
                    let key = Vec::from(entry.key);
                    let below = hidden.below(&key);
                    let merged = merge_forward(&self.sight, cursor, &key, below, is_placed);
                    return Some(merged.map(|value| {
                        exclude(&mut self.left.0, &key);
                        (Slice::from(key), value)
                    }));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn is_nothing_left(&self) -> bool {
        is_between_empty(&self.sight.order, &self.left.0, &self.left.1)
    }

    /// The next entry from the back. `with_value` as in [`VisibleScan::next`].
    pub fn next_back(&mut self, with_value: bool) -> Option<Result<Item>> {
        while !self.back.is_lost {
            match self.find_next_back(with_value)? {
                Ok(item) => return Some(Ok(item)),
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
        if is_between_empty(&self.sight.order, &self.left.0, high) || self.is_nothing_left() {
            return Passed::OutOfReach;
        }
        if is_between_empty(&self.sight.order, low, &self.left.1) {
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
        let End { cursor, is_placed, hidden, key, .. } = &mut self.back;
        let must_place = !core::mem::replace(is_placed, true);
        let cursor = cursor.get_or_insert_with(&self.make);
        let order = &self.sight.order;
        if must_place && let Err(error) = place_back(order, cursor, &self.left.1) {
            return Some(Err(error));
        }
        loop {
            // Versions come oldest first: the last one that the view sees decides.
            key.clear();
            key.extend_from_slice(cursor.entry()?.key);
            if !order.is_above(key, as_slice(&self.left.0)) {
                return None;
            }
            let below = hidden.below(key);
            let mut chain = Chain::default();
            while let Some(entry) = cursor.entry().filter(|entry| entry.key == *key) {
                if entry.seqno <= self.sight.at.seqno {
                    chain.add_newer(self.sight.answer(cursor, entry, below, with_value), || cursor.value());
                }
                if let Err(error) = cursor.prev() {
                    let stands_for_key =
                        error.keys().is_none_or(|(_, high)| order.is_below(key, as_slice(high)));
                    if stands_for_key || !chain.is_value() {
                        return Some(Err(error));
                    }
                    // All versions of this key were read. The error comes again when the end goes on.
                    *is_placed = false;
                    break;
                }
            }
            match chain.value(&self.sight, key, with_value) {
                Ok(Some(value)) => {
                    exclude(&mut self.left.1, key);
                    return Some(Ok((Slice::from(&key[..]), value)));
                }
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The value of a key whose operand a cursor stands on: all versions from there down to what they stand on.
fn merge_forward(
    sight: &Sight,
    cursor: &mut impl Cursor,
    key: &[u8],
    below: Seqno,
    is_placed: &mut bool,
) -> Result<Slice> {
    let mut operands = Vec::new();
    let mut base = None;
    while let Some(entry) = cursor.entry().filter(|entry| entry.key == key) {
        match sight.answer(cursor, entry, below, true)? {
            Answer::Operands => operands.push(cursor.value()?),
            Answer::Value(value) => {
                base = Some(value);
                break;
            }
            Answer::Nothing => break,
        }
        if let Err(error) = cursor.next() {
            if error.keys().is_none_or(|(low, _)| sight.order.is_above(key, as_slice(low))) {
                return Err(error);
            }
            // All versions of this key were read. The error comes again when the end goes on.
            *is_placed = false;
            break;
        }
    }
    operands.reverse();
    sight.merge(key, base, &operands)
}

/// What versions of one key come to that are told oldest first.
#[derive(Default)]
struct Chain {
    base: Option<Slice>,
    operands: Vec<Slice>,
    /// What the newest so far needs and does not have.
    error: Option<Error>,
}

impl Chain {
    /// Adds a version that is newer than all before.
    fn add_newer(&mut self, answer: Result<Answer>, operand: impl FnOnce() -> Result<Slice>) {
        let added = answer.and_then(|answer| match answer {
            Answer::Operands => operand().map(|operand| self.operands.push(operand)),
            Answer::Value(value) => {
                *self = Chain { base: Some(value), ..Chain::default() };
                Ok(())
            }
            Answer::Nothing => {
                *self = Chain::default();
                Ok(())
            }
        });
        self.error = added.err().or(self.error.take());
    }

    /// Whether the newest so far makes it a value.
    fn is_value(&self) -> bool {
        self.error.is_none() && (self.base.is_some() || !self.operands.is_empty())
    }

    fn value(self, sight: &Sight, key: &[u8], with_value: bool) -> Result<Option<Slice>> {
        if let Some(error) = self.error {
            return Err(error);
        }
        match (self.operands.is_empty(), with_value) {
            (true, _) => Ok(self.base),
            (false, true) => sight.merge(key, self.base, &self.operands).map(Some),
            (false, false) => Ok(Some(Slice::EMPTY)),
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

fn place_front(order: &KeyOrder, cursor: &mut impl Cursor, low: &Bound<Vec<u8>>) -> Result<()> {
    match low {
        Bound::Unbounded => cursor.seek_first(),
        Bound::Included(key) => cursor.seek(InternalKey::first_of(key)),
        // The least key behind it, so that no block is touched that holds versions of `key` only.
        Bound::Excluded(key) if order.is_bytewise() => cursor.seek(InternalKey::first_of(&successor(key))),
        Bound::Excluded(key) => cursor.seek_behind(key),
    }
}

fn place_back(order: &KeyOrder, cursor: &mut impl Cursor, high: &Bound<Vec<u8>>) -> Result<()> {
    match high {
        Bound::Unbounded => cursor.seek_last(),
        Bound::Included(key) => cursor.seek_back(InternalKey::last_of(key)),
        // A key that ends with a zero has another right before it by their bytes: no block is touched that begins
        // behind that.
        Bound::Excluded(key) if order.is_bytewise() && key.last() == Some(&0) => {
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

/// Moves forward from a version of `key`: over it, or after some such steps over all that there may be.
fn skip_version(cursor: &mut impl Cursor, key: &[u8], steps: &mut usize) -> Result<()> {
    *steps += 1;
    if *steps == MAX_STEPS + 1 { cursor.seek(InternalKey::last_of(key)) } else { cursor.next() }
}

/// Makes a key the bound that is next to it, in the memory that the bound has.
fn exclude(bound: &mut Bound<Vec<u8>>, key: &[u8]) {
    match bound {
        Bound::Excluded(last) => {
            last.clear();
            last.extend_from_slice(key);
        }
        _ => *bound = Bound::Excluded(key.into()),
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// The greater of a lower bound and "from `key` on".
fn greater_low(order: &KeyOrder, low: &Bound<Vec<u8>>, key: &[u8]) -> Bound<Vec<u8>> {
    if order.is_above(key, as_slice(low)) { Bound::Included(key.into()) } else { low.clone() }
}

/// The lesser of an upper bound and "up to and with `key`".
fn lesser_high(order: &KeyOrder, high: &Bound<Vec<u8>>, key: &[u8]) -> Bound<Vec<u8>> {
    if order.is_below(key, as_slice(high)) { Bound::Included(key.into()) } else { high.clone() }
}

/// Whether no key can lie between a lower and an upper bound, as far as the order tells.
fn is_between_empty(order: &KeyOrder, low: &Bound<Vec<u8>>, high: &Bound<Vec<u8>>) -> bool {
    let least = match (low, high) {
        (Bound::Included(low), _) => low.clone(),
        (Bound::Unbounded, _) if order.is_bytewise() => Vec::new(),
        (Bound::Excluded(low), _) if order.is_bytewise() => successor(low),
        (Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            return order.is_at_most(high, low);
        }
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => return false,
    };
    !order.is_below(&least, as_slice(high))
}

#[cfg(test)]
mod tests;
