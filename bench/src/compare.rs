//! Two reports side by side: `bench compare A.json B.json`.

use crate::record::Report;
use crate::summary::{Cell, Figures, Spread, Summary};
use crate::table::{
    grid::{Entry, Grid},
    headline, number,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// What differs between the runs themselves, then every row that both have, then those that only one has.
pub fn print(a: &Report, b: &Report) -> String {
    let mut text = format!("a: {}\nb: {}\n", headline(a), headline(b));
    for warning in warnings(a, b) {
        text += &format!("warning: {warning}\n");
    }
    // Ratios inside a report are not of interest here: no engine is named "".
    let (a, b) = (Summary::of(a, ""), Summary::of(b, ""));
    text += &format!("\n{}", rates(&a, &b).to_text());
    for (one, other, name) in [(&a, &b, "a"), (&b, &a, "b")] {
        for cell in one.cells.iter().filter(|cell| twin(cell, other).is_none()) {
            text += &format!("only in {name}: {} on {}\n", cell.workload.name, cell.engine.name);
        }
    }
    text
}

/// Whatever makes the reports hard to compare, line by line.
fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    differ("plan", &a.plan, &b.plan, &mut lines);
    differ("machine", &a.machine, &b.machine, &mut lines);
    lines.retain(|line| !line.starts_with("machine.load_"));
    for (name, report) in [("a", a), ("b", b)] {
        let load = report.machine.load_before;
        if load > 1.0 {
            lines.push(format!("{name}: load average {load:.1} before the run: other programs took part"));
        }
    }
    for engine in &a.engines {
        if let Some(other) = b.engines.iter().find(|other| other.name == engine.name) {
            let of = |what: &str| format!("{} {what}", engine.name);
            differ(&of("version"), &engine.version, &other.version, &mut lines);
            differ(&of("abilities"), &engine.abilities, &other.abilities, &mut lines);
            settings_differ(&engine.name, &engine.settings, &other.settings, &mut lines);
        }
    }
    for workload in &a.workloads {
        if let Some(other) = b.workloads.iter().find(|other| other.name == workload.name) {
            differ(&workload.name, workload, other, &mut lines);
        }
    }
    lines
}

/// A line for each leaf in which the two differ.
fn differ<T: Serialize>(name: &str, a: &T, b: &T, lines: &mut Vec<String>) {
    // Types of the report itself: they are stored as JSON all the time.
    let value = |of: &T| serde_json::to_value(of).unwrap_or(Value::Null);
    values_differ(name, &value(a), &value(b), lines);
}

fn values_differ(name: &str, a: &Value, b: &Value, lines: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                values_differ(&format!("{name}.{key}"), &of(a), &of(b), lines);
            }
        }
        (a, b) if a != b => lines.push(format!("{name}: {a} in a, {b} in b")),
        _ => {}
    }
}

fn settings_differ(engine: &str, a: &[(String, String)], b: &[(String, String)], lines: &mut Vec<String>) {
    let of = |settings: &[(String, String)], name: &str| {
        let found = settings.iter().find(|(of, _)| of == name);
        found.map_or("unset".to_owned(), |(_, value)| value.clone())
    };
    let names: BTreeSet<&String> = a.iter().chain(b).map(|(name, _)| name).collect();
    for name in names {
        let (a, b) = (of(a, name), of(b, name));
        if a != b {
            lines.push(format!("{engine} setting {name}: {a} in a, {b} in b"));
        }
    }
}

fn rates(a: &Summary<'_>, b: &Summary<'_>) -> Grid {
    let mut rows: Vec<Vec<Entry>> = Vec::new();
    for cell in &a.cells {
        let Some(other) = twin(cell, b) else { continue };
        rows.push(row(cell, other));
        if let (Some(one), Some(two)) = (cell.valid_figures(), other.valid_figures())
            && let (Some(rate), Some(other_rate)) = (one.settled_rate, two.settled_rate)
        {
            let cpu = one
                .settled_cpu_ns_per_operation
                .zip(two.settled_cpu_ns_per_operation)
                .map_or("-".into(), |(a, b)| quotient(b, a));
            let name = format!("{}, until settled", cell.workload.name);
            rows.push(rates_row(&name, &cell.engine.name, [rate, other_rate], cpu, rounds_count(one, two)));
        }
    }
    Grid {
        title: "Rates of b beside those of a".into(),
        note: "Operations per second; apart: no round of one is as fast as any round of the other.".into(),
        header: ["workload", "engine", "a", "b", "b/a", "CPU b/a", "verdict"].map(Entry::new).into(),
        rows,
    }
}

fn row(a: &Cell<'_>, b: &Cell<'_>) -> Vec<Entry> {
    let (workload, engine) = (&a.workload.name, &a.engine.name);
    match (a.valid_figures(), b.valid_figures()) {
        (Some(one), Some(two)) => {
            let cpu = quotient(two.cpu_ns_per_operation, one.cpu_ns_per_operation);
            rates_row(workload, engine, [one.rate, two.rate], cpu, rounds_count(one, two))
        }
        (one, two) => {
            let shown = |figures: Option<&Figures>| figures.map_or("-".into(), |of| rate(of.rate));
            let missing = match (one, two) {
                (None, None) => "no valid round in either",
                (None, _) => "no valid round in a",
                _ => "no valid round in b",
            };
            let cells = [
                workload.clone(),
                engine.clone(),
                shown(one),
                shown(two),
                "-".into(),
                "-".into(),
                missing.into(),
            ];
            cells.map(Entry::new).into()
        }
    }
}

/// Of the one with fewer rounds.
fn rounds_count(a: &Figures, b: &Figures) -> usize {
    a.rounds_count.min(b.rounds_count)
}

fn rates_row(
    workload: &str,
    engine: &str,
    [a, b]: [Spread; 2],
    cpu: String,
    rounds_count: usize,
) -> Vec<Entry> {
    let verdict = match (a.is_apart_from(&b), b.median > a.median) {
        (true, _) if rounds_count < 2 => "unknown: a single round",
        (false, _) => "within the spread",
        (true, true) => "apart: b is faster",
        (true, false) => "apart: b is slower",
    };
    let ratio = quotient(b.median, a.median);
    let cells = [workload.into(), engine.into(), rate(a), rate(b), ratio, cpu, verdict.to_owned()];
    cells.map(Entry::new).into()
}

fn rate(of: Spread) -> String {
    format!("{} ±{:.0}%", number::short(of.median), of.percent())
}

fn quotient(above: f64, below: f64) -> String {
    if below > 0.0 { number::ratio(above / below) } else { "-".into() }
}

fn twin<'s>(cell: &Cell<'_>, other: &'s Summary<'_>) -> Option<&'s Cell<'s>> {
    other.cell(&cell.workload.name, &cell.engine.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Measured, Outcome};
    use crate::summary::sample;

    fn change(report: &mut Report, engine: &str, workload: &str, change: impl Fn(&mut Measured)) {
        let rows = report.rows.iter_mut().filter(|row| row.engine == engine && row.workload == workload);
        for row in rows {
            if let Outcome::Measured(measured) = &mut row.outcome {
                change(measured);
            }
        }
    }

    /// Words after the engine's name.
    fn words<'a>(text: &'a str, workload: &str, engine: &str) -> Vec<&'a str> {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut found = lines.filter(|words| words.starts_with(&[workload, engine]));
        found.next().expect(workload)[2..].to_vec()
    }

    #[test]
    fn report_is_within_the_spread_of_itself() {
        let mut report = sample::report();
        report.machine.load_before = 0.5;

        let text = print(&report, &report);

        assert!(!text.contains("warning"), "{text}");
        assert!(!text.contains(" b is "), "{text}");
        assert!(!text.contains("only in"), "{text}");
        assert_eq!(words(&text, "fillrandom", "heed")[4..], ["1.00x", "1.00x", "within", "the", "spread"]);
    }

    #[test]
    fn rows_beyond_the_spread_of_both_are_told() {
        let (a, mut b) = (sample::report(), sample::report());
        change(&mut b, "isopach", "fillrandom", |measured| measured.seconds = 0.5);
        change(&mut b, "fjall", "fillrandom", |measured| measured.operations -= 20_000);

        let text = print(&a, &b);

        let isopach = words(&text, "fillrandom", "isopach");
        assert_eq!(isopach, ["420k", "±5%", "840k", "±5%", "2.00x", "1.00x", "apart:", "b", "is", "faster"]);
        let fjall = words(&text, "fillrandom", "fjall");
        assert_eq!(fjall, ["188k", "±6%", "168k", "±7%", "0.89x", "1.12x", "within", "the", "spread"]);
    }

    #[test]
    fn single_rounds_decide_nothing() {
        let (a, mut b) = (sample::report(), sample::report());
        change(&mut b, "heed", "scanfwd", |measured| measured.seconds = 2.0);

        let text = print(&a, &b);

        let heed = words(&text, "scanfwd", "heed");
        assert_eq!(heed[4..], ["0.50x", "1.00x", "unknown:", "a", "single", "round"]);
    }

    #[test]
    fn different_runs_are_warned_about_line_by_line() {
        let (a, mut b) = (sample::report(), sample::report());
        b.plan.records = 5;
        b.plan.settings.cache_bytes = 1;
        b.machine.cores = 64;
        b.machine.load_before = 9.0;
        b.engines[1].version = "2.0.0".into();
        b.engines[0].settings[0].1 = "7".into();
        b.workloads[0].threads = 4;

        let text = print(&a, &b);

        let warnings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
        assert_eq!(
            warnings,
            [
                "plan.records: 1000000 in a, 5 in b",
                "plan.settings.cache_bytes: 268435456 in a, 1 in b",
                "machine.cores: 2 in a, 64 in b",
                "b: load average 9.0 before the run: other programs took part",
                "isopach setting cache_bytes: 268435456 in a, 7 in b",
                "fjall version: \"1.0.0\" in a, \"2.0.0\" in b",
                "fillrandom.threads: 1 in a, 4 in b",
            ]
        );
    }

    #[test]
    fn rows_of_one_report_alone_and_rows_without_a_valid_round_are_listed() {
        let (mut a, mut b) = (sample::report(), sample::report());
        a.rows.retain(|row| row.workload != "multiget32" || row.engine != "heed");
        b.rows.retain(|row| row.workload != "scanfwd" || row.engine != "nolog");
        change(&mut b, "heed", "scanfwd", |measured| measured.invalid = Some("found nothing".into()));

        let text = print(&a, &b);

        assert!(text.contains("only in a: scanfwd on nolog\n"), "{text}");
        assert!(text.contains("only in b: multiget32 on heed\n"), "{text}");
        assert!(text.contains("no valid round in b"), "{text}");
        assert!(text.lines().any(|line| line.contains("nolog") && line.contains("no valid round in either")));
    }
}
