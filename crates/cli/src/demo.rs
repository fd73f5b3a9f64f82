//! `demo`: what the database does, shown on real data, and checked.
//!
//! Four parts, each of which fails loudly if an answer is wrong: load the Unicode characters ([`records`]),
//! read them back in every way ([`records`]), kill a writer and see that what it was told is kept is there
//! ([`crash`]), and check every file. The demo works in a directory that was missing or empty, so that
//! removing what it made removes nothing else.

pub(crate) mod child;
mod crash;
mod dataset;
mod records;

use crate::{
    args::DemoArgs,
    database,
    exit::{self, Failure},
    output::Console,
    random::{self, Random},
    text,
    workplace::Workplace,
};
use isopach::VerifyDepth;
use std::{path::Path, time::Instant};

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let seed = args.seed.unwrap_or_else(random::fresh_seed);
    let mut random = Random::new(seed);
    let directory = match &args.dir {
        Some(dir) => Workplace::claim("demo", dir)?,
        None => Workplace::temporary("demo")?,
    };
    let dir = directory.path();
    let started = Instant::now();
    writeln!(console.out(), "demo in {} (repeat with --seed {seed})", dir.display())?;

    let result = parts(args, dir, &mut random, console);

    match result {
        Ok(()) => {
            let seconds = started.elapsed().as_secs_f64();
            writeln!(console.out(), "\nAll checks passed in {seconds:.1} s.")?;
            if args.keep { Ok(()) } else { directory.remove() }
        }
        // Whoever reads the output has gone: nobody asks for the directory any more.
        Err(Failure::ReaderGone) if !args.keep => directory.remove().and(Err(Failure::ReaderGone)),
        Err(failure) => Err(failure.after(format!("the directory {} is kept", dir.display()))),
    }
}

fn parts(args: &DemoArgs, dir: &Path, random: &mut Random, console: &mut Console<'_>) -> Result<(), Failure> {
    records::load(dir, console)?;
    records::read_back(dir, random, console)?;
    crash::run(dir, args.rounds, args.seconds, random, console)?;
    check_files(dir, console)
}

/// Part 4: `isopach verify` of what the demo wrote.
fn check_files(dir: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    say(console, "\n4. Check every byte of every file")?;
    let started = Instant::now();
    let facts = database::verify(dir, VerifyDepth::Full)?;
    if let Some(found) = facts.findings.first() {
        let message = format!("{}: {}", found.file, found.message);
        return Err(Failure::new(exit::CORRUPTION, "demo: verify", message).with_hint(REPORT));
    }
    let tables = format!(
        "{} in {}, {} entries, {}",
        text::size(facts.bytes),
        text::counted(facts.files, "table", "tables"),
        text::grouped(facts.entries),
        text::counted(facts.log_records, "log record", "log records"),
    );
    say(console, &measured(&tables, &format!("{:.2} s", started.elapsed().as_secs_f64())))
}

const REPORT: &str = "this is a bug of isopach or a fault of this machine; please report it with the output";

/// A check that did not hold. Never the user's fault.
fn wrong(what: &str, message: impl Into<String>) -> Failure {
    Failure::new(exit::FAILURE, format!("demo: {what}"), message).with_hint(REPORT)
}

/// What was done, and in a column behind it what that took.
fn measured(done: &str, took: &str) -> String {
    format!("   {done:<64}{took}")
}

/// Prints a line at once, so that the demo can be watched.
fn say(console: &mut Console<'_>, line: &str) -> Result<(), Failure> {
    writeln!(console.out(), "{line}")?;
    Ok(console.out().flush()?)
}
