//! The bench as its users run it, on Isopach and on the engine that does nothing.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A directory of one test, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("isopach-bench-{test}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    fn bench(&self, args: &str) -> Output {
        let args = args.split_whitespace();
        Command::new(env!("CARGO_BIN_EXE_bench")).args(args).current_dir(&self.0).output().unwrap()
    }

    /// Runs a session; its report.
    fn report(&self, args: &str) -> Value {
        let output = self.bench(&format!("run --out report.json {args}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&fs::read(self.0.join("report.json")).unwrap()).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn rows(report: &Value) -> &Vec<Value> {
    report["rows"].as_array().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn every_workload_runs_and_is_right() {
    let dir = Dir::new("all");
    let paths: String = (0..2000).map(|number| format!("/usr/share/some/path-{number:05}\n")).collect();
    fs::write(dir.0.join("paths"), paths).unwrap();

    let report = dir.report("--rounds 1 --records 2400 --row-seconds 0.2 --paths paths");

    let listed = stdout(&dir.bench("list"));
    let workloads_count = report["workloads"].as_array().unwrap().len();
    assert!(workloads_count >= 30 && listed.lines().count() > workloads_count, "{listed}");
    assert_eq!(rows(&report).len(), 2 * workloads_count);
    for row in rows(&report) {
        assert_eq!(row["outcome"], "measured", "{row:#}");
        assert_eq!(row["invalid"], Value::Null, "{row:#}");
        assert!(row["operations"].as_u64().unwrap() > 0, "{row:#}");
    }
    let written = rows(&report).iter().filter(|row| row["engine"] == "isopach" && row["commits"] != 0);
    for row in written {
        assert!(row["user_bytes"].as_u64() > Some(0) && row["disk_bytes"].as_u64() > Some(0), "{row:#}");
    }
    assert_eq!(fs::read_dir(dir.0.join("bench-data")).unwrap().count(), 0, "the run cleans up");
}

#[test]
fn row_without_time_for_its_work_is_flagged() {
    let dir = Dir::new("capped");
    let run = "--rounds 1 --engines isopach --workloads fillrandom";

    let long = dir.report(&format!("{run} --row-seconds 0.02 --records 1000000"));
    let short = dir.report(&format!("{run} --row-seconds 60 --records 1000"));

    assert_eq!(rows(&long)[0]["is_capped"], true);
    assert!(rows(&long)[0]["operations"].as_u64().unwrap() < 1_000_000);
    assert_eq!(rows(&short)[0]["is_capped"], false);
    assert_eq!(rows(&short)[0]["operations"], 1000);
}

#[test]
fn failing_row_says_why_and_the_others_go_on() {
    let dir = Dir::new("failing");

    let report = dir.report(
        "--rounds 1 --records 1000 --row-seconds 0.1 --engines isopach --paths no/paths \
         --workloads text-fill,text-read,ycsb-a",
    );

    let outcomes: Vec<_> = rows(&report).iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    let why = |row: usize| rows(&report)[row]["why"].as_str().unwrap();
    assert_eq!(outcomes, ["measured", "failed", "failed"]);
    assert!(why(1).contains("exit status 1: no/paths: "), "{}", why(1));
    assert!(why(2).contains("could not be made: ") && why(2).contains("no/paths"), "{}", why(2));
}

#[test]
fn engines_take_turns() {
    let dir = Dir::new("turns");

    let report = dir.report("--rounds 2 --records 1000 --row-seconds 0.1 --workloads fillseq");

    let turns: Vec<_> =
        rows(&report).iter().map(|row| (&row["round"], row["engine"].as_str().unwrap())).collect();
    let [first, second, third, fourth] = turns[..] else { panic!("{turns:?}") };
    assert_eq!([first.0, second.0, third.0, fourth.0], [0, 0, 1, 1]);
    assert_ne!(first.1, second.1);
    assert_eq!((first.1, second.1), (fourth.1, third.1));
}

#[test]
fn report_is_printed_compared_and_drawn() {
    let dir = Dir::new("report");
    dir.report("--rounds 1 --records 1000 --row-seconds 0.1 --workloads fillseq,readseq");

    let table = stdout(&dir.bench("table report.json --against noop"));
    let document = stdout(&dir.bench("table report.json --markdown"));
    let compared = stdout(&dir.bench("compare report.json report.json"));
    stdout(&dir.bench("charts report.json charts"));

    for text in [&table, &document, &compared] {
        assert!(text.contains("fillseq") && text.contains("isopach"), "{text}");
    }
    let charts = fs::read_dir(dir.0.join("charts")).unwrap();
    let charts: Vec<_> = charts.map(|entry| entry.unwrap().path()).collect();
    assert!(!charts.is_empty() && charts.iter().all(|chart| is_svg(chart)), "{charts:?}");
}

fn is_svg(path: &Path) -> bool {
    fs::read_to_string(path).unwrap().starts_with("<svg ")
}

#[test]
fn unreadable_report_is_an_error_that_names_it() {
    let dir = Dir::new("unreadable");

    let output = dir.bench("table nowhere.json");

    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("nowhere.json: "));
}
