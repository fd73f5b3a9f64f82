//! Keys, values and tables that cases work on. The same in every run.

use isopach::{
    Compression, Seqno, Uuid,
    engine::{
        cache::BlockCache,
        key::ValueKind,
        memtable::{Memtable, Operation},
        place::PlaceId,
        table::{
            DataCache, FilterKind, FilterOptions, PropertySeed, TABLES_DIR, Table, TableIdentity,
            TableOptions, TableWriter,
        },
        tree::WriteBatch,
        types::{TableId, TreeId, UnixUs},
    },
    env::{Env, WriteOrigin},
};
use std::sync::Arc;

/// Of all values. Half of it compresses.
pub const VALUE_BYTES: usize = 100;

/// Seed of everything.
const SEED: u64 = 0x150_9AC4;

/// The database that all tables belong to.
const DATABASE: Uuid = Uuid([7; 16]);

/// The key of an entry: 16 bytes, four of them the same in all. Rises with `index`.
pub fn key(index: usize) -> [u8; 16] {
    key_of_number(2 * index as u64)
}

/// A key that no entry has, between those of `index` and the next.
pub fn absent_key(index: usize) -> [u8; 16] {
    key_of_number(2 * index as u64 + 1)
}

fn key_of_number(number: u64) -> [u8; 16] {
    format!("user{number:012}").as_bytes().try_into().expect("four letters and twelve digits")
}

/// The value of an entry.
pub fn value(index: usize) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    let (text, noise) = value.split_at_mut(VALUE_BYTES / 2);
    for (byte, letter) in text.iter_mut().zip(b"text that repeats, ".iter().cycle()) {
        *byte = *letter;
    }
    let mut random = Random::new(index as u64 + 8);
    for chunk in noise.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
    }
    value
}

/// `0..count` in the order in which entries are written.
pub fn write_order(count: usize) -> Vec<usize> {
    shuffled(count, 1)
}

/// `0..count` in the order in which entries are read: another one, or what was allocated together would be
/// read together.
pub fn read_order(count: usize) -> Vec<usize> {
    shuffled(count, 2)
}

fn shuffled(count: usize, stream: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut random = Random::new(stream);
    for last in (1..count).rev() {
        let other = random.next() % (last as u64 + 1);
        order.swap(last, usize::try_from(other).expect("below an index"));
    }
    order
}

/// Applies entry `index` as an operation numbered by it.
pub fn apply(memtable: &Memtable, index: usize) {
    let (key, value) = (key(index), value(index));
    memtable.apply([Operation { seqno: seqno(index), kind: ValueKind::Put, key: &key, value: &value }]);
}

/// The number of entry `index`.
pub fn seqno(index: usize) -> Seqno {
    Seqno::from_raw(index as u64 + 1).expect("few entries")
}

/// Entries as one batch.
pub fn batch(indexes: impl IntoIterator<Item = usize>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for index in indexes {
        batch.put(&key(index), &value(index));
    }
    batch
}

/// A memtable of these entries, applied in this order.
pub fn memtable(indexes: impl IntoIterator<Item = usize>) -> Arc<Memtable> {
    let memtable = Memtable::default();
    indexes.into_iter().for_each(|index| apply(&memtable, index));
    Arc::new(memtable)
}

/// Files in memory, with a directory for tables, and a clock that stands.
pub fn env() -> Env {
    let env = Env::simulated(SEED);
    env.fs.create_dir(TABLES_DIR).expect("it is new");
    env
}

/// Files in memory and a clock that stands.
pub fn empty_env() -> Env {
    Env::simulated(SEED)
}

/// A cache that keeps every block of a case, or none.
pub fn cache(is_kept: bool) -> Arc<DataCache> {
    Arc::new(BlockCache::new(if is_kept { 256 << 20 } else { 0 }))
}

/// Tables as they are below level 0, with or without a filter.
pub fn table_options(filter_bits_per_key: Option<f32>) -> TableOptions {
    let filter =
        filter_bits_per_key.map(|bits_per_key| FilterOptions { kind: FilterKind::Bloom, bits_per_key });
    TableOptions { compression: Compression::Lz4, filter, ..TableOptions::default() }
}

/// A writer of table `id`.
pub fn table_writer(env: &Env, id: u64, options: TableOptions) -> TableWriter {
    let uuid = Uuid([u8::try_from(id).expect("few tables"); 16]);
    let identity = TableIdentity { id: TableId(id), uuid, database: DATABASE, place: PlaceId::MAIN };
    let seed = PropertySeed::new(TreeId(1), "part", UnixUs(0));
    TableWriter::create(&env.fs, identity, options, seed, WriteOrigin::FlushTable).expect("memory suffices")
}

/// An open table of these entries, which rise.
pub fn table(
    env: &Env,
    id: u64,
    options: TableOptions,
    cache: &Arc<DataCache>,
    indexes: impl IntoIterator<Item = usize>,
) -> Arc<Table> {
    let mut writer = table_writer(env, id, options);
    for index in indexes {
        writer.add(&key(index), seqno(index), ValueKind::Put, &value(index)).expect("memory suffices");
    }
    let meta = Arc::new(writer.finish().expect("memory suffices"));
    Table::open(&env.fs, meta, DATABASE, cache).expect("it was just written")
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn new(stream: u64) -> Random {
        Random(SEED ^ stream.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}
