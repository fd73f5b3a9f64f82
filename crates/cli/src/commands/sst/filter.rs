//! `sst filter`: what a table's filters are, and what they say of keys and prefixes.

use super::{brief, failure, filter_line, filter_object, open};
use crate::{
    args::SstFilterArgs,
    commands::data::argument,
    exit::{self, Failure},
    output::{Align::Left, Console, Output, Table},
    text,
};
use isopach::{
    PrefixExtractor,
    engine::{
        error::Result,
        prefix::PrefixExtractors,
        table::inspect::{LoneTable, TableFilter},
    },
};
use serde_json::json;
use std::sync::Arc;

/// Describes the filters, then asks them and the table about each key. A filter that denies a key of its table is
/// damage. Of a key that is a prefix for the table's extractor, the prefix filter says whether others begin so.
pub(super) fn filter(args: &SstFilterArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let what = format!("read {}", args.file.display());
    let keys = args.keys.iter().map(|key| argument("KEY", key, args.hex));
    let keys = keys.collect::<Result<Vec<_>, Failure>>()?;
    let table = open(&args.file)?;
    let filter = table.filter().map_err(|error| failure(&what, &error))?;
    let prefixes = Prefixes::of(&table).map_err(|error| failure(&what, &error))?;

    describe(&table, filter.as_ref(), prefixes.as_ref(), console)?;
    if keys.is_empty() {
        return Ok(());
    }
    let blocks = table.blocks().map_err(|error| failure(&what, &error))?;
    let columns = [("key", Left), ("filter", Left), ("table", Left), ("as prefix", Left)];
    let mut rows = Table::new(if prefixes.is_some() { &columns } else { &columns[..3] });
    let mut wrong = 0_u64;
    for key in &keys {
        let is_denied = filter.as_ref().is_some_and(|filter| !filter.may_contain(key));
        let is_there = blocks.contains(key).map_err(|error| failure(&what, &error))?;
        let is_prefix_denied = prefixes.as_ref().and_then(|prefixes| prefixes.denies(key));
        wrong += u64::from(is_denied && is_there);
        match console.output() {
            Output::Table => {
                let filter = if is_denied { "denies it" } else { "may have it" };
                let table = if is_there { "has it" } else { "has it not" };
                let as_prefix = is_prefix_denied
                    .map_or("", |is_denied| if is_denied { "denied" } else { "may begin keys" });
                match prefixes {
                    None => rows.row([brief(key), filter.to_owned(), table.to_owned()]),
                    Some(_) => {
                        rows.row([brief(key), filter.to_owned(), table.to_owned(), as_prefix.to_owned()])
                    }
                }
            }
            Output::Jsonl => {
                let fields = json!({
                    "key": text::json(key),
                    "denied": is_denied,
                    "there": is_there,
                    "prefix_denied": is_prefix_denied,
                });
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

/// A filter of prefixes, and what says which they are.
struct Prefixes {
    filter: TableFilter,
    name: String,
    /// `None`: it is not built in.
    extractor: Option<Arc<dyn PrefixExtractor>>,
}

impl Prefixes {
    fn of(table: &LoneTable) -> Result<Option<Prefixes>> {
        let Some(filter) = table.prefix_filter()? else { return Ok(None) };
        let name = table.properties()?.seed.extractor;
        let extractor = PrefixExtractors::new().find(&name).ok();
        Ok(Some(Prefixes { filter, name, extractor }))
    }

    /// Whether no key of the table begins so; `None` where the filter does not say.
    fn denies(&self, prefix: &[u8]) -> Option<bool> {
        let is_covered = self.extractor.as_ref().is_some_and(|extractor| extractor.covers(prefix));
        is_covered.then(|| !self.filter.may_contain(prefix))
    }
}

fn describe(
    table: &LoneTable,
    filter: Option<&TableFilter>,
    prefixes: Option<&Prefixes>,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    match console.output() {
        Output::Table => {
            match filter {
                None => writeln!(console.out(), "{} has no filter", table.name())?,
                Some(filter) => writeln!(console.out(), "{}", filter_line(filter, "key", "keys"))?,
            }
            if let Some(Prefixes { filter, name, .. }) = prefixes {
                let name = text::plain(name.as_bytes());
                writeln!(console.out(), "prefixes by {name}: {}", filter_line(filter, "prefix", "prefixes"))?;
            }
        }
        Output::Jsonl => {
            let prefix_filter = prefixes.map(|prefixes| {
                let mut fields = filter_object(&prefixes.filter);
                fields["extractor"] = text::json(prefixes.name.as_bytes());
                fields
            });
            let fields = json!({
                "file": table.name(),
                "filter": filter.map(filter_object),
                "prefix_filter": prefix_filter,
            });
            console.object("sst.filter", fields)?;
        }
    }
    Ok(())
}
