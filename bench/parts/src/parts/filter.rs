//! Filters, through the tables that have them. A probe that hits is followed by a search: what it takes is
//! `table/get` less `table/get-unfiltered`. Building one is `table/write` less `block/encode`.

use super::Case;
use crate::{
    inputs::{absent_key, cache, env, key, read_order, table, table_options},
    meter::Meter,
};
use isopach::{Seqno, engine::table::KeyHash};
use std::hint::black_box;

pub const CASES: &[Case] =
    &[Case::new("filter/hash", "key", hash), Case::new("filter/probe-miss", "probe", probe_miss)];

fn hash(meter: &mut Meter) {
    let keys: Vec<_> = (0..meter.entries()).map(key).collect();
    meter.measure(
        keys.len(),
        || (),
        |()| {
            for key in &keys {
                black_box(KeyHash::of(key));
            }
        },
    );
}

/// One in a hundred passes wrongly, and is searched for.
fn probe_miss(meter: &mut Meter) {
    let table = table(&env(), 1, table_options(Some(10.0)), &cache(true), 0..meter.entries());
    let keys = read_order(meter.entries() - 1).into_iter().map(absent_key);
    let keys: Vec<_> = keys.map(|key| (key, KeyHash::of(&key))).collect();
    meter.measure(
        keys.len(),
        || (),
        |()| {
            for (key, hash) in &keys {
                let found = table.get_hashed(key, *hash, Seqno::MAX).expect("in memory");
                assert!(black_box(found).is_none());
            }
        },
    );
}
