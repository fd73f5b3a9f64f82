//! What the manifest keeps of a table, so that opening a store touches none. Layout: `docs/format.md` §4.6.

use super::{
    fields::{once, required},
    footer::FOOTER_BYTES,
};
use crate::{
    codec::{BLOCK_HEADER_BYTES, Corruption, HEADER_BYTES, Reader, TlvReader, TlvWriter},
    error::KeyBounds,
    key::MAX_KEY_BYTES,
    types::{Seqno, TableId, UnixUs, Uuid},
};
use alloc::vec::Vec;
use core::ops::Bound;

/// Where a block lies in its file: the frame begins at `offset` and takes `bytes`, parity included.
///
/// Encoded as 16 bytes: offset u64, bytes u64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockHandle {
    /// First byte of the frame.
    pub offset: u64,
    /// Size of the frame.
    pub bytes: u64,
}

impl BlockHandle {
    /// Size of the encoding.
    pub const ENCODED_BYTES: usize = 16;

    /// Encodes the handle; [`BlockHandle::decode`] is its inverse.
    pub fn encode(self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    /// Decodes a handle into a table of `table_bytes` bytes.
    ///
    /// # Errors
    ///
    /// The block does not lie between the table's header and its footer, or is too short for a frame.
    pub fn decode(bytes: [u8; Self::ENCODED_BYTES], table_bytes: u64) -> Result<BlockHandle, Corruption> {
        let mut fields = Reader::new(&bytes);
        let handle = BlockHandle { offset: fields.u64()?, bytes: fields.u64()? };
        handle.check(table_bytes)?;
        Ok(handle)
    }

    /// First byte behind the block. Cannot overflow once the handle was checked.
    pub fn end(self) -> u64 {
        self.offset + self.bytes
    }

    /// Says whether the block can lie where the handle says, in a table of `table_bytes` bytes.
    pub(super) fn check(self, table_bytes: u64) -> Result<(), Corruption> {
        let end = self.offset.checked_add(self.bytes);
        let limit = table_bytes.saturating_sub(FOOTER_BYTES as u64);
        let inside = self.offset >= HEADER_BYTES as u64 && end.is_some_and(|end| end <= limit);
        if inside && self.bytes >= BLOCK_HEADER_BYTES as u64 {
            Ok(())
        } else {
            Err(Corruption("a block does not lie inside its table"))
        }
    }
}

/// Facts about a finished table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableMeta {
    /// Its number; its name is made of it.
    pub id: TableId,
    /// The uuid in its file header.
    pub uuid: Uuid,
    /// Size of the file.
    pub bytes: u64,
    /// XXH3-64 of the whole file.
    pub digest: u64,
    /// Versions in it.
    pub entries: u64,
    /// Of these, deletes of any kind.
    pub tombstones: u64,
    /// Least user key.
    pub first_key: Vec<u8>,
    /// Greatest user key.
    pub last_key: Vec<u8>,
    /// Least number of a version.
    pub first_seqno: Seqno,
    /// Greatest number of a version.
    pub last_seqno: Seqno,
    /// When it was written.
    pub created_at: UnixUs,
    /// Its index block.
    pub index: BlockHandle,
    /// Its filter block, if it has one.
    pub filter: Option<BlockHandle>,
    /// Its properties block.
    pub properties: BlockHandle,
}

mod tag {
    pub(super) const ID: u8 = 1;
    pub(super) const UUID: u8 = 2;
    pub(super) const BYTES: u8 = 3;
    pub(super) const DIGEST: u8 = 4;
    pub(super) const ENTRIES: u8 = 5;
    pub(super) const TOMBSTONES: u8 = 6;
    pub(super) const FIRST_KEY: u8 = 7;
    pub(super) const LAST_KEY: u8 = 8;
    pub(super) const FIRST_SEQNO: u8 = 9;
    pub(super) const LAST_SEQNO: u8 = 10;
    pub(super) const CREATED_AT: u8 = 11;
    pub(super) const INDEX: u8 = 12;
    pub(super) const FILTER: u8 = 13;
    pub(super) const PROPERTIES: u8 = 14;
}

impl TableMeta {
    /// Encodes the facts for an edit of the manifest; [`TableMeta::decode`] is its inverse.
    ///
    /// | tag | field              | tag | field             |
    /// |-----|--------------------|-----|-------------------|
    /// | 1   | id                 | 8   | last key          |
    /// | 2   | uuid, 16 bytes     | 9   | first seqno       |
    /// | 3   | size of the file   | 10  | last seqno        |
    /// | 4   | digest of the file | 11  | created at        |
    /// | 5   | entries            | 12  | index handle      |
    /// | 6   | tombstones         | 13  | filter handle, if there is one |
    /// | 7   | first key          | 14  | properties handle |
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = TlvWriter::new();
        fields.u64(tag::ID, self.id.0);
        fields.bytes(tag::UUID, &self.uuid.0);
        fields.u64(tag::BYTES, self.bytes);
        fields.u64(tag::DIGEST, self.digest);
        fields.u64(tag::ENTRIES, self.entries);
        fields.u64(tag::TOMBSTONES, self.tombstones);
        fields.bytes(tag::FIRST_KEY, &self.first_key);
        fields.bytes(tag::LAST_KEY, &self.last_key);
        fields.u64(tag::FIRST_SEQNO, self.first_seqno.raw());
        fields.u64(tag::LAST_SEQNO, self.last_seqno.raw());
        fields.u64(tag::CREATED_AT, self.created_at.0);
        fields.bytes(tag::INDEX, &self.index.encode());
        if let Some(filter) = self.filter {
            fields.bytes(tag::FILTER, &filter.encode());
        }
        fields.bytes(tag::PROPERTIES, &self.properties.encode());
        fields.finish()
    }

    /// Decodes what an edit says of a table.
    ///
    /// # Errors
    ///
    /// A field is missing, repeated or malformed, or the facts contradict each other.
    pub fn decode(bytes: &[u8]) -> Result<TableMeta, Corruption> {
        let (mut id, mut uuid, mut size, mut digest) = (None, None, None, None);
        let (mut entries, mut tombstones, mut first_key, mut last_key) = (None, None, None, None);
        let (mut first_seqno, mut last_seqno, mut created_at) = (None, None, None);
        let (mut index, mut filter, mut properties) = (None, None, None);
        let mut fields = TlvReader::new(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                tag::ID => once(&mut id, TableId(TlvReader::as_u64(value)?))?,
                tag::UUID => once(&mut uuid, Uuid(fixed(value)?))?,
                tag::BYTES => once(&mut size, TlvReader::as_u64(value)?)?,
                tag::DIGEST => once(&mut digest, TlvReader::as_u64(value)?)?,
                tag::ENTRIES => once(&mut entries, TlvReader::as_u64(value)?)?,
                tag::TOMBSTONES => once(&mut tombstones, TlvReader::as_u64(value)?)?,
                tag::FIRST_KEY => once(&mut first_key, user_key(value)?)?,
                tag::LAST_KEY => once(&mut last_key, user_key(value)?)?,
                tag::FIRST_SEQNO => once(&mut first_seqno, seqno(value)?)?,
                tag::LAST_SEQNO => once(&mut last_seqno, seqno(value)?)?,
                tag::CREATED_AT => once(&mut created_at, UnixUs(TlvReader::as_u64(value)?))?,
                tag::INDEX => once(&mut index, fixed(value)?)?,
                tag::FILTER => once(&mut filter, fixed(value)?)?,
                tag::PROPERTIES => once(&mut properties, fixed(value)?)?,
                unknown => TlvReader::unknown(unknown)?,
            }
        }
        let bytes = required(size)?;
        let meta = TableMeta {
            id: required(id)?,
            uuid: required(uuid)?,
            bytes,
            digest: required(digest)?,
            entries: required(entries)?,
            tombstones: required(tombstones)?,
            first_key: required(first_key)?,
            last_key: required(last_key)?,
            first_seqno: required(first_seqno)?,
            last_seqno: required(last_seqno)?,
            created_at: required(created_at)?,
            index: BlockHandle::decode(required(index)?, bytes)?,
            filter: filter.map(|handle| BlockHandle::decode(handle, bytes)).transpose()?,
            properties: BlockHandle::decode(required(properties)?, bytes)?,
        };
        meta.check()?;
        Ok(meta)
    }

    /// User keys that it may have versions of. The upper end is the successor of its last key, so that a seek
    /// to what lies behind the range does not come back to the table.
    pub fn key_bounds(&self) -> KeyBounds {
        let mut behind = self.last_key.clone();
        behind.push(0);
        (Bound::Included(self.first_key.clone()), Bound::Excluded(behind))
    }

    /// Says whether the facts agree with each other.
    pub(super) fn check(&self) -> Result<(), Corruption> {
        if self.entries == 0 || self.tombstones > self.entries {
            return Err(Corruption("a table's counts contradict each other"));
        }
        if self.first_key > self.last_key || self.first_seqno > self.last_seqno {
            return Err(Corruption("a table's first and last are in the wrong order"));
        }
        for handle in [Some(self.index), self.filter, Some(self.properties)].into_iter().flatten() {
            handle.check(self.bytes)?;
        }
        Ok(())
    }
}

/// A value of fixed size.
pub(super) fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Corruption> {
    value.try_into().map_err(|_| Corruption("a field has another length than its kind"))
}

/// A sequence number.
pub(super) fn seqno(value: &[u8]) -> Result<Seqno, Corruption> {
    Seqno::from_raw(TlvReader::as_u64(value)?).ok_or(Corruption("a sequence number exceeds the greatest"))
}

/// A user key.
pub(super) fn user_key(value: &[u8]) -> Result<Vec<u8>, Corruption> {
    if value.len() > MAX_KEY_BYTES {
        return Err(Corruption("a key exceeds the longest"));
    }
    Ok(Vec::from(value))
}
