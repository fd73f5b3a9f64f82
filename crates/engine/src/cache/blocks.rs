//! The cache of decoded blocks, in shards that are locked one by one.

use super::s3_fifo::{BlockKey, ENTRY_BYTES, Queues};
use crate::{
    env::sync::{Rank, RwLock},
    types::TableId,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicUsize, Ordering};

const MAX_SHARDS: usize = 16;
/// A shard smaller than this could not keep large blocks.
const MIN_SHARD_BYTES: usize = 2 * 1024 * 1024;

const RANK: Rank = Rank::new(61, "cache.blocks");

/// Values of blocks by table and offset, within a capacity in bytes.
///
/// Memory held elsewhere, such as the resident indexes of open tables, takes part in the capacity by
/// [`BlockCache::charge`]; what is left is for blocks.
pub struct BlockCache<V> {
    shards: Box<[Shard<V>]>,
    capacity_bytes: AtomicUsize,
    charged_bytes: AtomicUsize,
}

struct Shard<V> {
    queues: RwLock<Queues<V>>,
    hits: AtomicUsize,
    misses: AtomicUsize,
}

/// What a cache holds and how it did since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CacheStats {
    /// Lookups that found their block.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Blocks held.
    pub blocks: u64,
    /// Their bytes, bookkeeping included.
    pub block_bytes: u64,
    /// Bytes held elsewhere.
    pub charged_bytes: u64,
    /// What both together should not exceed.
    pub capacity_bytes: u64,
}

impl<V: Clone> BlockCache<V> {
    /// A cache of `capacity_bytes` bytes; 0 keeps nothing.
    pub fn new(capacity_bytes: u64) -> BlockCache<V> {
        let capacity_bytes = to_memory(capacity_bytes);
        let shards = (capacity_bytes / MIN_SHARD_BYTES).clamp(1, MAX_SHARDS);
        let shards = 1 << shards.ilog2();
        let shard = || Shard {
            queues: RwLock::new(RANK, Queues::new()),
            hits: AtomicUsize::new(0),
            misses: AtomicUsize::new(0),
        };
        BlockCache {
            shards: (0..shards).map(|_| shard()).collect(),
            capacity_bytes: AtomicUsize::new(capacity_bytes),
            charged_bytes: AtomicUsize::new(0),
        }
    }

    /// The value of a block, and a sign that it is in use.
    pub fn get(&self, table: TableId, offset: u64) -> Option<V> {
        let key = BlockKey::new(table, offset);
        let shard = self.shard(key);
        let found = shard.queues.read().get(key).cloned();
        let counter = if found.is_some() { &shard.hits } else { &shard.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps the value of a block that takes `bytes` bytes. One that is larger than a shard is not kept.
    pub fn insert(&self, table: TableId, offset: u64, value: V, bytes: usize) {
        let key = BlockKey::new(table, offset);
        let bytes = bytes.saturating_add(ENTRY_BYTES);
        let mut evicted = Vec::new();
        let mut queues = self.shard(key).queues.write();
        // Read under the lock: who lowers it takes every lock afterwards.
        let limit = self.shard_limit();
        if bytes <= limit {
            queues.insert(key, value, bytes, limit, &mut evicted);
        }
        drop(queues);
        drop(evicted);
    }

    /// Takes `bytes` bytes of the capacity until the result is dropped. Never fails: what is charged is in
    /// memory already.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge<V> {
        self.charged_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shrink();
        Charge { cache: Arc::clone(self), bytes }
    }

    /// Sets the capacity, in bytes, and evicts what exceeds it.
    pub fn set_capacity(&self, bytes: u64) {
        self.capacity_bytes.store(to_memory(bytes), Ordering::Relaxed);
        self.shrink();
    }

    /// What it holds and how it did. Counts of different shards are of slightly different times.
    pub fn stats(&self) -> CacheStats {
        let mut stats = CacheStats {
            charged_bytes: self.charged_bytes.load(Ordering::Relaxed) as u64,
            capacity_bytes: self.capacity_bytes.load(Ordering::Relaxed) as u64,
            ..CacheStats::default()
        };
        for shard in &self.shards {
            stats.hits += shard.hits.load(Ordering::Relaxed) as u64;
            stats.misses += shard.misses.load(Ordering::Relaxed) as u64;
            let queues = shard.queues.read();
            stats.blocks += queues.len() as u64;
            stats.block_bytes += queues.bytes() as u64;
        }
        stats
    }

    fn shrink(&self) {
        let mut evicted = Vec::new();
        for shard in &self.shards {
            let mut queues = shard.queues.write();
            let limit = self.shard_limit();
            queues.shrink_to(limit, &mut evicted);
            drop(queues);
            evicted.clear();
        }
    }

    fn shard_limit(&self) -> usize {
        let charged = self.charged_bytes.load(Ordering::Relaxed);
        self.capacity_bytes.load(Ordering::Relaxed).saturating_sub(charged) / self.shards.len()
    }

    fn shard(&self, key: BlockKey) -> &Shard<V> {
        // The map of a shard uses the lowest and the highest bits.
        let bits = usize::try_from((key.mixed() >> 32) & 0xff).expect("eight bits");
        &self.shards[bits % self.shards.len()]
    }
}

/// Bytes of a cache's capacity that are taken; dropping it gives them back.
pub struct Charge<V> {
    cache: Arc<BlockCache<V>>,
    bytes: usize,
}

impl<V> Drop for Charge<V> {
    fn drop(&mut self) {
        self.cache.charged_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn to_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
