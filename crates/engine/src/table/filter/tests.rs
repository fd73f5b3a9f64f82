//! What must hold of filters, whatever their keys.

extern crate std;

use super::*;
use crate::codec::golden::{assert_golden, parse};
use alloc::vec;

fn hash(key: u64) -> KeyHash {
    KeyHash::of(&key.to_be_bytes())
}

fn hashes(keys: u64) -> Vec<KeyHash> {
    (0..keys).map(hash).collect()
}

/// BuRR whatever the number of keys.
fn burr_of(hashes: &[KeyHash], columns: u8) -> Vec<u8> {
    burr::encode(hashes, columns).expect("a base is found")
}

fn built(kind: FilterKind, bits_per_key: f32, hashes: &[KeyHash]) -> Vec<u8> {
    let mut builder = FilterBuilder::new(FilterOptions { kind, bits_per_key });
    hashes.iter().for_each(|&hash| builder.add(hash));
    let estimated = builder.estimated_bytes();
    let bytes = builder.finish();
    assert!(estimated.abs_diff(bytes.len() as u64) <= 512 + estimated / 50, "{estimated} is about the size");
    bytes
}

/// The part of foreign keys that passes.
fn false_positives(filter: &Filter, probes: u64) -> f64 {
    let foreign = (1 << 40..(1 << 40) + probes).filter(|&key| filter.may_contain(hash(key)));
    foreign.count() as f64 / probes as f64
}

#[test]
fn no_key_that_was_added_is_denied() {
    for keys in [0, 1, 2, 63, 64, 65, 96, 97, 127, 128, 129, 1_000, 4_095, 4_096, 10_000, 65_536] {
        let hashes = hashes(keys);
        for columns in 1..=burr::MAX_COLUMNS {
            let filter = Filter::decode(&burr_of(&hashes, columns)).unwrap();
            assert!(
                hashes.iter().all(|&hash| filter.may_contain(hash)),
                "BuRR: {keys} keys, {columns} columns"
            );
        }
        for bits_per_key in [2.0, 3.3, 10.0, 12.0, 24.0] {
            for kind in [FilterKind::Bloom, FilterKind::Burr] {
                let filter = Filter::decode(&built(kind, bits_per_key, &hashes)).unwrap();
                let all = hashes.iter().all(|&hash| filter.may_contain(hash));
                assert!(all, "{kind:?}: {keys} keys, {bits_per_key} bits");
            }
        }
    }
}

#[test]
fn no_key_of_a_million_is_denied() {
    let hashes = hashes(1 << 20);
    for kind in [FilterKind::Bloom, FilterKind::Burr] {
        let filter = Filter::decode(&built(kind, 7.0, &hashes)).unwrap();

        assert_eq!(filter.kind(), kind);
        assert!(hashes.iter().all(|&hash| filter.may_contain(hash)), "{kind:?}");
    }
}

/// Hashes that lie together, repeat, or differ in few bits: of a user who makes keys for it.
#[test]
fn no_key_is_denied_however_the_hashes_lie() {
    for name in ["crowded", "equal starts", "repeated", "few bits", "high bits"] {
        for keys in [3, 200, 5_000, 30_000] {
            let hash_of = |n: u64| match name {
                "crowded" => KeyHash(n),
                "equal starts" => KeyHash(0x1234_5678_0000_0000 | n),
                "repeated" => hash(n / 7),
                "few bits" => KeyHash(n << 48),
                _ => KeyHash(n << 44),
            };
            let hashes: Vec<KeyHash> = (0..keys).map(hash_of).collect();
            for kind in [FilterKind::Bloom, FilterKind::Burr] {
                let mut builder = FilterBuilder::new(FilterOptions { kind, bits_per_key: 7.0 });
                hashes.iter().for_each(|&hash| builder.add(hash));
                let filter = Filter::decode(&builder.finish()).unwrap();
                let all = hashes.iter().all(|&hash| filter.may_contain(hash));
                assert!(all, "{name}: {keys} keys, {kind:?}");
            }
        }
    }
}

#[test]
fn of_many_random_sets_no_key_is_denied() {
    for seed in 0..400_u64 {
        let start = seed << 32;
        let keys = hash(start).0 % 3_000;
        let hashes: Vec<KeyHash> = (start..start + keys).map(|key| hash(key - key % 3 % 2)).collect();
        let columns = 1 + (seed % 16) as u8;

        let filter = Filter::decode(&burr_of(&hashes, columns)).unwrap();

        assert!(
            hashes.iter().all(|&hash| filter.may_contain(hash)),
            "seed {seed}: {keys} keys, {columns} columns"
        );
    }
}

#[test]
fn burr_passes_one_foreign_key_in_two_to_the_bits() {
    const PROBES: u64 = 400_000;
    for keys in [500, 5_000, 65_536] {
        let hashes = hashes(keys);
        for columns in [1, 4, 7, 8, 9, 10, 12] {
            let filter = Filter::decode(&burr_of(&hashes, columns)).unwrap();

            let rate = false_positives(&filter, PROBES);

            let expected = 0.5_f64.powi(columns.into());
            // Five standard deviations of the sample.
            let error = 5.0 * (expected * (1.0 - expected) / PROBES as f64).sqrt();
            assert!(
                (rate - expected).abs() <= error,
                "{keys} keys, {columns} columns: {rate}, not {expected}"
            );
        }
    }
}

#[test]
fn bloom_passes_as_few_foreign_keys_as_its_bits_allow() {
    let hashes = hashes(65_536);
    for (bits_per_key, at_most) in [(5.0, 0.10), (10.0, 0.0105), (12.0, 0.0047), (16.0, 0.0010)] {
        let filter = Filter::decode(&built(FilterKind::Bloom, bits_per_key, &hashes)).unwrap();

        let rate = false_positives(&filter, 400_000);

        assert!(rate <= at_most, "{bits_per_key} bits a key: {rate}");
    }
}

#[test]
fn burr_takes_one_per_cent_more_than_its_bits_at_most() {
    for keys in [65_536, 1 << 20] {
        let bytes = built(FilterKind::Burr, 7.0, &hashes(keys)).len();

        assert!(bytes as f64 * 8.0 <= 1.01 * 7.0 * keys as f64, "{keys} keys: {bytes} bytes");
    }
}

#[test]
fn few_keys_get_a_bloom_filter_that_passes_as_few() {
    let filter = Filter::decode(&built(FilterKind::Burr, 7.0, &hashes(4_095))).unwrap();

    assert_eq!(filter.kind(), FilterKind::Bloom);
    assert!(false_positives(&filter, 200_000) < 0.0095);
}

#[test]
fn a_filter_of_nothing_passes_nothing() {
    for bytes in [burr_of(&[], 7), built(FilterKind::Bloom, 10.0, &[])] {
        assert_eq!(false_positives(&Filter::decode(&bytes).unwrap(), 1_000), 0.0);
    }
}

#[test]
fn equal_keys_make_equal_bytes() {
    let hashes = hashes(10_000);

    assert_eq!(burr_of(&hashes, 7), burr_of(&hashes, 7));
}

#[test]
fn foreign_bytes_are_no_bloom_filter() {
    let good = built(FilterKind::Bloom, 10.0, &hashes(200));

    for (at, byte) in [(0, 0), (0, 3), (1, 0), (1, 15), (2, 1), (7, 1)] {
        let mut bytes = good.clone();
        bytes[at] = byte;
        assert!(Filter::decode(&bytes).is_err(), "byte {at} = {byte}");
    }
    for len in [0, 1, 15, 16, 17, 79, good.len() - 1] {
        assert!(Filter::decode(&good[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn foreign_bytes_are_no_burr() {
    let good = burr_of(&hashes(5_000), 7);

    for (at, byte) in
        [(1, 0), (1, 17), (1, 8), (2, 5), (2, 0), (4, 129), (5, 37), (6, 1), (7, 1), (16, 0), (19, 255)]
    {
        let mut bytes = good.clone();
        bytes[at] = byte;
        assert!(Filter::decode(&bytes).is_err(), "byte {at} = {byte}");
    }
    for len in (0..40).chain([good.len() - 8, good.len() - 1]) {
        assert!(Filter::decode(&good[..len]).is_err(), "{len} bytes");
    }
    // More groups than there is memory for, in little space.
    let mut huge = vec![2, 16, 4, 0, 36, 16, 0, 0];
    huge.resize(16, 0);
    huge.resize(16 + 20, 0xFF);
    assert!(Filter::decode(&huge).is_err());
}

#[test]
fn burr_is_as_documented() {
    let golden = include_str!("../../../testdata/golden/filter_burr.hex");
    let hashes: Vec<KeyHash> = ["apple", "apricot", "banana"].map(|key| KeyHash::of(key.as_bytes())).into();

    assert_golden("filter_burr", golden, &burr_of(&hashes, 2));

    let filter = Filter::decode(&parse(golden)).unwrap();
    assert!(hashes.iter().all(|&hash| filter.may_contain(hash)));
}

/// A whole filter with layers that bump, as a digest: the bytes of tables may not change unnoticed.
#[test]
fn larger_filters_keep_their_bytes() {
    let hashes = hashes(20_000);

    assert_eq!(crate::codec::digest(&burr_of(&hashes, 7)), 11_467_070_461_716_387_711);
    assert_eq!(crate::codec::digest(&built(FilterKind::Bloom, 12.0, &hashes)), 1_545_635_177_642_324_334);
}
