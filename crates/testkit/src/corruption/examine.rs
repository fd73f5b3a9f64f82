//! Everything that is asked of a damaged database, and what its answers may be.

use super::{
    fate::{Fate, is_in_dead_bytes, is_legal},
    image::Image,
    subject::{Subject, builder},
};
use crate::{Contents, Entries, allocations, inputs::is_inside};
use isopach::{
    Db, Error, ErrorKind, Iter, KeyBounds, KeyspaceAt, ReadDb, Readable, Slice, VerifyDepth, VerifyOptions,
    engine::{dictionary, table::inspect::LoneTable},
    env::{Fs, MemFs},
};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

/// Background work that fails for good is waited for no longer.
const IDLE: Duration = Duration::from_millis(20);

/// The keyspace that is written to after a damage, and what is written.
const MARK: (&str, &[u8], &[u8]) = ("empty", b"mark", b"of the examination");

/// How a damaged database answered. Every one of them is right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// All as if nothing had happened, and nothing had: the bytes are of no use.
    Unused,
    /// All as if nothing had happened, but the check of the database tells of it.
    Verified,
    /// All as if nothing had happened, and nobody can tell: the end of the manifest that was not known to be
    /// durable is gone, and what it said follows from the log; or a file is that of a copy of this database.
    Equivalent,
    /// The log ends early, where its rule allows it.
    Prefix,
    /// Some answers are errors that name file and keys, all others are right.
    ReadError,
    /// It does not open, and says why and where.
    Refused,
}

impl Outcome {
    /// All of them, in the order of reports.
    pub const ALL: [Outcome; 6] = [
        Outcome::Unused,
        Outcome::Verified,
        Outcome::Equivalent,
        Outcome::Prefix,
        Outcome::ReadError,
        Outcome::Refused,
    ];

    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Unused => "dead bytes",
            Outcome::Verified => "verify only",
            Outcome::Equivalent => "equivalent",
            Outcome::Prefix => "prefix",
            Outcome::ReadError => "read error",
            Outcome::Refused => "refused",
        }
    }
}

/// What an examination found.
#[derive(Clone, Copy, Debug)]
pub struct Examined {
    /// How it answered.
    pub outcome: Outcome,
    /// Most memory that opening, checking and reading held, in bytes.
    pub peak_bytes: usize,
}

/// Which passes are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passes {
    /// Opened for reading only.
    Read,
    /// Then opened for writing as well, compacted, written to, and opened again.
    ReadAndWrite,
}

/// Asks a damaged database everything.
///
/// # Errors
///
/// What is wrong with an answer.
pub fn examine(subject: &Subject, damaged: &Image, passes: Passes) -> Result<Examined, String> {
    let fate = Fate::of(subject, damaged);
    let expected = match fate {
        Fate::Prefix(commit) => subject.oracle.contents(commit),
        Fate::Whole | Fate::Refused => subject.contents(),
    };
    let files = damaged.to_fs();
    let (found, peak_bytes) = allocations::peak_of_thread(|| look(&files, &expected, subject));
    if Image::of(&files) != Image::of(&damaged.to_fs()) {
        return Err("reading has changed files".into());
    }
    let found = found?;
    look_alone(damaged, subject)?;
    if passes == Passes::ReadAndWrite {
        write_pass(&files, &expected, subject).map_err(|why| format!("opened for writing: {why}"))?;
    }
    let outcome = judge(subject, damaged, &fate, &found)?;
    Ok(Examined { outcome, peak_bytes })
}

/// What a database that was opened for reading said.
struct Found {
    is_open: bool,
    read_errors: usize,
    findings: usize,
    said_discarded: bool,
}

fn judge(subject: &Subject, damaged: &Image, fate: &Fate, found: &Found) -> Result<Outcome, String> {
    if !found.is_open {
        return Ok(Outcome::Refused);
    }
    match fate {
        Fate::Refused => Err("durable records are gone, and it opens".into()),
        Fate::Prefix(_) if found.read_errors == 0 => Ok(Outcome::Prefix),
        _ if found.read_errors > 0 && found.findings == 0 => Err("the check finds nothing".into()),
        _ if found.read_errors > 0 => Ok(Outcome::ReadError),
        _ if is_in_dead_bytes(subject, damaged) => Ok(Outcome::Unused),
        _ if found.findings > 0 => Ok(Outcome::Verified),
        _ if found.said_discarded => Ok(Outcome::Prefix),
        _ if is_legal(subject, damaged) => Ok(Outcome::Equivalent),
        _ => Err("nothing tells of the damage".into()),
    }
}

// ----- reading -----

fn look(files: &MemFs, expected: &Contents, subject: &Subject) -> Result<Found, String> {
    let findings = verify(files, VerifyDepth::Entries)?;
    if verify(files, VerifyDepth::Full)? < findings {
        return Err("a full check finds less".into());
    }
    let db = match builder(files.clone(), 1).open_read_only() {
        Ok(db) => db,
        Err(error) => {
            check_error(&error)?;
            if findings == 0 {
                return Err(format!("it does not open ({error}), and the check finds nothing"));
            }
            return Ok(Found { is_open: false, read_errors: 0, findings, said_discarded: false });
        }
    };
    let names: Vec<String> = db.keyspaces().into_iter().map(|(name, _)| name).collect();
    check_names(names, expected)?;
    let mut read_errors = 0;
    for (name, entries) in expected {
        let keyspace = match open_to_read(&db, name)? {
            Some(keyspace) => keyspace,
            None => {
                read_errors += 1;
                continue;
            }
        };
        read_errors += read_all(&keyspace, entries, &absent_of(subject, name, entries))
            .map_err(|why| format!("keyspace {name}: {why}"))?;
    }
    let said_discarded = db.recovery().discarded.is_some();
    Ok(Found { is_open: true, read_errors, findings, said_discarded })
}

/// How much a check finds.
fn verify(files: &MemFs, depth: VerifyDepth) -> Result<usize, String> {
    match builder(files.clone(), 1).verify(VerifyOptions::new().depth(depth)) {
        Ok(report) => Ok(report.found.len()),
        Err(error) => check_error(&error).map(|()| 1).map_err(|why| format!("verify: {why}")),
    }
}

/// Every table by itself: one that is as it was has nothing wrong with it; else errors and findings name places.
fn look_alone(files: &Image, subject: &Subject) -> Result<(), String> {
    let fs: Arc<dyn Fs> = Arc::new(files.to_fs());
    for (name, _) in files.files().filter(|(name, _)| name.starts_with("tables/")) {
        let table = match LoneTable::open(&fs, name) {
            Ok(table) => table,
            Err(error) if error.file() == Some(name) => continue,
            Err(error) => return Err(format!("{name} by itself: an error that does not name it: {error}")),
        };
        let table = table.with_dictionary(&*fs, dictionary::file_name);
        let is_as_it_was = |name: &str| files.get(name) == subject.image.get(name);
        let needed = table.dictionary().map(|handle| dictionary::file_name(handle.id));
        let layout = table.layout().map_err(|error| format!("{name} by itself: {error}"))?;
        let found = layout.check();
        if is_as_it_was(name) && needed.is_none_or(|name| is_as_it_was(&name)) && !found.is_empty() {
            return Err(format!("{name} by itself is sound, but {found:?}"));
        }
        if found.iter().any(|it| it.offset >= table.bytes()) {
            return Err(format!("{name} by itself: a place behind its end: {found:?}"));
        }
    }
    Ok(())
}

fn open_to_read(db: &ReadDb, name: &str) -> Result<Option<KeyspaceAt>, String> {
    match db.keyspace(name) {
        Ok(keyspace) => Ok(Some(keyspace)),
        Err(error) => check_error(&error).map(|()| None),
    }
}

fn check_names(mut names: Vec<String>, expected: &Contents) -> Result<(), String> {
    names.sort();
    let wanted: Vec<&String> = expected.keys().collect();
    if names.iter().collect::<Vec<_>>() == wanted { Ok(()) } else { Err(format!("keyspaces are {names:?}")) }
}

/// Keys that have no value now.
fn absent_of(subject: &Subject, name: &str, entries: &Entries) -> Vec<Vec<u8>> {
    let absent = subject.absent.iter().filter(|(space, _)| space == name).map(|(_, key)| key);
    // Of a prefix of the commits others may be absent too.
    absent.filter(|key| !entries.contains_key(*key)).cloned().collect()
}

/// Reads a keyspace in every way. Returns how many answers were errors.
fn read_all(keyspace: &impl Readable, entries: &Entries, absent: &[Vec<u8>]) -> Result<usize, String> {
    let mut errors = 0;
    // Most keys begin as the last says, which filters of prefixes are asked for.
    for (is_forward, prefix) in [(true, ""), (false, ""), (true, "key/")] {
        let direction = if is_forward { "forward" } else { "backward" };
        errors += scan(keyspace.prefix(prefix), entries, is_forward, prefix)
            .map_err(|why| format!("{direction} scan of {prefix:?}: {why}"))?;
    }
    for (key, value) in entries {
        match keyspace.get(key) {
            Ok(Some(found)) if found[..] == value[..] => {}
            Ok(found) => return Err(wrong_value(key, Some(value), found.as_ref())),
            Err(error) => {
                check_error(&error)?;
                errors += 1;
            }
        }
    }
    for key in absent {
        match keyspace.get(key) {
            Ok(None) => {}
            Ok(found) => return Err(wrong_value(key, None, found.as_ref())),
            Err(error) => {
                check_error(&error)?;
                errors += 1;
            }
        }
    }
    Ok(errors)
}

/// An error of a scan stands for a range of keys; all others are there, in order.
fn scan(mut iter: Iter, entries: &Entries, is_forward: bool, prefix: &str) -> Result<usize, String> {
    let mut found: BTreeMap<Vec<u8>, Slice> = BTreeMap::new();
    let mut passed_over: Vec<KeyBounds> = Vec::new();
    let mut last: Option<Vec<u8>> = None;
    while let Some(next) = if is_forward { iter.next() } else { iter.next_back() } {
        match next {
            Ok((key, value)) => {
                let is_in_order = last
                    .as_deref()
                    .is_none_or(|last| if is_forward { last < &key[..] } else { last > &key[..] });
                if !is_in_order {
                    return Err(format!("{} is out of order", key.escape_ascii()));
                }
                match entries.get(&key[..]) {
                    Some(expected) if expected[..] == value[..] => {}
                    expected => return Err(wrong_value(&key, expected, Some(&value))),
                }
                last = Some(key.to_vec());
                found.insert(key.to_vec(), value);
            }
            Err(error) => {
                check_error(&error)?;
                let keys = error.keys().ok_or_else(|| format!("names no keys: {error}"))?;
                passed_over.push(keys.clone());
                if passed_over.len() > 10_000 {
                    return Err("errors without end".into());
                }
            }
        }
    }
    let missing = entries
        .keys()
        .filter(|key| key.starts_with(prefix.as_bytes()))
        .find(|key| !found.contains_key(*key) && !passed_over.iter().any(|keys| is_inside(key, keys)));
    match missing {
        Some(key) => Err(format!("{} is missing, and no error stands for it", key.escape_ascii())),
        None => Ok(passed_over.len()),
    }
}

fn wrong_value(key: &[u8], expected: Option<&Vec<u8>>, found: Option<&Slice>) -> String {
    let brief = |value: Option<&[u8]>| {
        value.map(|value| {
            format!("{} bytes, {:?}", value.len(), value[..value.len().min(24)].escape_ascii().to_string())
        })
    };
    let (found, expected) = (brief(found.map(|slice| &slice[..])), brief(expected.map(|value| &value[..])));
    format!("{} is {found:?}, not {expected:?}", key.escape_ascii())
}

/// An error says that the database is damaged, and which file.
fn check_error(error: &Error) -> Result<(), String> {
    let kinds = [
        ErrorKind::Corruption,
        ErrorKind::MissingDictionary,
        ErrorKind::MixedDatabase,
        ErrorKind::UnsupportedFormat,
        ErrorKind::UnsupportedFeature,
    ];
    if !kinds.contains(&error.kind()) {
        return Err(format!("an error of kind {:?}: {error}", error.kind()));
    }
    if error.path().is_none_or(|path| path == Path::new("db")) {
        return Err(format!("an error that names no file: {error}"));
    }
    if error.kind() == ErrorKind::Corruption && error.offset().is_none() {
        return Err(format!("an error that names no place: {error}"));
    }
    Ok(())
}

// ----- writing -----

/// Opens for writing, compacts, writes; reads before and after, and once more after closing.
fn write_pass(files: &MemFs, expected: &Contents, subject: &Subject) -> Result<(), String> {
    let db = match builder(files.clone(), 2).open() {
        Ok(db) => db,
        Err(error) => return check_error(&error),
    };
    check_names(db.keyspaces().into_iter().map(|(name, _)| name).collect(), expected)?;
    read_open(&db, expected, subject)?;
    for name in expected.keys() {
        if let Ok(Some(keyspace)) = db.get_keyspace(name)
            && let Err(error) = keyspace.compact_range(..)
        {
            check_error(&error).map_err(|why| format!("compaction: {why}"))?;
        }
    }
    let _still_failing = db.wait_idle(IDLE);
    let mut expected = expected.clone();
    if let Some(entries) = expected.get_mut(MARK.0) {
        let keyspace = db.get_keyspace(MARK.0).ok().flatten().ok_or("the keyspace to write to is gone")?;
        keyspace.insert(MARK.1, MARK.2).map_err(|error| format!("cannot write: {error}"))?;
        entries.insert(MARK.1.into(), MARK.2.into());
    }
    read_open(&db, &expected, subject).map_err(|why| format!("after compaction: {why}"))?;
    db.close().or_else(|error| check_error(&error)).map_err(|why| format!("closing: {why}"))?;
    look(files, &expected, subject).map(drop).map_err(|why| format!("after closing: {why}"))
}

fn read_open(db: &Db, expected: &Contents, subject: &Subject) -> Result<(), String> {
    for (name, entries) in expected {
        let keyspace = match db.get_keyspace(name) {
            Ok(Some(keyspace)) => keyspace,
            Ok(None) => return Err(format!("keyspace {name} is gone")),
            Err(error) => {
                check_error(&error)?;
                continue;
            }
        };
        read_all(&keyspace, entries, &absent_of(subject, name, entries))
            .map_err(|why| format!("keyspace {name}: {why}"))?;
    }
    Ok(())
}
