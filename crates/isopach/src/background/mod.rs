//! Background work: one scheduler with typed jobs, its workers, and the keeper of the log's time.
//!
//! Workers take flushes first; at least one of them is never busy with compaction, so that memory comes back
//! whatever compaction does. Jobs that fail are tried again; a poisoned database starts none.

mod compact;
mod flush;
mod keeper;
mod patrol;

pub(crate) use compact::{compact_range, heal_all, note_shape, reseal_all};
pub(crate) use flush::{flush_all, flush_alone, flush_now, free_log};
pub(crate) use patrol::{begin_pass, heal_remembered, note_pass, remembered_and_damaged, rest_of};

use crate::{
    error::{Error, ErrorKind, Result},
    events::Event,
    jobs::{Job, has_preparer},
    state::State,
};
use isopach_env::sync::{
    catch,
    thread::{self, JoinHandle},
    thread_local,
};
use std::{cell::Cell, sync::Arc};

thread_local! {
    /// Whether this thread does background work, here or for another database.
    static IS_BACKGROUND: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread does background work: it must not wait for such.
pub(crate) fn is_background_thread() -> bool {
    IS_BACKGROUND.with(Cell::get)
}

/// The threads of an open database.
pub(crate) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// Starts the workers and the keeper.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread; those started end.
    pub(crate) fn start(state: &Arc<State>) -> Result<Threads> {
        let mut threads = Threads(Vec::new());
        let workers = state.settings.all().threads;
        let result = (0..workers)
            .map(|worker| (format!("isopach-worker-{worker}"), work as fn(&State)))
            .chain([("isopach-keeper".into(), keeper::keep as fn(&State))])
            .chain(has_preparer(workers).then_some(("isopach-preparer".into(), prepare as fn(&State))))
            .try_for_each(|(name, body)| threads.spawn(name, body, state));
        if let Err(error) = result {
            state.jobs.stop();
            threads.join();
            return Err(error);
        }
        Ok(threads)
    }

    fn spawn(&mut self, name: String, body: fn(&State), state: &Arc<State>) -> Result<()> {
        let state = Arc::clone(state);
        let run = move || {
            IS_BACKGROUND.with(|is_background| is_background.set(true));
            body(&state);
        };
        let thread = thread::Builder::new().name(name).spawn(run);
        self.0.push(
            thread.map_err(|error| Error::new(ErrorKind::Io, format!("cannot start a thread: {error}")))?,
        );
        Ok(())
    }

    /// Waits until all have ended; [`Jobs::stop`](crate::jobs::Jobs::stop) was called.
    pub(crate) fn join(self) {
        for thread in self.0 {
            let _ = thread.join(); // Workers catch the panics of jobs.
        }
    }
}

/// A worker: one job after the other, until stopped.
fn work(state: &State) {
    work_through(state, || state.jobs.next());
}

/// The preparer: what commits would else wait for.
fn prepare(state: &State) {
    let _ = state.commits.wal.prepare_first(); // What fails here the first commit does itself, or tells.
    work_through(state, || state.jobs.next_preparation());
}

fn work_through(state: &State, next: impl Fn() -> Option<Job>) {
    while let Some(job) = next() {
        let result = catch(|| run(state, job)).unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Io, format!("a background job panicked: {job:?}")))
        });
        let error = result
            .err()
            .filter(|error| !matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::KeyspaceDropped))
            .map(|error| state.locate(error));
        if let Some(error) = &error {
            state.tell_poison(error);
            if error.kind() == ErrorKind::OutOfSpace {
                state.commits.wal.give_up_spares();
            }
            if error.kind() != ErrorKind::Poisoned {
                state.listeners.tell(&Event::BackgroundError { error });
            }
        }
        state.jobs.done(job, error);
        state.tell_space();
    }
}

fn run(state: &State, job: Job) -> Result<()> {
    if let Some(error) = state.commits.poisoned() {
        return Err(error);
    }
    match job {
        Job::Flush(id) => state.spaces.by_id(id).map_or(Ok(()), |space| flush::flush(state, &space)),
        Job::Compact(id) => state.spaces.by_id(id).map_or(Ok(()), |space| compact::compact(state, &space)),
        Job::BoundLog => flush::bound_log(state),
        Job::PrepareLog => state.commits.prepare(),
        Job::Sync => state.sync_for_calls(),
        Job::Scrub => patrol::patrol(state),
        Job::Delete => {
            state.store.files().run_deletions(u64::MAX);
            Ok(())
        }
    }
}
