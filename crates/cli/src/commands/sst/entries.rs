//! `sst dump`: every version in a table, in order.

use super::{failure, kind_word, open};
use crate::{
    args::SstDumpArgs,
    commands::data::argument,
    exit::{self, Failure},
    output::{Console, Output},
    text,
};
use isopach::engine::table::inspect::{Blocks, Entries, TableEntry};
use serde_json::json;
use std::{
    io::{self, Write},
    ops::Bound,
};

/// Prints entries. Blocks that cannot be read are left out, and are a failure at the end.
pub(super) fn dump(args: &SstDumpArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let what = format!("dump {}", args.file.display());
    let key = |name: &str, value: &Option<String>| {
        value.as_deref().map(|value| argument(name, value, args.hex)).transpose()
    };
    let keys = (key("--from", &args.from)?, key("--to", &args.to)?);
    if let (Some(from), Some(to)) = &keys
        && from > to
    {
        return Err(Failure::new(exit::USAGE, what, "--from lies behind --to"));
    }
    let table = open(&args.file)?;
    let blocks = table.blocks().map_err(|error| failure(&what, &error))?;

    let output = console.output();
    let (mut first, mut errors) = (None, 0_u64);
    for entry in chosen(blocks, args.block, keys)? {
        match entry {
            Ok(entry) => print(console.out(), output, &entry)?,
            Err(error) => {
                errors += 1;
                first.get_or_insert(error);
            }
        }
    }
    match first {
        None => Ok(()),
        Some(first) => Err(failure(what, &first).after(format_args!(
            "{} left out",
            text::counted(errors, "damaged block was", "damaged blocks were")
        ))),
    }
}

fn chosen(
    blocks: Blocks<'_>,
    block: Option<usize>,
    (from, to): (Option<Vec<u8>>, Option<Vec<u8>>),
) -> Result<Entries<'_>, Failure> {
    match block {
        Some(block) if block < blocks.len() => Ok(blocks.entries_of(block)),
        Some(block) => {
            let there = text::counted(blocks.len() as u64, "block", "blocks");
            Err(Failure::new(
                exit::NOT_FOUND,
                format!("block {block}"),
                format!("the table has {there}, from 0"),
            ))
        }
        None => {
            let low = from.map_or(Bound::Unbounded, Bound::Included);
            let entries = blocks.entries((low, to.map_or(Bound::Unbounded, Bound::Excluded)));
            entries.map_err(|error| failure("find the entries between these keys", &error))
        }
    }
}

fn print(out: &mut dyn Write, output: Output, entry: &TableEntry) -> io::Result<()> {
    let kind = kind_word(entry.kind);
    match output {
        Output::Table => {
            let (key, value) = (text::plain(&entry.key), text::plain(&entry.value));
            writeln!(out, "{key}\t{}\t{kind}\t{value}", entry.seqno)
        }
        Output::Jsonl => {
            let mut fields = json!({
                "block": entry.block,
                "key": text::json(&entry.key),
                "seqno": entry.seqno.raw(),
                "kind": kind,
            });
            if !entry.kind.is_tombstone() {
                fields["value"] = text::json(&entry.value);
            }
            writeln!(out, "{fields}")
        }
    }
}
