//! Tables for the terminal. What they hold: [`sections`].

pub mod grid;
pub mod number;
pub mod sections;

use crate::record::Report;
use crate::summary::Summary;

/// The report as text; ratios are against the engine named `against`.
pub fn print(report: &Report, against: &str) -> String {
    let summary = Summary::of(report, against);
    let mut text = format!("{}\n", headline(report));
    if let Some(warning) = missing(report, against) {
        text += &format!("{warning}\n");
    }
    if report.machine.load_before > 1.0 {
        text += &format!(
            "load average {:.1} before the run: other programs took part\n",
            report.machine.load_before
        );
    }
    for grid in sections::grids(&summary).into_iter().chain(sections::limits(&report.limits)) {
        text += &format!("\n{}", grid.to_text());
    }
    let legend = sections::legend(&summary);
    if !legend.is_empty() {
        text += "\nMarks\n";
    }
    for (mark, meaning) in legend {
        text += &format!("  [{mark}] {meaning}\n");
    }
    text
}

/// Plan, machine and time in a line.
pub fn headline(report: &Report) -> String {
    let (plan, machine) = (&report.plan, &report.machine);
    format!(
        "{}: {} records of {} B values, {} rounds, {} on {}, {} cores, {} of memory, {}",
        plan.name,
        number::short(plan.records as f64),
        plan.value_bytes,
        plan.rounds,
        report.started,
        machine.cpu,
        machine.cores,
        number::bytes(machine.memory_bytes as f64),
        machine.file_system.split(' ').next().unwrap_or_default(),
    )
}

/// Why there are no ratios, if there are none.
pub fn missing(report: &Report, against: &str) -> Option<String> {
    let names: Vec<&str> = report.engines.iter().map(|engine| engine.name.as_str()).collect();
    (!names.contains(&against))
        .then(|| format!("no ratios: the report has no engine {against:?}, it has {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::summary::sample;

    fn line<'a>(text: &'a str, section: &str, workload: &str) -> &'a str {
        let section = text.split("\n\n").find(|part| part.starts_with(section)).expect(section);
        section.lines().find(|line| line.starts_with(workload)).expect(workload)
    }

    #[test]
    fn throughput_has_spreads_ratios_and_marks() {
        let text = print(&sample::report(), "isopach");

        let fill = line(&text, "Throughput, operations", "fillrandom");
        let words: Vec<&str> = fill.split_whitespace().collect();
        let expected = [
            "fillrandom",
            "420k",
            "±5%",
            "1.00x",
            "188k",
            "±6%",
            "0.45x",
            "100k",
            "±0%",
            "0.24x",
            "730k",
            "±10%",
            "1.75x",
            "[n]",
        ];
        assert_eq!(words, expected);
        let synced = line(&text, "Throughput, operations", "fillsync1");
        let words: Vec<&str> = synced.split_whitespace().collect();
        assert_eq!(
            words,
            ["fillsync1", "1.0k", "1.00x", "[c]", "1.0k", "1.00x", "[cs]", "-", "[f]", "-", "[u]"]
        );
    }

    #[test]
    fn rows_stand_only_where_they_have_figures() {
        let text = print(&sample::report(), "isopach");

        assert!(line(&text, "Throughput until settled", "fillrandom").contains("210k ±5%"));
        let settled = text.split("\n\n").find(|part| part.starts_with("Throughput until settled")).unwrap();
        assert!(!settled.contains("scanfwd"), "{settled}");
        assert!(line(&text, "Sync calls", "fillsync1").contains("1 [c]"));
        assert!(line(&text, "Latency", "scanfwd").contains("1.6us / 4.9us / 14.3us"));
        assert!(line(&text, "Write amplification", "fillrandom").contains("1.85"));
        assert!(line(&text, "Peak memory", "scanfwd").contains("100M / 20M"));
        assert!(line(&text, "What else", "fillrandom: stalls").contains("1.50"));
        assert!(line(&text, "Limits", "memcpy").contains("9.50 GB/s  copies 64 MiB"));
    }

    #[test]
    fn legend_explains_the_marks_that_occur() {
        let text = print(&sample::report(), "isopach");

        let legend = text.split("\nMarks\n").nth(1).unwrap();
        assert!(legend.contains("[e] heed has no multi-get: done with other calls\n"), "{legend}");
        assert!(legend.contains("[f] failed in a round or more: fillsync1 on heed: disk | full <here>\n"));
        assert!(legend.contains("[u] unsupported: fillsync1 on nolog: no log to sync\n"));
        assert!(!legend.contains("[b]"));
    }

    #[test]
    fn invalid_figures_are_in_brackets() {
        let mut report = sample::report();
        for row in report.rows.iter_mut().filter(|row| row.engine == "heed" && row.workload == "scanfwd") {
            if let Outcome::Measured(measured) = &mut row.outcome {
                measured.invalid = Some("found 3 entries of 4".into());
            }
        }

        let text = print(&report, "isopach");

        assert!(line(&text, "Throughput, operations", "scanfwd").contains("(20.0M) [i]"));
        assert!(
            text.contains("[i] invalid, does not count (in brackets): scanfwd on heed: found 3 entries of 4")
        );
    }

    #[test]
    fn bursts_are_marked_at_their_name() {
        let mut report = sample::report();
        report.workloads[3].is_burst = true;

        let text = print(&report, "isopach");

        let scan = line(&text, "Throughput, operations", "scanfwd");
        assert!(scan.starts_with("scanfwd [b]"), "{scan}");
        assert_eq!(scan.matches('b').count(), 1, "{scan}");
        assert!(text.contains("[b] a burst"));
    }

    #[test]
    fn engines_that_cannot_be_asked_whether_they_have_settled_are_named() {
        let mut report = sample::report();
        assert!(!print(&report, "isopach").contains("cannot be asked"));

        report.engines[1].abilities.settle = false;

        let text = print(&report, "isopach").replace('\n', " ");
        assert!(text.contains("cannot be asked (fjall)"), "{text}");
    }

    #[test]
    fn unknown_engine_to_compare_with_is_said() {
        let text = print(&sample::report(), "rocksdb");

        assert!(
            text.contains(
                "no ratios: the report has no engine \"rocksdb\", it has isopach, fjall, heed, nolog"
            )
        );
        assert!(!text.contains("1.00x"));
    }
}
