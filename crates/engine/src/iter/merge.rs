//! Merging: many cursors as one.

use super::{CheckedValue, Cursor, Entry};
use crate::{
    error::{Error, Result},
    key::InternalKey,
    order::KeyOrder,
    types::{Seqno, Slice, UnixUs},
};
use alloc::vec::Vec;
use core::{
    cmp::{Ordering, Reverse},
    ops::Bound,
};

/// The entries of several cursors in order. No version may be in two of them.
///
/// A binary heap of the cursors that stand on an entry; a step costs at most two comparisons a level, and one
/// in all while one cursor stays in front.
///
/// An error of a source is given out when the merge comes to the keys that it stands for, so that what other
/// sources have before them is not passed over. One without such keys is given out at once.
pub struct MergeCursor<C> {
    sources: Vec<C>,
    /// Indices of sources that stand on an entry, or failed; the first is the one in front.
    heap: Vec<usize>,
    /// Sources in the heap that failed, and stand on nothing.
    failures: Vec<Failure>,
    /// Place in the heap of the source that is next to the one in front; 0: it was not looked for.
    runner_up: usize,
    direction: Direction,
    order: KeyOrder,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// An error of a source that the merge has not come to.
struct Failure {
    source: usize,
    /// Where its keys begin, in the direction of the merge.
    key: Vec<u8>,
    side: Side,
    error: Error,
}

/// The place of something in the order of versions of one key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    /// Before all versions.
    First,
    /// Where a version is.
    Version(Reverse<Seqno>),
    /// Behind all versions.
    Last,
}

impl Failure {
    /// The error itself if it may stand for any key in the direction.
    fn of(source: usize, error: Error, direction: Direction) -> Result<Failure> {
        let from = match (error.keys(), direction) {
            (None, _) => Bound::Unbounded,
            (Some((low, _)), Direction::Forward) => low.clone(),
            (Some((_, high)), Direction::Backward) => high.clone(),
        };
        let (key, side) = match (from, direction) {
            (Bound::Unbounded, _) => return Err(error),
            (Bound::Included(key), Direction::Forward) => (key, Side::First),
            (Bound::Excluded(key), Direction::Forward) => (key, Side::Last),
            (Bound::Included(key), Direction::Backward) => (key, Side::Last),
            (Bound::Excluded(key), Direction::Backward) => (key, Side::First),
        };
        Ok(Failure { source, key, side, error })
    }
}

impl<C: Cursor> MergeCursor<C> {
    /// Merges `sources`, whose keys are in this order. Stands on nothing.
    pub fn new(sources: Vec<C>, order: &KeyOrder) -> MergeCursor<C> {
        let (heap, failures) = (Vec::with_capacity(sources.len()), Vec::new());
        MergeCursor {
            sources,
            heap,
            failures,
            runner_up: 0,
            direction: Direction::Forward,
            order: order.clone(),
        }
    }

    /// Moves every source and builds the heap anew.
    fn reposition(
        &mut self,
        direction: Direction,
        mut place: impl FnMut(&mut C) -> Result<()>,
    ) -> Result<()> {
        self.clear();
        self.direction = direction;
        for index in 0..self.sources.len() {
            if let Err(error) = place(&mut self.sources[index]) {
                self.note(index, error)?;
            }
            if self.stands(index) {
                self.heap.push(index);
            }
        }
        for root in (0..self.heap.len() / 2).rev() {
            self.sift_down(root);
        }
        self.raise()
    }

    /// Moves the source in front by `step`, in the direction of the merge.
    fn advance(&mut self, step: impl FnOnce(&mut C) -> Result<()>) -> Result<()> {
        let front = self.heap[0];
        if let Err(error) = step(&mut self.sources[front]) {
            self.note(front, error)?;
        }
        if !self.stands(front) {
            self.heap.swap_remove(0);
            self.runner_up = 0;
        }
        self.settle();
        self.raise()
    }

    /// Finds the source in front, after that in its place has moved.
    #[inline]
    fn settle(&mut self) {
        if self.heap.len() < 2 {
            return;
        }
        if self.runner_up == 0 {
            self.runner_up = if self.heap.len() > 2 && self.is_before(2, 1) { 2 } else { 1 };
        }
        let next = self.runner_up;
        if self.is_before(next, 0) {
            self.heap.swap(next, 0);
            self.sift_down(next);
            self.runner_up = 0;
        }
    }

    /// Keeps the error of a source until the merge comes to it; one that may concern any key is given out.
    #[cold]
    fn note(&mut self, source: usize, error: Error) -> Result<()> {
        match Failure::of(source, error, self.direction) {
            Ok(failure) => {
                self.failures.push(failure);
                Ok(())
            }
            Err(error) => {
                self.clear();
                Err(error)
            }
        }
    }

    /// Gives out the error of the source in front, if it failed.
    #[inline]
    fn raise(&mut self) -> Result<()> {
        if self.failures.is_empty() { Ok(()) } else { self.raise_first() }
    }

    #[cold]
    fn raise_first(&mut self) -> Result<()> {
        let front = self.heap.first();
        match self.failures.iter().position(|failure| Some(&failure.source) == front) {
            None => Ok(()),
            Some(at) => {
                let failure = self.failures.swap_remove(at);
                self.clear();
                Err(failure.error)
            }
        }
    }

    fn clear(&mut self) {
        self.heap.clear();
        self.failures.clear();
        self.runner_up = 0;
    }

    #[inline]
    fn stands(&self, source: usize) -> bool {
        self.sources[source].entry().is_some() || self.failures.iter().any(|failure| failure.source == source)
    }

    fn sift_down(&mut self, mut root: usize) {
        loop {
            let left = 2 * root + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let child = if right < self.heap.len() && self.is_before(right, left) { right } else { left };
            if !self.is_before(child, root) {
                return;
            }
            self.heap.swap(child, root);
            root = child;
        }
    }

    /// Whether the source at heap place `a` comes before that at `b`.
    fn is_before(&self, a: usize, b: usize) -> bool {
        let ((a_key, a_side), (b_key, b_side)) = (self.place(a), self.place(b));
        let order = self.order.compare(a_key, b_key).then_with(|| a_side.cmp(&b_side));
        match self.direction {
            Direction::Forward => order == Ordering::Less,
            Direction::Backward => order == Ordering::Greater,
        }
    }

    /// Where the source at a place of the heap stands, or where its error begins.
    fn place(&self, at: usize) -> (&[u8], Side) {
        let source = self.heap[at];
        match self.sources[source].entry() {
            Some(entry) => (entry.key, Side::Version(Reverse(entry.seqno))),
            None => {
                let failure = self.failures.iter().find(|failure| failure.source == source);
                let failure = failure.expect("what is in the heap stands on an entry or failed");
                (&failure.key, failure.side)
            }
        }
    }

    /// Turns round on the present entry.
    fn turn(&mut self, direction: Direction) -> Result<()> {
        let entry = self.entry().expect("a cursor moves from an entry");
        let (key, seqno): (Vec<u8>, Seqno) = (entry.key.into(), entry.seqno);
        let here = InternalKey { key: &key, seqno };
        self.reposition(direction, |source| match direction {
            Direction::Forward => source.seek(here),
            Direction::Backward => source.seek_back(here),
        })
    }
}

impl<C: Cursor> Cursor for MergeCursor<C> {
    fn seek_first(&mut self) -> Result<()> {
        self.reposition(Direction::Forward, C::seek_first)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.reposition(Direction::Backward, C::seek_last)
    }

    fn seek(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.reposition(Direction::Forward, |source| source.seek(target))
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.reposition(Direction::Backward, |source| source.seek_back(target))
    }

    fn seek_behind(&mut self, key: &[u8]) -> Result<()> {
        self.reposition(Direction::Forward, |source| source.seek_behind(key))
    }

    fn next(&mut self) -> Result<()> {
        if self.direction == Direction::Backward {
            self.turn(Direction::Forward)?;
        }
        self.advance(C::next)
    }

    fn prev(&mut self) -> Result<()> {
        if self.direction == Direction::Forward {
            self.turn(Direction::Backward)?;
        }
        self.advance(C::prev)
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.sources[*self.heap.first()?].entry()
    }

    fn expires_from(&self) -> UnixUs {
        self.heap.first().map_or(UnixUs(0), |&front| self.sources[front].expires_from())
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        self.heap.first().map_or(Ok(&[]), |&front| self.sources[front].value_bytes())
    }

    fn value(&self) -> Result<Slice> {
        self.heap.first().map_or(Ok(Slice::EMPTY), |&front| self.sources[front].value())
    }

    fn checked_value(&self) -> Result<CheckedValue<'_>> {
        self.heap.first().map_or(Ok((&[], None)), |&front| self.sources[front].checked_value())
    }
}

#[cfg(test)]
mod tests;
