//! What tables there are and what stands in their cells.

use super::{
    grid::{Entry, Grid},
    number,
};
use crate::engine::Buffered;
use crate::record::{EngineInfo, Limit};
use crate::summary::{Cell, Figures, Flag, Spread, Summary};

/// All tables that have anything to show.
pub fn grids(summary: &Summary<'_>) -> Vec<Grid> {
    let ratio_note = format!(
        "Median of the rounds, ± half of the distance between the slowest and the fastest round in per cent of it, \
         and the ratio to {}: the median of the ratios of rounds in which both ran. More is better.",
        summary.against
    );
    let grids = [
        grid(summary, "Throughput, operations per second", &ratio_note, |figures| {
            Some(rate(figures.rate, figures.ratio, figures.rounds_count))
        }),
        grid(
            summary,
            "Throughput until settled, operations per second",
            &settled_note(summary),
            settled_rate,
        ),
        grid(
            summary,
            "CPU time per operation",
            &format!("All threads, user and system, and the ratio to {}. Less is better.", summary.against),
            |figures| Some(cpu(figures)),
        ),
        grid(
            summary,
            "CPU time per operation until settled",
            "With what compaction needed after the work was done. Less is better.",
            |figures| Some(number::duration(figures.settled_cpu_ns_per_operation?)),
        ),
        grid(summary, "Latency: p50 / p99 / p99.9", "Of single operations. Less is better.", |figures| {
            let latency = figures.latency?;
            let parts = [latency.p50, latency.p99, latency.p999].map(|ns| number::duration(ns as f64));
            Some(parts.join(" / "))
        }),
        grid(
            summary,
            "Write amplification",
            "Bytes given to the block layer until settled, for each byte that the user wrote. Less is better.",
            |figures| figures.write_amplification.map(number::short),
        ),
        grid(
            summary,
            "Space amplification",
            "Bytes on disk at the end for each byte of keys and values. Less is better.",
            |figures| figures.space_amplification.map(number::short),
        ),
        grid(
            summary,
            "Peak memory: anonymous / file-backed",
            "Resident, sampled every 10 ms. Less is better.",
            |figures| {
                let parts = [figures.peak_anon_bytes, figures.peak_file_bytes].map(number::bytes);
                Some(parts.join(" / "))
            },
        ),
        grid(
            summary,
            "Sync calls per commit",
            "Calls of fsync, fdatasync, msync, sync_file_range and syncfs. Below 1, commits share a sync.",
            |figures| figures.syncs_per_commit.map(number::short),
        ),
        grid(
            summary,
            "Time spent waiting for a core",
            "Share of the time in which threads could have run. High shares say that the machine was busy or that \
             the engine has more threads than there are cores.",
            |figures| Some(number::percent(figures.run_queue_share)),
        ),
    ];
    grids.into_iter().flatten().chain(facts(summary)).collect()
}

fn settled_note(summary: &Summary<'_>) -> String {
    let mut note =
        "As above, but the time runs until compaction has nothing left to do. More is better.".to_owned();
    let engines = summary.report.engines.iter().filter(|engine| !engine.abilities.settle);
    let names: Vec<&str> = engines.map(|engine| engine.name.as_str()).collect();
    if !names.is_empty() {
        note += &format!(
            " Of those that cannot be asked ({}) it ends where a second without a written byte begins, or after 5 s.",
            names.join(", ")
        );
    }
    note
}

/// What each mark that the tables of `summary` use means, and the reasons of single rows: `(mark, text)`.
pub fn legend(summary: &Summary<'_>) -> Vec<(char, String)> {
    let mut lines: Vec<(char, String)> = Vec::new();
    for cell in &summary.cells {
        for flag in &cell.flags {
            let line = (mark(flag), meaning(flag, cell));
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines.sort();
    lines
}

/// What the machine can do at most.
pub fn limits(limits: &[Limit]) -> Option<Grid> {
    let rows = limits.iter().map(|limit| {
        let value = format!("{} {}", number::short(limit.value), limit.unit);
        vec![Entry::new(&limit.name), Entry::new(value), Entry::new(&limit.what)]
    });
    (!limits.is_empty()).then(|| Grid {
        title: "Limits of the machine".into(),
        note: "What no engine can go beyond here; measured in the same run.".into(),
        header: ["limit", "value", "how"].map(Entry::new).into(),
        rows: rows.collect(),
    })
}

/// What a write that returned is worth after a kill of the process.
pub fn survival(engine: &EngineInfo) -> &'static str {
    match engine.abilities.buffered {
        Buffered::Survives => "survives",
        Buffered::MayLose => "the last may be lost",
        Buffered::NoLog => "lost: no log",
    }
}

/// Workloads down, engines across. `None` if no cell has anything to show.
fn grid(
    summary: &Summary<'_>,
    title: &str,
    note: &str,
    show: impl Fn(&Figures) -> Option<String>,
) -> Option<Grid> {
    let mut rows = Vec::new();
    for workload in &summary.report.workloads {
        let entries: Vec<(Entry, bool)> = summary
            .report
            .engines
            .iter()
            .map(|engine| entry(summary.cell(&workload.name, &engine.name), &show))
            .collect();
        if entries.iter().any(|(_, has_figure)| *has_figure) {
            let marks = if workload.is_burst { mark(&Flag::Burst).to_string() } else { String::new() };
            let name = Entry { text: workload.name.clone(), marks };
            rows.push(std::iter::once(name).chain(entries.into_iter().map(|(entry, _)| entry)).collect());
        }
    }
    let engines = summary.report.engines.iter().map(|engine| Entry::new(&engine.name));
    (!rows.is_empty()).then(|| Grid {
        title: title.into(),
        note: note.into(),
        header: std::iter::once(Entry::new("workload")).chain(engines).collect(),
        rows,
    })
}

/// The entry of a cell, and whether it shows a figure.
fn entry(cell: Option<&Cell<'_>>, show: impl Fn(&Figures) -> Option<String>) -> (Entry, bool) {
    let Some(cell) = cell else { return (Entry::default(), false) };
    let shown = cell.figures.as_ref().and_then(show);
    let has_figure = shown.is_some();
    let text = match shown {
        Some(text) if cell.is_valid => text,
        Some(text) => format!("({text})"),
        None => "-".into(),
    };
    (Entry { text, marks: marks(&cell.flags) }, has_figure)
}

/// One row for each fact of each workload.
fn facts(summary: &Summary<'_>) -> Option<Grid> {
    let mut rows: Vec<Vec<Entry>> = Vec::new();
    for workload in &summary.report.workloads {
        let of_workload = || summary.cells.iter().filter(|cell| cell.workload.name == workload.name);
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in of_workload().filter_map(|cell| cell.figures.as_ref()).flat_map(|of| &of.facts) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        for name in names {
            let show = |figures: &Figures| {
                figures.facts.iter().find(|(of, _)| of == name).map(|(_, value)| number::short(*value))
            };
            let mut row = vec![Entry::new(format!("{}: {name}", workload.name))];
            for engine in &summary.report.engines {
                row.push(entry(summary.cell(&workload.name, &engine.name), show).0);
            }
            rows.push(row);
        }
    }
    let engines = summary.report.engines.iter().map(|engine| Entry::new(&engine.name));
    (!rows.is_empty()).then(|| Grid {
        title: "What else the workloads saw".into(),
        note: String::new(),
        header: std::iter::once(Entry::new("workload: what")).chain(engines).collect(),
        rows,
    })
}

/// `527k ±8% 1.74x`; without the spread of a single round, without the ratio where there is none.
fn rate(rate: Spread, ratio: Option<Spread>, rounds_count: usize) -> String {
    let mut text = number::short(rate.median);
    if rounds_count > 1 {
        text += &format!(" ±{:.0}%", rate.percent());
    }
    if let Some(ratio) = ratio {
        text += &format!(" {}", number::ratio(ratio.median));
    }
    text
}

/// As [`rate`], until settled.
fn settled_rate(figures: &Figures) -> Option<String> {
    Some(rate(figures.settled_rate?, figures.settled_ratio, figures.rounds_count))
}

fn cpu(figures: &Figures) -> String {
    let time = number::duration(figures.cpu_ns_per_operation);
    match figures.cpu_ratio {
        Some(ratio) => format!("{time} {}", number::ratio(ratio)),
        None => time,
    }
}

/// But for the mark of bursts, which the name of the workload bears.
fn marks(flags: &[Flag]) -> String {
    let mut marks: Vec<char> = flags.iter().filter(|flag| **flag != Flag::Burst).map(mark).collect();
    marks.sort_unstable();
    marks.dedup();
    marks.into_iter().collect()
}

fn mark(flag: &Flag) -> char {
    match flag {
        Flag::Burst => 'b',
        Flag::Capped => 'c',
        Flag::Short => 'h',
        Flag::UnequalWork => '~',
        Flag::Emulated { .. } => 'e',
        Flag::Failed { .. } => 'f',
        Flag::Invalid { .. } => 'i',
        Flag::MayLose => 'm',
        Flag::NoLog => 'n',
        Flag::UncheckedSyncs => 's',
        Flag::Unsupported { .. } => 'u',
    }
}

fn meaning(flag: &Flag, cell: &Cell<'_>) -> String {
    let row = format!("{} on {}", cell.workload.name, cell.engine.name);
    match flag {
        Flag::Burst => "a burst: fewer than 20 write buffers of data, on purpose".into(),
        Flag::Capped => "time ran out before the work was done; the rate is of what was done".into(),
        Flag::Short => "cut before it wrote 20 write buffers: little compaction is in it".into(),
        Flag::UnequalWork => "the ratio is of different amounts of work, since one of the two was cut".into(),
        Flag::Emulated { what } => {
            format!("{} has no {what}: done with other calls", cell.engine.name)
        }
        Flag::Failed { why } => format!("failed in a round or more: {row}: {why}"),
        Flag::Invalid { why } if cell.is_valid => format!("invalid rounds were left out: {row}: {why}"),
        Flag::Invalid { why } => format!("invalid, does not count (in brackets): {row}: {why}"),
        Flag::MayLose => "after a kill, the last writes that returned may be gone".into(),
        Flag::NoLog => "no log: after a kill, what was not flushed is gone".into(),
        Flag::UncheckedSyncs => "nobody counted the syncs, so the row's promise is unchecked".into(),
        Flag::Unsupported { why } => format!("unsupported: {row}: {why}"),
    }
}
