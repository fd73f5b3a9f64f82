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

/// Index of the first entry that is not before a target with this key; the number of entries if all are.
///
/// `heads` are stored little-endian. `is_before(index, rest)` says whether an entry comes before the target,
/// whose key without the prefix is `rest`; it is asked only about entries whose head is the target's.
pub(super) fn lower_bound(
    heads: &[[u8; HEAD_BYTES]],
    prefix: &[u8],
    key: &[u8],
    mut is_before: impl FnMut(usize, &[u8]) -> bool,
) -> usize {
    let Some(rest) = key.strip_prefix(prefix) else {
        // A key without the prefix lies before or behind all that have it.
        return if key < prefix { 0 } else { heads.len() };
    };
    let head = head_of(rest);
    let mut low = first_at_least(heads, head);
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

                assert_eq!(lower_bound(&heads, b"p", &key, |_, _| false), expected, "{len} {target}");
            }
        }
    }

    #[test]
    fn a_key_without_the_prefix_is_before_or_behind_all() {
        let heads = [[0; 4]; 3];

        assert_eq!(lower_bound(&heads, b"pre", b"pr", |_, _| unreachable!()), 0);
        assert_eq!(lower_bound(&heads, b"pre", b"a", |_, _| unreachable!()), 0);
        assert_eq!(lower_bound(&heads, b"pre", b"prf", |_, _| unreachable!()), 3);
    }

    #[test]
    fn the_greatest_head_has_no_successor() {
        let heads = [[0xff; 4]; 3];

        assert_eq!(lower_bound(&heads, b"", b"\xff\xff\xff\xff\x07", |index, _| index < 2), 2);
    }
}
