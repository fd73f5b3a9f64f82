//! Merging: many cursors as one.

use super::{Cursor, Entry};
use crate::{
    error::Result,
    key::InternalKey,
    types::{Seqno, Slice},
};
use alloc::vec::Vec;
use core::cmp::Ordering;

/// The entries of several cursors in order. No version may be in two of them.
///
/// A binary heap of the cursors that stand on an entry; a step costs at most two comparisons a level, and two
/// in all while one cursor stays in front.
pub struct MergeCursor<C> {
    sources: Vec<C>,
    /// Indices of sources that stand on an entry; the first is the one in front.
    heap: Vec<usize>,
    direction: Direction,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

impl<C: Cursor> MergeCursor<C> {
    /// Merges `sources`. Stands on nothing.
    pub fn new(sources: Vec<C>) -> MergeCursor<C> {
        let heap = Vec::with_capacity(sources.len());
        MergeCursor { sources, heap, direction: Direction::Forward }
    }

    /// Moves every source and builds the heap anew.
    fn reposition(
        &mut self,
        direction: Direction,
        mut place: impl FnMut(&mut C) -> Result<()>,
    ) -> Result<()> {
        self.heap.clear();
        self.direction = direction;
        for source in &mut self.sources {
            place(source)?;
        }
        self.heap.extend((0..self.sources.len()).filter(|&index| self.sources[index].entry().is_some()));
        for root in (0..self.heap.len() / 2).rev() {
            self.sift_down(root);
        }
        Ok(())
    }

    /// Moves the source in front by `step`, in the direction of the merge.
    fn advance(&mut self, step: impl FnOnce(&mut C) -> Result<()>) -> Result<()> {
        let front = self.heap[0];
        if let Err(error) = step(&mut self.sources[front]) {
            self.heap.clear();
            return Err(error);
        }
        if self.sources[front].entry().is_none() {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(())
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
        let place = |at: usize| self.sources[self.heap[at]].entry().expect("the heap holds standing cursors");
        let order = place(a).internal_key().cmp(&place(b).internal_key());
        match self.direction {
            Direction::Forward => order == Ordering::Less,
            Direction::Backward => order == Ordering::Greater,
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

    fn value(&self) -> Slice {
        self.heap.first().map_or(Slice::EMPTY, |&front| self.sources[front].value())
    }
}
