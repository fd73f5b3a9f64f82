//! `cargo run --release -p testkit --bin soak -- [--minutes N | --rounds N] [--seed S]`: crashes databases at
//! every step of random work, round after round, until the time is over or a promise is broken.
//!
//! Each round has a seed of its own; a failure prints the command that repeats its round. The last line says
//! how many crashes came in the middle of what; if one kind never did, that is a failure.

use isopach::env::CrashFs;
use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};
use testkit::{
    Rng,
    crash::{
        ALPHABET, Act, Activity, Crash, Crowd, Explored, Ledger, Pace, Past, Plan, Run, Violation, explore,
        explore_crowd,
    },
};

fn main() -> ExitCode {
    let Options { time, rounds, first_seed } = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let (start, mut told) = (Instant::now(), Instant::now());
    let (mut all, mut round) = (Explored::default(), 0);
    while start.elapsed() < time && round < rounds {
        let seed = first_seed + round;
        match explore_round(seed) {
            Ok(explored) => all += &explored,
            Err(violation) => {
                println!("a promise is broken: {violation}");
                println!("cargo run --release -p testkit --bin soak -- --rounds 1 --seed {seed}");
                return ExitCode::FAILURE;
            }
        }
        round += 1;
        if told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            println!("{:.0} s, {round} rounds: {all}", start.elapsed().as_secs_f32());
        }
    }
    let took = start.elapsed().as_secs_f32();
    println!("{round} rounds from seed {first_seed} on in {took:.0} s, nothing lost: {all}");
    let never = Activity::ALL.into_iter().filter(|kind| !all.during.contains_key(kind));
    let never: Vec<&str> = never.map(Activity::name).collect();
    if never.is_empty() || rounds < u64::MAX {
        return ExitCode::SUCCESS;
    }
    println!("no crash came in the middle of {}: run it for longer", never.join(", "));
    ExitCode::FAILURE
}

/// One piece of work, which the seed chooses.
fn explore_round(seed: u64) -> Result<Explored, Violation> {
    let mut rng = Rng::new(seed);
    let crash = if rng.one_in(3) { Crash::Process } else { Crash::Power { images: 2 } };
    match rng.below(4) {
        0 => explore_crowd(Crowd { seed, crash, writers: 2 + rng.below(6), commits: 150, one_in: 3 }),
        1 => {
            let mut run = Past::new(rng.word()).go_on(seed);
            let workload: Vec<Act> = (0..3 + rng.below(3)).map(|_| *rng.pick(&ALPHABET)).collect();
            let files = run.files().clone();
            let explored = explore(&files, &mut run, Plan::new(seed, crash), |run| run.perform(&workload));
            explored
                .map_err(|violation| Violation { at: format!("{workload:?}, {}", violation.at), ..violation })
        }
        _ => {
            let files = CrashFs::new();
            let mut run = Run::new(&files, &Ledger::default(), Pace::Free, rng.fork());
            let (acts, one_in) = (20 + rng.below(150), 1 + rng.below(4));
            let plan = Plan { one_in, second_crash_one_in: 4, ..Plan::new(seed, crash) };
            explore(&files, &mut run, plan, |run| {
                run.perform_any(acts);
                run.close();
            })
        }
    }
}

struct Options {
    time: Duration,
    rounds: u64,
    first_seed: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options { time: Duration::from_secs(60), rounds: u64::MAX, first_seed: 1 };
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--minutes", Some(minutes)) => options.time = Duration::from_secs(60 * minutes),
            ("--rounds", Some(rounds)) => {
                options.rounds = rounds;
                options.time = Duration::MAX;
            }
            ("--seed", Some(seed)) => options.first_seed = seed,
            _ => return Err("usage: soak [--minutes N | --rounds N] [--seed S]".into()),
        }
    }
    Ok(options)
}
