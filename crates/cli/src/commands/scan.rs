//! `scan`, `count` and `rm-range`: ranges of keys.

use super::data::argument;
use crate::{
    args::{CountArgs, RangeArgs, RemoveRangeArgs, ScanArgs},
    database::{self, Missing},
    exit::{self, Doing, Failure},
    formats,
    output::{Console, Output},
    text,
};
use isopach::Slice;
use serde_json::json;
use std::{
    io::{self, Write},
    ops::Bound,
};

/// Both ends of a range of keys.
type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Prints entries as they are read. On a terminal `key`, tab, `value`; no columns, since their width is known
/// only at the end.
pub(super) fn scan(args: &ScanArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let range = range_of("scan", &args.range)?;
    let db = database::read(&args.db)?;
    let keyspace = database::keyspace_to_read(&db, &args.keyspace)?;
    let Some(range) = range else {
        return Ok(());
    };

    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let output = console.output();
    let out = console.out();
    if args.keys {
        for key in directed(keyspace.range(range).keys(), args.rev).take(limit) {
            print_entry(out, output, &key.doing("scan")?, None)?;
        }
    } else {
        for entry in directed(keyspace.range(range), args.rev).take(limit) {
            let (key, value): (Slice, Slice) = entry.doing("scan")?;
            print_entry(out, output, &key, Some(&value))?;
        }
    }
    Ok(())
}

/// Removes all keys of a range, of which one end at least was said: for a whole keyspace there is `clear`.
pub(super) fn remove_range(args: &RemoveRangeArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    const WHAT: &str = "rm-range";
    let RangeArgs { prefix, from, to, .. } = &args.range;
    if [prefix, from, to].iter().all(|end| end.is_none()) {
        let why = "say --prefix, --from or --to; `isopach clear` deletes everything in a keyspace";
        return Err(Failure::new(exit::USAGE, WHAT, why));
    }
    let range = range_of(WHAT, &args.range)?;
    let db = database::write(&args.db, Missing::Refuse)?;
    let keyspace = database::keyspace_to_write(&db, &args.keyspace, Missing::Refuse)?;
    let seqno = match range {
        None => db.seqno(),
        Some(range) => {
            let mut batch = db.batch();
            batch.remove_range(&keyspace, range);
            db.write_with(batch, database::write_options(args.durability.durability)).doing(WHAT)?
        }
    };
    drop(keyspace);
    database::close(db)?;

    match console.output() {
        Output::Table => writeln!(console.out(), "removed at seqno {seqno}")?,
        Output::Jsonl => {
            console.object(WHAT, json!({ "keyspace": args.keyspace, "seqno": seqno.raw() }))?;
        }
    }
    Ok(())
}

/// Prints the number of entries.
pub(super) fn count(args: &CountArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let prefix = args.prefix.as_deref().map(|prefix| argument("--prefix", prefix, args.hex)).transpose()?;
    let db = database::read(&args.db)?;
    let keyspace = database::keyspace_to_read(&db, &args.keyspace)?;

    let range = prefix_range(&prefix.unwrap_or_default());
    let count = if args.approximate {
        keyspace.approximate_range(range).doing("estimate")?.rows
    } else {
        keyspace.count(range).doing("count")?
    };

    match console.output() {
        Output::Table => writeln!(console.out(), "{count}")?,
        Output::Jsonl => {
            let fields =
                json!({ "keyspace": args.keyspace, "count": count, "approximate": args.approximate });
            console.object("count", fields)?;
        }
    }
    Ok(())
}

fn directed<'a, I, T>(entries: I, is_reversed: bool) -> Box<dyn Iterator<Item = T> + 'a>
where
    I: DoubleEndedIterator<Item = T> + 'a,
{
    if is_reversed { Box::new(entries.rev()) } else { Box::new(entries) }
}

fn print_entry(out: &mut dyn Write, output: Output, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
    match (output, value) {
        (Output::Table, None) => writeln!(out, "{}", text::plain(key)),
        (Output::Table, Some(value)) => writeln!(out, "{}\t{}", text::plain(key), text::plain(value)),
        (Output::Jsonl, None) => writeln!(out, "{}", json!({ "key": text::json(key) })),
        (Output::Jsonl, Some(value)) => formats::write_entry(out, key, value),
    }
}

/// What `--prefix`, `--from` and `--to` leave; `None` if that is nothing.
fn range_of(what: &str, args: &RangeArgs) -> Result<Option<Range>, Failure> {
    let bytes = |name: &str, value: &Option<String>| {
        value.as_deref().map(|value| argument(name, value, args.hex)).transpose()
    };
    let prefix = bytes("--prefix", &args.prefix)?;
    let from = bytes("--from", &args.from)?;
    let to = bytes("--to", &args.to)?;

    if let (Some(from), Some(to)) = (&from, &to)
        && from > to
    {
        return Err(Failure::new(exit::USAGE, what, "--from lies behind --to"));
    }
    Ok(intersection(&prefix.unwrap_or_default(), from, to))
}

/// The keys that start with `prefix`, from `from` to before `to`.
fn intersection(prefix: &[u8], from: Option<Vec<u8>>, to: Option<Vec<u8>>) -> Option<Range> {
    let low = from.unwrap_or_default().max(prefix.to_vec());
    let high = match (prefix_end(prefix), to) {
        (Some(end), Some(to)) => Some(end.min(to)),
        (end, to) => end.or(to),
    };
    match high {
        Some(high) if low >= high => None,
        Some(high) => Some((Bound::Included(low), Bound::Excluded(high))),
        None => Some((Bound::Included(low), Bound::Unbounded)),
    }
}

/// The keys that start with `prefix`.
fn prefix_range(prefix: &[u8]) -> Range {
    let end = prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded);
    (Bound::Included(prefix.to_vec()), end)
}

/// The least key behind all that start with `prefix`, if there is one.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends_before_the_next_key_without_it() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xff\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }

    #[test]
    fn ranges_intersect() {
        let key = |text: &str| Some(text.as_bytes().to_vec());
        let range = |low: &str, high: Option<&str>| {
            let high = high.map_or(Bound::Unbounded, |high| Bound::Excluded(high.into()));
            Some((Bound::Included(low.as_bytes().to_vec()), high))
        };

        assert_eq!(intersection(b"", None, None), range("", None));
        assert_eq!(intersection(b"b", None, None), range("b", Some("c")));
        assert_eq!(intersection(b"b", key("ba"), key("bx")), range("ba", Some("bx")));
        assert_eq!(intersection(b"b", key("a"), key("z")), range("b", Some("c")));
        assert_eq!(intersection(b"b", key("c"), None), None);
        assert_eq!(intersection(b"", key("a"), key("a")), None);
        assert_eq!(intersection(b"\xff", key("a"), None), Some(prefix_range(b"\xff")));
    }

    #[test]
    fn entries_print_in_both_forms() {
        let printed = |output, value: Option<&[u8]>| {
            let mut bytes = Vec::new();
            print_entry(&mut bytes, output, b"k\n", value).unwrap();
            String::from_utf8(bytes).unwrap()
        };

        assert_eq!(printed(Output::Table, Some(b"v")), "0x6b0a\tv\n");
        assert_eq!(printed(Output::Table, None), "0x6b0a\n");
        assert_eq!(printed(Output::Jsonl, Some(b"\xff")), "{\"key\":\"k\\n\",\"value\":{\"hex\":\"ff\"}}\n");
        assert_eq!(printed(Output::Jsonl, None), "{\"key\":\"k\\n\"}\n");
    }

    #[test]
    fn directions_meet_both_ends() {
        assert_eq!(directed(0..3, false).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(directed(0..3, true).collect::<Vec<_>>(), [2, 1, 0]);
    }
}
