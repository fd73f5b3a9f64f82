//! Notes of the manifest: the small things of this layer that edits carry. Layout: `docs/format.md` §7.

use crate::error::{Error, ErrorKind, Result};
use isopach_engine::{
    codec::LogPosition,
    types::{Seqno, TreeId, UnixUs},
    version::Note,
};

/// Log segments below this number are gone or not needed.
pub(crate) const FIRST_SEGMENT: &str = "log.first";
/// How far the log is durable, when the edit that says so was made.
pub(crate) const LOG_SYNCED: &str = "log.synced";
/// Where the log ends, its last number and time, after a clean close; empty while open.
pub(crate) const CLEAN_END: &str = "log.clean_end";
/// The commit that this copy was made at; empty once it was opened for writing: a history of its own begins
/// then.
pub(crate) const CHECKPOINT: &str = "log.checkpoint";
/// Which history of the database the log belongs to, if it is not the first.
pub(crate) const TIMELINE: &str = "log.timeline";
/// The first segment that may belong to [`TIMELINE`]; all from it on do.
pub(crate) const TIMELINE_FROM: &str = "log.timeline_from";
/// From which segment on the log is encrypted, u32; empty or missing: it need not be.
pub(crate) const SEALED_FROM: &str = "log.sealed_from";
/// Numbers above this were never used.
pub(crate) const RESERVED: &str = "seqno.reserved";
/// Where commits end, and when some of them did: see [`CommitEnds`](crate::ends::CommitEnds).
pub(crate) const COMMIT_ENDS: &str = "commits.ends";
/// How far the last pass of a scrub came: see [`scrub`](crate::scrub).
pub(crate) const SCRUB: &str = "scrub.pass";
/// Options of the database that were set.
pub(crate) const OPTIONS: &str = "db.options";

/// Name of the note that holds this layer's part of a keyspace's options.
pub(crate) fn keyspace_options(id: TreeId) -> String {
    format!("keyspace/{id}")
}

/// What a clean close wrote down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CleanClose {
    pub(crate) end: LogPosition,
    pub(crate) last_used: Seqno,
    pub(crate) last_time: UnixUs,
}

impl CleanClose {
    pub(crate) fn encode(self) -> Vec<u8> {
        [self.end.to_raw(), self.last_used.raw(), self.last_time.0]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// `None` of an empty note: the database was not closed.
    pub(crate) fn decode(note: &[u8]) -> Result<Option<CleanClose>> {
        if note.is_empty() {
            return Ok(None);
        }
        let words: Vec<u64> =
            note.chunks(8).filter_map(|word| word.try_into().ok()).map(u64::from_le_bytes).collect();
        match words[..] {
            [end, last_used, last_time] if note.len() == 24 => Ok(Some(CleanClose {
                end: LogPosition::from_raw(end),
                last_used: Seqno::from_raw(last_used).ok_or_else(|| bad_note(CLEAN_END))?,
                last_time: UnixUs(last_time),
            })),
            _ => Err(bad_note(CLEAN_END)),
        }
    }
}

/// The note [`SEALED_FROM`] of a log that is encrypted from this segment on.
pub(crate) fn sealed_from(segment: u32) -> Note {
    Note::new(SEALED_FROM, segment.to_le_bytes())
}

/// Decodes [`FIRST_SEGMENT`]; without it the first segment ever is the first live one.
pub(crate) fn first_segment(note: Option<&[u8]>) -> Result<u32> {
    match note {
        None => Ok(1),
        Some(note) => note.try_into().map(u32::from_le_bytes).map_err(|_| bad_note(FIRST_SEGMENT)),
    }
}

/// The error of a note that is not what its owner writes.
pub(crate) fn bad_note(name: &str) -> Error {
    Error::new(ErrorKind::Corruption, format!("note {name:?} of the manifest cannot be read"))
}
