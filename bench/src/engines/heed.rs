//! LMDB through heed. A tree of copied pages in a mapped file: no log, no compaction, no cache but the page
//! cache.

use crate::engine::{
    Abilities, Buffered, Direction, Durability, Engine, Result, Scan, Settings, Settled, counter,
    keyspace_name,
};
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, RwTxn, WithTls, types::Bytes};
use std::{ops::Bound, path::Path};

/// Address space for the map; the file grows as it is filled.
const MAP_BYTES: usize = 64 << 30;

type Tree = Database<'static, Bytes, Bytes>;

struct Heed {
    trees: Vec<Tree>,
    env: Env<WithTls>,
    settings: Vec<(&'static str, String)>,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    // Without WRITE_MAP pages are given to the kernel by write calls, so what was committed survives this
    // process.
    let (flags, sync) = match settings.durability {
        Durability::Buffered => (EnvFlags::NO_SYNC, "MDB_NOSYNC, without MDB_WRITEMAP"),
        Durability::Sync => (
            EnvFlags::empty(),
            "default: fdatasync of the data, then a write of the meta page with O_DSYNC (not counted as a call)",
        ),
    };
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_dbs(u32::try_from(settings.keyspaces_count)?);
    // SAFETY: only this process maps the file; of the flags only WRITE_MAP and NO_LOCK would ask for more.
    let env = unsafe { options.flags(flags).open(dir)? };
    let trees = (0..settings.keyspaces_count)
        .map(|index| create(&env, &keyspace_name(index)))
        .collect::<Result<_>>()?;
    let settings = vec![
        ("cache_bytes", "not settable: maps its file".into()),
        ("write_buffer_bytes", "none: no write buffer".into()),
        ("compression", "none: has none".into()),
        ("block_bytes", format!("{} (page of the machine)", env.unnamed_database_stat().page_size)),
        ("bloom_bits_per_key", "none: a B+ tree".into()),
        ("threads", "0: no background work".into()),
        ("durability", sync.into()),
        ("map_bytes", MAP_BYTES.to_string()),
        ("checksum", "none".into()),
        ("readers", "a read transaction a call".into()),
        ("writes", "a write transaction a call".into()),
        ("lmdb", heed::lmdb_version().string.into()),
    ];
    Ok(Box::new(Heed { trees, env, settings }))
}

fn create(env: &Env<WithTls>, name: &str) -> Result<Tree> {
    let created = env.create_databases_and_commit(env.write_txn()?, |opener, txn| -> Result<_> {
        Ok(CommitOrAbort::<_, ()>::Commit(opener.create_database::<Bytes, Bytes>(txn, Some(name))?))
    })?;
    Ok(created.unwrap_commit())
}

impl Heed {
    fn write(&self, work: impl FnOnce(&mut RwTxn<'_>) -> heed::Result<()>) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        work(&mut txn)?;
        Ok(txn.commit()?)
    }
}

impl Engine for Heed {
    fn abilities(&self) -> Abilities {
        Abilities {
            buffered: Buffered::Survives,
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
        self.write(|txn| self.trees[keyspace].put(txn, key, value))
    }

    fn insert_batch(&self, keyspace: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        self.write(|txn| {
            entries.iter().try_for_each(|(key, value)| self.trees[keyspace].put(txn, key, value))
        })
    }

    fn remove(&self, keyspace: usize, key: &[u8]) -> Result<()> {
        self.write(|txn| self.trees[keyspace].delete(txn, key).map(drop))
    }

    fn get(&self, keyspace: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let txn = self.env.read_txn()?;
        let value = self.trees[keyspace].get(&txn, key)?;
        if let Some(value) = value {
            see(value);
        }
        Ok(value.is_some())
    }

    /// In one read transaction.
    fn multi_get(&self, keyspace: usize, keys: &[Vec<u8>], see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let txn = self.env.read_txn()?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = self.trees[keyspace].get(&txn, key)? {
                see(value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, keyspace: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
        let txn = self.env.read_txn()?;
        let tree = &self.trees[keyspace];
        let from = scan.from.map_or(Bound::Unbounded, Bound::Included);
        match scan.direction {
            Direction::Forward => {
                show(tree.range(&txn, &(from, Bound::<&[u8]>::Unbounded))?, scan.limit, see)
            }
            Direction::Reverse => {
                show(tree.rev_range(&txn, &(Bound::<&[u8]>::Unbounded, from))?, scan.limit, see)
            }
        }
    }

    /// In one write transaction, so right for many threads.
    fn merge(&self, keyspace: usize, key: &[u8], operand: u64) -> Result<()> {
        let tree = &self.trees[keyspace];
        self.write(|txn| {
            let sum = operand.wrapping_add(tree.get(txn, key)?.map_or(0, counter));
            tree.put(txn, key, &sum.to_le_bytes())
        })
    }

    /// A cursor removes entry by entry, in one write transaction.
    fn remove_range(&self, keyspace: usize, from: &[u8], to: &[u8]) -> Result<()> {
        let range = (Bound::Included(from), Bound::Excluded(to));
        self.write(|txn| self.trees[keyspace].delete_range(txn, &range).map(drop))
    }

    /// There is nothing to wait for.
    fn settle(&self) -> Result<Settled> {
        Ok(Settled::now())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

/// Shows at most `limit` entries; how many.
fn show<'txn>(
    entries: impl Iterator<Item = heed::Result<(&'txn [u8], &'txn [u8])>>,
    limit: usize,
    see: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<usize> {
    let mut shown = 0;
    for entry in entries.take(limit) {
        let (key, value) = entry?;
        see(key, value);
        shown += 1;
    }
    Ok(shown)
}
