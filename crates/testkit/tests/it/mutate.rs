//! Every sync is needed, and every order: without it the crash tests find a broken promise. `cargo run
//! --release -p testkit --bin mutate` does the same and tells what it found.

use std::{collections::BTreeSet, fs};
use testkit::{
    mutate::{EDGES, OUTSIDE, SITES, mute, reverse, sites_in_the_source},
    seeds,
};

#[test]
fn every_sync_of_the_code_has_a_name_of_its_own_and_is_listed() {
    let found = sites_in_the_source();

    let twice: Vec<_> = found.iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(twice.is_empty(), "one name for several syncs: {twice:?}");
    let sites = SITES.iter().map(|site| site.name).chain(OUTSIDE);
    let listed: BTreeSet<String> = sites.map(String::from).collect();
    assert_eq!(found.into_keys().collect::<BTreeSet<_>>(), listed);
}

#[test]
fn every_order_is_documented_and_every_documented_order_is_reversed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/invariants.md");
    let document = fs::read_to_string(path).unwrap();
    let section = document.split("## The order of writes").nth(1).expect("it has this section");
    let rows = section.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| `"));

    let documented: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();

    assert_eq!(documented, EDGES.iter().map(|edge| edge.name).collect());
    let known: BTreeSet<&str> = SITES.iter().map(|site| site.name).collect();
    assert!(EDGES.iter().all(|edge| known.contains(edge.earlier)));
}

#[test]
fn nobody_can_do_without_any_sync() {
    for seed in seeds(1) {
        let reached = SITES.iter().filter(|site| site.is_reached());
        let unnoticed = reached.filter(|site| mute(site, seed).is_none());
        let unnoticed: Vec<_> = unnoticed.map(|site| site.name).collect();
        assert!(unnoticed.is_empty(), "nobody misses the syncs of {unnoticed:?}");
    }
}

#[test]
fn no_order_can_be_reversed() {
    for seed in seeds(1) {
        let reached = EDGES.iter().filter(|edge| edge.is_reached());
        let unnoticed = reached.filter(|edge| reverse(edge, seed).is_none());
        let unnoticed: Vec<_> = unnoticed.map(|edge| edge.name).collect();
        assert!(unnoticed.is_empty(), "nobody notices that these are reversed: {unnoticed:?}");
    }
}

/// What only a build with Zstandard reaches, by itself: everything else is found out by the tests above in any build.
#[cfg(feature = "zstd")]
#[test]
fn nobody_can_do_without_the_syncs_and_orders_of_dictionaries() {
    for seed in seeds(1) {
        let sites: Vec<_> = SITES.iter().filter(|site| site.needs_dictionaries()).collect();
        let edges: Vec<_> = EDGES.iter().filter(|edge| edge.needs_dictionaries()).collect();
        assert!(!sites.is_empty() && !edges.is_empty(), "there are dictionaries");

        let syncs = sites.iter().filter(|site| mute(site, seed).is_none()).map(|site| site.name);
        let orders = edges.iter().filter(|edge| reverse(edge, seed).is_none()).map(|edge| edge.name);
        let unnoticed: Vec<_> = syncs.chain(orders).collect();
        assert!(unnoticed.is_empty(), "nobody misses {unnoticed:?}");
    }
}
