//! The corruption sweep for as long as one likes.
//!
//! `cargo run --release -p testkit --bin corrupt -- [--all] [--each N] [--seed S] [--threads N]
//! [--write-every N]`
//!
//! `--all` tries every bit, every length and every pair; `--each N` at most N of each kind of damage to each
//! file (200). Prints what came of them by kind of file and of damage, then violations, and ends with 1 if
//! there are any.

use std::{env, process::ExitCode};
use testkit::{
    Rng,
    allocations::Counting,
    corruption::{Density, Plan, sweep},
};

#[global_allocator]
static HEAP: Counting = Counting;

const USAGE: &str = "corrupt [--all] [--each N] [--seed S] [--threads N] [--write-every N]";

fn main() -> ExitCode {
    let plan = match arguments() {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("{why}\nusage: {USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}, {:?}, {} threads", plan.seed, plan.density, plan.threads);
    let swept = sweep(plan);
    print!("{swept}");
    for violation in &swept.violations {
        println!("{violation}");
    }
    if swept.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments() -> Result<Plan, String> {
    let seed = Rng::new(u64::from(std::process::id())).word() >> 40;
    let mut plan = Plan { seed, density: Density::AtMost(200), write_every: 8, threads: 2 };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().ok_or_else(|| format!("{argument} wants a number"))?;
            text.parse::<u64>().map_err(|error| format!("{argument} {text}: {error}"))
        };
        match argument.as_str() {
            "--all" => plan.density = Density::All,
            "--each" => plan.density = Density::AtMost(number()? as usize),
            "--seed" => plan.seed = number()?,
            "--threads" => plan.threads = number()?.max(1) as usize,
            "--write-every" => plan.write_every = number()?.max(1) as usize,
            _ => return Err(format!("unknown argument {argument}")),
        }
    }
    Ok(plan)
}
