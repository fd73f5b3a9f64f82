//! `load --tables`: files that a writer of table files made, all at once.

use crate::{
    args::LoadArgs,
    database::{self, Missing},
    exit::{Doing, Failure},
    output::{Console, Output},
    text,
};
use isopach::{Error, ErrorKind};
use serde_json::json;
use std::{fs::File, path::Path, time::Instant};

/// Loads table files into a keyspace; makes database and keyspace if they are missing.
pub(super) fn load(args: &LoadArgs, keyspace: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    // The files first: a missing one must not leave an empty database behind.
    let file_bytes = args.tables.iter().map(|file| bytes_of(file)).sum::<Result<u64, Failure>>()?;
    let db = database::write(&args.db, Missing::Create)?;
    let keyspace = database::keyspace_to_write(&db, keyspace, Missing::Create)?;

    let started = Instant::now();
    let mut load = keyspace.ingest().doing("begin the load")?;
    let records = load.add_files(&args.tables).map_err(|error| failure(&error))?;
    load.finish().doing("finish the load")?;
    drop(keyspace);
    database::close(db)?;
    let took = started.elapsed();

    let files = args.tables.len() as u64;
    match console.output() {
        Output::Table => writeln!(
            console.out(),
            "{} in {} of {}, {:.3} s",
            text::counted(records, "record", "records"),
            text::counted(files, "file", "files"),
            text::size(file_bytes),
            took.as_secs_f64(),
        )?,
        Output::Jsonl => console.object(
            "load",
            json!({
                "records": records,
                "batches": 1,
                "files": files,
                "file_bytes": file_bytes,
                "took_us": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            }),
        )?,
    }
    Ok(())
}

fn bytes_of(file: &Path) -> Result<u64, Failure> {
    let metadata = File::open(file).and_then(|opened| opened.metadata());
    let metadata = metadata.map_err(|error| Failure::io(format!("load {}", file.display()), &error))?;
    Ok(metadata.len())
}

/// Of files, not of the database, of which nothing was changed.
fn failure(error: &Error) -> Failure {
    let failure = Failure::database("load tables", error);
    let hint = match error.kind() {
        ErrorKind::Corruption => "nothing was loaded; `isopach sst layout FILE` shows which parts are sound",
        ErrorKind::UnsupportedFormat => {
            "nothing was loaded; `--tables` takes files of `TableFileWriter`, and `--format` records of other files"
        }
        ErrorKind::InvalidArgument => "nothing was loaded; `isopach sst show FILE` tells what the file is",
        _ => return failure,
    };
    failure.with_hint(hint)
}
