//! Indexes and filters that are cut into partitions, and the mirror of what every table needs.

use super::*;
use crate::{
    codec::{Compression, Parity},
    error::ErrorKind,
    table::{RegionKind, inspect::LoneTable},
};
use core::ops::{Bound, RangeBounds};

/// Two versions of each key, each in a block of its own.
fn versions() -> Vec<Version> {
    let value = vec![b'.'; 4000];
    (0..1000_u32)
        .flat_map(|key| [2, 1].map(|seqno| Version::put(&key.to_be_bytes(), seqno, &value)))
        .collect()
}

fn options() -> TableOptions {
    TableOptions {
        entry_checksums: false,
        block_bytes: 4096,
        compression: Compression::None,
        filter: bits(FilterKind::Bloom, 20.0),
        partition_bytes: 1024,
        parity: Parity::None,
    }
}

/// The regions of a kind, in order.
fn regions(fs: &Arc<dyn Fs>, kind: fn(&RegionKind) -> bool) -> Vec<crate::table::Region> {
    let table = LoneTable::open(fs, &file_name(ID)).unwrap();
    let regions: Vec<_> = table.layout().unwrap().regions().to_vec();
    regions.into_iter().filter(|region| kind(&region.kind)).collect()
}

/// The same file with a bit flipped in each of these regions.
fn damaged(fs: &Arc<dyn Fs>, regions: &[crate::table::Region]) -> Arc<dyn Fs> {
    let mut bytes = bytes_of(fs);
    for region in regions {
        bytes[usize::try_from(region.end()).unwrap() - 1] ^= 1;
    }
    holding(&bytes)
}

#[test]
fn a_long_index_and_a_large_filter_are_cut_and_read_as_one() {
    let (fs, versions) = (memory(), versions());
    let meta = write(&fs, options(), &versions);
    let index_parts = regions(&fs, |kind| matches!(kind, RegionKind::IndexPart(_))).len();
    let filter_parts = regions(&fs, |kind| matches!(kind, RegionKind::Filter(_))).len();
    assert!(index_parts > 16 && filter_parts > 1, "{index_parts} and {filter_parts} partitions");

    let table = open(&fs, &meta).unwrap();

    assert_eq!(table.blocks(), versions.len());
    round_trip::assert_reads(&table, &versions, &mut Random::new(1));
    assert_eq!(table.verify(VerifyDepth::Full, &PrefixExtractors::new()), []);
    let lone = LoneTable::open(&fs, &file_name(ID)).unwrap();
    let all = lone.blocks().unwrap().entries((Bound::Unbounded, Bound::Unbounded)).unwrap();
    assert!(all.map(|entry| entry.unwrap().key).eq(versions.iter().map(|version| version.key.clone())));
    assert_eq!(lone.layout().unwrap().check(), []);
    let filter = lone.filter().unwrap().unwrap();
    assert_eq!(filter.partitions(), filter_parts);
    assert!(versions.iter().all(|version| filter.may_contain(&version.key)));
}

#[test]
fn partitions_come_into_memory_when_they_are_needed() {
    let (fs, versions) = (memory(), versions());
    let meta = write(&fs, options(), &versions);
    let table = open(&fs, &meta).unwrap();
    let at_first = table.resident_bytes();

    table.get(&versions[0].key, Seqno::MAX).unwrap().unwrap();
    let after_one = table.resident_bytes();
    for version in &versions {
        table.get(&version.key, Seqno::MAX).unwrap().unwrap();
    }

    let all = table.resident_bytes();
    assert!(at_first < after_one && after_one < at_first + 4096, "{at_first}, then {after_one}");
    assert!(all > after_one + 20_000, "{after_one}, then {all}");
}

#[test]
fn a_damaged_partition_stands_for_its_keys_alone() {
    let (fs, versions) = (memory(), versions());
    let meta = write(&fs, options(), &versions);
    for kind in [(|kind: &RegionKind| *kind == RegionKind::IndexPart(7)) as fn(&RegionKind) -> bool, |kind| {
        *kind == RegionKind::Filter(1)
    }] {
        let region = regions(&fs, kind)[0];
        let fs = damaged(&fs, &[region]);

        let table = open(&fs, &meta).unwrap();

        let mut errors = 0;
        for version in &versions {
            match table.get(&version.key, version.seqno) {
                Ok(found) => assert_eq!(found.unwrap().0, version.seqno),
                Err(error) => {
                    errors += 1;
                    let keys = error.keys().unwrap();
                    assert!((keys.0.as_ref(), keys.1.as_ref()).contains(&version.key));
                    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(region.offset)));
                }
            }
        }
        assert!((20..1500).contains(&errors), "{errors} of {}", versions.len());
        let found = table.verify(VerifyDepth::Full, &PrefixExtractors::new());
        assert_eq!(found.iter().filter(|finding| finding.offset == region.offset).count(), 1, "{found:?}");
    }
}

#[test]
fn a_table_without_its_index_block_or_its_footer_is_read_by_mirror_and_manifest() {
    let (fs, versions) = (memory(), versions());
    let meta = write(&fs, options(), &versions);
    let is_lost =
        |kind: &RegionKind| matches!(kind, RegionKind::Index | RegionKind::Properties | RegionKind::Footer);
    let lost = regions(&fs, is_lost);
    let fs = damaged(&fs, &lost);

    let table = open(&fs, &meta).unwrap();

    round_trip::assert_reads(&table, &versions, &mut Random::new(1));
    assert_eq!(table.properties().unwrap().data_blocks, versions.len() as u64);
    let found: Vec<u64> = table
        .verify(VerifyDepth::Outline, &PrefixExtractors::new())
        .iter()
        .map(|finding| finding.offset)
        .collect();
    assert!(lost.iter().all(|region| found.contains(&region.offset)), "{found:?}");
}

#[test]
fn a_table_whose_index_is_damaged_in_both_places_is_refused() {
    let fs = memory();
    let meta = write(&fs, options(), &versions());
    let fs = damaged(&fs, &regions(&fs, |kind| matches!(kind, RegionKind::Index | RegionKind::IndexMirror)));

    let refused = open(&fs, &meta).err().unwrap();

    assert_eq!((refused.kind(), refused.offset()), (ErrorKind::Corruption, Some(meta.index.offset)));
}
