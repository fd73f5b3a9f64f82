//! Which entries to keep: S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: FIFO queues are all you need, SOSP 2023).
//!
//! New entries go through a small queue, a tenth of the room; those used again there move to the main queue,
//! the others leave and are remembered by their hash for a while. An entry that comes back while remembered
//! goes to the main queue at once. So a scan passes through the small queue and leaves the rest alone.

use alloc::{collections::VecDeque, vec::Vec};
use core::{
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::atomic::{AtomicU8, Ordering},
};
use hashbrown::{HashMap, HashSet, hash_map};

use crate::types::TableId;

/// Uses that are counted; more make no difference.
const MAX_USES: u8 = 3;

/// Bookkeeping of an entry: its slots in the map and a queue.
pub(super) const ENTRY_BYTES: usize = 96;

/// A block of a table. Hashes as one word that is mixed already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlockKey {
    table: TableId,
    offset: u64,
}

impl BlockKey {
    pub(super) fn new(table: TableId, offset: u64) -> BlockKey {
        BlockKey { table, offset }
    }

    /// All bits depend on both numbers (the finalizer of SplitMix64; Steele, Lea, Flood 2014).
    pub(super) fn mixed(self) -> u64 {
        let mut z = self.table.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.offset;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Hash for BlockKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.mixed());
    }
}

/// Passes a word through that is mixed already.
#[derive(Default)]
pub(super) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        unreachable!("keys hash as one word, not as {} bytes", bytes.len());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

type ByMixed = BuildHasherDefault<Mixed>;

/// Entries of a shard and the order they leave in.
///
/// Every key of `entries` is in exactly one of the queues, and the byte counts are the sums over them.
pub(super) struct Queues<V> {
    entries: HashMap<BlockKey, Held<V>, ByMixed>,
    small: VecDeque<BlockKey>,
    main: VecDeque<BlockKey>,
    small_bytes: usize,
    main_bytes: usize,
    /// Hashes of keys that left the small queue unused, oldest first.
    ghosts: VecDeque<u64>,
    ghost_set: HashSet<u64, ByMixed>,
}

struct Held<V> {
    value: V,
    bytes: usize,
    place: Place,
    /// Uses since it was queued, up to [`MAX_USES`]. Counted under the reader's lock; a lost count is
    /// harmless.
    uses: AtomicU8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Small,
    Main,
}

impl<V> Queues<V> {
    pub(super) fn new() -> Queues<V> {
        Queues {
            entries: HashMap::default(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            small_bytes: 0,
            main_bytes: 0,
            ghosts: VecDeque::new(),
            ghost_set: HashSet::default(),
        }
    }

    /// Bytes of all entries, bookkeeping included.
    pub(super) fn bytes(&self) -> usize {
        self.small_bytes + self.main_bytes
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Notes a use.
    pub(super) fn get(&self, key: BlockKey) -> Option<&V> {
        let held = self.entries.get(&key)?;
        let uses = held.uses.load(Ordering::Relaxed);
        if uses < MAX_USES {
            held.uses.store(uses + 1, Ordering::Relaxed);
        }
        Some(&held.value)
    }

    /// Adds or replaces an entry of `bytes` bytes, bookkeeping included, and makes room for it.
    ///
    /// What leaves goes into `evicted`, so that it is dropped without the lock.
    pub(super) fn insert(
        &mut self,
        key: BlockKey,
        value: V,
        bytes: usize,
        limit: usize,
        evicted: &mut Vec<V>,
    ) {
        let was_ghost = self.ghost_set.contains(&key.mixed());
        match self.entries.entry(key) {
            hash_map::Entry::Occupied(mut entry) => {
                let held = entry.get_mut();
                let queue_bytes = match held.place {
                    Place::Small => &mut self.small_bytes,
                    Place::Main => &mut self.main_bytes,
                };
                *queue_bytes = *queue_bytes - held.bytes + bytes;
                held.bytes = bytes;
                evicted.push(core::mem::replace(&mut held.value, value));
            }
            hash_map::Entry::Vacant(entry) => {
                let place = if was_ghost { Place::Main } else { Place::Small };
                entry.insert(Held { value, bytes, place, uses: AtomicU8::new(0) });
                self.push(key, bytes, place);
            }
        }
        self.shrink_to(limit, evicted);
    }

    /// Evicts until at most `limit` bytes are held.
    pub(super) fn shrink_to(&mut self, limit: usize, evicted: &mut Vec<V>) {
        while self.bytes() > limit {
            if self.main.is_empty() || self.small_bytes > limit / 10 {
                self.step_small(evicted);
            } else {
                self.step_main(evicted);
            }
        }
    }

    /// Moves the oldest of the small queue on, or out.
    fn step_small(&mut self, evicted: &mut Vec<V>) {
        let key = self.small.pop_front().expect("bytes are held, and the main queue has none or few");
        let held = self.entries.get_mut(&key).expect("a queued key has an entry");
        self.small_bytes -= held.bytes;
        if *held.uses.get_mut() > 0 {
            *held.uses.get_mut() = 0;
            held.place = Place::Main;
            let bytes = held.bytes;
            self.push(key, bytes, Place::Main);
        } else {
            evicted.extend(self.entries.remove(&key).map(|held| held.value));
            self.remember(key);
        }
    }

    /// Gives the oldest of the main queue another round, or moves it out.
    fn step_main(&mut self, evicted: &mut Vec<V>) {
        let key = self.main.pop_front().expect("asked only if the main queue has entries");
        let held = self.entries.get_mut(&key).expect("a queued key has an entry");
        let uses = held.uses.get_mut();
        if *uses > 0 {
            *uses -= 1;
            self.main.push_back(key);
        } else {
            self.main_bytes -= held.bytes;
            evicted.extend(self.entries.remove(&key).map(|held| held.value));
        }
    }

    fn push(&mut self, key: BlockKey, bytes: usize, place: Place) {
        match place {
            Place::Small => {
                self.small.push_back(key);
                self.small_bytes += bytes;
            }
            Place::Main => {
                self.main.push_back(key);
                self.main_bytes += bytes;
            }
        }
    }

    /// Remembers a key that left, as many as there are entries.
    fn remember(&mut self, key: BlockKey) {
        if self.ghost_set.insert(key.mixed()) {
            self.ghosts.push_back(key.mixed());
        }
        while self.ghosts.len() > self.entries.len() {
            let oldest = self.ghosts.pop_front().expect("it is longer than another length");
            self.ghost_set.remove(&oldest);
        }
    }
}
