//! Charts of a report as SVG files, drawn by our own code: they show in a README, in light and in dark.

mod axis;
mod canvas;
mod latency;
mod overview;
mod throughput;

use crate::Result;
use crate::record::{EngineInfo, Report, WorkloadInfo};
use crate::summary::{Cell, Flag, ISOPACH, NOOP, Summary, group::Group};
use canvas::Canvas;
use std::{fs, path::Path};

/// Writes the charts of all groups that have figures, and the overview, to `dir`, which is made if it is not
/// there. Charts of the same names are replaced.
pub fn write_charts(report: &Report, dir: &Path) -> Result<()> {
    let at = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(dir).map_err(|error| at(dir, error))?;
    for (name, chart) in charts(report) {
        let path = dir.join(name);
        fs::write(&path, chart).map_err(|error| at(&path, error))?;
    }
    Ok(())
}

/// Names of files and what is in them.
fn charts(report: &Report) -> Vec<(String, String)> {
    let summary = Summary::of(report, ISOPACH);
    let mut charts = Vec::new();
    charts.extend(overview::draw(report).map(|chart| ("overview.svg".to_owned(), chart)));
    for group in Group::ALL {
        let workloads: Vec<&WorkloadInfo> =
            report.workloads.iter().filter(|workload| Group::of(workload) == group).collect();
        let throughput = throughput::draw(&summary, group, &workloads);
        charts.extend(throughput.map(|chart| (format!("throughput-{}.svg", group.name()), chart)));
        let latency = latency::draw(&summary, group, &workloads);
        charts.extend(latency.map(|chart| (format!("latency-{}.svg", group.name()), chart)));
    }
    charts
}

/// Engines that charts show: all but the one that does nothing.
fn engines(report: &Report) -> impl Iterator<Item = &EngineInfo> {
    report.engines.iter().filter(|engine| engine.name != NOOP)
}

/// An engine's colour: the same in all charts of a report.
fn colour_class(report: &Report, engine: &EngineInfo) -> String {
    if engine.name == ISOPACH {
        return "isopach".into();
    }
    let peers = || engines(report).filter(|peer| peer.name != ISOPACH);
    let index = peers().position(|peer| peer.name == engine.name).unwrap_or(0);
    format!("peer{}", index % canvas::PEER_COLOURS.len())
}

/// What must be known to read a cell, in a few words; that it is a burst, the heading says.
fn remarks(cell: &Cell<'_>) -> String {
    let mut words: Vec<&str> = Vec::new();
    for flag in &cell.flags {
        let word = match flag {
            Flag::Burst => continue,
            Flag::Capped | Flag::Short => "time ran out",
            Flag::UnequalWork => continue, // Of ratios, which these charts do not show.
            Flag::Emulated { .. } => "emulated",
            Flag::Failed { .. } => "failed",
            Flag::Invalid { .. } => "invalid",
            Flag::MayLose => "may lose writes",
            Flag::NoLog => "no log",
            Flag::UncheckedSyncs => "syncs not counted",
            Flag::Unsupported { .. } => "unsupported",
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(", ")
}

/// Name of a workload and what it does, above its rows at `y`.
fn workload_heading(canvas: &mut Canvas, workload: &WorkloadInfo, y: f64) {
    let burst = if workload.is_burst { "a burst; " } else { "" };
    canvas.heading(16.0, y, &workload.name, &format!("{burst}{}", workload.what));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::sample;
    use std::{env, process};

    fn chart(report: &Report, name: &str) -> String {
        let mut charts = charts(report).into_iter();
        charts.find(|(of, _)| of == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    /// Every element that is opened is closed, in order.
    fn assert_well_formed(name: &str, chart: &str) {
        let mut open: Vec<&str> = Vec::new();
        for tag in chart.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("{name}: <{tag}"));
            let element = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap_or_default();
            if let Some(closed) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(closed), "{name}");
            } else if !tag.ends_with('/') {
                open.push(element);
            }
        }
        assert!(open.is_empty(), "{name}: {open:?} left open");
    }

    #[test]
    fn every_group_with_figures_has_its_charts() {
        let report = sample::report();

        let names: Vec<String> = charts(&report).into_iter().map(|(name, _)| name).collect();

        let expected = [
            "overview.svg",
            "throughput-fills.svg",
            "latency-fills.svg",
            "throughput-synced.svg",
            "latency-synced.svg",
            "throughput-reads.svg",
            "latency-reads.svg",
            "throughput-scans.svg",
            "latency-scans.svg",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn charts_are_well_formed_whatever_the_names() {
        let mut report = sample::report();
        report.workloads[3].what = "a <b> & \"c\"".into();

        for (name, chart) in charts(&report) {
            assert_well_formed(&name, &chart);
            assert!(chart.contains("viewBox="), "{name}");
            assert!(chart.contains("prefers-color-scheme: dark"), "{name}");
            assert!(chart.contains("better"), "{name}: which direction is better");
        }
        assert!(chart(&report, "throughput-scans.svg").contains("a &lt;b&gt; &amp; &quot;c&quot;"));
    }

    #[test]
    fn bars_bear_rates_ratios_and_remarks() {
        let report = sample::report();

        let fills = chart(&report, "throughput-fills.svg");
        assert!(fills.contains("420k ±5%"), "{fills}");
        assert!(fills.contains("730k ±10%, no log"), "{fills}");
        let synced = chart(&report, "throughput-synced.svg");
        assert!(synced.contains(">failed<") && synced.contains(">unsupported<"), "{synced}");
        assert!(chart(&report, "latency-fills.svg").contains("1.6us / 4.9us / 14.3us"));
        assert!(chart(&report, "overview.svg").contains("2.25x fjall"));
    }

    #[test]
    fn invalid_rows_have_no_bar() {
        let mut report = sample::report();
        for row in &mut report.rows {
            if let crate::record::Outcome::Measured(measured) = &mut row.outcome {
                measured.invalid = Some("wrong".into());
            }
        }

        assert!(charts(&report).is_empty());
    }

    #[test]
    fn noop_is_not_drawn() {
        let mut report = sample::report();
        report.engines[2].name = "noop".into();
        report.rows.iter_mut().filter(|row| row.engine == "heed").for_each(|row| row.engine = "noop".into());

        assert!(charts(&report).iter().all(|(_, chart)| !chart.contains("noop")));
    }

    #[test]
    fn charts_are_written_to_a_new_directory() {
        let dir = env::temp_dir().join(format!("isopach-bench-charts-{}", process::id())).join("charts");

        write_charts(&sample::report(), &dir).unwrap();

        let count = fs::read_dir(&dir).unwrap().count();
        fs::remove_dir_all(dir.parent().unwrap()).unwrap();
        assert_eq!(count, 9);
    }
}
