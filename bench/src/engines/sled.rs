//! sled.

use crate::engine::{
    Abilities, Buffered, Compression, Direction, Durability, Engine, Result, Scan, Settings, Settled,
    counter, keyspace_name, wait_until_quiet,
};
use sled::{Batch, Config, Db, Tree};
use std::path::Path;

/// How often the log's buffer is written and synced where writes do not wait for it: sled's default.
const FLUSH_INTERVAL_MS: u64 = 500;

struct Sled {
    trees: Vec<Tree>,
    db: Db,
    durability: Durability,
    settings: Vec<(&'static str, String)>,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let db = Config::new()
        .path(dir)
        .cache_capacity(settings.cache_bytes)
        .flush_every_ms(Some(FLUSH_INTERVAL_MS))
        .open()?;
    let trees = (0..settings.keyspaces_count)
        .map(|index| db.open_tree(keyspace_name(index)))
        .collect::<Result<Vec<Tree>, _>>()?;
    for tree in &trees {
        tree.set_merge_operator(add);
    }
    let durability = settings.durability;
    let compression = match settings.compression {
        Compression::None => "none",
        Compression::Lz4 => "none: has zstd only",
        Compression::Zstd => "none: its zstd is not built in",
    };
    let sync = match durability {
        Durability::Buffered => {
            format!("flush_every_ms {FLUSH_INTERVAL_MS} (default): the rest is in its own buffer")
        }
        Durability::Sync => "Tree::flush after each write".into(),
    };
    let settings = vec![
        ("cache_bytes", settings.cache_bytes.to_string()),
        ("write_buffer_bytes", "not settable: log segments of 512 KiB".into()),
        ("compression", compression.into()),
        ("block_bytes", "not settable: pages of varying size in a log".into()),
        ("bloom_bits_per_key", "none: a Bw tree".into()),
        ("threads", "not settable: a pool of its own".into()),
        ("durability", sync),
        ("mode", "LowSpace (default)".into()),
        ("checksum", "crc32".into()),
    ];
    Ok(Box::new(Sled { trees, db, durability, settings }))
}

/// The merge operator: see [`Engine::merge`].
fn add(_key: &[u8], old: Option<&[u8]>, operand: &[u8]) -> Option<Vec<u8>> {
    let sum = old.map_or(0, counter).wrapping_add(counter(operand));
    Some(sum.to_le_bytes().to_vec())
}

impl Sled {
    fn persist(&self, keyspace: usize) -> Result<()> {
        if self.durability == Durability::Sync {
            self.trees[keyspace].flush()?;
        }
        Ok(())
    }
}

impl Engine for Sled {
    fn abilities(&self) -> Abilities {
        Abilities {
            buffered: Buffered::MayLose,
            sync: true,
            keyspaces: true,
            merge: true,
            range_delete: false,
            multi_get: false,
            settle: false,
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    fn insert(&self, keyspace: usize, key: &[u8], value: &[u8]) -> Result<()> {
        self.trees[keyspace].insert(key, value)?;
        self.persist(keyspace)
    }

    fn insert_batch(&self, keyspace: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in entries {
            batch.insert(key.as_slice(), value.as_slice());
        }
        self.trees[keyspace].apply_batch(batch)?;
        self.persist(keyspace)
    }

    fn remove(&self, keyspace: usize, key: &[u8]) -> Result<()> {
        self.trees[keyspace].remove(key)?;
        self.persist(keyspace)
    }

    fn get(&self, keyspace: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.trees[keyspace].get(key)?;
        if let Some(value) = &value {
            see(value);
        }
        Ok(value.is_some())
    }

    fn scan(&self, keyspace: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
        let tree = &self.trees[keyspace];
        let mut entries = match (scan.direction, scan.from) {
            (_, None) => tree.iter(),
            (Direction::Forward, Some(from)) => tree.range(from..),
            (Direction::Reverse, Some(from)) => tree.range(..=from),
        };
        for shown in 0..scan.limit {
            let entry = match scan.direction {
                Direction::Forward => entries.next(),
                Direction::Reverse => entries.next_back(),
            };
            let Some((key, value)) = entry.transpose()? else { return Ok(shown) };
            see(&key, &value);
        }
        Ok(scan.limit)
    }

    fn merge(&self, keyspace: usize, key: &[u8], operand: u64) -> Result<()> {
        self.trees[keyspace].merge(key, operand.to_le_bytes())?;
        self.persist(keyspace)
    }

    /// Writes out the log; it rewrites segments whenever it likes.
    fn settle(&self) -> Result<Settled> {
        self.db.flush()?;
        wait_until_quiet()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.flush()?;
        Ok(())
    }
}
