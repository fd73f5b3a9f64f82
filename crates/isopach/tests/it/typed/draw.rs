//! Keys by chance, of few different parts, so that many are equal, neighbours, or begin with one another.

use std::cmp::Reverse;
use testkit::Rng;

/// Draws one.
pub(super) trait Draw: Sized {
    fn draw(rng: &mut Rng) -> Self;
}

/// Draws many.
pub(super) fn many<T: Draw>(count: usize, rng: &mut Rng) -> Vec<T> {
    (0..count).map(|_| T::draw(rng)).collect()
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl Draw for $integer {
            fn draw(rng: &mut Rng) -> $integer {
                let edge = *rng.pick(&[<$integer>::MIN, <$integer>::MAX, 0, 1 << (<$integer>::BITS / 2)]);
                match rng.below(3) {
                    0 => edge.wrapping_add(rng.below(3) as $integer),
                    1 => edge.wrapping_sub(rng.below(3) as $integer),
                    _ => (u128::from(rng.word()) << 64 | u128::from(rng.word())) as $integer,
                }
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 }

impl Draw for bool {
    fn draw(rng: &mut Rng) -> bool {
        rng.one_in(2)
    }
}

impl Draw for char {
    fn draw(rng: &mut Rng) -> char {
        *rng.pick(&['\0', '\u{1}', 'a', '\u{7f}', '\u{80}', 'ÿ', '\u{ffff}', '\u{10000}', char::MAX])
    }
}

impl Draw for String {
    fn draw(rng: &mut Rng) -> String {
        (0..rng.below(5)).map(|_| char::draw(rng)).collect()
    }
}

impl Draw for Vec<u8> {
    fn draw(rng: &mut Rng) -> Vec<u8> {
        (0..rng.below(5)).map(|_| *rng.pick(&[0, 1, 0x7F, 0xFE, 0xFF])).collect()
    }
}

impl<const N: usize> Draw for [u8; N] {
    fn draw(rng: &mut Rng) -> [u8; N] {
        [(); N].map(|()| *rng.pick(&[0, 1, 0xFF]))
    }
}

impl<T: Draw> Draw for Option<T> {
    fn draw(rng: &mut Rng) -> Option<T> {
        (!rng.one_in(3)).then(|| T::draw(rng))
    }
}

impl<T: Draw> Draw for Reverse<T> {
    fn draw(rng: &mut Rng) -> Reverse<T> {
        Reverse(T::draw(rng))
    }
}

macro_rules! tuples {
    ($($($part:ident)*;)*) => {$(
        impl<$($part: Draw),*> Draw for ($($part,)*) {
            #[allow(clippy::unused_unit, reason = "one of the tuples is empty")]
            fn draw(_rng: &mut Rng) -> ($($part,)*) {
                ($($part::draw(_rng),)*)
            }
        }
    )*};
}

tuples! {
    ;
    A;
    A B;
    A B C;
    A B C D;
    A B C D E F G H;
}
