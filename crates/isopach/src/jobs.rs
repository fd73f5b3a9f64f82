//! The queue of jobs. Each is in it at most once; who asks again while it runs has it run again.

use crate::error::{Error, ErrorKind};
use isopach_engine::types::TreeId;
use isopach_env::sync::{
    Condvar, Instant, Mutex, Rank,
    atomic::{AtomicBool, Ordering},
};
use std::{collections::VecDeque, time::Duration};

/// Of the queue. Held for moments.
const QUEUE: Rank = Rank::new(90, "jobs.queue");

/// Work to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Job {
    /// Sealed memtables of a keyspace become tables.
    Flush(TreeId),
    /// One compaction of a keyspace, if it needs any.
    Compact(TreeId),
    /// Keyspaces that hold the oldest log segment are flushed.
    BoundLog,
    /// Files that nothing holds are removed.
    Delete,
    /// Files are read, whether they decay.
    Scrub,
    /// What commits need next is had ahead: a segment of the log, and numbers.
    PrepareLog,
    /// The log is synced for those who want to hear of it.
    Sync,
}

impl Job {
    /// Whether somebody may wait for it who should not wait for flushes and compactions: it has a thread of its own,
    /// if there is more than one worker.
    fn is_urgent(self) -> bool {
        matches!(self, Job::PrepareLog | Job::Sync)
    }

    /// Whether a flush should not have to wait for it.
    fn is_long(self) -> bool {
        matches!(self, Job::Compact(_) | Job::Scrub)
    }
}

/// Jobs that wait, run, and failed.
pub(crate) struct Jobs {
    queue: Mutex<Queue>,
    /// Something to take, or time to stop.
    for_workers: Condvar,
    /// The same, of what writers would wait for.
    for_preparer: Condvar,
    /// Something ended.
    for_waiters: Condvar,
    for_keeper: Condvar,
    /// The keeper has something to do soon. Set by writers without the lock; the keeper alone clears it.
    keeper_wanted: AtomicBool,
    is_stopping: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    running: Vec<Job>,
    /// Jobs whose last run failed, until one succeeds, oldest failure first. They wait for another try, or
    /// are at it.
    failed: Vec<Failed>,
    /// Most jobs at a time that take long.
    max_long: usize,
    /// What writers would wait for has a thread of its own.
    has_preparer: bool,
    /// Why nothing that writes starts any more.
    poison: Option<Error>,
}

struct Failed {
    job: Job,
    error: Error,
}

impl Queue {
    fn push(&mut self, job: Job) -> bool {
        let is_new = !self.waiting.contains(&job) && self.poison.is_none();
        if is_new {
            self.waiting.push_back(job);
        }
        is_new
    }

    /// Flushes first; what takes long only while a worker remains for flushes.
    fn take(&mut self) -> Option<Job> {
        let long = self.running.iter().filter(|job| job.is_long()).count();
        let may_run = |job: &Job| match job {
            job if job.is_urgent() => !self.has_preparer,
            job if job.is_long() => long < self.max_long && !self.running.contains(job),
            _ => !self.running.contains(job),
        };
        let first = self.waiting.iter().position(|job| matches!(job, Job::Flush(_)) && may_run(job));
        let at = first.or_else(|| self.waiting.iter().position(may_run))?;
        let job = self.waiting.remove(at)?;
        self.running.push(job);
        Some(job)
    }

    /// The next job that is urgent.
    fn take_urgent(&mut self) -> Option<Job> {
        let at = self.waiting.iter().position(|job| job.is_urgent())?;
        let job = self.waiting.remove(at)?;
        self.running.push(job);
        Some(job)
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.failed.is_empty()
    }
}

/// Whether there is a thread beside the workers for what writers would wait for: a single worker does it itself,
/// so that background work is one thing after the other.
pub(crate) const fn has_preparer(workers: usize) -> bool {
    workers > 1
}

impl Jobs {
    pub(crate) fn new(threads: usize) -> Jobs {
        let max_long = threads.saturating_sub(1).max(1);
        let queue = Queue { max_long, has_preparer: has_preparer(threads), ..Queue::default() };
        Jobs {
            queue: Mutex::new(QUEUE, queue),
            for_workers: Condvar::new(),
            for_preparer: Condvar::new(),
            for_waiters: Condvar::new(),
            for_keeper: Condvar::new(),
            keeper_wanted: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
        }
    }

    // ----- asking for work -----

    pub(crate) fn flush(&self, id: TreeId) {
        self.push(Job::Flush(id));
    }

    pub(crate) fn compact(&self, id: TreeId) {
        self.push(Job::Compact(id));
    }

    pub(crate) fn bound_log(&self) {
        self.push(Job::BoundLog);
    }

    pub(crate) fn delete(&self) {
        self.push(Job::Delete);
    }

    pub(crate) fn scrub(&self) {
        self.push(Job::Scrub);
    }

    pub(crate) fn prepare_log(&self) {
        self.push(Job::PrepareLog);
    }

    pub(crate) fn sync(&self) {
        self.push(Job::Sync);
    }

    fn push(&self, job: Job) {
        let mut queue = self.queue.lock();
        if queue.push(job) {
            let is_urgent = job.is_urgent() && queue.has_preparer;
            drop(queue);
            if is_urgent { self.for_preparer.notify_one() } else { self.for_workers.notify_one() }
        }
    }

    /// Whether a flush waits or runs.
    pub(crate) fn is_flushing(&self) -> bool {
        let queue = self.queue.lock();
        queue.waiting.iter().chain(&queue.running).any(|job| matches!(job, Job::Flush(_)))
    }

    // ----- workers -----

    /// The next job of a worker; waits for one. `None`: stop.
    pub(crate) fn next(&self) -> Option<Job> {
        self.wait_for_job(&self.for_workers, Queue::take)
    }

    /// The next job of the preparer; waits for one. `None`: stop.
    pub(crate) fn next_preparation(&self) -> Option<Job> {
        self.wait_for_job(&self.for_preparer, Queue::take_urgent)
    }

    fn wait_for_job(&self, waker: &Condvar, take: fn(&mut Queue) -> Option<Job>) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if self.is_stopping() {
                return None;
            }
            if let Some(job) = take(&mut queue) {
                return Some(job);
            }
            queue = waker.wait(queue);
        }
    }

    /// A job ended. One that failed is tried again later, unless the database is poisoned.
    pub(crate) fn done(&self, job: Job, error: Option<Error>) {
        let mut queue = self.queue.lock();
        let at = queue.running.iter().position(|running| *running == job).expect("a job that ends ran");
        queue.running.swap_remove(at);
        queue.failed.retain(|failed| failed.job != job);
        let has_failed = error.is_some();
        match error {
            Some(error) if error.kind() == ErrorKind::Poisoned => {
                queue.poison = Some(error);
                queue.waiting.clear();
                queue.failed.clear();
            }
            Some(error) => queue.failed.push(Failed { job, error }),
            None => {}
        }
        drop(queue);
        if has_failed {
            self.wake_keeper();
        }
        self.for_workers.notify_all();
        self.for_preparer.notify_all();
        self.for_waiters.notify_all();
    }

    /// Jobs that failed go back into the queue.
    pub(crate) fn retry_failed(&self) {
        let mut queue = self.queue.lock();
        let idle = queue.failed.iter().map(|failed| failed.job).filter(|job| !queue.running.contains(job));
        for job in idle.collect::<Vec<_>>() {
            queue.push(job);
        }
        drop(queue);
        self.for_workers.notify_all();
        self.for_preparer.notify_all();
    }

    /// The last failure of a job that is still being tried again, or what ended all trying.
    pub(crate) fn last_error(&self) -> Option<Error> {
        let queue = self.queue.lock();
        queue.poison.clone().or_else(|| queue.failed.last().map(|failed| failed.error.clone()))
    }

    /// Whether a job that failed is to be tried again.
    pub(crate) fn has_failed(&self) -> bool {
        !self.queue.lock().failed.is_empty()
    }

    /// The failure of a job that lacked space, if one did.
    pub(crate) fn out_of_space(&self) -> Option<Error> {
        let queue = self.queue.lock();
        let errors = queue.failed.iter().map(|failed| &failed.error);
        errors.rev().find(|error| error.kind() == ErrorKind::OutOfSpace).cloned()
    }

    // ----- waiting -----

    /// Waits until nothing is under way or due. `false` after `limit`.
    pub(crate) fn wait_idle(&self, limit: Duration) -> bool {
        self.wait_until(limit, Queue::is_idle)
    }

    fn wait_until(&self, limit: Duration, is_so: impl Fn(&Queue) -> bool) -> bool {
        let deadline = Instant::now().checked_add(limit);
        let mut queue = self.queue.lock();
        while !is_so(&queue) {
            if self.is_stopping() {
                return false;
            }
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            queue = self.for_waiters.wait_timeout(queue, left.min(Duration::from_secs(3600))).0;
        }
        true
    }

    // ----- the keeper -----

    /// There is something to sync, to note, or to try again.
    pub(crate) fn wake_keeper(&self) {
        if !self.keeper_wanted.swap(true, Ordering::AcqRel) {
            let _queue = self.queue.lock();
            self.for_keeper.notify_one();
        }
    }

    /// Waits until the keeper is wanted, or for `limit`. `false`: stop.
    pub(crate) fn wait_wanted(&self, limit: Option<Duration>) -> bool {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut queue = self.queue.lock();
        while !self.keeper_wanted.swap(false, Ordering::AcqRel) {
            if self.is_stopping() {
                return false;
            }
            queue = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => self.for_keeper.wait(queue),
                Some(Duration::ZERO) => break,
                Some(left) => self.for_keeper.wait_timeout(queue, left.min(Duration::from_secs(3600))).0,
            };
        }
        !self.is_stopping()
    }

    /// Waits for `time`. `false`: stop.
    pub(crate) fn keeper_sleeps(&self, time: Duration) -> bool {
        let mut queue = self.queue.lock();
        let deadline = Instant::now() + time;
        while !self.is_stopping() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            queue = self.for_keeper.wait_timeout(queue, left).0;
        }
        false
    }

    // ----- the end -----

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Ends workers and keeper after what they do now; running compactions give up.
    pub(crate) fn stop(&self) {
        let _queue = self.queue.lock();
        self.is_stopping.store(true, Ordering::Release);
        self.for_workers.notify_all();
        self.for_preparer.notify_all();
        self.for_waiters.notify_all();
        self.for_keeper.notify_all();
    }
}
