//! `flush`, `compact`, `rekey`, `clear`, `checkpoint`, `verify`, `scrub`: care of the files.

use crate::{
    args::{CheckpointArgs, ClearArgs, CompactArgs, OpenArgs, ScrubArgs, VerifyArgs},
    commands::show::key_name,
    database::{self, Missing, ScrubFacts, VerifyFacts},
    exit::{self, Doing, Failure},
    output::{
        Align::{Left, Right},
        Console, Output, StatusLine, Table,
    },
    text,
};
use isopach::{CheckpointOptions, Keyspace, Progress};
use serde_json::json;
use std::{ops::ControlFlow, path::Path};

/// Writes what is in memory and log as tables.
pub(super) fn flush(args: &OpenArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let db = database::write_with(&args.db, Missing::Refuse, args.log_recovery)?;
    db.flush().doing("flush")?;
    let seqno = db.seqno().raw();
    database::close(db)?;

    match console.output() {
        Output::Table => writeln!(console.out(), "flushed up to seqno {seqno}")?,
        Output::Jsonl => console.object("flush", json!({ "seqno": seqno }))?,
    }
    Ok(())
}

/// Rewrites one keyspace or all into their last level, and says what that changed.
pub(super) fn compact(args: &CompactArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let db = database::write(&args.db, Missing::Refuse)?;
    let names = match &args.keyspace {
        Some(name) => vec![name.clone()],
        None => db.keyspaces().into_iter().map(|(name, _)| name).collect(),
    };

    let mut results = Vec::new();
    for name in names {
        let keyspace = database::keyspace_to_write(&db, &name, Missing::Refuse)?;
        if let Some(parity) = args.parity {
            database::protect(&keyspace, parity)?;
        }
        results.push(compact_one(&keyspace)?);
    }
    database::close(db)?;

    match console.output() {
        Output::Table => {
            let mut table = Table::new(&[
                ("keyspace", Left),
                ("tables before", Right),
                ("after", Right),
                ("bytes before", Right),
                ("after", Right),
            ]);
            for result in results {
                table.row([
                    result.keyspace,
                    result.before.tables.to_string(),
                    result.after.tables.to_string(),
                    text::size(result.before.bytes),
                    text::size(result.after.bytes),
                ]);
            }
            console.table(&table)?;
        }
        Output::Jsonl => {
            for result in results {
                let fields = json!({
                    "keyspace": result.keyspace,
                    "before": { "tables": result.before.tables, "bytes": result.before.bytes },
                    "after": { "tables": result.after.tables, "bytes": result.after.bytes },
                });
                console.object("compact", fields)?;
            }
        }
    }
    Ok(())
}

/// Brings everything under the current key, and says under which.
pub(super) fn rekey(db: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    let open = database::write(db, Missing::Refuse)?;
    let (mut line, mut bytes) = (StatusLine::new(console), 0);
    let finished = open.finish_rotation(|progress| {
        bytes = progress.total;
        line.show_progress(progress);
        ControlFlow::Continue(())
    });
    line.clear();
    finished.doing(&format!("bring {} under the current key", db.display()))?;
    let keys = database::keys(open.keys_in_use());
    database::close(open)?;

    match console.output() {
        Output::Table => {
            let names: Vec<String> = keys.iter().map(key_name).collect();
            writeln!(console.out(), "{} written anew; {}", text::size(bytes), names.join(", "))?;
        }
        Output::Jsonl => {
            let keys: Vec<u64> = keys.iter().map(|used| used.key).collect();
            console.object("rekey", json!({ "bytes": bytes, "keys": keys }))?;
        }
    }
    Ok(())
}

/// Empties a keyspace.
pub(super) fn clear(args: &ClearArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let db = database::write(&args.db, Missing::Refuse)?;
    let keyspace = database::keyspace_to_write(&db, &args.keyspace, Missing::Refuse)?;
    let seqno = keyspace.clear().doing(&format!("clear keyspace {}", args.keyspace))?.raw();
    drop(keyspace);
    database::close(db)?;

    match console.output() {
        Output::Table => writeln!(console.out(), "cleared at seqno {seqno}")?,
        Output::Jsonl => console.object("clear", json!({ "keyspace": args.keyspace, "seqno": seqno }))?,
    }
    Ok(())
}

/// Makes a database of its own of what this one holds, and says how.
pub(super) fn checkpoint(args: &CheckpointArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let db = database::write(&args.db, Missing::Refuse)?;
    let options = CheckpointOptions::new().flush(args.flush);
    let made = db.checkpoint_with(&args.target, options);
    let info = made.doing(&format!("copy {} to {}", args.db.display(), args.target.display()))?;
    database::close(db)?;

    match console.output() {
        Output::Table => {
            let files = text::counted(info.files, "file", "files");
            let shared = text::counted(info.linked_files + info.cloned_files, "file", "files");
            writeln!(
                console.out(),
                "{files}, {} up to seqno {}; {shared} shared, {} copied",
                text::size(info.bytes),
                info.seqno.raw(),
                text::size(info.copied_bytes),
            )?;
        }
        Output::Jsonl => {
            let fields = json!({
                "seqno": info.seqno.raw(),
                "files": info.files,
                "tables": info.tables,
                "bytes": info.bytes,
                "linked_files": info.linked_files,
                "cloned_files": info.cloned_files,
                "copied_bytes": info.copied_bytes,
            });
            console.object("checkpoint", fields)?;
        }
    }
    Ok(())
}

/// Shows how far work came.
fn shown(console: &Console<'_>) -> impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static {
    let mut line = StatusLine::new(console);
    move |progress| {
        line.show_progress(progress);
        ControlFlow::Continue(())
    }
}

/// Checks every file; damage is printed and is a failure of its own code.
pub(super) fn verify(args: &VerifyArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let facts = database::verify_with(&args.db, args.options(), shown(console))?;

    print_verify("verify", &facts, None, console)?;
    if facts.findings.is_empty() {
        return Ok(());
    }
    let found = text::counted(facts.findings.len() as u64, "damaged place", "damaged places");
    let hint = match facts.findings.iter().all(|found| found.is_harmless) {
        true => "parity restores all of it: `isopach scrub` writes it anew",
        false => "keep a copy of the directory before any repair",
    };
    Err(Failure::new(exit::CORRUPTION, format!("verify {}", args.db.display()), format!("{found} found"))
        .with_hint(hint))
}

/// Reads everything from the disk and heals it; what is lost, or still damaged, is a failure of its own code.
pub(super) fn scrub(args: &ScrubArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let ScrubFacts { checked, healed, unhealed } = database::scrub(args, shown(console))?;

    print_verify("scrub", &checked, Some((healed, unhealed)), console)?;
    let lost = checked.findings.iter().filter(|found| !found.is_harmless).count() as u64;
    if lost + unhealed == 0 {
        return Ok(());
    }
    let places = text::counted(lost, "place that nothing restores", "places that nothing restores");
    let files = text::counted(unhealed, "file that is still damaged", "files that are still damaged");
    let failure =
        Failure::new(exit::CORRUPTION, format!("scrub {}", args.db.display()), format!("{places}, {files}"));
    Err(if lost > 0 { failure.with_hint("keep a copy of the directory before any repair") } else { failure })
}

/// Tables of a keyspace at one time.
struct Tables {
    tables: u64,
    bytes: u64,
}

struct Compacted {
    keyspace: String,
    before: Tables,
    after: Tables,
}

fn compact_one(keyspace: &Keyspace) -> Result<Compacted, Failure> {
    let tables = || {
        let shape = database::shape(keyspace);
        Tables { tables: shape.tables(), bytes: shape.table_bytes() }
    };
    let before = tables();
    database::compact(keyspace)?;
    Ok(Compacted { keyspace: keyspace.name().to_owned(), before, after: tables() })
}

fn print_verify(
    command: &str,
    facts: &VerifyFacts,
    healed: Option<(u64, u64)>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let offset_text =
        |offset: Option<u64>| offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
    match console.output() {
        Output::Table => {
            let dictionaries = match facts.dictionaries {
                0 => String::new(),
                count => format!(", {}", text::counted(count, "dictionary", "dictionaries")),
            };
            let blobs = match facts.blobs {
                0 => String::new(),
                count => format!(", {}", text::counted(count, "file of values", "files of values")),
            };
            writeln!(
                console.out(),
                "{}{dictionaries}{blobs}, {}, {} and {} checked; {}",
                text::counted(facts.files, "table", "tables"),
                text::size(facts.bytes),
                text::counted(facts.entries, "entry", "entries"),
                text::counted(facts.log_records, "log record", "log records"),
                match facts.findings.len() {
                    0 => "no damage".to_owned(),
                    found => text::counted(found as u64, "damaged place", "damaged places"),
                },
            )?;
            if !facts.findings.is_empty() {
                let mut table = Table::new(&[("file", Left), ("offset", Right), ("damage", Left)]);
                for found in &facts.findings {
                    table.row([found.file.clone(), offset_text(found.offset), found.message.clone()]);
                }
                console.table(&table)?;
            }
            if let Some((healed, unhealed)) = healed {
                let left = if unhealed == 0 { String::new() } else { format!(", {unhealed} still damaged") };
                let files = text::counted(healed, "file was", "files were");
                writeln!(console.out(), "{files} written anew{left}")?;
            }
            if !facts.unnamed.is_empty() {
                let mut table = Table::new(&[("unnamed", Left), ("what it is", Left)]);
                for (file, what) in &facts.unnamed {
                    table.row([file.clone(), what.clone()]);
                }
                console.table(&table)?;
            }
        }
        Output::Jsonl => {
            let findings = facts
                .findings
                .iter()
                .map(|found| json!({ "file": found.file, "offset": found.offset, "message": found.message, "harmless": found.is_harmless }));
            let mut fields = json!({
                "files": facts.files,
                "dictionaries": facts.dictionaries,
                "blobs": facts.blobs,
                "bytes": facts.bytes,
                "entries": facts.entries,
                "log_records": facts.log_records,
                "findings": findings.collect::<Vec<_>>(),
                "unnamed": facts.unnamed.iter().map(|(file, what)| json!({ "file": file, "what": what })).collect::<Vec<_>>(),
            });
            if let Some((healed, unhealed)) = healed {
                fields["healed"] = healed.into();
                fields["unhealed"] = unhealed.into();
            }
            console.object(command, fields)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Finding;
    use std::io;

    fn printed(facts: &VerifyFacts, output: Output) -> String {
        let mut bytes = Vec::new();
        let mut console = Console::new(&mut bytes, Some(output), false, io::stderr());
        print_verify("verify", facts, None, &mut console).unwrap();
        drop(console);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn findings_are_listed_with_their_place() {
        let found = Finding {
            file: "tables/1.table".to_owned(),
            offset: Some(64),
            message: "crc".to_owned(),
            is_harmless: false,
        };
        let facts = VerifyFacts {
            files: 3,
            dictionaries: 2,
            blobs: 1,
            bytes: 10,
            entries: 1,
            log_records: 2,
            findings: vec![found],
            unnamed: vec![],
        };

        let table = printed(&facts, Output::Table);
        let object: serde_json::Value = serde_json::from_str(&printed(&facts, Output::Jsonl)).unwrap();

        assert!(
            table.starts_with(
                "3 tables, 2 dictionaries, 1 file of values, 10 B, 1 entry and 2 log records checked; 1 damaged place\n"
            ),
            "{table}"
        );
        assert!(table.contains("tables/1.table      64  crc"), "{table}");
        assert_eq!(object["schema"], "isopach.verify/1");
        assert_eq!(object["findings"][0]["offset"], 64);
    }
}
