//! coordinode-lsm-tree: an LSM tree without a log, without threads, and with sequence numbers of its
//! caller's. What it leaves to its caller is done here as its documentation proposes; flushes and compactions
//! in [`background`].

mod background;

use crate::engine::{
    Abilities, Buffered, Compression, Direction, Durability, Engine, Result, Scan, Settings, Settled,
    counter, keyspace_name,
};
use background::Background;
use lsm_tree::{
    AbstractTree, AnyTree, Cache, CompressionType, Config, DescriptorTable, Error, Guard,
    KvSeparationOptions, MergeOperator, SeqNo, SequenceNumberCounter, UserValue, WriteBatch,
    config::{BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry},
};
use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

/// Open table files, as many as fjall keeps.
const OPEN_FILES_COUNT: usize = 900;

struct Coordinode {
    trees: Arc<[AnyTree]>,
    seqnos: Seqnos,
    /// A batch is written alone: else a write beside it could make half of it visible. A memtable is sealed
    /// alone: else a write beside it could put a lower sequence number above higher ones.
    writers: RwLock<()>,
    background: Background,
    write_buffer_bytes: u64,
    durability: Durability,
    settings: Vec<(&'static str, String)>,
}

/// Of all trees.
#[derive(Clone, Default)]
struct Seqnos {
    /// The next write's.
    next: SequenceNumberCounter,
    /// Reads see what is below it.
    visible: SequenceNumberCounter,
}

/// See [`Engine::merge`].
struct Add;

impl MergeOperator for Add {
    fn merge(&self, _key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> lsm_tree::Result<UserValue> {
        let base = base.map_or(0, counter);
        let sum = operands.iter().fold(base, |sum, operand| sum.wrapping_add(counter(operand)));
        Ok(sum.to_le_bytes().into())
    }

    /// Sums of sums are sums, so operands may be folded before their base is known.
    fn composes_operands(&self) -> bool {
        true
    }
}

pub fn open(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>> {
    let compression = match settings.compression {
        Compression::None => CompressionType::None,
        Compression::Lz4 | Compression::Zstd => CompressionType::Lz4, // Zstandard is not built in.
    };
    let seqnos = Seqnos::default();
    let cache = Arc::new(Cache::with_capacity_bytes(settings.cache_bytes));
    let files = Arc::new(DescriptorTable::new(OPEN_FILES_COUNT));
    let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(super::BLOOM_BITS_PER_KEY));
    let trees: Arc<[AnyTree]> = (0..settings.keyspaces_count)
        .map(|index| {
            Config::new(dir.join(keyspace_name(index)), seqnos.next.clone(), seqnos.visible.clone())
                .use_cache(Arc::clone(&cache))
                .use_descriptor_table(Some(Arc::clone(&files)))
                .data_block_size_policy(BlockSizePolicy::all(settings.block_bytes))
                .data_block_compression_policy(CompressionPolicy::all(compression))
                .filter_policy(FilterPolicy::all(filter))
                .with_merge_operator(Some(Arc::new(Add)))
                .with_kv_separation(
                    settings
                        .separated_from_bytes
                        .map(|bytes| KvSeparationOptions::default().separation_threshold(bytes)),
                )
                .blob_compression(compression)
                .open()
        })
        .collect::<Result<_, _>>()?;
    for tree in trees.iter() {
        // A compaction may have collected more than the entries that are left tell.
        let highest = tree.get_highest_seqno().max(Some(tree.retention_floor()));
        let next = highest.map_or(0, |highest| highest + 1);
        seqnos.next.fetch_max(next);
        seqnos.visible.fetch_max(next);
    }
    let background = Background::start(Arc::clone(&trees), seqnos.visible.clone())?;
    let effective = vec![
        ("cache_bytes", settings.cache_bytes.to_string()),
        ("write_buffer_bytes", format!("{} a keyspace, kept by the adapter", settings.write_buffer_bytes)),
        ("compression", format!("{compression:?} at all levels")),
        ("block_bytes", settings.block_bytes.to_string()),
        ("bloom_bits_per_key", format!("{} (of BuRR)", super::BLOOM_BITS_PER_KEY)),
        ("threads", "2 of the adapter: flush, compaction; and rayon's for compression".into()),
        ("durability", "none: has no log; tables are synced (FlushDurability::Synced)".into()),
        ("compaction", "Leveled (default)".into()),
        ("backpressure", background::LIMITS.into()),
        ("checksum", "xxh3".into()),
        ("separated values", super::separation(settings, "garbage collected (default)")),
        ("keyspaces", "a tree each; cache, files and sequence numbers shared".into()),
    ];
    Ok(Box::new(Coordinode {
        trees,
        seqnos,
        writers: RwLock::new(()),
        background,
        write_buffer_bytes: settings.write_buffer_bytes,
        durability: settings.durability,
        settings: effective,
    }))
}

impl Coordinode {
    /// Writes beside other writers.
    fn write(&self, keyspace: usize, work: impl FnOnce(&AnyTree, SeqNo)) -> Result<()> {
        self.refuse_sync()?;
        {
            let _beside = self.writers.read().unwrap_or_else(PoisonError::into_inner);
            let seqno = self.seqnos.next.next();
            work(&self.trees[keyspace], seqno);
            self.seqnos.visible.fetch_max(seqno + 1);
        }
        self.make_room(keyspace)
    }

    fn refuse_sync(&self) -> Result<()> {
        match self.durability {
            Durability::Buffered => Ok(()),
            Durability::Sync => Err("coordinode-lsm-tree: has no log, so a write cannot be synced".into()),
        }
    }

    /// Seals a memtable that is full, and waits while flushes or compactions are behind.
    fn make_room(&self, keyspace: usize) -> Result<()> {
        let tree = &self.trees[keyspace];
        let is_full = || tree.active_memtable().size() >= self.write_buffer_bytes;
        if !is_full() {
            return Ok(());
        }
        {
            let _alone = self.writers.write().unwrap_or_else(PoisonError::into_inner);
            // Another writer may have done so.
            if is_full() {
                tree.rotate_memtable();
            }
        }
        self.background.flush(keyspace)
    }

    /// Reads at the newest sequence number, again if a compaction collected it between its choice and the
    /// read.
    fn read<T>(&self, mut work: impl FnMut(SeqNo) -> lsm_tree::Result<T>) -> Result<T> {
        loop {
            let seqno = self.seqnos.visible.get();
            match work(seqno) {
                Err(Error::SnapshotBelowRetention { .. }) if self.seqnos.visible.get() != seqno => {}
                done => return Ok(done?),
            }
        }
    }
}

impl Engine for Coordinode {
    fn abilities(&self) -> Abilities {
        Abilities {
            buffered: Buffered::NoLog,
            sync: false,
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
        self.write(keyspace, |tree, seqno| {
            tree.insert(key, value, seqno);
        })
    }

    fn insert_batch(&self, keyspace: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        self.refuse_sync()?;
        let mut batch = WriteBatch::with_capacity(entries.len());
        for (key, value) in entries {
            batch.insert(key.as_slice(), value.as_slice());
        }
        {
            let _alone = self.writers.write().unwrap_or_else(PoisonError::into_inner);
            let seqno = self.seqnos.next.next();
            self.trees[keyspace].apply_batch(batch, seqno)?;
            self.seqnos.visible.fetch_max(seqno + 1);
        }
        self.make_room(keyspace)
    }

    fn remove(&self, keyspace: usize, key: &[u8]) -> Result<()> {
        self.write(keyspace, |tree, seqno| {
            tree.remove(key, seqno);
        })
    }

    fn get(&self, keyspace: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.read(|seqno| self.trees[keyspace].get_pinned(key, seqno))?;
        if let Some(value) = &value {
            see(value.as_ref());
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keyspace: usize, keys: &[Vec<u8>], see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let values = self.read(|seqno| self.trees[keyspace].multi_get(keys, seqno))?;
        values.iter().flatten().for_each(|value| see(value));
        Ok(values.iter().flatten().count())
    }

    fn scan(&self, keyspace: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize> {
        let tree = &self.trees[keyspace];
        let mut shown = 0;
        self.read(|seqno| {
            let mut entries = match (scan.direction, scan.from) {
                (_, None) => tree.iter(seqno, None),
                (Direction::Forward, Some(from)) => tree.range(from.., seqno, None),
                (Direction::Reverse, Some(from)) => tree.range(..=from, seqno, None),
            };
            while shown < scan.limit {
                let entry = match scan.direction {
                    Direction::Forward => entries.next(),
                    Direction::Reverse => entries.next_back(),
                };
                // A collected sequence number is the first entry's error: nothing was shown before it.
                let Some((key, value)) = entry.map(Guard::into_inner).transpose()? else { break };
                see(&key, &value);
                shown += 1;
            }
            Ok(shown)
        })
    }

    fn scan_keys(&self, keyspace: usize, limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        self.read(|seqno| {
            let mut shown = 0;
            for entry in self.trees[keyspace].iter(seqno, None).take(limit) {
                see(&entry.key()?);
                shown += 1;
            }
            Ok(shown)
        })
    }

    fn merge(&self, keyspace: usize, key: &[u8], operand: u64) -> Result<()> {
        self.write(keyspace, |tree, seqno| {
            tree.merge(key, operand.to_le_bytes(), seqno);
        })
    }

    fn remove_range(&self, keyspace: usize, from: &[u8], to: &[u8]) -> Result<()> {
        self.write(keyspace, |tree, seqno| {
            tree.remove_range(from, to, seqno);
        })
    }

    fn settle(&self) -> Result<Settled> {
        {
            let _alone = self.writers.write().unwrap_or_else(PoisonError::into_inner);
            for tree in self.trees.iter() {
                tree.rotate_memtable();
            }
        }
        self.background.settle()?;
        Ok(Settled::now())
    }

    /// Flushes: what is in memory has no log.
    fn close(self: Box<Self>) -> Result<()> {
        self.settle()?;
        let Coordinode { trees, background, .. } = *self;
        background.stop()?;
        let handles = trees.to_vec();
        // A tree is closed when its last handle is.
        drop(trees);
        for tree in handles {
            tree.close().wait();
        }
        Ok(())
    }
}
