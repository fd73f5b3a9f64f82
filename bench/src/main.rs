//! Isopach beside every peer: the same work, measured the same way. How to run it: `README.md`.

mod random;
mod values;
mod keys;
mod timestamp;
mod engine;
mod engines;
mod record;
mod summary;
mod table;
mod process;
mod limits;
mod markdown;
mod compare;
mod svg;
mod sync_calls;
mod measure;
mod machine;
mod copy;
mod request;
mod child;
mod plan;
mod profile;
mod rig;
mod workload;
mod row;
mod session;
mod sizes;
mod args;

use args::{Cli, Command, Knobs};
use clap::Parser;
use engine::Result;
use record::{Plan, Report};
use std::{
    fs,
    io::{Read, Write, stdin, stdout},
    path::Path,
    process::ExitCode,
};

fn main() -> ExitCode {
    match run(&Cli::parse().command, &mut stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, out: &mut impl Write) -> Result<()> {
    match command {
        Command::Quick(knobs) => run_session(knobs, plan::quick(), out),
        Command::Full(knobs) => run_session(knobs, plan::full(), out),
        Command::Run(knobs) => run_session(knobs, plan::run(), out),
        Command::List => list(out),
        Command::Table { report, against, markdown } => {
            let print = if *markdown { markdown::document } else { table::print };
            Ok(write!(out, "{}", print(&Report::read(report)?, against))?)
        }
        Command::Compare { a, b } => {
            Ok(write!(out, "{}", compare::print(&Report::read(a)?, &Report::read(b)?))?)
        }
        Command::Charts { report, dir } => svg::write_charts(&Report::read(report)?, dir),
        Command::Limits { dir } => {
            fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
            let grid = table::sections::limits(&limits::measure(dir)?);
            Ok(grid.map_or(Ok(()), |grid| write!(out, "{}", grid.to_text()))?)
        }
        Command::Sizes { dir, records } => {
            Ok(write!(out, "{}", sizes::measure(&dir.join("sizes"), *records)?.to_text())?)
        }
        Command::Row => {
            child::settle_in()?;
            row::run(&serde_json::from_str(&input()?)?, out)
        }
        Command::Check => {
            child::settle_in()?;
            row::check(&serde_json::from_str(&input()?)?, out)
        }
        Command::Load => {
            child::settle_in()?;
            row::load(&serde_json::from_str(&input()?)?, out)
        }
        Command::MeasureLimits => {
            child::settle_in()?;
            let dir: Box<Path> = serde_json::from_str(&input()?)?;
            Ok(writeln!(out, "{}", serde_json::to_string(&limits::measure(&dir)?)?)?)
        }
    }
}

fn run_session(knobs: &Knobs, preset: Plan, out: &mut impl Write) -> Result<()> {
    let session = knobs.session(preset)?;
    let report = session.run()?;
    if let Some(dir) = &knobs.charts {
        svg::write_charts(&report, dir)?;
    }
    write!(out, "{}", table::print(&report, &knobs.against))?;
    eprintln!("the report is in {}", session.out.display());
    Ok(())
}

fn list(out: &mut impl Write) -> Result<()> {
    for adapter in engines::ADAPTERS {
        writeln!(out, "{:<16} {} {}", adapter.name, adapter.package, machine::version(adapter.package))?;
    }
    writeln!(out)?;
    for workload in workload::WORKLOADS {
        let threads = if workload.threads == 1 { "" } else { &format!(", {} threads", workload.threads) };
        writeln!(out, "{:<16} {}{threads}; each {} counts", workload.name, workload.what, workload.unit)?;
    }
    Ok(())
}

fn input() -> Result<String> {
    let mut text = String::new();
    stdin().read_to_string(&mut text)?;
    Ok(text)
}
