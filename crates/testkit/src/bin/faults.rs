//! Explores what happens when calls fail: every fault at every call of a script, then pairs of faults.
//!
//! `faults [--pairs N] [--seed S]` runs all, with `--sample N` only that many faults at each site; `faults
//! --replay RULE` one case that was printed, a rule for each fault. Ends with 1 if anything did not hold.

use isopach::env::{Rule, Rules};
use std::{
    env,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};
use testkit::faults::{Case, Explorer, Report};

struct Args {
    pairs: usize,
    /// Faults at each site; 0: every fault at every call.
    sample: usize,
    seed: u64,
    replay: Vec<Rule>,
}

fn main() -> ExitCode {
    let args = match parse(env::args().skip(1)) {
        Ok(args) => args,
        Err(why) => {
            eprintln!(
                "faults: {why}\nusage: faults [--pairs N] [--sample FAULTS_PER_SITE] [--seed S] [--replay RULE]..."
            );
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let explorer = Explorer::new();
    let mut report = Report::default();
    if args.replay.is_empty() {
        println!("a clean run: {} calls, {} sites", explorer.calls(), explorer.sites().len());
        let singles = match args.sample {
            0 => explorer.singles(),
            faults => explorer.sampled_singles(args.seed, faults),
        };
        report.merge(explore(&explorer, "single faults", singles));
        report.merge(explore(&explorer, "pairs", explorer.pairs(args.seed, args.pairs)));
        println!("in all, with seed {}, in {:.0?}:", args.seed, start.elapsed());
    } else {
        report = explorer.replay(Rules(args.replay));
    }
    println!("{report}");
    if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn explore(explorer: &Explorer, what: &str, cases: Vec<Case>) -> Report {
    let (all, shown) = (cases.len(), AtomicUsize::new(0));
    let progress = |done: usize| {
        let percent = done * 100 / all;
        if percent >= shown.load(Ordering::Relaxed) + 10 {
            shown.store(percent, Ordering::Relaxed);
            eprintln!("{what}: {done} of {all}");
        }
    };
    let report = explorer.run(cases, &progress);
    println!(
        "{what}: {} sites, {} executions, {} broken",
        report.sites.len(),
        report.executions(),
        report.broken.len()
    );
    report
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args { pairs: 2000, sample: 0, seed: 1, replay: Vec::new() };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let wrong = |why: &dyn std::fmt::Display| format!("{word} {value}: {why}");
        match word.as_str() {
            "--pairs" => args.pairs = value.parse().map_err(|why| wrong(&why))?,
            "--sample" => args.sample = value.parse().map_err(|why| wrong(&why))?,
            "--seed" => args.seed = value.parse().map_err(|why| wrong(&why))?,
            "--replay" => args.replay.push(value.parse().map_err(|why| wrong(&why))?),
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(args)
}
