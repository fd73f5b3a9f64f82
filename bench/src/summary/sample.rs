//! A report made by hand, for tests.

use crate::engine::{Abilities, Buffered, Compression, Durability, Settings};
use crate::record::{
    EngineInfo, Latency, Limit, Machine, Measured, Outcome, Plan, REPORT_VERSION, Report, Row, SyncCalls,
    WorkloadInfo,
};

/// Two rounds of isopach, fjall (faster at nothing), heed (maps its file: no multi-get; faster at scans) and
/// nolog (no log), on a fill, a synced fill, a multi-get and a scan.
pub fn report() -> Report {
    let rows = [
        fill("isopach", 1, 400_000.0),
        fill("fjall", 1, 200_000.0),
        fill("heed", 1, 100_000.0),
        fill("nolog", 1, 800_000.0),
        fill("isopach", 2, 440_000.0),
        fill("fjall", 2, 176_000.0),
        fill("heed", 2, 100_000.0),
        fill("nolog", 2, 660_000.0),
        synced("isopach", Some(1_000)),
        synced("fjall", None),
        row("heed", "fillsync1", 1, Outcome::Failed { why: "disk | full <here>".into() }),
        row("nolog", "fillsync1", 1, Outcome::Unsupported { why: "no log to sync".into() }),
        read("isopach", "multiget32", 300_000.0),
        read("heed", "multiget32", 600_000.0),
        read("isopach", "scanfwd", 5_000_000.0),
        read("heed", "scanfwd", 20_000_000.0),
        read("nolog", "scanfwd", 6_000_000.0),
    ];
    Report {
        version: REPORT_VERSION,
        started: "2026-11-20T16:00:00Z".into(),
        finished: "2026-11-20T16:30:00Z".into(),
        command: vec!["bench".into(), "quick".into()],
        machine: Machine {
            cpu: "A <fast> CPU & more".into(),
            cores: 2,
            memory_bytes: 24 << 30,
            kernel: "6.1".into(),
            file_system: "ext4".into(),
            rustc: "1.95.0".into(),
            load_before: 0.25,
            load_after: 1.5,
        },
        plan: Plan {
            name: "quick".into(),
            rounds: 2,
            records: 1_000_000,
            value_bytes: 100,
            row_seconds: 10.0,
            settings: Settings {
                cache_bytes: 256 << 20,
                write_buffer_bytes: 64 << 20,
                compression: Compression::Lz4,
                durability: Durability::Buffered,
                block_bytes: 4096,
                separated_from_bytes: None,
                keyspaces_count: 1,
            },
            seed: 7,
        },
        engines: vec![
            engine("isopach", Buffered::Survives, true),
            engine("fjall", Buffered::Survives, true),
            engine("heed", Buffered::Survives, false),
            engine("nolog", Buffered::NoLog, true),
        ],
        workloads: vec![
            workload("fillrandom", "put", false),
            workload("fillsync1", "put", true),
            workload("multiget32", "entry", false),
            workload("scanfwd", "entry", false),
        ],
        limits: vec![Limit {
            name: "memcpy".into(),
            what: "copies 64 MiB".into(),
            value: 9.5,
            unit: "GB/s".into(),
        }],
        rows: rows.into(),
    }
}

pub fn engine(name: &str, buffered: Buffered, multi_get: bool) -> EngineInfo {
    EngineInfo {
        name: name.into(),
        version: "1.0.0".into(),
        abilities: Abilities {
            buffered,
            sync: true,
            keyspaces: true,
            merge: true,
            range_delete: true,
            multi_get,
            settle: true,
        },
        settings: vec![("cache_bytes".into(), "268435456".into())],
    }
}

pub fn workload(name: &str, unit: &str, is_synced: bool) -> WorkloadInfo {
    WorkloadInfo {
        name: name.into(),
        what: format!("does {name}"),
        threads: 1,
        unit: unit.into(),
        is_synced,
        is_burst: name.contains("burst"),
    }
}

pub fn row(engine: &str, workload: &str, round: u32, outcome: Outcome) -> Row {
    Row { engine: engine.into(), workload: workload.into(), round, outcome }
}

/// One second of work; settled after two.
pub fn measured(operations_per_second: f64) -> Measured {
    Measured {
        operations: operations_per_second as u64,
        commits: operations_per_second as u64,
        seconds: 1.0,
        cpu_ns: 900_000_000,
        run_queue_ns: 100_000_000,
        latency: Some(Latency { p50: 1_600, p99: 4_900, p999: 14_300, max: 1_000_000 }),
        peak_anon_bytes: 100 << 20,
        peak_file_bytes: 20 << 20,
        ..Measured::default()
    }
}

fn fill(engine: &str, round: u32, operations_per_second: f64) -> Row {
    let measured = Measured {
        settled_seconds: Some(2.0),
        settled_cpu_ns: Some(1_800_000_000),
        user_bytes: 1_000_000,
        written_bytes: 1_850_000,
        write_call_bytes: 1_900_000,
        disk_bytes: 710_000,
        facts: vec![("stalls".into(), f64::from(round))],
        ..measured(operations_per_second)
    };
    row(engine, "fillrandom", round, Outcome::Measured(Box::new(measured)))
}

fn synced(engine: &str, syncs: Option<u64>) -> Row {
    let measured = Measured {
        user_bytes: 116_000,
        sync_calls: syncs
            .map(|count| SyncCalls { counter: "perf".into(), calls: vec![("fdatasync".into(), count)] }),
        is_capped: true,
        ..measured(1_000.0)
    };
    row(engine, "fillsync1", 1, Outcome::Measured(Box::new(measured)))
}

fn read(engine: &str, workload: &str, operations_per_second: f64) -> Row {
    row(engine, workload, 1, Outcome::Measured(Box::new(measured(operations_per_second))))
}
