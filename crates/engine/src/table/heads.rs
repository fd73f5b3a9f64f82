//! Search over key heads: the part that data blocks and indexes share.
//!
//! Keys are sorted and lose their common prefix. Of what is left, the *rest*, the first four bytes (padded
//! with zeros) are its *head*: an integer that is ordered as those bytes are. Heads lie in a dense array, so
//! that a search touches a few cache lines and decodes no entry; rests are compared among equal heads only.

use core::hint::select_unpredictable;

/// Size of a head.
pub(super) const HEAD_BYTES: usize = 4;

/// The head of a rest.
pub(super) fn head_of(rest: &[u8]) -> u32 {
    match rest.first_chunk::<HEAD_BYTES>() {
        Some(&first) => u32::from_be_bytes(first),
        None => {
            let mut padded = [0; HEAD_BYTES];
            padded[..rest.len()].copy_from_slice(rest);
            u32::from_be_bytes(padded)
        }
    }
}

/// How heads lie between the first and the last: where they are spread evenly, a search begins near its end.
///
/// The place of a head on the line from the first to the last is at most so many entries away from its place among
/// them. Both rise with the head, so what is true of all heads bounds the place of any number between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    first: u32,
    /// Places for each head between first and last, times 2^32; at most 2^32 places.
    slope: u64,
    /// Most that a place on the line is behind the true one, and before it.
    behind: usize,
    before: usize,
}

impl Spread {
    /// Fewer heads are in few cache lines anyhow.
    const LEAST: usize = 1024;

    /// Of sorted heads; `None` if a search among all of them is as good.
    pub(super) fn of(heads: &[[u8; HEAD_BYTES]]) -> Option<Spread> {
        let (first, last) = (u32::from_le_bytes(*heads.first()?), u32::from_le_bytes(*heads.last()?));
        if heads.len() < Self::LEAST || first == last {
            return None;
        }
        let slope = ((heads.len() as u64 - 1) << 32) / u64::from(last - first);
        let mut spread = Spread { first, slope, behind: 0, before: 0 };
        for (place, head) in heads.iter().enumerate() {
            let on_line = spread.place_of(u32::from_le_bytes(*head));
            spread.behind = spread.behind.max(on_line.saturating_sub(place));
            spread.before = spread.before.max(place.saturating_sub(on_line));
        }
        (spread.behind + spread.before < heads.len() / 16).then_some(spread)
    }

    fn place_of(&self, head: u32) -> usize {
        let places = (u128::from(head.saturating_sub(self.first)) * u128::from(self.slope)) >> 32;
        usize::try_from(places).unwrap_or(usize::MAX)
    }

    /// As [`first_at_least`] of all heads.
    fn first_at_least(&self, heads: &[[u8; HEAD_BYTES]], head: u32) -> usize {
        let on_line = self.place_of(head);
        let low = on_line.saturating_sub(self.behind).min(heads.len());
        let high = on_line.saturating_add(self.before + 2).min(heads.len());
        low + first_at_least(&heads[low..high], head)
    }
}

/// Index of the first entry that is not before a target with this key; the number of entries if all are.
///
/// `heads` are stored little-endian; `spread` is how they lie, if that is known. `is_before(index, rest)` says whether an entry comes before the target,
/// whose key without the prefix is `rest`; it is asked only about entries whose head is the target's.
pub(super) fn lower_bound(
    heads: &[[u8; HEAD_BYTES]],
    spread: Option<&Spread>,
    prefix: &[u8],
    key: &[u8],
    mut is_before: impl FnMut(usize, &[u8]) -> bool,
) -> usize {
    let Some(rest) = key.strip_prefix(prefix) else {
        // A key without the prefix lies before or behind all that have it.
        return if key < prefix { 0 } else { heads.len() };
    };
    let head = head_of(rest);
    let mut low = match spread {
        Some(spread) => spread.first_at_least(heads, head),
        None => first_at_least(heads, head),
    };
    let mut high = low;
    let has_head = |at: usize| heads.get(at).is_some_and(|&found| u32::from_le_bytes(found) == head);
    if has_head(low) {
        high = match head.checked_add(1) {
            _ if !has_head(low + 1) => low + 1, // Mostly.
            Some(next) => low + first_at_least(&heads[low..], next),
            None => heads.len(),
        };
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle, rest) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// How many of `len` entries come first for which `is_before` holds; it holds for all before one for which it does.
pub(super) fn partition_point(len: usize, mut is_before: impl FnMut(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Index of the first head that is at least `head`. The steps depend on the number of heads alone, so there
/// is no branch to be mispredicted.
fn first_at_least(heads: &[[u8; HEAD_BYTES]], head: u32) -> usize {
    let is_less = |index: usize| u32::from_le_bytes(heads[index]) < head;
    let (mut base, mut left) = (0, heads.len());
    while left > 1 {
        let half = left / 2;
        base = select_unpredictable(is_less(base + half - 1), base + half, base);
        left -= half;
    }
    if left == 1 && is_less(base) { base + 1 } else { base }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn heads_are_ordered_as_their_bytes() {
        let rests: [&[u8]; 7] = [b"", b"\0", b"\0\0\0\0a", b"a", b"ab", b"abcd", b"b"];

        for pair in rests.windows(2) {
            assert!(head_of(pair[0]) <= head_of(pair[1]), "{pair:?}");
        }
        assert_eq!(head_of(b"abcde"), 0x6162_6364);
    }

    #[test]
    fn lower_bound_agrees_with_a_linear_search() {
        for len in 0..40_u32 {
            let keys: Vec<u32> = (0..len).map(|i| i / 3 * 2).collect();
            let heads: Vec<[u8; 4]> = keys.iter().map(|key| key.to_le_bytes()).collect();
            for target in 0..len + 2 {
                let key = [b"p", &target.to_be_bytes()[..]].concat();
                let expected = keys.iter().filter(|&&key| key < target).count();

                assert_eq!(lower_bound(&heads, None, b"p", &key, |_, _| false), expected, "{len} {target}");
            }
        }
    }

    /// However heads lie: spread evenly, with a few far away, many equal ones, the least and the greatest.
    #[test]
    fn a_search_that_begins_on_the_line_ends_where_any_other_does() {
        let mut word = 1_u64;
        let mut random = |below: u64| {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (word >> 33) % below
        };
        let mut spread = 0;
        for round in 0..60 {
            let (len, step) = (1024 + random(3000), [1, 5, 1000, 1 << 20][round % 4]);
            let mut keys: Vec<u32> = (0..len).map(|at| (at * step + random(1 + step * 40)) as u32).collect();
            if round % 3 == 1 {
                keys.extend([0, u32::MAX, u32::MAX]);
            }
            if round % 5 == 2 {
                keys.extend([keys[7]; 50]);
            }
            keys.sort_unstable();
            let heads: Vec<[u8; 4]> = keys.iter().map(|key| key.to_le_bytes()).collect();
            let Some(found) = Spread::of(&heads) else { continue };
            spread += 1;
            let near = keys.iter().flat_map(|&key| [key.saturating_sub(1), key, key.saturating_add(1)]);
            for head in near.chain([0, u32::MAX]) {
                assert_eq!(found.first_at_least(&heads, head), first_at_least(&heads, head), "{head}");
            }
        }
        assert!(spread > 20, "{spread} of them were spread evenly");
    }

    #[test]
    fn a_key_without_the_prefix_is_before_or_behind_all() {
        let heads = [[0; 4]; 3];

        assert_eq!(lower_bound(&heads, None, b"pre", b"pr", |_, _| unreachable!()), 0);
        assert_eq!(lower_bound(&heads, None, b"pre", b"a", |_, _| unreachable!()), 0);
        assert_eq!(lower_bound(&heads, None, b"pre", b"prf", |_, _| unreachable!()), 3);
    }

    #[test]
    fn the_greatest_head_has_no_successor() {
        let heads = [[0xff; 4]; 3];

        assert_eq!(lower_bound(&heads, None, b"", b"\xff\xff\xff\xff\x07", |index, _| index < 2), 2);
    }
}
