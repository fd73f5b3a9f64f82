//! Keys, values and ranges that meet: few letters, short words, and now and then something long or empty.

use crate::rng::Rng;
use isopach::engine::order::KeyOrder;
use std::ops::Bound;

/// Letters of keys: the least and the greatest byte are among them.
const LETTERS: [u8; 4] = [0, b'a', b'b', 255];

/// Lower and upper end of a range.
pub type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A key. About 340 of them are likely, the empty one included, so that operations meet; a few are long.
pub fn key(rng: &mut Rng) -> Vec<u8> {
    let letters = match rng.below(64) {
        0 => 0,
        1 => 200 + rng.below(1000),
        _ => 1 + rng.below(4),
    };
    // Long keys share their beginning, and differ in their last letters only.
    let prefix = letters.saturating_sub(4);
    (0..letters).map(|at| if at < prefix { b'a' } else { *rng.pick(&LETTERS) }).collect()
}

/// A key of some thousands that are equally likely: enough for several tables.
pub fn wide_key(rng: &mut Rng) -> Vec<u8> {
    format!("{:x}/{:03}", rng.below(8), rng.below(500)).into_bytes()
}

/// A value: empty, short, or at times as long as several blocks.
pub fn value(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(32) {
        0 => 0,
        1 => 4000 + rng.below(12_000),
        2..=8 => 100 + rng.below(400),
        _ => 1 + rng.below(24),
    };
    if rng.one_in(2) { rng.bytes(len) } else { vec![b'v'; len] }
}

/// A range, which may be empty, turned round, or everything.
pub fn bounds(rng: &mut Rng) -> Bounds {
    let end = |rng: &mut Rng| match rng.below(5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(key(rng)),
        _ => Bound::Excluded(key(rng)),
    };
    let (low, high) = (end(rng), end(rng));
    match (&low, &high) {
        // Turned round now and then only: there is little to see in it.
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b))
            if a > b && !rng.one_in(8) =>
        {
            (high, low)
        }
        _ => (low, high),
    }
}

/// Whether a range ends before it begins.
pub fn is_reversed(order: &KeyOrder, bounds: &Bounds) -> bool {
    match bounds {
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            order.is_less(high, low)
        }
        _ => false,
    }
}

/// Whether a key lies in a range.
pub fn is_inside(key: &[u8], bounds: &Bounds) -> bool {
    is_inside_in(&KeyOrder::BYTES, key, bounds)
}

/// As [`is_inside`], in an order of keys.
pub fn is_inside_in(order: &KeyOrder, key: &[u8], (low, high): &Bounds) -> bool {
    order.is_above(key, low.as_ref().map(Vec::as_slice))
        && order.is_below(key, high.as_ref().map(Vec::as_slice))
}
