//! Tables with a filter of prefixes.

use super::*;
use crate::{
    codec::{Corruption, TlvWriter},
    prefix::{FixedPrefix, PrefixExtractor},
    table::inspect::LoneTable,
};

const EXTRACTOR: &str = "isopach.prefix.3";

/// Six keys with three prefixes, and one that is too short.
fn with_prefixes(options: TableOptions) -> (Arc<dyn Fs>, TableMeta) {
    let fs = memory();
    let extractor: Arc<dyn PrefixExtractor> = Arc::new(FixedPrefix::new(3));
    let mut writer = writer(&fs, options).with_prefixes(&extractor);
    for key in [&b"a"[..], b"abc", b"abc1", b"abc2", b"abd", b"b\0\0x", b"b\0\0y"] {
        let kind = if key == b"abd" { ValueKind::Delete } else { ValueKind::Put };
        writer.add(key, number(7), kind, b"").unwrap();
        writer.add(key, number(5), ValueKind::Put, b"").unwrap();
    }
    let meta = writer.finish().unwrap();
    (fs, meta)
}

#[test]
fn a_table_denies_prefixes_that_it_has_not_under_its_own_extractor() {
    let (fs, meta) = with_prefixes(small_blocks());
    let table = open(&fs, &meta).unwrap();
    let denies = |extractor, prefix: &[u8]| table.denies_prefix(extractor, KeyHash::of(prefix)).unwrap();

    for prefix in [&b"abc"[..], b"abd", b"b\0\0"] {
        assert!(!denies(EXTRACTOR, prefix), "{prefix:?}");
    }
    let absent: Vec<[u8; 3]> = (0..=255).map(|byte| [b'x', byte, byte]).collect();
    let denied = absent.iter().filter(|prefix| denies(EXTRACTOR, *prefix)).count();
    assert!(denied > 240, "{denied} of 256");
    assert!(!absent.iter().any(|prefix| denies("isopach.prefix.2", prefix)));
    assert_eq!(table.verify(VerifyDepth::Full, &PrefixExtractors::new()), []);
}

#[test]
fn the_prefix_filter_is_a_block_that_manifest_and_footer_name() {
    let (fs, meta) = with_prefixes(small_blocks());
    let filter = meta.prefix_filter.clone().unwrap();

    assert_eq!(filter.extractor, EXTRACTOR);
    assert_eq!(TableMeta::decode(&meta.encode()), Ok(meta.clone()));
    assert_eq!(Table::read_meta(&fs, ID, DATABASE).unwrap(), meta);
    let alone = LoneTable::open(&fs, &file_name(ID)).unwrap();
    assert_eq!(alone.properties().unwrap().seed.extractor, EXTRACTOR);
    assert_eq!(alone.prefix_filter().unwrap().unwrap().keys, 3);
    let layout = alone.layout().unwrap();
    let region =
        Region { kind: RegionKind::PrefixFilter, offset: filter.block.offset, bytes: filter.block.bytes };
    assert!(layout.regions().contains(&region), "{:?}", layout.regions());
    assert_eq!(layout.check(), []);
}

#[test]
fn a_table_without_filter_has_no_prefix_filter() {
    let (fs, meta) = with_prefixes(TableOptions { filter: None, ..small_blocks() });

    assert_eq!(meta.prefix_filter, None);
    assert_eq!(open(&fs, &meta).unwrap().properties().unwrap().seed.extractor, EXTRACTOR);
    assert!(!open(&fs, &meta).unwrap().denies_prefix(EXTRACTOR, KeyHash::of(b"xyz")).unwrap());
}

#[test]
fn damage_of_a_prefix_filter_is_told_with_its_place() {
    let (fs, meta) = with_prefixes(small_blocks());
    let at = meta.prefix_filter.clone().unwrap().block.offset;
    let mut bytes = bytes_of(&fs);
    bytes[at as usize + 60] ^= 1;

    let table = open(&holding(&bytes), &meta).unwrap();
    let error = table.denies_prefix(EXTRACTOR, KeyHash::of(b"abc")).err().unwrap();
    let found = table.verify(VerifyDepth::Entries, &PrefixExtractors::new());

    assert_eq!((error.kind(), error.offset()), (crate::error::ErrorKind::Corruption, Some(at)));
    assert!(found.iter().any(|found| found.offset == at), "{found:?}");
}

#[test]
fn a_manifest_that_has_the_filter_elsewhere_is_contradicted() {
    let (fs, meta) = with_prefixes(small_blocks());
    let none = TableMeta { prefix_filter: None, ..meta.clone() };
    let index = PrefixFilter { block: meta.index, extractor: EXTRACTOR.into() };
    let elsewhere = TableMeta { prefix_filter: Some(index), ..meta.clone() };
    let renamed = PrefixFilter { extractor: "other".into(), ..meta.prefix_filter.clone().unwrap() };
    let renamed = TableMeta { prefix_filter: Some(renamed), ..meta };

    assert!(open(&fs, &none).is_err() && open(&fs, &elsewhere).is_err());
    let found = open(&fs, &renamed).unwrap().verify(VerifyDepth::Outline, &PrefixExtractors::new());
    assert!(found.len() == 1 && found[0].message.contains("properties contradict"), "{found:?}");
}

#[test]
fn hostile_facts_about_a_prefix_filter_are_refused() {
    let (_, meta) = with_prefixes(small_blocks());
    let block = meta.prefix_filter.clone().unwrap().block;
    let plain = TableMeta { prefix_filter: None, ..meta.clone() }.encode();
    let with = |handle: Option<[u8; 16]>, name: Option<&[u8]>| -> Result<TableMeta, Corruption> {
        let mut fields = TlvWriter::new();
        if let Some(handle) = handle {
            fields.bytes(15, &handle);
        }
        if let Some(name) = name {
            fields.bytes(16, name);
        }
        TableMeta::decode(&[plain.clone(), fields.finish()].concat())
    };
    let sound = Some(block.encode());
    let behind = BlockHandle { offset: meta.bytes, ..block }.encode();
    let endless = BlockHandle { offset: u64::MAX, ..block }.encode();

    assert_eq!(with(sound, Some(EXTRACTOR.as_bytes())), Ok(meta));
    assert!(with(sound, Some(&[b'n'; 255])).is_ok());
    for (handle, name) in [
        (sound, None),
        (None, Some(&b"name"[..])),
        (sound, Some(b"")),
        (sound, Some(&[b'n'; 256])),
        (sound, Some(b"\xff")),
        (Some(behind), Some(b"name")),
        (Some(endless), Some(b"name")),
        (Some([0; 16]), Some(b"name")),
    ] {
        assert!(with(handle, name).is_err(), "{handle:?} {name:?}");
    }
}
