//! One cell for each (workload, engine) of a report: medians and spreads of its rounds, ratios, and what must
//! be known to read them. Pure functions; the tables, charts and documents show what is here and compute
//! nothing.

pub mod group;
pub mod standing;
#[cfg(test)]
pub mod sample;
#[cfg(test)]
mod tests;

use crate::engine::{Abilities, Buffered, Durability};
use crate::plan::SUSTAINED_BUFFERS;
use crate::record::{EngineInfo, Latency, Measured, Outcome, Report, Row, WorkloadInfo};

/// The engine whose standing the documents are about.
pub const ISOPACH: &str = "isopach";
/// The engine that does nothing: a floor, never a peer.
pub const NOOP: &str = "noop";
/// Fact by which a workload says how many bytes of keys and values are alive at its end. Fills need not: what
/// they wrote is what lives.
pub const LIVE_BYTES_FACT: &str = "live_bytes";

/// A report, reduced.
pub struct Summary<'a> {
    pub report: &'a Report,
    /// The engine that ratios are against.
    pub against: &'a str,
    /// By workload, then by engine, in the order of the report. Pairs that were never run are absent.
    pub cells: Vec<Cell<'a>>,
}

/// One workload on one engine, all rounds.
pub struct Cell<'a> {
    pub workload: &'a WorkloadInfo,
    pub engine: &'a EngineInfo,
    /// Of the valid rounds; of the invalid ones if there is no other; `None` if no round was measured.
    pub figures: Option<Figures>,
    /// Whether the figures are of valid rounds: only then they count.
    pub is_valid: bool,
    pub flags: Vec<Flag>,
}

/// Medians over rounds.
#[derive(Clone, Debug)]
pub struct Figures {
    pub rounds_count: usize,
    /// Operations per second until the work was done.
    pub rate: Spread,
    /// The same until compaction had settled too.
    pub settled_rate: Option<Spread>,
    /// Rate over that of the engine that ratios are against, of rounds in which both ran.
    pub ratio: Option<Spread>,
    pub settled_ratio: Option<Spread>,
    pub cpu_ns_per_operation: f64,
    pub cpu_ratio: Option<f64>,
    pub settled_cpu_ns_per_operation: Option<f64>,
    pub latency: Option<Latency>,
    /// Of the time in which threads could have run, the share that they waited for a core.
    pub run_queue_share: f64,
    /// Bytes given to the block layer for each byte that the user wrote.
    pub write_amplification: Option<f64>,
    /// Bytes on disk for each live byte of keys and values.
    pub space_amplification: Option<f64>,
    pub peak_anon_bytes: f64,
    pub peak_file_bytes: f64,
    pub syncs_per_commit: Option<f64>,
    /// Whatever else the workload said, but for [`LIVE_BYTES_FACT`].
    pub facts: Vec<(String, f64)>,
}

/// Median, lowest and highest of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// What must be known to read a cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// In a round or more, time ran out before the work did.
    Capped,
    /// Time ran out before 20 write buffers were written: little of the compaction that so much data needs is
    /// in it.
    Short,
    /// One of the two that a ratio is of did less work than the other.
    UnequalWork,
    /// A round or more does not count.
    Invalid { why: String },
    /// The engine cannot do this.
    Unsupported { why: String },
    /// A round or more failed.
    Failed { why: String },
    /// The workload promises syncs and nobody counted them.
    UncheckedSyncs,
    /// The engine lacks what the workload asks for; the bench does it with other calls.
    Emulated { what: &'static str },
    /// Fewer than 20 write buffers of data, on purpose.
    Burst,
    /// What the workload wrote would be lost by a kill.
    NoLog,
    /// The last of what the workload wrote may be lost by a kill.
    MayLose,
}

impl<'a> Summary<'a> {
    pub fn of(report: &'a Report, against: &'a str) -> Summary<'a> {
        let mut cells = Vec::new();
        for workload in &report.workloads {
            let base = valid_rounds(report, &workload.name, against);
            let writes = writes(report, &workload.name);
            for engine in &report.engines {
                let rows: Vec<&Row> = rows_of(report, &workload.name, &engine.name).collect();
                if !rows.is_empty() {
                    cells.push(cell(report, workload, engine, &rows, against, &base, writes));
                }
            }
        }
        Summary { report, against, cells }
    }

    pub fn cell(&self, workload: &str, engine: &str) -> Option<&Cell<'a>> {
        self.cells.iter().find(|cell| cell.workload.name == workload && cell.engine.name == engine)
    }
}

impl Cell<'_> {
    /// The figures, if they count.
    pub fn valid_figures(&self) -> Option<&Figures> {
        self.figures.as_ref().filter(|_| self.is_valid)
    }

    /// Whether a kill of the process loses nothing of what this workload wrote. True of workloads that write
    /// nothing.
    pub fn is_durable(&self) -> bool {
        !self.flags.iter().any(|flag| matches!(flag, Flag::NoLog | Flag::MayLose))
    }
}

impl Spread {
    /// `None` of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let values: Vec<f64> = values.into_iter().collect();
        let median = median(&values)?;
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Spread { median, min, max })
    }

    /// Half of the distance from lowest to highest, in per cent of the median.
    pub fn percent(&self) -> f64 {
        if self.median > 0.0 { (self.max - self.min) / 2.0 / self.median * 100.0 } else { 0.0 }
    }

    /// Whether no value lies in both.
    pub fn is_apart_from(&self, other: &Spread) -> bool {
        self.min > other.max || other.min > self.max
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 0 => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

/// What an engine does without: the bench does it with other calls in workloads that need it.
pub fn lacks(abilities: &Abilities) -> Vec<&'static str> {
    let has =
        [(abilities.merge, MERGE), (abilities.range_delete, RANGE_DELETE), (abilities.multi_get, MULTI_GET)];
    has.into_iter().filter(|(has, _)| !has).map(|(_, what)| what).collect()
}

const MERGE: &str = "merge";
const RANGE_DELETE: &str = "range delete";
const MULTI_GET: &str = "multi-get";

type Round<'a> = (u32, &'a Measured);

fn rows_of<'a>(report: &'a Report, workload: &str, engine: &str) -> impl Iterator<Item = &'a Row> {
    report.rows.iter().filter(move |row| row.workload == workload && row.engine == engine)
}

fn valid_rounds<'a>(report: &'a Report, workload: &str, engine: &str) -> Vec<Round<'a>> {
    rows_of(report, workload, engine)
        .filter_map(measured)
        .filter(|(_, measured)| measured.invalid.is_none())
        .collect()
}

fn measured(row: &Row) -> Option<Round<'_>> {
    match &row.outcome {
        Outcome::Measured(measured) => Some((row.round, measured)),
        Outcome::Unsupported { .. } | Outcome::Failed { .. } => None,
    }
}

/// Whether a workload writes, on whatever engine, or shows what became of writes before it.
fn writes(report: &Report, workload: &str) -> bool {
    workload.contains("recovery")
        || report
            .rows
            .iter()
            .filter(|row| row.workload == workload)
            .filter_map(measured)
            .any(|(_, measured)| measured.user_bytes > 0)
}

fn cell<'a>(
    report: &Report,
    workload: &'a WorkloadInfo,
    engine: &'a EngineInfo,
    rows: &[&Row],
    against: &str,
    base: &[Round<'_>],
    writes: bool,
) -> Cell<'a> {
    let all: Vec<Round<'_>> = rows.iter().filter_map(|row| measured(row)).collect();
    let valid: Vec<Round<'_>> =
        all.iter().copied().filter(|(_, measured)| measured.invalid.is_none()).collect();
    let is_valid = !valid.is_empty();
    let is_fill = workload.name.contains("fill");
    let mut flags_of_work = Vec::new();
    let figures = if is_valid { figures(&valid, base, is_fill) } else { figures(&all, &[], is_fill) };
    if is_valid && is_short(&valid, workload, report) {
        flags_of_work.push(Flag::Short);
    }
    if engine.name != against && is_unequal(&valid, base) {
        flags_of_work.push(Flag::UnequalWork);
    }
    let is_synced = workload.is_synced || report.plan.settings.durability == Durability::Sync;
    let mut flags = row_flags(rows, is_synced && writes);
    flags.extend(flags_of_work);
    if figures.is_some() {
        flags.extend(lasting_flags(workload, engine, writes && !is_synced));
    }
    flags.sort();
    flags.dedup();
    Cell { workload, engine, figures, is_valid, flags }
}

/// Whether a sustained fill was cut before it filled the write buffers that make it one.
fn is_short(rounds: &[Round<'_>], workload: &WorkloadInfo, report: &Report) -> bool {
    let enough = SUSTAINED_BUFFERS * report.plan.settings.write_buffer_bytes;
    !workload.is_burst
        && !workload.is_synced
        && rounds.iter().any(|(_, measured)| {
            measured.is_capped && measured.settled_seconds.is_some() && measured.user_bytes < enough
        })
}

/// Whether one of the two was cut, so that they did not do the same.
fn is_unequal(rounds: &[Round<'_>], base: &[Round<'_>]) -> bool {
    rounds.iter().any(|(round, measured)| {
        base.iter().any(|(of_round, of)| {
            round == of_round && (measured.is_capped || of.is_capped) && measured.operations != of.operations
        })
    })
}

fn figures(rounds: &[Round<'_>], base: &[Round<'_>], is_fill: bool) -> Option<Figures> {
    let rate = Spread::of(rounds.iter().map(|(_, measured)| measured.operations_per_second()))?;
    let medians = |value: fn(&Measured) -> Option<f64>| -> Option<f64> {
        median(&rounds.iter().filter_map(|(_, measured)| value(measured)).collect::<Vec<_>>())
    };
    Some(Figures {
        rounds_count: rounds.len(),
        rate,
        settled_rate: Spread::of(rounds.iter().filter_map(|(_, measured)| settled_rate(measured))),
        ratio: ratios(rounds, base, |measured| Some(measured.operations_per_second())),
        settled_ratio: ratios(rounds, base, settled_rate),
        cpu_ns_per_operation: medians(|measured| Some(measured.cpu_ns_per_operation()))?,
        cpu_ratio: ratios(rounds, base, |measured| Some(measured.cpu_ns_per_operation())).map(|of| of.median),
        settled_cpu_ns_per_operation: medians(|measured| {
            Some(measured.settled_cpu_ns? as f64 / measured.operations.max(1) as f64)
        }),
        latency: latency(rounds),
        run_queue_share: medians(run_queue_share)?,
        write_amplification: medians(|measured| {
            measured.settled_seconds.and_then(|_| quotient(measured.written_bytes, measured.user_bytes))
        }),
        space_amplification: median(
            &rounds.iter().filter_map(|(_, of)| space_amplification(of, is_fill)).collect::<Vec<_>>(),
        ),
        peak_anon_bytes: medians(|measured| Some(measured.peak_anon_bytes as f64))?,
        peak_file_bytes: medians(|measured| Some(measured.peak_file_bytes as f64))?,
        syncs_per_commit: medians(|measured| {
            quotient(measured.sync_calls.as_ref()?.count(), measured.commits)
        }),
        facts: facts(rounds),
    })
}

/// Of each round in which both ran, the value over the value of the base.
fn ratios(
    rounds: &[Round<'_>],
    base: &[Round<'_>],
    value: impl Fn(&Measured) -> Option<f64>,
) -> Option<Spread> {
    Spread::of(rounds.iter().filter_map(|(round, measured)| {
        let (_, base) = base.iter().find(|(base_round, _)| base_round == round)?;
        let ratio = value(measured)? / value(base)?;
        ratio.is_finite().then_some(ratio)
    }))
}

fn settled_rate(measured: &Measured) -> Option<f64> {
    Some(measured.operations as f64 / measured.settled_seconds?.max(1e-9))
}

/// Every percentile is a median by itself.
fn latency(rounds: &[Round<'_>]) -> Option<Latency> {
    let of = |value: fn(&Latency) -> u64| -> Option<u64> {
        let values: Vec<f64> = rounds
            .iter()
            .filter_map(|(_, measured)| Some(value(measured.latency.as_ref()?) as f64))
            .collect();
        Some(median(&values)?.round() as u64)
    };
    Some(Latency {
        p50: of(|latency| latency.p50)?,
        p99: of(|latency| latency.p99)?,
        p999: of(|latency| latency.p999)?,
        max: of(|latency| latency.max)?,
    })
}

fn run_queue_share(measured: &Measured) -> Option<f64> {
    let wanted_ns = measured.cpu_ns + measured.run_queue_ns;
    Some(measured.run_queue_ns as f64 / wanted_ns.max(1) as f64)
}

fn space_amplification(measured: &Measured, is_fill: bool) -> Option<f64> {
    let live_bytes = measured.facts.iter().find(|(name, _)| name == LIVE_BYTES_FACT).map(|(_, bytes)| *bytes);
    let live_bytes = live_bytes.or(is_fill.then_some(measured.user_bytes as f64))?;
    (live_bytes > 0.0).then(|| measured.disk_bytes as f64 / live_bytes)
}

fn facts(rounds: &[Round<'_>]) -> Vec<(String, f64)> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rounds.iter().flat_map(|(_, measured)| &measured.facts) {
        if name != LIVE_BYTES_FACT && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let values = |wanted: &str| -> Vec<f64> {
        let all = rounds.iter().flat_map(|(_, measured)| &measured.facts);
        all.filter(|(name, _)| name == wanted).map(|(_, value)| *value).collect()
    };
    names.into_iter().filter_map(|name| Some((name.to_owned(), median(&values(name))?))).collect()
}

fn quotient(above: u64, below: u64) -> Option<f64> {
    (below > 0).then(|| above as f64 / below as f64)
}

/// Flags that single rounds raise.
fn row_flags(rows: &[&Row], must_sync: bool) -> Vec<Flag> {
    let mut flags = Vec::new();
    for row in rows {
        match &row.outcome {
            Outcome::Unsupported { why } => flags.push(Flag::Unsupported { why: why.clone() }),
            Outcome::Failed { why } => flags.push(Flag::Failed { why: why.clone() }),
            Outcome::Measured(measured) => {
                flags.extend(measured.is_capped.then_some(Flag::Capped));
                flags.extend(measured.invalid.clone().map(|why| Flag::Invalid { why }));
                flags.extend((must_sync && measured.sync_calls.is_none()).then_some(Flag::UncheckedSyncs));
            }
        }
    }
    flags
}

/// Flags that follow from the workload and the engine, whatever was measured.
fn lasting_flags(workload: &WorkloadInfo, engine: &EngineInfo, writes_unsynced: bool) -> Vec<Flag> {
    let mut flags: Vec<Flag> = lacks(&engine.abilities)
        .into_iter()
        .filter(|what| needs(&workload.name, what))
        .map(|what| Flag::Emulated { what })
        .collect();
    flags.extend(workload.is_burst.then_some(Flag::Burst));
    if writes_unsynced && engine.name != NOOP {
        match engine.abilities.buffered {
            Buffered::Survives => {}
            Buffered::MayLose => flags.push(Flag::MayLose),
            Buffered::NoLog => flags.push(Flag::NoLog),
        }
    }
    flags
}

/// Whether a workload asks for what some engines lack, by its name.
fn needs(workload: &str, what: &str) -> bool {
    let name = workload.replace(['-', '_', ' '], "");
    match what {
        MERGE => name.contains("merge"),
        RANGE_DELETE => ["deleterange", "hole"].iter().any(|part| name.contains(part)),
        MULTI_GET => ["multiget", "multiread"].iter().any(|part| name.contains(part)),
        _ => false,
    }
}
