//! Counts the system calls that put data on the medium, made by this thread and by every thread that it or
//! they start afterwards: the kernel's tracepoints, through perf_event_open. What a promise of durability
//! costs is visible in nothing else.

use crate::{Result, record::SyncCalls};
use perf_event::{Builder, Counter, events::Tracepoint};
use std::{fs, path::Path};

const CALLS: [&str; 5] = ["fsync", "fdatasync", "msync", "sync_file_range", "syncfs"];

/// Where the file system of the tracepoints may be mounted.
const TRACING_DIRS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Counts from the start on; open it before the engine.
pub struct SyncCounter {
    counters: Vec<(&'static str, Counter)>,
}

impl SyncCounter {
    /// # Errors
    ///
    /// If tracepoints are not mounted, or this user may not count them.
    pub fn start() -> Result<SyncCounter> {
        let counters = CALLS.into_iter().map(|call| Ok((call, counter(call)?))).collect::<Result<_>>()?;
        Ok(SyncCounter { counters })
    }

    /// Calls so far.
    pub fn now(&mut self) -> Result<Vec<u64>> {
        self.counters.iter_mut().map(|(_, counter)| Ok(counter.read()?)).collect()
    }

    /// Those between two readings.
    pub fn calls(&self, before: &[u64], after: &[u64]) -> SyncCalls {
        let counts = before.iter().zip(after).map(|(before, after)| after - before);
        let names = self.counters.iter().map(|(call, _)| (*call).to_owned());
        let calls = names.zip(counts).filter(|&(_, count)| count > 0).collect();
        SyncCalls { counter: "perf tracepoints".into(), calls }
    }
}

fn counter(call: &str) -> Result<Counter> {
    let event = format!("events/syscalls/sys_enter_{call}/id");
    let ids = TRACING_DIRS.iter().map(|dir| fs::read_to_string(Path::new(dir).join(&event)));
    let id = ids.reduce(|first, second| first.or(second)).expect("there are directories");
    let id = id.map_err(|error| format!("{}/{event}: {error}", TRACING_DIRS[0]))?.trim().parse()?;
    let mut builder = Builder::new(Tracepoint::with_id(id));
    // The kernel is where a system call is.
    builder.observe_self().any_cpu().include_kernel().inherit(true).enabled(true);
    builder.build().map_err(|error| format!("perf_event_open of sys_enter_{call}: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_of_later_threads_are_counted_while_they_live_and_after() {
        let Ok(mut counter) = SyncCounter::start() else {
            return; // Not permitted here; rows say so then.
        };
        let path = std::env::temp_dir().join(format!("isopach-bench-sync-{}", std::process::id()));
        let file = fs::File::create(&path).unwrap();
        let before = counter.now().unwrap();

        file.sync_all().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                file.sync_data().unwrap();
                std::thread::scope(|scope| scope.spawn(|| file.sync_data().unwrap()).join().unwrap());
            });
        });

        fs::remove_file(&path).unwrap();
        let after = counter.now().unwrap();
        let calls = counter.calls(&before, &after);
        assert_eq!(calls.calls, [("fsync".to_owned(), 1), ("fdatasync".to_owned(), 2)]);
        assert_eq!(calls.count(), 3);
    }
}
