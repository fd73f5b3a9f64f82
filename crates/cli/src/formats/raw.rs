//! `raw`: keyspaces in frames, byte for byte. What `dump --output raw` writes.
//!
//! Eight bytes `ISOPDMP1`, then frames one behind the other. Numbers are little-endian.
//!
//! | bytes         | field                                                          |
//! |---------------|----------------------------------------------------------------|
//! | 0             | kind: 1 keyspace, 2 entry, 3 end                               |
//! | 1..5          | `k`, the length of the key; of an entry at most 65,535         |
//! | 5..9          | `v`, the length of the value                                   |
//! | 9..9 + `k`    | the key; of a keyspace its name, of an end nothing             |
//! | ..+ `v`       | the value; of a keyspace nothing, of an end the number of entries, `u64` |
//! | ..+ 4         | low half of XXH3-64 of all bytes of the frame before           |
//!
//! A keyspace stands before its entries; a dump of a single one has none. The end is the last frame, and nothing
//! follows: what was cut off shows.

use super::{MAX_KEY_BYTES, Next, Place, ReadError, Record, Records, Writer};
use isopach::engine::codec::digest;
use std::io::{self, BufRead, Read, Write};

const MAGIC: [u8; 8] = *b"ISOPDMP1";
const KEYSPACE: u8 = 1;
const ENTRY: u8 = 2;
const END: u8 = 3;
/// Bytes of a frame before its key.
const FIXED_BYTES: usize = 9;
const CHECK_BYTES: usize = 4;

/// Writes frames.
pub(super) struct Frames<'a> {
    out: &'a mut dyn Write,
    /// The frame that is put together, in the memory of the one before.
    frame: Vec<u8>,
    entries: u64,
}

impl<'a> Frames<'a> {
    /// Begins a dump.
    pub(super) fn begin(out: &'a mut dyn Write) -> io::Result<Frames<'a>> {
        out.write_all(&MAGIC)?;
        Ok(Frames { out, frame: Vec::new(), entries: 0 })
    }

    fn frame(&mut self, kind: u8, key: &[u8], value: &[u8]) -> io::Result<()> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("bounded by the database").to_le_bytes();
        self.frame.clear();
        self.frame.push(kind);
        for part in [&len(key)[..], &len(value), key, value] {
            self.frame.extend_from_slice(part);
        }
        let check = check_of(&self.frame);
        self.frame.extend_from_slice(&check);
        self.out.write_all(&self.frame)
    }
}

impl Writer for Frames<'_> {
    fn keyspace(&mut self, name: &str) -> io::Result<()> {
        self.frame(KEYSPACE, name.as_bytes(), b"")
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.entries += 1;
        self.frame(ENTRY, key, value)
    }

    fn end(&mut self) -> io::Result<()> {
        self.frame(END, b"", &self.entries.to_le_bytes())
    }
}

/// Reads frames.
pub(super) struct RawRecords<R> {
    input: R,
    frame: Vec<u8>,
    entries: u64,
    read_bytes: u64,
}

impl<R: BufRead> RawRecords<R> {
    pub(super) fn new(input: R) -> RawRecords<R> {
        RawRecords { input, frame: Vec::new(), entries: 0, read_bytes: 0 }
    }

    /// Appends as many bytes to the frame; memory is taken as they come, whatever the length says.
    fn read(&mut self, bytes: u64) -> Result<(), ReadError> {
        let mut part = self.input.by_ref().take(bytes);
        let read = part.read_to_end(&mut self.frame).map_err(ReadError::Io)? as u64;
        self.read_bytes += read;
        match read == bytes {
            true => Ok(()),
            false => Err(self.malformed("the dump ends here, inside a frame or without its end")),
        }
    }

    fn magic(&mut self) -> Result<(), ReadError> {
        let read = self.read(MAGIC.len() as u64);
        if read.is_err() || self.frame != MAGIC {
            return Err(ReadError::Malformed { at: Place::Byte(0), reason: "not a raw dump".to_owned() });
        }
        Ok(())
    }

    /// Reads a frame, its check too; returns where its key ends.
    fn frame(&mut self, at: u64) -> Result<usize, ReadError> {
        self.frame.clear();
        self.read(FIXED_BYTES as u64)?;
        let [_, k0, k1, k2, k3, v0, v1, v2, v3] = *self.frame.first_chunk().expect("as many were read");
        let key_bytes = u32::from_le_bytes([k0, k1, k2, k3]) as usize;
        let value_bytes = u32::from_le_bytes([v0, v1, v2, v3]);
        if key_bytes > MAX_KEY_BYTES {
            return Err(malformed(at, format!("a key of {key_bytes} bytes, more than {MAX_KEY_BYTES}")));
        }
        self.read(key_bytes as u64 + u64::from(value_bytes) + CHECK_BYTES as u64)?;
        let (content, check) = self.frame.split_last_chunk::<CHECK_BYTES>().expect("as many were read");
        if check_of(content) != *check {
            return Err(malformed(at, "the frame that begins here fails its check"));
        }
        self.frame.truncate(self.frame.len() - CHECK_BYTES);
        Ok(FIXED_BYTES + key_bytes)
    }

    fn malformed(&self, reason: &str) -> ReadError {
        malformed(self.read_bytes, reason)
    }
}

impl<R: BufRead> Records for RawRecords<R> {
    fn next(&mut self, record: &mut Record) -> Result<Next, ReadError> {
        if self.read_bytes == 0 {
            self.magic()?;
        }
        let at = self.read_bytes;
        let key_end = self.frame(at)?;
        let (key, value) = (&self.frame[FIXED_BYTES..key_end], &self.frame[key_end..]);
        match self.frame[0] {
            ENTRY => {
                record.key.clear();
                record.key.extend_from_slice(key);
                record.value.clear();
                record.value.extend_from_slice(value);
                self.entries += 1;
                Ok(Next::Record)
            }
            KEYSPACE if value.is_empty() => match str::from_utf8(key) {
                Ok(name) => Ok(Next::Keyspace(name.to_owned())),
                Err(_) => Err(malformed(at, "the name of a keyspace is not UTF-8")),
            },
            END if key.is_empty() && value == self.entries.to_le_bytes() => {
                match self.input.fill_buf().map_err(ReadError::Io)?.is_empty() {
                    true => Ok(Next::End),
                    false => Err(self.malformed("something follows the end of the dump")),
                }
            }
            END => Err(malformed(
                at,
                format!("{} entries came before the end, which counts others", self.entries),
            )),
            kind => Err(malformed(at, format!("a frame of kind {kind}, which this program does not know"))),
        }
    }

    fn read_bytes(&self) -> u64 {
        self.read_bytes
    }
}

fn malformed(at: u64, reason: impl Into<String>) -> ReadError {
    ReadError::Malformed { at: Place::Byte(at), reason: reason.into() }
}

fn check_of(frame: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] = digest(frame).to_le_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that a dump holds: keyspaces as `name:`, entries as `key=value`; or `place: reason` of the error.
    fn read(bytes: &[u8]) -> Result<Vec<String>, String> {
        let mut records = RawRecords::new(bytes);
        let mut record = Record::default();
        let mut all = Vec::new();
        loop {
            match records.next(&mut record) {
                Ok(Next::End) => return Ok(all),
                Ok(Next::Keyspace(name)) => all.push(format!("{name}:")),
                Ok(Next::Record) => {
                    all.push(format!("{}={}", record.key.escape_ascii(), record.value.escape_ascii()));
                }
                Err(ReadError::Malformed { at, reason }) => return Err(format!("{at}: {reason}")),
                Err(ReadError::Io(error)) => panic!("reading from memory failed: {error}"),
            }
        }
    }

    fn dump() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut frames = Frames::begin(&mut bytes).unwrap();
        frames.keyspace("k").unwrap();
        frames.entry(b"a\0", b"").unwrap();
        frames.entry(b"", &[0xFF; 3]).unwrap();
        frames.keyspace("empty").unwrap();
        frames.end().unwrap();
        bytes
    }

    #[test]
    fn frames_are_as_documented() {
        let mut bytes = Vec::new();
        let mut frames = Frames::begin(&mut bytes).unwrap();
        frames.entry(b"key", b"v").unwrap();
        frames.end().unwrap();

        let entry = b"\x02\x03\0\0\0\x01\0\0\0keyv";
        let end = b"\x03\0\0\0\0\x08\0\0\0\x01\0\0\0\0\0\0\0";
        let check = |frame: &[u8]| digest(frame).to_le_bytes()[..4].to_vec();
        assert_eq!(bytes, [b"ISOPDMP1", &entry[..], &check(entry), end, &check(end)].concat());
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&dump()).unwrap(), ["k:", "a\\x00=", "=\\xff\\xff\\xff", "empty:"]);
    }

    #[test]
    fn a_dump_that_is_cut_anywhere_is_malformed() {
        for len in 0..dump().len() {
            assert!(read(&dump()[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(read(&dump()[..5]).unwrap_err(), "byte 0: not a raw dump");
        let end = dump().len() - 1;
        let cut = format!("byte {end}: the dump ends here, inside a frame or without its end");
        assert_eq!(read(&dump()[..end]).unwrap_err(), cut);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_malformed() {
        for at in 0..dump().len() {
            for bit in 0..8 {
                let mut bytes = dump();
                bytes[at] ^= 1 << bit;
                assert!(read(&bytes).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn what_follows_the_end_and_frames_left_out_are_malformed() {
        let after = [&dump()[..], b"\n"].concat();
        let at = dump().len();
        assert_eq!(read(&after).unwrap_err(), format!("byte {at}: something follows the end of the dump"));

        let mut bytes = dump();
        let entry_bytes = FIXED_BYTES + 2 + CHECK_BYTES;
        bytes.drain(22..22 + entry_bytes);
        let said = read(&bytes).unwrap_err();
        assert!(said.ends_with(": 1 entries came before the end, which counts others"), "{said}");
    }

    #[test]
    fn a_length_that_nothing_follows_takes_no_memory() {
        let bytes = [&MAGIC[..], b"\x02\x03\0\0\0\xff\xff\xff\xffkey"].concat();
        let mut records = RawRecords::new(&bytes[..]);

        assert!(records.next(&mut Record::default()).is_err());
        assert!(records.frame.capacity() < 1 << 10, "{} bytes", records.frame.capacity());
    }
}
