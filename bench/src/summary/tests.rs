use super::{Cell, Flag, ISOPACH, LIVE_BYTES_FACT, Spread, Summary, group::Group, median, sample, standing};
use crate::record::{Latency, Measured, Outcome, Report};
use standing::{Measure, best_peers, losses, worst};

/// Changes what one engine measured in a workload, in all rounds.
fn change(report: &mut Report, engine: &str, workload: &str, change: impl Fn(&mut Measured)) {
    let rows = report.rows.iter_mut().filter(|row| row.engine == engine && row.workload == workload);
    for row in rows {
        if let Outcome::Measured(measured) = &mut row.outcome {
            change(measured);
        }
    }
}

fn flags<'a>(summary: &'a Summary<'_>, workload: &str, engine: &str) -> &'a [Flag] {
    &summary.cell(workload, engine).unwrap().flags
}

#[test]
fn median_of_even_counts_is_the_mean_of_the_middle() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0, 9.0, 1.0]), Some(3.0));
    assert_eq!(median(&[8.0, 1.0, 2.0, 4.0]), Some(3.0));
}

#[test]
fn spread_is_half_the_range_in_per_cent() {
    let spread = Spread::of([90.0, 100.0, 120.0]).unwrap();

    assert_eq!(spread, Spread { median: 100.0, min: 90.0, max: 120.0 });
    assert_eq!(spread.percent(), 15.0);
    assert!(spread.is_apart_from(&Spread { median: 130.0, min: 121.0, max: 140.0 }));
    assert!(!spread.is_apart_from(&Spread { median: 130.0, min: 120.0, max: 140.0 }));
}

#[test]
fn cell_holds_medians_of_its_rounds() {
    let report = sample::report();

    let summary = Summary::of(&report, ISOPACH);

    let figures = summary.cell("fillrandom", "isopach").unwrap().valid_figures().unwrap();
    assert_eq!(figures.rounds_count, 2);
    assert_eq!(figures.rate, Spread { median: 420_000.0, min: 400_000.0, max: 440_000.0 });
    assert_eq!(figures.settled_rate.unwrap().median, 210_000.0);
    assert_eq!(figures.latency, Some(Latency { p50: 1_600, p99: 4_900, p999: 14_300, max: 1_000_000 }));
    assert!((figures.run_queue_share - 0.1).abs() < 1e-9);
    assert_eq!(figures.write_amplification, Some(1.85));
    assert_eq!(figures.space_amplification, Some(0.71));
    assert_eq!(figures.peak_anon_bytes, f64::from(100 << 20));
    assert_eq!(figures.facts, [("stalls".to_owned(), 1.5)]);
}

#[test]
fn ratio_is_the_median_of_ratios_of_rounds_in_which_both_ran() {
    let mut report = sample::report();
    let lonely = sample::row("fjall", "fillrandom", 3, Outcome::Measured(Box::new(sample::measured(9e9))));
    report.rows.push(lonely);

    let summary = Summary::of(&report, ISOPACH);

    let ratio = summary.cell("fillrandom", "fjall").unwrap().figures.as_ref().unwrap().ratio.unwrap();
    assert!((ratio.median - 0.45).abs() < 1e-9, "0.5 and 0.4; round 3 has no isopach: {ratio:?}");
}

#[test]
fn live_bytes_take_the_place_of_written_bytes() {
    let mut report = sample::report();
    change(&mut report, "isopach", "fillrandom", |measured| {
        measured.facts.push((LIVE_BYTES_FACT.into(), 355_000.0));
    });

    let summary = Summary::of(&report, ISOPACH);

    let figures = summary.cell("fillrandom", "isopach").unwrap().valid_figures().unwrap();
    assert_eq!(figures.space_amplification, Some(2.0));
    assert!(figures.facts.iter().all(|(name, _)| name != LIVE_BYTES_FACT));
}

#[test]
fn space_amplification_of_what_is_no_fill_needs_live_bytes() {
    let mut report = sample::report();
    report.workloads[0].name = "overwrite".into();
    for row in report.rows.iter_mut().filter(|row| row.workload == "fillrandom") {
        row.workload = "overwrite".into();
    }

    let summary = Summary::of(&report, ISOPACH);

    let figures = summary.cell("overwrite", "isopach").unwrap().valid_figures().unwrap();
    assert_eq!(figures.space_amplification, None, "the database was there before");
    assert_eq!(figures.write_amplification, Some(1.85));
}

#[test]
fn recovery_without_a_log_is_no_durable_row() {
    let mut report = sample::report();
    report.workloads[3].name = "recovery".into();
    for row in report.rows.iter_mut().filter(|row| row.workload == "scanfwd") {
        row.workload = "recovery".into();
    }

    let summary = Summary::of(&report, ISOPACH);

    assert_eq!(flags(&summary, "recovery", "nolog"), [Flag::NoLog]);
    assert!(losses(&report).iter().any(|loss| loss.workload == "recovery" && !loss.is_durable));
}

#[test]
fn invalid_rounds_are_left_out_while_there_are_others() {
    let mut report = sample::report();
    change(&mut report, "isopach", "fillrandom", |measured| {
        measured.invalid = (measured.operations == 400_000).then(|| "too few entries".to_owned());
    });

    let summary = Summary::of(&report, "fjall");

    let cell = summary.cell("fillrandom", "isopach").unwrap();
    assert_eq!(cell.valid_figures().unwrap().rate.median, 440_000.0);
    assert_eq!(cell.flags, [Flag::Invalid { why: "too few entries".into() }]);
}

#[test]
fn cell_of_invalid_rounds_alone_has_figures_that_do_not_count() {
    let mut report = sample::report();
    change(&mut report, "isopach", "fillrandom", |measured| measured.invalid = Some("no syncs".into()));

    let summary = Summary::of(&report, "fjall");

    let cell = summary.cell("fillrandom", "isopach").unwrap();
    assert!(cell.valid_figures().is_none());
    assert_eq!(cell.figures.as_ref().unwrap().rate.median, 420_000.0);
    assert_eq!(cell.figures.as_ref().unwrap().ratio, None);
    let against_invalid = Summary::of(&report, ISOPACH);
    let fjall = against_invalid.cell("fillrandom", "fjall").unwrap();
    assert_eq!(fjall.figures.as_ref().unwrap().ratio, None, "a ratio to an invalid row is none");
}

#[test]
fn flags_say_what_must_be_known() {
    let report = sample::report();

    let summary = Summary::of(&report, ISOPACH);

    assert_eq!(flags(&summary, "fillrandom", "nolog"), [Flag::NoLog]);
    assert_eq!(flags(&summary, "scanfwd", "nolog"), [], "reads do not need a log");
    assert_eq!(flags(&summary, "fillsync1", "isopach"), [Flag::Capped]);
    assert_eq!(flags(&summary, "fillsync1", "fjall"), [Flag::Capped, Flag::UncheckedSyncs]);
    assert_eq!(flags(&summary, "multiget32", "heed"), [Flag::Emulated { what: "multi-get" }]);
    assert_eq!(flags(&summary, "scanfwd", "heed"), []);
    let unsupported = summary.cell("fillsync1", "nolog").unwrap();
    assert_eq!(unsupported.flags, [Flag::Unsupported { why: "no log to sync".into() }]);
    assert!(unsupported.figures.is_none());
    assert!(matches!(flags(&summary, "fillsync1", "heed"), [Flag::Failed { .. }]));
}

#[test]
fn pairs_that_were_not_run_have_no_cell() {
    let report = sample::report();

    let summary = Summary::of(&report, ISOPACH);

    assert!(summary.cell("scanfwd", "fjall").is_none());
    assert_eq!(summary.cells.len(), 4 + 4 + 2 + 3);
}

#[test]
fn syncs_are_counted_per_commit() {
    let report = sample::report();

    let summary = Summary::of(&report, ISOPACH);

    let syncs =
        |engine: &str| summary.cell("fillsync1", engine).unwrap().figures.as_ref().unwrap().syncs_per_commit;
    assert_eq!(syncs("isopach"), Some(1.0));
    assert_eq!(syncs("fjall"), None);
}

#[test]
fn losses_are_worst_first_and_tell_engines_without_log_apart() {
    let report = sample::report();

    let losses = losses(&report);

    let found: Vec<_> = losses
        .iter()
        .map(|loss| (loss.workload.as_str(), loss.peer.as_str(), loss.measure, loss.is_durable))
        .collect();
    assert_eq!(
        found,
        [
            ("scanfwd", "heed", Measure::Done, true),
            ("multiget32", "heed", Measure::Done, true),
            ("fillrandom", "nolog", Measure::Done, false),
            ("fillrandom", "nolog", Measure::Settled, false),
            ("scanfwd", "nolog", Measure::Done, true),
        ]
    );
    assert_eq!(losses[0].ratio, 4.0);
    let worst: Vec<_> = worst(&losses, 5).into_iter().map(|loss| loss.workload.as_str()).collect();
    assert_eq!(worst, ["scanfwd", "multiget32"]);
}

#[test]
fn peer_that_was_slower_in_one_round_is_no_loss() {
    let mut report = sample::report();
    change(&mut report, "fjall", "fillrandom", |measured| {
        measured.operations = if measured.operations == 200_000 { 900_000 } else { 430_000 };
    });

    let losses = losses(&report);

    assert!(losses.iter().all(|loss| loss.peer != "fjall"), "{losses:?}");
}

#[test]
fn best_peer_is_the_fastest_durable_one() {
    let report = sample::report();

    let best = best_peers(&report);

    let found: Vec<_> = best.iter().map(|best| (best.workload.as_str(), best.peer.as_str())).collect();
    assert_eq!(
        found,
        [("fillrandom", "fjall"), ("fillsync1", "fjall"), ("multiget32", "heed"), ("scanfwd", "heed")]
    );
    assert_eq!(best[0].ratio, Spread { median: 2.25, min: 2.0, max: 2.5 });
}

#[test]
fn floor_is_no_peer() {
    let mut report = sample::report();
    report.engines[2].name = "noop".into();
    report.rows.iter_mut().filter(|row| row.engine == "heed").for_each(|row| row.engine = "noop".into());

    assert!(losses(&report).iter().all(|loss| loss.peer != "noop"));
    assert!(best_peers(&report).iter().all(|best| best.peer != "noop"));
}

#[test]
fn durability_of_the_whole_run_makes_every_writing_row_a_synced_one() {
    let mut report = sample::report();
    report.plan.settings.durability = crate::engine::Durability::Sync;

    let summary = Summary::of(&report, ISOPACH);

    assert_eq!(flags(&summary, "fillrandom", "nolog"), [Flag::UncheckedSyncs]);
    assert!(summary.cell("fillrandom", "nolog").is_some_and(Cell::is_durable));
}

#[test]
fn workloads_fall_into_groups() {
    let group = |name: &str, unit: &str| Group::of(&sample::workload(name, unit, false));

    let expected = [
        (
            Group::Fills,
            "fillseq fillrandom-4t fillbatch fillbulk overwrite deleterandom deleterange mergerandom text-fill",
        ),
        (Group::Reads, "readrandom readrandom-cold readwhilewriting readmissing multireadrandom text-read"),
        (Group::Scans, "seekrandom readseq readreverse seek-hole scan-hole text-seek"),
        (Group::Ycsb, "ycsb-a ycsb-e"),
        (Group::Large, "fill-16k read-16k overwrite-16k scan-16k keys-16k"),
        (Group::Other, "recovery open-1000"),
    ];
    for (of, names) in expected {
        for name in names.split(' ') {
            assert_eq!(group(name, "operation"), of, "{name}");
        }
    }
    assert_eq!(group("whatever", "get"), Group::Reads, "by its unit");
    assert_eq!(Group::of(&sample::workload("fillsync8", "put", true)), Group::Synced);
}
