//! Compression of sections.

use super::Corruption;
#[cfg(feature = "lz4")]
use alloc::vec;
use alloc::{borrow::Cow, vec::Vec};

/// How sections are compressed. The numbers of [`Compression::to_raw`] are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Stored as they are.
    None,
    /// LZ4 blocks. Needs feature `lz4`.
    #[default]
    Lz4,
}

/// LZ4 makes at most this many bytes out of one.
const LZ4_MAX_RATIO: u64 = 255;

impl Compression {
    /// The number on disk.
    pub const fn to_raw(self) -> u8 {
        match self {
            Compression::None => 0,
            Compression::Lz4 => 1,
        }
    }

    /// The inverse of [`Compression::to_raw`].
    pub const fn from_raw(raw: u8) -> Option<Compression> {
        match raw {
            0 => Some(Compression::None),
            1 => Some(Compression::Lz4),
            _ => None,
        }
    }

    /// Whether this build can do it.
    pub const fn is_available(self) -> bool {
        match self {
            Compression::None => true,
            Compression::Lz4 => cfg!(feature = "lz4"),
        }
    }

    /// Compresses, and says how: what does not save an eighth is stored as it is.
    pub fn compress(self, raw: &[u8]) -> (Compression, Cow<'_, [u8]>) {
        match self {
            #[cfg(feature = "lz4")]
            Compression::Lz4 if !raw.is_empty() => {
                let packed = compress_lz4(raw);
                if packed.len() <= raw.len() - raw.len() / 8 {
                    (Compression::Lz4, Cow::Owned(packed))
                } else {
                    (Compression::None, Cow::Borrowed(raw))
                }
            }
            _ => (Compression::None, Cow::Borrowed(raw)),
        }
    }

    /// The inverse of [`Compression::compress`].
    ///
    /// # Errors
    ///
    /// The bytes are not `raw_bytes` long once decompressed, or cannot be. Nothing is allocated for a length
    /// that the codec cannot reach from this input.
    pub fn decompress(self, stored: Vec<u8>, raw_bytes: usize) -> Result<Vec<u8>, Corruption> {
        match self {
            Compression::None if stored.len() == raw_bytes => Ok(stored),
            Compression::None => {
                Err(Corruption("a stored section has another length than its directory says"))
            }
            Compression::Lz4 => {
                let reachable = (stored.len() as u64).saturating_mul(LZ4_MAX_RATIO);
                if raw_bytes as u64 > reachable {
                    return Err(Corruption("a section claims more bytes than its compression can yield"));
                }
                decompress_lz4(&stored, raw_bytes)
            }
        }
    }
}

#[cfg(feature = "lz4")]
fn compress_lz4(raw: &[u8]) -> Vec<u8> {
    let mut packed = vec![0; lz4_flex::block::get_maximum_output_size(raw.len())];
    let len = lz4_flex::block::compress_into(raw, &mut packed).expect("the output has the greatest size");
    packed.truncate(len);
    packed
}

#[cfg(feature = "lz4")]
fn decompress_lz4(stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>, Corruption> {
    let mut raw = vec![0; raw_bytes];
    match lz4_flex::block::decompress_into(stored, &mut raw) {
        Ok(len) if len == raw_bytes => Ok(raw),
        _ => Err(Corruption("a section does not decompress")),
    }
}

#[cfg(not(feature = "lz4"))]
fn decompress_lz4(_stored: &[u8], _raw_bytes: usize) -> Result<Vec<u8>, Corruption> {
    Err(Corruption("LZ4 is not compiled in: enable feature `lz4`"))
}
