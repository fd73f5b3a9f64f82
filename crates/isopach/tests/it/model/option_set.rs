//! Options of the runs: they may show in the files, and in no answer.

use isopach::merge::Append;
use isopach::{
    Builder, Comparator, Compression, Db, Durability, FilterPolicy, KeepVersions, KeyspaceOptions, PerLevel,
    PrefixExtractor, engine::order::KeyOrder, env::Env,
};
use std::cmp::Ordering;

/// Options that a run is made under.
#[derive(Clone, Debug)]
pub(crate) struct OptionSet {
    pub(crate) threads: usize,
    pub(crate) cache_bytes: u64,
    pub(crate) write_buffer_bytes: u64,
    pub(crate) max_open_files: usize,
    pub(crate) durability: Durability,
    pub(crate) block_bytes: u32,
    pub(crate) table_bytes: u64,
    pub(crate) filters: FilterPolicy,
    pub(crate) compression: Compression,
    pub(crate) per_level: Option<(PerLevel<Compression>, PerLevel<u32>)>,
    pub(crate) prefix_extractor: Option<&'static str>,
    pub(crate) entry_checksums: bool,
    pub(crate) blobs_from_bytes: Option<u32>,
    pub(crate) order: KeyOrder,
    pub(crate) keep_versions: KeepVersions,
}

/// Shorter keys first: an order that is not built in.
pub(crate) struct ByLength;

impl Comparator for ByLength {
    fn name(&self) -> &str {
        "test.by_length"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

impl Default for OptionSet {
    fn default() -> OptionSet {
        OptionSet {
            threads: 2,
            cache_bytes: 32 << 10,
            write_buffer_bytes: 16 << 10,
            max_open_files: 64,
            durability: Durability::Buffered,
            block_bytes: 4 << 10,
            table_bytes: 64 << 10,
            filters: FilterPolicy::BitsPerKey(10.0),
            compression: Compression::Lz4,
            per_level: None,
            prefix_extractor: None,
            entry_checksums: false,
            blobs_from_bytes: None,
            order: KeyOrder::BYTES,
            keep_versions: KeepVersions::Needed,
        }
    }
}

/// Name of the extractor that is not built in.
pub(crate) const FIRST_BYTES: &str = "test.first_bytes";

/// One byte, and two.
struct FirstBytes;

impl PrefixExtractor for FirstBytes {
    fn name(&self) -> &str {
        FIRST_BYTES
    }

    fn prefixes(&self, _key: &[u8], each: &mut dyn FnMut(usize)) {
        each(1);
        each(2);
    }

    fn covers(&self, prefix: &[u8]) -> bool {
        prefix.len() == 1 || prefix.len() == 2
    }
}

impl OptionSet {
    pub(super) fn builder(&self, env: &Env) -> Builder {
        Db::builder("db")
            .env(env.clone())
            .threads(self.threads)
            .cache_bytes(self.cache_bytes)
            .memory_budget(self.cache_bytes + (2 << 20))
            .write_buffer_bytes(self.write_buffer_bytes)
            .max_open_files(self.max_open_files)
            .max_wal_bytes(1 << 20)
            .durability(self.durability)
            .prefix_extractor(FirstBytes)
            .comparator(ByLength)
    }

    pub(super) fn keyspace(&self) -> KeyspaceOptions {
        let mut options = KeyspaceOptions::new()
            .table_bytes(self.table_bytes)
            .filters(self.filters)
            .block_bytes(self.block_bytes)
            .compression(self.compression)
            .merge_operator(&Append::with_separator(b','))
            .entry_checksums(self.entry_checksums)
            .keep_versions(self.keep_versions);
        options.blobs_from_bytes = self.blobs_from_bytes;
        options.blob_file_bytes = 64 << 10;
        options.comparator = self.order.name().into();
        options.prefix_extractor = self.prefix_extractor.map(Into::into);
        match &self.per_level {
            None => options,
            Some((compression, block_bytes)) => {
                options.compression(compression.clone()).block_bytes(block_bytes.clone())
            }
        }
    }
}
