//! The bench's output as it is stored: one [`Report`] a file, JSON. `bench compare` and the tables read
//! nothing else.

use crate::Result;
use crate::engine::{Abilities, Settings};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

/// Bumped when a field changes its meaning; other versions are refused.
pub const REPORT_VERSION: u32 = 1;

/// One run of the bench.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub version: u32,
    /// UTC, `2026-11-20T16:00:00Z`.
    pub started: String,
    pub finished: String,
    /// The command line.
    pub command: Vec<String>,
    pub machine: Machine,
    pub plan: Plan,
    /// In the order in which they took turns.
    pub engines: Vec<EngineInfo>,
    /// In the order of the plan.
    pub workloads: Vec<WorkloadInfo>,
    pub limits: Vec<Limit>,
    /// One for each (engine, workload, round) that was run.
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub kernel: String,
    pub file_system: String,
    pub rustc: String,
    /// Load average of the last minute when the run began and when it ended: above 1 other programs took
    /// part.
    pub load_before: f64,
    pub load_after: f64,
}

/// Sizes of the run, from which every workload takes its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub name: String,
    pub rounds: u32,
    /// Records of a loaded database and of a fill.
    pub records: u64,
    pub value_bytes: usize,
    /// A workload stops asking for more after this time, or a part of it; its row says so.
    pub row_seconds: f64,
    pub settings: Settings,
    pub seed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EngineInfo {
    pub name: String,
    /// Of its crate, from the lock file.
    pub version: String,
    pub abilities: Abilities,
    /// Name and value, from the adapter.
    pub settings: Vec<(String, String)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkloadInfo {
    pub name: String,
    /// One line: what is done, to what.
    pub what: String,
    pub threads: usize,
    /// What one operation is: `put`, `get`, `entry` ...
    pub unit: String,
    /// Whether each commit must be on the medium: rows must show the system calls for it.
    pub is_synced: bool,
    /// Whether the row is a burst: fewer than 20 write buffers of data, on purpose.
    pub is_burst: bool,
}

/// One workload on one engine, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub engine: String,
    pub workload: String,
    pub round: u32,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    Measured(Box<Measured>),
    /// The engine has nothing to do this with, or what it has does not keep the promise of the row.
    Unsupported {
        why: String,
    },
    /// It failed, gave a wrong answer, or did not end in time.
    Failed {
        why: String,
    },
}

/// Times are of the measured part alone: opening, loading and making keys are not in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Operations done, of all threads.
    pub operations: u64,
    /// Commits done, of all threads: what [`Measured::sync_calls`] is compared with.
    pub commits: u64,
    /// Until the work asked for was done.
    pub seconds: f64,
    /// From the beginning until compaction had settled too; writing workloads only.
    pub settled_seconds: Option<f64>,
    /// Whether time ran out before the work did.
    pub is_capped: bool,
    /// CPU time of all threads of the process until the work was done, user and system.
    pub cpu_ns: u64,
    /// The same until it had settled.
    pub settled_cpu_ns: Option<u64>,
    /// Time that threads were ready and waited for a core, as `/proc/self/task/*/schedstat` has it.
    pub run_queue_ns: u64,
    /// Of single operations (a batch counts as one); `None` for workloads that are one operation.
    pub latency: Option<Latency>,
    /// Given to the block layer until settled, as `/proc/self/io` has it: `write_bytes`.
    pub written_bytes: u64,
    /// Given to `write` calls until settled: `wchar`. Stores through a map are not in it.
    pub write_call_bytes: u64,
    /// Keys and values that the workload wrote.
    pub user_bytes: u64,
    /// Allocated in the directory at the end.
    pub disk_bytes: u64,
    /// Highest resident memory without and with a file behind it, sampled every 10 ms.
    pub peak_anon_bytes: u64,
    pub peak_file_bytes: u64,
    /// Calls of fsync, fdatasync, msync, sync_file_range and syncfs; `None` where they could not be counted.
    pub sync_calls: Option<SyncCalls>,
    /// Why the row does not count: fewer syncs than its promise needs, a wrong number of entries found ...
    pub invalid: Option<String>,
    /// What else the workload has to say, such as `entries found`: name and value.
    pub facts: Vec<(String, f64)>,
}

/// In nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// Calls of the measured part, by name; how they were counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SyncCalls {
    pub counter: String,
    pub calls: Vec<(String, u64)>,
}

/// One line of what the machine can do at most.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limit {
    pub name: String,
    pub what: String,
    pub value: f64,
    pub unit: String,
}

impl Report {
    pub fn read(path: &Path) -> Result<Report> {
        let at = |error: String| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
        let report: Report = serde_json::from_str(&text).map_err(|error| at(error.to_string()))?;
        if report.version != REPORT_VERSION {
            let why = format!("report version {}, this bench reads {REPORT_VERSION}", report.version);
            return Err(at(why).into());
        }
        Ok(report)
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .map_err(|error| format!("{}: {error}", path.display()).into())
    }
}

impl Measured {
    pub fn operations_per_second(&self) -> f64 {
        self.operations as f64 / self.seconds.max(1e-9)
    }

    pub fn cpu_ns_per_operation(&self) -> f64 {
        self.cpu_ns as f64 / self.operations.max(1) as f64
    }
}

impl SyncCalls {
    pub fn count(&self) -> u64 {
        self.calls.iter().map(|(_, count)| count).sum()
    }
}
