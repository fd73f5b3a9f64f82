use super::*;

const MIB: u64 = 1024 * 1024;

fn cache(capacity_bytes: u64) -> Arc<BlockCache<u64>> {
    Arc::new(BlockCache::new(capacity_bytes))
}

#[test]
fn a_block_is_found_under_its_table_and_offset_only() {
    let cache = cache(MIB);

    cache.insert(TableId(1), 64, 7, 100);

    assert_eq!(cache.get(TableId(1), 64), Some(7));
    assert_eq!(cache.get(TableId(1), 65), None);
    assert_eq!(cache.get(TableId(2), 64), None);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.blocks), (1, 2, 1));
}

#[test]
fn a_replaced_block_counts_once() {
    let cache = cache(MIB);

    cache.insert(TableId(1), 64, 7, 100);
    cache.insert(TableId(1), 64, 8, 300);

    assert_eq!(cache.get(TableId(1), 64), Some(8));
    assert_eq!(cache.stats().block_bytes, 300 + ENTRY_BYTES as u64);
}

#[test]
fn the_cache_stays_within_its_capacity() {
    for capacity in [0, 10_000, MIB, 64 * MIB] {
        let cache = cache(capacity);

        for block in 0..20_000_u64 {
            cache.insert(TableId(block % 7), block * 64, block, 16 * 1024);
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
    cache.insert(TableId(1), 64, 1, 1_000);

    cache.insert(TableId(2), 64, 2, usize::try_from(5 * MIB).unwrap());

    assert_eq!(cache.get(TableId(2), 64), None);
    assert_eq!(cache.stats().blocks, 1, "and it pushed nothing out");
}

#[test]
fn what_is_used_again_outlives_a_scan() {
    let cache = cache(MIB);
    for block in 0..20 {
        cache.insert(TableId(1), block, block, 16 * 1024);
        cache.get(TableId(1), block);
    }

    for block in 0..1_000 {
        cache.insert(TableId(2), block, block, 16 * 1024);
    }

    let kept = (0..20).filter(|&block| cache.get(TableId(1), block).is_some()).count();
    assert_eq!(kept, 20);
}

#[test]
fn a_block_that_comes_back_soon_goes_to_the_main_queue() {
    let cache = cache(MIB);
    for block in 0..100 {
        cache.insert(TableId(1), block, block, 16 * 1024);
    }
    assert_eq!(cache.get(TableId(1), 30), None, "it left, but not long ago");

    cache.insert(TableId(1), 30, 30, 16 * 1024);
    for block in 0..40 {
        cache.insert(TableId(2), block, block, 16 * 1024);
    }

    assert_eq!(cache.get(TableId(1), 30), Some(30));
}

#[test]
fn memory_held_elsewhere_takes_part_in_the_capacity() {
    let cache = cache(MIB);
    for block in 0..100 {
        cache.insert(TableId(1), block, block, 16 * 1024);
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
    for block in 0..200 {
        cache.insert(TableId(1), block, block, 16 * 1024);
    }

    cache.set_capacity(MIB);
    let lowered = cache.stats();
    cache.set_capacity(0);

    assert!(lowered.block_bytes <= MIB && lowered.blocks > 30, "{lowered:?}");
    assert_eq!(cache.stats().block_bytes, 0);
}
