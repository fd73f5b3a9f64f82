//! What is left of damaged tables: every sound entry, in order, and every lost part with its keys.

use super::*;
use crate::{
    codec::Keyring,
    env::{CrashFs, SyncSite},
    error::KeyBounds,
    table::{
        inspect::LoneTable,
        salvage::{Losses, Remains, identity_beside, settle_beside},
    },
};
use core::ops::Bound;

/// Several blocks; a range delete at every hundredth key.
fn versions() -> Vec<Version> {
    let mut versions = Vec::new();
    let mut random = Random::new(7);
    for n in 0..900_u32 {
        let key = [b"key", &n.to_be_bytes()[..]].concat();
        if n % 100 == 50 {
            let end = [b"key", &(n + 20).to_be_bytes()[..]].concat();
            versions.push(Version::new(&key, 9, ValueKind::DeleteRange, &end));
        }
        versions.push(Version::put(&key, 5, &random.bytes(60, b"abcdefghijklmnopqrstuvwxyz")));
    }
    versions
}

fn remains(bytes: &[u8]) -> (Arc<dyn Fs>, Arc<Remains>) {
    let fs = holding(bytes);
    let remains = Remains::open(&fs, &file_name(ID), &Keyring::none()).unwrap();
    (fs, Arc::new(remains))
}

fn left(remains: &Arc<Remains>) -> (Vec<Version>, Losses) {
    let mut entries = remains.entries().unwrap();
    let found = entries.by_ref().map(|it| Version::new(&it.key, it.seqno.raw(), it.kind, &it.value));
    let found = found.collect();
    (found, entries.finish())
}

fn is_inside(key: &[u8], (low, high): &KeyBounds) -> bool {
    let is_above = match low {
        Bound::Included(low) => low[..] <= *key,
        Bound::Excluded(low) => low[..] < *key,
        Bound::Unbounded => true,
    };
    let is_below = match high {
        Bound::Included(high) => *key <= high[..],
        Bound::Excluded(high) => *key < high[..],
        Bound::Unbounded => true,
    };
    is_above && is_below
}

/// Everything that is left is what was there, in order, and what is not lies in a range that is named.
fn assert_accounted(kept: &[Version], losses: &Losses) {
    let all = versions();
    let mut kept = kept.iter().peekable();
    for version in &all {
        if kept.peek() == Some(&version) {
            kept.next();
        } else {
            let is_named = losses.lost.iter().any(|lost| is_inside(&version.key, &lost.keys));
            assert!(is_named, "{version:?} is gone and not named: {losses:?}");
        }
    }
    assert_eq!(kept.next(), None, "nothing appears");
}

/// The bytes of a table, and where its data blocks lie.
fn table() -> (Vec<u8>, Vec<BlockHandle>, TableMeta) {
    let fs = memory();
    let meta = write(&fs, small_blocks(), &versions());
    let table = LoneTable::open(&fs, &file_name(ID)).unwrap();
    let blocks = table.blocks().unwrap();
    let handles = (0..blocks.len()).map(|block| blocks.handle(block)).collect();
    (bytes_of(&fs), handles, meta)
}

fn spoil(bytes: &mut [u8], handle: BlockHandle) {
    let at = usize::try_from(handle.offset).unwrap();
    bytes[at + 30] ^= 1;
}

/// Index, mirror and footer.
fn spoil_indexes(bytes: &mut [u8], meta: &TableMeta) {
    spoil(bytes, meta.index);
    spoil(bytes, BlockHandle { offset: meta.mirror_at, bytes: meta.index.bytes });
    let end = bytes.len();
    bytes[end - 50] ^= 1;
}

#[test]
fn of_a_sound_table_nothing_is_lost() {
    let (bytes, blocks, _) = table();
    let (_, remains) = remains(&bytes);

    let (kept, losses) = left(&remains);

    assert!(remains.is_indexed() && losses.is_none(), "{losses:?}");
    assert_eq!(losses.blocks, blocks.len() as u64);
    assert_eq!(kept, versions());
}

#[test]
fn without_index_mirror_and_footer_blocks_are_found_all_the_same() {
    let (mut bytes, _, meta) = table();
    spoil_indexes(&mut bytes, &meta);
    let (_, remains) = remains(&bytes);

    let (kept, losses) = left(&remains);

    assert!(!remains.is_indexed());
    assert_eq!(remains.properties().unwrap().seed.tree_name, "events");
    assert!(losses.is_none(), "{losses:?}");
    assert_eq!(kept, versions());
}

#[test]
fn keys_of_a_lost_block_are_named_and_range_deletes_in_it_are_kept() {
    for is_indexed in [true, false] {
        let (mut bytes, blocks, meta) = table();
        for block in [0, 3, 4] {
            spoil(&mut bytes, blocks[block]);
        }
        if !is_indexed {
            spoil_indexes(&mut bytes, &meta);
        }
        let (_, remains) = remains(&bytes);

        let (kept, losses) = left(&remains);

        assert_eq!(remains.is_indexed(), is_indexed);
        assert_accounted(&kept, &losses);
        assert_eq!(losses.lost_ranges, Some(0));
        let ranges = |of: &[Version]| of.iter().filter(|it| it.kind == ValueKind::DeleteRange).count();
        assert_eq!(ranges(&kept), ranges(&versions()), "their block is sound");
        assert_eq!(losses.lost_entries, Some((versions().len() - kept.len()) as u64));
        let lost: u64 = [0, 3, 4].iter().map(|&block: &usize| blocks[block].bytes).sum();
        assert_eq!(losses.lost_bytes, lost, "indexed {is_indexed}");
    }
}

#[test]
fn range_deletes_that_are_lost_in_both_places_are_told_of() {
    let (mut bytes, blocks, meta) = table();
    spoil(&mut bytes, meta.ranges.unwrap().block);
    spoil(&mut bytes, blocks[2]);
    let (_, remains) = remains(&bytes);

    let (kept, losses) = left(&remains);

    let ranges = kept.iter().filter(|it| it.kind == ValueKind::DeleteRange).count() as u64;
    assert!(losses.lost_ranges > Some(0), "{losses:?}");
    assert_eq!(losses.lost_ranges, Some(9 - ranges));
}

#[test]
fn keys_of_a_damaged_page_of_values_are_named() {
    let (mut bytes, blocks, _) = table();
    let at = usize::try_from(blocks[2].end()).unwrap() - 10;
    bytes[at] ^= 1;
    let (_, remains) = remains(&bytes);

    let (kept, losses) = left(&remains);

    assert_accounted(&kept, &losses);
    assert!(!losses.lost.is_empty());
}

#[test]
fn what_is_left_is_a_table_again_and_says_where_it_comes_from() {
    let (mut bytes, blocks, meta) = table();
    spoil(&mut bytes, blocks[2]);
    let (fs, remains) = remains(&bytes);
    let identity = identity_beside(&remains, Uuid([0x77; 16]));

    let (written, losses) = remains.write_to(&fs, "new", identity, &Keyring::none()).unwrap();

    let table = LoneTable::open(&fs, "new").unwrap();
    assert_eq!(table.verify().unwrap(), []);
    let properties = table.properties().unwrap();
    assert_eq!(properties.seed.lineage, [meta.uuid]);
    assert_eq!((properties.seed.tree, table.database()), (TreeId(3), DATABASE));
    assert_eq!(written.unwrap().entries, losses.kept_entries);
}

/// Whatever the bytes are: no panic, nothing that was not there, and what is written is sound.
#[test]
fn of_bytes_that_are_changed_anyhow_only_what_was_there_is_left() {
    let ((sound, _, meta), all) = (table(), versions());
    let mut random = Random::new(11);
    for round in 0..150 {
        let mut bytes = sound.clone();
        for _ in 0..1 + random.below(40) {
            let (at, mask) = (64 + random.below(bytes.len() - 64), 1 << random.below(8));
            bytes[at] ^= mask;
        }
        if round % 3 == 0 {
            spoil_indexes(&mut bytes, &meta);
        }
        if round % 5 == 0 {
            bytes.truncate(300 + random.below(sound.len() - 300));
        }
        let (fs, remains) = remains(&bytes);

        let (kept, losses) = left(&remains);
        let identity = identity_beside(&remains, Uuid([0x77; 16]));
        let (written, _) = remains.write_to(&fs, "new", identity, &Keyring::none()).unwrap();

        if round % 5 != 0 {
            assert_accounted(&kept, &losses);
        }
        assert!(kept.iter().all(|it| all.contains(it)), "round {round}");
        if written.is_some() {
            assert_eq!(LoneTable::open(&fs, "new").unwrap().verify().unwrap(), [], "round {round}");
        }
    }
}

/// Whether a salvaged table is there after each of some power losses, with the sync of its directory or without.
fn survives(is_muted: bool) -> bool {
    let (bytes, _, _) = table();
    let crashing = CrashFs::new();
    crashing
        .create("damaged", &CreateOptions::new(WriteOrigin::Metadata))
        .unwrap()
        .write_at(0, &bytes)
        .unwrap();
    crashing.settle();
    if is_muted {
        crashing.mute(SyncSite("salvage.directory"));
    }
    let fs: Arc<dyn Fs> = Arc::new(crashing.clone());
    let remains = Arc::new(Remains::open(&fs, "damaged", &Keyring::none()).unwrap());
    let identity = identity_beside(&remains, Uuid([0x77; 16]));
    let written = remains.write_to(&fs, "new", identity, &Keyring::none());
    settle_beside(&*fs, "new", written).unwrap();
    (0..20).all(|seed| {
        let left: Arc<dyn Fs> = Arc::new(crashing.crash(seed));
        LoneTable::open(&left, "new").is_ok_and(|table| table.verify().unwrap().is_empty())
    })
}

#[test]
fn a_salvaged_table_survives_a_power_loss() {
    assert!(survives(false));
    assert!(!survives(true), "without the sync it need not");
}
