//! Reading one segment to find its end: what its records say together, and where it can be cut into pieces
//! that are read by themselves. Knows nothing of other segments; [`recover`](super::recover) puts them
//! together.

use super::{
    record::{Entry, Meaning, RecordKind},
    segment::data_at,
};
use crate::ends::CommitEnds;
use isopach_engine::{
    codec::{Corruption, FileCodec, LogPosition, RECORD_ALIGN, RecordReader, Step},
    types::Seqno,
};
use isopach_env::{File, IoResult};
use std::{ops::Range, sync::Arc};

/// A piece is cut when its operations take about this much memory.
const PIECE_BYTES: u64 = 1 << 20;

/// What an operation takes in a memtable beside its key and its value, at most.
const OPERATION_BYTES: u64 = 64;

/// A segment that is to be read.
#[derive(Clone)]
pub(super) struct Unread {
    pub(super) number: u32,
    pub(super) file: Arc<dyn File>,
    pub(super) codec: FileCodec,
    /// Where the log leaves it, if another segment or the manifest says so.
    pub(super) named_limit: Option<u64>,
    /// Size of the file.
    pub(super) bytes: u64,
}

/// What was read of a segment, up to the first invalid record.
pub(super) struct Content {
    /// Behind the last valid record.
    pub(super) limit: u64,
    /// Why it ends there, if not because the segment does.
    pub(super) stopped: Option<&'static str>,
    /// The greatest position that its records say was durable.
    pub(super) durable: LogPosition,
    /// First and last operation.
    pub(super) seqnos: Option<(Seqno, Seqno)>,
    /// Where its commits end, and when. Nothing is known of those before.
    pub(super) ends: CommitEnds,
    /// Records of the caller.
    pub(super) records: u64,
    /// Their length, headers and padding included.
    pub(super) bytes: u64,
    /// Where they lie.
    pub(super) pieces: Vec<Piece>,
}

/// A part of a segment: whole records, one behind the other, at least one of them of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub(super) from: u64,
    /// Where the last record ends.
    pub(super) end: u64,
    /// Bound of what its operations take in memtables, if its records are sound.
    pub(super) memory_bytes: u64,
    /// Whether records of keyspaces are among them.
    pub(super) changes_keyspaces: bool,
}

impl Unread {
    /// Where to stop, at the latest.
    pub(super) fn end(&self) -> u64 {
        self.named_limit.map_or(self.bytes, |limit| limit.min(self.bytes))
    }

    /// Bytes behind the first record, at most.
    pub(super) fn record_bytes(&self) -> u64 {
        self.end().saturating_sub(data_at(&self.codec))
    }

    /// Reads every record; numbers must be above `after`.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub(super) fn read(&self, after: Seqno) -> IoResult<Content> {
        let mut content = Content {
            limit: data_at(&self.codec),
            stopped: None,
            durable: LogPosition::START,
            seqnos: None,
            ends: CommitEnds::unknown(),
            records: 0,
            bytes: 0,
            pieces: Vec::new(),
        };
        let mut last_seqno = after;
        let (file, codec) = (Arc::clone(&self.file), self.codec.clone());
        let mut reader = RecordReader::new(file, codec, data_at(&self.codec), self.end());
        loop {
            match reader.step()? {
                Step::Record { offset, kind, synced_upto, payload, .. } => {
                    content.durable = content.durable.max(synced_upto);
                    let (meaning, payload_bytes) =
                        (entry_of(kind, payload, last_seqno), payload.len() as u64);
                    match meaning {
                        Ok(None) => {}
                        Ok(Some(entry)) => {
                            last_seqno = entry.last_seqno;
                            content.note(entry, offset..reader.offset(), payload_bytes);
                        }
                        // Sound bytes that mean nothing were written so: damage wherever they lie.
                        Err(why) => return Ok(content.stopped_by(self.number, offset, why)),
                    }
                    content.limit = reader.offset();
                }
                // As little as bytes that somebody else has sealed.
                Step::Altered { offset, why } => return Ok(content.stopped_by(self.number, offset, why)),
                Step::Invalid { why, .. } => {
                    content.stopped = Some(why.0);
                    return Ok(content);
                }
                Step::End => {
                    if self.named_limit.is_some_and(|limit| limit > self.bytes) {
                        content.stopped = Some("the file ends before the log leaves it");
                    }
                    return Ok(content);
                }
            }
        }
    }
}

/// What a record of the caller says, if it is one.
fn entry_of(kind: u8, payload: &[u8], last_seqno: Seqno) -> Result<Option<Entry>, Corruption> {
    match Meaning::decode(kind, payload)? {
        Meaning::Entry(entry) if entry.first_seqno <= last_seqno => {
            Err(Corruption("a log record repeats a seqno of an earlier one"))
        }
        Meaning::Entry(entry) => Ok(Some(entry)),
        Meaning::Void => Ok(None),
        Meaning::Start(_) => Err(Corruption("a segment begins inside of another")),
    }
}

impl Content {
    /// What was read up to a damage that is no torn end, wherever it lies.
    fn stopped_by(mut self, number: u32, offset: u64, why: Corruption) -> Content {
        let behind = LogPosition { file: number, offset: offset + RECORD_ALIGN };
        self.durable = self.durable.max(behind);
        self.stopped = Some(why.0);
        self
    }

    fn note(&mut self, entry: Entry, at: Range<u64>, payload_bytes: u64) {
        let first = self.seqnos.map_or(entry.first_seqno, |(first, _)| first);
        self.seqnos = Some((first, entry.last_seqno));
        self.ends.note(entry.last_seqno, entry.time);
        self.records += 1;
        self.bytes += at.end - at.start;

        if self.pieces.last().is_none_or(|piece| piece.memory_bytes >= PIECE_BYTES) {
            let (from, end) = (at.start, at.start);
            self.pieces.push(Piece { from, end, memory_bytes: 0, changes_keyspaces: false });
        }
        let piece = self.pieces.last_mut().expect("there is one");
        piece.end = at.end;
        piece.memory_bytes += payload_bytes + u64::from(entry.count) * OPERATION_BYTES;
        piece.changes_keyspaces |= entry.kind == RecordKind::Keyspace;
    }
}
