//! Records of log segments and manifests, and the search behind a log's end. Layout: `docs/format.md` §3.

use super::{
    Corruption,
    checksum::{Checksum, Salt},
    protect::FileCodec,
};
use alloc::{sync::Arc, vec, vec::Vec};
use core::fmt;
use isopach_env::{File, IoResult};

/// Size of a record's header.
pub const RECORD_HEADER_BYTES: usize = 32;

/// Records begin at multiples of this.
pub const RECORD_ALIGN: u64 = 8;

/// Bytes that are read at once while looking for records.
const WINDOW_BYTES: usize = 256 * 1024;

/// A place in a log: which file, and the offset in it. Ordered along the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct LogPosition {
    /// Number of the segment or manifest.
    pub file: u32,
    /// Bytes from its start, a multiple of [`RECORD_ALIGN`] below 32 GiB.
    pub offset: u64,
}

impl LogPosition {
    /// Before every record.
    pub const START: LogPosition = LogPosition { file: 0, offset: 0 };

    /// Eight bytes that are ordered as positions are.
    pub fn to_raw(self) -> u64 {
        debug_assert!(self.offset.is_multiple_of(RECORD_ALIGN) && self.offset >> 35 == 0);
        (u64::from(self.file) << 32) | (self.offset / RECORD_ALIGN)
    }

    /// The inverse of [`LogPosition::to_raw`].
    pub fn from_raw(raw: u64) -> LogPosition {
        let [a, b, c, d, e, f, g, h] = raw.to_le_bytes();
        let offset = u64::from(u32::from_le_bytes([a, b, c, d])) * RECORD_ALIGN;
        LogPosition { file: u32::from_le_bytes([e, f, g, h]), offset }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// A record to be written.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What it is, by its owner's numbering. Never 0, so that zeros are no record.
    pub kind: u8,
    /// The log position known durable when it was written.
    pub synced_upto: LogPosition,
    /// Its content.
    pub payload: &'a [u8],
}

/// Bytes that a record of this payload takes in a file that is not sealed, padding included; in one that is, see
/// [`FileCodec::record_bytes`].
pub const fn record_bytes(payload_bytes: usize) -> u64 {
    (RECORD_HEADER_BYTES as u64 + payload_bytes as u64).next_multiple_of(RECORD_ALIGN)
}

impl FileCodec {
    /// Bytes that a record of this payload takes, padding included.
    pub fn record_bytes(&self, payload_bytes: usize) -> u64 {
        record_bytes(payload_bytes + self.sealing.added_bytes())
    }
}

/// Appends a record to `out`, which will lie at `offset` of the file with this codec.
///
/// | bytes  | field                                                                |
/// |--------|----------------------------------------------------------------------|
/// | 0..4   | payload length                                                       |
/// | 4      | kind, not 0                                                          |
/// | 5..8   | zero                                                                 |
/// | 8..16  | `synced_upto`                                                        |
/// | 16..24 | checksum of the payload, bound to the record's offset                |
/// | 24..28 | zero                                                                 |
/// | 28..32 | low half of the checksum of bytes 0..28, bound to the record's offset|
///
/// The payload follows, sealed if the file is, and zeros up to a multiple of eight, which are checked too.
///
/// # Panics
///
/// If `kind` is 0, `offset` is not aligned or the payload, with its tag, exceeds 2^32 - 1 bytes.
pub fn encode_record(out: &mut Vec<u8>, codec: &FileCodec, offset: u64, record: Record<'_>) {
    encode_record_in_parts(out, codec, offset, Record { payload: &[], ..record }, &[record.payload]);
}

/// As [`encode_record`], of a payload that lies in parts, behind what lies in `record`.
///
/// # Panics
///
/// As [`encode_record`].
pub fn encode_record_in_parts(
    out: &mut Vec<u8>,
    codec: &FileCodec,
    offset: u64,
    record: Record<'_>,
    parts: &[&[u8]],
) {
    assert!(record.kind != 0 && offset.is_multiple_of(RECORD_ALIGN), "a record is of a kind and aligned");
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
    out.extend_from_slice(record.payload);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    let payload_at = start + RECORD_HEADER_BYTES;
    let payload_bytes = out.len() - payload_at + codec.sealing.added_bytes();
    let len = u32::try_from(payload_bytes).expect("a record's payload is bounded by 2^32 - 1 bytes");
    let mut header = [0; RECORD_HEADER_BYTES];
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4] = record.kind;
    header[8..16].copy_from_slice(&record.synced_upto.to_raw().to_le_bytes());
    codec.sealing.seal(out, payload_at, offset + RECORD_HEADER_BYTES as u64, seal_context(&header));
    let checksum = Checksum::of(&out[payload_at..], codec.salt, offset);
    header[16..24].copy_from_slice(&checksum.0.to_le_bytes());
    let check = header_check(&header, codec.salt, offset);
    header[28..].copy_from_slice(&check);
    out[start..start + RECORD_HEADER_BYTES].copy_from_slice(&header);
    out.resize(start + usize::try_from(record_bytes(payload_bytes)).expect("it is in memory"), 0);
}

/// What must be the same when a payload is opened: length, kind and `synced_upto`.
fn seal_context(header: &[u8]) -> &[u8] {
    &header[..16]
}

/// A header that passed its own check: it was written here, whatever became of the payload.
#[derive(Clone, Copy, Debug)]
struct Header {
    payload_bytes: u32,
    kind: u8,
    synced_upto: LogPosition,
    checksum: Checksum,
}

impl Header {
    /// Cheap rejections: of zeros, and of nearly all bytes that are no header.
    fn is_possible(bytes: &[u8; RECORD_HEADER_BYTES]) -> bool {
        // A length, a kind that is not 0, and zeros: one comparison, as every eighth byte of a log is asked.
        let [a, b, c, d, e, f, g, h, ..] = *bytes;
        let first = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        (1 << 32..1 << 40).contains(&first) && bytes[24..28] == [0; 4]
    }

    fn decode(bytes: &[u8], salt: Salt, offset: u64) -> Option<Header> {
        let bytes: &[u8; RECORD_HEADER_BYTES] = bytes.try_into().ok()?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if !Header::is_possible(bytes) {
            return None;
        }
        if header_check(bytes, salt, offset) != bytes[28..] {
            return None;
        }
        Some(Header {
            payload_bytes: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            kind: bytes[4],
            synced_upto: LogPosition::from_raw(word(8)),
            checksum: Checksum(word(16)),
        })
    }
}

fn header_check(header: &[u8; RECORD_HEADER_BYTES], salt: Salt, offset: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = Checksum::of(&header[..28], salt, offset).0.to_le_bytes();
    [a, b, c, d]
}

/// What a reader found. A payload is lent until the next step.
#[derive(Debug)]
pub enum Step<'a> {
    /// A record whose every byte is as it was written.
    Record {
        /// Where it begins.
        offset: u64,
        /// Where the next one begins.
        end: u64,
        /// Its kind.
        kind: u8,
        /// The log position known durable when it was written.
        synced_upto: LogPosition,
        /// Its content.
        payload: &'a [u8],
    },
    /// No valid record begins here.
    Invalid {
        /// Where.
        offset: u64,
        /// Which rule is broken.
        why: Corruption,
    },
    /// A record that passes its checks and was not written by who has the key: it was altered, wherever it lies.
    Altered {
        /// Where.
        offset: u64,
        /// Which rule is broken.
        why: Corruption,
    },
    /// The end of the file, or the limit given.
    End,
}

/// Reads the records of one file in order.
pub struct RecordReader {
    window: Window,
    codec: FileCodec,
    /// The payload of the last record, if records are sealed.
    opened: Vec<u8>,
    offset: u64,
    end: u64,
}

impl RecordReader {
    /// Reads from `offset` up to `end`, both bytes from the start of the file.
    pub fn new(file: Arc<dyn File>, codec: FileCodec, offset: u64, end: u64) -> RecordReader {
        RecordReader { window: Window::new(file, end), codec, opened: Vec::new(), offset, end }
    }

    /// Where the next record begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record. After `Invalid` and `Altered` the same is said again.
    ///
    /// # Errors
    ///
    /// The backend's. Memory for a record is taken only for a length that lies inside the file and whose
    /// header passed its check.
    pub fn step(&mut self) -> IoResult<Step<'_>> {
        let offset = self.offset;
        let left = self.end.saturating_sub(offset);
        if left == 0 {
            return Ok(Step::End);
        }
        let invalid = |why| Ok(Step::Invalid { offset, why: Corruption(why) });
        if left < RECORD_HEADER_BYTES as u64 {
            return invalid("a record is cut off");
        }
        let salt = self.codec.salt;
        let header = Header::decode(self.window.at(offset, RECORD_HEADER_BYTES)?, salt, offset);
        let Some(header) = header else {
            return invalid("no record begins here");
        };
        let bytes = record_bytes(header.payload_bytes as usize);
        if bytes > left {
            return invalid("a record is cut off");
        }
        let record = self.window.at(offset, usize::try_from(bytes).expect("32 bits and a header"))?;
        let (header_bytes, behind) = record.split_at(RECORD_HEADER_BYTES);
        let (mut payload, padding) = behind.split_at(header.payload_bytes as usize);
        if Checksum::of(payload, salt, offset) != header.checksum {
            return invalid("a record fails its checksum");
        }
        if padding.iter().any(|&byte| byte != 0) {
            return invalid("the padding of a record is in use");
        }
        if !self.codec.sealing.is_clear() {
            let mut sealed = core::mem::take(&mut self.opened);
            sealed.clear();
            sealed.extend_from_slice(payload);
            let payload_at = offset + RECORD_HEADER_BYTES as u64;
            match self.codec.sealing.open_behind(sealed, 0, payload_at, seal_context(header_bytes)) {
                Ok(opened) => self.opened = opened,
                Err(why) => return Ok(Step::Altered { offset, why }),
            }
            payload = &self.opened;
        }
        self.offset = offset + bytes;
        Ok(Step::Record {
            offset,
            end: self.offset,
            kind: header.kind,
            synced_upto: header.synced_upto,
            payload,
        })
    }
}

/// What the headers of records say that lie behind the end of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traces {
    /// The greatest `synced_upto`.
    pub synced_upto: LogPosition,
    /// Where the record of the last header ends, or what was searched.
    pub end: u64,
}

/// What the record headers in `from..end` say, at whatever aligned offset they lie; `None` if there are none.
///
/// Costs one pass over the bytes: a header has a check of its own, so payloads are not read as such.
///
/// # Errors
///
/// The backend's.
pub fn traces_of_records(file: Arc<dyn File>, salt: Salt, from: u64, end: u64) -> IoResult<Option<Traces>> {
    let mut window = Window::new(file, end);
    let mut found: Option<Traces> = None;
    let mut offset = from.next_multiple_of(RECORD_ALIGN);
    while offset + RECORD_HEADER_BYTES as u64 <= end {
        let bytes = window.from(offset, RECORD_HEADER_BYTES)?;
        for header in bytes.windows(RECORD_HEADER_BYTES).step_by(RECORD_ALIGN as usize) {
            if let Some(header) = Header::decode(header, salt, offset) {
                let behind = offset + record_bytes(header.payload_bytes as usize);
                let synced_upto = found.map_or(LogPosition::START, |traces| traces.synced_upto);
                let synced_upto = synced_upto.max(header.synced_upto);
                found = Some(Traces { synced_upto, end: behind.min(end) });
            }
            offset += RECORD_ALIGN;
        }
    }
    Ok(found)
}

/// The salt of a file whose header is lost, if any whole record lies in `from..end`: a record's payload has a
/// checksum under any salt, but its header's check holds under the file's own only.
///
/// Costs one pass over the bytes, and as much again of what looks like payloads, three times at most.
///
/// # Errors
///
/// The backend's.
pub fn salt_of_records(file: Arc<dyn File>, from: u64, end: u64) -> IoResult<Option<Salt>> {
    let mut window = Window::new(Arc::clone(&file), end);
    // Bytes that were made to look like long payloads everywhere are not read without end.
    let mut budget = 3 * end.saturating_sub(from);
    let mut offset = from.next_multiple_of(RECORD_ALIGN);
    while offset + RECORD_HEADER_BYTES as u64 <= end {
        let bytes: [u8; RECORD_HEADER_BYTES] =
            window.at(offset, RECORD_HEADER_BYTES)?.try_into().expect("as long as a header");
        let payload_bytes = u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        let payload_at = offset + RECORD_HEADER_BYTES as u64;
        if Header::is_possible(&bytes) && payload_bytes <= (end - payload_at).min(budget) {
            budget -= payload_bytes;
            let mut payload = vec![0; usize::try_from(payload_bytes).expect("as long as the file at most")];
            file.read_exact_at(payload_at, &mut payload)?;
            let checksum = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
            let salt = Salt::under_which(&payload, Checksum(checksum), offset);
            if Header::decode(&bytes, salt, offset).is_some() {
                return Ok(Some(salt));
            }
        }
        offset += RECORD_ALIGN;
    }
    Ok(None)
}

/// A buffer over a part of a file.
struct Window {
    file: Arc<dyn File>,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn new(file: Arc<dyn File>, end: u64) -> Window {
        Window { file, end, start: 0, bytes: Vec::new() }
    }

    /// `len` bytes at `offset`, which lie before the end. More than a window is held only until it is left.
    fn at(&mut self, offset: u64, len: usize) -> IoResult<&[u8]> {
        Ok(&self.from(offset, len)?[..len])
    }

    /// What is held from `offset` on: `len` bytes, which lie before the end, or more.
    fn from(&mut self, offset: u64, len: usize) -> IoResult<&[u8]> {
        debug_assert!(offset + len as u64 <= self.end);
        let inside = offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let wanted = (self.end - offset).min(len.max(WINDOW_BYTES) as u64);
            self.bytes.resize(usize::try_from(wanted).expect("at most a window, or what was asked for"), 0);
            self.bytes.shrink_to(WINDOW_BYTES);
            self.start = offset;
            if let Err(error) = self.file.read_exact_at(offset, &mut self.bytes) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let at = usize::try_from(offset - self.start).expect("inside the window");
        Ok(&self.bytes[at..])
    }
}
