//! The commands, a function each. They say what is done; how a database is opened is in
//! [`database`](crate::database).

mod data;
mod dump;
mod load;
mod maintain;
mod repair;
mod scan;
mod show;
mod sst;

use crate::{
    args::{Command, Form},
    demo,
    exit::{self, Failure},
    output::Console,
    torture,
};

/// Runs one command.
pub(crate) fn run(command: Command, form: Option<Form>, console: &mut Console<'_>) -> Result<(), Failure> {
    if form == Some(Form::Raw) && !matches!(command, Command::Dump(_)) {
        return Err(Failure::new(exit::USAGE, "--output raw", "only `dump` has frames of bytes"));
    }
    match command {
        Command::Load(args) => load::load(&args, console),
        Command::Put(args) => data::put(&args),
        Command::Get(args) => data::get(&args, console),
        Command::Rm(args) => data::remove(&args),
        Command::RmRange(args) => scan::remove_range(&args, console),
        Command::Scan(args) => scan::scan(&args, console),
        Command::Dump(args) => dump::dump(&args, form, console),
        Command::Count(args) => scan::count(&args, console),
        Command::Ls(args) => show::ls(&args.db, console),
        Command::Info(args) => show::info(&args, console),
        Command::Levels(args) => show::levels(&args.db, console),
        Command::Flush(args) => maintain::flush(&args, console),
        Command::Compact(args) => maintain::compact(&args, console),
        Command::Rekey(args) => maintain::rekey(&args.db, console),
        Command::Clear(args) => maintain::clear(&args, console),
        Command::Checkpoint(args) => maintain::checkpoint(&args, console),
        Command::Verify(args) => maintain::verify(&args, console),
        Command::Scrub(args) => maintain::scrub(&args, console),
        Command::Repair(args) => repair::repair(&args, console),
        Command::Salvage(args) => sst::salvage(&args, console),
        Command::Sst(command) => sst::run(&command, console),
        Command::Demo(args) => demo::run(&args, console),
        Command::DemoChild(args) => demo::child::run(&args.db, console),
        Command::Torture(args) => torture::run(&args, console),
        Command::TortureChild(args) => torture::child::run(&args),
    }
}
