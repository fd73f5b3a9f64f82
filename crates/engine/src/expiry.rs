//! Puts that expire: how their versions say when. The stored value is 8 bytes, little-endian, of microseconds since
//! 1970, then the value itself.

use crate::{
    codec::{Corruption, Reader},
    key::ValueKind,
    types::{Slice, UnixUs},
};
use alloc::vec::Vec;

/// Bytes in front of the value.
pub const EXPIRY_BYTES: usize = 8;

/// The stored value of a put that is gone from views at `expires_at` and later.
pub fn stored_value(expires_at: UnixUs, value: &[u8]) -> Vec<u8> {
    [&expires_at.0.to_le_bytes(), value].concat()
}

/// When a version expires, if it does: of a put that says so.
///
/// # Errors
///
/// It is one, and too short to say when.
pub(crate) fn of_version(kind: ValueKind, stored: &[u8]) -> Result<Option<UnixUs>, Corruption> {
    if !kind.expires() {
        return Ok(None);
    }
    let (time, _) = stored
        .split_first_chunk()
        .ok_or(Corruption("a put that expires does not say when: it is too short"))?;
    Ok(Some(UnixUs(u64::from_le_bytes(*time))))
}

/// The value itself, out of the stored value of a version of this kind that was asked when it expires.
pub(crate) fn value_of(kind: ValueKind, stored: Slice) -> Slice {
    if kind.expires() { stored.tail(EXPIRY_BYTES) } else { stored }
}

/// When the entries of a table expire, of which some do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExpiryBounds {
    /// When the first of them does.
    pub first: UnixUs,
    /// When the last does; `None`: some entries do not expire.
    pub last: Option<UnixUs>,
}

impl ExpiryBounds {
    /// Size of the encoding.
    pub const ENCODED_BYTES: usize = 16;

    /// The bounds with another entry, which may be the first of all.
    pub(crate) fn with(
        bounds: Option<ExpiryBounds>,
        is_first: bool,
        expires_at: Option<UnixUs>,
    ) -> Option<ExpiryBounds> {
        let Some(at) = expires_at else {
            return bounds.map(|bounds| ExpiryBounds { last: None, ..bounds });
        };
        Some(match bounds {
            None => ExpiryBounds { first: at, last: is_first.then_some(at) },
            Some(ExpiryBounds { first, last }) => {
                ExpiryBounds { first: first.min(at), last: last.map(|last| last.max(at)) }
            }
        })
    }

    /// Encodes them as two numbers; no last one is the greatest. [`ExpiryBounds::decode`] is the inverse.
    pub(crate) fn encode(self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[..8].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.last.map_or(u64::MAX, |last| last.0).to_le_bytes());
        bytes
    }

    /// Reads what a table says.
    ///
    /// # Errors
    ///
    /// The last comes before the first.
    pub(crate) fn decode(bytes: [u8; Self::ENCODED_BYTES]) -> Result<ExpiryBounds, Corruption> {
        let mut fields = Reader::new(&bytes);
        let (first, last) = (fields.u64()?, fields.u64()?);
        if last < first {
            return Err(Corruption("the last of a table's entries expires before the first"));
        }
        Ok(ExpiryBounds { first: UnixUs(first), last: (last < u64::MAX).then_some(UnixUs(last)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_that_expires_begins_with_the_time() {
        let stored = stored_value(UnixUs(0x0102), b"v");

        assert_eq!(stored, [2, 1, 0, 0, 0, 0, 0, 0, b'v']);
        assert_eq!(of_version(ValueKind::PutUntil, &stored), Ok(Some(UnixUs(0x0102))));
        assert_eq!(value_of(ValueKind::PutUntil, stored.into()), Slice::from("v"));
        assert!(of_version(ValueKind::PutUntil, &[0; 7]).is_err());
        assert_eq!(of_version(ValueKind::Put, &[]), Ok(None));
    }
}
