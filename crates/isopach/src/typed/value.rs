//! Values as bytes: the traits, and the encodings of what needs no description. Layout: the table in
//! [`crate::typed`].

use crate::error::{Error, Result};
use isopach_engine::types::Slice;

/// What is encoded as a value of type `V`: the values themselves, and what they are borrowed as, `str` for
/// `String`.
pub trait AsValue<V> {
    /// Appends the encoding: the bytes of the `V` that equals this.
    ///
    /// # Errors
    ///
    /// [`Error::unencodable`] if it has none.
    fn encode_value(&self, out: &mut Vec<u8>) -> Result<()>;
}

/// A type that can be stored.
///
/// `decode_value` gives back what was encoded. An encoding is alone in its value, so it needs no end.
pub trait Value: AsValue<Self> + Sized {
    /// The value with these bytes.
    ///
    /// # Errors
    ///
    /// [`Error::malformed`] if there is none.
    fn decode_value(bytes: Slice) -> Result<Self>;
}

// ----- bytes -----

macro_rules! as_bytes {
    ($($value:ty: $($borrowed:ty),*;)*) => {$($(
        /// As it is.
        impl AsValue<$value> for $borrowed {
            fn encode_value(&self, out: &mut Vec<u8>) -> Result<()> {
                out.extend_from_slice(self.as_ref());
                Ok(())
            }
        }
    )*)*};
}

as_bytes! {
    String: String, str, &str;
    Vec<u8>: Vec<u8>, [u8], &[u8];
    Slice: Slice, [u8], &[u8];
}

impl Value for String {
    fn decode_value(bytes: Slice) -> Result<String> {
        str::from_utf8(&bytes).map(str::to_owned).map_err(Error::malformed)
    }
}

impl Value for Vec<u8> {
    fn decode_value(bytes: Slice) -> Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }
}

/// Not copied: it may hold the block it lies in ([`Slice::detach`]).
impl Value for Slice {
    fn decode_value(bytes: Slice) -> Result<Slice> {
        Ok(bytes)
    }
}

impl<const N: usize> AsValue<[u8; N]> for [u8; N] {
    fn encode_value(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(self);
        Ok(())
    }
}

impl<const N: usize> Value for [u8; N] {
    fn decode_value(bytes: Slice) -> Result<[u8; N]> {
        let wrong = |_| Error::malformed(format_args!("{} bytes where {N} must be", bytes.len()));
        bytes[..].try_into().map_err(wrong)
    }
}

// ----- numbers and others -----

macro_rules! numbers {
    ($($number:ty)*) => {$(
        /// Little-endian.
        impl AsValue<$number> for $number {
            fn encode_value(&self, out: &mut Vec<u8>) -> Result<()> {
                self.to_le_bytes().encode_value(out)
            }
        }

        impl Value for $number {
            fn decode_value(bytes: Slice) -> Result<$number> {
                Value::decode_value(bytes).map(<$number>::from_le_bytes)
            }
        }
    )*};
}

numbers! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 }

/// As its number, a `u32`.
impl AsValue<char> for char {
    fn encode_value(&self, out: &mut Vec<u8>) -> Result<()> {
        u32::from(*self).encode_value(out)
    }
}

impl Value for char {
    fn decode_value(bytes: Slice) -> Result<char> {
        char::try_from(u32::decode_value(bytes)?).map_err(Error::malformed)
    }
}

impl AsValue<bool> for bool {
    fn encode_value(&self, out: &mut Vec<u8>) -> Result<()> {
        u8::from(*self).encode_value(out)
    }
}

impl Value for bool {
    fn decode_value(bytes: Slice) -> Result<bool> {
        match u8::decode_value(bytes)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Error::malformed(format_args!("{other:#04x} where 0 or 1 must be"))),
        }
    }
}

/// No bytes: a set of keys.
impl AsValue<()> for () {
    fn encode_value(&self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

impl Value for () {
    fn decode_value(bytes: Slice) -> Result<()> {
        <[u8; 0]>::decode_value(bytes).map(|[]| ())
    }
}

/// A byte that says whether a value follows.
impl<V, W: AsValue<V>> AsValue<Option<V>> for Option<W> {
    fn encode_value(&self, out: &mut Vec<u8>) -> Result<()> {
        out.push(u8::from(self.is_some()));
        self.as_ref().map_or(Ok(()), |value| value.encode_value(out))
    }
}

impl<V: Value> Value for Option<V> {
    fn decode_value(bytes: Slice) -> Result<Option<V>> {
        match &bytes[..] {
            [0] => Ok(None),
            [1, ..] => V::decode_value(bytes.slice(1..)).map(Some),
            [first, ..] => Err(Error::malformed(format_args!("an option that begins with {first:#04x}"))),
            [] => Err(Error::malformed("an option without bytes")),
        }
    }
}
