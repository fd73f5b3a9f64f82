//! Options of a tree: validated once, stored with it, read back at open.

use super::filters::FilterPolicy;
use crate::{
    codec::{Compression, Corruption, Dictionary, Parity, TlvReader, TlvWriter},
    compaction::CompactionFilterFactory,
    error::{Error, ErrorKind, Result},
    key::BYTE_ORDER_NAME,
    merge_operator::MergeOperator,
    named::check_name,
    order::{Comparator, ORDER_TAG},
    prefix::PrefixExtractor,
    types::Level,
};
use alloc::{format, string::String, vec::Vec};

/// A value for each level; the last repeats. Never empty.
#[derive(Clone, PartialEq, Debug)]
pub struct PerLevel<T>(pub Vec<T>);

impl<T: Clone> PerLevel<T> {
    /// The value for a level.
    ///
    /// # Panics
    ///
    /// If there are no values, which [`TreeOptions::validate`] refuses.
    pub fn at(&self, level: Level) -> T {
        self.0[usize::from(level.0).min(self.0.len() - 1)].clone()
    }
}

impl<T> From<T> for PerLevel<T> {
    fn from(every_level: T) -> PerLevel<T> {
        PerLevel(Vec::from([every_level]))
    }
}

/// Options of a tree.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct TreeOptions {
    /// Name of the [`Comparator`](crate::order::Comparator) that says how keys are ordered: one that is built in or registered
    /// with the store. It never changes. Default `isopach.bytes`.
    pub comparator: String,
    /// How sections of tables are compressed. Default: none in level 0, then LZ4 if that is compiled in.
    pub compression: PerLevel<Compression>,
    /// Size of data blocks, 4 KiB to 1 MiB. Default 16 KiB.
    pub block_bytes: PerLevel<u32>,
    /// Filters of tables. Default [`FilterPolicy::ByDepth`] with 7 bits.
    pub filters: PerLevel<FilterPolicy>,
    /// Size of the parts that filters and long indexes are read and kept in, 1 KiB to 16 MiB. Default 64 KiB.
    pub partition_bytes: PerLevel<u32>,
    /// Size that tables are cut near, 64 KiB to 4 GiB. Default 64 MiB.
    pub table_bytes: u64,
    /// Name of the [`PrefixExtractor`](crate::prefix::PrefixExtractor) whose prefixes tables have filters of, where
    /// they have filters: one that is built in or registered with the store. Default: none.
    pub prefix_extractor: Option<String>,
    /// Name of the [`MergeOperator`](crate::merge_operator::MergeOperator) that operands are for: one that is built in or
    /// registered with the store. Once a tree has one it stays. Default: none, and there are no operands.
    pub merge_operator: Option<String>,
    /// Name of the [`CompactionFilterFactory`](crate::compaction::CompactionFilterFactory) that is registered with the
    /// store and decides about values when tables are written. Default: none.
    pub compaction_filter: Option<String>,
    /// Whether each entry gets a checksum of its own when it is applied, which goes with it from the memtable through all
    /// tables: what changes it in memory meanwhile is noticed by flush, compaction, check and point read. Takes 4 bytes
    /// an entry. Default no.
    pub entry_checksums: bool,
    /// Size of a dictionary that compactions train for levels compressed by Zstandard, 1 KiB to 1 MiB; 0: they train
    /// none. Default 0.
    ///
    /// Worth trying where values are short and alike, such as records in JSON; 16 KiB are a good size for these.
    /// Off unless asked for: other values gain nothing by it, and tables cannot be read without the file any more.
    pub dictionary_bytes: u32,
    /// Values of at least so many bytes are separated when a table is written: they lie in files of their own, and
    /// compactions of their keys leave them there. 64 or more; `None`: all stay in tables. Default none.
    ///
    /// Worth it from some KiB on, where values are overwritten more often than they are read in the order of keys.
    pub blobs_from_bytes: Option<u32>,
    /// Size that files of separated values are cut near, 64 KiB to 4 GiB. Default 64 MiB.
    pub blob_file_bytes: u64,
    /// Of all separated bytes so many percent may be stale; beyond that, live values are taken out of the files of which
    /// most is. 1 to 100; 100: never. Default 25.
    pub blob_garbage_percent: u8,
    /// What restores tables that their medium damages. Default: none.
    pub parity: PerLevel<Parity>,
    /// The same of files of separated values. Default: none.
    pub blob_parity: Parity,
}

impl Default for TreeOptions {
    fn default() -> TreeOptions {
        let below = if Compression::Lz4.is_available() { Compression::Lz4 } else { Compression::None };
        TreeOptions {
            comparator: BYTE_ORDER_NAME.into(),
            compression: PerLevel(Vec::from([Compression::None, below])),
            block_bytes: (16 << 10).into(),
            filters: FilterPolicy::ByDepth(7.0).into(),
            partition_bytes: (64 << 10).into(),
            table_bytes: 64 << 20,
            prefix_extractor: None,
            merge_operator: None,
            compaction_filter: None,
            entry_checksums: false,
            dictionary_bytes: 0,
            blobs_from_bytes: None,
            blob_file_bytes: 64 << 20,
            blob_garbage_percent: 25,
            parity: Parity::None.into(),
            blob_parity: Parity::None,
        }
    }
}

const COMPARATOR: u8 = ORDER_TAG;
const COMPRESSION: u8 = 2;
const BLOCK_BYTES: u8 = 3;
const FILTERS: u8 = 4;
const TABLE_BYTES: u8 = 5;
const PARTITION_BYTES: u8 = 6;
const PREFIX_EXTRACTOR: u8 = 7;
const ENTRY_CHECKSUMS: u8 = 8;
const DICTIONARY_BYTES: u8 = 9;
const MERGE_OPERATOR: u8 = 10;
const COMPACTION_FILTER: u8 = 11;
const BLOBS_FROM_BYTES: u8 = 12;
const BLOB_FILE_BYTES: u8 = 13;
const BLOB_GARBAGE_PERCENT: u8 = 14;
const PARITY: u8 = 15;
const BLOB_PARITY: u8 = 16;

/// On disk a filter is an `f32`: its bits per key, or less than zero the bits by depth; none is zero bits.
const NO_FILTER: f32 = 0.0;

impl TreeOptions {
    /// Checks every bound.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` naming the option; `UnsupportedFeature` for a compression that is not compiled in.
    pub fn validate(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::new(ErrorKind::InvalidArgument, what));
        let lengths = [
            self.compression.0.len(),
            self.block_bytes.0.len(),
            self.filters.0.len(),
            self.partition_bytes.0.len(),
            self.parity.0.len(),
        ];
        if lengths.iter().any(|&levels| levels == 0 || levels > 255) {
            return invalid("an option per level needs 1 to 255 values".into());
        }
        for &compression in &self.compression.0 {
            if let Compression::Zstd { level } = compression
                && !Compression::ZSTD_LEVELS.contains(&level)
            {
                return invalid(format!("a zstd level is {level}, not -7 to 22"));
            }
            if !compression.is_available() {
                let message = format!("compression {compression} is not compiled in: enable its feature");
                return Err(Error::new(ErrorKind::UnsupportedFeature, message));
            }
        }
        for &bytes in &self.block_bytes.0 {
            if !(4 << 10..=1 << 20).contains(&bytes) {
                return invalid(format!("block_bytes is {bytes}, not 4 KiB to 1 MiB"));
            }
        }
        for &policy in &self.filters.0 {
            policy.validate()?;
        }
        for &bytes in &self.partition_bytes.0 {
            if !(1 << 10..=16 << 20).contains(&bytes) {
                return invalid(format!("partition_bytes is {bytes}, not 1 KiB to 16 MiB"));
            }
        }
        if !(64 << 10..=4 << 30).contains(&self.table_bytes) {
            return invalid(format!("table_bytes is {}, not 64 KiB to 4 GiB", self.table_bytes));
        }
        if self.dictionary_bytes != 0 && !Dictionary::BYTES.contains(&self.dictionary_bytes) {
            return invalid(format!(
                "dictionary_bytes is {}, not 0 or 1 KiB to 1 MiB",
                self.dictionary_bytes
            ));
        }
        if let Some(bytes) = self.blobs_from_bytes.filter(|&bytes| bytes < 64) {
            return invalid(format!("blobs_from_bytes is {bytes}, not 64 or more"));
        }
        if !(64 << 10..=4 << 30).contains(&self.blob_file_bytes) {
            return invalid(format!("blob_file_bytes is {}, not 64 KiB to 4 GiB", self.blob_file_bytes));
        }
        if !(1..=100).contains(&self.blob_garbage_percent) {
            return invalid(format!("blob_garbage_percent is {}, not 1 to 100", self.blob_garbage_percent));
        }
        self.parity.0.iter().chain([&self.blob_parity]).try_for_each(|parity| parity.validate())?;
        check_name::<dyn Comparator>(&self.comparator)?;
        self.prefix_extractor.as_deref().map_or(Ok(()), check_name::<dyn PrefixExtractor>)?;
        self.merge_operator.as_deref().map_or(Ok(()), check_name::<dyn MergeOperator>)?;
        self.compaction_filter.as_deref().map_or(Ok(()), check_name::<dyn CompactionFilterFactory>)
    }

    /// Encodes the options; [`TreeOptions::decode`] is the inverse.
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = TlvWriter::new();
        fields.bytes(COMPARATOR, self.comparator.as_bytes());
        let compression: Vec<u8> = self.compression.0.iter().flat_map(|how| how.encode()).collect();
        fields.bytes(COMPRESSION, &compression);
        let sizes = |levels: &PerLevel<u32>| -> Vec<u8> {
            levels.0.iter().flat_map(|bytes| bytes.to_le_bytes()).collect()
        };
        fields.bytes(BLOCK_BYTES, &sizes(&self.block_bytes));
        let bits = |policy: &FilterPolicy| match *policy {
            FilterPolicy::None => NO_FILTER,
            FilterPolicy::BitsPerKey(bits) => bits,
            FilterPolicy::ByDepth(bits) => -bits,
        };
        let filters: Vec<u8> = self.filters.0.iter().flat_map(|policy| bits(policy).to_le_bytes()).collect();
        fields.bytes(FILTERS, &filters);
        fields.u64(TABLE_BYTES, self.table_bytes);
        fields.bytes(PARTITION_BYTES, &sizes(&self.partition_bytes));
        if let Some(name) = &self.prefix_extractor {
            fields.bytes(PREFIX_EXTRACTOR, name.as_bytes());
        }
        if let Some(name) = &self.merge_operator {
            fields.bytes(MERGE_OPERATOR, name.as_bytes());
        }
        if let Some(name) = &self.compaction_filter {
            fields.bytes(COMPACTION_FILTER, name.as_bytes());
        }
        if self.entry_checksums {
            fields.u64(ENTRY_CHECKSUMS, 1);
        }
        if self.dictionary_bytes != 0 {
            fields.u64(DICTIONARY_BYTES, self.dictionary_bytes.into());
        }
        if let Some(bytes) = self.blobs_from_bytes {
            fields.u64(BLOBS_FROM_BYTES, bytes.into());
        }
        let default = TreeOptions::default();
        if self.blob_file_bytes != default.blob_file_bytes {
            fields.u64(BLOB_FILE_BYTES, self.blob_file_bytes);
        }
        if self.blob_garbage_percent != default.blob_garbage_percent {
            fields.u64(BLOB_GARBAGE_PERCENT, self.blob_garbage_percent.into());
        }
        if self.parity != default.parity {
            let parity: Vec<u8> = self.parity.0.iter().flat_map(|parity| parity.to_raw()).collect();
            fields.bytes(PARITY, &parity);
        }
        if self.blob_parity != Parity::None {
            fields.bytes(BLOB_PARITY, &self.blob_parity.to_raw());
        }
        fields.finish()
    }

    /// Decodes stored options.
    ///
    /// # Errors
    ///
    /// The bytes are no options.
    pub fn decode(bytes: &[u8]) -> Result<TreeOptions> {
        let corrupt = |why: Corruption| {
            Error::new(ErrorKind::Corruption, format!("stored options of a tree cannot be read: {why}"))
        };
        let mut options = TreeOptions::default();
        let mut fields = TlvReader::new(bytes);
        while let Some((tag, value)) = fields.next_field().map_err(corrupt)? {
            match tag {
                COMPRESSION => {
                    let (levels, rest) = value.as_chunks();
                    let levels: Option<Vec<_>> = levels.iter().map(|how| Compression::decode(*how)).collect();
                    let levels = levels.filter(|_| rest.is_empty());
                    options.compression = PerLevel(levels.ok_or(corrupt(Corruption("unknown compression")))?);
                }
                BLOCK_BYTES | FILTERS | PARTITION_BYTES if value.len() % 4 != 0 => {
                    return Err(corrupt(Corruption("a list of numbers ends inside one")));
                }
                BLOCK_BYTES => options.block_bytes = PerLevel(words(value).map(u32::from_le_bytes).collect()),
                PARTITION_BYTES => {
                    options.partition_bytes = PerLevel(words(value).map(u32::from_le_bytes).collect());
                }
                FILTERS => {
                    let policy = |bits: f32| match bits {
                        NO_FILTER => FilterPolicy::None,
                        ..NO_FILTER => FilterPolicy::ByDepth(-bits),
                        _ => FilterPolicy::BitsPerKey(bits),
                    };
                    options.filters = PerLevel(words(value).map(f32::from_le_bytes).map(policy).collect());
                }
                TABLE_BYTES => options.table_bytes = TlvReader::as_u64(value).map_err(corrupt)?,
                COMPARATOR | PREFIX_EXTRACTOR | MERGE_OPERATOR | COMPACTION_FILTER => {
                    let name = String::from_utf8(value.into());
                    let name = name.map_err(|_| corrupt(Corruption("a name is not UTF-8")))?;
                    match tag {
                        COMPARATOR => options.comparator = name,
                        PREFIX_EXTRACTOR => options.prefix_extractor = Some(name),
                        MERGE_OPERATOR => options.merge_operator = Some(name),
                        _ => options.compaction_filter = Some(name),
                    }
                }
                ENTRY_CHECKSUMS => options.entry_checksums = TlvReader::as_u64(value).map_err(corrupt)? != 0,
                DICTIONARY_BYTES => options.dictionary_bytes = narrow(value).map_err(corrupt)?,
                BLOBS_FROM_BYTES => options.blobs_from_bytes = Some(narrow(value).map_err(corrupt)?),
                BLOB_FILE_BYTES => options.blob_file_bytes = TlvReader::as_u64(value).map_err(corrupt)?,
                PARITY => options.parity = PerLevel(parities(value).map_err(corrupt)?),
                BLOB_PARITY => match parities(value).map_err(corrupt)?[..] {
                    [parity] => options.blob_parity = parity,
                    _ => return Err(corrupt(Corruption("parity is named by 3 bytes"))),
                },
                BLOB_GARBAGE_PERCENT => options.blob_garbage_percent = narrow(value).map_err(corrupt)?,
                unknown => TlvReader::unknown(unknown).map_err(corrupt)?,
            }
        }
        options.validate()?;
        Ok(options)
    }
}

fn narrow<T: TryFrom<u64>>(value: &[u8]) -> core::result::Result<T, Corruption> {
    T::try_from(TlvReader::as_u64(value)?).map_err(|_| Corruption("a number exceeds its bound"))
}

fn parities(value: &[u8]) -> core::result::Result<Vec<Parity>, Corruption> {
    let (levels, rest) = value.as_chunks();
    if rest.is_empty() {
        Ok(levels.iter().map(|&raw| Parity::from_raw(raw)).collect())
    } else {
        Err(Corruption("parity is named by 3 bytes"))
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    bytes.chunks_exact(4).map(|word| word.try_into().expect("four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_they_were_stored() {
        let policies = [FilterPolicy::None, FilterPolicy::BitsPerKey(4.5), FilterPolicy::ByDepth(7.0)];
        let options = TreeOptions {
            filters: PerLevel(policies.into()),
            prefix_extractor: Some("app.tenant".into()),
            entry_checksums: true,
            dictionary_bytes: 16 << 10,
            blobs_from_bytes: Some(4 << 10),
            blob_file_bytes: 1 << 20,
            blob_garbage_percent: 50,
            parity: PerLevel(Vec::from([Parity::None, Parity::SecDed])),
            blob_parity: Parity::Xor { data: 8 },
            ..TreeOptions::default()
        };

        assert_eq!(TreeOptions::decode(&options.encode()).unwrap(), options);
    }

    #[test]
    fn names_of_extractors_are_bounded_and_text() {
        let named = |name: &[u8]| {
            let mut fields = TlvWriter::new();
            fields.bytes(PREFIX_EXTRACTOR, name);
            TreeOptions::decode(&fields.finish())
        };
        assert!(named(&[b'n'; 255]).is_ok());
        for name in [&b""[..], &[b'n'; 256], &[0xff]] {
            assert!(named(name).is_err(), "{name:?}");
        }
    }
}
