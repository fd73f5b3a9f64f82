//! Options of a tree: validated once, stored with it, read back at open.

use super::filters::FilterPolicy;
use crate::{
    codec::{Compression, Corruption, TlvReader, TlvWriter},
    error::{Error, ErrorKind, Result},
    key::BYTE_ORDER_NAME,
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
    /// How sections of tables are compressed. Default: none in level 0, then LZ4 if that is compiled in.
    pub compression: PerLevel<Compression>,
    /// Size of data blocks, 4 KiB to 1 MiB. Default 16 KiB.
    pub block_bytes: PerLevel<u32>,
    /// Filters of tables. Default [`FilterPolicy::ByDepth`] with 7 bits.
    pub filters: PerLevel<FilterPolicy>,
    /// Size that tables are cut near, 64 KiB to 4 GiB. Default 64 MiB.
    pub table_bytes: u64,
}

impl Default for TreeOptions {
    fn default() -> TreeOptions {
        let below = if Compression::Lz4.is_available() { Compression::Lz4 } else { Compression::None };
        TreeOptions {
            compression: PerLevel(Vec::from([Compression::None, below])),
            block_bytes: (16 << 10).into(),
            filters: FilterPolicy::ByDepth(7.0).into(),
            table_bytes: 64 << 20,
        }
    }
}

const COMPARATOR: u8 = 1;
const COMPRESSION: u8 = 2;
const BLOCK_BYTES: u8 = 3;
const FILTERS: u8 = 4;
const TABLE_BYTES: u8 = 5;

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
        let lengths = [self.compression.0.len(), self.block_bytes.0.len(), self.filters.0.len()];
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
        if !(64 << 10..=4 << 30).contains(&self.table_bytes) {
            return invalid(format!("table_bytes is {}, not 64 KiB to 4 GiB", self.table_bytes));
        }
        Ok(())
    }

    /// Encodes the options; [`TreeOptions::decode`] is the inverse.
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = TlvWriter::new();
        fields.bytes(COMPARATOR, BYTE_ORDER_NAME.as_bytes());
        let compression: Vec<u8> = self.compression.0.iter().flat_map(|how| how.encode()).collect();
        fields.bytes(COMPRESSION, &compression);
        let blocks: Vec<u8> = self.block_bytes.0.iter().flat_map(|bytes| bytes.to_le_bytes()).collect();
        fields.bytes(BLOCK_BYTES, &blocks);
        let bits = |policy: &FilterPolicy| match *policy {
            FilterPolicy::None => NO_FILTER,
            FilterPolicy::BitsPerKey(bits) => bits,
            FilterPolicy::ByDepth(bits) => -bits,
        };
        let filters: Vec<u8> = self.filters.0.iter().flat_map(|policy| bits(policy).to_le_bytes()).collect();
        fields.bytes(FILTERS, &filters);
        fields.u64(TABLE_BYTES, self.table_bytes);
        fields.finish()
    }

    /// Decodes stored options.
    ///
    /// # Errors
    ///
    /// The bytes are no options; `MissingComparator` naming the order of keys that is not known.
    pub fn decode(bytes: &[u8]) -> Result<TreeOptions> {
        let corrupt = |why: Corruption| {
            Error::new(ErrorKind::Corruption, format!("stored options of a tree cannot be read: {why}"))
        };
        let mut options = TreeOptions::default();
        let mut fields = TlvReader::new(bytes);
        while let Some((tag, value)) = fields.next_field().map_err(corrupt)? {
            match tag {
                COMPARATOR if value == BYTE_ORDER_NAME.as_bytes() => {}
                COMPARATOR => {
                    let message =
                        format!("the order of keys {:?} is not known", String::from_utf8_lossy(value));
                    return Err(Error::new(ErrorKind::MissingComparator, message));
                }
                COMPRESSION => {
                    let (levels, rest) = value.as_chunks();
                    let levels: Option<Vec<_>> = levels.iter().map(|how| Compression::decode(*how)).collect();
                    let levels = levels.filter(|_| rest.is_empty());
                    options.compression = PerLevel(levels.ok_or(corrupt(Corruption("unknown compression")))?);
                }
                BLOCK_BYTES | FILTERS if value.len() % 4 != 0 => {
                    return Err(corrupt(Corruption("a list of numbers ends inside one")));
                }
                BLOCK_BYTES => options.block_bytes = PerLevel(words(value).map(u32::from_le_bytes).collect()),
                FILTERS => {
                    let policy = |bits: f32| match bits {
                        NO_FILTER => FilterPolicy::None,
                        ..NO_FILTER => FilterPolicy::ByDepth(-bits),
                        _ => FilterPolicy::BitsPerKey(bits),
                    };
                    options.filters = PerLevel(words(value).map(f32::from_le_bytes).map(policy).collect());
                }
                TABLE_BYTES => options.table_bytes = TlvReader::as_u64(value).map_err(corrupt)?,
                unknown => TlvReader::unknown(unknown).map_err(corrupt)?,
            }
        }
        options.validate()?;
        Ok(options)
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
        let options = TreeOptions { filters: PerLevel(policies.into()), ..TreeOptions::default() };

        assert_eq!(TreeOptions::decode(&options.encode()).unwrap(), options);
    }
}
