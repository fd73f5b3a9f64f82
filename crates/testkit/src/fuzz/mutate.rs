//! Changes to bytes that decoders have reason to fear: flipped bits, hostile lengths, cuts, splices, swaps,
//! and offsets that lead back to themselves. The same choices make the same changes.

use crate::Rng;
use isopach::engine::table::FOOTER_BYTES;

/// Longest input that is made.
const MAX_BYTES: usize = 1 << 17;

/// Changes `bytes` in one to four places; `other` is what may be spliced in.
pub(super) fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..1 + rng.below(4) {
        change(rng, bytes, other);
    }
    bytes.truncate(MAX_BYTES);
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    if bytes.is_empty() {
        bytes.extend_from_slice(other);
        return;
    }
    let at = place(rng, bytes.len());
    match rng.below(16) {
        0..=3 => bytes[at] ^= 1 << rng.below(8),
        4 => bytes[at] = *rng.pick(&[0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF]),
        5 => bytes[at] = bytes[at].wrapping_add(*rng.pick(&[1, 0xFF])),
        6..=9 => overwrite(rng, bytes, at),
        10 => bytes.truncate(at),
        11 => {
            let more = rng.below(64);
            let tail = if rng.one_in(2) { vec![0; more] } else { rng.bytes(more) };
            bytes.extend(tail);
        }
        12 => splice(rng, bytes, at, other),
        13 => {
            let part = part_of(rng, bytes).to_vec();
            bytes.splice(at..at, part); // Everything behind it moves.
        }
        14 => {
            let end = (at + 1 + rng.below(32)).min(bytes.len());
            bytes.drain(at..end);
        }
        _ => swap(rng, bytes, at),
    }
}

/// Somewhere; half of the time where a field of eight bytes may begin, and now and then near an end, where
/// headers and footers are.
fn place(rng: &mut Rng, len: usize) -> usize {
    let at = match rng.below(4) {
        0 => rng.below(len.min(FOOTER_BYTES)),
        1 => len - 1 - rng.below(len.min(FOOTER_BYTES)),
        _ => rng.below(len),
    };
    if rng.one_in(2) { at & !7 } else { at }
}

/// Puts a number where a length, a count or an offset may be.
fn overwrite(rng: &mut Rng, bytes: &mut [u8], at: usize) {
    let width = (*rng.pick(&[1, 2, 4, 4, 8, 8])).min(bytes.len() - at);
    let mut old = [0; 8];
    old[..width].copy_from_slice(&bytes[at..at + width]);
    let (old, len) = (u64::from_le_bytes(old), bytes.len() as u64);
    let number = match rng.below(12) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX - rng.below(8) as u64,
        3 => u64::from(u32::MAX),
        4 => 1 << (8 * width - 1).min(63),
        5 => old.wrapping_add(1),
        6 => old.wrapping_sub(1),
        7 => len,
        8 => len.wrapping_add(*rng.pick(&[1, u64::MAX])),
        9 => at as u64,        // An offset that leads to itself.
        10 => (at as u64) / 8, // The same as a log position counts it.
        _ => rng.word() >> rng.below(64),
    };
    bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
}

fn splice(rng: &mut Rng, bytes: &mut Vec<u8>, at: usize, other: &[u8]) {
    if other.is_empty() {
        return;
    }
    let part = part_of(rng, other);
    let end = if rng.one_in(2) { at } else { (at + part.len()).min(bytes.len()) };
    bytes.splice(at..end, part.iter().copied());
}

fn part_of<'a>(rng: &mut Rng, bytes: &'a [u8]) -> &'a [u8] {
    let start = place(rng, bytes.len());
    let end = start + 1 + rng.below((bytes.len() - start).min(512));
    &bytes[start..end.min(bytes.len())]
}

/// Two parts of equal length change places.
fn swap(rng: &mut Rng, bytes: &mut [u8], at: usize) {
    let other = place(rng, bytes.len());
    let (low, high) = (at.min(other), at.max(other));
    let len = (1 + rng.below(64)).min(high - low).min(bytes.len() - high);
    let (front, back) = bytes.split_at_mut(high);
    front[low..low + len].swap_with_slice(&mut back[..len]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_choices_make_the_same_changes() {
        let base: Vec<u8> = (0..200).collect();
        let mutated = |seed| {
            let mut bytes = base.clone();
            mutate(&mut Rng::new(seed), &mut bytes, b"other");
            bytes
        };

        let all: Vec<Vec<u8>> = (0..500).map(mutated).collect();

        assert_eq!(all, (0..500).map(mutated).collect::<Vec<_>>());
        let changed = all.iter().filter(|bytes| **bytes != base).count();
        assert!(changed > 480, "{changed} of 500 were changed");
        assert!(all.iter().any(|bytes| bytes.len() < 200) && all.iter().any(|bytes| bytes.len() > 200));
    }

    #[test]
    fn bytes_of_any_length_are_taken() {
        for seed in 0..2000 {
            let mut rng = Rng::new(seed);
            let len = rng.below(20);
            let mut bytes = rng.bytes(len);
            mutate(&mut rng, &mut bytes, &[]);
        }
    }
}
