//! Membership of user keys: which tables a read need not search. Layout: `docs/format.md` §4.3.
//!
//! Two kinds: a blocked Bloom filter (`bloom.rs`), quick to make, and BuRR (`burr.rs`), which takes two thirds
//! of its space for as few false positives. Neither ever denies a key that was added (INV-FIL-1).

mod bloom;
mod build;
mod burr;
mod hash;
mod lanes;
#[cfg(test)]
mod tests;
mod worth;

pub(super) use build::{BuiltPartition, PartitionsBuilder};
pub use hash::KeyHash;
pub(super) use worth::Worth;

use crate::{
    codec::{Corruption, Reader},
    error::{Error, ErrorKind, Result},
};
use alloc::vec::Vec;
use bloom::Bloom;
use burr::Burr;

/// How a filter is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FilterKind {
    /// A Bloom filter in blocks of one cache line. False positives: 1 % at 10 bits a key, 0.4 % at 12. Takes
    /// 5 ns a key to build.
    Bloom,
    /// Bumped ribbon retrieval: one false positive in `2^bits`, of whole bits up to 16. Takes 80 ns a key to
    /// build. Filters of fewer than 4,096 keys are Bloom filters as good.
    Burr,
}

/// What filter a table gets.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FilterOptions {
    /// How it is built.
    pub kind: FilterKind,
    /// Its size: 2.0 to 24.0 bits for each key.
    pub bits_per_key: f32,
}

impl FilterOptions {
    /// Says whether a filter can be built so.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`.
    pub fn validate(self) -> Result<()> {
        if (2.0..=24.0).contains(&self.bits_per_key) {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::InvalidArgument, "a filter has 2 to 24 bits a key"))
        }
    }
}

/// Below so many keys BuRR saves too few bytes to be worth a slower probe.
const FEW_KEYS: usize = 4096;

/// Bits of a Bloom filter for each bit of BuRR, for about as many false positives.
const BLOOM_FOR_BURR: f32 = 1.5;

/// What is built for so many keys.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Plan {
    Bloom { bits_per_key: f32 },
    Burr { columns: u8 },
}

impl Plan {
    fn of(options: FilterOptions, keys: usize) -> Plan {
        match options.kind {
            FilterKind::Bloom => Plan::Bloom { bits_per_key: options.bits_per_key },
            FilterKind::Burr if keys < FEW_KEYS => {
                Plan::Bloom { bits_per_key: options.bits_per_key * BLOOM_FOR_BURR }
            }
            FilterKind::Burr => {
                let columns = ((options.bits_per_key + 0.5) as u8).clamp(1, burr::MAX_COLUMNS);
                Plan::Burr { columns }
            }
        }
    }
}

/// Collects the keys of one filter.
pub struct FilterBuilder {
    hashes: Vec<KeyHash>,
    options: FilterOptions,
}

impl FilterBuilder {
    /// A filter of no keys yet.
    pub fn new(options: FilterOptions) -> FilterBuilder {
        FilterBuilder { hashes: Vec::new(), options }
    }

    /// Adds a key; takes 8 bytes until the filter is finished. Equal keys are better added once.
    pub fn add(&mut self, hash: KeyHash) {
        self.hashes.push(hash);
    }

    /// About the size of [`FilterBuilder::finish`], in bytes.
    pub fn estimated_bytes(&self) -> u64 {
        let keys = self.hashes.len();
        let bytes = match Plan::of(self.options, keys) {
            Plan::Bloom { bits_per_key } => bloom::encoded_bytes(keys, bits_per_key),
            Plan::Burr { columns } => burr::estimated_bytes(keys, columns),
        };
        bytes as u64
    }

    /// The content of the filter block. The same keys in the same order make the same bytes.
    pub fn finish(self) -> Vec<u8> {
        match Plan::of(self.options, self.hashes.len()) {
            Plan::Bloom { bits_per_key } => bloom::encode(&self.hashes, bits_per_key),
            Plan::Burr { columns } => burr::encode(&self.hashes, columns)
                .unwrap_or_else(|| bloom::encode(&self.hashes, f32::from(columns) * BLOOM_FOR_BURR)),
        }
    }
}

/// How many keys a filter block says it was made of; the filter itself has no use for it.
///
/// # Errors
///
/// The content is too short for a filter of any kind.
pub fn keys_count(content: &[u8]) -> core::result::Result<u64, Corruption> {
    let mut fields = Reader::new(content);
    let _parameters = fields.u64()?;
    fields.u64()
}

/// A filter in memory.
pub struct Filter(Algorithm);

enum Algorithm {
    Bloom(Bloom),
    Burr(Burr),
}

impl Filter {
    /// Reads the content of a filter block.
    ///
    /// # Errors
    ///
    /// It is no filter of this format.
    pub fn decode(bytes: &[u8]) -> core::result::Result<Filter, Corruption> {
        let algorithm = match bytes.first() {
            Some(&bloom::ALGORITHM) => Algorithm::Bloom(Bloom::decode(bytes)?),
            Some(&burr::ALGORITHM) => Algorithm::Burr(Burr::decode(bytes)?),
            _ => return Err(Corruption("unknown kind of filter")),
        };
        Ok(Filter(algorithm))
    }

    /// `false`: no key with this hash was added.
    #[inline]
    pub fn may_contain(&self, hash: KeyHash) -> bool {
        match &self.0 {
            Algorithm::Bloom(filter) => filter.may_contain(hash),
            Algorithm::Burr(filter) => filter.may_contain(hash),
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> FilterKind {
        match self.0 {
            Algorithm::Bloom(_) => FilterKind::Bloom,
            Algorithm::Burr(_) => FilterKind::Burr,
        }
    }

    /// Size in memory, in bytes.
    pub fn resident_bytes(&self) -> usize {
        let held = match &self.0 {
            Algorithm::Bloom(filter) => filter.resident_bytes(),
            Algorithm::Burr(filter) => filter.resident_bytes(),
        };
        size_of::<Filter>() + held
    }
}
