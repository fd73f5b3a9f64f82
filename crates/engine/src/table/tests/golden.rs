//! A small table, byte by byte as `docs/format.md` shows it.

use super::*;
use crate::codec::{
    Compression,
    golden::{assert_golden, parse},
};

const TABLE: &str = include_str!("../../../testdata/golden/table.hex");
const META: &str = include_str!("../../../testdata/golden/table_meta.hex");

fn example() -> Vec<Version> {
    vec![
        Version::put(b"apple", 7, b"red"),
        Version::new(b"apple", 3, ValueKind::Delete, b""),
        Version::put(b"apricot", 5, b"orange"),
    ]
}

fn written() -> (Arc<dyn Fs>, TableMeta) {
    let fs = memory();
    let identity = TableIdentity {
        id: ID,
        uuid: Uuid(core::array::from_fn(|at| at as u8)),
        database: Uuid(core::array::from_fn(|at| 0x10 + at as u8)),
        place: PlaceId::MAIN,
    };
    let seed = PropertySeed {
        tree_options: b"opt".to_vec(),
        lineage: vec![Uuid([0xaa; 16])],
        level: crate::types::Level(1),
        run_age: 2,
        replay_point: number(6),
        ..PropertySeed::new(TreeId(3), "fruit", UnixUs(1_000_000))
    };
    let options = TableOptions { compression: Compression::None, ..TableOptions::default() };
    let mut writer = TableWriter::create(&fs, identity, options, seed, WriteOrigin::CompactionTable).unwrap();
    for version in example() {
        writer.add(&version.key, version.seqno, version.kind, &version.value).unwrap();
    }
    let meta = writer.finish().unwrap();
    (fs, meta)
}

#[test]
fn table_is_as_documented() {
    let (fs, _) = written();

    assert_golden("table", TABLE, &bytes_of(&fs));
}

#[test]
fn table_meta_is_as_documented() {
    let (_, meta) = written();

    assert_golden("table_meta", META, &meta.encode());
    assert_eq!(TableMeta::decode(&parse(META)), Ok(meta));
}

#[test]
fn the_documented_table_can_be_read() {
    let fs = holding(&parse(TABLE));
    let meta = TableMeta::decode(&parse(META)).unwrap();
    let database = Uuid(core::array::from_fn(|at| 0x10 + at as u8));

    let table = Table::open(&fs, Arc::new(meta), database, &cache()).unwrap();

    let mut cursor = table.cursor();
    cursor.seek_first().unwrap();
    for version in example() {
        assert_eq!(at_cursor(&cursor), Some(version));
        cursor.next().unwrap();
    }
    assert_eq!(table.verify(VerifyDepth::Full, &PrefixExtractors::new()), []);
}
