//! canopydb. A B+ tree of versioned pages with a log and checkpoints.

use crate::engine::{
    Abilities, Buffered, Compression, Direction, Durability, Engine, Result, Scan, Settings, Settled,
    WAITING_BUFFERS_COUNT, counter, keyspace_name,
};
use canopydb::{Database, DbOptions, EnvOptions, ReadTransaction, Tree, TreeOptions};
use std::{ops::Bound, path::Path};

/// Size from which values are compressed: canopydb's default.
const COMPRESSED_VALUE_BYTES: u32 = 12 << 10;

struct Canopydb {
    names: Vec<String>,
    db: Database,
    sync: bool,
    settings: Vec<(&'static str, String)>,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let sync = settings.durability == Durability::Sync;
    let write_buffer_bytes = usize::try_from(settings.write_buffer_bytes)?;
    let mut env = EnvOptions::new(dir);
    env.page_cache_size = usize::try_from(settings.cache_bytes)?;
    let mut options = DbOptions::new();
    options.default_commit_sync = sync;
    options.checkpoint_target_size = write_buffer_bytes;
    options.throttle_memory_limit = write_buffer_bytes * WAITING_BUFFERS_COUNT as usize;
    options.stall_memory_limit = write_buffer_bytes * (1 + WAITING_BUFFERS_COUNT as usize);
    let mut tree_options = TreeOptions::new();
    let compression = match settings.compression {
        Compression::None => {
            tree_options.compress_overflow_values = None;
            "none".into()
        }
        Compression::Lz4 | Compression::Zstd => {
            tree_options.compress_overflow_values = Some(COMPRESSED_VALUE_BYTES);
            format!("LZ4 for values above {COMPRESSED_VALUE_BYTES} bytes (default); has none for pages")
        }
    };
    let effective = vec![
        ("cache_bytes", env.page_cache_size.to_string()),
        ("write_buffer_bytes", format!("{write_buffer_bytes}: checkpoint_target_size, of all keyspaces")),
        ("stall_memory_limit", options.stall_memory_limit.to_string()),
        ("compression", compression),
        ("block_bytes", "4096 (not settable)".into()),
        ("bloom_bits_per_key", "none: a B+ tree".into()),
        ("threads", "not settable: one for checkpoints".into()),
        ("durability", format!("commit_with(sync = {sync})")),
        ("wal_background_sync_interval", format!("{:?} (default)", env.wal_background_sync_interval)),
        ("checksum", "of the log; none of pages (default)".into()),
        ("writes", "an exclusive write transaction a call".into()),
    ];
    let db = Database::with_options(env, options)?;
    let names: Vec<String> = (0..settings.keyspaces_count).map(keyspace_name).collect();
    let txn = db.begin_write()?;
    for name in &names {
        txn.get_or_create_tree_with(name.as_bytes(), tree_options.clone())?;
    }
    txn.commit()?;
    Ok(Box::new(Canopydb { names, db, sync, settings: effective }))
}

impl Canopydb {
    fn tree<'txn>(&self, txn: &'txn ReadTransaction, keyspace: usize) -> Result<Tree<'txn>> {
        let name = &self.names[keyspace];
        txn.get_tree(name.as_bytes())?.ok_or_else(|| format!("canopydb: tree {name} is gone").into())
    }

    fn write(
        &self,
        keyspace: usize,
        work: impl FnOnce(&mut Tree<'_>) -> Result<(), canopydb::Error>,
    ) -> Result<()> {
        let name = &self.names[keyspace];
        let txn = self.db.begin_write()?;
        {
            let tree = txn.get_tree(name.as_bytes())?;
            work(&mut tree.ok_or_else(|| format!("canopydb: tree {name} is gone"))?)?;
        }
        txn.commit_with(self.sync)?;
        Ok(())
    }
}

impl Engine for Canopydb {
    fn abilities(&self) -> Abilities {
        Abilities {
            buffered: Buffered::Survives,
            sync: true,
            keyspaces: true,
            merge: false,
            range_delete: true,
            multi_get: true,
            settle: true,
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    fn insert(&self, keyspace: usize, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(keyspace, |tree| tree.insert(key, value))
    }

    fn insert_batch(&self, keyspace: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        self.write(keyspace, |tree| entries.iter().try_for_each(|(key, value)| tree.insert(key, value)))
    }

    fn remove(&self, keyspace: usize, key: &[u8]) -> Result<()> {
        self.write(keyspace, |tree| tree.delete(key).map(drop))
    }

    fn get(&self, keyspace: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let txn = self.db.begin_read()?;
        let value = self.tree(&txn, keyspace)?.get(key)?;
        if let Some(value) = &value {
            see(value);
        }
        Ok(value.is_some())
    }

    /// In one read transaction.
    fn multi_get(&self, keyspace: usize, keys: &[Vec<u8>], see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let txn = self.db.begin_read()?;
        let tree = self.tree(&txn, keyspace)?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = tree.get(key)? {
                see(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, keyspace: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
        let txn = self.db.begin_read()?;
        let tree = self.tree(&txn, keyspace)?;
        let from = scan.from.map_or(Bound::Unbounded, Bound::Included);
        let mut entries = match scan.direction {
            Direction::Forward => tree.range::<&[u8]>((from, Bound::Unbounded))?,
            Direction::Reverse => tree.range::<&[u8]>((Bound::Unbounded, from))?,
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

    /// In one write transaction, so right for many threads.
    fn merge(&self, keyspace: usize, key: &[u8], operand: u64) -> Result<()> {
        self.write(keyspace, |tree| {
            let sum = operand.wrapping_add(tree.get(key)?.map_or(0, |value| counter(&value)));
            tree.insert(key, &sum.to_le_bytes())
        })
    }

    fn remove_range(&self, keyspace: usize, from: &[u8], to: &[u8]) -> Result<()> {
        self.write(keyspace, |tree| tree.delete_range(from..to))
    }

    fn settle(&self) -> Result<Settled> {
        self.db.checkpoint()?;
        Ok(Settled::now())
    }

    fn close(self: Box<Self>) -> Result<()> {
        // The last handle waits for the thread.
        Ok(self.db.checkpoint()?)
    }
}
