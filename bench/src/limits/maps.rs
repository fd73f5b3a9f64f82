//! Ordered maps in memory: what a memtable costs at least.

use super::{Effort, limit, scattered};
use crate::Result;
use crate::record::Limit;
use crossbeam_skiplist::SkipMap;
use std::{collections::BTreeMap, hint::black_box, time::Instant};

const VALUE_BYTES: usize = 100;
type Key = [u8; 16];

pub fn measure(effort: &Effort) -> Result<Vec<Limit>> {
    let [insert_ns, get_ns] = b_tree(effort)?;
    let [skip_insert_ns, skip_get_ns] = skip_list(effort)?;
    Ok(vec![
        limit(
            "BTreeMap insert",
            "1 million random keys of 16 B, boxed values of 100 B; mean",
            insert_ns,
            "ns",
        ),
        limit("BTreeMap get", "each of them once, in another order; mean", get_ns, "ns"),
        limit("skip list insert", "the same into crossbeam-skiplist, one thread; mean", skip_insert_ns, "ns"),
        limit("skip list get", "each of them once, in another order; mean", skip_get_ns, "ns"),
    ])
}

/// Nanoseconds of an insert and of a get.
fn b_tree(effort: &Effort) -> Result<[f64; 2]> {
    let mut map = BTreeMap::new();
    let insert_ns = each_ns(effort.entries_count, |index| {
        map.insert(key(index), value());
        Ok(())
    })?;
    let get_ns = each_ns(effort.entries_count, |index| {
        let found = map.get(&key(reordered(index, effort.entries_count)));
        black_box(found.ok_or("BTreeMap lost a key")?);
        Ok(())
    })?;
    Ok([insert_ns, get_ns])
}

fn skip_list(effort: &Effort) -> Result<[f64; 2]> {
    let map = SkipMap::new();
    let insert_ns = each_ns(effort.entries_count, |index| {
        map.insert(key(index), value());
        Ok(())
    })?;
    let get_ns = each_ns(effort.entries_count, |index| {
        let found = map.get(&key(reordered(index, effort.entries_count)));
        black_box(found.ok_or("the skip list lost a key")?.value());
        Ok(())
    })?;
    Ok([insert_ns, get_ns])
}

fn each_ns(count: usize, mut work: impl FnMut(usize) -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    for index in 0..count {
        work(index)?;
    }
    Ok(begin.elapsed().as_nanos() as f64 / count as f64)
}

/// Random, and another for each index.
fn key(index: usize) -> Key {
    let mut key = Key::default();
    key[..8].copy_from_slice(&scattered(index as u64).to_be_bytes());
    key[8..].copy_from_slice(&(index as u64).to_be_bytes());
    key
}

fn value() -> Box<[u8]> {
    vec![7; VALUE_BYTES].into_boxed_slice()
}

/// Another index below `count`, a different one for each: `count` and the prime factor have no common
/// divisor.
fn reordered(index: usize, count: usize) -> usize {
    const PRIME: usize = 7_368_787;
    index * PRIME % count
}
