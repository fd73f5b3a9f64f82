//! What was written comes back, in every order and at every number.

use super::*;
use crate::{
    codec::Parity,
    error::ErrorKind,
    order::{KeyOrder, tests::orders},
};

/// Compares every way to read a table with the versions it was written from.
pub(super) fn assert_reads(table: &Arc<Table>, versions: &[Version], random: &mut Random) {
    let mut cursor = table.cursor();
    assert_eq!(at_cursor(&cursor), None, "a new cursor stands on nothing");

    let mut forward = Vec::new();
    cursor.seek_first().unwrap();
    while let Some(version) = at_cursor(&cursor) {
        forward.push(version);
        cursor.next().unwrap();
    }
    assert!(forward == versions, "forward: {} of {} versions", forward.len(), versions.len());

    let mut backward = Vec::new();
    cursor.seek_last().unwrap();
    while let Some(version) = at_cursor(&cursor) {
        backward.push(version);
        cursor.prev().unwrap();
    }
    backward.reverse();
    assert!(backward == versions, "backward: {} of {} versions", backward.len(), versions.len());

    for _ in 0..1_000 {
        let mut target = versions[random.below(versions.len())].clone();
        match random.below(6) {
            0 => target.seqno = Seqno::MAX,
            1 => target.seqno = Seqno::ZERO,
            2 => target.seqno = target.seqno.before(),
            3 => target.key.push(0),
            4 => drop(target.key.pop()),
            _ => {}
        }
        assert_seek(&mut cursor, versions, &target, random);
        assert_get(table, versions, &target);
    }
}

fn assert_seek(cursor: &mut TableCursor, versions: &[Version], target: &Version, random: &mut Random) {
    let order = &cursor.table().order.clone();
    let at_or_after =
        versions.partition_point(|version| order.is_before(version.internal(), target.internal()));
    let at_or_before =
        versions.partition_point(|version| !order.is_before(target.internal(), version.internal()));

    cursor.seek(target.internal()).unwrap();
    assert_eq!(at_cursor(cursor).as_ref(), versions.get(at_or_after), "seek {:?}", target.internal());

    cursor.seek_back(target.internal()).unwrap();
    let mut expected = at_or_before.checked_sub(1);
    assert_eq!(
        at_cursor(cursor).as_ref(),
        expected.map(|at| &versions[at]),
        "seek_back {:?}",
        target.internal()
    );

    for _ in 0..random.below(5) {
        let Some(at) = expected else { break };
        if random.below(2) == 0 {
            cursor.next().unwrap();
            expected = (at + 1 < versions.len()).then_some(at + 1);
        } else {
            cursor.prev().unwrap();
            expected = at.checked_sub(1);
        }
        assert_eq!(at_cursor(cursor).as_ref(), expected.map(|at| &versions[at]));
    }
}

fn assert_get(table: &Table, versions: &[Version], target: &Version) {
    let order = &table.order;
    let first = versions.partition_point(|version| order.is_before(version.internal(), target.internal()));
    let expected = versions.get(first).filter(|version| version.key == target.key);

    let found = table.get(&target.key, target.seqno).unwrap();

    let found = found.map(|(seqno, kind, value)| Version::new(&target.key, seqno.raw(), kind, &value));
    assert_eq!(found.as_ref(), expected, "get {:?}", target.internal());
}

fn random_versions(random: &mut Random, count: usize) -> Vec<Version> {
    const KINDS: [ValueKind; 4] = [ValueKind::Put, ValueKind::Put, ValueKind::Delete, ValueKind::Merge];
    let alphabet: &[u8] = [&b"\0\xff"[..], b"ab", b"\0\x01abcdefgh\xfe\xff"][random.below(3)];
    let stems = [vec![], b"stem/".to_vec(), random.bytes(3_000, b"s")];
    let greatest = [1, 200, 60_000, 1 << 40, Seqno::MAX.raw()][random.below(5)];
    let mut versions: Vec<Version> = (0..count)
        .map(|_| {
            let stem = stems[random.below(100) % [1, 2, 3][random.below(3)]].clone();
            let key_bytes = random.below(9);
            let value_bytes = [0, 7, 30, 300, 9_000][random.below(41) % 5] / (1 + random.below(3));
            let key = [stem, random.bytes(key_bytes, alphabet)].concat();
            let value = random.bytes(value_bytes, b"value");
            Version::new(&key, random.next() % (greatest + 1), KINDS[random.below(4)], &value)
        })
        .collect();
    versions.sort_by(|a, b| KeyOrder::BYTES.compare_places(a.internal(), b.internal()));
    versions.dedup_by(|a, b| a.internal() == b.internal());
    versions
}

#[test]
fn random_tables_read_as_they_were_written() {
    let mut random = Random::new(1);
    for round in 0..30 {
        let count = [1, 2, 50, 3_000][round % 4];
        let versions = random_versions(&mut random, count);
        let options = TableOptions {
            entry_checksums: random.below(2) == 0,
            block_bytes: [4096, 16 * 1024, 1 << 20][random.below(3)],
            compression: [small_blocks().compression, crate::codec::Compression::None][random.below(2)],
            filter: [None, bits(FilterKind::Bloom, 2.0), bits(FilterKind::Burr, 7.0)][random.below(3)],
            partition_bytes: [1024, 64 * 1024][random.below(2)],
            parity: [Parity::None, Parity::SecDed, Parity::Xor { data: 2 }][random.below(3)],
        };

        let table = write_and_open(options, &versions);

        assert_reads(&table, &versions, &mut random);
        assert_eq!(table.verify(VerifyDepth::Full, &PrefixExtractors::new()), []);
    }
}

#[test]
fn random_tables_in_other_orders_read_as_they_were_written() {
    let mut random = Random::new(8);
    for order in &orders()[1..] {
        for count in [1, 2, 50, 3_000, 3_000] {
            let mut versions = random_versions(&mut random, count);
            versions.sort_by(|a, b| order.compare_places(a.internal(), b.internal()));
            let filter = [None, bits(FilterKind::Bloom, 2.0)][random.below(2)];
            let partition_bytes = [1024, 64 * 1024][random.below(2)];
            let options = TableOptions { filter, partition_bytes, ..small_blocks() };

            let table = write_and_open_in(order, options, &versions);

            assert_reads(&table, &versions, &mut random);
            assert_eq!(table.verify(VerifyDepth::Full, &PrefixExtractors::new()), []);
            let mut cursor = table.cursor();
            for version in versions.iter().step_by(1 + versions.len() / 20) {
                cursor.seek_behind(&version.key).unwrap();
                let behind = versions.iter().find(|it| order.is_less(&version.key, &it.key));
                assert_eq!(at_cursor(&cursor).as_ref(), behind, "behind {:?}", version.key);
            }
        }
    }
}

#[test]
fn a_table_is_not_opened_in_another_order() {
    let [bytes, reverse, _] = orders();
    let versions = [Version::put(b"b", 1, b"x"), Version::put(b"a", 1, b"x")];
    let fs = memory();
    let meta = write_in(&reverse, &fs, small_blocks(), &versions);

    let opened = |order| {
        Table::open_with(
            &fs,
            Arc::new(meta.clone()),
            DATABASE,
            &cache(),
            (NO_DICTIONARY, order),
            crate::codec::Rescue::default(),
        )
    };

    assert!(opened(&reverse).is_ok());
    assert_eq!(opened(&bytes).err().map(|error| error.kind()), Some(ErrorKind::Corruption));
}

const NO_DICTIONARY: crate::codec::FileDictionary = crate::codec::FileDictionary::None;

fn write_in(order: &KeyOrder, fs: &Arc<dyn Fs>, options: TableOptions, versions: &[Version]) -> TableMeta {
    let mut writer = writer(fs, options).with_order(order);
    for version in versions {
        writer.add(&version.key, version.seqno, version.kind, &version.value).unwrap();
    }
    writer.finish().unwrap()
}

fn write_and_open_in(order: &KeyOrder, options: TableOptions, versions: &[Version]) -> Arc<Table> {
    let fs = memory();
    let meta = Arc::new(write_in(order, &fs, options, versions));
    Table::open_with(&fs, meta, DATABASE, &cache(), (NO_DICTIONARY, order), crate::codec::Rescue::default())
        .unwrap()
}

#[test]
fn a_table_of_the_empty_key_alone() {
    let versions = [Version::put(b"", 0, b"")];

    let table = write_and_open(small_blocks(), &versions);

    assert_reads(&table, &versions, &mut Random::new(2));
}

#[test]
fn the_longest_keys_and_their_neighbours() {
    let longest = vec![b'k'; crate::key::MAX_KEY_BYTES];
    let mut greater = longest.clone();
    *greater.last_mut().unwrap() = b'l';
    let versions: Vec<Version> = [
        Version::put(b"", 1, b"first"),
        Version::put(&longest[..65_534], 1, b"shorter"),
        Version::put(&longest, 9, b"new"),
        Version::put(&longest, 8, b"old"),
        Version::put(&greater, 7, b"greater"),
        Version::put(b"l", 7, b"last"),
    ]
    .into();

    let table = write_and_open(small_blocks(), &versions);

    assert_reads(&table, &versions, &mut Random::new(3));
    assert_eq!(table.verify(VerifyDepth::Full, &PrefixExtractors::new()), []);
}

#[test]
fn versions_of_the_longest_key_fill_several_blocks() {
    let longest = vec![b'k'; crate::key::MAX_KEY_BYTES];
    let versions: Vec<Version> = (0..40).rev().map(|seqno| Version::put(&longest, seqno, b"")).collect();

    let table = write_and_open(small_blocks(), &versions);

    assert!(table.blocks() > 2, "{} blocks", table.blocks());
    assert_reads(&table, &versions, &mut Random::new(4));
}

#[test]
fn a_value_larger_than_a_block_gets_one_of_its_own() {
    let large = Random::new(5).bytes(1 << 20, b"0123456789abcdef");
    let versions =
        [Version::put(b"a", 1, b"small"), Version::put(b"b", 1, &large), Version::put(b"c", 1, b"small")];

    let table = write_and_open(small_blocks(), &versions);

    assert_eq!(table.blocks(), 3);
    assert_reads(&table, &versions, &mut Random::new(6));
}

#[test]
fn versions_of_one_key_are_found_in_whichever_block_they_lie() {
    let mut versions = vec![Version::put(b"before", 3, b"x")];
    versions.extend((0..5_000).rev().map(|seqno| Version::put(b"key", 10 + 2 * seqno, b"some value")));
    versions.push(Version::put(b"key\0", 1, b"y"));

    let table = write_and_open(small_blocks(), &versions);

    assert!(table.blocks() > 10);
    for at in (0..10_020).step_by(7) {
        assert_get(&table, &versions, &Version::put(b"key", at, b""));
    }
    assert_reads(&table, &versions, &mut Random::new(7));
}

#[test]
fn a_point_read_touches_one_block_at_most() {
    let versions: Vec<Version> =
        (0..2_000_u32).map(|key| Version::put(&(2 * key).to_be_bytes(), 1, b"some value")).collect();
    let fs = memory();
    let meta = write(&fs, TableOptions { filter: None, ..small_blocks() }, &versions);
    let cache = cache();
    let table = Table::open(&fs, Arc::new(meta), DATABASE, &cache).unwrap();

    for key in 0..4_002_u32 {
        let before = cache.stats();
        table.get(&key.to_be_bytes(), Seqno::MAX).unwrap();
        let after = cache.stats();
        assert!(after.hits + after.misses - before.hits - before.misses <= 1, "key {key}");
    }
}

#[test]
fn long_values_share_the_bytes_of_their_block() {
    let table = write_and_open(small_blocks(), &[Version::put(b"k", 1, &[7; 100])]);
    let mut cursor = table.cursor();
    cursor.seek_first().unwrap();

    let value = cursor.value().unwrap();
    let (_, _, same) = table.get(b"k", Seqno::MAX).unwrap().unwrap();

    assert_eq!(value.as_ptr(), same.as_ptr());
}

#[test]
fn a_cursor_past_the_cache_leaves_it_alone() {
    let versions: Vec<Version> =
        (0..2_000_u32).map(|key| Version::put(&key.to_be_bytes(), 1, b"value")).collect();
    let fs = memory();
    let meta = Arc::new(write(&fs, small_blocks(), &versions));
    let cache = cache();
    let table = Table::open(&fs, meta, DATABASE, &cache).unwrap();

    let mut cursor = table.cursor_past_cache();
    cursor.seek_first().unwrap();
    while cursor.entry().is_some() {
        cursor.next().unwrap();
    }

    assert_eq!(cache.stats().blocks, 0);
}

#[test]
fn resident_bytes_are_charged_while_the_table_is_open() {
    let fs = memory();
    let meta = Arc::new(write(&fs, small_blocks(), &[Version::put(b"k", 1, b"v")]));
    let cache = cache();

    let table = Table::open(&fs, meta, DATABASE, &cache).unwrap();
    let charged = cache.stats().charged_bytes;
    let resident = table.resident_bytes() as u64;
    drop(table);

    assert!(charged > 0 && charged == resident);
    assert_eq!(cache.stats().charged_bytes, 0);
}

#[test]
fn a_table_is_described_by_its_meta_and_properties() {
    let versions = [
        Version::put(b"a", 5, b"12345"),
        Version::new(b"b", 9, ValueKind::Delete, b""),
        Version::new(b"b", 4, ValueKind::DeleteWeak, b""),
        Version::new(b"cc", 7, ValueKind::Merge, b"+1"),
    ];
    let fs = memory();

    let meta = write(&fs, small_blocks(), &versions);
    let table = open(&fs, &meta).unwrap();
    let properties = table.properties().unwrap();

    assert_eq!((meta.id, meta.entries, meta.tombstones), (ID, 4, 2));
    assert_eq!((&meta.first_key[..], &meta.last_key[..]), (&b"a"[..], &b"cc"[..]));
    assert_eq!((meta.first_seqno, meta.last_seqno), (number(4), number(9)));
    assert_eq!(meta.bytes, bytes_of(&fs).len() as u64);
    assert_eq!(meta.digest, crate::codec::digest(&bytes_of(&fs)));
    assert_eq!(properties.seed, PropertySeed::new(TreeId(3), "events", meta.created_at));
    assert_eq!((properties.key_bytes, properties.value_bytes, properties.data_blocks), (5, 7, 1));
    assert_eq!(properties.counts.of(ValueKind::DeleteWeak), 1);
    assert_eq!(TableMeta::decode(&meta.encode()), Ok(meta.clone()));
    assert_eq!(Table::read_meta(&fs, ID, DATABASE).unwrap(), meta);
}

#[test]
fn estimated_bytes_are_near_the_size_of_the_file() {
    let fs = memory();
    let mut writer =
        writer(&fs, TableOptions { compression: crate::codec::Compression::None, ..small_blocks() });
    for key in 0..20_000_u32 {
        writer.add(&key.to_be_bytes(), number(1), ValueKind::Put, b"a value of some bytes").unwrap();
    }

    let (estimated, entries) = (writer.estimated_bytes(), writer.entries());
    let meta = writer.finish().unwrap();

    assert_eq!(entries, meta.entries);
    assert!(estimated.abs_diff(meta.bytes) < meta.bytes / 50, "{estimated} and {}", meta.bytes);
}

#[test]
#[should_panic(expected = "strict order")]
fn entries_out_of_order_are_a_bug_of_the_caller() {
    let fs = memory();
    let mut writer = writer(&fs, small_blocks());
    writer.add(b"k", number(3), ValueKind::Put, b"").unwrap();
    writer.add(b"k", number(3), ValueKind::Put, b"").unwrap();
}

#[test]
fn a_full_medium_is_an_error_and_leaves_the_file_to_the_caller() {
    let memory = MemFs::new();
    memory.create_dir(TABLES_DIR).unwrap();
    memory.set_capacity(Some(400_000));
    let fs: Arc<dyn Fs> = Arc::new(memory);
    let mut writer =
        writer(&fs, TableOptions { compression: crate::codec::Compression::None, ..small_blocks() });

    let error = (0..u32::MAX)
        .find_map(|key| writer.add(&key.to_be_bytes(), number(1), ValueKind::Put, &[7; 1_000]).err())
        .unwrap();

    assert_eq!((error.kind(), error.file()), (ErrorKind::OutOfSpace, Some(&file_name(ID)[..])));
    drop(writer);
    fs.remove_file(&file_name(ID)).unwrap();
}

#[test]
fn options_out_of_bounds_are_refused() {
    let fs = memory();
    for options in [
        TableOptions { block_bytes: 4095, ..TableOptions::default() },
        TableOptions { block_bytes: (1 << 20) + 1, ..TableOptions::default() },
        TableOptions { filter: bits(FilterKind::Bloom, 1.9), ..TableOptions::default() },
        TableOptions { filter: bits(FilterKind::Burr, f32::NAN), ..TableOptions::default() },
    ] {
        let identity =
            TableIdentity { id: ID, uuid: Uuid([1; 16]), database: DATABASE, place: PlaceId::MAIN };
        let seed = PropertySeed::new(TreeId(1), "t", UnixUs(0));
        let refused = TableWriter::create(&fs, identity, options, seed, WriteOrigin::FlushTable);
        assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::InvalidArgument), "{options:?}");
    }
    assert_eq!(fs.list(TABLES_DIR).unwrap().len(), 0);
}

#[test]
fn filters_of_tables_keep_most_absent_keys_out() {
    let versions: Vec<Version> =
        (0..20_000_u32).map(|key| Version::put(&(2 * key).to_be_bytes(), 1, b"v")).collect();
    let table = write_and_open(small_blocks(), &versions);

    let passed = (0..20_000_u32)
        .filter(|key| {
            let absent = (2 * key + 1).to_be_bytes();
            !table.is_unfiltered(InternalKey::first_of(&absent)).unwrap()
        })
        .count();

    assert!(passed < 240, "{passed} of 20,000 false positives at ten bits a key");
}
