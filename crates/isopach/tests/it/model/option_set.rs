//! Options of the runs: they may show in the files, and in no answer.

use isopach::{Builder, Compression, Db, Durability, FilterPolicy, KeyspaceOptions, PerLevel, env::Env};

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
        }
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
    }

    pub(super) fn keyspace(&self) -> KeyspaceOptions {
        let options = KeyspaceOptions::new()
            .table_bytes(self.table_bytes)
            .filters(self.filters)
            .block_bytes(self.block_bytes)
            .compression(self.compression);
        match &self.per_level {
            None => options,
            Some((compression, block_bytes)) => {
                options.compression(compression.clone()).block_bytes(block_bytes.clone())
            }
        }
    }
}
