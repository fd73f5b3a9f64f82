//! Isopach.

use crate::engine::{
    Abilities, Buffered, BulkLoad, Compression, Direction, Durability, Engine, Result, Scan, Settings,
    Settled, WAITING_BUFFERS_COUNT, keyspace_name,
};
use isopach::{Builder, Db, Ingest, Keyspace, KeyspaceOptions, Parity, merge::AddU64};
use std::{path::Path, time::Duration};

/// Longest wait for background work to end.
const SETTLE_LIMIT: Duration = Duration::from_secs(600);

struct Isopach {
    keyspaces: Vec<Keyspace>,
    db: Db,
    settings: Vec<(&'static str, String)>,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    open_as(Db::builder(dir), settings, "none", Parity::None)
}

/// With every file sealed by AES-256-GCM.
#[cfg(feature = "encryption")]
pub fn open_encrypted(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let keys = isopach::KeySet::new(isopach::KeyId(1), isopach::Secret::new([7; 32]));
    open_as(Db::builder(dir).encryption(keys), settings, "AES-256-GCM", Parity::None)
}

/// With two shards of parity for sixteen of data.
#[cfg(feature = "parity")]
pub fn open_protected(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    open_as(Db::builder(dir), settings, "none", Parity::ReedSolomon { data: 16, parity: 2 })
}

fn open_as(
    builder: Builder,
    settings: &Settings,
    encryption: &str,
    parity: Parity,
) -> Result<Box<dyn Engine>> {
    let durability = match settings.durability {
        Durability::Buffered => isopach::Durability::Buffered,
        Durability::Sync => isopach::Durability::Sync,
    };
    let compression = match settings.compression {
        Compression::None => isopach::Compression::None,
        Compression::Lz4 => isopach::Compression::Lz4,
        Compression::Zstd => isopach::Compression::Zstd { level: super::ZSTD_LEVEL },
    };
    let db = builder
        .cache_bytes(settings.cache_bytes)
        .write_buffer_bytes(settings.write_buffer_bytes)
        .memory_budget(settings.cache_bytes + (1 + WAITING_BUFFERS_COUNT) * settings.write_buffer_bytes)
        .durability(durability)
        .open()?;
    let options = KeyspaceOptions::new().compression(compression).block_bytes(settings.block_bytes);
    let mut options = options.merge_operator(&AddU64).parity(parity).blob_parity(parity);
    options.blobs_from_bytes = settings.separated_from_bytes;
    let keyspaces = (0..settings.keyspaces_count)
        .map(|index| db.keyspace_with(&keyspace_name(index), options.clone()))
        .collect::<Result<_, _>>()?;
    let effective = db.options();
    let settings = vec![
        ("cache_bytes", effective.cache_bytes.to_string()),
        ("write_buffer_bytes", effective.write_buffer_bytes.to_string()),
        ("memory_budget", effective.memory_budget.to_string()),
        ("max_wal_bytes", effective.max_wal_bytes.to_string()),
        ("threads", effective.threads.to_string()),
        ("durability", format!("{durability:?}")),
        ("compression", format!("{compression:?} at all levels")),
        ("block_bytes", settings.block_bytes.to_string()),
        ("filters", format!("{:?}", options.filters)),
        ("blobs_from_bytes", format!("{:?}", options.blobs_from_bytes)),
        ("encryption", encryption.into()),
        ("parity", parity.to_string()),
    ];
    Ok(Box::new(Isopach { keyspaces, db, settings }))
}

struct Load(Ingest);

impl BulkLoad for Load {
    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.0.insert(key, value)?)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.finish()?;
        Ok(())
    }
}

impl Engine for Isopach {
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
        self.keyspaces[keyspace].insert(key, value)?;
        Ok(())
    }

    fn insert_batch(&self, keyspace: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        let mut batch = self.db.batch();
        for (key, value) in entries {
            batch.insert(&self.keyspaces[keyspace], key, value);
        }
        self.db.write(batch)?;
        Ok(())
    }

    fn remove(&self, keyspace: usize, key: &[u8]) -> Result<()> {
        self.keyspaces[keyspace].remove(key)?;
        Ok(())
    }

    fn get(&self, keyspace: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.keyspaces[keyspace].get(key)?;
        if let Some(value) = &value {
            see(value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keyspace: usize, keys: &[Vec<u8>], see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let values = self.keyspaces[keyspace].get_many(keys)?;
        values.iter().flatten().for_each(|value| see(value));
        Ok(values.iter().flatten().count())
    }

    fn scan(&self, keyspace: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
        let keyspace = &self.keyspaces[keyspace];
        let mut iter = match (scan.direction, scan.from) {
            (_, None) => keyspace.iter(),
            (Direction::Forward, Some(from)) => keyspace.range(from..),
            (Direction::Reverse, Some(from)) => keyspace.range(..=from),
        };
        for shown in 0..scan.limit {
            let entry = match scan.direction {
                Direction::Forward => iter.next(),
                Direction::Reverse => iter.next_back(),
            };
            let Some(entry) = entry else { return Ok(shown) };
            let (key, value) = entry?;
            see(&key, &value);
        }
        Ok(scan.limit)
    }

    fn scan_keys(&self, keyspace: usize, limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let mut shown = 0;
        for key in self.keyspaces[keyspace].iter().keys().take(limit) {
            see(&key?);
            shown += 1;
        }
        Ok(shown)
    }

    fn merge(&self, keyspace: usize, key: &[u8], operand: u64) -> Result<()> {
        self.keyspaces[keyspace].merge(key, operand.to_le_bytes())?;
        Ok(())
    }

    fn remove_range(&self, keyspace: usize, from: &[u8], to: &[u8]) -> Result<()> {
        self.keyspaces[keyspace].remove_range(from..to)?;
        Ok(())
    }

    fn bulk_load(&self, keyspace: usize) -> Result<Option<Box<dyn BulkLoad + '_>>> {
        Ok(Some(Box::new(Load(self.keyspaces[keyspace].ingest()?))))
    }

    fn settle(&self) -> Result<Settled> {
        self.db.flush()?;
        self.db.wait_idle(SETTLE_LIMIT)?;
        Ok(Settled::now())
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self.keyspaces);
        Ok(self.db.close()?)
    }
}
