//! What a table says of its content: enough to rebuild a lost manifest. Layout: `docs/format.md` §4.4.

use super::{
    fields::{once, required},
    filter::{FilterKind, FilterOptions},
    meta::{RangeBlock, fixed, seqno, text, user_key},
};
use crate::{
    codec::{Compression, Corruption, Reader, TlvReader, TlvWriter},
    dictionary::DictionaryHandle,
    expiry::ExpiryBounds,
    key::{BYTE_ORDER_NAME, ValueKind},
    types::{Level, Seqno, TreeId, UnixUs, Uuid},
};
use alloc::{string::String, vec::Vec};

/// What a table's writer cannot know, given by its caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PropertySeed {
    /// The tree it is written for.
    pub tree: TreeId,
    /// That tree's name.
    pub tree_name: String,
    /// That tree's options, encoded by their owner.
    pub tree_options: Vec<u8>,
    /// Name of the order of keys.
    pub comparator: String,
    /// Name of the merge operator; empty: none.
    pub merge_operator: String,
    /// Name of the prefix extractor; empty: none.
    pub extractor: String,
    /// Uuids of the tables it was merged from, and of those that these descend from and that somebody held yet; none for a
    /// flushed one.
    pub lineage: Vec<Uuid>,
    /// The level it is written for.
    pub level: Level,
    /// Place of its run among the runs of its tree: greater ones are newer.
    pub run_age: u64,
    /// When it is written.
    pub created_at: UnixUs,
    /// Everything up to here is in tables once it is installed; 0 unless flushed.
    pub replay_point: Seqno,
}

impl PropertySeed {
    /// Of a table of level 0 of a tree without operators.
    pub fn new(tree: TreeId, tree_name: impl Into<String>, created_at: UnixUs) -> PropertySeed {
        PropertySeed {
            tree,
            tree_name: tree_name.into(),
            tree_options: Vec::new(),
            comparator: BYTE_ORDER_NAME.into(),
            merge_operator: String::new(),
            extractor: String::new(),
            lineage: Vec::new(),
            level: Level(0),
            run_age: 0,
            created_at,
            replay_point: Seqno::ZERO,
        }
    }
}

/// Entries by kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct KindCounts([u64; KindCounts::KINDS]);

impl KindCounts {
    /// Kinds have numbers 1 to 11.
    const KINDS: usize = 11;
    /// So many are always told of.
    const TOLD: usize = 7;

    /// Entries of one kind.
    pub fn of(&self, kind: ValueKind) -> u64 {
        self.0[kind as usize - 1]
    }

    /// Entries of all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Deletes of all kinds.
    pub fn tombstones(&self) -> u64 {
        let deletes = [ValueKind::Delete, ValueKind::DeleteWeak, ValueKind::DeleteRange];
        deletes.iter().fold(0, |sum, &kind| sum.saturating_add(self.of(kind)))
    }

    /// Eight bytes a kind, of kinds 1 to 7, and of those behind up to the last that there is.
    fn encode(&self) -> Vec<u8> {
        let last = self.0.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        let told = last.max(Self::TOLD);
        self.0[..told].iter().flat_map(|count| count.to_le_bytes()).collect()
    }

    /// Counts an entry.
    pub(super) fn add(&mut self, kind: ValueKind) {
        self.0[kind as usize - 1] += 1;
    }
}

/// What a table says of its content.
#[derive(Clone, PartialEq, Debug)]
pub struct Properties {
    /// What the caller of its writer said.
    pub seed: PropertySeed,
    /// Entries by kind.
    pub counts: KindCounts,
    /// Least user key.
    pub first_key: Vec<u8>,
    /// Greatest user key.
    pub last_key: Vec<u8>,
    /// Least number of a version.
    pub first_seqno: Seqno,
    /// Greatest number of a version.
    pub last_seqno: Seqno,
    /// Lengths of the user keys of all entries together.
    pub key_bytes: u64,
    /// Lengths of the stored values of all entries together.
    pub value_bytes: u64,
    /// Number of data blocks.
    pub data_blocks: u64,
    /// How values are compressed, where that saves enough.
    pub compression: Compression,
    /// Which filter was asked for; the table's own may be of another kind if keys are few.
    pub filter: Option<FilterOptions>,
    /// The dictionary that values may be compressed against.
    pub dictionary: Option<DictionaryHandle>,
    /// Its range tombstones, if it has some.
    pub ranges: Option<RangeBlock>,
    /// When its entries expire, if some do.
    pub expiry: Option<ExpiryBounds>,
}

mod tag {
    pub(super) const TREE: u8 = 1;
    pub(super) const TREE_NAME: u8 = 2;
    pub(super) const TREE_OPTIONS: u8 = 3;
    pub(super) const COMPARATOR: u8 = 4;
    pub(super) const MERGE_OPERATOR: u8 = 5;
    pub(super) const EXTRACTOR: u8 = 6;
    pub(super) const LINEAGE: u8 = 7;
    pub(super) const LEVEL: u8 = 8;
    pub(super) const RUN_AGE: u8 = 9;
    pub(super) const CREATED_AT: u8 = 10;
    pub(super) const REPLAY_POINT: u8 = 11;
    pub(super) const COUNTS: u8 = 12;
    pub(super) const FIRST_KEY: u8 = 13;
    pub(super) const LAST_KEY: u8 = 14;
    pub(super) const FIRST_SEQNO: u8 = 15;
    pub(super) const LAST_SEQNO: u8 = 16;
    pub(super) const KEY_BYTES: u8 = 17;
    pub(super) const VALUE_BYTES: u8 = 18;
    pub(super) const DATA_BLOCKS: u8 = 19;
    pub(super) const COMPRESSION: u8 = 20;
    pub(super) const FILTER: u8 = 21;
    pub(super) const DICTIONARY: u8 = 22;
    pub(super) const RANGES: u8 = 23;
    pub(super) const EXPIRY: u8 = 24;
}

impl Properties {
    /// Encodes the content of the properties block; [`Properties::decode`] is its inverse.
    ///
    /// | tag | field                          | tag | field                              |
    /// |-----|--------------------------------|-----|------------------------------------|
    /// | 1   | tree id                        | 11  | replay point                       |
    /// | 2   | tree name                      | 12  | entries of kinds 1 to 7, u64 each, of 8 if there are any |
    /// | 3   | tree options                   | 13  | first key                          |
    /// | 4   | comparator                     | 14  | last key                           |
    /// | 5   | merge operator                 | 15  | first seqno                        |
    /// | 6   | prefix extractor               | 16  | last seqno                         |
    /// | 7   | lineage: uuids, 16 bytes each  | 17  | bytes of keys                      |
    /// | 8   | level                          | 18  | bytes of values                    |
    /// | 9   | run age                        | 19  | data blocks                        |
    /// | 10  | created at                     | 20  | compression                        |
    /// | 21  | filter: kind u8, bits a key f32 | 22 | dictionary handle, if there is one |
    /// | 23  | range tombstones, if there are: handle, newest u64 | 24 | when entries expire, if some do: first u64, last u64 |
    pub(super) fn encode(&self) -> Vec<u8> {
        let seed = &self.seed;
        let mut fields = TlvWriter::new();
        fields.u64(tag::TREE, seed.tree.0.into());
        fields.bytes(tag::TREE_NAME, seed.tree_name.as_bytes());
        fields.bytes(tag::TREE_OPTIONS, &seed.tree_options);
        fields.bytes(tag::COMPARATOR, seed.comparator.as_bytes());
        fields.bytes(tag::MERGE_OPERATOR, seed.merge_operator.as_bytes());
        fields.bytes(tag::EXTRACTOR, seed.extractor.as_bytes());
        let lineage: Vec<u8> = seed.lineage.iter().flat_map(|uuid| uuid.0).collect();
        fields.bytes(tag::LINEAGE, &lineage);
        fields.u64(tag::LEVEL, seed.level.0.into());
        fields.u64(tag::RUN_AGE, seed.run_age);
        fields.u64(tag::CREATED_AT, seed.created_at.0);
        fields.u64(tag::REPLAY_POINT, seed.replay_point.raw());
        fields.bytes(tag::COUNTS, &self.counts.encode());
        fields.bytes(tag::FIRST_KEY, &self.first_key);
        fields.bytes(tag::LAST_KEY, &self.last_key);
        fields.u64(tag::FIRST_SEQNO, self.first_seqno.raw());
        fields.u64(tag::LAST_SEQNO, self.last_seqno.raw());
        fields.u64(tag::KEY_BYTES, self.key_bytes);
        fields.u64(tag::VALUE_BYTES, self.value_bytes);
        fields.u64(tag::DATA_BLOCKS, self.data_blocks);
        fields.u64(tag::COMPRESSION, u16::from_le_bytes(self.compression.encode()).into());
        fields.bytes(tag::FILTER, &encode_filter(self.filter));
        if let Some(dictionary) = self.dictionary {
            fields.bytes(tag::DICTIONARY, &dictionary.encode());
        }
        if let Some(ranges) = self.ranges {
            fields.bytes(tag::RANGES, &ranges.encode());
        }
        if let Some(expiry) = self.expiry {
            fields.bytes(tag::EXPIRY, &expiry.encode());
        }
        fields.finish()
    }

    /// Decodes the content of a properties block.
    ///
    /// # Errors
    ///
    /// A field is missing, repeated or malformed.
    pub(super) fn decode(bytes: &[u8]) -> Result<Properties, Corruption> {
        let (mut tree, mut tree_name, mut tree_options, mut comparator) = (None, None, None, None);
        let (mut merge_operator, mut extractor, mut lineage) = (None, None, None);
        let (mut level, mut run_age, mut created_at, mut replay_point) = (None, None, None, None);
        let (mut counts, mut first_key, mut last_key) = (None, None, None);
        let (mut first_seqno, mut last_seqno, mut key_bytes, mut value_bytes) = (None, None, None, None);
        let (mut data_blocks, mut compression, mut filter, mut dictionary) = (None, None, None, None);
        let (mut ranges, mut expiry) = (None, None);
        let mut fields = TlvReader::new(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                tag::TREE => once(&mut tree, TreeId(narrow(value)?))?,
                tag::TREE_NAME => once(&mut tree_name, text(value)?)?,
                tag::TREE_OPTIONS => once(&mut tree_options, Vec::from(value))?,
                tag::COMPARATOR => once(&mut comparator, text(value)?)?,
                tag::MERGE_OPERATOR => once(&mut merge_operator, text(value)?)?,
                tag::EXTRACTOR => once(&mut extractor, text(value)?)?,
                tag::LINEAGE => once(&mut lineage, uuids(value)?)?,
                tag::LEVEL => once(&mut level, Level(narrow(value)?))?,
                tag::RUN_AGE => once(&mut run_age, TlvReader::as_u64(value)?)?,
                tag::CREATED_AT => once(&mut created_at, UnixUs(TlvReader::as_u64(value)?))?,
                tag::REPLAY_POINT => once(&mut replay_point, seqno(value)?)?,
                tag::COUNTS => once(&mut counts, kind_counts(value)?)?,
                tag::FIRST_KEY => once(&mut first_key, user_key(value)?)?,
                tag::LAST_KEY => once(&mut last_key, user_key(value)?)?,
                tag::FIRST_SEQNO => once(&mut first_seqno, seqno(value)?)?,
                tag::LAST_SEQNO => once(&mut last_seqno, seqno(value)?)?,
                tag::KEY_BYTES => once(&mut key_bytes, TlvReader::as_u64(value)?)?,
                tag::VALUE_BYTES => once(&mut value_bytes, TlvReader::as_u64(value)?)?,
                tag::DATA_BLOCKS => once(&mut data_blocks, TlvReader::as_u64(value)?)?,
                tag::COMPRESSION => once(&mut compression, compression_of(value)?)?,
                tag::FILTER => once(&mut filter, decode_filter(value)?)?,
                tag::DICTIONARY => once(&mut dictionary, DictionaryHandle::decode(fixed(value)?)?)?,
                tag::RANGES => once(&mut ranges, RangeBlock::decode(fixed(value)?)?)?,
                tag::EXPIRY => once(&mut expiry, ExpiryBounds::decode(fixed(value)?)?)?,
                unknown => TlvReader::unknown(unknown)?,
            }
        }
        Ok(Properties {
            seed: PropertySeed {
                tree: required(tree)?,
                tree_name: required(tree_name)?,
                tree_options: required(tree_options)?,
                comparator: required(comparator)?,
                merge_operator: required(merge_operator)?,
                extractor: required(extractor)?,
                lineage: required(lineage)?,
                level: required(level)?,
                run_age: required(run_age)?,
                created_at: required(created_at)?,
                replay_point: required(replay_point)?,
            },
            counts: required(counts)?,
            first_key: required(first_key)?,
            last_key: required(last_key)?,
            first_seqno: required(first_seqno)?,
            last_seqno: required(last_seqno)?,
            key_bytes: required(key_bytes)?,
            value_bytes: required(value_bytes)?,
            data_blocks: required(data_blocks)?,
            compression: required(compression)?,
            filter: required(filter)?,
            dictionary,
            ranges,
            expiry,
        })
    }
}

fn narrow<T: TryFrom<u64>>(value: &[u8]) -> Result<T, Corruption> {
    T::try_from(TlvReader::as_u64(value)?).map_err(|_| Corruption("a number exceeds its bounds"))
}

fn uuids(value: &[u8]) -> Result<Vec<Uuid>, Corruption> {
    let (uuids, left) = value.as_chunks();
    if !left.is_empty() {
        return Err(Corruption("a list of uuids ends inside one"));
    }
    Ok(uuids.iter().map(|&uuid| Uuid(uuid)).collect())
}

fn kind_counts(value: &[u8]) -> Result<KindCounts, Corruption> {
    let mut fields = Reader::new(value);
    let mut counts = [0; KindCounts::KINDS];
    let told = (value.len() / 8).clamp(KindCounts::TOLD, KindCounts::KINDS);
    for count in &mut counts[..told] {
        *count = fields.u64()?;
    }
    fields.finish()?;
    Ok(KindCounts(counts))
}

fn compression_of(value: &[u8]) -> Result<Compression, Corruption> {
    Compression::decode(narrow::<u16>(value)?.to_le_bytes()).ok_or(Corruption("unknown compression"))
}

/// Kind 0 is none, with zero bits.
fn encode_filter(filter: Option<FilterOptions>) -> [u8; 5] {
    let (kind, bits_per_key) = match filter {
        None => (0, 0.0),
        Some(FilterOptions { kind: FilterKind::Bloom, bits_per_key }) => (1, bits_per_key),
        Some(FilterOptions { kind: FilterKind::Burr, bits_per_key }) => (2, bits_per_key),
    };
    let [a, b, c, d] = f32::to_le_bytes(bits_per_key);
    [kind, a, b, c, d]
}

fn decode_filter(value: &[u8]) -> Result<Option<FilterOptions>, Corruption> {
    const UNKNOWN: Corruption = Corruption("unknown kind of filter");
    let [kind, bits_per_key @ ..] = fixed::<5>(value)?;
    let bits_per_key = f32::from_le_bytes(bits_per_key);
    let kind = match kind {
        0 if bits_per_key.to_bits() == 0 => return Ok(None),
        1 => FilterKind::Bloom,
        2 => FilterKind::Burr,
        _ => return Err(UNKNOWN),
    };
    let filter = FilterOptions { kind, bits_per_key };
    filter.validate().map(|()| Some(filter)).map_err(|_| UNKNOWN)
}
