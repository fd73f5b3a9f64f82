//! Parities of eight words at a time: what a probe of BuRR waits for.
//!
//! Words are folded to half their width and put beside each other, until a bit of each is left: no branch
//! depends on them, and no instruction is needed that not every processor has. On x86-64 the same is done in
//! vectors of 16 bytes, which all of them have; a test compares the two.

#![allow(unsafe_code)]

/// Words that are looked at together.
pub(super) const LANES: usize = 8;

/// The bit that [`parities`] has of a word.
pub(super) const fn bit(word: usize) -> usize {
    4 * (word % 4) + 2 * (word / 4)
}

/// The parity of each word of `(here & low) ^ (next & high)`, at its [`bit`]. All other bits are undefined.
#[inline(always)]
pub(super) fn parities(here: &[u64; LANES], next: &[u64; LANES], low: u64, high: u64) -> u16 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    {
        // SAFETY: the processors that this is compiled for have the instructions.
        unsafe { vectors::parities(here, next, low, high) }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    {
        portable(here, next, low, high)
    }
}

#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
fn portable(here: &[u64; LANES], next: &[u64; LANES], low: u64, high: u64) -> u16 {
    /// Folds the parts of two words in which they have their parities, and puts them into one.
    fn merge(low: u32, high: u32, by: u32, mask: u32) -> u32 {
        ((low ^ (low >> by)) & mask) | ((high ^ (high << by)) & !mask)
    }
    let by_32: [u32; 8] = core::array::from_fn(|l| {
        let word = (here[l] & low) ^ (next[l] & high);
        word as u32 ^ (word >> 32) as u32
    });
    let by_16: [u32; 4] = core::array::from_fn(|l| merge(by_32[l], by_32[l + 4], 16, 0x0000_FFFF));
    let by_8: [u32; 2] = core::array::from_fn(|l| merge(by_16[l], by_16[l + 2], 8, 0x00FF_00FF));
    let bits = merge(by_8[0], by_8[1], 4, 0x0F0F_0F0F);
    let bits = bits ^ (bits >> 2);
    let bits = (bits ^ (bits >> 1)) & 0x1111_1111;
    (bits | bits >> 14) as u16
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod vectors {
    use super::LANES;
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_andnot_si128, _mm_castps_si128, _mm_castsi128_ps, _mm_loadu_si128,
        _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi32, _mm_set1_epi64x, _mm_shuffle_ps, _mm_slli_epi16,
        _mm_slli_epi32, _mm_srli_epi16, _mm_srli_epi32, _mm_xor_si128,
    };

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn parities(here: &[u64; LANES], next: &[u64; LANES], low: u64, high: u64) -> u16 {
        let (low, high) = (_mm_set1_epi64x(low as i64), _mm_set1_epi64x(high as i64));
        let chosen = |at: usize| {
            let pair = |words: &[u64; LANES]| {
                let pair: *const [u64; 2] = words[at..].first_chunk().expect("two words");
                // SAFETY: two words are 16 bytes, which may lie anywhere.
                unsafe { _mm_loadu_si128(pair.cast()) }
            };
            _mm_xor_si128(_mm_and_si128(pair(here), low), _mm_and_si128(pair(next), high))
        };
        // Of words 0 to 3 and 4 to 7, 32 bits each; then word `l` beside word `l + 4`, 16 bits each.
        let first = fold_to_32(chosen(0), chosen(2));
        let last = fold_to_32(chosen(4), chosen(6));
        let is_low = _mm_set1_epi32(0xFFFF);
        let bits = _mm_or_si128(
            _mm_and_si128(is_low, _mm_xor_si128(first, _mm_srli_epi32(first, 16))),
            _mm_andnot_si128(is_low, _mm_xor_si128(last, _mm_slli_epi32(last, 16))),
        );
        let bits = _mm_xor_si128(bits, _mm_srli_epi16(bits, 8));
        let bits = _mm_xor_si128(bits, _mm_srli_epi16(bits, 4));
        let bits = _mm_xor_si128(bits, _mm_srli_epi16(bits, 2));
        let bits = _mm_xor_si128(bits, _mm_srli_epi16(bits, 1));
        _mm_movemask_epi8(_mm_slli_epi16(bits, 7)) as u16
    }

    /// The halves of four words, folded.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn fold_to_32(first: __m128i, last: __m128i) -> __m128i {
        let (first, last) = (_mm_castsi128_ps(first), _mm_castsi128_ps(last));
        let low = _mm_shuffle_ps(first, last, 0b10_00_10_00);
        let high = _mm_shuffle_ps(first, last, 0b11_01_11_01);
        _mm_xor_si128(_mm_castps_si128(low), _mm_castps_si128(high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parities_are_those_of_each_word_with_and_without_vectors() {
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
            (seed ^ (seed >> 29)).wrapping_mul(0x9FB2_1C65_1E98_DF25)
        };
        for _ in 0..10_000 {
            let (here, next) = (core::array::from_fn(|_| random()), core::array::from_fn(|_| random()));
            let (low, high) = (random() | random(), random() & random());
            let (found, ported) = (parities(&here, &next, low, high), portable(&here, &next, low, high));
            for word in 0..LANES {
                let ones = ((here[word] & low) ^ (next[word] & high)).count_ones() as u16;
                assert_eq!(found >> bit(word) & 1, ones & 1, "word {word}");
                assert_eq!(ported >> bit(word) & 1, ones & 1, "word {word} without vectors");
            }
        }
    }
}
