//! Files that `load` reads, one record at a time.
//!
//! A reader holds one record, never the file. What is malformed is an error that names the line; nothing is
//! skipped or repaired.

mod deb822;
mod jsonl;
mod lines;

use clap::ValueEnum;
use std::io::{self, BufRead};

/// Longest key of a database, in bytes.
const MAX_KEY_BYTES: usize = 65_535;

/// Longest record, in bytes without its line end: a line of `jsonl`, a stanza of `deb822`. The limit of a
/// value in the database; a stanza always fits, a value in `jsonl` loses what escapes and hex digits take.
const MAX_RECORD_BYTES: u64 = u32::MAX as u64;

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// A JSON object per line: {"key": ..., "value": ...}, each text or {"hex": "..."}
    Jsonl,
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
    Malformed {
        /// Counted from 1.
        line: u64,
        reason: String,
    },
}

/// The records of a file, in its order.
pub(crate) trait Records {
    /// Replaces `record` by the next one, in the same memory; `false` at the end. Not called again after an
    /// error.
    fn next(&mut self, record: &mut Record) -> Result<bool, ReadError>;

    /// Bytes read so far.
    fn read_bytes(&self) -> u64;
}

/// The records of `input`.
pub(crate) fn records<'a>(format: Format, input: impl BufRead + 'a) -> Box<dyn Records + 'a> {
    let lines = lines::Lines::new(input, MAX_RECORD_BYTES);
    match format {
        Format::Jsonl => Box::new(jsonl::JsonLines::new(lines)),
        Format::Deb822 => Box::new(deb822::Stanzas::new(lines, MAX_RECORD_BYTES)),
    }
}

fn malformed(line: u64, reason: impl Into<String>) -> ReadError {
    ReadError::Malformed { line, reason: reason.into() }
}

/// For the tests of the readers: all records, or `line: reason` of the error.
#[cfg(test)]
fn read_all(mut records: impl Records) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut all = Vec::new();
    let mut record = Record::default();
    loop {
        match records.next(&mut record) {
            Ok(true) => {
                all.push((String::from_utf8_lossy(&record.key).into_owned(), record.value.clone()));
            }
            Ok(false) => return Ok(all),
            Err(ReadError::Malformed { line, reason }) => return Err(format!("{line}: {reason}")),
            Err(ReadError::Io(error)) => panic!("reading from memory failed: {error}"),
        }
    }
}
