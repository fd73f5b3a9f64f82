//! RocksDB, through the rocksdb crate.

use crate::engine::{
    Abilities, Buffered, BulkLoad, Compression, Direction, Durability, Engine, Result, Scan, Settings,
    Settled, WAITING_BUFFERS_COUNT, counter, keyspace_name,
};
use rocksdb::{
    BlockBasedOptions, BlockBasedTablePinningTier, Cache, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompressionType, FlushOptions, IngestExternalFileOptions, MergeOperands, Options, SstFileWriter,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};
use std::path::{Path, PathBuf};

struct RocksDb {
    names: Vec<String>,
    db: DB,
    writes: WriteOptions,
    options: Options,
    settings: Vec<(&'static str, String)>,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let (compression, compression_name) = match settings.compression {
        Compression::None => (DBCompressionType::None, "kNoCompression"),
        Compression::Lz4 => (DBCompressionType::Lz4, "kLZ4Compression at all levels"),
        Compression::Zstd => (DBCompressionType::Zstd, "kZSTD at all levels, level 3 (default)"),
    };
    let threads = super::threads_count();
    let cache = Cache::new_hyper_clock_cache(usize::try_from(settings.cache_bytes)?, 0);
    let mut tables = BlockBasedOptions::default();
    tables.set_block_size(usize::try_from(settings.block_bytes)?);
    tables.set_block_cache(&cache);
    tables.set_bloom_filter(f64::from(super::BLOOM_BITS_PER_KEY), false);
    // Counted in the cache, and always there: as Isopach holds them.
    tables.set_cache_index_and_filter_blocks(true);
    tables.set_unpartitioned_pinning_tier(BlockBasedTablePinningTier::All);

    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.increase_parallelism(i32::try_from(threads)?);
    options.set_compression_type(compression);
    options.set_write_buffer_size(usize::try_from(settings.write_buffer_bytes)?);
    options.set_max_write_buffer_number(1 + WAITING_BUFFERS_COUNT as i32);
    options.set_block_based_table_factory(&tables);
    options.set_merge_operator_associative("add", add);
    if let Some(bytes) = settings.separated_from_bytes {
        options.set_enable_blob_files(true);
        options.set_min_blob_size(bytes.into());
        options.set_blob_compression_type(compression);
        options.set_enable_blob_gc(true);
        options.set_blob_gc_force_threshold(BLOB_GC_FORCE_THRESHOLD);
    }

    let names: Vec<String> = (0..settings.keyspaces_count).map(keyspace_name).collect();
    // It asks for every column family that there is.
    let families = names.iter().map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
    let families = families.chain([ColumnFamilyDescriptor::new("default", options.clone())]);
    let db = DB::open_cf_descriptors(&options, dir, families)?;

    let mut writes = WriteOptions::default();
    writes.set_sync(settings.durability == Durability::Sync);
    let effective = vec![
        ("cache_bytes", format!("{} (HyperClockCache)", settings.cache_bytes)),
        ("write_buffer_bytes", format!("{} a keyspace", settings.write_buffer_bytes)),
        ("max_write_buffer_number", (1 + WAITING_BUFFERS_COUNT).to_string()),
        ("compression", compression_name.into()),
        ("block_bytes", settings.block_bytes.to_string()),
        ("bloom_bits_per_key", format!("{}, full filters", super::BLOOM_BITS_PER_KEY)),
        ("cache_index_and_filter_blocks", "true, all pinned".into()),
        ("target_file_size_base, max_bytes_for_level_base", "64 MB, 256 MB (default)".into()),
        ("level0 triggers", "compaction 4, slowdown 20, stop 36 (default)".into()),
        ("threads", format!("{threads} (increase_parallelism)")),
        ("durability", format!("WriteOptions::sync = {}", settings.durability == Durability::Sync)),
        ("checksum", format!("xxh3 of blocks (default), crc32c of the log {CRC32C}")),
        ("merge_operator", "associative".into()),
        ("blob files", super::separation(settings, "garbage collected, forced from 0.3 of the oldest on")),
        ("rocksdb", LIBRARY.into()),
    ];
    Ok(Box::new(RocksDb { names, db, writes, options, settings: effective }))
}

/// Of the oldest files; by default they are only rewritten as compactions come upon them.
const BLOB_GC_FORCE_THRESHOLD: f64 = 0.3;

/// The library inside the crate.
const LIBRARY: &str = "11.8.1 (librocksdb-sys 0.19)";

/// How the log's checksums are computed: on x86-64 `.cargo/config.toml` compiles the C++ for it.
#[cfg(target_arch = "x86_64")]
const CRC32C: &str = "(SSE 4.2 and PCLMUL)";
#[cfg(not(target_arch = "x86_64"))]
const CRC32C: &str = "(as the target's features allow)";

/// The merge operator: see [`Engine::merge`].
fn add(_key: &[u8], base: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let base = base.map_or(0, counter);
    let sum = operands.iter().fold(base, |sum, operand| sum.wrapping_add(counter(operand)));
    Some(sum.to_le_bytes().to_vec())
}

impl RocksDb {
    fn family(&self, keyspace: usize) -> Result<&ColumnFamily> {
        let name = &self.names[keyspace];
        self.db.cf_handle(name).ok_or_else(|| format!("rocksdb: no column family {name}").into())
    }
}

/// A load by files that are written outside and then taken in.
struct Load<'e> {
    engine: &'e RocksDb,
    keyspace: usize,
    writer: Option<SstFileWriter<'e>>,
    files: Vec<PathBuf>,
}

impl Load<'_> {
    const FILE_BYTES: u64 = 64 << 20;
}

impl BulkLoad for Load<'_> {
    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(writer) = self.writer.as_mut().filter(|writer| writer.file_size() >= Self::FILE_BYTES) {
            writer.finish()?;
            self.writer = None;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let writer = SstFileWriter::create(&self.engine.options);
                let file = self.engine.db.path().join(format!("load-{}.sst", self.files.len()));
                writer.open(&file)?;
                self.files.push(file);
                none.insert(writer)
            }
        };
        Ok(writer.put(key, value)?)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Load { engine, keyspace, writer, files } = *self;
        if let Some(mut writer) = writer {
            writer.finish()?;
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        Ok(engine.db.ingest_external_file_cf_opts(engine.family(keyspace)?, &options, files)?)
    }
}

impl Engine for RocksDb {
    fn abilities(&self) -> Abilities {
        Abilities {
            buffered: Buffered::Survives,
            sync: true,
            keyspaces: true,
            merge: true,
            range_delete: true,
            multi_get: true,
            settle: true,
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    fn insert(&self, keyspace: usize, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.db.put_cf_opt(self.family(keyspace)?, key, value, &self.writes)?)
    }

    fn insert_batch(&self, keyspace: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let family = self.family(keyspace)?;
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put_cf(family, key, value);
        }
        Ok(self.db.write_opt(batch, &self.writes)?)
    }

    fn remove(&self, keyspace: usize, key: &[u8]) -> Result<()> {
        Ok(self.db.delete_cf_opt(self.family(keyspace)?, key, &self.writes)?)
    }

    fn get(&self, keyspace: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get_pinned_cf(self.family(keyspace)?, key)?;
        if let Some(value) = &value {
            see(value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keyspace: usize, keys: &[Vec<u8>], see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let mut found = 0;
        for value in self.db.batched_multi_get_cf(self.family(keyspace)?, keys, false) {
            if let Some(value) = value? {
                see(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    /// With the raw iterator, which shows entries where they are.
    fn scan(&self, keyspace: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut entries = self.db.raw_iterator_cf(self.family(keyspace)?);
        match (scan.direction, scan.from) {
            (Direction::Forward, None) => entries.seek_to_first(),
            (Direction::Forward, Some(from)) => entries.seek(from),
            (Direction::Reverse, None) => entries.seek_to_last(),
            (Direction::Reverse, Some(from)) => entries.seek_for_prev(from),
        }
        let mut shown = 0;
        while shown < scan.limit {
            let Some((key, value)) = entries.item() else { break };
            see(key, value);
            shown += 1;
            match scan.direction {
                Direction::Forward => entries.next(),
                Direction::Reverse => entries.prev(),
            }
        }
        entries.status()?;
        Ok(shown)
    }

    /// Values of blob files are read all the same: the crate cannot ask for unprepared values.
    fn scan_keys(&self, keyspace: usize, limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let mut entries = self.db.raw_iterator_cf(self.family(keyspace)?);
        entries.seek_to_first();
        let mut shown = 0;
        while let Some(key) = entries.key().filter(|_| shown < limit) {
            see(key);
            shown += 1;
            entries.next();
        }
        entries.status()?;
        Ok(shown)
    }

    fn merge(&self, keyspace: usize, key: &[u8], operand: u64) -> Result<()> {
        Ok(self.db.merge_cf_opt(self.family(keyspace)?, key, operand.to_le_bytes(), &self.writes)?)
    }

    fn remove_range(&self, keyspace: usize, from: &[u8], to: &[u8]) -> Result<()> {
        Ok(self.db.delete_range_cf_opt(self.family(keyspace)?, from, to, &self.writes)?)
    }

    /// Files of the size that tables have, as its manual advises; the links move into the database.
    fn bulk_load(&self, keyspace: usize) -> Result<Option<Box<dyn BulkLoad + '_>>> {
        Ok(Some(Box::new(Load { engine: self, keyspace, writer: None, files: Vec::new() })))
    }

    fn settle(&self) -> Result<Settled> {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        for keyspace in 0..self.names.len() {
            self.db.flush_cf_opt(self.family(keyspace)?, &flush)?;
        }
        self.db.wait_for_compact(&WaitForCompactOptions::default())?;
        Ok(Settled::now())
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Ends its background work and closes.
        drop(self);
        Ok(())
    }
}
