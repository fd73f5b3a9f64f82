//! `ls`, `info`, `levels`: what a database is. They write nothing.

use crate::{
    args::OpenArgs,
    database::{self, DatabaseFacts, DiscardedEnd, Finding, KeyFacts, OpeningFacts, RouteFacts, ShapeFacts},
    exit::Failure,
    output::{
        Align::{Left, Right},
        Console, Output, Table,
    },
    text,
};
use isopach::VerifyDepth;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Lists the keyspaces and their options.
pub(super) fn ls(db: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    let db = database::read(db)?;
    let keyspaces = database::keyspaces(&db);

    if console.output() == Output::Jsonl {
        for keyspace in keyspaces {
            let mut fields = json!({ "keyspace": keyspace.name, "id": keyspace.id });
            match keyspace.options {
                Ok(options) => {
                    let options = options.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
                    fields["options"] = Value::Object(options.collect::<Map<_, _>>());
                }
                Err(why) => fields["error"] = why.into(),
            }
            console.object("ls", fields)?;
        }
        return Ok(());
    }

    let mut table = Table::new(&[("keyspace", Left), ("id", Right), ("options", Left)]);
    for keyspace in keyspaces {
        let options = match keyspace.options {
            Ok(options) => {
                options.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            }
            Err(why) => why,
        };
        table.row([keyspace.name, keyspace.id.to_string(), options]);
    }
    Ok(console.table(&table)?)
}

/// Says what a database is and in what state. Looks at the outline of every table: headers, indexes and
/// filters.
pub(super) fn info(args: &OpenArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let open = database::read_with(&args.db, args.log_recovery)?;
    let damage = database::verify(&args.db, VerifyDepth::Outline)?.findings;
    let facts = database::facts(&open, damage);

    match console.output() {
        Output::Table => {
            for (name, value) in info_lines(&facts) {
                writeln!(console.out(), "{name:<10} {value}")?;
            }
        }
        Output::Jsonl => console.object("info", info_object(&facts))?,
    }
    Ok(())
}

/// Shows the levels of every keyspace; what is in memory or log only is level `mem`.
pub(super) fn levels(db: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    let db = database::read(db)?;
    let shapes = database::shapes(&db);

    match console.output() {
        Output::Table => console.table(&levels_table(&shapes))?,
        Output::Jsonl => {
            for shape in &shapes {
                console.object("levels", shape_object(shape))?;
            }
        }
    }
    Ok(())
}

fn info_lines(facts: &DatabaseFacts) -> Vec<(&'static str, String)> {
    let keyspaces = facts.keyspaces.iter().map(|shape| {
        let values = match shape.values.files {
            0 => String::new(),
            files => format!(
                "{} in {}, {} stale; ",
                text::size(shape.values.bytes),
                text::counted(files, "file of values", "files of values"),
                text::size(shape.values.stale_bytes)
            ),
        };
        format!(
            "{} ({values}{} in {}, {} in memory)",
            shape.keyspace,
            text::size(shape.table_bytes()),
            text::counted(shape.tables(), "table", "tables"),
            text::size(shape.memtable_bytes),
        )
    });
    let log = format!(
        "{} in {}",
        text::size(facts.log_bytes),
        text::counted(facts.log_segments, "segment", "segments")
    );

    let mut lines = vec![
        ("path", facts.path.clone()),
        ("uuid", facts.uuid.clone()),
        ("format", format!("{:#06x}", facts.format)),
        ("seqno", facts.seqno.to_string()),
        ("log", log),
        ("recovery", opening_text(&facts.opening)),
        ("damage", damage_text(&facts.damage)),
        ("keyspaces", facts.keyspaces.len().to_string()),
    ];
    lines.extend(keyspaces.map(|keyspace| ("", keyspace)));
    lines.extend(facts.keys.iter().map(|used| ("key", key_text(used))));
    lines.extend(facts.routes.iter().map(|route| ("route", route_text(route))));
    lines.extend(facts.damage.iter().map(|found| ("damaged", finding_text(found))));
    lines
}

/// What lies under a key.
fn key_text(used: &KeyFacts) -> String {
    format!(
        "{}: {} in {}",
        key_name(used),
        text::size(used.bytes),
        text::counted(used.files, "file", "files")
    )
}

/// The name of a key, in words.
pub(super) fn key_name(used: &KeyFacts) -> String {
    match used.key {
        0 => "not encrypted".to_owned(),
        key => format!("under key {key}"),
    }
}

/// What lies in a place, and where that is.
fn route_text(route: &RouteFacts) -> String {
    let levels = route.levels.map(|(first, last)| match first == last {
        true => format!("level {first}"),
        false => format!("levels {first} to {last}"),
    });
    let values = route.has_values.then(|| "separated values".to_owned());
    let what: Vec<String> = levels.into_iter().chain(values).collect();
    let what = if what.is_empty() { "until compacted".to_owned() } else { what.join(", ") };
    format!("places/{} is {} ({what})", route.place, route.name)
}

fn info_object(facts: &DatabaseFacts) -> Value {
    let opening = &facts.opening;
    let discarded = opening.discarded.as_ref().map(|end| {
        json!({ "file": end.file, "offset": end.offset, "bytes": end.bytes, "durable": end.was_durable })
    });
    json!({
        "path": facts.path,
        "uuid": facts.uuid,
        "format": facts.format,
        "seqno": facts.seqno,
        "log_bytes": facts.log_bytes,
        "log_segments": facts.log_segments,
        "keyspaces": facts.keyspaces.iter().map(|shape| json!({
            "keyspace": shape.keyspace,
            "memtable_bytes": shape.memtable_bytes,
            "tables": shape.tables(),
            "table_bytes": shape.table_bytes(),
        })).collect::<Vec<_>>(),
        "keys": facts.keys.iter().map(|used| json!({
            "key": used.key,
            "files": used.files,
            "bytes": used.bytes,
        })).collect::<Vec<_>>(),
        "routes": facts.routes.iter().map(|route| json!({
            "place": route.place,
            "name": route.name,
            "levels": route.levels.map(|(first, last)| [first, last]),
            "separated_values": route.has_values,
        })).collect::<Vec<_>>(),
        "recovery": {
            "clean": opening.is_clean,
            "log_records": opening.log_records,
            "log_bytes": opening.log_bytes,
            "discarded": discarded,
        },
        "damage": facts.damage.iter().map(|found| json!({
            "file": found.file,
            "offset": found.offset,
            "message": found.message,
        })).collect::<Vec<_>>(),
    })
}

/// What the quick check found, in one sentence, and what it did not look at.
fn damage_text(damage: &[Finding]) -> String {
    match damage.len() {
        0 => "none seen in headers, indexes, filters and log; `isopach verify` reads everything".to_owned(),
        found => format!(
            "{} seen; `isopach verify` reads everything",
            text::counted(found as u64, "damaged place", "damaged places")
        ),
    }
}

fn finding_text(found: &Finding) -> String {
    match found.offset {
        Some(offset) => format!("{} at byte {offset}: {}", found.file, found.message),
        None => format!("{}: {}", found.file, found.message),
    }
}

/// What opening found, in one sentence.
fn opening_text(opening: &OpeningFacts) -> String {
    let replayed = format!(
        "{} ({}) read from the log",
        text::counted(opening.log_records, "record", "records"),
        text::size(opening.log_bytes),
    );
    let end = match &opening.discarded {
        None if opening.is_clean => "closed in order".to_owned(),
        None => "not closed in order, nothing torn".to_owned(),
        Some(DiscardedEnd { file, offset, bytes, was_durable: false }) => {
            format!("not closed in order, a torn log end of {bytes} bytes dropped at {file}:{offset}")
        }
        Some(DiscardedEnd { file, offset, bytes, was_durable: true }) => {
            format!("durable commits left out: {bytes} bytes of the log from {file}:{offset} on")
        }
    };
    format!("{replayed}; {end}")
}

fn levels_table(shapes: &[ShapeFacts]) -> Table {
    let mut table = Table::new(&[
        ("keyspace", Left),
        ("level", Right),
        ("runs", Right),
        ("tables", Right),
        ("bytes", Right),
        ("entries", Right),
    ]);
    for shape in shapes {
        let unknown = || "-".to_owned();
        let mem = text::size(shape.memtable_bytes);
        table.row([shape.keyspace.clone(), "mem".to_owned(), unknown(), unknown(), mem, unknown()]);
        for of in &shape.levels {
            table.row([
                shape.keyspace.clone(),
                of.level.to_string(),
                of.runs.to_string(),
                of.tables.to_string(),
                text::size(of.bytes),
                of.entries.to_string(),
            ]);
        }
        if shape.values.files > 0 {
            let of = &shape.values;
            let (files, records) = (of.files.to_string(), of.live_records.to_string());
            table.row([
                shape.keyspace.clone(),
                "values".to_owned(),
                unknown(),
                files,
                text::size(of.bytes),
                records,
            ]);
        }
    }
    table
}

fn shape_object(shape: &ShapeFacts) -> Value {
    json!({
        "keyspace": shape.keyspace,
        "memtable_bytes": shape.memtable_bytes,
        "levels": shape.levels.iter().map(|of| json!({
            "level": of.level,
            "runs": of.runs,
            "tables": of.tables,
            "bytes": of.bytes,
            "entries": of.entries,
        })).collect::<Vec<_>>(),
        "values": {
            "files": shape.values.files,
            "bytes": shape.values.bytes,
            "live": shape.values.live_records,
            "live_bytes": shape.values.live_bytes,
            "stale_bytes": shape.values.stale_bytes,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{LevelFacts, ValueFacts};

    fn opening() -> OpeningFacts {
        OpeningFacts { log_records: 2, log_bytes: 100, discarded: None, is_clean: true }
    }

    fn torn_end() -> DiscardedEnd {
        DiscardedEnd { file: "wal/3.wal".to_owned(), offset: 4096, bytes: 17, was_durable: false }
    }

    fn shape() -> ShapeFacts {
        let level = LevelFacts { level: 1, runs: 1, tables: 2, bytes: 2048, entries: 30 };
        let values = ValueFacts { files: 3, bytes: 4096, live_records: 20, ..ValueFacts::default() };
        ShapeFacts { keyspace: "k".to_owned(), memtable_bytes: 64, levels: vec![level], values }
    }

    #[test]
    fn torn_log_end_is_said_with_its_place() {
        assert_eq!(opening_text(&opening()), "2 records (100 B) read from the log; closed in order");

        let torn = OpeningFacts { discarded: Some(torn_end()), is_clean: false, ..opening() };
        assert!(opening_text(&torn).ends_with(", a torn log end of 17 bytes dropped at wal/3.wal:4096"));

        let cut = DiscardedEnd { was_durable: true, ..torn_end() };
        let cut = OpeningFacts { discarded: Some(cut), is_clean: false, ..opening() };
        assert!(
            opening_text(&cut)
                .ends_with("; durable commits left out: 17 bytes of the log from wal/3.wal:4096 on")
        );

        let killed = OpeningFacts { is_clean: false, ..opening() };
        assert!(opening_text(&killed).ends_with("; not closed in order, nothing torn"));
    }

    #[test]
    fn info_object_has_bytes_as_integers() {
        let facts = DatabaseFacts {
            path: "/db".to_owned(),
            uuid: "0-1".to_owned(),
            format: 1,
            seqno: 9,
            log_bytes: 4096,
            log_segments: 1,
            keyspaces: vec![shape()],
            keys: vec![KeyFacts { key: 0, files: 4, bytes: 9000 }],
            routes: vec![RouteFacts {
                place: 2,
                name: "/slow".to_owned(),
                levels: Some((5, 6)),
                has_values: true,
            }],
            opening: OpeningFacts { discarded: Some(torn_end()), ..opening() },
            damage: vec![Finding {
                file: "tables/1.table".to_owned(),
                offset: Some(64),
                message: "crc".to_owned(),
                is_harmless: false,
            }],
        };

        let object = info_object(&facts);

        assert_eq!(object["log_bytes"], 4096);
        assert_eq!(object["keyspaces"][0]["table_bytes"], 2048);
        let discarded = json!({ "file": "wal/3.wal", "offset": 4096, "bytes": 17, "durable": false });
        assert_eq!(object["recovery"]["discarded"], discarded);
        assert_eq!(object["damage"][0]["offset"], 64);
        let lines = info_lines(&facts);
        let route = "places/2 is /slow (levels 5 to 6, separated values)";
        assert!(lines.contains(&("route", route.to_owned())), "{lines:?}");
        assert!(lines.contains(&("damaged", "tables/1.table at byte 64: crc".to_owned())), "{lines:?}");
    }

    #[test]
    fn levels_have_a_row_for_memory() {
        let mut bytes = Vec::new();
        let mut console = Console::new(&mut bytes, None, true, std::io::stderr());

        console.table(&levels_table(&[shape()])).unwrap();
        drop(console);

        let text = String::from_utf8(bytes).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["k", "mem", "-", "-", "64", "B", "-"]);
        assert_eq!(rows[2], ["k", "1", "1", "2", "2.0", "KiB", "30"]);
        assert_eq!(rows[3], ["k", "values", "-", "3", "4.0", "KiB", "20"]);
    }
}
