use super::*;
use alloc::vec::Vec;

const MIB: u64 = 1024 * 1024;

fn cache(capacity_bytes: u64) -> Arc<BlockCache<u64>> {
    Arc::new(BlockCache::new(capacity_bytes))
}

#[test]
fn a_block_is_found_under_its_table_and_number_only() {
    let cache = cache(MIB);
    let (one, other) = (cache.shelf(TableId(1), 100), cache.shelf(TableId(2), 100));

    one.insert(64, 7, 100);

    assert_eq!(one.get(64), Some(7));
    assert_eq!(one.get(65), None);
    assert_eq!(other.get(64), None);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.blocks), (1, 2, 1));
}

#[test]
fn shelves_have_a_place_for_each_block() {
    for capacity in [MIB, 5 * MIB, 64 * MIB] {
        let cache = cache(capacity);
        let shelves: Vec<_> = (0..70).map(|blocks| cache.shelf(TableId(blocks as u64), blocks)).collect();
        let all = || shelves.iter().flat_map(|shelf| (0..shelf.blocks).map(move |block| (shelf, block)));
        let value = |shelf: &Shelf<u64>, block| shelf.table.0 << 32 | block as u64;

        all().for_each(|(shelf, block)| assert!(shelf.insert(block, value(shelf, block), 8)));

        assert!(all().all(|(shelf, block)| shelf.get(block) == Some(value(shelf, block))));
    }
}

#[test]
fn a_block_that_is_there_stays() {
    let cache = cache(MIB);
    let shelf = cache.shelf(TableId(1), 1);

    let are_kept = (shelf.insert(0, 7, 100), shelf.insert(0, 8, 300));

    assert_eq!(are_kept, (true, false));
    assert_eq!(shelf.get(0), Some(7));
    assert_eq!(cache.stats().block_bytes, 100 + ENTRY_BYTES as u64);
}

#[test]
fn blocks_go_with_their_shelf_and_others_stay() {
    let cache = cache(4 * MIB);
    let (one, other) = (cache.shelf(TableId(1), 50), cache.shelf(TableId(2), 50));
    for block in 0..50 {
        one.insert(block, 1, 10_000);
        other.insert(block, 2, 10_000);
        one.get(block);
    }
    let before = cache.stats();

    drop(one);

    let after = cache.stats();
    assert_eq!((before.blocks, after.blocks), (100, 50));
    assert_eq!(after.block_bytes * 2, before.block_bytes);
    let next = cache.shelf(TableId(3), 50);
    assert!((0..50).all(|block| other.get(block) == Some(2) && next.get(block).is_none()));
    cache.set_capacity(0);
    assert_eq!(cache.stats().block_bytes, 0);
}

#[test]
fn the_cache_stays_within_its_capacity() {
    for capacity in [0, 10_000, MIB, 64 * MIB] {
        let cache = cache(capacity);
        let shelves: Vec<_> = (0..7).map(|table| cache.shelf(TableId(table), 3_000)).collect();

        for block in 0..20_000 {
            shelves[block % 7].insert(block / 7, block as u64, 16 * 1024);
            let stats = cache.stats();
            assert!(stats.block_bytes <= capacity, "block {block}: {stats:?}");
        }

        let held = cache.stats().block_bytes;
        assert!(capacity < MIB || held > capacity * 9 / 10, "{held} of {capacity} bytes are in use");
    }
}

#[test]
fn an_entry_larger_than_a_shard_is_not_kept() {
    let cache = cache(64 * MIB);
    let shelf = cache.shelf(TableId(1), 2);
    shelf.insert(0, 1, 1_000);

    let is_kept = shelf.insert(1, 2, usize::try_from(5 * MIB).unwrap());

    assert!(!is_kept);
    assert_eq!(shelf.get(1), None);
    assert_eq!(cache.stats().blocks, 1, "and it pushed nothing out");
}

#[test]
fn what_is_used_again_outlives_a_scan() {
    let cache = cache(MIB);
    let (used, scanned) = (cache.shelf(TableId(1), 20), cache.shelf(TableId(2), 1_000));
    for block in 0..20 {
        used.insert(block, 1, 16 * 1024);
        used.get(block);
    }

    for block in 0..1_000 {
        scanned.insert(block, 2, 16 * 1024);
    }

    let kept = (0..20).filter(|&block| used.get(block).is_some()).count();
    assert_eq!(kept, 20);
}

#[test]
fn a_block_that_comes_back_soon_goes_to_the_main_queue() {
    let cache = cache(MIB);
    let (shelf, scanned) = (cache.shelf(TableId(1), 100), cache.shelf(TableId(2), 40));
    for block in 0..100 {
        shelf.insert(block, 1, 16 * 1024);
    }
    assert_eq!(shelf.get(30), None, "it left, but not long ago");

    shelf.insert(30, 30, 16 * 1024);
    for block in 0..40 {
        scanned.insert(block, 2, 16 * 1024);
    }

    assert_eq!(shelf.get(30), Some(30));
}

#[test]
fn memory_held_elsewhere_takes_part_in_the_capacity() {
    let cache = cache(MIB);
    let shelf = cache.shelf(TableId(1), 100);
    for block in 0..100 {
        shelf.insert(block, 1, 16 * 1024);
    }

    let charge = cache.charge(900_000);
    let charged = cache.stats();
    drop(charge);

    assert!(charged.block_bytes + charged.charged_bytes <= MIB, "{charged:?}");
    assert_eq!(cache.stats().charged_bytes, 0);
    let too_much = cache.charge(usize::try_from(2 * MIB).unwrap());
    assert_eq!(cache.stats().blocks, 0, "a charge beyond the capacity leaves no room");
    drop(too_much);
}

#[test]
fn a_lower_capacity_evicts_at_once() {
    let cache = cache(4 * MIB);
    let shelf = cache.shelf(TableId(1), 200);
    for block in 0..200 {
        shelf.insert(block, 1, 16 * 1024);
    }

    cache.set_capacity(MIB);
    let lowered = cache.stats();
    cache.set_capacity(0);

    assert!(lowered.block_bytes <= MIB && lowered.blocks > 30, "{lowered:?}");
    assert_eq!(cache.stats().block_bytes, 0);
}

#[test]
fn shelves_come_and_go_while_others_are_read() {
    extern crate std;
    let cache = cache(64 * MIB);
    let steady = cache.shelf(TableId(1), 100);
    (0..100).for_each(|block| assert!(steady.insert(block, block as u64, 100)));

    std::thread::scope(|scope| {
        for table in 2..4 {
            let cache = &cache;
            scope.spawn(move || {
                for _ in 0..200 {
                    let shelf = cache.shelf(TableId(table), 30);
                    (0..30).for_each(|block| assert!(shelf.insert(block, table, 100)));
                    assert!((0..30).all(|block| shelf.get(block) == Some(table)));
                }
            });
        }
        scope.spawn(|| {
            for round in 0..2_000 {
                assert_eq!(steady.get(round % 100), Some(round as u64 % 100));
            }
        });
    });

    assert_eq!(cache.stats().blocks, 100);
}
