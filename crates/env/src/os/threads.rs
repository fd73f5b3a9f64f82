//! The operating system's threads.

use crate::spawn::{Job, Spawn};
use alloc::{string::String, sync::Arc};
use std::{
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
        // A thread that cannot start drops its closure, so the job lies where both sides reach it.
        let shared = Arc::new(Mutex::new(Some(job)));
        let theirs = Arc::clone(&shared);
        let started = Builder::new().name(String::from("isopach")).spawn(move || {
            if let Some(job) = take(&theirs) {
                job();
            }
        });
        match started {
            Ok(_) => Ok(()),
            Err(_) => Err(take(&shared).expect("the thread that would have taken the job never ran")),
        }
    }

    fn parallelism(&self) -> usize {
        self.parallelism
    }
}

fn take(shared: &Mutex<Option<Job>>) -> Option<Job> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
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
    fn at_least_one_job_may_run() {
        assert!(ThreadSpawn::new().parallelism() >= 1);
    }
}
