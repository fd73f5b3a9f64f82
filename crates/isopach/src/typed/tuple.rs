//! Tuples as keys: one component behind the other; and their leading parts, as prefixes.

use super::key::{AsKey, Key, KeyReader};
use crate::error::Result;

/// The leading components of a tuple that is a key: `(A,)` and `(A, B)` of `(A, B, C)`.
pub trait KeyPrefix<K> {
    /// Appends the bytes that the encodings of exactly those `K` begin with that have this prefix.
    fn encode_prefix(&self, out: &mut Vec<u8>);
}

/// A tuple, given the letters of its components, those of what stands for them, and their places.
macro_rules! tuple {
    ($($key:ident $as_key:ident $at:tt),+) => {
        impl<$($key, $as_key: AsKey<$key>),+> AsKey<($($key,)+)> for ($($as_key,)+) {
            fn encode_key(&self, out: &mut Vec<u8>) {
                $(self.$at.encode_key(out);)+
            }
        }

        impl<$($key: Key),+> Key for ($($key,)+) {
            fn decode_key(from: &mut KeyReader<'_>) -> Result<($($key,)+)> {
                Ok(($($key::decode_key(from)?,)+))
            }
        }
    };
}

tuple!(A Aa 0);
tuple!(A Aa 0, B Bb 1);
tuple!(A Aa 0, B Bb 1, C Cc 2);
tuple!(A Aa 0, B Bb 1, C Cc 2, D Dd 3);
tuple!(A Aa 0, B Bb 1, C Cc 2, D Dd 3, E Ee 4);
tuple!(A Aa 0, B Bb 1, C Cc 2, D Dd 3, E Ee 4, F Ff 5);
tuple!(A Aa 0, B Bb 1, C Cc 2, D Dd 3, E Ee 4, F Ff 5, G Gg 6);
tuple!(A Aa 0, B Bb 1, C Cc 2, D Dd 3, E Ee 4, F Ff 5, G Gg 6, H Hh 7);

/// A tuple as the prefix of each longer one: behind it in brackets what the last one had more, then what
/// longer ones have.
macro_rules! prefix {
    ($head:tt $more:tt) => {};
    ([$($key:ident $as_key:ident $at:tt),+] [$($more:ident)*] $next:ident $($left:ident)*) => {
        impl<$($key, $as_key: AsKey<$key>,)+ $($more,)* $next> KeyPrefix<($($key,)+ $($more,)* $next,)>
            for ($($as_key,)+)
        {
            fn encode_prefix(&self, out: &mut Vec<u8>) {
                $(self.$at.encode_key(out);)+
            }
        }

        prefix!([$($key $as_key $at),+] [$($more)* $next] $($left)*);
    };
}

prefix!([A Aa 0] [] B C D E F G H);
prefix!([A Aa 0, B Bb 1] [] C D E F G H);
prefix!([A Aa 0, B Bb 1, C Cc 2] [] D E F G H);
prefix!([A Aa 0, B Bb 1, C Cc 2, D Dd 3] [] E F G H);
prefix!([A Aa 0, B Bb 1, C Cc 2, D Dd 3, E Ee 4] [] F G H);
prefix!([A Aa 0, B Bb 1, C Cc 2, D Dd 3, E Ee 4, F Ff 5] [] G H);
prefix!([A Aa 0, B Bb 1, C Cc 2, D Dd 3, E Ee 4, F Ff 5, G Gg 6] [] H);
