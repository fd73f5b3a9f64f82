//! A report as a Markdown document: what was measured, on what, with which settings, and where Isopach loses.

use crate::record::Report;
use crate::summary::{
    ISOPACH, Summary, lacks,
    standing::{Loss, Measure, absent, losses, worst},
};
use crate::table::{
    grid::{Entry, Grid, escaped},
    headline, missing, number, sections,
};

/// Rows that are named first of all.
const WORST_COUNT: usize = 5;

/// The report as a document; ratios are against the engine named `against`.
pub fn document(report: &Report, against: &str) -> String {
    let summary = Summary::of(report, against);
    let mut parts = vec![opening(report, against)];
    let grids = [machine(report), engines(report), workloads(report)];
    parts.extend(grids.iter().map(|grid| grid.to_markdown(2)));
    parts.push("## Figures\n".into());
    parts.push(marks(&summary));
    parts.extend(sections::grids(&summary).iter().map(|grid| grid.to_markdown(3)));
    parts.extend(sections::limits(&report.limits).map(|grid| grid.to_markdown(2)));
    parts.push(where_isopach_loses(report));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn opening(report: &Report, against: &str) -> String {
    let day = report.started.split('T').next().unwrap_or_default();
    let mut text = format!("# Isopach beside its peers, {}\n\n", escaped(day));
    text += &format!("{}\n\n", escaped(&headline(report)));
    text += &format!(
        "Command: `{}`. From {} to {}. How it is measured: `bench/README.md`.\n",
        report.command.join(" ").replace('`', "'"),
        escaped(&report.started),
        escaped(&report.finished),
    );
    let rounds_count = report.plan.rounds;
    if rounds_count < 2 {
        text += "\nOne round: there is no spread, and small differences mean nothing.\n";
    }
    if let Some(warning) = missing(report, against) {
        text += &format!("\n{}\n", escaped(&warning));
    }
    text
}

fn machine(report: &Report) -> Grid {
    let (machine, plan, settings) = (&report.machine, &report.plan, &report.plan.settings);
    let rows = [
        ("CPU", machine.cpu.clone()),
        ("cores", machine.cores.to_string()),
        ("memory", number::bytes(machine.memory_bytes as f64)),
        ("kernel", machine.kernel.clone()),
        ("file system", machine.file_system.clone()),
        ("rustc", machine.rustc.clone()),
        (
            "load average before and after",
            format!(
                "{:.2}, {:.2} (above 1 before: other programs took part)",
                machine.load_before, machine.load_after
            ),
        ),
        ("plan", plan.name.clone()),
        ("rounds", plan.rounds.to_string()),
        ("records", number::short(plan.records as f64)),
        ("value", format!("{} B", plan.value_bytes)),
        ("longest row", format!("{} s", number::short(plan.row_seconds))),
        ("seed", plan.seed.to_string()),
        ("cache", number::bytes(settings.cache_bytes as f64)),
        ("write buffer", number::bytes(settings.write_buffer_bytes as f64)),
        ("compression", format!("{:?}", settings.compression).to_lowercase()),
        (
            "durability where a row does not say otherwise",
            format!("{:?}", settings.durability).to_lowercase(),
        ),
    ];
    Grid {
        title: "Machine and plan".into(),
        note: String::new(),
        header: ["what", "value"].map(Entry::new).into(),
        rows: rows.into_iter().map(|(what, value)| vec![Entry::new(what), Entry::new(value)]).collect(),
    }
}

fn engines(report: &Report) -> Grid {
    let rows = report.engines.iter().map(|engine| {
        let settings: Vec<String> =
            engine.settings.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let lacking = lacks(&engine.abilities);
        let cells = [
            engine.name.clone(),
            engine.version.clone(),
            sections::survival(engine).to_owned(),
            if lacking.is_empty() { "-".into() } else { lacking.join(", ") },
            settings.join("; "),
        ];
        cells.map(Entry::new).into()
    });
    Grid {
        title: "Engines".into(),
        note: "In the order in which they took turns.".into(),
        header: ["engine", "version", "unsynced write after a kill", "lacks", "settings"]
            .map(Entry::new)
            .into(),
        rows: rows.collect(),
    }
}

fn workloads(report: &Report) -> Grid {
    let rows = report.workloads.iter().map(|workload| {
        let cells = [
            workload.name.clone(),
            workload.what.clone(),
            workload.threads.to_string(),
            workload.unit.clone(),
            if workload.is_synced { "yes" } else { "no" }.into(),
        ];
        cells.map(Entry::new).into()
    });
    Grid {
        title: "Workloads".into(),
        note: String::new(),
        header: ["workload", "what", "threads", "operation", "synced"].map(Entry::new).into(),
        rows: rows.collect(),
    }
}

fn marks(summary: &Summary<'_>) -> String {
    let legend = sections::legend(summary);
    let lines: Vec<String> =
        legend.iter().map(|(mark, meaning)| format!("- <sup>{mark}</sup> {}\n", escaped(meaning))).collect();
    lines.concat()
}

fn where_isopach_loses(report: &Report) -> String {
    let mut text = "## Where Isopach loses: throughput\n\n".to_owned();
    if missing(report, ISOPACH).is_some() {
        return text + "Isopach did not take part.\n";
    }
    text += "Every row in which a peer was faster than Isopach in every round in which both ran, worst first. \
             Only writes tell durable peers from others: reads lose nothing when a process is killed.\n\n";
    let absent = absent(report);
    if !absent.is_empty() {
        text += &format!("Rows in which Isopach has no valid figure: {}.\n\n", escaped(&absent.join(", ")));
    }
    let losses = losses(report);
    let (durable, others): (Vec<&Loss>, Vec<&Loss>) = losses.iter().partition(|loss| loss.is_durable);
    let named: Vec<String> = worst(&losses, WORST_COUNT)
        .into_iter()
        .map(|loss| {
            let ratio = number::ratio(loss.ratio);
            format!("{}{} ({} {ratio})", escaped(&loss.workload), suffix(loss), escaped(&loss.peer))
        })
        .collect();
    if named.is_empty() {
        text += "No durable peer was faster in any row.\n";
    } else {
        text += &format!("The worst rows: {}.\n", named.join(", "));
    }
    let tables = [
        (
            "To durable peers",
            "A write that returned survives a kill, as Isopach's does, or the row syncs.",
            durable,
        ),
        (
            "To engines that lose writes",
            "No log, or one that is held back in the process: a kill loses writes.",
            others,
        ),
    ];
    for (title, note, losses) in tables {
        if !losses.is_empty() {
            text += &format!("\n{}", losses_grid(title, note, &losses).to_markdown(3));
        }
    }
    text
}

fn losses_grid(title: &str, note: &str, losses: &[&Loss]) -> Grid {
    let rows = losses.iter().map(|loss| {
        let cells = [
            format!("{}{}", loss.workload, suffix(loss)),
            loss.peer.clone(),
            number::short(loss.peer_rate),
            number::short(loss.isopach_rate),
            format!("{}{}", if loss.is_unequal { "~" } else { "" }, number::ratio(loss.ratio)),
        ];
        cells.map(Entry::new).into()
    });
    Grid {
        title: title.into(),
        note: note.into(),
        header: ["workload", "peer", "peer, per second", "isopach, per second", "ratio"]
            .map(Entry::new)
            .into(),
        rows: rows.collect(),
    }
}

fn suffix(loss: &Loss) -> &'static str {
    match loss.measure {
        Measure::Done => "",
        Measure::Settled => ", until settled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::sample;

    #[test]
    fn document_tells_machine_plan_engines_and_figures() {
        let text = document(&sample::report(), "isopach");

        let expected = [
            "# Isopach beside its peers, 2026-11-20\n",
            "Command: `bench quick`.",
            "| CPU | A &lt;fast> CPU &amp; more |",
            "| write buffer | 64M |",
            "| heed | 1.0.0 | survives | multi-get | cache\\_bytes: 268435456 |",
            "| nolog | 1.0.0 | lost: no log | - | cache\\_bytes: 268435456 |",
            "| scanfwd | does scanfwd | 1 | entry | no |",
            "| fillrandom | 420k ±5% 1.00x | 188k ±6% 0.45x |",
            "| fillsync1 | 1.0k 1.00x <sup>c</sup> |",
            "- <sup>f</sup> failed in a round or more: fillsync1 on heed: disk \\| full &lt;here>",
            "| memcpy | 9.50 GB/s | copies 64 MiB |",
        ];
        for part in expected {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }

    #[test]
    fn losses_are_named_worst_first() {
        let text = document(&sample::report(), "fjall");

        let section = text.split("## Where Isopach loses: throughput\n").nth(1).unwrap();
        assert!(
            section.contains("The worst rows: scanfwd (heed 4.00x), multiget32 (heed 2.00x).\n"),
            "{section}"
        );
        let durable = section.split("### To engines that lose writes").next().unwrap();
        assert!(durable.contains("| scanfwd | heed | 20.0M | 5.00M | 4.00x |"), "{section}");
        assert!(!durable.contains("fillrandom"), "{durable}");
        let others = section.split("### To engines that lose writes").nth(1).unwrap();
        assert!(others.contains("| fillrandom, until settled | nolog | 365k | 210k | 1.75x |"), "{others}");
    }

    #[test]
    fn absence_of_isopach_and_of_losses_is_said() {
        let mut report = sample::report();
        report.rows.retain(|row| row.engine == "isopach");
        assert!(document(&report, "isopach").contains("No durable peer was faster in any row."));

        report.engines.remove(0);
        let text = document(&report, "isopach");

        assert!(text.contains("Isopach did not take part."));
        assert!(text.contains("no ratios: the report has no engine"));
    }

    #[test]
    fn tables_have_equally_many_cells_in_every_row() {
        let text = document(&sample::report(), "isopach");

        let mut tables_count = 0;
        for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
            let bars = |line: &str| line.replace("\\|", "").matches('|').count();
            let lines = table.lines().take_while(|line| line.starts_with('|'));
            let counts: Vec<usize> = lines.map(bars).collect();
            assert!(counts.iter().all(|count| *count == counts[0]), "{table}");
            tables_count += 1;
        }
        assert!(tables_count > 10, "{tables_count}");
    }
}
