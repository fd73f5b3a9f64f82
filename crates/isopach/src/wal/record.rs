//! What the payloads of log records hold. Layout: `docs/format.md` §6; the framing around
//! them is the engine's codec.

use isopach_engine::{
    codec::{Corruption, LogPosition, Reader},
    types::{Seqno, UnixUs},
};

/// First record of every segment.
pub(super) const KIND_START: u8 = 1;
/// Carries `synced_upto` and nothing else.
pub(super) const KIND_VOID: u8 = 3;

/// What a record of the caller is. The numbers are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub(crate) enum RecordKind {
    /// Writes that take effect together.
    Batch = 2,
    /// A keyspace created, dropped, renamed, cleared or changed.
    Keyspace = 4,
}

/// A record to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendRecord<'a> {
    /// What it is.
    pub kind: RecordKind,
    /// Number of its first operation.
    pub first_seqno: Seqno,
    /// Number of operations, at least 1.
    pub count: u32,
    /// When it was committed.
    pub time: UnixUs,
    /// Opaque to the log. Together with [`ENTRY_PREFIX_BYTES`] at most 2^32 - 1 bytes.
    pub body: &'a [u8],
}

/// Bytes before the body in the payload of a record of the caller.
pub(crate) const ENTRY_PREFIX_BYTES: usize = 24;

/// What a segment's first record says.
///
/// | bytes  | field                                                                     |
/// |--------|---------------------------------------------------------------------------|
/// | 0..4   | number of this segment                                                    |
/// | 4..8   | zero                                                                      |
/// | 8..16  | where the log before this segment ends, as a log position; 0 = nothing    |
/// | 16..24 | timeline                                                                  |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Start {
    /// Says that the file lies under its own name.
    pub(super) number: u32,
    /// Names the segment before this one; what lies in it at or behind this position is not log.
    pub(super) previous_end: LogPosition,
    /// Which history of the database this is.
    pub(super) timeline: u64,
}

impl Start {
    /// Size of the encoding.
    pub(super) const ENCODED_BYTES: usize = 24;

    /// Encodes the payload; [`Start::decode`] is its inverse.
    pub(super) fn encode(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.previous_end.to_raw().to_le_bytes());
        bytes[16..].copy_from_slice(&self.timeline.to_le_bytes());
        bytes
    }

    fn decode(payload: &[u8]) -> Result<Start, Corruption> {
        let mut fields = Reader::new(payload);
        let number = fields.u32()?;
        let zero = fields.u32()?;
        let previous_end = LogPosition::from_raw(fields.u64()?);
        let timeline = fields.u64()?;
        fields.finish()?;
        if zero != 0 || previous_end.file >= number {
            return Err(Corruption("the first record of a segment names no segment before it"));
        }
        Ok(Start { number, previous_end, timeline })
    }
}

/// What the payload of a record of the caller begins with.
///
/// | bytes  | field                                     |
/// |--------|-------------------------------------------|
/// | 0..8   | seqno of the first operation              |
/// | 8..12  | number of operations, not 0               |
/// | 12..16 | zero                                      |
/// | 16..24 | commit time, microseconds since 1970 UTC  |
/// | 24..   | body                                      |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) kind: RecordKind,
    pub(super) first_seqno: Seqno,
    pub(super) last_seqno: Seqno,
    pub(super) count: u32,
    pub(super) time: UnixUs,
}

impl AppendRecord<'_> {
    /// Seqno of the last operation.
    ///
    /// # Panics
    ///
    /// If there are no operations, or their numbers exceed [`Seqno::MAX`]: the caller excludes both.
    pub(crate) fn last_seqno(&self) -> Seqno {
        last_seqno(self.first_seqno, self.count).expect("a record has operations with numbers")
    }

    /// What the payload begins with; the body follows.
    pub(super) fn prefix(&self) -> [u8; ENTRY_PREFIX_BYTES] {
        let mut prefix = [0; ENTRY_PREFIX_BYTES];
        prefix[..8].copy_from_slice(&self.first_seqno.raw().to_le_bytes());
        prefix[8..12].copy_from_slice(&self.count.to_le_bytes());
        prefix[16..].copy_from_slice(&self.time.0.to_le_bytes());
        prefix
    }

    /// The payload.
    pub(super) fn encode(&self) -> Vec<u8> {
        [&self.prefix()[..], self.body].concat()
    }
}

impl Entry {
    fn decode(kind: RecordKind, payload: &[u8]) -> Result<Entry, Corruption> {
        let mut fields = Reader::new(payload);
        let first_seqno = Seqno::from_raw(fields.u64()?).ok_or(Corruption("a seqno exceeds the maximum"))?;
        let count = fields.u32()?;
        let zero = fields.u32()?;
        let time = UnixUs(fields.u64()?);
        if zero != 0 {
            return Err(Corruption("reserved bytes of a log record are in use"));
        }
        let last_seqno = last_seqno(first_seqno, count)
            .ok_or(Corruption("a log record has no operations, or too many"))?;
        Ok(Entry { kind, first_seqno, last_seqno, count, time })
    }
}

/// Number of the last of `count` operations, if there are any and all have numbers.
pub(super) fn last_seqno(first: Seqno, count: u32) -> Option<Seqno> {
    first.checked_add(u64::from(count.checked_sub(1)?))
}

/// A record that passed its checksum, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    Start(Start),
    Entry(Entry),
    Void,
}

impl Meaning {
    /// Decodes a payload. What fails here was written so: it is no torn write, wherever it lies.
    pub(super) fn decode(kind: u8, payload: &[u8]) -> Result<Meaning, Corruption> {
        const BATCH: u8 = RecordKind::Batch as u8;
        const KEYSPACE: u8 = RecordKind::Keyspace as u8;
        match kind {
            KIND_START => Start::decode(payload).map(Meaning::Start),
            BATCH => Entry::decode(RecordKind::Batch, payload).map(Meaning::Entry),
            KEYSPACE => Entry::decode(RecordKind::Keyspace, payload).map(Meaning::Entry),
            KIND_VOID => Ok(Meaning::Void),
            _ => Err(Corruption("a log record is of an unknown kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes below are the worked example of `docs/format.md`: change both or neither.
    #[test]
    fn a_start_encodes_as_documented() {
        let start =
            Start { number: 7, previous_end: LogPosition { file: 5, offset: 0x1000 }, timeline: 0x0102 };
        let golden = [
            7, 0, 0, 0, 0, 0, 0, 0, // number, zero
            0, 2, 0, 0, 5, 0, 0, 0, // offset 0x1000 / 8, file 5
            2, 1, 0, 0, 0, 0, 0, 0, // timeline
        ];

        assert_eq!(start.encode(), golden);
        assert_eq!(Meaning::decode(KIND_START, &golden), Ok(Meaning::Start(start)));
    }

    #[test]
    fn a_batch_encodes_as_documented() {
        let record = AppendRecord {
            kind: RecordKind::Batch,
            first_seqno: Seqno::from_raw(0x0A0B).unwrap(),
            count: 3,
            time: UnixUs(0x0102_0304_0506),
            body: b"body",
        };
        let golden = [
            0x0B, 0x0A, 0, 0, 0, 0, 0, 0, // first seqno
            3, 0, 0, 0, 0, 0, 0, 0, // count, zero
            6, 5, 4, 3, 2, 1, 0, 0, // time
            b'b', b'o', b'd', b'y',
        ];

        assert_eq!(record.encode(), golden);
        let entry = Entry {
            kind: RecordKind::Batch,
            first_seqno: record.first_seqno,
            last_seqno: Seqno::from_raw(0x0A0D).unwrap(),
            count: 3,
            time: record.time,
        };
        assert_eq!(Meaning::decode(2, &golden), Ok(Meaning::Entry(entry)));
    }

    #[test]
    fn payloads_that_nobody_wrote_are_refused() {
        let start = Start { number: 7, previous_end: LogPosition::START, timeline: 0 }.encode();
        let mut own_successor = start;
        own_successor[12] = 7;
        let record = AppendRecord {
            kind: RecordKind::Batch,
            first_seqno: Seqno::MAX,
            count: 1,
            time: UnixUs(0),
            body: b"",
        };
        let batch = record.encode();
        let changed = |at: usize, byte: u8| {
            let mut bytes = batch.clone();
            bytes[at] = byte;
            bytes
        };

        assert!(Meaning::decode(KIND_START, &start[..23]).is_err());
        assert!(Meaning::decode(KIND_START, &own_successor).is_err());
        assert!(Meaning::decode(2, &batch).is_ok());
        assert!(Meaning::decode(2, &changed(8, 0)).is_err(), "no operations");
        assert!(Meaning::decode(2, &changed(8, 2)).is_err(), "a seqno above the maximum");
        assert!(Meaning::decode(2, &changed(12, 1)).is_err(), "reserved bytes");
        assert!(Meaning::decode(4, &batch[..20]).is_err(), "cut off");
        assert!(Meaning::decode(9, &batch).is_err(), "unknown kind");
    }
}
