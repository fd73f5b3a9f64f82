//! Everything that was done to the files, to be taken again up to any step.

use super::{CrashFs, state::State, step::Change};
use crate::crash::Step;
use alloc::{sync::Arc, vec::Vec};
use core::fmt;

/// What was done to files since [`CrashFs::record`], in the order in which it was done. Holds all bytes that
/// were written. Clones share it.
#[derive(Clone)]
pub struct History(Arc<Record>);

#[derive(Clone)]
pub(super) struct Record {
    pub(super) base: State,
    pub(super) changes: Vec<(u64, Change)>,
}

impl History {
    pub(super) fn new(record: Record) -> History {
        History(Arc::new(record))
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.0.changes.len()
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.0.changes.is_empty()
    }

    /// The steps with their numbers, as [`CrashFs::watch`] tells them.
    pub fn steps(&self) -> impl Iterator<Item = (u64, Step<'_>)> {
        self.0.changes.iter().map(|(number, change)| (*number, change.step()))
    }

    /// The files as they were before each step, and at last behind the last one. Each costs one step: to look
    /// at all of them takes as long as the work itself, without what is done with them.
    pub fn moments(&self) -> Moments<'_> {
        Moments { record: &self.0, next: 0, state: Some(self.0.base.clone()) }
    }

    /// The files as they were when so many steps had been taken.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn after(&self, steps: usize) -> CrashFs {
        assert!(steps <= self.len(), "there are {} steps", self.len());
        let mut state = self.0.base.clone();
        for (number, change) in &self.0.changes[..steps] {
            state.apply(*number, change);
        }
        CrashFs::of(state)
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.steps().map(|(number, step)| alloc::format!("{number}: {step}"));
        f.debug_list().entries(lines).finish()
    }
}

/// The files between two steps.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Moment<'a> {
    /// What was not durable then is not durable here, and [`CrashFs::crash`] says what a power loss leaves.
    pub files: CrashFs,
    /// The step that follows, with its number; none follows the last.
    pub next: Option<(u64, Step<'a>)>,
}

/// See [`History::moments`].
pub struct Moments<'a> {
    record: &'a Record,
    next: usize,
    /// None behind the last moment.
    state: Option<State>,
}

impl<'a> Iterator for Moments<'a> {
    type Item = Moment<'a>;

    fn next(&mut self) -> Option<Moment<'a>> {
        let mut state = self.state.take()?;
        let files = CrashFs::of(state.clone());
        let Some((number, change)) = self.record.changes.get(self.next) else {
            return Some(Moment { files, next: None });
        };
        state.apply(*number, change);
        self.next += 1;
        self.state = Some(state);
        Some(Moment { files, next: Some((*number, change.step())) })
    }
}

impl fmt::Debug for Moments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moments").field("next", &self.next).finish_non_exhaustive()
    }
}
