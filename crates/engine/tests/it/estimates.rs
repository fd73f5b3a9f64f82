//! Estimates beside what is there.

use crate::harness::{at, delete, flush, fresh, merge_all, put, views};
use isopach_engine::{key::KeyRange, tree::Tree};

/// Keys `00000` on, a value of 100 bytes each, numbered from `first` on.
fn fill(tree: &Tree, keys: impl Iterator<Item = u64>, first: u64) {
    for (key, number) in keys.zip(first..) {
        put(tree, &format!("{key:05}"), &format!("{key:0100}"), number);
    }
}

/// Whether an estimate is within `blocks` of 16 KiB with so many rows each of what is there, or a part in `part`.
fn check(tree: &Tree, range: impl KeyRange + Clone, blocks: f64, part: f64) {
    let there = tree.scan(range.clone(), at(1 << 40)).unwrap().count() as f64;
    let estimate = tree.approximate_range(range).unwrap();
    let tolerance = (blocks * 140.0).max(there / part);
    let away = (estimate.rows as f64 - there).abs();
    assert!(away <= tolerance, "{there} are there, {estimate:?} are estimated");
    let share = estimate.rows as f64 / tree.approximate_len() as f64;
    assert!((estimate.selectivity - share).abs() < 1e-9, "{estimate:?}");
}

#[test]
fn a_range_of_tables_is_estimated_within_a_block() {
    let (_faults, _store, tree) = fresh();
    fill(&tree, 0..20_000, 2);
    flush(&tree, 20_001);
    merge_all(&tree, 6, &views(&[20_001])).unwrap();

    assert_eq!(tree.approximate_len(), 20_000);
    let all = tree.approximate_range(..).unwrap();
    assert_eq!((all.rows, all.selectivity), (20_000, 1.0));
    assert_eq!(all.bytes, tree.tables().iter().map(|table| table.bytes).sum::<u64>());
    for (low, high) in [(0, 19_999), (100, 200), (5_000, 15_000), (7_777, 7_778), (19_000, 30_000), (0, 1)] {
        check(&tree, format!("{low:05}")..format!("{high:05}"), 1.1, 1e9);
        check(&tree, format!("{low:05}")..=format!("{high:05}"), 1.1, 1e9);
    }
    check(&tree, "12345".., 1.1, 1e9);
    check(&tree, .."12345", 1.1, 1e9);
}

#[test]
fn what_is_outside_or_empty_holds_nothing() {
    let (_faults, _store, tree) = fresh();
    assert_eq!(tree.approximate_range(..).unwrap().rows, 0);
    assert_eq!(tree.approximate_len(), 0);
    fill(&tree, 100..200, 2);
    flush(&tree, 101);
    fill(&tree, 200..300, 200);

    let rows = |range: (&str, &str)| tree.approximate_range(range.0..range.1).unwrap().rows;
    assert_eq!([rows(("0", "00100")), rows(("00300", "9")), rows(("00250", "00150"))], [0, 0, 0]);
    assert_eq!(tree.approximate_range("00150".."00150").unwrap().bytes, 0);
    assert_eq!(tree.approximate_range(..).unwrap().rows, 200);
}

#[test]
fn memtables_are_estimated_with_what_they_hold() {
    let (_faults, _store, tree) = fresh();
    // Any order: nodes are between half and all full.
    fill(&tree, (0..20_000).map(|key| key * 7_919 % 20_000), 2);

    assert_eq!(tree.approximate_len(), 20_000);
    assert_eq!(tree.approximate_range(..).unwrap().bytes, tree.active_bytes());
    for (low, high) in [(0, 20_000), (1_000, 3_000), (5_000, 15_000), (19_000, 30_000)] {
        check(&tree, format!("{low:05}")..format!("{high:05}"), 2.0, 3.0);
    }
}

#[test]
fn old_versions_and_deletes_count_until_they_are_dropped() {
    let (_faults, _store, tree) = fresh();
    fill(&tree, 0..100, 2);
    flush(&tree, 101);
    (0..50).for_each(|key| delete(&tree, &format!("{key:05}"), 102 + key));
    assert_eq!((tree.approximate_len(), tree.approximate_range(..).unwrap().rows), (150, 150));

    flush(&tree, 151);
    merge_all(&tree, 6, &views(&[151])).unwrap();

    assert_eq!((tree.approximate_len(), tree.approximate_range(..).unwrap().rows), (50, 50));
}

/// Rows were taken to be of one size, so that a range of large ones seemed to hold many.
#[test]
fn large_rows_do_not_pass_for_many() {
    let (_faults, _store, tree) = fresh();
    for key in 0..200_u64 {
        let value_bytes = if key < 100 { 10_000 } else { 10 };
        put(&tree, &format!("{key:05}"), &"v".repeat(value_bytes), key + 2);
    }
    flush(&tree, 300);

    let large = tree.approximate_range(.."00050").unwrap();
    assert!((49..=51).contains(&large.rows), "{large:?}");
    assert!(large.bytes > tree.tables()[0].bytes * 4 / 10, "{large:?}");
}
