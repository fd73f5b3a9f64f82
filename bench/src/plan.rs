//! Presets, and the sizes that follow from a plan.

use crate::{
    engine::{BLOCK_BYTES, Compression, Durability, Settings},
    keys::NUMBER_BYTES,
    record::Plan,
    workload::{Base, Data, Ends, WORKLOADS, Workload},
};

/// Write buffers that a sustained fill must fill: fewer, and what is measured is the memory's speed.
pub const SUSTAINED_BUFFERS: u64 = 20;

/// Minutes, small: to see whether a change helps.
pub fn quick() -> Plan {
    Plan {
        name: QUICK.into(),
        rounds: 3,
        records: 190_000,
        value_bytes: 100,
        row_seconds: 1.2,
        settings: Settings {
            cache_bytes: 64 << 20,
            write_buffer_bytes: 1 << 20,
            block_bytes: BLOCK_BYTES,
            separated_from_bytes: None,
            compression: Compression::None,
            durability: Durability::Buffered,
            keyspaces_count: 1,
        },
        seed: 1,
    }
}

/// What [`quick`] runs; the others run everything.
const QUICK_WORKLOADS: &[&str] = &[
    "fillrandom",
    "fillbatch",
    "fillsync-8t",
    "overwrite",
    "readrandom",
    "readrandom-cold",
    "readwhilewriting",
    "readmissing",
    "seekrandom",
    "readseq",
    "ycsb-a",
    "ycsb-e",
];

/// The published comparison.
pub fn full() -> Plan {
    let settings = Settings {
        cache_bytes: 256 << 20,
        write_buffer_bytes: 4 << 20,
        compression: Compression::Lz4,
        ..quick().settings
    };
    Plan { name: FULL.into(), records: 750_000, row_seconds: 3.0, settings, ..quick() }
}

/// What is chosen workload by workload and knob by knob begins with the sizes of [`quick`].
pub fn run() -> Plan {
    Plan { name: "run".into(), ..quick() }
}

/// Name of [`full`].
pub const FULL: &str = "full";

/// Names of what a preset runs.
pub fn workloads(preset: &str) -> Vec<&'static str> {
    let all = WORKLOADS.iter().map(|workload| workload.name);
    if preset == QUICK { QUICK_WORKLOADS.to_vec() } else { all.collect() }
}

const QUICK: &str = "quick";

/// How much of everything a plan means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub records: u64,
    /// Keys and values of a loaded database; the same, about, for every kind of data.
    pub volume_bytes: u64,
    pub large_records: u64,
    /// Additions to counters.
    pub merges: u64,
}

impl Sizes {
    pub fn of(plan: &Plan) -> Sizes {
        let volume_bytes = plan.records * (NUMBER_BYTES + plan.value_bytes) as u64;
        let large_bytes = (NUMBER_BYTES + Data::LARGE_VALUE_BYTES) as u64;
        let merge_bytes = (NUMBER_BYTES + size_of::<u64>()) as u64;
        Sizes {
            records: plan.records,
            volume_bytes,
            large_records: volume_bytes.div_ceil(large_bytes).max(2),
            merges: volume_bytes.div_ceil(merge_bytes),
        }
    }

    /// Whether a fill writes [`SUSTAINED_BUFFERS`].
    pub fn is_sustained(&self, plan: &Plan) -> bool {
        self.volume_bytes >= SUSTAINED_BUFFERS * plan.settings.write_buffer_bytes
    }
}

/// About how long a row takes, with starting, copying and settling.
pub fn estimate_seconds(workload: &Workload, plan: &Plan) -> f64 {
    const START_SECONDS: f64 = 0.15;
    const COPY_BYTES_PER_SECOND: f64 = 0.7e9;
    let copied_bytes = if workload.base == Base::Empty { 0 } else { Sizes::of(plan).volume_bytes };
    let around_seconds = match workload.ends {
        Ends::AtTime => 0.3, // Warming.
        Ends::AtWork if workload.is_settled => plan.row_seconds * 0.3 + 0.5,
        Ends::AtWork => 0.0,
    };
    START_SECONDS + copied_bytes as f64 / COPY_BYTES_PER_SECOND + workload.seconds(plan) + around_seconds
}

/// About how long an engine takes to make its loaded databases, once a run.
pub fn estimate_loading_seconds(plan: &Plan) -> f64 {
    const LOAD_BYTES_PER_SECOND: f64 = 20e6;
    3.0 * Sizes::of(plan).volume_bytes as f64 / LOAD_BYTES_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload;

    #[test]
    fn fills_of_the_presets_are_sustained() {
        for plan in [quick(), full()] {
            let sizes = Sizes::of(&plan);

            assert!(sizes.is_sustained(&plan), "{}", plan.name);
            assert!(sizes.large_records * 16_400 >= SUSTAINED_BUFFERS * plan.settings.write_buffer_bytes);
            assert!(sizes.merges * 24 >= SUSTAINED_BUFFERS * plan.settings.write_buffer_bytes);
        }
    }

    #[test]
    fn fills_of_a_plan_too_small_are_bursts() {
        let plan = Plan { records: 1000, ..full() };
        let info = |name: &str| workload::find(name).unwrap().info(&plan);

        assert!(info("fillrandom").is_burst);
        assert!(!info("readrandom").is_burst);
        assert!(!workload::find("fillrandom").unwrap().info(&full()).is_burst);
    }

    #[test]
    fn presets_fit_in_their_time() {
        let minutes = |plan: &Plan, engines_count: f64| {
            let names = workloads(&plan.name);
            let row_seconds: f64 =
                names.iter().map(|name| estimate_seconds(workload::find(name).unwrap(), plan)).sum();
            engines_count * (row_seconds * f64::from(plan.rounds) + estimate_loading_seconds(plan)) / 60.0
        };

        assert!(minutes(&quick(), 9.0) < 8.0);
        assert!(minutes(&full(), 10.0) < 55.0);
    }
}
