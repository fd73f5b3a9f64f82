//! The command line: what can be said. What it means is in [`commands`](crate::commands).

mod sst;

pub(crate) use sst::{SstCommand, SstDumpArgs, SstFilterArgs};

use crate::{exit, formats::Format, output::Output, text};
use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use isopach::{Parity, VerifyDepth, VerifyOptions};
use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

/// Reads, writes and examines Isopach databases.
///
/// get, scan, dump, count, ls, info, levels, verify and sst write nothing. load and put create the database and the
/// keyspace if they are missing. A database is open in one process at a time.
#[derive(Parser, Debug)]
#[command(name = "isopach", version, after_help = exit::HELP, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// How results are printed [default: table on a terminal, else jsonl]
    #[arg(long, global = true, value_enum, value_name = "FORM")]
    pub(crate) output: Option<Form>,

    /// Keys of encrypted databases: a line for each, a number and 64 hexadecimal digits [else: $ISOPACH_KEYS]
    ///
    /// The first key is that of new files; a line of `0` alone before it says that new files are not encrypted. Files
    /// under other keys, or in clear, are written anew by compactions.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// In which form results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Form {
    /// Columns for people
    Table,
    /// A JSON object per line
    Jsonl,
    /// Frames of bytes: of `dump` only
    Raw,
}

impl Form {
    /// How lines are printed.
    pub(crate) fn lines(self) -> Output {
        match self {
            Form::Table => Output::Table,
            Form::Jsonl | Form::Raw => Output::Jsonl,
        }
    }
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Load the records of a file
    Load(LoadArgs),
    /// Put one value
    Put(PutArgs),
    /// Print the value of a key
    Get(KeyArgs),
    /// Remove a key
    Rm(RemoveArgs),
    /// Remove all keys of a range, at the cost of one write
    RmRange(RemoveRangeArgs),
    /// Print the entries of a keyspace, in key order
    Scan(ScanArgs),
    /// Print whole keyspaces, as `load` reads them
    ///
    /// As JSON lines, or with `--output raw` as frames, which are smaller and show whether something is missing. Load
    /// it with --format jsonl or raw. Without KEYSPACE all are printed, each behind its name; `load` without --keyspace
    /// makes them anew. Options of keyspaces are not part of a dump.
    Dump(DumpArgs),
    /// Count the entries of a keyspace
    Count(CountArgs),
    /// List the keyspaces and their options
    Ls(DbArgs),
    /// Say what a database is and in what state, on one screen
    Info(OpenArgs),
    /// Show the levels of every keyspace
    Levels(DbArgs),
    /// Write what is in memory and log as tables
    Flush(OpenArgs),
    /// Rewrite keyspaces into their last level
    Compact(CompactArgs),
    /// Write anew what lies under other keys than the current one, so that no other is needed any more
    ///
    /// With a key file that begins with a line of `0` the database is not encrypted any more in the end. Copies that were
    /// made before keep their keys.
    Rekey(DbArgs),
    /// Delete everything in a keyspace, which stays
    Clear(ClearArgs),
    /// Copy a database as of now into a new directory, sharing tables where the disk can
    Checkpoint(CheckpointArgs),
    /// Check every file
    Verify(VerifyArgs),
    /// Read every table from the disk, and write anew those that parity had to correct
    Scrub(ScrubArgs),
    /// Make a database open again that lost its manifest, or of which files are damaged
    ///
    /// Nothing is removed: what is no part of the database any more is moved into its directory `lost`. Keep a copy of the
    /// whole directory first, and see with --dry-run what would be done. Says what is lost, and exits with 3 then.
    Repair(RepairArgs),
    /// Write what is left of a damaged table into a new file
    ///
    /// The damaged file is only read. Says which keys are lost, and exits with 3 if some are.
    Salvage(SalvageArgs),
    /// Look at tables: files of sorted entries
    #[command(subcommand)]
    Sst(SstCommand),
    /// Load the Unicode characters, read them back, and survive being killed
    Demo(DemoArgs),
    /// The writer that `demo` kills
    #[command(hide = true)]
    DemoChild(DbArgs),
    /// Kill a busy process again and again, and check that nothing acknowledged is lost
    ///
    /// Writers, readers, flushes, compactions and checkpoints work on one database in DIR until the process
    /// is killed at a random moment. What was acknowledged is counted outside of it. After every kill each
    /// key is compared, every file checked, every checkpoint opened; then it goes on with the same database.
    /// The last line says what was tried and what was lost. Exits with 0 only if that is nothing.
    Torture(TortureArgs),
    /// The process that `torture` kills
    #[command(hide = true)]
    TortureChild(TortureChildArgs),
}

/// A database.
#[derive(ClapArgs, Debug)]
pub(crate) struct DbArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
}

/// A database, and how much of a damaged log may be left out.
#[derive(ClapArgs, Debug)]
pub(crate) struct OpenArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// What may be left out of a log that is not whole
    #[arg(long, value_enum, value_name = "MODE", default_value_t = LogRecovery::TornEnd)]
    pub(crate) log_recovery: LogRecovery,
}

/// What may be left out of a log that is not whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LogRecovery {
    /// Nothing, not even an end that a crash tore
    Absolute,
    /// What was never promised to be durable
    TornEnd,
    /// All from the first damage on, durable commits too: look with `info` first, then `flush` to make it so
    PointInTime,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct LoadArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Keyspace to load into; none if the file names its own, as dumps of several do
    #[arg(long, short, value_parser = keyspace_name, required_if_eq("format", "deb822"))]
    pub(crate) keyspace: Option<String>,
    /// What the file holds
    #[arg(long, short, value_enum, required_unless_present = "tables")]
    pub(crate) format: Option<Format>,
    /// Records per atomic batch; one that reaches 64 MiB is written early
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) batch: u64,
    /// All records at once, straight into tables, in any order; durable in the end, and nothing is there before
    #[arg(long, conflicts_with_all = ["batch", "durability"])]
    pub(crate) bulk: bool,
    /// Table files, as `TableFileWriter` of the library makes them, in any order: each is checked in full, then all show
    /// at once, durably; the files stay as they are
    #[arg(long, value_name = "TABLE", num_args = 1.., requires = "keyspace",
        conflicts_with_all = ["format", "batch", "bulk", "durability", "file"])]
    pub(crate) tables: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) durability: DurabilityArgs,
    /// File to read; `-` is standard input
    #[arg(required_unless_present = "tables")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct PutArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    /// Value; `-` reads it from standard input, byte for byte
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) durability: DurabilityArgs,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    #[command(flatten)]
    pub(crate) durability: DurabilityArgs,
}

/// A key of a keyspace of a database.
#[derive(ClapArgs, Debug)]
pub(crate) struct KeyArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Keyspace
    #[arg(value_parser = keyspace_name)]
    pub(crate) keyspace: String,
    /// Key
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) hex: HexArgs,
}

/// Which keys: those that all of it leaves.
#[derive(ClapArgs, Debug)]
pub(crate) struct RangeArgs {
    /// Only keys that start with this
    #[arg(long, value_name = "KEY")]
    pub(crate) prefix: Option<String>,
    /// First key, included
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Option<String>,
    /// End, not included
    #[arg(long, value_name = "KEY")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) hex: HexArgs,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct RemoveRangeArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Keyspace
    #[arg(value_parser = keyspace_name)]
    pub(crate) keyspace: String,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    #[command(flatten)]
    pub(crate) durability: DurabilityArgs,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct ScanArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Keyspace
    #[arg(value_parser = keyspace_name)]
    pub(crate) keyspace: String,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// From the last entry to the first
    #[arg(long)]
    pub(crate) rev: bool,
    /// At most this many entries
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Keys only
    #[arg(long)]
    pub(crate) keys: bool,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct DumpArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Only this keyspace, without its name
    #[arg(value_parser = keyspace_name)]
    pub(crate) keyspace: Option<String>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct CountArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Keyspace
    #[arg(value_parser = keyspace_name)]
    pub(crate) keyspace: String,
    /// Only keys that start with this
    #[arg(long, value_name = "KEY")]
    pub(crate) prefix: Option<String>,
    /// By statistics of tables, without reading them: within a block of entries at each end; keys that were written twice
    /// or deleted since they were last compacted count
    #[arg(long)]
    pub(crate) approximate: bool,
    #[command(flatten)]
    pub(crate) hex: HexArgs,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct CompactArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Only this keyspace
    #[arg(long, short, value_parser = keyspace_name)]
    pub(crate) keyspace: Option<String>,
    /// Parity of their tables and separated values from now on: none, sec-ded, xor:DATA, or rs:DATA+PARITY
    #[arg(long, value_name = "SCHEME")]
    pub(crate) parity: Option<Parity>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct ClearArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Keyspace
    #[arg(value_parser = keyspace_name)]
    pub(crate) keyspace: String,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct CheckpointArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Directory to make; its parent must be there
    pub(crate) target: PathBuf,
    /// Write what is in memory and log as tables first
    #[arg(long)]
    pub(crate) flush: bool,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct VerifyArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Only sizes, headers and footers
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Also that every byte of a table belongs to a part of it, what is left of tables that do not open, and files
    /// that nothing names
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    reading: ReadingArgs,
}

/// How fast files are read.
#[derive(ClapArgs, Clone, Copy, Debug)]
pub(crate) struct ReadingArgs {
    /// Bytes read per second, on average; 0: as fast as it goes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) bytes_per_s: u64,
    /// Files that are read at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: usize,
}

impl VerifyArgs {
    /// How the check is made.
    pub(crate) fn options(&self) -> VerifyOptions {
        let depth = match (self.quick, self.full) {
            (true, _) => VerifyDepth::Outline,
            (_, true) => VerifyDepth::Full,
            _ => VerifyDepth::Entries,
        };
        VerifyOptions::new().depth(depth).bytes_per_s(self.reading.bytes_per_s).threads(self.reading.threads)
    }
}

#[derive(ClapArgs, Debug)]
pub(crate) struct ScrubArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Go on where the last scrub ended, if that had not read everything
    #[arg(long)]
    pub(crate) resume: bool,
    /// Only say what would be written anew, and write nothing
    #[arg(long, conflicts_with = "resume")]
    pub(crate) keep: bool,
    /// A checkpoint of the database, to take from what parity does not restore
    #[arg(long, value_name = "DIR")]
    pub(crate) copies: Option<PathBuf>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct RepairArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Only say what would be done; nothing at all is written
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write what is left of damaged tables anew; what is damaged in them is then lost, and older values of its keys may
    /// show. Without it reading what is damaged fails, and reading the rest does not
    #[arg(long)]
    pub(crate) salvage: bool,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct SalvageArgs {
    /// File of a table; no database is opened or locked
    pub(crate) file: PathBuf,
    /// File to make
    pub(crate) out: PathBuf,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct DemoArgs {
    /// Directory to work in, missing or empty [default: a new temporary one]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Keep the directory
    #[arg(long)]
    pub(crate) keep: bool,
    /// How often the writer is killed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = rounds_range())]
    pub(crate) rounds: u32,
    /// Longest time that a writer lives, 0.3 to 60
    #[arg(long, value_name = "S", default_value = "1.5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Repeat the random choices of an earlier run
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct TortureArgs {
    /// Directory to work in, missing or empty, on the disk to be tried
    pub(crate) dir: PathBuf,
    /// How long, 1 to 1,000,000
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) seconds: u64,
    /// Threads that write
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) writers: u16,
    /// Threads that read and check what they see
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub(crate) readers: u16,
    /// Repeat the random choices of an earlier run; the moments of the kills are never the same
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Keep the directory though nothing was lost
    #[arg(long)]
    pub(crate) keep: bool,
    /// Damage the database after each kill, to see that it is noticed
    #[arg(long, value_enum, value_name = "HOW", hide = true)]
    pub(crate) tamper: Option<Tamper>,
}

/// How the database is damaged between kill and check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Tamper {
    /// The end of the log is overwritten with zeros
    LogEnd,
    /// The whole directory is replaced by an older copy of itself
    OldCopy,
    /// A bit of a table is changed
    TableBit,
    /// A table of a checkpoint is removed
    CheckpointTable,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct TortureChildArgs {
    /// Directory of the database
    pub(crate) db: PathBuf,
    /// Directory for checkpoints
    #[arg(long)]
    pub(crate) checkpoints: PathBuf,
    /// What the operations follow from
    #[arg(long)]
    pub(crate) seed: u64,
    /// Of each writer, the number of its first operation
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) from: Vec<u64>,
    /// Threads that read
    #[arg(long)]
    pub(crate) readers: u16,
}

/// Whether keys and values on the command line are text or hex.
#[derive(ClapArgs, Clone, Copy, Debug)]
pub(crate) struct HexArgs {
    /// Keys and values on the command line are hex digits
    #[arg(long = "hex", action = ArgAction::SetTrue)]
    given: bool,
}

impl HexArgs {
    /// The bytes that an argument stands for.
    ///
    /// # Errors
    ///
    /// What is wrong with the hex digits.
    pub(crate) fn bytes(self, argument: &str) -> Result<Vec<u8>, String> {
        if self.given { text::from_hex(argument) } else { Ok(argument.as_bytes().to_vec()) }
    }
}

#[derive(ClapArgs, Clone, Copy, Debug)]
pub(crate) struct DurabilityArgs {
    /// What has happened to a write once it is done
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Durability::Buffered)]
    pub(crate) durability: Durability,
}

/// What has happened to a write once it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Durability {
    /// In memory: a crash before the end loses it
    Volatile,
    /// With the operating system: survives a crash of this process
    Buffered,
    /// On the medium: survives a power loss
    Sync,
}

/// A name that the database accepts, so that a wrong one is wrong usage whatever the database holds.
pub(crate) fn keyspace_name(name: &str) -> Result<String, String> {
    const LENGTH: RangeInclusive<usize> = 1..=255;
    if !LENGTH.contains(&name.len()) {
        return Err("a keyspace name has 1 to 255 bytes".to_owned());
    }
    if name.contains(|c: char| c == '/' || c.is_control()) {
        return Err("a keyspace name has no '/' and no control characters".to_owned());
    }
    Ok(name.to_owned())
}

fn rounds_range() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=100)
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.3..=60.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds from 0.3 to 60".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, error::ErrorKind};

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn help_documents_the_exit_codes() {
        let help = Args::command().render_long_help().to_string();
        assert!(help.contains("corruption found"), "{help}");
        assert!(!help.contains("-child"), "hidden commands stay hidden");
    }

    #[test]
    fn load_has_documented_defaults() {
        let args = parse("isopach load db --keyspace k --format deb822 -").unwrap();
        let Command::Load(load) = args.command else { panic!("not load") };
        assert_eq!((load.batch, load.durability.durability), (1000, Durability::Buffered));
        assert_eq!(load.file, Some(PathBuf::from("-")));
    }

    #[test]
    fn lone_dash_is_a_value() {
        let args = parse("isopach put db k key -").unwrap();
        let Command::Put(put) = args.command else { panic!("not put") };
        assert_eq!(put.value, "-");
    }

    #[test]
    fn output_may_come_after_the_command() {
        let args = parse("isopach count db k --prefix p --output jsonl").unwrap();
        assert_eq!(args.output, Some(Form::Jsonl));
    }

    #[test]
    fn wrong_usage_is_refused() {
        let lines = [
            ("isopach", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("isopach load db --format deb822 f", ErrorKind::MissingRequiredArgument),
            ("isopach load db --keyspace k --format xml f", ErrorKind::InvalidValue),
            ("isopach load db --keyspace k --format jsonl --batch 0 f", ErrorKind::ValueValidation),
            ("isopach get db a/b key", ErrorKind::ValueValidation),
            ("isopach demo --seconds 0.1", ErrorKind::ValueValidation),
            ("isopach torture d --seconds 0", ErrorKind::ValueValidation),
            ("isopach torture --seconds 1", ErrorKind::MissingRequiredArgument),
            ("isopach dance db", ErrorKind::InvalidSubcommand),
        ];
        for (line, kind) in lines {
            assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
        }
    }

    #[test]
    fn keyspace_names_are_checked() {
        assert!(keyspace_name("köln.v2").is_ok());
        assert!(keyspace_name("").is_err());
        assert!(keyspace_name("a\nb").is_err());
        assert!(keyspace_name(&"k".repeat(255)).is_ok());
        assert!(keyspace_name(&"k".repeat(256)).is_err());
    }

    #[test]
    fn hex_arguments_are_bytes() {
        assert_eq!(HexArgs { given: true }.bytes("0x00fF").unwrap(), [0, 255]);
        assert_eq!(HexArgs { given: false }.bytes("00").unwrap(), b"00");
        assert!(HexArgs { given: true }.bytes("0").is_err());
    }
}
