//! Exit codes, and the one error type of the commands.
//!
//! The codes are part of the interface: scripts rely on them, so a code never changes its meaning. The help
//! of the program lists them from [`HELP`].

use isopach::ErrorKind;
use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

/// Done.
pub(crate) const OK: u8 = 0;
/// Failed in a way that no other code names.
pub(crate) const FAILURE: u8 = 1;
/// The arguments make no sense. Also what clap exits with.
pub(crate) const USAGE: u8 = 2;
/// Stored bytes are damaged.
pub(crate) const CORRUPTION: u8 = 3;
/// No such key, keyspace or database.
pub(crate) const NOT_FOUND: u8 = 4;
/// Another process has the database open.
pub(crate) const LOCKED: u8 = 5;
/// Not a database, or one that this program cannot read.
pub(crate) const UNSUPPORTED: u8 = 6;
/// Writes are stalled, or there is no space.
pub(crate) const NO_ROOM: u8 = 7;
/// The keys of an encrypted database are missing or wrong.
pub(crate) const NO_KEY: u8 = 8;
/// Ended before it was done. A shell reports the same code after Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The table of exit codes for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
    0  ok
    1  failure
    2  wrong usage
    3  corruption found
    4  key, keyspace or database not found
    5  database locked by another process
    6  not a database, a format of another version, or a feature this program lacks
    7  writes stalled, or out of space
    8  encrypted, and its key was not given, or another one
  130  interrupted";

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our output has gone, as `head` does. Not an error.
    ReaderGone,
    /// Everything else.
    Report {
        /// One of the constants of this module.
        code: u8,
        /// What was being done.
        what: String,
        /// Why it did not work.
        message: String,
        /// What the user can do, if that is known.
        hint: Option<&'static str>,
    },
}

impl Failure {
    /// A failure found by the command itself.
    pub(crate) fn new(code: u8, what: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::Report { code, what: what.into(), message: message.into(), hint: None }
    }

    /// As [`Failure::new`], with what the user can do.
    pub(crate) fn with_hint(self, hint: &'static str) -> Failure {
        match self {
            Failure::Report { code, what, message, .. } => {
                Failure::Report { code, what, message, hint: Some(hint) }
            }
            Failure::ReaderGone => Failure::ReaderGone,
        }
    }

    /// The same failure, and what was done before it.
    pub(crate) fn after(self, done: impl Display) -> Failure {
        match self {
            Failure::Report { code, what, message, hint } => {
                Failure::Report { code, what, message: format!("{message}; {done}"), hint }
            }
            Failure::ReaderGone => Failure::ReaderGone,
        }
    }

    /// An error of the database.
    pub(crate) fn database(what: impl Into<String>, error: &isopach::Error) -> Failure {
        Failure::Report {
            code: code(error.kind()),
            what: what.into(),
            message: error.to_string(),
            hint: hint(error.kind()),
        }
    }

    /// An error of a file or stream that is not the database.
    pub(crate) fn io(what: impl Into<String>, error: &io::Error) -> Failure {
        let code = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NO_ROOM,
            _ => FAILURE,
        };
        Failure::new(code, what, error.to_string())
    }

    /// Says on `stderr` what went wrong, and returns the exit code.
    pub(crate) fn report(&self, stderr: &mut impl Write) -> ExitCode {
        match self {
            Failure::ReaderGone => ExitCode::from(OK),
            Failure::Report { code, what, message, hint } => {
                // There is nowhere left to say that stderr is closed; the code still tells.
                let _ = match message.starts_with("cannot ") {
                    true => writeln!(stderr, "isopach: {message}"), // It says itself what was being done.
                    false => writeln!(stderr, "isopach: {what}: {message}"),
                };
                if let Some(hint) = hint {
                    let _ = writeln!(stderr, "hint: {hint}");
                }
                ExitCode::from(*code)
            }
        }
    }
}

/// For writing to stdout, the only place where `?` turns an [`io::Error`] into a failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::io("write output", &error),
        }
    }
}

/// Says what was being done when an error of the database came.
pub(crate) trait Doing<T> {
    /// The error as a failure of `what`.
    fn doing(self, what: &str) -> Result<T, Failure>;
}

impl<T> Doing<T> for Result<T, isopach::Error> {
    fn doing(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::database(what, &error))
    }
}

fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Corruption | ErrorKind::MixedDatabase | ErrorKind::MissingDictionary => CORRUPTION,
        ErrorKind::NotFound | ErrorKind::KeyspaceMissing | ErrorKind::KeyspaceDropped => NOT_FOUND,
        ErrorKind::Locked => LOCKED,
        ErrorKind::UnsupportedFormat
        | ErrorKind::UnsupportedFeature
        | ErrorKind::MissingComparator
        | ErrorKind::MissingPrefixExtractor => UNSUPPORTED,
        ErrorKind::OutOfSpace => NO_ROOM,
        ErrorKind::MissingKey | ErrorKind::WrongKey => NO_KEY,
        ErrorKind::Cancelled => INTERRUPTED,
        _ => FAILURE,
    }
}

fn hint(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Corruption => {
            "`isopach verify DB` lists what is damaged; keep a copy of the directory before any repair"
        }
        ErrorKind::MixedDatabase => {
            "files of different databases are in one directory; put the right ones back"
        }
        ErrorKind::MissingDictionary => "put the file back from a copy of this database",
        ErrorKind::NotFound => "check the path; `isopach put` and `isopach load` create a database",
        ErrorKind::KeyspaceMissing | ErrorKind::KeyspaceDropped => "`isopach ls DB` lists the keyspaces",
        ErrorKind::Locked => "close the program that has the database open, then try again",
        ErrorKind::UnsupportedFormat => "check the path, or use the version of isopach that wrote it",
        ErrorKind::UnsupportedFeature => "use a build of isopach with this feature",
        ErrorKind::MissingComparator => {
            "only the program that writes this database has what it needs to open it"
        }
        ErrorKind::MissingPrefixExtractor => {
            "only the program that writes this database has it; commands that write nothing do without"
        }
        ErrorKind::MissingKey => "`--key-file FILE` gives keys",
        ErrorKind::WrongKey => "look for the file with the right keys; nothing was changed",
        ErrorKind::Busy => "wait until background work has caught up, then try again",
        ErrorKind::OutOfSpace => "free some space, then try again",
        ErrorKind::Poisoned => "what was acknowledged before is kept; check the disk, then try again",
        ErrorKind::Io => "the operating system failed; check the disk and the permissions",
        ErrorKind::BatchTooLarge => "`load --batch` takes fewer records at a time",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_kinds_have_their_documented_codes() {
        let table = [
            (ErrorKind::Io, 1),
            (ErrorKind::Poisoned, 1),
            (ErrorKind::Corruption, 3),
            (ErrorKind::MissingDictionary, 3),
            (ErrorKind::NotFound, 4),
            (ErrorKind::KeyspaceMissing, 4),
            (ErrorKind::Locked, 5),
            (ErrorKind::UnsupportedFormat, 6),
            (ErrorKind::MissingComparator, 6),
            (ErrorKind::MissingPrefixExtractor, 6),
            (ErrorKind::OutOfSpace, 7),
            (ErrorKind::MissingKey, 8),
            (ErrorKind::WrongKey, 8),
            (ErrorKind::Cancelled, 130),
        ];

        for (kind, expected) in table {
            assert_eq!(code(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn help_lists_every_code() {
        for code in [OK, FAILURE, USAGE, CORRUPTION, NOT_FOUND, LOCKED, UNSUPPORTED, NO_ROOM, INTERRUPTED] {
            let line = HELP.lines().find(|line| line.trim().starts_with(&format!("{code} ")));
            assert!(line.is_some(), "exit code {code} is not in the help");
        }
    }

    #[test]
    fn broken_pipe_is_quiet_and_ok() {
        let mut stderr = Vec::new();

        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let code = failure.report(&mut stderr);

        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(OK)));
        assert!(stderr.is_empty());
    }

    #[test]
    fn message_that_says_what_was_done_is_not_told_twice() {
        let mut stderr = Vec::new();

        Failure::new(NOT_FOUND, "open x", "cannot open x: no such directory").report(&mut stderr);

        assert_eq!(String::from_utf8(stderr).unwrap(), "isopach: cannot open x: no such directory\n");
    }

    #[test]
    fn report_says_what_why_and_what_to_do() {
        let mut stderr = Vec::new();

        Failure::new(FAILURE, "load x", "line 3: odd")
            .after("2 applied")
            .with_hint("fix it")
            .report(&mut stderr);

        assert_eq!(
            String::from_utf8(stderr).unwrap(),
            "isopach: load x: line 3: odd; 2 applied\nhint: fix it\n"
        );
    }
}
