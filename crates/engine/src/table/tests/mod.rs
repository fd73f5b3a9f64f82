//! Tables written to memory and read back.

extern crate std;

mod alone;
mod damage;
mod golden;
mod prefixes;

mod partitions;
mod round_trip;
mod salvage;

use super::*;
use crate::{
    env::{CreateOptions, Fs, MemFs, OpenMode, WriteOrigin},
    iter::Cursor,
    key::{InternalKey, ValueKind},
    place::PlaceId,
    prefix::PrefixExtractors,
    types::{Seqno, TableId, TreeId, UnixUs, Uuid},
};
use alloc::{sync::Arc, vec, vec::Vec};

const DATABASE: Uuid = Uuid([0xdb; 16]);
const ID: TableId = TableId(17);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Version {
    key: Vec<u8>,
    seqno: Seqno,
    kind: ValueKind,
    value: Vec<u8>,
}

impl Version {
    fn new(key: &[u8], seqno: u64, kind: ValueKind, value: &[u8]) -> Version {
        Version { key: key.into(), seqno: number(seqno), kind, value: value.into() }
    }

    fn put(key: &[u8], seqno: u64, value: &[u8]) -> Version {
        Version::new(key, seqno, ValueKind::Put, value)
    }

    fn internal(&self) -> InternalKey<'_> {
        InternalKey { key: &self.key, seqno: self.seqno }
    }
}

fn number(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

fn small_blocks() -> TableOptions {
    TableOptions { block_bytes: 4096, ..TableOptions::default() }
}

fn bits(kind: FilterKind, bits_per_key: f32) -> Option<FilterOptions> {
    Some(FilterOptions { kind, bits_per_key })
}

fn memory() -> Arc<dyn Fs> {
    let fs = MemFs::new();
    fs.create_dir(TABLES_DIR).unwrap();
    Arc::new(fs)
}

fn writer(fs: &Arc<dyn Fs>, options: TableOptions) -> TableWriter {
    let identity = TableIdentity { id: ID, uuid: Uuid([0x1d; 16]), database: DATABASE, place: PlaceId::MAIN };
    let seed = PropertySeed::new(TreeId(3), "events", UnixUs(1_700_000_000_000_000));
    TableWriter::create(fs, identity, options, seed, WriteOrigin::FlushTable).unwrap()
}

fn write(fs: &Arc<dyn Fs>, options: TableOptions, versions: &[Version]) -> TableMeta {
    let mut writer = writer(fs, options);
    for version in versions {
        writer.add(&version.key, version.seqno, version.kind, &version.value).unwrap();
    }
    writer.finish().unwrap()
}

fn cache() -> Arc<DataCache> {
    Arc::new(DataCache::new(1 << 20))
}

fn open(fs: &Arc<dyn Fs>, meta: &TableMeta) -> crate::error::Result<Arc<Table>> {
    Table::open(fs, Arc::new(meta.clone()), DATABASE, &cache())
}

fn write_and_open(options: TableOptions, versions: &[Version]) -> Arc<Table> {
    let fs = memory();
    let meta = write(&fs, options, versions);
    open(&fs, &meta).unwrap()
}

/// The bytes of a table's file.
fn bytes_of(fs: &Arc<dyn Fs>) -> Vec<u8> {
    let file = fs.open(&file_name(ID), OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size_bytes().unwrap()).unwrap()];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// A place whose only table has these bytes.
fn holding(bytes: &[u8]) -> Arc<dyn Fs> {
    let fs = memory();
    let file = fs.create(&file_name(ID), &CreateOptions::new(WriteOrigin::FlushTable)).unwrap();
    file.write_at(0, bytes).unwrap();
    fs
}

fn at_cursor(cursor: &TableCursor) -> Option<Version> {
    read_at_cursor(cursor).unwrap()
}

fn read_at_cursor(cursor: &TableCursor) -> crate::error::Result<Option<Version>> {
    let Some(entry) = cursor.entry() else { return Ok(None) };
    let value = cursor.value_bytes()?;
    assert_eq!(cursor.value()?, *value);
    Ok(Some(Version::new(entry.key, entry.seqno.raw(), entry.kind, value)))
}

/// Random numbers that depend on the seed alone (SplitMix64; Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    /// Seeded by `ISOPACH_SEED`, else by `seed`. A failed test shows it.
    fn new(seed: u64) -> Random {
        let chosen = std::env::var("ISOPACH_SEED").ok().and_then(|text| text.parse().ok());
        let seed = chosen.unwrap_or(seed);
        std::println!("replay with ISOPACH_SEED={seed}");
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn bytes(&mut self, len: usize, alphabet: &[u8]) -> Vec<u8> {
        (0..len).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}
