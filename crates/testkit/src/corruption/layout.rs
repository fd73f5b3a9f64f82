//! Where the parts of each file lie, read with a parser of its own. Layout: `docs/format.md`.

use isopach::engine::{
    blob,
    codec::{HEADER_BYTES, LogPosition, RECORD_HEADER_BYTES, record_bytes},
    table::FOOTER_BYTES,
};
use std::ops::Range;

/// Bytes of a block frame's header, and of an entry of its directory.
const BLOCK_HEADER_BYTES: usize = 24;
const SECTION_ENTRY_BYTES: usize = 17;

/// What a file is, by its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileClass {
    /// The lock: empty, and never read.
    Lock,
    /// The birth certificate.
    Identity,
    /// The log of edits.
    Manifest,
    /// A log segment.
    Log,
    /// A table.
    Table,
    /// A compression dictionary.
    Dictionary,
    /// Separated values.
    Blob,
}

impl FileClass {
    /// Every class of files that are read.
    pub const READ: [FileClass; 6] = [
        FileClass::Identity,
        FileClass::Manifest,
        FileClass::Log,
        FileClass::Table,
        FileClass::Dictionary,
        FileClass::Blob,
    ];

    /// Of a file of an image.
    pub fn of(name: &str) -> FileClass {
        match name {
            "LOCK" => FileClass::Lock,
            "IDENTITY" => FileClass::Identity,
            _ if name.starts_with("wal/") => FileClass::Log,
            _ if name.starts_with("tables/") => FileClass::Table,
            _ if name.starts_with("dictionaries/") => FileClass::Dictionary,
            _ if name.starts_with("blobs/") => FileClass::Blob,
            _ => FileClass::Manifest,
        }
    }

    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            FileClass::Lock => "lock",
            FileClass::Identity => "identity",
            FileClass::Manifest => "manifest",
            FileClass::Log => "log",
            FileClass::Table => "table",
            FileClass::Dictionary => "dictionary",
            FileClass::Blob => "values",
        }
    }
}

/// A part of a file that is written and checked as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// What it is; parts of one name are alike and can be taken for one another.
    pub what: &'static str,
    /// Where it lies.
    pub range: Range<usize>,
}

/// The parts of a file, in order. What lies behind the last one is reserved space.
pub fn sections(name: &str, bytes: &[u8]) -> Vec<Section> {
    if bytes.len() < HEADER_BYTES {
        return Vec::new();
    }
    let mut sections = vec![Section { what: "header", range: 0..HEADER_BYTES }];
    match FileClass::of(name) {
        FileClass::Lock | FileClass::Identity | FileClass::Dictionary => {}
        FileClass::Table => sections.extend(blocks(bytes)),
        FileClass::Blob => sections.extend(separated_values(bytes)),
        FileClass::Manifest | FileClass::Log => {
            sections.extend(records(bytes).into_iter().map(|record| record.section()));
        }
    }
    sections
}

fn blocks(bytes: &[u8]) -> Vec<Section> {
    let footer = bytes.len() - FOOTER_BYTES;
    let mut sections = Vec::new();
    let mut at = HEADER_BYTES;
    while at < footer {
        let what = match bytes[at + 2] {
            1 => "data block",
            2 => "index block",
            3 => "filter block",
            6 => "statistics block",
            _ => "properties block",
        };
        let mut stored = [0; 8];
        stored[..6].copy_from_slice(&bytes[at + 8..at + 14]);
        let sections_bytes = usize::from(bytes[at + 5]) * SECTION_ENTRY_BYTES;
        let end = at + BLOCK_HEADER_BYTES + sections_bytes + u64::from_le_bytes(stored) as usize;
        sections.push(Section { what, range: at..end });
        at = end;
    }
    assert_eq!(at, footer, "the blocks of a table fill it");
    sections.push(Section { what: "footer", range: footer..bytes.len() });
    sections
}

/// The records of a file of separated values.
fn separated_values(bytes: &[u8]) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let payload = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().expect("four bytes"));
        let end = at + blob::RECORD_HEADER_BYTES + payload as usize;
        sections.push(Section { what: "value", range: at..end });
        at = end;
    }
    assert_eq!(at, bytes.len(), "the records of a file fill it");
    sections
}

/// A record of a log or manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) range: Range<usize>,
    pub(super) kind: u8,
    pub(super) synced_upto: LogPosition,
    pub(super) payload: Range<usize>,
}

impl Record {
    fn section(&self) -> Section {
        Section { what: if self.kind == 1 { "first record" } else { "record" }, range: self.range.clone() }
    }

    /// The header alone: what tells how far a log was durable.
    pub(super) fn header(&self) -> Range<usize> {
        self.range.start..self.range.start + RECORD_HEADER_BYTES
    }
}

/// The records of a sound file, up to the first place where none begins.
pub(super) fn records(bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = HEADER_BYTES;
    while at + RECORD_HEADER_BYTES <= bytes.len() && bytes[at + 4] != 0 {
        let word = |from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight bytes"));
        let payload_bytes = (word(at) & 0xFFFF_FFFF) as usize;
        let end = at + record_bytes(payload_bytes) as usize;
        if end > bytes.len() {
            break;
        }
        let payload = at + RECORD_HEADER_BYTES..at + RECORD_HEADER_BYTES + payload_bytes;
        let synced_upto = LogPosition::from_raw(word(at + 8));
        records.push(Record { range: at..end, kind: bytes[at + 4], synced_upto, payload });
        at = end;
    }
    records
}
