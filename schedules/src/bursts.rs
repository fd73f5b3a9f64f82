//! A scheduler that lets a thread run for a while before it chooses another at random.
//!
//! A race between two steps that lie close together, into which another thread fits a whole commit or flush,
//! needs one switch at the right place and then none for hundreds of steps. Choosing at every step never does
//! that, and priorities that change at a few places rarely hit the place.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use testkit::Rng;

/// See the module.
pub(crate) struct Bursts {
    rng: Rng,
    schedules_left: usize,
    /// The running thread goes on at all but one in so many places.
    length: usize,
}

impl Bursts {
    pub(crate) fn new(seed: u64, schedules: usize, length: usize) -> Bursts {
        Bursts { rng: Rng::new(seed), schedules_left: schedules, length }
    }
}

impl Scheduler for Bursts {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.schedules_left = self.schedules_left.checked_sub(1)?;
        Some(Schedule::new(self.rng.word()))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let goes_on = current.filter(|current| runnable.iter().any(|task| task.id() == *current));
        match goes_on {
            Some(current) if !is_yielding && !self.rng.one_in(self.length) => Some(current),
            _ => Some(self.rng.pick(runnable).id()),
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.rng.word()
    }
}
