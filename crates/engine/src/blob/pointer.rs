//! What stands in a table in place of a separated value, and what a table says of all that it points to.

use super::record::RECORD_HEADER_BYTES;
use crate::{
    codec::{Checksum, Corruption, HEADER_BYTES, Reader},
    expiry::EXPIRY_BYTES,
    key::ValueKind,
    types::{BlobId, UnixUs},
};
use alloc::{collections::BTreeMap, vec::Vec};

/// Where a separated value lies, and the checksum of its record there: no other record answers for it, neither another
/// one of the same file nor one of a file that came in its place.
///
/// | bytes  | field                                              |
/// |--------|----------------------------------------------------|
/// | 0..8   | number of the file                                 |
/// | 8..16  | offset of the record                               |
/// | 16..20 | size of the record                                 |
/// | 20..24 | size of the value                                  |
/// | 24..32 | checksum of the record, bound to its file and place |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobPointer {
    /// The file.
    pub file: BlobId,
    /// Where in it the record begins.
    pub offset: u64,
    /// Size of the record.
    pub record_bytes: u32,
    /// Size of the value.
    pub value_bytes: u32,
    /// Of the record.
    pub checksum: Checksum,
}

impl BlobPointer {
    /// Size of the encoding.
    pub const ENCODED_BYTES: usize = 32;

    /// Encodes it; [`BlobPointer::decode`] is the inverse.
    pub fn encode(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[..8].copy_from_slice(&self.file.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.record_bytes.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.value_bytes.to_le_bytes());
        bytes[24..].copy_from_slice(&self.checksum.0.to_le_bytes());
        bytes
    }

    /// Decodes it.
    ///
    /// # Errors
    ///
    /// It has another size, or points to what cannot be a record.
    pub fn decode(bytes: &[u8]) -> Result<BlobPointer, Corruption> {
        let mut fields = Reader::new(bytes);
        let pointer = BlobPointer {
            file: BlobId(fields.u64()?),
            offset: fields.u64()?,
            record_bytes: fields.u32()?,
            value_bytes: fields.u32()?,
            checksum: Checksum(fields.u64()?),
        };
        fields.finish()?;
        let is_record = pointer.offset >= HEADER_BYTES as u64
            && pointer.record_bytes as usize >= RECORD_HEADER_BYTES
            && pointer.offset.checked_add(u64::from(pointer.record_bytes)).is_some();
        if is_record { Ok(pointer) } else { Err(Corruption("a pointer points to what is no record")) }
    }
}

/// The kind and the stored value of a put whose value is separated.
pub fn stored_pointer(expires_at: Option<UnixUs>, pointer: &BlobPointer) -> (ValueKind, Vec<u8>) {
    match expires_at {
        None => (ValueKind::BlobPointer, pointer.encode().into()),
        Some(at) => (ValueKind::BlobPointerUntil, [&at.0.to_le_bytes()[..], &pointer.encode()].concat()),
    }
}

/// The pointer in the stored value of a version of this kind, if it has one.
///
/// # Errors
///
/// As [`BlobPointer::decode`].
pub(crate) fn pointer_of(kind: ValueKind, stored: &[u8]) -> Result<Option<BlobPointer>, Corruption> {
    let encoded = match kind {
        ValueKind::BlobPointer => stored,
        ValueKind::BlobPointerUntil => stored.get(EXPIRY_BYTES..).unwrap_or_default(),
        _ => return Ok(None),
    };
    BlobPointer::decode(encoded).map(Some)
}

/// What a table points to in one file.
///
/// | bytes  | field                               |
/// |--------|-------------------------------------|
/// | 0..8   | number of the file                  |
/// | 8..16  | records                             |
/// | 16..24 | sizes of these records together     |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobUse {
    /// The file.
    pub file: BlobId,
    /// Records that the table points to; each is pointed to once.
    pub records: u64,
    /// Their sizes together.
    pub bytes: u64,
}

impl BlobUse {
    /// Size of the encoding.
    pub const ENCODED_BYTES: usize = 24;

    /// Encodes uses, one behind the other; [`BlobUse::decode_all`] is the inverse.
    pub fn encode_all(uses: &[BlobUse]) -> Vec<u8> {
        let fields = |of: &BlobUse| [of.file.0, of.records, of.bytes].map(u64::to_le_bytes);
        uses.iter().flat_map(fields).flatten().collect()
    }

    /// Decodes uses.
    ///
    /// # Errors
    ///
    /// They are not in the order of files, or one is of nothing.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<BlobUse>, Corruption> {
        let mut fields = Reader::new(bytes);
        let mut uses: Vec<BlobUse> = Vec::new();
        while !fields.is_empty() {
            let of = BlobUse { file: BlobId(fields.u64()?), records: fields.u64()?, bytes: fields.u64()? };
            let is_in_order = uses.last().is_none_or(|last| last.file < of.file);
            let least_bytes = u64::saturating_mul(of.records, RECORD_HEADER_BYTES as u64);
            if !is_in_order || of.records == 0 || of.bytes < least_bytes {
                return Err(Corruption("what a table points to cannot be"));
            }
            uses.push(of);
        }
        Ok(uses)
    }
}

/// Counts what a table points to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct BlobUses(BTreeMap<BlobId, (u64, u64)>);

impl BlobUses {
    /// Counts a version.
    ///
    /// # Errors
    ///
    /// It is a pointer, and none that can be.
    pub(crate) fn count(&mut self, kind: ValueKind, stored: &[u8]) -> Result<(), Corruption> {
        if let Some(pointer) = pointer_of(kind, stored)? {
            let (records, bytes) = self.0.entry(pointer.file).or_default();
            *records += 1;
            *bytes += u64::from(pointer.record_bytes);
        }
        Ok(())
    }

    /// All of them, in the order of files.
    pub(crate) fn finish(self) -> Vec<BlobUse> {
        let uses = self.0.into_iter();
        uses.map(|(file, (records, bytes))| BlobUse { file, records, bytes }).collect()
    }
}
