//! Keys as bytes that sort as the keys do: the traits, and the encodings of single components.
//!
//! Tuples are in `tuple.rs`. The layout is the table in [`crate::typed`]; bytes of keys are on disk for good,
//! so no encoding ever changes.

use crate::error::{Error, Result};
use std::cmp::Reverse;

/// What is encoded as a key of type `K`: the keys themselves, and what they are borrowed as, `str` for
/// `String`.
pub trait AsKey<K> {
    /// Appends the encoding: the bytes of the `K` that equals this.
    fn encode_key(&self, out: &mut Vec<u8>);
}

/// A type whose encoding sorts as it does.
///
/// What an implementation promises, because ranges, prefixes and tuples rely on it:
///
/// - **Order.** `a < b` exactly if the bytes of `a` are less than those of `b`.
/// - **No encoding begins another**, so that one can stand before anything else.
/// - `decode_key` takes exactly what `encode_key` appended, and refuses what it never appends.
///
/// Made of other keys it has all of that:
///
/// ```
/// use isopach::{Result, typed::{AsKey, Key, KeyReader}};
///
/// #[derive(PartialEq, Eq, PartialOrd, Ord)]
/// struct UserId(u64);
///
/// impl AsKey<UserId> for UserId {
///     fn encode_key(&self, out: &mut Vec<u8>) {
///         self.0.encode_key(out);
///     }
/// }
///
/// impl Key for UserId {
///     fn decode_key(from: &mut KeyReader<'_>) -> Result<UserId> {
///         u64::decode_key(from).map(UserId)
///     }
/// }
/// ```
pub trait Key: AsKey<Self> + Sized {
    /// Takes a key off the front of the bytes.
    ///
    /// # Errors
    ///
    /// [`Error::malformed`] if they begin with none.
    fn decode_key(from: &mut KeyReader<'_>) -> Result<Self>;

    /// Its bytes, for calls of the keyspace itself.
    fn to_key_bytes(&self) -> Vec<u8> {
        bytes_of(self)
    }

    /// The key with these bytes.
    ///
    /// # Errors
    ///
    /// `Corruption` if there is none, or if more bytes follow.
    fn from_key_bytes(bytes: &[u8]) -> Result<Self> {
        let mut from = KeyReader { rest: bytes, mask: 0 };
        let key = Self::decode_key(&mut from)?;
        match from.rest.len() {
            0 => Ok(key),
            more => Err(Error::malformed(format_args!("{more} bytes follow the key"))),
        }
    }
}

/// The bytes of what stands for a key of type `K`.
pub(super) fn bytes_of<K>(key: &(impl AsKey<K> + ?Sized)) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode_key(&mut bytes);
    bytes
}

/// The bytes of a key while they are read. Inside of a [`Reverse`] it gives out their complements.
#[derive(Debug)]
pub struct KeyReader<'a> {
    rest: &'a [u8],
    /// What each byte is combined with, by exclusive or: 0, or 0xFF inside of a `Reverse`.
    mask: u8,
}

impl KeyReader<'_> {
    /// The next byte.
    ///
    /// # Errors
    ///
    /// `Corruption` at the end.
    pub fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    ///
    /// `Corruption` if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(Error::malformed(format_args!("{} bytes where {N} must be", self.rest.len())));
        };
        self.rest = rest;
        Ok(bytes.map(|byte| byte ^ self.mask))
    }

    /// Bytes of any number that were escaped and terminated. Takes memory only as it finds them.
    ///
    /// # Errors
    ///
    /// `Corruption` if there is no end, or a zero is neither end nor escaped.
    pub fn terminated(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let Some(zero) = self.rest.iter().position(|&byte| byte == self.mask) else {
                return Err(Error::malformed("a byte string without its end"));
            };
            bytes.extend(self.rest[..zero].iter().map(|byte| byte ^ self.mask));
            self.rest = &self.rest[zero + 1..];
            match self.byte()? {
                END => return Ok(bytes),
                ESCAPED => bytes.push(0),
                other => return Err(Error::malformed(format_args!("a zero byte before {other:#04x}"))),
            }
        }
    }

    /// Reads something whose bytes are complements.
    fn reversed<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.mask = !self.mask;
        let read = read(self);
        self.mask = !self.mask;
        read
    }
}

// ----- byte strings -----

/// Behind a zero byte: it ends the byte string. Less than whatever else follows one.
const END: u8 = 0;
/// Behind a zero byte: it is one of the byte string.
const ESCAPED: u8 = 0xFF;

fn encode_terminated(bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.split_inclusive(|&byte| byte == 0) {
        out.extend_from_slice(part);
        if part.ends_with(&[0]) {
            out.push(ESCAPED);
        }
    }
    out.extend_from_slice(&[0, END]);
}

macro_rules! byte_strings {
    ($($key:ty: $($borrowed:ty),*;)*) => {$($(
        impl AsKey<$key> for $borrowed {
            fn encode_key(&self, out: &mut Vec<u8>) {
                encode_terminated(self.as_ref(), out);
            }
        }
    )*)*};
}

byte_strings! {
    String: String, str, &str;
    Vec<u8>: Vec<u8>, [u8], &[u8];
}

impl Key for String {
    fn decode_key(from: &mut KeyReader<'_>) -> Result<String> {
        String::from_utf8(from.terminated()?).map_err(Error::malformed)
    }
}

impl Key for Vec<u8> {
    fn decode_key(from: &mut KeyReader<'_>) -> Result<Vec<u8>> {
        from.terminated()
    }
}

/// As they are: all have the same length, so none needs an end.
impl<const N: usize> AsKey<[u8; N]> for [u8; N] {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl<const N: usize> Key for [u8; N] {
    fn decode_key(from: &mut KeyReader<'_>) -> Result<[u8; N]> {
        from.array()
    }
}

// ----- numbers -----

macro_rules! integers {
    ($($integer:ty)*) => {$(
        /// Big-endian, the sign flipped: `MIN` is the sign of signed ones, and 0 of the others.
        impl AsKey<$integer> for $integer {
            fn encode_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(self ^ <$integer>::MIN).to_be_bytes());
            }
        }

        impl Key for $integer {
            fn decode_key(from: &mut KeyReader<'_>) -> Result<$integer> {
                from.array().map(|bytes| <$integer>::from_be_bytes(bytes) ^ <$integer>::MIN)
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 }

macro_rules! floats {
    ($($float:ty, $bits:ty;)*) => {$(
        /// Bits below a sign make a float the less, the greater they are: so they are flipped.
        impl AsKey<$float> for $float {
            fn encode_key(&self, out: &mut Vec<u8>) {
                let bits = self.to_bits().cast_signed();
                let ordered = if bits < 0 { bits ^ <$bits>::MAX } else { bits };
                ordered.encode_key(out);
            }
        }

        impl Key for $float {
            fn decode_key(from: &mut KeyReader<'_>) -> Result<$float> {
                let ordered = <$bits>::decode_key(from)?;
                let bits = if ordered < 0 { ordered ^ <$bits>::MAX } else { ordered };
                Ok(<$float>::from_bits(bits.cast_unsigned()))
            }
        }
    )*};
}

floats! {
    f32, i32;
    f64, i64;
}

// ----- others -----

/// As its number, a `u32`.
impl AsKey<char> for char {
    fn encode_key(&self, out: &mut Vec<u8>) {
        u32::from(*self).encode_key(out);
    }
}

impl Key for char {
    fn decode_key(from: &mut KeyReader<'_>) -> Result<char> {
        char::try_from(u32::decode_key(from)?).map_err(Error::malformed)
    }
}

impl AsKey<bool> for bool {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Key for bool {
    fn decode_key(from: &mut KeyReader<'_>) -> Result<bool> {
        claim(from)
    }
}

/// A byte that is 0 or 1.
fn claim(from: &mut KeyReader<'_>) -> Result<bool> {
    match from.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Error::malformed(format_args!("{other:#04x} where 0 or 1 must be"))),
    }
}

/// No bytes: a keyspace with such keys holds one entry.
impl AsKey<()> for () {
    fn encode_key(&self, _: &mut Vec<u8>) {}
}

impl Key for () {
    fn decode_key(_: &mut KeyReader<'_>) -> Result<()> {
        Ok(())
    }
}

/// `None` comes first.
impl<K, Q: AsKey<K>> AsKey<Option<K>> for Option<Q> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(key) = self {
            key.encode_key(out);
        }
    }
}

impl<K: Key> Key for Option<K> {
    fn decode_key(from: &mut KeyReader<'_>) -> Result<Option<K>> {
        claim(from)?.then(|| K::decode_key(from)).transpose()
    }
}

/// The complement of each byte. This reverses the order because no encoding begins another: two that differ
/// do so in a byte that both have.
impl<K, Q: AsKey<K>> AsKey<Reverse<K>> for Reverse<Q> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.0.encode_key(out);
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

impl<K: Key> Key for Reverse<K> {
    fn decode_key(from: &mut KeyReader<'_>) -> Result<Reverse<K>> {
        from.reversed(K::decode_key).map(Reverse)
    }
}
