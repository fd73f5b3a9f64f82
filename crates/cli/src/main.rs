//! `isopach`: the command line of the Isopach database.
//!
//! Parses the arguments, runs one command, turns its result into an exit code. The commands are in
//! [`commands`], [`demo`] and [`torture`]; every database is opened by [`database`], so that which of them
//! write can be read there.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod database;
mod demo;
mod exit;
mod formats;
mod keys;
mod killed;
mod output;
mod random;
mod text;
mod torture;
mod workplace;

use crate::{
    args::{Args, Form},
    exit::Failure,
    output::Console,
};
use clap::Parser;
use std::{
    io::{self, BufWriter, IsTerminal},
    process::ExitCode,
};

fn main() -> ExitCode {
    let args = Args::parse();
    let stdout = io::stdout();
    let is_terminal = stdout.is_terminal();
    // Not locked: threads of a command may say something as well.
    let mut console =
        Console::new(BufWriter::new(stdout), args.output.map(Form::lines), is_terminal, io::stderr());

    let done = keys::read(args.key_file.as_deref())
        .and_then(|()| commands::run(args.command, args.output, &mut console))
        .and_then(|()| console.out().flush().map_err(Failure::from));

    match done {
        Ok(()) => ExitCode::from(exit::OK),
        Err(failure) => {
            // What was found before the failure is worth having; a reader that left does not matter here.
            let _ = console.out().flush();
            failure.report(&mut io::stderr())
        }
    }
}
