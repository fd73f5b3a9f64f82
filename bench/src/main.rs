//! Isopach beside every peer: the same work, measured the same way. How to run it: `README.md`.

mod random;
mod values;
mod keys;
mod timestamp;
mod engine;
mod engines;
mod record;
mod process;
mod sync_calls;
mod measure;
mod machine;
mod copy;
mod request;
mod child;
mod plan;
mod rig;
mod workload;
mod row;
mod session;
mod args;

use args::{Cli, Command};
use clap::Parser;
use engine::Result;
use std::{
    io::{Read, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    match command {
        Command::Row => {
            child::settle_in()?;
            let answer = row::run(&serde_json::from_str(&input()?)?)?;
            println!("{}", serde_json::to_string(&answer)?);
        }
        Command::Load => {
            child::settle_in()?;
            row::load(&serde_json::from_str(&input()?)?, &mut std::io::stdout())?;
        }
        Command::List => list(&mut std::io::stdout())?,
        Command::Quick(_) | Command::Full(_) | Command::Run(_) => {
            let session = args::session(command)?.expect("these run one");
            session.run()?;
            eprintln!("{}", session.out.display());
        }
    }
    Ok(())
}

fn input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn list(out: &mut impl Write) -> Result<()> {
    for adapter in engines::ADAPTERS {
        writeln!(out, "{:<16} {} {}", adapter.name, adapter.package, machine::version(adapter.package))?;
    }
    writeln!(out)?;
    for workload in workload::WORKLOADS {
        let threads =
            if workload.threads == 1 { "1 thread".into() } else { format!("{} threads", workload.threads) };
        writeln!(out, "{:<16} {}; {threads}, counts each {}", workload.name, workload.what, workload.unit)?;
    }
    Ok(())
}
