//! Where parallel work runs.

use alloc::boxed::Box;
use core::fmt;

/// A job for [`Spawn`].
pub type Job = Box<dyn FnOnce() + Send>;

/// Where parallel parts of a flush or compaction run. The engine starts no threads itself.
pub trait Spawn: Send + Sync + 'static {
    /// Runs the job now or later, on any thread.
    ///
    /// # Errors
    ///
    /// Gives the job back if no thread can be had; the caller then runs it inline.
    fn spawn(&self, job: Job) -> Result<(), Job>;

    /// How many jobs may run at once, at least 1. With 1 there is no use in splitting work.
    fn parallelism(&self) -> usize {
        1
    }
}

impl fmt::Debug for dyn Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn").field("parallelism", &self.parallelism()).finish_non_exhaustive()
    }
}

/// Runs every job at once on the caller's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Spawn for Inline {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        job();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use core::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn inline_has_run_the_job_when_it_returns() {
        let ran = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ran);

        assert!(Inline.spawn(Box::new(move || flag.store(true, Ordering::Relaxed))).is_ok());

        assert!(ran.load(Ordering::Relaxed));
        assert_eq!(Inline.parallelism(), 1);
    }
}
