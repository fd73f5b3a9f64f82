//! `sst filter`: what a table's filter is, and what it says of keys.

use super::{brief, failure, open};
use crate::{
    args::SstFilterArgs,
    commands::data::argument,
    database::lower_case,
    exit::{self, Failure},
    output::{Align::Left, Console, Output, Table},
    text,
};
use isopach::engine::table::inspect::{LoneTable, TableFilter};
use serde_json::json;

/// Describes the filter, then asks filter and table about each key. A filter that denies a key of its table is
/// damage.
pub(super) fn filter(args: &SstFilterArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let what = format!("read {}", args.file.display());
    let keys = args.keys.iter().map(|key| argument("KEY", key, args.hex));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let table = open(&args.file)?;
    let filter = table.filter().map_err(|error| failure(&what, &error))?;

    describe(&table, filter.as_ref(), console)?;
    if keys.is_empty() {
        return Ok(());
    }
    let blocks = table.blocks().map_err(|error| failure(&what, &error))?;
    let mut rows = Table::new(&[("key", Left), ("filter", Left), ("table", Left)]);
    let mut wrong = 0_u64;
    for key in &keys {
        let is_denied = filter.as_ref().is_some_and(|filter| !filter.may_contain(key));
        let is_there = blocks.contains(key).map_err(|error| failure(&what, &error))?;
        wrong += u64::from(is_denied && is_there);
        match console.output() {
            Output::Table => rows.row([
                brief(key),
                if is_denied { "denies it" } else { "may have it" }.to_owned(),
                if is_there { "has it" } else { "has it not" }.to_owned(),
            ]),
            Output::Jsonl => {
                let fields = json!({ "key": text::json(key), "denied": is_denied, "there": is_there });
                console.object("sst.filter.key", fields)?;
            }
        }
    }
    if console.output() == Output::Table {
        console.table(&rows)?;
    }
    match wrong {
        0 => Ok(()),
        wrong => {
            let keys = text::counted(wrong, "key", "keys");
            Err(Failure::new(exit::CORRUPTION, what, format!("the filter denies {keys} of its table")))
        }
    }
}

fn describe(
    table: &LoneTable,
    filter: Option<&TableFilter>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    match (console.output(), filter) {
        (Output::Table, None) => writeln!(console.out(), "{} has no filter", table.name())?,
        (Output::Table, Some(filter)) => writeln!(
            console.out(),
            "{}, {:.1} bits a key, {} for {}",
            lower_case(&filter.kind()),
            filter.bits_per_key(),
            text::size(filter.bytes),
            text::counted(filter.keys, "key", "keys"),
        )?,
        (Output::Jsonl, filter) => {
            let filter = filter.map(|filter| {
                json!({
                    "kind": lower_case(&filter.kind()),
                    "bytes": filter.bytes,
                    "keys": filter.keys,
                    "bits_per_key": filter.bits_per_key(),
                })
            });
            console.object("sst.filter", json!({ "file": table.name(), "filter": filter }))?;
        }
    }
    Ok(())
}
