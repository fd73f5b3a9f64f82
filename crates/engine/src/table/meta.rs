//! What the manifest keeps of a table, so that opening a store touches none. Layout: `docs/format.md` §4.7.

use super::{
    fields::{once, required},
    file_name,
    footer::FOOTER_BYTES,
};
use crate::{
    blob::BlobUse,
    codec::{BLOCK_HEADER_BYTES, Corruption, HEADER_BYTES, Parity, Reader, Seal, TlvReader, TlvWriter},
    dictionary::DictionaryHandle,
    error::KeyBounds,
    expiry::ExpiryBounds,
    key::MAX_KEY_BYTES,
    order::KeyOrder,
    place::PlaceId,
    prefix,
    types::{Seqno, TableId, UnixUs, Uuid},
};
use alloc::{string::String, vec::Vec};
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

/// Where the blocks of index and properties lie another time, one behind the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mirror {
    pub(super) index: BlockHandle,
    pub(super) properties: BlockHandle,
}

impl Mirror {
    /// From byte `at` on; `index` and `properties` are those near the end.
    pub(super) fn of(at: u64, index: BlockHandle, properties: BlockHandle) -> Mirror {
        let index = BlockHandle { offset: at, bytes: index.bytes };
        Mirror { index, properties: BlockHandle { offset: at.saturating_add(index.bytes), ..properties } }
    }

    /// Says whether it can lie in a table of `table_bytes` bytes.
    pub(super) fn check(self, table_bytes: u64) -> Result<(), Corruption> {
        self.index.check(table_bytes)?;
        self.properties.check(table_bytes)
    }
}

/// The filter of the prefixes of a table's keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrefixFilter {
    /// Its block.
    pub block: BlockHandle,
    /// Name of the extractor whose prefixes it is made of.
    pub extractor: String,
}

/// The range tombstones of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeBlock {
    /// Their block.
    pub block: BlockHandle,
    /// Greatest number of one.
    pub newest: Seqno,
}

impl RangeBlock {
    /// Size of the encoding.
    pub const ENCODED_BYTES: usize = 24;

    /// Encodes it: the handle, then the number; [`RangeBlock::decode`] is its inverse.
    pub(super) fn encode(self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[..16].copy_from_slice(&self.block.encode());
        bytes[16..].copy_from_slice(&self.newest.raw().to_le_bytes());
        bytes
    }

    /// Decodes it; where the block lies is still to be checked.
    ///
    /// # Errors
    ///
    /// The number is none.
    pub(super) fn decode(bytes: [u8; Self::ENCODED_BYTES]) -> Result<RangeBlock, Corruption> {
        let mut fields = Reader::new(&bytes);
        let block = BlockHandle { offset: fields.u64()?, bytes: fields.u64()? };
        Ok(RangeBlock { block, newest: seqno(fields.bytes(8)?)? })
    }
}

/// Facts about a finished table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableMeta {
    /// Its number; its name is made of it.
    pub id: TableId,
    /// The uuid in its file header.
    pub uuid: Uuid,
    /// Size of the file, without parity.
    pub bytes: u64,
    /// XXH3-64 of that.
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
    /// The directory of its filter, if it has one.
    pub filter: Option<BlockHandle>,
    /// Its properties block.
    pub properties: BlockHandle,
    /// Where the mirror of index and properties begins; all before are data blocks and partitions of the index.
    pub mirror_at: u64,
    /// The statistics of its data blocks.
    pub statistics: BlockHandle,
    /// Its prefix filter, if it has one.
    pub prefix_filter: Option<PrefixFilter>,
    /// The dictionary that its values may be compressed against.
    pub dictionary: Option<DictionaryHandle>,
    /// Its range tombstones, if it has some.
    pub ranges: Option<RangeBlock>,
    /// When its entries expire, if some do.
    pub expiry: Option<ExpiryBounds>,
    /// The number of all its entries, if it was written before that was known: the file says zero.
    pub number: Option<Seqno>,
    /// What it points to in files of separated values, in their order.
    pub blobs: Vec<BlobUse>,
    /// Where the file lies. Nothing in the file tells.
    pub place: PlaceId,
    /// How it is sealed, if it is.
    pub seal: Option<Seal>,
    /// What lies behind that, and restores it.
    pub parity: Parity,
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
    pub(super) const PREFIX_FILTER: u8 = 15;
    pub(super) const EXTRACTOR: u8 = 16;
    pub(super) const MIRROR_AT: u8 = 17;
    pub(super) const STATISTICS: u8 = 18;
    pub(super) const DICTIONARY: u8 = 19;
    pub(super) const RANGES: u8 = 20;
    pub(super) const EXPIRY: u8 = 21;
    pub(super) const NUMBER: u8 = 22;
    pub(super) const BLOBS: u8 = 23;
    pub(super) const PLACE: u8 = 24;
    pub(super) const SEAL: u8 = 25;
    pub(super) const PARITY: u8 = 26;
}

impl TableMeta {
    /// Name of the file.
    pub fn file_name(&self) -> String {
        self.place.name_of(&file_name(self.id))
    }

    /// Size of the file.
    pub fn file_bytes(&self) -> u64 {
        self.bytes.saturating_add(self.parity.trailer_bytes(self.bytes))
    }

    /// A time before which none of its puts expires.
    #[inline]
    pub(crate) fn expires_from(&self) -> UnixUs {
        self.expiry.map_or(UnixUs(u64::MAX), |expiry| expiry.first)
    }

    /// Encodes the facts for an edit of the manifest; [`TableMeta::decode`] is its inverse.
    ///
    /// | tag | field              | tag | field             |
    /// |-----|--------------------|-----|-------------------|
    /// | 1   | id                 | 8   | last key          |
    /// | 2   | uuid, 16 bytes     | 9   | first seqno       |
    /// | 3   | size without parity | 10  | last seqno        |
    /// | 4   | digest of that     | 11  | created at        |
    /// | 5   | entries            | 12  | index handle      |
    /// | 6   | tombstones         | 13  | filter handle, if there is one |
    /// | 7   | first key          | 14  | properties handle |
    /// | 15  | prefix filter handle, if there is one | 16 | name of its prefix extractor |
    /// | 17  | where the mirror begins | 18 | statistics handle |
    /// | 19  | dictionary handle, if there is one | 20 | range tombstones, if there are: handle, newest u64 |
    /// | 21  | when entries expire, if some do: first u64, last u64 | 22 | the number of all its entries, if the file says zero |
    /// | 23  | what it points to in files of separated values, if it does: 24 bytes each | 24 | place, unless it is the store's directory |
    /// | 25  | seal, if it has one: 17 bytes | 26 | parity, if it has some: 3 bytes |
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
        if let Some(filter) = &self.prefix_filter {
            fields.bytes(tag::PREFIX_FILTER, &filter.block.encode());
            fields.bytes(tag::EXTRACTOR, filter.extractor.as_bytes());
        }
        fields.u64(tag::MIRROR_AT, self.mirror_at);
        fields.bytes(tag::STATISTICS, &self.statistics.encode());
        if let Some(dictionary) = self.dictionary {
            fields.bytes(tag::DICTIONARY, &dictionary.encode());
        }
        if let Some(ranges) = self.ranges {
            fields.bytes(tag::RANGES, &ranges.encode());
        }
        if let Some(expiry) = self.expiry {
            fields.bytes(tag::EXPIRY, &expiry.encode());
        }
        if let Some(number) = self.number {
            fields.u64(tag::NUMBER, number.raw());
        }
        if !self.blobs.is_empty() {
            fields.bytes(tag::BLOBS, &BlobUse::encode_all(&self.blobs));
        }
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
        let (mut prefix_filter, mut extractor) = (None, None);
        let (mut mirror_at, mut statistics, mut dictionary) = (None, None, None);
        let (mut ranges, mut expiry, mut number, mut blobs) = (None, None, None, None);
        let (mut place, mut seal, mut parity) = (None, None, None);
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
                tag::PREFIX_FILTER => once(&mut prefix_filter, fixed(value)?)?,
                tag::EXTRACTOR => once(&mut extractor, text(value)?)?,
                tag::MIRROR_AT => once(&mut mirror_at, TlvReader::as_u64(value)?)?,
                tag::STATISTICS => once(&mut statistics, fixed(value)?)?,
                tag::DICTIONARY => once(&mut dictionary, DictionaryHandle::decode(fixed(value)?)?)?,
                tag::RANGES => once(&mut ranges, RangeBlock::decode(fixed(value)?)?)?,
                tag::EXPIRY => once(&mut expiry, ExpiryBounds::decode(fixed(value)?)?)?,
                tag::NUMBER => once(&mut number, seqno(value)?)?,
                tag::BLOBS => once(&mut blobs, BlobUse::decode_all(value)?)?,
                tag::PLACE => once(&mut place, PlaceId::decode(value)?)?,
                tag::SEAL => once(&mut seal, Seal::decode_field(value)?)?,
                tag::PARITY => once(&mut parity, Parity::from_raw(fixed(value)?))?,
                unknown => TlvReader::unknown(unknown)?,
            }
        }
        let bytes = required(size)?;
        let prefix_filter = match (prefix_filter, extractor) {
            (None, None) => None,
            (Some(handle), Some(extractor)) => {
                Some(PrefixFilter { block: BlockHandle::decode(handle, bytes)?, extractor })
            }
            _ => return Err(Corruption("of a prefix filter and its extractor one is missing")),
        };
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
            mirror_at: required(mirror_at)?,
            statistics: BlockHandle::decode(required(statistics)?, bytes)?,
            prefix_filter,
            dictionary,
            ranges,
            expiry,
            number,
            blobs: blobs.unwrap_or_default(),
            place: place.unwrap_or_default(),
            seal,
            parity: parity.unwrap_or_default(),
        };
        meta.check()?;
        Ok(meta)
    }

    /// User keys that it may have versions of.
    pub fn key_bounds(&self, order: &KeyOrder) -> KeyBounds {
        (Bound::Included(self.first_key.clone()), up_to(self.last_key.clone(), order))
    }

    /// Says whether the facts agree with each other, but for the order of keys, of which a tree knows.
    pub(super) fn check(&self) -> Result<(), Corruption> {
        if self.entries == 0 || self.tombstones > self.entries {
            return Err(Corruption("a table's counts contradict each other"));
        }
        if self.first_seqno > self.last_seqno {
            return Err(Corruption("a table's first and last are in the wrong order"));
        }
        for handle in [Some(self.index), self.filter, Some(self.properties), Some(self.statistics)]
            .into_iter()
            .flatten()
        {
            handle.check(self.bytes)?;
        }
        if let Some(PrefixFilter { block, extractor }) = &self.prefix_filter {
            block.check(self.bytes)?;
            let why = Corruption("the name of a prefix extractor is empty or too long");
            prefix::check_name(extractor).map_err(|_| why)?;
        }
        if let Some(ranges) = self.ranges {
            ranges.block.check(self.bytes)?;
            if !(self.first_seqno..=self.last_seqno).contains(&ranges.newest) || self.tombstones == 0 {
                return Err(Corruption("a table has no such range tombstones as it says"));
            }
        }
        if self.number.is_some_and(|number| {
            (self.first_seqno, self.last_seqno) != (number, number) || self.ranges.is_some()
        }) {
            return Err(Corruption("a table that was given a number has other numbers too"));
        }
        let separated = self.blobs.iter().fold(0, |sum, of| u64::saturating_add(sum, of.records));
        if separated > self.entries - self.tombstones {
            return Err(Corruption("a table points to more values than it has entries"));
        }
        self.mirror().check(self.bytes)
    }

    /// The same table, all of whose entries have this number from now on: one that was written without numbers.
    ///
    /// # Panics
    ///
    /// If it has numbers already.
    pub(crate) fn numbered(self, number: Seqno) -> TableMeta {
        assert!(self.last_seqno == Seqno::ZERO && self.ranges.is_none(), "it was written without numbers");
        TableMeta { first_seqno: number, last_seqno: number, number: Some(number), ..self }
    }

    /// The first and the last number that the file itself says.
    pub(super) fn written_seqnos(&self) -> (Seqno, Seqno) {
        match self.number {
            Some(_) => (Seqno::ZERO, Seqno::ZERO),
            None => (self.first_seqno, self.last_seqno),
        }
    }

    /// Says whether the first and the last key are in this order.
    pub(super) fn check_keys(&self, order: &KeyOrder) -> Result<(), Corruption> {
        if order.is_at_most(&self.first_key, &self.last_key) {
            return Ok(());
        }
        Err(Corruption("a table's first and last are in the wrong order"))
    }

    /// Size of its filters in the file, that of prefixes too.
    pub fn filter_bytes(&self) -> u64 {
        self.filter.map_or(0, |directory| directory.end().saturating_sub(self.statistics.end()))
    }

    /// Index and properties another time.
    pub(super) fn mirror(&self) -> Mirror {
        Mirror::of(self.mirror_at, self.index, self.properties)
    }
}

/// The upper end of keys up to and with this one. Under the order of bytes it is told by the key's successor, so that a seek
/// to what lies behind the range does not come back to what ends with the key; under others no key has one that is known.
pub(super) fn up_to(mut key: Vec<u8>, order: &KeyOrder) -> Bound<Vec<u8>> {
    if !order.is_bytewise() {
        return Bound::Included(key);
    }
    key.push(0);
    Bound::Excluded(key)
}

/// A value of fixed size.
pub(super) fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Corruption> {
    value.try_into().map_err(|_| Corruption("a field has another length than its kind"))
}

/// A sequence number.
pub(super) fn seqno(value: &[u8]) -> Result<Seqno, Corruption> {
    Seqno::from_raw(TlvReader::as_u64(value)?).ok_or(Corruption("a sequence number exceeds the greatest"))
}

/// A name.
pub(super) fn text(value: &[u8]) -> Result<String, Corruption> {
    String::from_utf8(Vec::from(value)).map_err(|_| Corruption("a name is not UTF-8"))
}

/// A user key.
pub(super) fn user_key(value: &[u8]) -> Result<Vec<u8>, Corruption> {
    if value.len() > MAX_KEY_BYTES {
        return Err(Corruption("a key exceeds the longest"));
    }
    Ok(Vec::from(value))
}
