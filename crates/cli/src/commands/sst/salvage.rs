//! `salvage`: what is left of a damaged table, in a new file.

use super::failure;
use crate::{
    args::SalvageArgs,
    commands::repair::{lost_objects, range_text},
    exit::{self, Failure},
    keys::keyring,
    output::{Console, Output},
    text,
};
use isopach::{
    engine::{
        codec::Keyring,
        dictionary::{self, DICTIONARIES_DIR},
        error::Result as EngineResult,
        table::{
            TableMeta,
            salvage::{Losses, Remains, identity_beside, settle_beside},
        },
        version::new_uuid,
    },
    env::{Fs, OsEntropy, OsFs},
};
use serde_json::json;
use std::{io, path::Path, sync::Arc};

/// Writes a new table of everything that is sound in a damaged one, says what is lost, and fails if something is.
pub(in crate::commands) fn salvage(args: &SalvageArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let what = format!("salvage {}", args.file.display());
    let (from, directory, name) = super::place_of(&args.file, &what)?;
    let (to, _, out) = super::place_of(&args.out, &what)?;
    let keys = keyring();
    let found = Remains::open(&from, &name, &keys).and_then(|remains| {
        let dictionaries = OsFs::new(directory.join("..").join(DICTIONARIES_DIR));
        let remains = match dictionaries {
            Ok(fs) => remains.with_dictionary(&fs, dictionary::base_name, &keys),
            Err(_) => remains, // What needs the dictionary is lost, and told.
        };
        let remains = Arc::new(remains);
        write(&remains, &to, &out, &keys).map(|(meta, losses)| (remains, meta, losses))
    });
    let (remains, meta, losses) = found.map_err(|error| failure(what.as_str(), &error))?;
    match console.output() {
        Output::Table => print_lines(&args.out, &remains, meta.as_ref(), &losses, console)?,
        Output::Jsonl => console.object("salvage", object(&remains, meta.as_ref(), &losses))?,
    }
    if losses.is_none() {
        return Ok(());
    }
    let message = if meta.is_some() { "a part of the table is lost" } else { "nothing is left of the table" };
    Err(Failure::new(exit::CORRUPTION, what, message))
}

fn write(
    remains: &Arc<Remains>,
    to: &Arc<dyn Fs>,
    out: &str,
    keys: &Keyring,
) -> EngineResult<(Option<TableMeta>, Losses)> {
    let identity = identity_beside(remains, new_uuid(&OsEntropy)?);
    settle_beside(&**to, out, remains.write_to(to, out, identity, keys))
}

fn object(remains: &Remains, meta: Option<&TableMeta>, losses: &Losses) -> serde_json::Value {
    json!({
        "kept_entries": losses.kept_entries,
        "lost_entries": losses.lost_entries,
        "lost_range_deletes": losses.lost_ranges,
        "blocks": losses.blocks,
        "lost_blocks": losses.lost_blocks,
        "lost_bytes": losses.lost_bytes,
        "lost": lost_objects(&losses.lost),
        "is_indexed": remains.is_indexed(),
        "has_properties": remains.properties().is_some(),
        "bytes": meta.map(|meta| meta.bytes),
        "uuid": meta.map(|meta| meta.uuid.to_string()),
    })
}

fn print_lines(
    out: &Path,
    remains: &Remains,
    meta: Option<&TableMeta>,
    losses: &Losses,
    console: &mut Console<'_>,
) -> io::Result<()> {
    match meta {
        Some(meta) => {
            let kept = text::counted(losses.kept_entries, "entry", "entries");
            writeln!(console.out(), "{}: {kept}, {}", out.display(), text::size(meta.bytes))?;
        }
        None => writeln!(console.out(), "nothing was written")?,
    }
    if remains.properties().is_none() {
        writeln!(console.out(), "its properties are lost: the new table is of no keyspace")?;
    }
    for lost in &losses.lost {
        let bytes = text::size(lost.bytes);
        writeln!(
            console.out(),
            "lost at byte {} ({bytes}): keys {}: {}",
            lost.offset,
            range_text(&lost.keys),
            lost.why
        )?;
    }
    if losses.lost_ranges != Some(0) {
        let lost = losses.lost_ranges.map_or_else(|| "some, perhaps".to_owned(), |lost| lost.to_string());
        writeln!(console.out(), "RANGE DELETES ARE LOST ({lost}): keys that they deleted may come back")?;
    }
    Ok(())
}
