//! The cache of decoded blocks, in shards that are locked one by one.
//!
//! Each table has a *shelf* with a place for every block, so that a block is found by its number alone: nothing
//! is hashed or searched. The places of a shelf are spread over the shards, in turn.

use super::s3_fifo::{ENTRY_BYTES, Place, Queues, place_bytes};
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

/// Values of blocks on shelves, within a capacity in bytes.
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

impl<V> BlockCache<V> {
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

    /// Puts up a shelf for the blocks of a table, which are numbered from 0. It is taken down, with all that is
    /// on it, when it is dropped.
    pub fn shelf(self: &Arc<Self>, table: TableId, blocks: usize) -> Shelf<V> {
        // The first shard says which number is free, and is the last to let it go.
        let mut first = self.shards[0].queues.write();
        let number = first.free_number();
        let shelf = Shelf { cache: Arc::clone(self), table, number, blocks };
        first.put_up(number, shelf.places_in(0));
        drop(first);
        for (shard, at) in self.shards.iter().zip(0..).skip(1) {
            shard.queues.write().put_up(number, shelf.places_in(at));
        }
        shelf
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
}

/// The blocks of one table in a cache.
pub struct Shelf<V> {
    cache: Arc<BlockCache<V>>,
    table: TableId,
    /// In all shards.
    number: usize,
    blocks: usize,
}

impl<V> Shelf<V> {
    /// The cache that it is part of.
    pub fn cache(&self) -> &Arc<BlockCache<V>> {
        &self.cache
    }

    /// The value of a block, if it is there; and a sign that it is in use.
    #[inline]
    pub fn get(&self, block: usize) -> Option<V>
    where
        V: Clone,
    {
        let (shard, place) = self.place(block);
        let found = shard.queues.read().get(place).cloned();
        let counter = if found.is_some() { &shard.hits } else { &shard.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps the value of a block that takes `bytes` bytes, unless one is there already. One that is larger than
    /// a shard is not kept. Says whether it was.
    pub fn insert(&self, block: usize, value: V, bytes: usize) -> bool {
        let Ok(bytes) = u32::try_from(bytes.saturating_add(ENTRY_BYTES)) else { return false };
        let (shard, place) = self.place(block);
        let mark = mixed(self.table, block);
        let mut gone = Vec::new();
        let mut queues = shard.queues.write();
        // Read under the lock: who lowers it takes every lock afterwards.
        let limit = self.cache.shard_limit();
        let is_kept = bytes as usize <= limit && queues.insert(place, mark, value, bytes, limit, &mut gone);
        drop(queues);
        drop(gone);
        is_kept
    }

    /// Size in memory, without what is on it.
    pub fn resident_bytes(&self) -> usize {
        self.blocks * place_bytes::<V>()
    }

    /// Small shelves, too, are spread over all shards: each begins at another one.
    #[inline]
    fn place(&self, block: usize) -> (&Shard<V>, Place) {
        assert!(block < self.blocks, "a shelf has a place for each block");
        let (mask, bits) = (self.cache.shards.len() - 1, self.cache.shards.len().ilog2());
        let narrow = |number: usize| u32::try_from(number).expect("fewer than 2^32 tables and blocks");
        let place = Place { shelf: narrow(self.number), at: narrow(block >> bits) };
        (&self.cache.shards[(block + self.number) & mask], place)
    }

    /// How many of its places are in a shard: of every round of all shards one, and of the last round those that
    /// are left.
    fn places_in(&self, shard: usize) -> usize {
        let mask = self.cache.shards.len() - 1;
        let turn = shard.wrapping_sub(self.number) & mask;
        (self.blocks + mask - turn) / self.cache.shards.len()
    }
}

impl<V> Drop for Shelf<V> {
    fn drop(&mut self) {
        for shard in self.cache.shards.iter().rev() {
            let places = shard.queues.write().take_down(self.number);
            drop(places);
        }
    }
}

/// All bits depend on both numbers (the finalizer of SplitMix64; Steele, Lea, Flood 2014).
fn mixed(table: TableId, block: usize) -> u64 {
    let mut z = table.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ block as u64;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
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
