//! Separated values: files of records that tables point to, so that compactions move pointers and leave values where
//! they are. Layout: `docs/format.md` §10.
//!
//! | at    | what                                                       |
//! |-------|------------------------------------------------------------|
//! | 0     | file header, 64 bytes                                      |
//! | 64    | records, one right behind the other, to the end of the file |
//!
//! A file is written once, in the order of keys of the job that writes it, and never changes. A [`BlobPointer`] stands in
//! the table in place of the value; a value that expires keeps its time in the table. Which files a tree has, and how much
//! of them is alive, is [`BlobLedger`](crate::version::BlobLedger)'s.

mod file;
mod pointer;
mod record;
mod writer;

pub use file::{BlobFile, BlobRecord, Walked};
pub use pointer::{BlobPointer, BlobUse, stored_pointer};
pub(crate) use pointer::{BlobUses, pointer_of};
pub use record::{MAX_BLOB_VALUE_BYTES, RECORD_HEADER_BYTES};
pub use writer::BlobWriter;

use crate::{
    codec::{Corruption, Parity, Seal, TlvReader, TlvWriter, once},
    error::Result,
    place::PlaceId,
    types::{BlobId, Slice, Uuid},
};
use alloc::{format, string::String, vec::Vec};

/// Directory of the files, relative to the root.
pub const BLOBS_DIR: &str = "blobs";

/// Name of a file, relative to its place.
pub fn file_name(id: BlobId) -> String {
    format!("{BLOBS_DIR}/{}", base_name(id))
}

/// Name of a file in its directory.
pub fn base_name(id: BlobId) -> String {
    format!("{:06}.blob", id.0)
}

/// The number of the file of this name, in whatever place; `None` for other files.
pub fn number_of(name: &str) -> Option<BlobId> {
    let (_, name) = PlaceId::split(name);
    let digits = name.strip_prefix(BLOBS_DIR)?.strip_prefix('/')?.strip_suffix(".blob")?;
    let id = BlobId(digits.parse().ok()?);
    (file_name(id) == name).then_some(id)
}

/// Who reads separated values.
pub trait ReadBlobs: Send + Sync {
    /// The value of `key` that a pointer of its stands for.
    ///
    /// # Errors
    ///
    /// `Corruption`, naming file, place and key; the backend's.
    fn read(&self, key: &[u8], pointer: &BlobPointer) -> Result<Slice>;
}

/// Facts about a finished file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobMeta {
    /// Its number; its name is made of it. Later ones are greater.
    pub id: BlobId,
    /// The uuid in its header.
    pub uuid: Uuid,
    /// Size of the file, without parity.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Where the file lies.
    pub place: PlaceId,
    /// How it is sealed, if it is.
    pub seal: Option<Seal>,
    /// What lies behind its records, and restores them.
    pub parity: Parity,
}

mod tag {
    pub(super) const ID: u8 = 1;
    pub(super) const UUID: u8 = 2;
    pub(super) const BYTES: u8 = 3;
    pub(super) const RECORDS: u8 = 4;
    pub(super) const PLACE: u8 = 5;
    pub(super) const SEAL: u8 = 6;
    pub(super) const PARITY: u8 = 7;
}

impl BlobMeta {
    /// Name of the file.
    pub fn file_name(&self) -> String {
        self.place.name_of(&file_name(self.id))
    }

    /// Size of the file.
    pub fn file_bytes(&self) -> u64 {
        self.bytes.saturating_add(self.parity.trailer_bytes(self.bytes))
    }

    /// Bytes of all records together.
    pub fn record_bytes(&self) -> u64 {
        self.bytes - crate::codec::HEADER_BYTES as u64
    }

    /// Encodes the facts for an edit of the manifest; [`BlobMeta::decode`] is the inverse.
    ///
    /// | tag | field          | tag | field            |
    /// |-----|----------------|-----|------------------|
    /// | 1   | id             | 3   | size without parity |
    /// | 2   | uuid, 16 bytes | 4   | records          |
    /// | 5   | place, unless it is the store's directory | 6 | seal, if it has one: 17 bytes |
    /// | 7   | parity, if it has some: 3 bytes | | |
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = TlvWriter::new();
        fields.u64(tag::ID, self.id.0);
        fields.bytes(tag::UUID, &self.uuid.0);
        fields.u64(tag::BYTES, self.bytes);
        fields.u64(tag::RECORDS, self.records);
        if self.place != PlaceId::MAIN {
            fields.u64(tag::PLACE, u64::from(self.place.0));
        }
        if let Some(seal) = &self.seal {
            fields.bytes(tag::SEAL, &seal.encode());
        }
        if self.parity != Parity::None {
            fields.bytes(tag::PARITY, &self.parity.to_raw());
        }
        fields.finish()
    }

    /// Decodes what an edit says of a file.
    ///
    /// # Errors
    ///
    /// A field is missing, repeated or malformed, or the file is too short for its records.
    pub fn decode(bytes: &[u8]) -> Result<BlobMeta, Corruption> {
        let (mut id, mut uuid, mut size, mut records) = (None, None, None, None);
        let (mut place, mut seal, mut parity) = (None, None, None);
        let mut fields = TlvReader::new(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                tag::ID => once(&mut id, BlobId(TlvReader::as_u64(value)?))?,
                tag::UUID => {
                    let uuid_bytes = value.try_into().map_err(|_| Corruption("a uuid has 16 bytes"))?;
                    once(&mut uuid, Uuid(uuid_bytes))?;
                }
                tag::BYTES => once(&mut size, TlvReader::as_u64(value)?)?,
                tag::RECORDS => once(&mut records, TlvReader::as_u64(value)?)?,
                tag::PLACE => once(&mut place, PlaceId::decode(value)?)?,
                tag::SEAL => once(&mut seal, Seal::decode_field(value)?)?,
                tag::PARITY => {
                    let raw = value.try_into().map_err(|_| Corruption("parity is named by 3 bytes"))?;
                    once(&mut parity, Parity::from_raw(raw))?;
                }
                unknown => TlvReader::unknown(unknown)?,
            }
        }
        let (Some(id), Some(uuid), Some(bytes), Some(records)) = (id, uuid, size, records) else {
            return Err(Corruption("an edit does not say all of a file of separated values"));
        };
        let least_bytes = u64::saturating_mul(records, RECORD_HEADER_BYTES as u64);
        let room = bytes.checked_sub(crate::codec::HEADER_BYTES as u64);
        if records == 0 || room.is_none_or(|room| room < least_bytes) {
            return Err(Corruption("a file of separated values is too short for its records"));
        }
        let (place, parity) = (place.unwrap_or_default(), parity.unwrap_or_default());
        Ok(BlobMeta { id, uuid, bytes, records, place, seal, parity })
    }
}

#[cfg(test)]
mod tests;
