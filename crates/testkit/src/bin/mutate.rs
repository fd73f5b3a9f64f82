//! `cargo run --release -p testkit --bin mutate -- [--seed S] [--only NAME]`: mutes every sync and reverses
//! every order, in turn, and fails if nobody notices. With a name that sync or order alone.

use std::{env, panic, process::ExitCode, time::Instant};
use testkit::mutate::{Caught, EDGES, SITES, check_without_mutation, mute, reverse};

fn main() -> ExitCode {
    let Options { seed, only } = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    if only.is_none() {
        if let Err(violation) = check_without_mutation(seed..seed + 1) {
            println!("without any mutation a promise is broken: {violation}");
            return ExitCode::FAILURE;
        }
        println!("without a mutation nothing is found ({:.1} s)", start.elapsed().as_secs_f32());
    }

    panic::set_hook(Box::new(|_| {})); // Violations are panics, and wanted here.
    let is_asked_for = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let (mut tried, mut unnoticed) = (0, Vec::new());
    let mut report = |kind: &str, name, what: &str, mutate: &dyn Fn() -> Option<Caught>| {
        if is_asked_for(name) {
            tried += 1;
            let caught = mutate();
            println!("{kind:<6} {name:<24} {what:<48} {}", outcome(caught.as_ref()));
            if caught.is_none() {
                unnoticed.push(name);
            }
        }
    };
    for site in SITES.iter().filter(|site| site.is_reached()) {
        report("sync", site.name, site.missed, &|| mute(site, seed));
    }
    for edge in EDGES.iter().filter(|edge| edge.is_reached()) {
        report("order", edge.name, edge.earlier, &|| reverse(edge, seed));
    }
    println!("{tried} mutations, {} unnoticed, {:.0} s", unnoticed.len(), start.elapsed().as_secs_f32());
    if unnoticed.is_empty() && tried > 0 {
        return ExitCode::SUCCESS;
    }
    println!("nobody misses {}", unnoticed.join(", "));
    ExitCode::FAILURE
}

fn outcome(caught: Option<&Caught>) -> String {
    let Some(Caught { scenario, seed, violation }) = caught else {
        return "NOT NOTICED".into();
    };
    let why: String = violation.why.lines().next().unwrap_or_default().chars().take(100).collect();
    format!("caught, {scenario:?} of seed {seed}: {why}")
}

struct Options {
    seed: u64,
    only: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seed: 1, only: None };
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        match (name.as_str(), arguments.next()) {
            ("--seed", Some(seed)) => {
                options.seed = seed.parse().map_err(|_| format!("`{seed}` is no seed"))?
            }
            ("--only", Some(name)) => options.only = Some(name),
            _ => return Err("usage: mutate [--seed S] [--only NAME]".into()),
        }
    }
    Ok(options)
}
