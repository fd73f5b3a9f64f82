//! Single error correction, double error detection: a byte for each word of 8 bytes (M. Y. Hsiao, A class of optimal
//! minimum odd-weight-column SEC-DED codes, 1970). Pure.

/// For each bit of a word the bits of parity that it takes part in: all 56 bytes with three bits set, and 8 with five, in
/// which every bit is set as often as any other.
const COLUMNS: [u8; 64] = {
    let mut columns = [0; 64];
    let (mut at, mut byte) = (0, 0_u8);
    while at < 56 {
        if byte.count_ones() == 3 {
            columns[at] = byte;
            at += 1;
        }
        byte = byte.wrapping_add(1);
    }
    let mut turn = 0;
    while turn < 8 {
        columns[56 + turn] = 0b0001_1111_u8.rotate_left(turn as u32);
        turn += 1;
    }
    columns
};

/// The parity of each byte at each place in a word.
static PARITY: [[u8; 256]; 8] = {
    let mut parity = [[0; 256]; 8];
    let mut place = 0;
    while place < 8 {
        let mut byte = 0;
        while byte < 256 {
            let mut bit = 0;
            while bit < 8 {
                if byte >> bit & 1 == 1 {
                    parity[place][byte] ^= COLUMNS[place * 8 + bit];
                }
                bit += 1;
            }
            byte += 1;
        }
        place += 1;
    }
    parity
};

/// The parity of a word.
#[inline]
pub(super) fn parity_of(word: [u8; 8]) -> u8 {
    word.iter().zip(&PARITY).fold(0, |sum, (&byte, of_byte)| sum ^ of_byte[usize::from(byte)])
}

/// What is left of a word and its parity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Both are as they were written.
    Sound,
    /// One bit of the word had changed; this is the word.
    Word([u8; 8]),
    /// One bit of the parity has changed.
    Parity,
    /// At least two bits have.
    Lost,
}

/// Holds a word against its parity.
pub(super) fn check(word: [u8; 8], parity: u8) -> Found {
    let syndrome = parity_of(word) ^ parity;
    match syndrome.count_ones() {
        0 => Found::Sound,
        1 => Found::Parity,
        _ => match COLUMNS.iter().position(|&column| column == syndrome) {
            Some(bit) => Found::Word((u64::from_le_bytes(word) ^ 1 << bit).to_le_bytes()),
            None => Found::Lost,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [u64; 3] = [0, u64::MAX, 0x0123_4567_89AB_CDEF];

    #[test]
    fn columns_are_different_and_odd() {
        let mut sorted = COLUMNS;
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(COLUMNS.iter().all(|column| column.count_ones() % 2 == 1 && column.count_ones() > 1));
    }

    #[test]
    fn each_bit_of_word_and_parity_is_corrected() {
        for word in WORDS {
            let parity = parity_of(word.to_le_bytes());
            assert_eq!(check(word.to_le_bytes(), parity), Found::Sound);
            for bit in 0..64 {
                let found = check((word ^ 1 << bit).to_le_bytes(), parity);
                assert_eq!(found, Found::Word(word.to_le_bytes()), "bit {bit} of {word:x}");
            }
            for bit in 0..8 {
                assert_eq!(check(word.to_le_bytes(), parity ^ 1 << bit), Found::Parity);
            }
        }
    }

    #[test]
    fn every_two_bits_are_told_and_none_is_corrected_wrongly() {
        for word in WORDS {
            let parity = parity_of(word.to_le_bytes());
            for first in 0..72_u32 {
                for second in 0..first {
                    let flipped = 1_u128 << first | 1 << second;
                    let (in_word, in_parity) = (flipped as u64, (flipped >> 64) as u8);
                    let found = check((word ^ in_word).to_le_bytes(), parity ^ in_parity);
                    assert_eq!(found, Found::Lost, "bits {first} and {second}");
                }
            }
        }
    }
}
