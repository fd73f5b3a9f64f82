//! Going through the files of a store, by several threads and at a pace.

use crate::{pace::Pace, together::Beside};
use isopach_engine::{
    error::Result,
    store::{Store, StoreCheck, VerifyReport},
    tree::cancelled,
};
use isopach_env::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

/// Goes through a check, with so many threads and at a pace. `progress` is called on this thread with what the pace
/// counted, after each file that this thread read, in pauses, and at the end; its error ends the check.
///
/// # Errors
///
/// `Closed`, and what `progress` said.
pub(crate) fn run_check(
    store: &Store,
    check: StoreCheck,
    threads: usize,
    pace: &Arc<Pace>,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<VerifyReport> {
    let spawn = &*store.env().spawn;
    let helpers = threads.min(spawn.parallelism()).min(check.len()).saturating_sub(1);
    let next = AtomicUsize::new(0);
    let parts = Arc::new(Parts { check, next, pace: Arc::clone(pace), is_over: AtomicBool::new(false) });
    let helpers: Vec<_> = (0..helpers)
        .map(|_| {
            let parts = Arc::clone(&parts);
            Beside::begin(spawn, move || parts.work(&mut |_| Ok(())))
        })
        .collect();
    let mut results = Vec::from([parts.work(progress)]);
    results.extend(helpers.into_iter().map(Beside::finish));

    let mut reports = Vec::new();
    for of_thread in results {
        reports.extend(of_thread?);
    }
    progress(pace.done())?; // Others may have read the last.
    reports.sort_by_key(|(part, _)| *part);
    let mut report = VerifyReport::default();
    reports.into_iter().for_each(|(_, of_part)| report.add(of_part));
    let parts = Arc::into_inner(parts).expect("who helped has ended");
    report.add(parts.check.finish());
    Ok(report)
}

/// The parts of a check, which threads take one after the other.
struct Parts {
    check: StoreCheck,
    next: AtomicUsize,
    pace: Arc<Pace>,
    /// One of the threads ended early: the others do too.
    is_over: AtomicBool,
}

impl Parts {
    /// Does parts until none is left.
    fn work(&self, progress: &mut dyn FnMut(u64) -> Result<()>) -> Result<Vec<(usize, VerifyReport)>> {
        let mut reports = Vec::new();
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= self.check.len() {
                return Ok(reports);
            }
            match self.check.run(part, &mut |bytes| self.read(bytes, progress)) {
                Ok(report) => reports.push((part, report)),
                Err(error) => {
                    self.is_over.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    fn read(&self, bytes: u64, progress: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        self.pace.add(bytes);
        self.pace.keep(&mut || match self.is_over.load(Ordering::Relaxed) {
            true => Err(cancelled()),
            false => progress(self.pace.done()),
        })
    }
}
