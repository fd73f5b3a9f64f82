//! `sst ls`: the tables of a database, as its manifest has them.

use super::brief;
use crate::{
    database,
    exit::Failure,
    output::{
        Align::{Left, Right},
        Console, Output, Table,
    },
    text,
};
use isopach::NamedTable;
use serde_json::{Value, json};
use std::path::Path;

/// Lists tables by keyspaces, levels and runs, newest runs first. No table is opened.
pub(super) fn ls(db: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    let tables = database::read(db)?.tables();
    match console.output() {
        Output::Table => {
            let mut rows = Table::new(&[
                ("keyspace", Left),
                ("level", Right),
                ("run", Right),
                ("file", Left),
                ("bytes", Right),
                ("entries", Right),
                ("tombstones", Right),
                ("seqnos", Right),
                ("first key", Left),
                ("last key", Left),
            ]);
            tables.iter().for_each(|table| rows.row(row(table)));
            console.table(&rows)?;
        }
        Output::Jsonl => {
            for table in &tables {
                console.object("sst.ls", object(table))?;
            }
        }
    }
    Ok(())
}

fn row(table: &NamedTable) -> [String; 10] {
    let meta = &table.meta;
    [
        table.tree_name.clone(),
        table.level.0.to_string(),
        table.run_age.0.to_string(),
        meta.file_name(),
        text::size(meta.bytes),
        meta.entries.to_string(),
        meta.tombstones.to_string(),
        format!("{}-{}", meta.first_seqno, meta.last_seqno),
        brief(&meta.first_key),
        brief(&meta.last_key),
    ]
}

fn object(table: &NamedTable) -> Value {
    let meta = &table.meta;
    json!({
        "keyspace": table.tree_name,
        "level": table.level.0,
        "run_age": table.run_age.0,
        "file": meta.file_name(),
        "uuid": meta.uuid.to_string(),
        "bytes": meta.bytes,
        "digest": format!("{:016x}", meta.digest),
        "entries": meta.entries,
        "tombstones": meta.tombstones,
        "first_seqno": meta.first_seqno.raw(),
        "last_seqno": meta.last_seqno.raw(),
        "first_key": text::json(&meta.first_key),
        "last_key": text::json(&meta.last_key),
        "created_at_us": meta.created_at.0,
    })
}
