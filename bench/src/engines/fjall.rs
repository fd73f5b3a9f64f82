//! fjall.

use crate::engine::{
    Abilities, Buffered, Compression, Direction, Durability, Engine, Result, Scan, Settings, Settled,
    keyspace_name, wait_until_quiet,
};
use fjall::{
    CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    config::{
        BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
        PinningPolicy,
    },
};
use std::path::Path;

struct Fjall {
    keyspaces: Vec<Keyspace>,
    db: Database,
    /// What a write waits for beside its own flush to the operating system.
    sync: Option<PersistMode>,
    settings: Vec<(&'static str, String)>,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let compression = match settings.compression {
        Compression::None => CompressionType::None,
        Compression::Lz4 | Compression::Zstd => CompressionType::Lz4, // It has no Zstandard.
    };
    let (sync, durability) = match settings.durability {
        Durability::Buffered => (None, "PersistMode::Buffer after each write (default)"),
        Durability::Sync => (Some(PersistMode::SyncData), "PersistMode::SyncData after each write"),
    };
    let threads = super::threads_count();
    let db = Database::builder(dir)
        .cache_size(settings.cache_bytes)
        .worker_threads(threads)
        .journal_compression(compression)
        .open()?;
    let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(super::BLOOM_BITS_PER_KEY));
    let keyspaces = (0..settings.keyspaces_count)
        .map(|index| {
            db.keyspace(&keyspace_name(index), || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(settings.write_buffer_bytes)
                    .data_block_size_policy(BlockSizePolicy::all(settings.block_bytes))
                    .data_block_compression_policy(CompressionPolicy::all(compression))
                    .filter_policy(FilterPolicy::all(filter))
                    .filter_block_pinning_policy(PinningPolicy::all(true))
                    .index_block_pinning_policy(PinningPolicy::all(true))
                    .with_kv_separation(settings.separated_from_bytes.map(|bytes| {
                        KvSeparationOptions::default().separation_threshold(bytes).compression(compression)
                    }))
            })
        })
        .collect::<Result<_, _>>()?;
    let effective = vec![
        ("cache_bytes", db.cache_capacity().to_string()),
        ("write_buffer_bytes", format!("{} a keyspace", settings.write_buffer_bytes)),
        ("compression", format!("{compression:?} at all levels (default: not at levels 0 and 1)")),
        ("journal_compression", format!("{compression:?} for values of 4 KiB and more")),
        ("block_bytes", settings.block_bytes.to_string()),
        ("bloom_bits_per_key", format!("{} at all levels", super::BLOOM_BITS_PER_KEY)),
        ("pinned", "indexes and filters, at all levels (default: of levels 0 and 1)".into()),
        ("threads", threads.to_string()),
        ("durability", durability.into()),
        ("max_journaling_size", "512 MiB (default)".into()),
        ("checksum", "xxh3".into()),
        ("separated values", super::separation(settings, "garbage collected (default)")),
    ];
    Ok(Box::new(Fjall { keyspaces, db, sync, settings: effective }))
}

impl Fjall {
    fn persist(&self) -> Result<()> {
        if let Some(mode) = self.sync {
            self.db.persist(mode)?;
        }
        Ok(())
    }
}

impl Engine for Fjall {
    fn abilities(&self) -> Abilities {
        Abilities {
            buffered: Buffered::Survives,
            sync: true,
            keyspaces: true,
            merge: false,
            range_delete: false,
            multi_get: false,
            settle: false,
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    fn insert(&self, keyspace: usize, key: &[u8], value: &[u8]) -> Result<()> {
        self.keyspaces[keyspace].insert(key, value)?;
        self.persist()
    }

    fn insert_batch(&self, keyspace: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut batch = self.db.batch();
        if self.sync.is_some() {
            batch = batch.durability(self.sync);
        }
        for (key, value) in entries {
            batch.insert(&self.keyspaces[keyspace], key.as_slice(), value.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn remove(&self, keyspace: usize, key: &[u8]) -> Result<()> {
        self.keyspaces[keyspace].remove(key)?;
        self.persist()
    }

    fn get(&self, keyspace: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.keyspaces[keyspace].get(key)?;
        if let Some(value) = &value {
            see(value);
        }
        Ok(value.is_some())
    }

    fn scan(&self, keyspace: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
        let keyspace = &self.keyspaces[keyspace];
        let mut entries = match (scan.direction, scan.from) {
            (_, None) => keyspace.iter(),
            (Direction::Forward, Some(from)) => keyspace.range(from..),
            (Direction::Reverse, Some(from)) => keyspace.range(..=from),
        };
        for shown in 0..scan.limit {
            let entry = match scan.direction {
                Direction::Forward => entries.next(),
                Direction::Reverse => entries.next_back(),
            };
            let Some((key, value)) = entry.map(Guard::into_inner).transpose()? else { return Ok(shown) };
            see(&key, &value);
        }
        Ok(scan.limit)
    }

    fn scan_keys(&self, keyspace: usize, limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let mut shown = 0;
        for entry in self.keyspaces[keyspace].iter().take(limit) {
            see(&entry.key()?);
            shown += 1;
        }
        Ok(shown)
    }

    /// Flushes the memtables; of compactions it can only be asked how many run, not how many are due.
    fn settle(&self) -> Result<Settled> {
        for keyspace in &self.keyspaces {
            keyspace.rotate_memtable_and_wait()?;
        }
        wait_until_quiet()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.persist(PersistMode::SyncAll)?;
        // The last handle waits for the threads.
        let Fjall { keyspaces, db, .. } = *self;
        drop(keyspaces);
        drop(db);
        Ok(())
    }
}
