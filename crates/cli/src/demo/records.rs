//! Parts 1 and 2 of the demo: two keyspaces written together, and read back in every way.
//!
//! `unicode` holds code point -> rest of the line, `names` the index name -> code point. Both entries of a
//! character are in one batch, so neither can be there without the other.

use super::{
    dataset::{self, Point},
    measured, say, wrong,
};
use crate::{
    database::{self, Missing},
    exit::{Doing, Failure},
    output::Console,
    random::Random,
    text,
};
use isopach::{KeyspaceAt, Slice};
use std::{collections::BTreeMap, path::Path, time::Instant};

const POINTS: &str = "unicode";
const NAMES: &str = "names";

/// Characters per atomic batch, each with an entry in both keyspaces.
const BATCH_POINTS: usize = 1000;

/// Random characters that are looked up.
const LOOK_UPS: u32 = 2000;

/// Look-ups that are shown.
const SHOWN: u32 = 3;

const PREFIX: &str = "GREEK SMALL LETTER ";

/// Key -> value of a keyspace, as the file has it.
type Expected = BTreeMap<Vec<u8>, Vec<u8>>;

/// Part 1: loads the characters into a new database.
pub(super) fn load(dir: &Path, console: &mut Console<'_>) -> Result<(), Failure> {
    say(console, "\n1. Load the Unicode characters: code point -> data, name -> code point")?;
    let db = database::write(dir, Missing::Create)?;
    let points = database::keyspace_to_write(&db, POINTS, Missing::Create)?;
    let names = database::keyspace_to_write(&db, NAMES, Missing::Create)?;

    let started = Instant::now();
    let all: Vec<Point> = dataset::points().collect();
    let mut bytes = 0;
    for chunk in all.chunks(BATCH_POINTS) {
        let mut batch = db.batch();
        for point in chunk {
            batch.insert(&points, point.code, point.rest);
            batch.insert(&names, point.name.as_bytes(), point.code);
            bytes += point.code.len() * 2 + point.rest.len() + point.name.len();
        }
        db.write(batch).doing("write a batch")?;
    }
    let written = started.elapsed().as_secs_f64();

    let started = Instant::now();
    db.flush().doing("flush")?;
    database::close(db)?;
    let flushed = started.elapsed().as_secs_f64();

    let entries = all.len() as u64 * 2;
    let batches = all.len().div_ceil(BATCH_POINTS);
    let done = format!(
        "{} entries ({}) in {batches} atomic batches",
        text::grouped(entries),
        text::size(bytes as u64)
    );
    say(console, &measured(&done, &rate(entries, written)))?;
    say(console, &measured("written as tables and closed", &format!("{flushed:.2} s")))
}

/// Part 2: opens the database for reading and compares what it says with the file.
pub(super) fn read_back(dir: &Path, random: &mut Random, console: &mut Console<'_>) -> Result<(), Failure> {
    say(console, "\n2. Read them back and compare with the file")?;
    let db = database::read(dir)?;
    let points = database::keyspace_to_read(&db, POINTS)?;
    let names = database::keyspace_to_read(&db, NAMES)?;
    let all: Vec<Point> = dataset::points().collect();

    look_up(&all, &points, &names, random, console)?;
    scan_prefix(&all, &names, console)?;
    scan_backwards(&all, &names, console)?;

    let by_code = all.iter().map(|point| (point.code.into(), point.rest.into())).collect();
    let by_name = all.iter().map(|point| (point.name.as_bytes().into(), point.code.into())).collect();
    scan_everything(POINTS, &points, &by_code, console)?;
    scan_everything(NAMES, &names, &by_name, console)
}

/// Random characters: name -> code point -> data.
fn look_up(
    all: &[Point],
    points: &KeyspaceAt,
    names: &KeyspaceAt,
    random: &mut Random,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let mut shown = Vec::new();
    let started = Instant::now();
    for _ in 0..LOOK_UPS {
        let point = &all[random.below(all.len() as u64) as usize];
        let code = names.get(point.name.as_bytes()).doing("look up a name")?;
        let code = code.ok_or_else(|| wrong("look-up", format!("the name {} is missing", point.name)))?;
        let rest = points.get(&code).doing("look up a code point")?;
        if *code != *point.code.as_bytes() || rest.as_deref() != Some(point.rest.as_bytes()) {
            return Err(wrong("look-up", format!("{} has the wrong data", point.name)));
        }
        if shown.len() < SHOWN as usize {
            shown.push(format!("     {} is U+{}", point.name, point.code));
        }
    }
    let took = started.elapsed().as_secs_f64();
    if points.get("no such code point").doing("look up a code point")?.is_some() {
        return Err(wrong("look-up", "a key that was never written has a value"));
    }

    let each_us = took * 1e6 / f64::from(LOOK_UPS * 2);
    let done =
        format!("{} look-ups: random names, then their code points", text::grouped(u64::from(LOOK_UPS) * 2));
    say(console, &measured(&done, &format!("{each_us:.1} us each")))?;
    shown.iter().try_for_each(|line| say(console, line))
}

fn scan_prefix(all: &[Point], names: &KeyspaceAt, console: &mut Console<'_>) -> Result<(), Failure> {
    let expected = all.iter().filter(|point| point.name.starts_with(PREFIX)).count();
    let started = Instant::now();
    let mut found = 0;
    for key in names.prefix(PREFIX).keys() {
        let key = key.doing("scan a prefix")?;
        if !key.starts_with(PREFIX.as_bytes()) {
            return Err(wrong("prefix scan", format!("found {}", text::plain(&key))));
        }
        found += 1;
    }
    if found != expected {
        return Err(wrong(
            "prefix scan",
            format!("found {found} names that begin {PREFIX:?}, not {expected}"),
        ));
    }
    let took_ms = started.elapsed().as_secs_f64() * 1e3;
    say(console, &measured(&format!("{found} names begin with {PREFIX:?}"), &format!("{took_ms:.2} ms")))
}

/// The last names, from the end.
fn scan_backwards(all: &[Point], names: &KeyspaceAt, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut expected: Vec<&[u8]> = all.iter().map(|point| point.name.as_bytes()).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    expected.truncate(3);

    let found: Vec<Slice> =
        names.iter().keys().rev().take(3).collect::<Result<_, _>>().doing("scan backwards")?;
    if !found.iter().map(|key| &**key).eq(expected.iter().copied()) {
        return Err(wrong("backward scan", "the last names are not those of the file"));
    }
    say(console, "   the last names, backwards")?;
    found.iter().try_for_each(|name| say(console, &format!("     {}", text::plain(name))))
}

/// Every entry, in both directions.
fn scan_everything(
    name: &str,
    keyspace: &KeyspaceAt,
    expected: &Expected,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let started = Instant::now();
    compare(name, keyspace.iter(), expected.iter())?;
    compare(name, keyspace.iter().rev(), expected.iter().rev())?;
    let took = started.elapsed().as_secs_f64();
    let entries = expected.len() as u64;
    let done = format!("all {} entries of {name}, forwards and backwards", text::grouped(entries));
    say(console, &measured(&done, &rate(entries * 2, took)))
}

fn compare<'a>(
    name: &str,
    mut found: impl Iterator<Item = Result<(Slice, Slice), isopach::Error>>,
    expected: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>,
) -> Result<(), Failure> {
    for (key, value) in expected {
        let Some(entry) = found.next().transpose().doing("scan")? else {
            return Err(wrong("scan", format!("{name} ends before {}", text::plain(key))));
        };
        if *entry.0 != **key || *entry.1 != **value {
            return Err(wrong("scan", format!("{name} has the wrong entry at {}", text::plain(key))));
        }
    }
    match found.next().transpose().doing("scan")? {
        None => Ok(()),
        Some((key, _)) => Err(wrong("scan", format!("{name} has an entry too many: {}", text::plain(&key)))),
    }
}

/// How long a number of entries took, and how many that is in a second, to three digits.
fn rate(entries: u64, seconds: f64) -> String {
    let per_s = entries as f64 / seconds.max(1e-6);
    let step = 10_f64.powf(per_s.max(100.0).log10().floor() - 2.0);
    format!("{seconds:.2} s, {}/s", text::grouped(((per_s / step).round() * step) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        [("a", "1"), ("b", "2")].map(|(key, value)| (key.into(), value.into())).into()
    }

    fn compared(found: &[(&str, &str)]) -> Result<(), Failure> {
        let found = found.iter().map(|&(key, value)| Ok((Slice::from(key), Slice::from(value))));
        compare("k", found, expected().iter())
    }

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(rate(1_234_567, 1.0), "1.00 s, 1,230,000/s");
        assert_eq!(rate(5, 0.5), "0.50 s, 10/s");
    }

    #[test]
    fn equal_entries_pass_and_others_do_not() {
        assert!(compared(&[("a", "1"), ("b", "2")]).is_ok());
        assert!(compared(&[("a", "1")]).is_err(), "one is missing at the end");
        assert!(compared(&[("b", "2")]).is_err(), "one is missing at the beginning");
        assert!(compared(&[("a", "1"), ("b", "3")]).is_err(), "a value is wrong");
        assert!(compared(&[("a", "1"), ("b", "2"), ("c", "3")]).is_err(), "one is too many");
    }
}
