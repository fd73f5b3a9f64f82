//! What a case is measured with. The same case is run for its time and for its instructions.

use rustix::time::{ClockId, clock_gettime};
use std::{hint::black_box, time::Duration};

/// Rounds that are timed, after one that is not.
const LEAST_ROUNDS: usize = 9;
/// More rounds are timed until they took this long together, or there are that many.
const ENOUGH_TIME: Duration = Duration::from_millis(300);
const MOST_ROUNDS: usize = 99;

/// Runs the work of one case and notes what it took.
pub struct Meter {
    purpose: Purpose,
    /// Items a round; 0 before the case was measured.
    pub items: u64,
    /// Of each timed round, in nanoseconds an item.
    pub rounds_ns: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Times,
    /// Under a simulator that is fifty times slower: less data, and one round.
    Counts,
}

impl Meter {
    pub fn new(purpose: Purpose) -> Meter {
        Meter { purpose, items: 0, rounds_ns: Vec::new() }
    }

    /// How many entries a case works on.
    pub fn entries(&self) -> usize {
        match self.purpose {
            Purpose::Times => 100_000,
            Purpose::Counts => 10_000,
        }
    }

    /// Measures `work`, which does `items` things a round. What it works on is prepared for each round, and
    /// dropped behind it, unmeasured. The first round is unmeasured too: it fills caches and free lists.
    ///
    /// Time is that of the calling thread on a processor, so work that other threads do beside it, or take
    /// the processor away for, does not show.
    pub fn measure<T>(&mut self, items: usize, mut prepare: impl FnMut() -> T, mut work: impl FnMut(&mut T)) {
        assert!(self.items == 0 && items > 0, "a case measures once, and something");
        self.items = items as u64;
        work(&mut prepare());
        if self.purpose == Purpose::Counts {
            let mut subject = prepare();
            return counted(&mut || work(&mut subject));
        }
        let mut measured = Duration::ZERO;
        while self.rounds_ns.len() < LEAST_ROUNDS
            || (measured < ENOUGH_TIME && self.rounds_ns.len() < MOST_ROUNDS)
        {
            let mut subject = prepare();
            let start = thread_time();
            work(&mut subject);
            let took = thread_time() - start;
            measured += took;
            self.rounds_ns.push(took.as_nanos() as f64 / items as f64);
        }
    }
}

/// The simulator counts from the entry of this function to its return, on this thread; it knows it by name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    black_box(()); // Or the call would be a jump, and the function have no return.
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a thread's time is not negative")
}
