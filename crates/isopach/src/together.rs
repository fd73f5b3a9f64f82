//! Work in parts, done by the threads that the environment gives together with the caller.
//!
//! Owns no thread and leaves no part undone: what nobody took the caller does. Results come in the order of
//! parts, whoever did them; when they are there, no other thread holds anything of the work any more. Where
//! [`Spawn`] says that nothing runs in parallel, the caller does every part, in order and at once.

use isopach_env::{
    Spawn,
    sync::{
        Condvar, Mutex, Panicked, Rank,
        atomic::{AtomicUsize, Ordering},
        catch,
    },
};
use std::sync::Arc;

const WORK: Rank = Rank::new(96, "together.work");

type Part<T> = dyn Fn(usize) -> T + Send + Sync;

/// Does the parts `0..count` and gives their results in that order.
///
/// # Panics
///
/// If a part panicked; the others are done all the same.
pub(crate) fn in_parts<T: Send + 'static>(
    spawn: &dyn Spawn,
    count: usize,
    part: impl Fn(usize) -> T + Send + Sync + 'static,
) -> Vec<T> {
    Together::begin(spawn, count, spawn.parallelism().min(count).saturating_sub(1), part).finish()
}

/// Work that goes on while its owner does something else.
pub(crate) struct Beside<T>(Together<T>);

impl<T: Send + 'static> Beside<T> {
    /// Begins. Where nothing runs in parallel the work is done when this returns.
    pub(crate) fn begin(spawn: &dyn Spawn, work: impl Fn() -> T + Send + Sync + 'static) -> Beside<T> {
        Beside(Together::begin(spawn, 1, spawn.parallelism().saturating_sub(1).min(1), move |_| work()))
    }

    /// Waits for the result, or does the work if nobody began it.
    ///
    /// # Panics
    ///
    /// If the work panicked.
    pub(crate) fn finish(self) -> T {
        self.0.finish().pop().expect("there is one part")
    }
}

struct Together<T>(Arc<Shared<T>>);

struct Shared<T> {
    count: usize,
    /// The part that is taken next; none is left from `count` on. What parts give is published by `work`.
    next: AtomicUsize,
    work: Mutex<Work<T>>,
    /// Told when nothing is missing and nobody at work.
    all_done: Condvar,
}

struct Work<T> {
    /// What there is to do, until all is done.
    part: Option<Arc<Part<T>>>,
    /// Threads that hold it.
    at_work: usize,
    results: Vec<Option<Result<T, Panicked>>>,
    missing: usize,
}

impl<T: Send + 'static> Together<T> {
    /// Has up to `helpers` other threads begin; with none, does everything.
    fn begin(
        spawn: &dyn Spawn,
        count: usize,
        helpers: usize,
        part: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Together<T> {
        let results = (0..count).map(|_| None).collect();
        let work = Work { part: Some(Arc::new(part) as Arc<Part<T>>), at_work: 0, results, missing: count };
        let (next, all_done) = (AtomicUsize::new(0), Condvar::new());
        let shared = Arc::new(Shared { count, next, work: Mutex::new(WORK, work), all_done });
        for _ in 0..helpers {
            let theirs = Arc::clone(&shared);
            drop(spawn.spawn(Box::new(move || theirs.take_part()))); // Else the caller does what is left.
        }
        if helpers == 0 {
            shared.take_part();
        }
        Together(shared)
    }

    fn finish(self) -> Vec<T> {
        self.0.take_part();
        let mut work = self.0.work.lock();
        while work.missing > 0 || work.at_work > 0 {
            work = self.0.all_done.wait(work);
        }
        let (part, results) = (work.part.take(), std::mem::take(&mut work.results));
        drop(work);
        drop(part); // What it refers to may take locks to go.
        let done = results.into_iter().map(|result| result.expect("no part is missing"));
        done.map(|result| result.expect("a part of the work panicked")).collect()
    }
}

impl<T> Shared<T> {
    /// Does parts until none is left.
    fn take_part(&self) {
        let mut work = self.work.lock();
        let Some(part) = work.part.clone() else {
            return; // It is over, and everybody was waited for.
        };
        work.at_work += 1;
        drop(work);
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                break;
            }
            let result = catch(|| part(index));
            let mut work = self.work.lock();
            work.results[index] = Some(result);
            work.missing -= 1;
        }
        drop(part); // Before it is said that nobody holds it.
        let mut work = self.work.lock();
        work.at_work -= 1;
        if work.at_work == 0 && work.missing == 0 {
            self.all_done.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isopach_env::{Inline, Job, ThreadSpawn};
    use std::{
        collections::BTreeSet,
        sync::{Barrier, Mutex as StdMutex},
        thread::{self, ThreadId},
    };

    /// Gives `parallelism` threads, or says so and gives none.
    struct Threads {
        parallelism: usize,
        are_given: bool,
    }

    impl Spawn for Threads {
        fn spawn(&self, job: Job) -> Result<(), Job> {
            if self.are_given { ThreadSpawn::new().spawn(job) } else { Err(job) }
        }

        fn parallelism(&self) -> usize {
            self.parallelism
        }
    }

    #[test]
    fn results_come_in_the_order_of_parts() {
        for parallelism in [1, 2, 7] {
            let threads = Threads { parallelism, are_given: true };

            assert_eq!(in_parts(&threads, 50, |part| part * 2), (0..50).map(|n| n * 2).collect::<Vec<_>>());
        }
        assert_eq!(in_parts(&Inline, 0, |part| part), []);
    }

    #[test]
    fn parts_are_done_at_the_same_time() {
        let (threads, all) = (Threads { parallelism: 3, are_given: true }, Barrier::new(3));

        let ids = in_parts(&threads, 3, move |_| {
            all.wait();
            thread::current().id()
        });

        assert_eq!(ids.iter().map(|id| format!("{id:?}")).collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn the_caller_does_what_nobody_takes() {
        let me = thread::current().id();
        let threads = Threads { parallelism: 4, are_given: false };

        assert_eq!(in_parts(&threads, 5, |_| thread::current().id()), [me; 5]);
        assert_eq!(Beside::begin(&threads, || thread::current().id()).finish(), me);
    }

    #[test]
    fn without_parallelism_work_is_done_when_it_is_begun() {
        let done = Arc::new(StdMutex::new(Vec::<ThreadId>::new()));
        let log = Arc::clone(&done);

        let beside = Beside::begin(&Inline, move || log.lock().unwrap().push(thread::current().id()));

        assert_eq!(*done.lock().unwrap(), [thread::current().id()]);
        beside.finish();
        assert_eq!(done.lock().unwrap().len(), 1, "it is done once");
    }

    #[test]
    fn nothing_of_the_work_is_held_when_its_results_are_there() {
        let threads = Threads { parallelism: 4, are_given: true };
        for _ in 0..200 {
            let held = Arc::new(());
            let theirs = Arc::clone(&held);

            let parts = in_parts(&threads, 4, move |_| Arc::strong_count(&theirs));

            assert!(parts.iter().all(|&count| count >= 2));
            assert_eq!(Arc::strong_count(&held), 1);
        }
    }

    #[test]
    fn a_panic_reaches_who_waits_after_all_other_parts() {
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        let part = move |part| {
            assert!(part != 3, "a part of a test");
            count.fetch_add(1, Ordering::Relaxed);
        };

        let threads = Threads { parallelism: 2, are_given: true };
        let result = catch(|| in_parts(&threads, 10, part));

        assert_eq!(result, Err(Panicked));
        assert_eq!(done.load(Ordering::Relaxed), 9);
    }
}
