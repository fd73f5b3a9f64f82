//! The operating system's threads.

use crate::spawn::{Job, Spawn};
use alloc::{boxed::Box, string::String, sync::Arc};
use std::{
    io,
    sync::{Mutex, PoisonError},
    thread::{self, Builder},
};

/// Runs each job on a new thread named `isopach`.
///
/// Nobody waits for the threads. A job that panics ends its thread and nothing else.
#[derive(Clone, Debug)]
pub struct ThreadSpawn {
    parallelism: usize,
}

impl ThreadSpawn {
    /// As parallel as this process may be now.
    pub fn new() -> ThreadSpawn {
        ThreadSpawn { parallelism: thread::available_parallelism().map_or(1, usize::from) }
    }
}

impl Default for ThreadSpawn {
    fn default() -> ThreadSpawn {
        ThreadSpawn::new()
    }
}

impl Spawn for ThreadSpawn {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        start(job, |run| Builder::new().name(String::from("isopach")).spawn(run).map(drop))
    }

    fn parallelism(&self) -> usize {
        self.parallelism
    }
}

/// Starts `job` with `starter`, or gives it back.
fn start(job: Job, starter: impl FnOnce(Job) -> Result<(), io::Error>) -> Result<(), Job> {
    // A starter that fails drops what it was to run, so the job lies where both sides reach it.
    let shared = Arc::new(Mutex::new(Some(job)));
    let theirs = Arc::clone(&shared);
    let run = Box::new(move || {
        if let Some(job) = take(&theirs) {
            job();
        }
    });
    starter(run).map_err(|_| take(&shared).expect("a job that was not started was not taken"))
}

fn take(shared: &Mutex<Option<Job>>) -> Option<Job> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_job_runs_on_a_thread_of_its_own() {
        let (sender, receiver) = mpsc::channel();
        let job = Box::new(move || {
            let thread = thread::current();
            sender.send((thread.id(), thread.name().map(String::from))).expect("the test waits");
        });

        assert!(ThreadSpawn::new().spawn(job).is_ok());

        let (id, name) = receiver.recv().expect("the job ran");
        assert_ne!(id, thread::current().id());
        assert_eq!(name.as_deref(), Some("isopach"));
    }

    #[test]
    fn a_job_that_cannot_be_started_is_given_back() {
        let (sender, receiver) = mpsc::channel();
        let job = Box::new(move || sender.send(()).expect("the test waits"));

        let back = start(job, |_| Err(io::ErrorKind::OutOfMemory.into())).expect_err("not started");

        assert!(receiver.try_recv().is_err(), "it has not run");
        back();
        assert!(receiver.try_recv().is_ok(), "it has run once");
    }

    #[test]
    fn at_least_one_job_may_run() {
        assert!(ThreadSpawn::new().parallelism() >= 1);
    }
}
