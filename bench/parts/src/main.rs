//! The parts of Isopach by themselves.
//!
//! ```text
//! cargo run --release -p isopach-parts                     times of all cases
//! cargo run --release -p isopach-parts -- memtable scan    of cases whose name holds one of these
//! cargo run --release -p isopach-parts -- counts           instruction counts, beside the baseline
//! cargo run --release -p isopach-parts -- counts check     the same; fails where they differ from it
//! cargo run --release -p isopach-parts -- counts renew     writes them down as the new baseline
//! ```
//!
//! Times are for eyes: they depend on the machine and its other work. Instruction counts are for CI: they do
//! not. One case serves both, see [`Meter`](meter::Meter). Everything runs on files in memory and with fixed
//! seeds.

mod baseline;
mod counts;
mod inputs;
mod meter;
mod parts;
mod times;

use parts::{CASES, Case};
use std::{env, process::ExitCode};

fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        eprintln!(
            "an unoptimized build measures nothing: run it with `cargo run --release -p isopach-parts`"
        );
        return ExitCode::from(2);
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [counts::ONE, name] => counts::run_one(name).map(|()| ExitCode::SUCCESS),
        ["counts", ref rest @ ..] => counts::run(rest),
        ref names => times::run(names).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|message| {
        eprintln!("{message}");
        ExitCode::from(2)
    })
}

/// Cases whose name holds one of `names`; all for none.
///
/// # Errors
///
/// A name that no case has, or that is no name.
fn chosen(names: &[&str], from: impl Fn(&Case) -> bool) -> Result<Vec<&'static Case>, String> {
    let cases: Vec<_> = CASES.iter().copied().flatten().filter(|case| from(case)).collect();
    for name in names {
        if name.starts_with('-') || !cases.iter().any(|case| case.name.contains(name)) {
            let known: Vec<_> = cases.iter().map(|case| case.name).collect();
            return Err(format!("no case has {name:?} in its name; there are: {}", known.join(" ")));
        }
    }
    let is_chosen = |case: &&Case| names.is_empty() || names.iter().any(|name| case.name.contains(name));
    Ok(cases.into_iter().filter(is_chosen).collect())
}
