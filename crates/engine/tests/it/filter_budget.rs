//! Filters within a budget for all of a store.

use crate::harness::{at, create, flush, fresh, merge_all, put, views};
use isopach_engine::tree::Tree;

const KEYS: u64 = 10_000;

/// Writes all keys into one table of the last level, whose filter takes as many bits a key as it says.
fn fill(tree: &Tree, first: u64) -> f64 {
    for key in 0..KEYS {
        put(tree, &format!("{key:06}"), "v", first + key);
    }
    rewrite(tree, first + KEYS)
}

fn rewrite(tree: &Tree, number: u64) -> f64 {
    flush(tree, number);
    merge_all(tree, 6, &views(&[number])).unwrap();
    let [table] = &tree.tables()[..] else { panic!("one table") };
    table.filter_bytes() as f64 * 8.0 / KEYS as f64
}

fn reads_all(tree: &Tree) {
    for key in 0..KEYS {
        assert!(tree.get(format!("{key:06}").as_bytes(), at(1 << 40)).unwrap().is_some());
    }
}

#[test]
fn without_a_budget_filters_are_as_policies_want_them() {
    let (_faults, store, tree) = fresh();

    let bits = fill(&tree, 10);

    assert!((7.0..7.5).contains(&bits), "{bits}");
    let memory = store.filter_memory();
    assert_eq!((memory.budget_bytes, memory.over_budget()), (u64::MAX, 0));
    assert!(memory.serialized_bytes >= KEYS * 7 / 8 && memory.resident_bytes == 0, "{memory:?}");
    reads_all(&tree);
    let memory = store.filter_memory();
    assert!(memory.resident_bytes >= memory.serialized_bytes / 2, "{memory:?}");
}

#[test]
fn a_budget_holds_once_tables_are_compacted() {
    let (_faults, store, tree) = fresh();
    let other = create(&store, "other");
    fill(&tree, 10);
    fill(&other, 100_000);
    let all = store.filter_memory().serialized_bytes;

    store.set_filter_budget(all / 2);

    assert!(store.filter_memory().over_budget() > all / 3, "tables keep what they have");
    for round in 0..2 {
        for (tree, first) in [(&tree, 10), (&other, 100_000)] {
            put(tree, "000000", "v", first + KEYS + 10 + round);
            rewrite(tree, first + KEYS + 10 + round);
        }
    }
    let memory = store.filter_memory();
    assert_eq!(memory.over_budget(), 0, "{memory:?}");
    reads_all(&tree);
    reads_all(&other);
}

#[test]
fn tables_that_are_asked_for_absent_keys_have_larger_filters() {
    let (_faults, store, asked) = fresh();
    let unasked = create(&store, "unasked");
    fill(&asked, 10);
    fill(&unasked, 100_000);
    let all = store.filter_memory().serialized_bytes;
    for key in 0..20_000 {
        assert_eq!(asked.get(format!("{key:05}x").as_bytes(), at(1 << 40)).unwrap(), None);
    }

    store.set_filter_budget(all * 6 / 10);

    put(&unasked, "000000", "v", 200_000);
    put(&asked, "000000", "v", 200_001);
    let (unasked, asked) = (rewrite(&unasked, 200_000), rewrite(&asked, 200_001));
    assert!(asked > unasked + 2.0, "{asked} bits a key, and {unasked}");
}

#[test]
fn a_budget_of_nothing_is_no_filter() {
    let (_faults, store, tree) = fresh();
    fill(&tree, 10);

    store.set_filter_budget(0);

    put(&tree, "000000", "v", 200_000);
    assert_eq!(rewrite(&tree, 200_000), 0.0);
    reads_all(&tree);
}
