//! Giving the records of a recovered log to the layer above, in pieces that can be read beside each other.

use super::{
    read::Piece,
    record::{ENTRY_PREFIX_BYTES, Meaning, RecordKind, last_seqno},
    recover::{Recovered, RecoveredSegment, read_error},
    segment::segment_name,
};
use isopach_engine::{
    codec::{FileCodec, LogPosition, RecordReader, Step},
    error::{Error, Result},
    types::{Seqno, UnixUs},
};
use isopach_env::{Fs, OpenMode};
use std::ops::Range;

/// A record of the log, verified.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub(crate) struct LogRecord<'a> {
    /// Where it begins.
    pub position: LogPosition,
    /// What it is.
    pub kind: RecordKind,
    /// Number of its first operation.
    pub first_seqno: Seqno,
    /// Number of operations, at least 1.
    pub count: u32,
    /// When it was committed.
    #[cfg_attr(not(test), expect(dead_code, reason = "for who computes expiry; nobody does yet"))]
    pub time: UnixUs,
    /// All that its checksum covers: what the log says of it, then what was given to the log.
    pub(super) payload: &'a [u8],
    /// Where the next record of the segment begins.
    pub(super) end: u64,
}

impl<'a> LogRecord<'a> {
    /// What was given to the log.
    pub(crate) fn body(&self) -> &'a [u8] {
        &self.payload[ENTRY_PREFIX_BYTES..]
    }

    /// Number of its last operation.
    pub(crate) fn last_seqno(&self) -> Seqno {
        last_seqno(self.first_seqno, self.count).expect("a verified record has operations with numbers")
    }

    /// The file it lies in, relative to the root.
    pub(crate) fn file_name(&self) -> String {
        segment_name(self.position.file)
    }

    /// Where the next record of the segment begins.
    pub(super) fn end(&self) -> LogPosition {
        LogPosition { offset: self.end, ..self.position }
    }
}

/// A part of a log: whole records of one segment, one behind the other.
#[derive(Clone, Debug)]
pub(crate) struct LogPiece {
    number: u32,
    codec: FileCodec,
    piece: Piece,
}

impl Recovered {
    /// All records of the caller, in the order of the log.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = LogPiece> + '_ {
        self.segments.iter().flat_map(|RecoveredSegment { number, codec, pieces, .. }| {
            pieces.iter().map(|&piece| LogPiece { number: *number, codec: codec.clone(), piece })
        })
    }
}

impl LogPiece {
    /// Its length.
    pub(crate) fn bytes(&self) -> u64 {
        self.piece.end - self.piece.from
    }

    /// Bound of the memory that its operations take in memtables, if its records are sound.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.piece.memory_bytes
    }

    /// Whether there are records of keyspaces in it.
    pub(crate) fn changes_keyspaces(&self) -> bool {
        self.piece.changes_keyspaces
    }

    /// Gives every record of the caller to `each`, in the order of the log. One is in memory at a time.
    ///
    /// Before the registry removes files that [`Wal::start`](super::Wal::start) gave up. Writes nothing.
    ///
    /// # Errors
    ///
    /// What `each` returns; and the segments must be as they were when they were recovered.
    pub(crate) fn read(&self, fs: &dyn Fs, each: &mut dyn FnMut(LogRecord<'_>) -> Result<()>) -> Result<()> {
        read_records(fs, self.number, &self.codec, self.piece.from..self.piece.end, each)
    }
}

/// Gives the records of a part of a segment.
pub(super) fn read_records(
    fs: &dyn Fs,
    number: u32,
    codec: &FileCodec,
    part: Range<u64>,
    each: &mut dyn FnMut(LogRecord<'_>) -> Result<()>,
) -> Result<()> {
    let name = segment_name(number);
    let file = fs.open(&name, OpenMode::Read).map_err(read_error(number))?;
    let mut reader = RecordReader::new(file, codec.clone(), part.start, part.end);
    loop {
        let (offset, end, kind, payload) = match reader.step().map_err(read_error(number))? {
            Step::Record { offset, end, kind, payload, .. } => (offset, end, kind, payload),
            Step::Invalid { offset, why } | Step::Altered { offset, why } => {
                return Err(Error::corrupt(name, offset, why));
            }
            Step::End => return Ok(()),
        };
        let meaning =
            Meaning::decode(kind, payload).map_err(|why| Error::corrupt(name.clone(), offset, why))?;
        if let Meaning::Entry(entry) = meaning {
            each(LogRecord {
                position: LogPosition { file: number, offset },
                kind: entry.kind,
                first_seqno: entry.first_seqno,
                count: entry.count,
                time: entry.time,
                payload,
                end,
            })?;
        }
    }
}
