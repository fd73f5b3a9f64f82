//! SurrealKV. Its commits are asynchronous: threads of the bench block on a tokio runtime, which its tasks
//! run in.

use crate::engine::{
    Abilities, Buffered, Compression, Direction, Durability, Engine, Result, Scan, Settings, Settled,
    counter, wait_until_quiet,
};
use std::path::Path;
use surrealkv::{
    CompactRangeOptions, CompressionType, Error, LSMIterator, Mode, Options, Transaction, Tree, TreeBuilder,
};
use tokio::runtime::{Builder, Runtime};

/// Levels, as many as it has by default.
const LEVELS_COUNT: usize = 6;

struct Surrealkv {
    tree: Tree,
    durability: surrealkv::Durability,
    runtime: Runtime,
    settings: Vec<(&'static str, String)>,
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let durability = match settings.durability {
        Durability::Buffered => surrealkv::Durability::Eventual,
        Durability::Sync => surrealkv::Durability::Immediate,
    };
    let (compression, compression_name) = match settings.compression {
        Compression::None => (CompressionType::None, "none"),
        Compression::Lz4 | Compression::Zstd => {
            (CompressionType::SnappyCompression, "Snappy at all levels (has no other)")
        }
    };
    // Flushes and compactions block the worker that runs them; commits pass through a task of their own.
    let threads = super::threads_count() + 1;
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let options = Options::new()
        .with_path(dir.to_path_buf())
        .with_block_size(usize::try_from(settings.block_bytes)?)
        .with_block_cache_capacity(settings.cache_bytes)
        .with_max_memtable_size(usize::try_from(settings.write_buffer_bytes)?)
        .with_compression_per_level(vec![compression; LEVELS_COUNT]);
    let tree = {
        let _inside = runtime.enter();
        TreeBuilder::with_options(options).build()?
    };
    let settings = vec![
        ("cache_bytes", settings.cache_bytes.to_string()),
        ("write_buffer_bytes", settings.write_buffer_bytes.to_string()),
        ("compression", compression_name.into()),
        ("block_bytes", settings.block_bytes.to_string()),
        ("bloom_bits_per_key", "10 (default)".into()),
        ("threads", format!("{threads} of a tokio runtime: flush, compaction, commits")),
        ("durability", format!("Durability::{durability:?}")),
        ("wal_preallocation", "off (default)".into()),
        ("value_log", "off (default)".into()),
        ("checksum", "crc32".into()),
        ("reads", "a read-only transaction a call".into()),
        ("writes", "a transaction a call, awaited by Runtime::block_on, retried on conflict".into()),
    ];
    Ok(Box::new(Surrealkv { tree, durability, runtime, settings }))
}

impl Surrealkv {
    fn read(&self, keyspace: usize) -> Result<Transaction> {
        only(keyspace)?;
        Ok(self.tree.begin_with_mode(Mode::ReadOnly)?)
    }

    /// Does `work` in a transaction, again while others write the same keys at the same time.
    fn write(
        &self,
        keyspace: usize,
        mode: Mode,
        work: impl Fn(&mut Transaction) -> surrealkv::Result<()>,
    ) -> Result<()> {
        only(keyspace)?;
        loop {
            let mut txn = self.tree.begin_with_mode(mode)?.with_durability(self.durability);
            work(&mut txn)?;
            match self.runtime.block_on(txn.commit()) {
                Err(Error::TransactionWriteConflict | Error::TransactionRetry) => {}
                done => return Ok(done?),
            }
        }
    }
}

/// A tree has no keyspaces.
fn only(keyspace: usize) -> Result<()> {
    match keyspace {
        0 => Ok(()),
        _ => Err(format!("surrealkv: keyspace {keyspace}: a tree is a single keyspace").into()),
    }
}

impl Engine for Surrealkv {
    fn abilities(&self) -> Abilities {
        Abilities {
            buffered: Buffered::Survives,
            sync: true,
            keyspaces: false,
            merge: false,
            range_delete: true,
            multi_get: true,
            settle: false,
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    fn insert(&self, keyspace: usize, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(keyspace, Mode::WriteOnly, |txn| txn.set(key, value))
    }

    fn insert_batch(&self, keyspace: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        self.write(keyspace, Mode::WriteOnly, |txn| {
            entries.iter().try_for_each(|(key, value)| txn.set(key.as_slice(), value.as_slice()))
        })
    }

    fn remove(&self, keyspace: usize, key: &[u8]) -> Result<()> {
        self.write(keyspace, Mode::WriteOnly, |txn| txn.delete(key))
    }

    fn get(&self, keyspace: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.read(keyspace)?.get(key)?;
        if let Some(value) = &value {
            see(value);
        }
        Ok(value.is_some())
    }

    /// In one transaction.
    fn multi_get(&self, keyspace: usize, keys: &[Vec<u8>], see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let txn = self.read(keyspace)?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = txn.get(key.as_slice())? {
                see(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, keyspace: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
        let txn = self.read(keyspace)?;
        match (scan.direction, scan.from) {
            (_, None) => show(txn.scan(..)?, scan, see),
            (Direction::Forward, Some(from)) => show(txn.scan(from..)?, scan, see),
            (Direction::Reverse, Some(from)) => show(txn.scan(..=from)?, scan, see),
        }
    }

    /// In one transaction, so right for many threads.
    fn merge(&self, keyspace: usize, key: &[u8], operand: u64) -> Result<()> {
        self.write(keyspace, Mode::ReadWrite, |txn| {
            let sum = operand.wrapping_add(txn.get(key)?.map_or(0, |value| counter(&value)));
            txn.set(key, sum.to_le_bytes().as_slice())
        })
    }

    fn remove_range(&self, keyspace: usize, from: &[u8], to: &[u8]) -> Result<()> {
        self.write(keyspace, Mode::WriteOnly, |txn| txn.delete_range(from, to))
    }

    /// Flushes the memtables; compactions of its own accord cannot be waited for.
    fn settle(&self) -> Result<Settled> {
        let flush =
            CompactRangeOptions { flush_memtable: true, target_level: Some(0), rewrite_bottommost: false };
        self.tree.compact_range(None, None, &flush)?;
        wait_until_quiet()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.runtime.block_on(self.tree.close())?;
        Ok(())
    }
}

/// Shows at most `scan.limit` entries from the end at which the scan begins; how many.
fn show(mut entries: impl LSMIterator, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
    if scan.limit == 0 {
        return Ok(0);
    }
    let mut found = match scan.direction {
        Direction::Forward => entries.seek_first()?,
        Direction::Reverse => entries.seek_last()?,
    };
    let mut shown = 0;
    while found {
        see(entries.key().user_key(), &entries.value_ref()?);
        shown += 1;
        if shown == scan.limit {
            break;
        }
        found = match scan.direction {
            Direction::Forward => entries.next()?,
            Direction::Reverse => entries.prev()?,
        };
    }
    Ok(shown)
}
