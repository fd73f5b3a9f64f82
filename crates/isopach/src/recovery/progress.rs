//! Who hears of the progress of an opening. Told on the thread that opens, under no lock.

use isopach_engine::error::{Error, ErrorKind, Result};
use isopach_env::sync::catch;
use std::ops::ControlFlow;

/// State of long work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done.
    pub phase: &'static str,
    /// How much is done, in the unit of the phase.
    pub done: u64,
    /// Of how much; 0 if unknown.
    pub total: u64,
}

/// Hears of progress; `Break` ends the work with `Cancelled`.
pub(crate) type ProgressHook = Box<dyn FnMut(&Progress) -> ControlFlow<()> + Send>;

/// Tells a hook, if there is one that never panicked.
pub(crate) struct Watch(Option<ProgressHook>);

impl Watch {
    pub(crate) fn new(hook: Option<ProgressHook>) -> Watch {
        Watch(hook)
    }

    /// Nobody hears.
    pub(crate) fn none() -> Watch {
        Watch(None)
    }

    /// # Errors
    ///
    /// `Cancelled` if the hook says so.
    pub(crate) fn tell(&mut self, phase: &'static str, done: u64, total: u64) -> Result<()> {
        let progress = Progress { phase, done, total };
        match self.0.as_mut().map(|hook| catch(|| hook(&progress))) {
            None | Some(Ok(ControlFlow::Continue(()))) => Ok(()),
            Some(Ok(ControlFlow::Break(()))) => {
                Err(Error::new(ErrorKind::Cancelled, "ended by the progress hook"))
            }
            Some(Err(_)) => {
                self.0 = None;
                Ok(())
            }
        }
    }
}
