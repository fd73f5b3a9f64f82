//! Tables as files by themselves: their regions, their entries, and what is wrong with damaged ones.

use super::*;
use crate::{
    codec::{BlockKind, Checksum, Compression, FileCodec, Salt, Section, decode_block, encode_block},
    error::ErrorKind,
    table::inspect::{Content, Entries, LoneTable},
};
use core::ops::Bound;

const ALL: (Bound<Vec<u8>>, Bound<Vec<u8>>) = (Bound::Unbounded, Bound::Unbounded);

/// Several blocks; some keys have two versions.
fn versions() -> Vec<Version> {
    let mut versions = Vec::new();
    for key in 0..900_u32 {
        let key = [b"key", &key.to_be_bytes()[..]].concat();
        if key[6] % 3 == 0 {
            versions.push(Version::new(&key, 9, ValueKind::Delete, b""));
        }
        versions.push(Version::put(
            &key,
            5,
            &b"some value that is repeated, repeated, repeated"[..key[6] as usize % 40],
        ));
    }
    versions
}

fn table_of(fs: &Arc<dyn Fs>) -> LoneTable {
    LoneTable::open(fs, &file_name(ID)).unwrap()
}

fn found(entries: Entries<'_>) -> Vec<Version> {
    let entries = entries.map(|entry| entry.unwrap());
    entries.map(|it| Version::new(&it.key, it.seqno.raw(), it.kind, &it.value)).collect()
}

/// Makes the footer right again after its fields were changed.
fn sign_footer(bytes: &mut [u8]) {
    let (at, checked) = (bytes.len() - FOOTER_BYTES, bytes.len() - 8);
    let salt = Salt::of(Uuid(bytes[8..24].try_into().unwrap()));
    let checksum = Checksum::of(&bytes[at..checked], salt, at as u64);
    bytes[checked..].copy_from_slice(&checksum.0.to_le_bytes());
}

#[test]
fn a_table_tells_what_its_manifest_would() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &versions());

    let table = table_of(&fs);
    let properties = table.properties().unwrap();

    assert_eq!((table.uuid(), table.database(), table.bytes()), (meta.uuid, DATABASE, meta.bytes));
    assert_eq!(table.digest().unwrap(), meta.digest);
    assert_eq!((properties.counts.total(), properties.counts.tombstones()), (meta.entries, meta.tombstones));
    assert_eq!((properties.first_key, properties.last_key), (meta.first_key, meta.last_key));
}

#[test]
fn regions_take_every_byte_and_blocks_hold_every_entry() {
    for options in [small_blocks(), TableOptions { filter: None, ..small_blocks() }] {
        let fs = memory();
        let meta = write(&fs, options, &versions());
        let table = table_of(&fs);

        let layout = table.layout().unwrap();

        assert_eq!(layout.found(), []);
        assert_eq!(layout.check(), []);
        assert_eq!(layout.regions().iter().map(|region| region.bytes).sum::<u64>(), meta.bytes);
        let contents: Vec<Content> =
            layout.regions().iter().map(|region| layout.content(region).unwrap()).collect();
        let entries: u64 =
            contents.iter().filter_map(|it| it.block.as_ref()).map(|it| it.statistics.entries).sum();
        assert_eq!(entries, meta.entries);
        for (region, content) in layout.regions().iter().zip(&contents) {
            let Some(frame) = content.frame else { continue };
            assert_eq!(24 + 17 * frame.sections as u64 + frame.stored_bytes, region.bytes);
        }
        let firsts: Vec<_> = contents.iter().filter_map(|it| it.block.as_ref()).collect();
        assert!(firsts.len() > 3, "{} blocks", firsts.len());
        assert!(firsts.windows(2).all(|two| two[0].last_key <= two[0].separator.as_ref().unwrap().0));
        assert!(firsts.windows(2).all(|two| two[0].last_key <= two[1].first_key));
    }
}

#[test]
fn entries_come_in_order_whole_by_range_and_by_block() {
    let fs = memory();
    write(&fs, small_blocks(), &versions());
    let table = table_of(&fs);
    let blocks = || table.blocks().unwrap();

    assert_eq!(found(blocks().entries(ALL).unwrap()), versions());
    let (from, to) = (versions()[200].key.clone(), versions()[600].key.clone());
    let inside = |low: Bound<Vec<u8>>, high: Bound<Vec<u8>>, is_inside: &dyn Fn(&Vec<u8>) -> bool| {
        let expected: Vec<Version> = versions().into_iter().filter(|it| is_inside(&it.key)).collect();
        assert_eq!(found(blocks().entries((low, high)).unwrap()), expected);
    };
    inside(Bound::Included(from.clone()), Bound::Excluded(to.clone()), &|key| (&from..&to).contains(&key));
    inside(Bound::Excluded(from.clone()), Bound::Included(to.clone()), &|key| *key > from && *key <= to);
    inside(Bound::Included(b"zzz".to_vec()), Bound::Unbounded, &|_| false);
    let by_block: Vec<Version> =
        (0..blocks().len()).flat_map(|block| found(blocks().entries_of(block))).collect();
    assert_eq!(by_block, versions());
}

#[test]
fn a_filter_tells_its_size_and_denies_no_key_of_its_table() {
    let fs = memory();
    write(&fs, TableOptions { filter: bits(FilterKind::Bloom, 10.0), ..small_blocks() }, &versions());
    let table = table_of(&fs);

    let filter = table.filter().unwrap().unwrap();
    let blocks = table.blocks().unwrap();

    assert_eq!((filter.kind(), filter.keys), (FilterKind::Bloom, 900));
    assert!((10.0..11.0).contains(&filter.bits_per_key()), "{}", filter.bits_per_key());
    for version in versions() {
        assert!(filter.may_contain(&version.key) && blocks.contains(&version.key).unwrap());
    }
    let absent = (0..1000_u32).map(|key| key.to_be_bytes());
    assert!(absent.clone().all(|key| !blocks.contains(&key).unwrap()));
    assert!(absent.filter(|key| filter.may_contain(key)).count() < 50);
}

#[test]
fn a_table_without_filter_has_none() {
    let fs = memory();
    write(&fs, TableOptions { filter: None, ..small_blocks() }, &versions());

    assert!(table_of(&fs).filter().unwrap().is_none());
}

#[test]
fn other_files_are_told_from_damaged_tables() {
    let fs = memory();
    write(&fs, small_blocks(), &versions());
    let good = bytes_of(&fs);
    let kind = |bytes: &[u8]| {
        LoneTable::open(&holding(bytes), &file_name(ID)).err().map(|error| (error.kind(), error.offset()))
    };

    assert_eq!(kind(&good), None);
    assert_eq!(kind(b""), Some((ErrorKind::UnsupportedFormat, None)));
    assert_eq!(kind(b"Package: bash\nVersion: 5\n"), Some((ErrorKind::UnsupportedFormat, None)));
    assert_eq!(kind(&good[..100]), Some((ErrorKind::Corruption, Some(0))));
    let cut = (good.len() - 1 - FOOTER_BYTES) as u64;
    assert_eq!(kind(&good[..good.len() - 1]), Some((ErrorKind::Corruption, Some(cut))));
    let missing = LoneTable::open(&memory(), "nowhere").err().unwrap();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn bytes_that_nothing_names_are_found() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &versions());
    let mut bytes = bytes_of(&fs);
    // The footer says that the properties block is not there but at the index.
    let at = bytes.len() - FOOTER_BYTES;
    bytes.copy_within(at + 16..at + 32, at + 48);
    sign_footer(&mut bytes);
    let fs = holding(&bytes);

    let layout_found = table_of(&fs).layout().unwrap().found().to_vec();

    let index = meta.index;
    // The mirror is as long as what the footer says of the properties, too.
    let mirror = (meta.mirror_at + 2 * index.bytes, meta.mirror().properties.end());
    let overlap =
        format!("the properties block begins inside the index block: {} bytes belong to both", index.bytes);
    let (from, to) = (meta.properties.offset, meta.properties.end());
    let gap = |from, to| {
        Finding::at(from, format!("the bytes from {from} to {to} belong to nothing that the table names"))
    };
    let expected = [gap(mirror.0, mirror.1), Finding::at(index.offset, overlap), gap(from, to)];
    assert_eq!(layout_found, expected);
}

#[test]
fn every_damaged_block_is_found_and_the_others_are_read() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &versions());
    let (good, sound) = (bytes_of(&fs), table_of(&fs));
    let places: Vec<BlockHandle> = {
        let blocks = sound.blocks().unwrap();
        (0..blocks.len()).map(|at| blocks.handle(at)).collect()
    };
    let mut bytes = good.clone();
    for place in [places[1], places[3]] {
        bytes[place.end() as usize - 1] ^= 1;
    }
    let fs = holding(&bytes);
    let table = table_of(&fs);

    let offsets = |found: Vec<Finding>| found.into_iter().map(|it| it.offset).collect::<Vec<_>>();
    assert_eq!(offsets(table.layout().unwrap().check()), [places[1].offset, places[3].offset]);
    let read: Vec<_> = table.blocks().unwrap().entries(ALL).unwrap().collect();
    assert_eq!(read.iter().filter(|entry| entry.is_err()).count(), 2);
    assert!(read.iter().flatten().all(|entry| entry.block != 1 && entry.block != 3));

    // Without the index the blocks are found one behind the other.
    bytes[meta.index.offset as usize + 30] ^= 1;
    bytes[meta.mirror_at as usize + 30] ^= 1;
    let fs = holding(&bytes);
    let table = table_of(&fs);
    assert_eq!(table.blocks().err().unwrap().offset(), Some(meta.index.offset));
    let layout = table.layout().unwrap();
    assert_eq!(layout.data_bytes(), places.iter().map(|place| place.bytes).sum());
    assert_eq!(
        offsets(layout.check()),
        [places[1].offset, places[3].offset, meta.mirror_at, meta.index.offset]
    );
}

#[test]
fn a_flipped_bit_anywhere_is_found_in_its_region() {
    let fs = memory();
    write(&fs, small_blocks(), &versions()[..40]);
    let good = bytes_of(&fs);
    let sound = table_of(&fs);
    let regions = sound.layout().unwrap().regions().to_vec();

    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        let fs = holding(&bytes);
        let region =
            regions.iter().find(|region| (region.offset..region.end()).contains(&(at as u64))).unwrap();
        match LoneTable::open(&fs, &file_name(ID)) {
            Err(_) => assert!(matches!(region.kind, RegionKind::Header | RegionKind::Footer), "byte {at}"),
            Ok(table) => {
                let found = table.layout().unwrap().check();
                assert!(found.iter().any(|it| it.offset == region.offset), "byte {at}: {found:?}");
            }
        }
    }
}

#[test]
fn a_full_check_finds_bytes_that_belong_to_nothing() {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &versions());
    assert_eq!(open(&fs, &meta).unwrap().verify(VerifyDepth::Full, &PrefixExtractors::new()), []);
    let mut bytes = bytes_of(&fs);
    let at = bytes.len() - FOOTER_BYTES;
    bytes[at + 32..at + 48].fill(0); // The footer says that there is no filter.
    sign_footer(&mut bytes);
    let fs = holding(&bytes);
    let meta = Table::read_meta(&fs, ID, DATABASE).unwrap();
    let table = open(&fs, &meta).unwrap();

    assert_eq!(table.verify(VerifyDepth::Entries, &PrefixExtractors::new()), []);
    let found = table.verify(VerifyDepth::Full, &PrefixExtractors::new());

    assert!(found.len() == 1 && found[0].message.contains("belong to nothing"), "{found:?}");
}

#[test]
fn a_full_check_counts_the_keys_of_the_filter() {
    let fs = memory();
    let directory = write(&fs, small_blocks(), &versions()).filter.unwrap();
    let regions = table_of(&fs).layout().unwrap().regions().to_vec();
    let filter = *regions.iter().find(|region| region.kind == RegionKind::Filter(0)).unwrap();
    let mut bytes = bytes_of(&fs);
    let codec = FileCodec::clear(Uuid(bytes[8..24].try_into().unwrap()));
    let frame = filter.offset as usize..filter.end() as usize;
    let mut content = decode_block(&bytes[frame.clone()], BlockKind::Filter, &codec, filter.offset).unwrap();
    content[0][8..16].copy_from_slice(&901_u64.to_le_bytes());
    let mut other = Vec::new();
    let section = Section { raw: &content[0], compression: Compression::None };
    encode_block(&mut other, BlockKind::Filter, &codec, filter.offset, &[section]);
    bytes[frame].copy_from_slice(&other);
    let fs = holding(&bytes);
    let meta = Table::read_meta(&fs, ID, DATABASE).unwrap();
    let table = open(&fs, &meta).unwrap();

    assert_eq!(table.verify(VerifyDepth::Entries, &PrefixExtractors::new()), []);
    let expected = Finding::at(directory.offset, "the filter counts 901 keys, and 900 are there");
    assert_eq!(table.verify(VerifyDepth::Full, &PrefixExtractors::new()), [expected]);
}
