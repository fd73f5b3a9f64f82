//! `sst`: tables by themselves. No database is opened but by `ls`, and nothing is written.

mod entries;
mod filter;
mod layout;
mod ls;
mod salvage;
mod show;

pub(super) use salvage::salvage;

use crate::{
    args::SstCommand,
    database::lower_case,
    exit::{self, Failure},
    keys::keyring,
    output::Console,
    text,
};
use isopach::{
    Error,
    engine::{
        self,
        dictionary::{self, DICTIONARIES_DIR},
        error::ErrorKind,
        key::ValueKind,
        table::inspect::{LoneTable, TableFilter},
    },
    env::{Fs, IoErrorKind, OsFs},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Longest key that a table of keys shows in whole, in characters.
const BRIEF_CHARS: usize = 40;

/// Runs one of them.
pub(super) fn run(command: &SstCommand, console: &mut Console<'_>) -> Result<(), Failure> {
    match command {
        SstCommand::Show(args) => show::show(&args.file, console),
        SstCommand::Layout(args) => layout::layout(&args.file, console),
        SstCommand::Dump(args) => entries::dump(args, console),
        SstCommand::Filter(args) => filter::filter(args, console),
        SstCommand::Ls(args) => ls::ls(&args.db, console),
    }
}

/// Opens the file of a table, with its dictionary if that is where tables of a database have it.
fn open(path: &Path) -> Result<LoneTable, Failure> {
    let what = format!("open {}", path.display());
    let (fs, directory, name) = place_of(path, &what)?;
    let table = LoneTable::open_with(&fs, &name, &keyring()).map_err(|error| failure(what, &error))?;
    match OsFs::new(directory.join("..").join(DICTIONARIES_DIR)) {
        Ok(dictionaries) => Ok(table.with_dictionary(&dictionaries, dictionary::base_name)),
        Err(_) => Ok(table), // What needs the dictionary says so.
    }
}

/// The directory of a file, and what the file is called there.
fn place_of(path: &Path, what: &str) -> Result<(Arc<dyn Fs>, PathBuf, String), Failure> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| Failure::new(exit::USAGE, what, "not the name of a file in UTF-8"))?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let fs = OsFs::new(&directory).map_err(|error| {
        let code = if error.kind() == IoErrorKind::NotFound { exit::NOT_FOUND } else { exit::FAILURE };
        Failure::new(code, what, error.to_string())
    })?;
    Ok((Arc::new(fs), directory, name.to_owned()))
}

/// An error of a table that no database is open for.
fn failure(what: impl Into<String>, error: &engine::error::Error) -> Failure {
    let message = error.to_string();
    let failure = Failure::database(what, &Error::from(error.clone()));
    match &failure {
        _ if error.kind() == ErrorKind::MissingDictionary => failure.with_hint(
            "values are compressed against this file of the database; put it into `dictionaries` beside the directory of the table",
        ),
        Failure::Report { code: exit::CORRUPTION, .. } => {
            failure.with_hint("`isopach sst layout FILE` shows which parts are sound, `isopach salvage FILE OUT` takes them out")
        }
        Failure::Report { code: exit::NOT_FOUND, what, .. } => {
            Failure::new(exit::NOT_FOUND, what.clone(), message)
        }
        _ => failure,
    }
}

/// What an entry did, in one word.
fn kind_word(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Put => "put",
        ValueKind::Delete => "delete",
        ValueKind::DeleteWeak => "delete-weak",
        ValueKind::Merge => "merge",
        ValueKind::BlobPointer => "blob-pointer",
        ValueKind::BlobPointerUntil => "blob-pointer-until",
        ValueKind::PutPacked => "put-packed",
        ValueKind::PutPackedUntil => "put-packed-until",
        ValueKind::PutUntil => "put-until",
        ValueKind::Cells => "cells",
        ValueKind::DeleteRange => "delete-range",
    }
}

/// A filter in one line; `one` and `many` name what it is of.
fn filter_line(filter: &TableFilter, one: &str, many: &str) -> String {
    let (kind, bits) = (lower_case(&filter.kind()), filter.bits_per_key());
    let (size, of) = (text::size(filter.bytes), text::counted(filter.keys, one, many));
    let partitions = text::counted(filter.partitions() as u64, "partition", "partitions");
    format!("{kind}, {bits:.1} bits a {one}, {size} in {partitions} for {of}")
}

/// A filter as JSON.
fn filter_object(filter: &TableFilter) -> Value {
    json!({
        "kind": lower_case(&filter.kind()),
        "bytes": filter.bytes,
        "keys": filter.keys,
        "partitions": filter.partitions(),
        "bits_per_key": filter.bits_per_key(),
    })
}

/// A key for a table of keys.
fn brief(key: &[u8]) -> String {
    text::brief(key, BRIEF_CHARS)
}
