//! Values that are compressed by themselves before they come into a log and a memtable: they take less of both, and when
//! they are separated they are written as they are.
//!
//! The stored value, behind the time of expiry if the put has one:
//!
//! | bytes | field                                     |
//! |-------|-------------------------------------------|
//! | 0     | codec                                     |
//! | 1..5  | size of the value before compression      |
//! | 5..   | the value, compressed                     |

use crate::{
    codec::{Codec, Compression, Corruption, FileDictionary, Reader},
    expiry::EXPIRY_BYTES,
    key::ValueKind,
};
use alloc::{borrow::Cow, vec::Vec};

/// Bytes in front of the compressed value.
pub const PACKED_HEAD_BYTES: usize = 5;

/// A packed value in parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Packed<'a> {
    pub(crate) codec: Codec,
    pub(crate) value_bytes: u32,
    pub(crate) bytes: &'a [u8],
}

/// Compresses a value: what comes before its bytes, and these. `None` if that does not save an eighth.
pub fn pack(value: &[u8], compression: Compression) -> Option<([u8; PACKED_HEAD_BYTES], Vec<u8>)> {
    let value_bytes = u32::try_from(value.len()).ok()?.to_le_bytes();
    match compression.compress(value) {
        (Codec::None, _) | (_, Cow::Borrowed(_)) => None,
        (codec, Cow::Owned(bytes)) => {
            let [a, b, c, d] = value_bytes;
            Some(([codec.to_raw(), a, b, c, d], bytes))
        }
    }
}

/// The packed value in what is stored of a version of this kind, if it has one.
///
/// # Errors
///
/// It is too short, or of an unknown codec.
pub(crate) fn packed_of(kind: ValueKind, stored: &[u8]) -> Result<Option<Packed<'_>>, Corruption> {
    let packed = match kind {
        ValueKind::PutPacked => stored,
        ValueKind::PutPackedUntil => stored.get(EXPIRY_BYTES..).unwrap_or_default(),
        _ => return Ok(None),
    };
    let mut fields = Reader::new(packed);
    let codec = Codec::from_raw(fields.u8()?).ok_or(Corruption("a packed value has an unknown codec"))?;
    let value_bytes = fields.u32()?;
    Ok(Some(Packed { codec, value_bytes, bytes: fields.bytes(fields.remaining())? }))
}

/// Says whether what is stored of a version of this kind can be a packed value.
///
/// # Errors
///
/// It is said to be packed, and is too short for what comes before its bytes, or of a codec that there is not.
pub fn check_packed(kind: ValueKind, stored: &[u8]) -> Result<(), Corruption> {
    packed_of(kind, stored).map(drop)
}

impl Packed<'_> {
    /// The value.
    ///
    /// # Errors
    ///
    /// It does not decompress to its size.
    pub(crate) fn unpack(&self) -> Result<Vec<u8>, Corruption> {
        self.codec.decompress_in(self.bytes, self.value_bytes as usize, &FileDictionary::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{expiry, types::UnixUs};
    use alloc::{vec, vec::Vec};

    #[test]
    fn a_value_that_compresses_is_packed_and_comes_out_again() {
        if !Compression::Lz4.is_available() {
            return;
        }
        let value = vec![b'v'; 5000];
        let (head, bytes) = pack(&value, Compression::Lz4).unwrap();
        assert!(bytes.len() < 100);
        let stored = [&head[..], &bytes].concat();

        let packed = packed_of(ValueKind::PutPacked, &stored).unwrap().unwrap();

        assert_eq!((packed.value_bytes, packed.unpack().unwrap()), (5000, value.clone()));
        let until = expiry::stored_value(UnixUs(7), &stored);
        assert_eq!(packed_of(ValueKind::PutPackedUntil, &until).unwrap(), Some(packed));
        assert_eq!(packed_of(ValueKind::Put, &stored).unwrap(), None);
    }

    #[test]
    fn what_does_not_compress_is_left_as_it_is() {
        let noise: Vec<u8> =
            (0..250_u64).flat_map(|at| crate::codec::digest(&at.to_le_bytes()).to_le_bytes()).collect();

        assert!(pack(&noise, Compression::Lz4).is_none());
        assert!(pack(&[b'v'; 5000], Compression::None).is_none());
    }

    #[test]
    fn what_cannot_be_packed_is_refused() {
        for bad in [&b""[..], b"\x01", &[1, 1, 0, 0], &[99, 1, 0, 0, 0, 7]] {
            assert!(packed_of(ValueKind::PutPacked, bad).is_err(), "{bad:?}");
        }
        let hostile = packed_of(ValueKind::PutPacked, &[1, 0xFF, 0xFF, 0xFF, 0xFF, 7]).unwrap().unwrap();
        assert!(hostile.unpack().is_err(), "no such size can come of one byte");
    }
}
