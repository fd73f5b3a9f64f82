//! Files that `load` reads and `dump` writes, one record at a time.
//!
//! A reader holds one record, never the file. What is malformed is an error that names the line; nothing is
//! skipped or repaired.

mod deb822;
mod jsonl;
mod lines;
mod raw;

pub(crate) use jsonl::write_entry;

use clap::ValueEnum;
use std::{
    fmt,
    io::{self, BufRead, Write},
};

/// Longest key of a database, in bytes.
const MAX_KEY_BYTES: usize = 65_535;

/// Longest record, in bytes without its line end: a line of `jsonl`, a stanza of `deb822`. The limit of a
/// value in the database; a stanza always fits, a value in `jsonl` loses what escapes and hex digits take.
const MAX_RECORD_BYTES: u64 = u32::MAX as u64;

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// A JSON object per line: {"key": ..., "value": ...}, each text or {"hex": "..."}; before the entries of a keyspace
    /// may stand {"keyspace": ...}
    Jsonl,
    /// What `dump --output raw` prints
    Raw,
    /// A Debian package list: stanzas by their Package field, the last of a name wins
    Deb822,
}

/// One entry to put.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Record {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// Why there is no next record.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file could not be read.
    Io(io::Error),
    /// The file is not of its format.
    Malformed { at: Place, reason: String },
}

/// A place in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Counted from 1.
    Line(u64),
    /// Counted from 0.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}

/// What comes next in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// A record.
    Record,
    /// The name of the keyspace that the records behind it belong to.
    Keyspace(String),
    /// Nothing.
    End,
}

/// The records of a file, in its order.
pub(crate) trait Records {
    /// What comes next; a record replaces `record`, in the same memory. Not called again after the end or an error.
    fn next(&mut self, record: &mut Record) -> Result<Next, ReadError>;

    /// Bytes read so far.
    fn read_bytes(&self) -> u64;
}

/// The records of `input`.
pub(crate) fn records<'a>(format: Format, input: impl BufRead + 'a) -> Box<dyn Records + 'a> {
    let lines = |input| lines::Lines::new(input, MAX_RECORD_BYTES);
    match format {
        Format::Jsonl => Box::new(jsonl::JsonLines::new(lines(input))),
        Format::Raw => Box::new(raw::RawRecords::new(input)),
        Format::Deb822 => Box::new(deb822::Stanzas::new(lines(input), MAX_RECORD_BYTES)),
    }
}

fn malformed(line: u64, reason: impl Into<String>) -> ReadError {
    ReadError::Malformed { at: Place::Line(line), reason: reason.into() }
}

/// In which form keyspaces are dumped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DumpFormat {
    /// See [`Format::Jsonl`].
    Jsonl,
    /// See [`Format::Raw`].
    Raw,
}

/// Where a dump goes.
pub(crate) trait Writer {
    /// The entries behind it belong to the keyspace of this name.
    fn keyspace(&mut self, name: &str) -> io::Result<()>;

    /// Writes an entry.
    fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()>;

    /// The dump is whole.
    fn end(&mut self) -> io::Result<()>;
}

/// Begins a dump.
pub(crate) fn writer<'a>(format: DumpFormat, out: &'a mut dyn Write) -> io::Result<Box<dyn Writer + 'a>> {
    Ok(match format {
        DumpFormat::Jsonl => Box::new(jsonl::JsonWriter(out)),
        DumpFormat::Raw => Box::new(raw::Frames::begin(out)?),
    })
}

/// For the tests of the readers: all records, or `line: reason` of the error.
#[cfg(test)]
fn read_all(mut records: impl Records) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut all = Vec::new();
    let mut record = Record::default();
    loop {
        match records.next(&mut record) {
            Ok(Next::Record) => {
                all.push((String::from_utf8_lossy(&record.key).into_owned(), record.value.clone()));
            }
            Ok(Next::Keyspace(name)) => all.push((format!("keyspace {name}"), Vec::new())),
            Ok(Next::End) => return Ok(all),
            Err(ReadError::Malformed { at: Place::Line(line), reason }) => {
                return Err(format!("{line}: {reason}"));
            }
            Err(ReadError::Malformed { at, reason }) => panic!("text has lines, not {at}: {reason}"),
            Err(ReadError::Io(error)) => panic!("reading from memory failed: {error}"),
        }
    }
}
