//! Tables that are damaged, cut, mistaken for another or hostile: an error or the right answer, never a
//! panic.

use super::*;
use crate::{
    codec::{Cipher, KeyId, Seal},
    error::{Error, ErrorKind},
    order::KeyOrder,
    table::index::{Index, IndexBuilder},
};
use core::ops::{Bound, RangeBounds};

fn example() -> Vec<Version> {
    let mut versions = vec![Version::put(b"", 3, b"")];
    for key in 0..300_u32 {
        let key = [b"key", &key.to_be_bytes()[..]].concat();
        versions.push(Version::new(&key, 7, ValueKind::Delete, b""));
        versions.push(Version::put(&key, 5, &b"a value that is long enough to be shared "[key.len()..]));
    }
    versions
}

fn little() -> Vec<Version> {
    vec![
        Version::put(b"apple", 7, b"red"),
        Version::new(b"apple", 3, ValueKind::Delete, b""),
        Version::put(b"banana", 5, b"yellow"),
    ]
}

/// Reads everything; `Err` if anything failed.
fn scan(table: &Arc<Table>) -> Result<Vec<Version>, Error> {
    let mut cursor = table.cursor();
    let mut found = Vec::new();
    cursor.seek_first()?;
    while let Some(version) = read_at_cursor(&cursor)? {
        found.push(version);
        cursor.next()?;
    }
    Ok(found)
}

/// Opens and reads a table that may be damaged. Whatever it answers must be right.
fn assert_right_or_error(fs: &Arc<dyn Fs>, meta: &TableMeta, versions: &[Version]) -> bool {
    let Ok(table) = open(fs, meta) else { return false };
    let mut is_whole = true;
    match scan(&table) {
        Ok(found) => assert!(found == versions),
        Err(error) => {
            is_whole = false;
            assert!(error.keys().is_some() && error.file().is_some() && error.offset().is_some());
        }
    }
    for version in versions.iter().step_by(1 + versions.len() / 5) {
        match table.get(&version.key, version.seqno) {
            Ok(Some((seqno, kind, value))) => {
                assert_eq!(&Version::new(&version.key, seqno.raw(), kind, &value), version);
            }
            Ok(None) => panic!("a version is missing without an error"),
            Err(error) => {
                is_whole = false;
                assert_eq!(error.kind(), ErrorKind::Corruption);
            }
        }
    }
    is_whole
}

fn flips_every_byte(options: TableOptions, versions: &[Version]) {
    let fs = memory();
    let meta = write(&fs, options, versions);
    let good = bytes_of(&fs);
    assert!(assert_right_or_error(&fs, &meta, versions));

    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        let fs = holding(&bytes);

        let is_whole = assert_right_or_error(&fs, &meta, versions);

        // What the mirror or the manifest says, too; and statistics, which only estimates read.
        let is_spare = meta.mirror_at <= at as u64
            && meta
                .filter
                .is_none_or(|directory| at as u64 >= directory.end() || (at as u64) < meta.statistics.end());
        assert_eq!(is_whole, is_spare, "byte {at} of {}", good.len());
        if let Ok(table) = open(&fs, &meta) {
            assert_ne!(table.verify(VerifyDepth::Entries, &PrefixExtractors::new()), [], "byte {at}");
            assert!(
                !is_spare || !table.verify(VerifyDepth::Outline, &PrefixExtractors::new()).is_empty(),
                "byte {at}"
            );
            assert!(table.properties().is_ok(), "byte {at}");
        }
        if let Ok(read) = Table::read_meta(&fs, ID, DATABASE) {
            assert_ne!(read.digest, meta.digest, "byte {at}");
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    flips_every_byte(small_blocks(), &little());
    flips_every_byte(TableOptions { filter: None, ..small_blocks() }, &example());
}

#[test]
fn a_table_of_another_length_is_refused() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &little());
    let mut bytes = bytes_of(&fs);

    for len in 0..bytes.len() {
        let fs = holding(&bytes[..len]);
        assert_eq!(open(&fs, &meta).err().map(|error| error.kind()), Some(ErrorKind::Corruption), "{len}");
        assert!(Table::read_meta(&fs, ID, DATABASE).is_err(), "{len}");
    }
    bytes.push(0);
    assert!(open(&holding(&bytes), &meta).is_err());
    assert!(Table::read_meta(&holding(&bytes), ID, DATABASE).is_err());
}

#[test]
fn a_manifest_that_says_something_else_is_refused() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &little());
    let changes: [fn(&mut TableMeta); 8] = [
        |meta| meta.uuid.0[0] ^= 1,
        |meta| meta.bytes += 1,
        |meta| meta.entries += 1,
        |meta| meta.tombstones -= 1,
        |meta| meta.index.bytes -= 1,
        |meta| meta.filter = None,
        |meta| meta.properties = meta.index,
        |meta| meta.index.offset = u64::MAX,
    ];

    for (number, change) in changes.iter().enumerate() {
        let mut changed = meta.clone();
        change(&mut changed);
        let error = open(&fs, &changed).err().unwrap_or_else(|| panic!("change {number} was not noticed"));
        assert_eq!(error.kind(), ErrorKind::Corruption, "change {number}");
        assert_eq!(error.keys(), Some(&meta.key_bounds(&KeyOrder::BYTES)));
    }
}

#[test]
fn a_table_of_another_database_is_named_as_such() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &little());

    let refused = Table::open(&fs, Arc::new(meta), Uuid([0xdc; 16]), &cache());

    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::MixedStore));
}

#[test]
fn a_missing_table_is_corruption_naming_it() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &little());
    fs.remove_file(&file_name(ID)).unwrap();

    let error = open(&fs, &meta).err().unwrap();

    assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(&file_name(ID)[..])));
}

#[test]
fn a_scan_goes_on_behind_a_damaged_block() {
    let versions: Vec<Version> =
        (0..3_000_u32).map(|key| Version::put(&key.to_be_bytes(), 1, b"value")).collect();
    let fs = memory();
    let meta = write(&fs, small_blocks(), &versions);
    let damaged = open(&fs, &meta).unwrap().block_handle(2).unwrap();
    let mut bytes = bytes_of(&fs);
    bytes[usize::try_from(damaged.offset).unwrap() + 100] ^= 1;
    let table = open(&holding(&bytes), &meta).unwrap();

    let mut cursor = table.cursor();
    let mut found = Vec::new();
    cursor.seek_first().unwrap();
    let error = loop {
        found.push(at_cursor(&cursor).unwrap());
        if let Err(error) = cursor.next() {
            break error;
        }
    };
    assert!(cursor.entry().is_none());
    let (low, high) = error.keys().unwrap();
    let (Bound::Excluded(low), Bound::Excluded(high)) = (low, high) else { panic!("{error:?}") };
    cursor.seek(InternalKey::first_of(high)).unwrap();
    let behind = at_cursor(&cursor).unwrap();
    cursor.seek_back(InternalKey::last_of(low)).unwrap();

    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(damaged.offset)));
    assert_eq!(at_cursor(&cursor).as_ref(), found.last(), "before the damage");
    let lost: Vec<&Version> = versions.iter().filter(|it| it.key > *low && it.key < *high).collect();
    assert_eq!(found.len() + lost.len(), versions.partition_point(|it| it.key < behind.key));
    for version in lost {
        assert!(table.get(&version.key, Seqno::MAX).is_err());
    }
    let findings = table.verify(VerifyDepth::Entries, &PrefixExtractors::new());
    let finding = findings.iter().find(|finding| finding.offset == damaged.offset).unwrap();
    assert_eq!(finding.keys.as_ref(), error.keys());
}

#[test]
fn a_scan_passes_over_each_damaged_block_once_from_either_end() {
    let mut versions: Vec<Version> =
        (0..1_500_u32).map(|key| Version::put(&key.to_be_bytes(), 1, b"value")).collect();
    versions.extend((1..1_500).rev().map(|seqno| Version::put(b"hot key", seqno, b"value")));
    let fs = memory();
    let meta = write(&fs, small_blocks(), &versions);
    let good = bytes_of(&fs);
    let blocks = open(&fs, &meta).unwrap().blocks();
    assert!(blocks > 6);

    for damaged in 0..blocks {
        let handle = open(&fs, &meta).unwrap().block_handle(damaged).unwrap();
        let mut bytes = good.clone();
        bytes[usize::try_from(handle.offset).unwrap() + 100] ^= 1;
        let table = open(&holding(&bytes), &meta).unwrap();
        let lost = table.block_keys(damaged);
        let is_lost = |version: &Version| (lost.0.as_ref(), lost.1.as_ref()).contains(&version.key);
        let is_readable = |version: &&Version| !is_lost(version);
        let expected: Vec<&Version> = versions.iter().filter(is_readable).collect();

        let (forward, backward) = (scan_forward(&table), scan_backward(&table));

        assert_eq!((forward.1, backward.1), (1, 1), "errors at block {damaged}");
        assert!(forward.0.iter().filter(is_readable).eq(expected.iter().copied()), "block {damaged}");
        assert!(backward.0.iter().rev().filter(is_readable).eq(expected), "block {damaged}");
    }
}

/// Everything that can be read from front to back, and the number of errors that were passed over.
fn scan_forward(table: &Arc<Table>) -> (Vec<Version>, usize) {
    let (mut cursor, mut found, mut errors) = (table.cursor(), Vec::new(), 0);
    let mut moved = cursor.seek_first();
    loop {
        if let Err(error) = moved {
            errors += 1;
            let (_, Bound::Excluded(behind)) = error.keys().unwrap() else { panic!("{error:?}") };
            cursor.seek(InternalKey::first_of(behind)).unwrap();
        }
        let Some(version) = at_cursor(&cursor) else { return (found, errors) };
        found.push(version);
        moved = cursor.next();
    }
}

/// As [`scan_forward`], from back to front.
fn scan_backward(table: &Arc<Table>) -> (Vec<Version>, usize) {
    let (mut cursor, mut found, mut errors) = (table.cursor(), Vec::new(), 0);
    let mut moved = cursor.seek_last();
    loop {
        if let Err(error) = moved {
            errors += 1;
            match &error.keys().unwrap().0 {
                Bound::Excluded(before) => cursor.seek_back(InternalKey::last_of(before)).unwrap(),
                Bound::Included(first) => cursor.seek_back(InternalKey::first_of(first)).unwrap(),
                Bound::Unbounded => panic!("{error:?}"),
            }
        }
        let Some(version) = at_cursor(&cursor) else { return (found, errors) };
        found.push(version);
        moved = cursor.prev();
    }
}

#[test]
fn damage_inside_the_versions_of_a_key_names_that_key() {
    let versions: Vec<Version> =
        (0..5_000).rev().map(|seqno| Version::put(b"key", seqno, b"value")).collect();
    let fs = memory();
    let meta = write(&fs, small_blocks(), &versions);
    let damaged = open(&fs, &meta).unwrap().block_handle(1).unwrap();
    let mut bytes = bytes_of(&fs);
    bytes[usize::try_from(damaged.offset).unwrap() + 100] ^= 1;
    let table = open(&holding(&bytes), &meta).unwrap();

    let error = scan(&table).unwrap_err();

    let keys = (Bound::Included(b"key".to_vec()), Bound::Excluded(b"key\0".to_vec()));
    assert_eq!(error.keys(), Some(&keys));
}

#[test]
fn hostile_facts_in_the_manifest_are_refused_or_harmless() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &little());
    let good = meta.encode();

    for at in 0..good.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff, good[at] ^ 1] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            if let Ok(decoded) = TableMeta::decode(&bytes) {
                if decoded.id == meta.id {
                    assert_right_or_error(&fs, &decoded, &little());
                }
                assert_eq!(TableMeta::decode(&decoded.encode()), Ok(decoded));
            }
        }
        assert!(TableMeta::decode(&good[..at]).is_err(), "cut at {at}");
    }
    assert!(TableMeta::decode(&[&good[..], &good[..13]].concat()).is_err(), "a repeated field");
}

#[test]
fn hostile_properties_are_refused_or_harmless() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &little());
    let good = open(&fs, &meta).unwrap().properties().unwrap().encode();

    for at in 0..good.len() {
        for byte in [0, 1, 0x7f, 0x80, 0xff, good[at] ^ 1] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            if let Ok(properties) = Properties::decode(&bytes) {
                let _ = (properties.counts.total(), properties.counts.tombstones());
            }
        }
        assert!(Properties::decode(&good[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_hostile_index_is_refused_or_harmless() {
    let mut builder = IndexBuilder::new(64);
    builder.add(InternalKey::last_of(b"key1"), 200);
    builder.add(InternalKey { key: b"key2", seqno: number(9) }, 300);
    builder.add(InternalKey::last_of(b"key2"), 400);
    let good = builder.finish();

    let mut refused = 0;
    for at in 0..good.len() {
        for byte in 0..=u8::MAX {
            let mut bytes = good.clone();
            bytes[at] = byte;
            let Ok(index) = Index::decode(bytes, 400, Some(&KeyOrder::BYTES)) else {
                refused += 1;
                continue;
            };
            for key in [&b""[..], b"key1", b"key2", b"key3", b"\xff"] {
                assert!(index.find(InternalKey { key, seqno: number(5) }).is_none_or(|it| it < index.len()));
            }
            for block in 0..index.len() {
                assert!(index.handle(block).offset >= 64 && index.handle(block).end() <= 400);
                let _ = index.key_bounds(block);
            }
        }
        assert!(Index::decode(good[..at].to_vec(), 400, Some(&KeyOrder::BYTES)).is_err(), "cut at {at}");
    }
    assert!(
        Index::decode(good, 399, Some(&KeyOrder::BYTES)).is_err(),
        "the last block ends behind the limit"
    );
    assert!(refused > 5_000, "{refused} were refused");
}

/// The manifest says in which order the tables of a run are. Entries outside of what it says came out of
/// order with those of the next table, and a merge of both failed an assertion.
#[test]
fn entries_outside_of_their_separators_are_refused() {
    let fs = memory();
    let sound = write(&fs, TableOptions::default(), &little());
    let later = TableMeta { first_key: b"b".to_vec(), ..sound.clone() };
    let shorter = TableMeta { last_key: b"b".to_vec(), ..sound.clone() };
    assert!(scan(&open(&fs, &sound).unwrap()).is_ok());

    for meta in [later, shorter] {
        let table = open(&fs, &meta).unwrap();

        assert_eq!(scan(&table).unwrap_err().kind(), ErrorKind::Corruption);
        assert_eq!(table.get(b"banana", number(9)).unwrap_err().kind(), ErrorKind::Corruption);
    }
}

/// Everything else of it may be as the manifest says.
#[test]
fn a_table_that_is_not_sealed_as_the_manifest_says_is_refused() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &example());
    let seal = Seal { key: KeyId(1), cipher: Cipher::Aes256Gcm, check: [7; 8] };

    let error = open(&fs, &TableMeta { seal: Some(seal), ..meta.clone() }).map(drop).unwrap_err();

    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(40)));
    assert!(open(&fs, &meta).is_ok());
}
