//! redb. A tree of copied pages in one file, with a cache of its own; no log.

use crate::engine::{
    Abilities, Buffered, Direction, Durability, Engine, Result, Scan, Settings, Settled, counter,
    keyspace_name,
};
use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, ReadableTable, Table, TableDefinition};
use std::{ops::Bound, path::Path};

type Bytes = &'static [u8];

struct Redb {
    names: Vec<String>,
    db: Database,
    durability: redb::Durability,
    settings: Vec<(&'static str, String)>,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let (durability, sync) = match settings.durability {
        Durability::Buffered => {
            (redb::Durability::None, "Durability::None: in this process's memory until settle or close")
        }
        Durability::Sync => (redb::Durability::Immediate, "Durability::Immediate"),
    };
    let db =
        Builder::new().set_cache_size(usize::try_from(settings.cache_bytes)?).create(dir.join("redb"))?;
    let names: Vec<String> = (0..settings.keyspaces_count).map(keyspace_name).collect();
    let txn = db.begin_write()?;
    for name in &names {
        txn.open_table(definition(name))?;
    }
    txn.commit()?;
    let settings = vec![
        ("cache_bytes", settings.cache_bytes.to_string()),
        ("write_buffer_bytes", "none: a share of the cache".into()),
        ("compression", "none: has none".into()),
        ("block_bytes", "4096 (not settable)".into()),
        ("bloom_bits_per_key", "none: a B tree".into()),
        ("threads", "0: no background work".into()),
        ("durability", sync.into()),
        ("commit", "one phase, no quick repair (default)".into()),
        ("checksum", "xxh3".into()),
        ("writes", "a write transaction a call".into()),
    ];
    Ok(Box::new(Redb { names, db, durability, settings }))
}

fn definition(name: &str) -> TableDefinition<'_, Bytes, Bytes> {
    TableDefinition::new(name)
}

impl Redb {
    fn read(&self, keyspace: usize) -> Result<ReadOnlyTable<Bytes, Bytes>> {
        Ok(self.db.begin_read()?.open_table(definition(&self.names[keyspace]))?)
    }

    fn write(
        &self,
        keyspace: usize,
        work: impl FnOnce(&mut Table<'_, Bytes, Bytes>) -> Result<(), redb::StorageError>,
    ) -> Result<()> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(self.durability)?;
        work(&mut txn.open_table(definition(&self.names[keyspace]))?)?;
        Ok(txn.commit()?)
    }
}

impl Engine for Redb {
    fn abilities(&self) -> Abilities {
        Abilities {
            buffered: Buffered::NoLog,
            sync: true,
            keyspaces: true,
            merge: false,
            range_delete: false,
            multi_get: true,
            settle: true,
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    fn insert(&self, keyspace: usize, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(keyspace, |table| table.insert(key, value).map(drop))
    }

    fn insert_batch(&self, keyspace: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        self.write(keyspace, |table| {
            entries
                .iter()
                .try_for_each(|(key, value)| table.insert(key.as_slice(), value.as_slice()).map(drop))
        })
    }

    fn remove(&self, keyspace: usize, key: &[u8]) -> Result<()> {
        self.write(keyspace, |table| table.remove(key).map(drop))
    }

    fn get(&self, keyspace: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.read(keyspace)?.get(key)?;
        if let Some(value) = &value {
            see(value.value());
        }
        Ok(value.is_some())
    }

    /// In one read transaction.
    fn multi_get(&self, keyspace: usize, keys: &[Vec<u8>], see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let table = self.read(keyspace)?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = table.get(key.as_slice())? {
                see(value.value());
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, keyspace: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
        let table = self.read(keyspace)?;
        let from = scan.from.map_or(Bound::Unbounded, Bound::Included);
        let mut entries = match scan.direction {
            Direction::Forward => table.range::<&[u8]>((from, Bound::Unbounded))?,
            Direction::Reverse => table.range::<&[u8]>((Bound::Unbounded, from))?,
        };
        for shown in 0..scan.limit {
            let entry = match scan.direction {
                Direction::Forward => entries.next(),
                Direction::Reverse => entries.next_back(),
            };
            let Some((key, value)) = entry.transpose()? else { return Ok(shown) };
            see(key.value(), value.value());
        }
        Ok(scan.limit)
    }

    /// In one write transaction, so right for many threads.
    fn merge(&self, keyspace: usize, key: &[u8], operand: u64) -> Result<()> {
        self.write(keyspace, |table| {
            let sum = operand.wrapping_add(table.get(key)?.map_or(0, |value| counter(value.value())));
            table.insert(key, sum.to_le_bytes().as_slice()).map(drop)
        })
    }

    /// Visits and removes entry by entry, in one write transaction.
    fn remove_range(&self, keyspace: usize, from: &[u8], to: &[u8]) -> Result<()> {
        self.write(keyspace, |table| table.retain_in(from..to, |_, _| false))
    }

    /// Commits durably: writes out what was not, and lets pages freed since the last such commit be used
    /// again.
    fn settle(&self) -> Result<Settled> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(redb::Durability::Immediate)?;
        txn.commit()?;
        Ok(Settled::now())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.settle().map(drop)
    }
}
