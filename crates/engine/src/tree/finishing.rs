//! Tables of a load that are finished beside the writing of the next ones: filters take as long to build as entries to
//! write.

use super::outputs::Unfinished;
use crate::{
    error::{Error, ErrorKind, Result},
    table::TableMeta,
    version::{Hold, Lease},
};
use alloc::{boxed::Box, collections::VecDeque, sync::Arc};
use isopach_env::{
    Job, Spawn,
    sync::{Condvar, Mutex, Rank, catch},
};

/// Of what became of one table.
const RANK: Rank = Rank { level: 54, name: "tree.finishing" };

/// Keys of a table whose filters are built when it is finished: 8 MiB of hashes.
const MOST_LATE_KEYS: usize = 1 << 20;

/// Tables that are being finished, in their order. Dropped, they are removed once they are.
pub(super) struct Finishing {
    spawn: Arc<dyn Spawn>,
    waiting: VecDeque<Arc<Slot>>,
}

/// A finished table, and its file.
pub(super) type Finished = (TableMeta, Hold);

/// What becomes of one table.
struct Slot {
    result: Mutex<Option<Result<Finished>>>,
    is_there: Condvar,
}

impl Finishing {
    pub(super) fn new(spawn: &Arc<dyn Spawn>) -> Finishing {
        Finishing { spawn: Arc::clone(spawn), waiting: VecDeque::new() }
    }

    /// A table that is to be finished like this: its filters are built then.
    pub(super) fn prepare(&self, table: Unfinished) -> Unfinished {
        if self.spawn.parallelism() > 1 { table.with_late_filters(MOST_LATE_KEYS) } else { table }
    }

    /// Has a table made durable, on another thread where there is one. `lease` keeps the directory in use meanwhile.
    pub(super) fn begin(&mut self, table: Unfinished, lease: Lease) {
        let slot = Arc::new(Slot { result: Mutex::new(RANK, None), is_there: Condvar::new() });
        self.waiting.push_back(Arc::clone(&slot));
        let job: Job = Box::new(move || {
            let finished = catch(move || table.finish());
            let panicked = |_| Err(Error::new(ErrorKind::Cancelled, "finishing a table panicked"));
            slot.put(finished.unwrap_or_else(panicked));
            drop(lease);
        });
        if let Err(job) = self.spawn.spawn(job) {
            job();
        }
    }

    /// Takes the table that was begun first, as soon as it is finished: if as many are under way as there are threads
    /// beside this one, or at the end. `None`: there is none to be waited for.
    pub(super) fn next(&mut self, is_end: bool) -> Option<Result<Finished>> {
        let most = if is_end { 0 } else { self.spawn.parallelism() - 1 };
        if self.waiting.len() <= most {
            return None;
        }
        self.waiting.pop_front().map(|slot| slot.take())
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        while let Some(finished) = self.next(true) {
            if let Ok((_, hold)) = finished {
                hold.remove();
            }
        }
    }
}

impl Slot {
    fn put(&self, result: Result<Finished>) {
        *self.result.lock() = Some(result);
        self.is_there.notify_one();
    }

    fn take(&self) -> Result<Finished> {
        let mut result = self.result.lock();
        loop {
            match result.take() {
                Some(finished) => return finished,
                None => result = self.is_there.wait(result),
            }
        }
    }
}
