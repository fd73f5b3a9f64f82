//! `demo`: what the database does, shown on real data, and checked.
//!
//! Four parts, each of which fails loudly if an answer is wrong: load the Unicode characters ([`records`]),
//! read them back in every way ([`records`]), kill a writer and see that what it was told is kept is there
//! ([`crash`]), and check every file. The demo works in a directory that was missing or empty, so that
//! removing what it made removes nothing else.

pub(crate) mod child;
mod crash;
mod dataset;
mod random;
mod records;

use crate::{
    args::DemoArgs,
    database::{self, Depth},
    exit::{self, Failure},
    output::Console,
    text,
};
use random::Random;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let seed = args.seed.unwrap_or_else(random::fresh_seed);
    let mut random = Random::new(seed);
    let directory = Directory::claim(args.dir.as_deref(), &mut Random::new(random::fresh_seed()))?;
    let started = Instant::now();
    writeln!(console.out(), "demo in {} (repeat with --seed {seed})", directory.path.display())?;

    let result = parts(args, &directory.path, &mut random, console);

    match result {
        Ok(()) => {
            let seconds = started.elapsed().as_secs_f64();
            writeln!(console.out(), "\nAll checks passed in {seconds:.1} s.")?;
            if args.keep { Ok(()) } else { directory.remove() }
        }
        // Whoever reads the output has gone: nobody asks for the directory any more.
        Err(Failure::ReaderGone) if !args.keep => directory.remove().and(Err(Failure::ReaderGone)),
        Err(failure) => Err(failure.after(format!("the directory {} is kept", directory.path.display()))),
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
    let facts = database::verify(dir, Depth::Entries)?;
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

/// The directory of a demo. Everything in it was made by the demo.
struct Directory {
    path: PathBuf,
    /// Whether the demo made the directory itself, too.
    is_ours: bool,
}

impl Directory {
    /// Takes `asked`, which must be missing or empty, or makes a temporary directory.
    fn claim(asked: Option<&Path>, random: &mut Random) -> Result<Directory, Failure> {
        let path = match asked {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("isopach-demo-{:016x}", random.next())),
        };
        let what = format!("demo in {}", path.display());
        match fs::create_dir(&path) {
            Ok(()) => Ok(Directory { path, is_ours: true }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && asked.is_some() => {
                let mut entries = fs::read_dir(&path).map_err(|error| Failure::io(&what, &error))?;
                match entries.next() {
                    None => Ok(Directory { path, is_ours: false }),
                    Some(_) => Err(Failure::new(exit::FAILURE, what, "the directory is not empty")
                        .with_hint("name a directory that is missing or empty")),
                }
            }
            Err(error) => Err(Failure::io(what, &error)),
        }
    }

    fn remove(self) -> Result<(), Failure> {
        let removed = if self.is_ours { fs::remove_dir_all(&self.path) } else { self.remove_contents() };
        removed.map_err(|error| Failure::io(format!("remove {}", self.path.display()), &error))
    }

    fn remove_contents(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(path: &Path) -> Result<Directory, Failure> {
        Directory::claim(Some(path), &mut Random::new(1))
    }

    #[test]
    fn only_missing_and_empty_directories_are_taken() {
        let mut random = Random::new(random::fresh_seed());
        let temporary = Directory::claim(None, &mut random).unwrap();
        let inner = temporary.path.join("inner");

        let made = claim(&inner).unwrap();
        assert!(made.is_ours);
        fs::create_dir(inner.join("db")).unwrap();
        fs::write(inner.join("db/file"), "x").unwrap();
        assert!(claim(&inner).is_err(), "it is not empty");
        made.remove().unwrap();
        assert!(!inner.exists());

        fs::create_dir(&inner).unwrap();
        let taken = claim(&inner).unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        taken.remove().unwrap();
        assert!(inner.exists(), "a directory that was there stays");
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);

        temporary.remove().unwrap();
    }
}
