//! One record: a key and its value, so that a file can be read without the tables that point to it.
//!
//! | bytes  | field                                                                        |
//! |--------|------------------------------------------------------------------------------|
//! | 0..8   | checksum of everything behind it, bound to the file and the record's offset   |
//! | 8..12  | size of the payload, in bytes                                                |
//! | 12..16 | size of the value before compression, in bytes                               |
//! | 16..18 | size of the key, in bytes                                                    |
//! | 18     | codec of the value                                                           |
//! | 19..24 | zero                                                                         |
//! | 24..32 | number of the put when its value was separated; 0 if it was not known         |
//! | 32     | payload: the key, then the value, compressed if that saves an eighth          |
//!
//! Parity of the payload, if the file has some, follows.

use crate::{
    codec::{Checksum, Codec, Corruption, FileCodec, Reader},
    key::MAX_KEY_BYTES,
    types::{Seqno, Slice},
};
use alloc::vec::Vec;

/// Size of a record without its payload.
pub const RECORD_HEADER_BYTES: usize = 32;

/// Longest value that is separated, in bytes: one whose record has a size of 32 bits, sealed and with parity too.
pub const MAX_BLOB_VALUE_BYTES: usize = u32::MAX as usize / 2;

/// What the header of a record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordHeader {
    pub(super) checksum: Checksum,
    pub(super) payload_bytes: u32,
    pub(super) value_bytes: u32,
    pub(super) key_bytes: u16,
    pub(super) codec: Codec,
    pub(super) seqno: Seqno,
}

/// What a record is made of.
#[derive(Clone, Copy)]
pub(super) struct RecordParts<'a> {
    pub(super) key: &'a [u8],
    pub(super) seqno: Seqno,
    pub(super) codec: Codec,
    /// Of the value, as it is stored.
    pub(super) stored: &'a [u8],
    /// Size of the value before compression.
    pub(super) value_bytes: u32,
}

/// Appends a record, which will lie at `offset`. Returns its checksum.
pub(super) fn encode(out: &mut Vec<u8>, codec: &FileCodec, offset: u64, parts: RecordParts<'_>) -> Checksum {
    let start = out.len();
    let narrow = |bytes: usize| u32::try_from(bytes).expect("values that are separated are bounded");
    out.extend_from_slice(&[0; 8]);
    let payload_bytes = parts.key.len() + parts.stored.len() + codec.sealing.added_bytes();
    out.extend_from_slice(&narrow(payload_bytes).to_le_bytes());
    out.extend_from_slice(&parts.value_bytes.to_le_bytes());
    out.extend_from_slice(&u16::try_from(parts.key.len()).expect("keys are bounded").to_le_bytes());
    out.extend_from_slice(&[parts.codec.to_raw(), 0, 0, 0, 0, 0]);
    out.extend_from_slice(&parts.seqno.raw().to_le_bytes());
    let (payload_at, context) = (out.len(), seal_context(&out[start..]));
    out.extend_from_slice(parts.key);
    out.extend_from_slice(parts.stored);
    codec.sealing.seal(out, payload_at, offset + RECORD_HEADER_BYTES as u64, &context);
    let checksum = Checksum::of(&out[start + 8..], codec.salt, offset);
    out[start..start + 8].copy_from_slice(&checksum.0.to_le_bytes());
    checksum
}

/// What must be the same when a payload is opened: the header without its checksum.
fn seal_context(header: &[u8]) -> [u8; RECORD_HEADER_BYTES - 8] {
    header[8..RECORD_HEADER_BYTES].try_into().expect("a header is longer")
}

impl RecordHeader {
    /// Reads a header. Nothing of it is certain before [`check`].
    pub(super) fn decode(bytes: &[u8; RECORD_HEADER_BYTES]) -> Result<RecordHeader, Corruption> {
        let mut fields = Reader::new(bytes);
        let checksum = Checksum(fields.u64()?);
        let (payload_bytes, value_bytes, key_bytes) = (fields.u32()?, fields.u32()?, fields.u16()?);
        let (codec, zero) = (fields.u8()?, fields.array::<5>()?);
        let codec = Codec::from_raw(codec).ok_or(Corruption("a record has an unknown codec"))?;
        let seqno = Seqno::from_raw(fields.u64()?).ok_or(Corruption("a record has a number above all"))?;
        const { assert!(MAX_KEY_BYTES == u16::MAX as usize) };
        if zero != [0; 5] {
            return Err(Corruption("reserved bytes of a record are in use"));
        }
        Ok(RecordHeader { checksum, payload_bytes, value_bytes, key_bytes, codec, seqno })
    }

    /// Size of the whole record.
    pub(super) fn record_bytes(&self) -> u64 {
        RECORD_HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }
}

/// The header of a record at `offset` that is all of `bytes`, and the record with its payload opened.
///
/// # Errors
///
/// It is not what its checksum says, or not of this size, and parity does not restore it.
pub(super) fn decode(
    bytes: Slice,
    codec: &FileCodec,
    offset: u64,
) -> Result<(RecordHeader, Slice), Corruption> {
    let len = bytes.len();
    decode_as_it_is(bytes, codec, offset).or_else(|why| {
        let decode = |bytes: &[u8]| decode_as_it_is(Slice::from(bytes), codec, offset);
        codec.corrected(len, offset, decode).ok_or(why)
    })
}

/// As [`decode`], and parity is not asked.
fn decode_as_it_is(
    bytes: Slice,
    codec: &FileCodec,
    offset: u64,
) -> Result<(RecordHeader, Slice), Corruption> {
    let header = bytes.first_chunk().ok_or(Corruption("a record is too short"))?;
    let header = RecordHeader::decode(header)?;
    if header.record_bytes() != bytes.len() as u64 {
        return Err(Corruption("a record has another size than is said elsewhere"));
    }
    let end = RECORD_HEADER_BYTES + header.payload_bytes as usize;
    if Checksum::of(&bytes[8..end], codec.salt, offset) != header.checksum {
        return Err(Corruption("a record fails its checksum"));
    }
    let opened = if codec.sealing.is_clear() {
        bytes.slice(..end)
    } else {
        let (payload_at, context) = (offset + RECORD_HEADER_BYTES as u64, seal_context(&bytes));
        Slice::from(codec.sealing.open_behind(
            bytes[..end].into(),
            RECORD_HEADER_BYTES,
            payload_at,
            &context,
        )?)
    };
    if opened.len() < RECORD_HEADER_BYTES + usize::from(header.key_bytes) {
        return Err(Corruption("the key of a record ends behind it"));
    }
    Ok((header, opened))
}
