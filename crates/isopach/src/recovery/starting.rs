//! The log's start for writing, which goes on while records are applied in memory: both read the same bytes,
//! and the start mostly waits for the medium.

use crate::{
    together::Beside,
    wal::{Recovered, Wal, WalOptions},
};
use isopach_engine::{error::Result, store::Store};
use std::sync::Arc;

/// A log that is being started, or was.
pub(super) struct Starting {
    work: Option<Beside<Result<Wal>>>,
    outcome: Option<Result<Wal>>,
}

impl Starting {
    pub(super) fn begin(store: &Store, options: WalOptions, after: Arc<Recovered>) -> Starting {
        let (env, registry) = (store.env().clone(), store.files().clone());
        let spawn = Arc::clone(&env.spawn);
        let start = move || Wal::start(&env, &registry, options, &after);
        Starting { work: Some(Beside::begin(&*spawn, start)), outcome: None }
    }

    /// Waits until the log is durable up to its end.
    ///
    /// # Errors
    ///
    /// Those of [`Wal::start`].
    pub(super) fn wait(&mut self) -> Result<()> {
        if let Some(work) = self.work.take() {
            self.outcome = Some(work.finish());
        }
        let outcome = self.outcome.as_ref().expect("the work is over");
        outcome.as_ref().map(drop).map_err(Clone::clone)
    }

    /// The log.
    ///
    /// # Errors
    ///
    /// As [`Starting::wait`].
    pub(super) fn finish(mut self) -> Result<Wal> {
        let _ = self.wait();
        self.outcome.expect("the work is over")
    }
}
