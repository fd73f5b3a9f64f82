//! Prefixes of keys that tables have filters of, and extractors by name. Which prefixes there are is the extractor's
//! word; what is made of them is the table's (`table/writer.rs`) and the scan's (`tree/read.rs`).

use crate::{
    error::{ErrorKind, Result},
    key::common_prefix_len,
    named::{self, Named, NamedSet},
};
use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::mem;

/// Which prefixes of a key go into filters. Stored by name with each tree and table: a table that was written under
/// another extractor is read without its prefix filter.
///
/// A name stands for one behaviour for ever: with other prefixes under the same name scans would miss keys. What
/// changes gets another name. The calls are made while tables are written and when a scan begins, on any thread; they
/// must not call the database.
pub trait PrefixExtractor: Send + Sync + 'static {
    /// 1 to 255 bytes; those that begin with `isopach.` are built in.
    fn name(&self) -> &str;

    /// Calls `each` with the length in bytes of every prefix of `key` that counts, shortest first. Each takes as
    /// much of a filter as a key does. A length beyond that of the key counts for nothing.
    fn prefixes(&self, key: &[u8], each: &mut dyn FnMut(usize));

    /// Whether every key that starts with `prefix` has it among its [`prefixes`](PrefixExtractor::prefixes).
    fn covers(&self, prefix: &[u8]) -> bool;
}

/// The first bytes of keys that have as many. Named `isopach.prefix.8`, if 8.
///
/// ```
/// use isopach_engine::prefix::{FixedPrefix, PrefixExtractor};
///
/// let tenant = FixedPrefix::new(8);
/// assert!(tenant.covers(b"tenant07") && !tenant.covers(b"tenant"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FixedPrefix {
    bytes: u8,
    name: String,
}

impl FixedPrefix {
    const NAME: &str = "isopach.prefix.";

    /// The first `bytes` bytes.
    pub fn new(bytes: u8) -> FixedPrefix {
        FixedPrefix { bytes, name: format!("{}{bytes}", Self::NAME) }
    }
}

impl PrefixExtractor for FixedPrefix {
    fn name(&self) -> &str {
        &self.name
    }

    fn prefixes(&self, _key: &[u8], each: &mut dyn FnMut(usize)) {
        each(self.bytes.into());
    }

    fn covers(&self, prefix: &[u8]) -> bool {
        prefix.len() == usize::from(self.bytes)
    }
}

/// Everything up to and with each of the first 32 occurrences of a byte: `user:7:mail` has `user:` and `user:7:`.
/// Named `isopach.delimited.58`, if that byte.
///
/// ```
/// use isopach_engine::prefix::{DelimitedPrefix, PrefixExtractor};
///
/// let path = DelimitedPrefix::new(b':');
/// assert!(path.covers(b"user:7:") && !path.covers(b"user:7"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DelimitedPrefix {
    byte: u8,
    name: String,
}

impl DelimitedPrefix {
    const NAME: &str = "isopach.delimited.";

    /// More parts of a key have no prefixes of their own, so that a key of nothing but delimiters costs little.
    const MOST_PARTS: usize = 32;

    /// Parts end with `byte`.
    pub fn new(byte: u8) -> DelimitedPrefix {
        DelimitedPrefix { byte, name: format!("{}{byte}", Self::NAME) }
    }
}

impl PrefixExtractor for DelimitedPrefix {
    fn name(&self) -> &str {
        &self.name
    }

    fn prefixes(&self, key: &[u8], each: &mut dyn FnMut(usize)) {
        let ends = key.iter().enumerate().filter(|&(_, &byte)| byte == self.byte);
        ends.take(Self::MOST_PARTS).for_each(|(at, _)| each(at + 1));
    }

    fn covers(&self, prefix: &[u8]) -> bool {
        let parts = || prefix.iter().filter(|&&byte| byte == self.byte).count();
        prefix.last() == Some(&self.byte) && parts() <= Self::MOST_PARTS
    }
}

impl Named for dyn PrefixExtractor {
    const WHAT: &str = "prefix extractor";
    const REGISTERED_BY: &str = "`Builder::prefix_extractor`, `StoreOptions::prefix_extractors`";
    const MISSING: ErrorKind = ErrorKind::MissingPrefixExtractor;

    fn name(&self) -> &str {
        PrefixExtractor::name(self)
    }

    fn built_in(name: &str) -> Option<Arc<dyn PrefixExtractor>> {
        built_in(name)
    }
}

/// Extractors by name: those that are built in, and those that were added.
pub type PrefixExtractors = NamedSet<dyn PrefixExtractor>;

/// Says whether an extractor can have this name.
///
/// # Errors
///
/// `InvalidArgument`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    named::check_name::<dyn PrefixExtractor>(name)
}

/// The parameter of a built-in extractor is in its name, spelled in one way only.
fn built_in(name: &str) -> Option<Arc<dyn PrefixExtractor>> {
    let parameter = |family| name.strip_prefix(family)?.parse().ok();
    let fixed = parameter(FixedPrefix::NAME).map(|bytes| Arc::new(FixedPrefix::new(bytes)) as Arc<_>);
    let delimited = || parameter(DelimitedPrefix::NAME).map(|byte| Arc::new(DelimitedPrefix::new(byte)) as _);
    fixed.or_else(delimited).filter(|extractor: &Arc<dyn PrefixExtractor>| extractor.name() == name)
}

/// Prefixes of keys that come in order: of keys in a row that have the same one it is given out once.
pub(crate) struct OrderedPrefixes {
    extractor: Arc<dyn PrefixExtractor>,
    /// Lengths of the prefixes of the key before.
    lengths: Vec<usize>,
    /// Those of the key at hand.
    next: Vec<usize>,
}

impl OrderedPrefixes {
    /// No key came yet.
    pub(crate) fn new(extractor: Arc<dyn PrefixExtractor>) -> OrderedPrefixes {
        OrderedPrefixes { extractor, lengths: Vec::new(), next: Vec::new() }
    }

    /// Calls `each` with the prefixes of `key` that the key before it did not have. `before` is that one, empty if
    /// there was none.
    pub(crate) fn of_next(&mut self, before: &[u8], key: &[u8], mut each: impl FnMut(&[u8])) {
        let common_bytes = common_prefix_len(before, key);
        let OrderedPrefixes { extractor, lengths, next } = self;
        next.clear();
        extractor.prefixes(key, &mut |bytes| {
            let Some(prefix) = key.get(..bytes) else { return };
            if bytes > common_bytes || !lengths.contains(&bytes) {
                each(prefix);
            }
            next.push(bytes);
        });
        mem::swap(lengths, next);
    }
}

#[cfg(test)]
mod tests;
