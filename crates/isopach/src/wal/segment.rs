//! Segment files: their names, what they begin with, and what is found when one is opened.

use super::record::{KIND_START, Meaning, Start};
use isopach_engine::{
    codec::{
        FORMAT_VERSION, FileCodec, FileHeader, FileKind, HEADER_BYTES, HeaderError, Keyring, LogPosition,
        Owner, RECORD_HEADER_BYTES, Record, RecordReader, Salt, Seal, Step, TAG_BYTES, encode_record,
        record_bytes, salt_of_records,
    },
    error::{Error, ErrorKind, Result},
    types::Uuid,
};
use isopach_env::{File, Fs, IoResult, OpenMode};
use std::sync::Arc;

/// Directory of the segments, relative to the root.
pub(super) const WAL_DIR: &str = "wal";

/// Where a segment's first record lies.
pub(super) const START_AT: u64 = HEADER_BYTES as u64;

/// Where the records behind the first one begin in a segment that is framed so.
pub(super) fn data_at(codec: &FileCodec) -> u64 {
    START_AT + codec.record_bytes(Start::ENCODED_BYTES)
}

/// Where they begin at the latest.
const LAST_DATA_AT: u64 = START_AT + record_bytes(Start::ENCODED_BYTES + TAG_BYTES);

/// Bytes that are looked at in one go for what is not zero.
const WINDOW_BYTES: u64 = 256 * 1024;

/// Name of a segment, relative to the root.
pub(crate) fn segment_name(number: u32) -> String {
    format!("{WAL_DIR}/{number:06}.wal")
}

fn parse_number(file_name: &str) -> Option<u32> {
    let number = file_name.strip_suffix(".wal")?.parse().ok().filter(|&number| number > 0)?;
    // One number has one name: `+1.wal` and `1.wal` are not ours.
    (segment_name(number).strip_prefix(WAL_DIR)?.strip_prefix('/')? == file_name).then_some(number)
}

/// Numbers of the segments that are there, ascending. Other names are left alone.
pub(super) fn list(fs: &dyn Fs) -> Result<Vec<u32>> {
    let entries = fs.list(WAL_DIR).map_err(|error| Error::io(error, "list", WAL_DIR))?;
    let names = entries.iter().filter(|entry| !entry.is_dir);
    let mut numbers: Vec<u32> = names.filter_map(|entry| parse_number(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Names of everything else that is there, relative to the root.
pub(super) fn list_foreign(fs: &dyn Fs) -> Result<Vec<String>> {
    let entries = fs.list(WAL_DIR).map_err(|error| Error::io(error, "list", WAL_DIR))?;
    let foreign = entries.iter().filter(|entry| entry.is_dir || parse_number(&entry.name).is_none());
    let mut names: Vec<String> = foreign.map(|entry| format!("{WAL_DIR}/{}", entry.name)).collect();
    names.sort_unstable();
    Ok(names)
}

/// What a file begins with that was made ready: a header, and nothing where its first record will be.
pub(super) fn encode_blank(header: &FileHeader) -> [u8; LAST_DATA_AT as usize] {
    let mut blank = [0; LAST_DATA_AT as usize];
    blank[..HEADER_BYTES].copy_from_slice(&header.encode());
    blank
}

/// Whether a segment's file was a segment before: then what lies behind its records are not zeros but records of
/// former lives. The lowest bit of its uuid's first byte says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// It was created for this segment.
    First,
    /// It was recycled.
    Later,
}

impl Life {
    fn of(uuid: Uuid) -> Life {
        if uuid.0[0] & 1 == 0 { Life::First } else { Life::Later }
    }

    /// The uuid that says so, of one that was drawn.
    pub(super) fn mark(self, mut uuid: Uuid) -> Uuid {
        uuid.0[0] = (uuid.0[0] & !1) | u8::from(self == Life::Later);
        uuid
    }
}

/// The first record of a segment, which lies at [`START_AT`].
pub(super) fn encode_start(out: &mut Vec<u8>, codec: &FileCodec, start: Start, synced_upto: LogPosition) {
    encode_record(out, codec, START_AT, Record { kind: KIND_START, synced_upto, payload: &start.encode() });
}

/// Says whether the keys of all segments from `first_live` on are there, before anything is touched.
///
/// # Errors
///
/// `MissingKey`, `WrongKey`, naming the segment. What cannot be read is told when it is needed.
pub(crate) fn check_keys(fs: &dyn Fs, keys: &Keyring, first_live: u32) -> Result<()> {
    for (number, header, _) in begun_segments(fs, first_live) {
        let sound = header.seal.map_or(Ok(()), |seal| keys.check(&seal, header.database));
        sound.map_err(|error| error.in_file(segment_name(number)))?;
    }
    Ok(())
}

/// How each segment from `first_live` on is sealed, and its size. Those that were freed, or made ready and not begun, need
/// no key.
pub(crate) fn seals_in_use(fs: &dyn Fs, first_live: u32) -> Vec<(Option<Seal>, u64)> {
    begun_segments(fs, first_live).map(|(_, header, bytes)| (header.seal, bytes)).collect()
}

/// Number, header and size of each segment from `first_live` on that has them, and something where its first record
/// is to be.
fn begun_segments(fs: &dyn Fs, first_live: u32) -> impl Iterator<Item = (u32, FileHeader, u64)> + '_ {
    let numbers = list(fs).unwrap_or_default().into_iter().filter(move |&number| number >= first_live);
    numbers.filter_map(|number| {
        let file = fs.open(&segment_name(number), OpenMode::Read).ok()?;
        let bytes = file.size_bytes().ok()?;
        let header = read_header(&*file, bytes).ok()?.ok()?.ok()?;
        (!is_blank(&*file).ok()?).then_some((number, header, bytes))
    })
}

/// Whether nothing is where the first record is to be: the segment was made ready, and did not begin.
fn is_blank(file: &dyn File) -> IoResult<bool> {
    let mut record = [0; RECORD_HEADER_BYTES];
    file.read_at(START_AT, &mut record)?;
    Ok(record == [0; RECORD_HEADER_BYTES])
}

/// The size of a file that can be nothing but a segment of this database: its header says so, or it was created and a crash
/// came before its header, or into the header of another life, which names the same database. `None` of others. Needs no
/// key.
pub(super) fn size_if_surely_ours(fs: &dyn Fs, number: u32, database: Uuid) -> IoResult<Option<u64>> {
    let file = fs.open(&segment_name(number), OpenMode::Read)?;
    let bytes = file.size_bytes()?;
    let is_ours = match read_header(&*file, bytes)? {
        Ok(Ok(header)) => header.kind == FileKind::Log && header.database == database,
        Ok(Err(_)) => false,
        Err(_) => {
            let mut header = [0; HEADER_BYTES];
            file.read_at(0, &mut header)?;
            header == [0; HEADER_BYTES] || header[24..40] == database.0
        }
    };
    Ok(is_ours.then_some(bytes))
}

/// A segment file that was opened.
pub(super) struct Found {
    pub(super) number: u32,
    pub(super) file: Arc<dyn File>,
    pub(super) bytes: u64,
    /// What its header says; [`Life::First`] without one.
    pub(super) life: Life,
    pub(super) opening: Opening,
}

/// What a segment begins with.
pub(super) enum Opening {
    /// A header and a first record.
    Started { codec: FileCodec, start: Start, synced_upto: LogPosition },
    /// A header of this database, but no valid first record: a crash came before it, or it is damaged.
    NotStarted { salt: Salt, why: &'static str },
    /// No header. The salt is that of records behind it, if there are any: then a header was lost.
    NoHeader { salt: Option<Salt>, why: &'static str },
}

impl Found {
    /// Opens a segment and reads what it begins with.
    ///
    /// # Errors
    ///
    /// `MixedStore`: the file belongs to another database, or is not a log. `UnsupportedFormat`: it is of
    /// another version. What is merely damaged is no error here: whether it may be depends on where the log
    /// ends.
    pub(super) fn open(fs: &dyn Fs, number: u32, owner: &Owner) -> Result<Found> {
        let name = segment_name(number);
        let failed = |error| Error::io(error, "read", name.clone());
        let file = fs.open(&name, OpenMode::Read).map_err(failed)?;
        let bytes = file.size_bytes().map_err(failed)?;
        let (life, opening) = match read_header(&*file, bytes).map_err(failed)? {
            Err(why) => {
                (Life::First, Opening::NoHeader { salt: find_salt(&file, bytes).map_err(failed)?, why })
            }
            Ok(Err(error)) => return Err(refuse(error, &name)),
            Ok(Ok(header)) if header.kind != FileKind::Log || header.database != owner.database => {
                let why = "the file belongs to another database";
                return Err(Error::new(ErrorKind::MixedStore, why).in_file(name));
            }
            Ok(Ok(header)) => {
                let life = Life::of(header.file);
                let opening = if is_blank(&*file).map_err(failed)? {
                    let why = "nothing follows the header"; // No key is needed to see that.
                    not_started(&file, bytes, Salt::of(header.file), life, why)
                } else {
                    read_start(&file, bytes, owner.codec(&header, &name)?, life, number)
                };
                (life, opening.map_err(failed)?)
            }
        };
        Ok(Found { number, file, bytes, life, opening })
    }

    /// The salt of its records, if it is known.
    pub(super) fn salt(&self) -> Option<Salt> {
        match self.opening {
            Opening::Started { ref codec, .. } => Some(codec.salt),
            Opening::NotStarted { salt, .. } => Some(salt),
            Opening::NoHeader { salt, .. } => salt,
        }
    }
}

/// The header, or why there is none: the inner error is of a header that was written so.
fn read_header(
    file: &dyn File,
    bytes: u64,
) -> IoResult<Result<Result<FileHeader, HeaderError>, &'static str>> {
    if bytes < START_AT {
        return Ok(Err("the file is shorter than a header"));
    }
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(0, &mut header)?;
    Ok(match FileHeader::decode(&header) {
        Err(HeaderError::Foreign) => Err("the file has no header"),
        Err(HeaderError::Corrupt(why)) => Err(why.0),
        decoded => Ok(decoded),
    })
}

fn refuse(error: HeaderError, name: &str) -> Error {
    let refused = match error {
        HeaderError::Version(version) => {
            let message =
                format!("format version {version:#06x}; this program reads {FORMAT_VERSION:#06x} only");
            Error::new(ErrorKind::UnsupportedFormat, message)
        }
        _ => {
            let message = "protected by parity, or sealed with a cipher, that this program does not know";
            Error::new(ErrorKind::UnsupportedFeature, message)
        }
    };
    refused.in_file(name)
}

fn read_start(
    file: &Arc<dyn File>,
    bytes: u64,
    codec: FileCodec,
    life: Life,
    number: u32,
) -> IoResult<Opening> {
    let salt = codec.salt;
    let mut reader = RecordReader::new(Arc::clone(file), codec.clone(), START_AT, bytes.min(data_at(&codec)));
    let why = match reader.step()? {
        Step::Record { kind, synced_upto, payload, .. } => match Meaning::decode(kind, payload) {
            // A stale copy of an older segment has a header and a first record too, with another number.
            Ok(Meaning::Start(start)) if start.number == number => {
                return Ok(Opening::Started { codec, start, synced_upto });
            }
            _ => "the first record is not this segment's",
        },
        Step::Invalid { why, .. } | Step::Altered { why, .. } => why.0,
        Step::End => "the file ends behind its header",
    };
    not_started(file, bytes, salt, life, why)
}

/// Of a segment whose header names this salt.
fn not_started(
    file: &Arc<dyn File>,
    bytes: u64,
    salt: Salt,
    life: Life,
    why: &'static str,
) -> IoResult<Opening> {
    let salt = match life {
        Life::First => find_salt(file, bytes)?.unwrap_or(salt), // The header may be the wrong one.
        Life::Later => salt,                                    // Records of a former life would be found.
    };
    Ok(Opening::NotStarted { salt, why })
}

/// The salt of records that lie in the file, whatever its header says: how far the log was durable is to be
/// learnt from them.
fn find_salt(file: &Arc<dyn File>, bytes: u64) -> IoResult<Option<Salt>> {
    match used_bytes(&**file, START_AT.min(bytes), bytes)? {
        None => Ok(None),
        Some(_) => salt_of_records(Arc::clone(file), START_AT, bytes),
    }
}

/// End of the last byte in `from..end` that is not zero.
pub(super) fn used_bytes(file: &dyn File, from: u64, end: u64) -> IoResult<Option<u64>> {
    let mut window = Vec::new();
    let mut end = end;
    while end > from {
        let start = from.max(end.saturating_sub(WINDOW_BYTES));
        window.resize(usize::try_from(end - start).expect("at most a window"), 0);
        file.read_exact_at(start, &mut window)?;
        if let Some(last) = last_used(&window) {
            return Ok(Some(start + last as u64 + 1));
        }
        end = start;
    }
    Ok(None)
}

/// Where the last byte lies that is not zero. Lines are looked at as a whole: what is reserved behind a log
/// is megabytes of zeros.
fn last_used(window: &[u8]) -> Option<usize> {
    const LINE_BYTES: usize = 1024;
    let is_used = |line: &[u8]| line.iter().fold(0, |all, byte| all | byte) != 0;
    let zeros = window.rchunks(LINE_BYTES).take_while(|line| !is_used(line)).map(<[u8]>::len).sum::<usize>();
    window[..window.len() - zeros].iter().rposition(|&byte| byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::record::{AppendRecord, RecordKind};
    use isopach_engine::types::{Seqno, UnixUs};

    #[test]
    fn one_number_has_one_name() {
        assert_eq!(segment_name(17), "wal/000017.wal");
        assert_eq!(segment_name(12_345_678), "wal/12345678.wal");
        for (name, number) in [
            ("000017.wal", Some(17)),
            ("12345678.wal", Some(12_345_678)),
            ("17.wal", None),
            ("+00017.wal", None),
            ("000000.wal", None),
            ("000017.log", None),
            ("99999999999.wal", None),
        ] {
            assert_eq!(parse_number(name), number, "{name}");
        }
    }

    /// `testdata/segment.hex` is the worked example of `docs/format.md`: change both or neither.
    #[test]
    fn a_segment_with_a_batch_is_encoded_as_documented() {
        let (file, database) = (Uuid([0x11; 16]), Uuid([0x22; 16]));
        let synced_upto = LogPosition { file: 1, offset: 120 };
        let start = Start { number: 2, previous_end: synced_upto, timeline: 0 };
        let batch = AppendRecord {
            kind: RecordKind::Batch,
            first_seqno: Seqno::from_raw(0x0A0B).unwrap(),
            count: 3,
            time: UnixUs(0x0102_0304_0506),
            body: b"body",
        };
        let mut bytes = FileHeader::clear(FileKind::Log, file, database).encode().to_vec();
        let codec = FileCodec::clear(file);

        encode_start(&mut bytes, &codec, start, synced_upto);
        let record = Record { kind: RecordKind::Batch as u8, synced_upto, payload: &batch.encode() };
        encode_record(&mut bytes, &codec, data_at(&codec), record);

        assert_eq!(data_at(&codec), 120);
        assert_eq!(hex(&bytes), include_str!("testdata/segment.hex").replace(char::is_whitespace, ""));
    }

    #[test]
    fn the_last_used_byte_is_found_wherever_it_lies() {
        for len in [0, 1, 1023, 1024, 1025, 5000] {
            assert_eq!(last_used(&vec![0; len]), None, "{len} zeros");
            for at in (0..len).step_by(97).chain(len.checked_sub(1)) {
                let mut bytes = vec![0; len];
                bytes[at / 2] = 7;
                bytes[at] = 1;
                assert_eq!(last_used(&bytes), Some(at), "of {len}");
            }
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
