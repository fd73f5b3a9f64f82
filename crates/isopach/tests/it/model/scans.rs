//! Scans against a sorted list: both ends, seeks of both ends, and scans that are held while the database
//! goes on.

use isopach::{ErrorKind, Iter, Readable, Slice, engine::order::KeyOrder};
use std::ops::Bound;
use testkit::{
    Oracle, Rng, SpaceId,
    inputs::{self, Bounds},
};

type Pair = (Vec<u8>, Vec<u8>);

/// Where to seek: few keys or many, as runs have either.
fn key(rng: &mut Rng) -> Vec<u8> {
    if rng.one_in(2) { inputs::key(rng) } else { inputs::wide_key(rng) }
}

/// A scan, and what it should give.
pub(crate) struct Held {
    order: KeyOrder,
    scan: Iter,
    expected: Vec<Pair>,
    /// The front gives this one next, unless it has reached the back.
    front: usize,
    /// The back gives the one before this one next.
    back: usize,
}

impl Held {
    pub(crate) fn new(order: &KeyOrder, scan: Iter, expected: Vec<Pair>) -> Held {
        let back = expected.len();
        Held { order: order.clone(), scan, expected, front: 0, back }
    }

    /// One move of either end.
    pub(crate) fn step(&mut self, rng: &mut Rng) {
        match rng.below(8) {
            0 => {
                let key = key(rng);
                self.scan.seek(&key);
                self.front = self.expected.partition_point(|(other, _)| self.order.is_less(other, &key));
            }
            1 => {
                let key = key(rng);
                self.scan.seek_back(&key);
                self.back = self.expected.partition_point(|(other, _)| self.order.is_at_most(other, &key));
            }
            2..=5 => {
                let expected = (self.front < self.back).then(|| self.expected[self.front].clone());
                self.front += usize::from(expected.is_some());
                assert_eq!(self.scan.next().map(pair), expected);
            }
            _ => {
                let expected = (self.front < self.back).then(|| self.expected[self.back - 1].clone());
                self.back -= usize::from(expected.is_some());
                assert_eq!(self.scan.next_back().map(pair), expected);
            }
        }
    }
}

/// A range that ends behind its beginning, mostly: of others there is little to see.
pub(crate) fn forward(order: &KeyOrder, bounds: Bounds, rng: &mut Rng) -> Bounds {
    if !order.is_bytewise() && inputs::is_reversed(order, &bounds) && !rng.one_in(8) {
        return (bounds.1, bounds.0);
    }
    bounds
}

fn pair(entry: isopach::Result<(Slice, Slice)>) -> Pair {
    let (key, value) = entry.expect("nothing is damaged");
    (key.to_vec(), value.to_vec())
}

/// Scans a random range or prefix in a random way.
pub(crate) fn check_scan(rng: &mut Rng, oracle: &Oracle, space: SpaceId, from: &impl Readable, at: usize) {
    let order = oracle.order();
    let (scan, expected) = if rng.one_in(3) {
        let mut prefix = key(rng);
        prefix.truncate(3);
        if !order.is_bytewise() {
            let error = from.prefix(&prefix).next().expect("an error").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            return;
        }
        let longer = oracle.range(space, &(Bound::Included(prefix.clone()), Bound::Unbounded), at);
        let expected = longer.into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
        (from.prefix(&prefix), expected)
    } else {
        let range = inputs::bounds(rng);
        let range = forward(order, range, rng);
        let expected: Vec<Pair> = oracle.range(space, &range, at);
        (from.range(range), expected)
    };
    match rng.below(5) {
        0 => assert_eq!(scan.map(pair).collect::<Vec<Pair>>(), expected),
        1 => {
            let mut found: Vec<Pair> = scan.rev().map(pair).collect();
            found.reverse();
            assert_eq!(found, expected);
        }
        2 => {
            let keys: Vec<Vec<u8>> = scan.keys().map(|key| key.unwrap().to_vec()).collect();
            assert_eq!(keys, expected.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
        }
        3 => {
            let values: Vec<Vec<u8>> = scan.values().rev().map(|value| value.unwrap().to_vec()).collect();
            assert_eq!(values, expected.into_iter().rev().map(|(_, value)| value).collect::<Vec<_>>());
        }
        _ => {
            let mut held = Held::new(order, scan, expected);
            for _ in 0..60 {
                held.step(rng);
            }
        }
    }
}
