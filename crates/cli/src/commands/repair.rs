//! `repair`: a database that does not open is made to open again, and what is lost is told.

use crate::{
    args::RepairArgs,
    database,
    exit::{self, Failure},
    output::{
        Align::{Left, Right},
        Console, Output, Table,
    },
    text,
};
use isopach::{Fate, KeyBounds, RepairReport, RepairedFile, engine::table::salvage::LostKeys};
use serde_json::{Value, json};
use std::{io, ops::Bound};

/// Most characters of a key for people.
const BRIEF_CHARS: usize = 40;

/// Repairs a database, prints what was done and what is lost, and fails if something is.
pub(super) fn repair(args: &RepairArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let report = database::repair(&args.db, args.dry_run, args.salvage)?;

    match console.output() {
        Output::Table => print_lines(&report, console)?,
        Output::Jsonl => print_objects(&report, console)?,
    }
    if !report.has_losses() {
        return Ok(());
    }
    let what = format!("repair {}", args.db.display());
    let message =
        if args.dry_run { "something would be lost" } else { "something is lost, or cannot be read" };
    let failure = Failure::new(exit::CORRUPTION, what, message);
    Err(match args.salvage {
        true => failure.with_hint("what was left out lies in the directory `lost` of the database"),
        false => {
            failure.with_hint("--salvage writes what is left of damaged tables anew, without what is damaged")
        }
    })
}

/// How a fate is called.
fn word(fate: Fate) -> String {
    match fate {
        Fate::LeftOut => "left-out".to_owned(),
        other => database::lower_case(&other),
    }
}

fn print_objects(report: &RepairReport, console: &mut Console<'_>) -> io::Result<()> {
    let keyspace = |tree: &isopach::RepairedTree| json!({ "keyspace": tree.name, "id": tree.id, "tables": tree.tables, "entries": tree.entries });
    let fields = json!({
        "is_unchanged": report.is_unchanged,
        "is_dry_run": report.is_dry_run,
        "manifest": report.manifest,
        "has_new_identity": report.has_new_identity,
        "keyspaces": report.keyspaces.iter().map(keyspace).collect::<Vec<_>>(),
        "recovered": report.count(Fate::Recovered),
        "damaged": report.count(Fate::Damaged),
        "salvaged": report.count(Fate::Salvaged),
        "left_out": report.count(Fate::LeftOut),
        "missing": report.count(Fate::Missing),
        "log_records": report.log_records,
        "log_damage": report.log_damage,
        "has_losses": report.has_losses(),
        "warnings": report.warnings,
    });
    console.object("repair", fields)?;
    for file in &report.files {
        let fields = json!({
            "file": file.file,
            "keyspace": file.tree,
            "fate": word(file.fate),
            "why": file.why,
            "salvaged_as": file.salvaged_as,
            "entries": file.entries,
            "lost_entries": file.lost_entries,
            "lost": lost_objects(&file.lost),
        });
        console.object("repair.file", fields)?;
    }
    Ok(())
}

/// Lost keys as JSON.
pub(super) fn lost_objects(lost: &[LostKeys]) -> Vec<Value> {
    let key = |bound: &Bound<Vec<u8>>| match bound {
        Bound::Unbounded => Value::Null,
        Bound::Included(key) | Bound::Excluded(key) => text::json(key),
    };
    let is_excluded = |bound: &Bound<Vec<u8>>| matches!(bound, Bound::Excluded(_));
    let object = |lost: &LostKeys| {
        let (from, to) = &lost.keys;
        json!({
            "offset": lost.offset,
            "bytes": lost.bytes,
            "from": key(from),
            "from_excluded": is_excluded(from),
            "to": key(to),
            "to_excluded": is_excluded(to),
            "why": lost.why,
        })
    };
    lost.iter().map(object).collect()
}

fn print_lines(report: &RepairReport, console: &mut Console<'_>) -> io::Result<()> {
    let would = if report.is_dry_run { " would be" } else { "" };
    match (&report.manifest, report.is_unchanged) {
        (_, true) if report.has_losses() => writeln!(console.out(), "nothing was changed")?,
        (_, true) => writeln!(console.out(), "nothing to repair")?,
        (Some(why), _) => writeln!(console.out(), "manifest{would} rebuilt: {why}")?,
        (None, _) => writeln!(console.out(), "manifest sound")?,
    }
    if report.has_new_identity {
        writeln!(console.out(), "IDENTITY{would} written anew")?;
    }
    let mut keyspaces =
        Table::new(&[("keyspace", Left), ("id", Right), ("tables", Right), ("entries", Right)]);
    for tree in &report.keyspaces {
        let cells =
            [tree.name.clone(), tree.id.to_string(), tree.tables.to_string(), tree.entries.to_string()];
        keyspaces.row(cells);
    }
    console.table(&keyspaces)?;
    writeln!(
        console.out(),
        "{} of the log left for the next opening",
        text::counted(report.log_records, "record", "records")
    )?;
    let told: Vec<&RepairedFile> = report.files.iter().filter(|file| file.fate != Fate::Recovered).collect();
    if !told.is_empty() {
        let mut files =
            Table::new(&[("file", Left), ("fate", Left), ("kept", Right), ("lost", Right), ("why", Left)]);
        for file in &told {
            let lost = file.lost_entries.map_or_else(|| "?".to_owned(), |lost| lost.to_string());
            files.row([file.file.clone(), word(file.fate), file.entries.to_string(), lost, file.why.clone()]);
        }
        console.table(&files)?;
    }
    for file in &told {
        for lost in &file.lost {
            writeln!(console.out(), "lost in {}: keys {}: {}", file.file, range_text(&lost.keys), lost.why)?;
        }
    }
    if let Some(damage) = &report.log_damage {
        writeln!(console.out(), "the log{would} cut: {damage}")?;
    }
    for warning in &report.warnings {
        writeln!(console.out(), "note: {warning}")?;
    }
    Ok(())
}

/// A range of keys for people.
pub(super) fn range_text((from, to): &KeyBounds) -> String {
    let key = |bound: &Bound<Vec<u8>>, none: &str| match bound {
        Bound::Unbounded => none.to_owned(),
        Bound::Included(key) => text::brief(key, BRIEF_CHARS),
        Bound::Excluded(key) => format!("{} (not included)", text::brief(key, BRIEF_CHARS)),
    };
    format!("from {} to {}", key(from, "the first"), key(to, "the last"))
}
