//! What can be said of single tables.

use super::{DbArgs, HexArgs};
use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

/// What to look at.
#[derive(Subcommand, Debug)]
pub(crate) enum SstCommand {
    /// Say what a table holds and how it was written
    Show(SstFileArgs),
    /// Show where everything in a table lies; every byte is checked
    Layout(SstFileArgs),
    /// Print the entries of a table, all versions, in order
    Dump(SstDumpArgs),
    /// Describe the filters of a table, and ask them about keys and prefixes
    Filter(SstFilterArgs),
    /// List the tables of a database
    Ls(DbArgs),
}

/// A table.
#[derive(ClapArgs, Debug)]
pub(crate) struct SstFileArgs {
    /// File of a table; no database is opened or locked
    pub(crate) file: PathBuf,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct SstDumpArgs {
    /// File of a table; no database is opened or locked
    pub(crate) file: PathBuf,
    /// First key, included
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Option<String>,
    /// End, not included
    #[arg(long, value_name = "KEY")]
    pub(crate) to: Option<String>,
    /// Only the data block of this number, from 0, as `layout` numbers them
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "to"])]
    pub(crate) block: Option<usize>,
    #[command(flatten)]
    pub(crate) hex: HexArgs,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct SstFilterArgs {
    /// File of a table; no database is opened or locked
    pub(crate) file: PathBuf,
    /// Keys to ask about, or prefixes of keys
    #[arg(value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    #[command(flatten)]
    pub(crate) hex: HexArgs,
}
