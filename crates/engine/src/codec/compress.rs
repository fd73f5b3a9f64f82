//! Compression of sections.

use super::{Corruption, dictionary::FileDictionary, zstd};
#[cfg(feature = "lz4")]
use alloc::vec;
use alloc::{borrow::Cow, vec::Vec};
use core::fmt;

/// How sections are to be compressed. Which compression a section has is its [`Codec`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Stored as they are.
    None,
    /// LZ4 blocks. Needs feature `lz4`.
    #[default]
    Lz4,
    /// Zstandard frames. Needs feature `zstd`.
    Zstd {
        /// -7 (fast) to 22 (small); 0 is 3, Zstandard's own default.
        level: i8,
    },
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::None => f.write_str("none"),
            Compression::Lz4 => f.write_str("lz4"),
            Compression::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}

impl Compression {
    /// Levels that Zstandard has, as far as they are of use for pages of some KiB.
    pub const ZSTD_LEVELS: core::ops::RangeInclusive<i8> = -7..=22;

    /// Size of the encoding.
    pub const ENCODED_BYTES: usize = 2;

    /// Encodes it: the number of its codec, and its level. [`Compression::decode`] is the inverse.
    pub const fn encode(self) -> [u8; Self::ENCODED_BYTES] {
        let level = match self {
            Compression::None | Compression::Lz4 => 0,
            Compression::Zstd { level } => level,
        };
        [self.codec().to_raw(), level.to_le_bytes()[0]]
    }

    /// The inverse of [`Compression::encode`].
    pub fn decode([codec, level]: [u8; Self::ENCODED_BYTES]) -> Option<Compression> {
        let level = i8::from_le_bytes([level]);
        match Codec::from_raw(codec)? {
            Codec::None if level == 0 => Some(Compression::None),
            Codec::Lz4 if level == 0 => Some(Compression::Lz4),
            Codec::Zstd if Self::ZSTD_LEVELS.contains(&level) => Some(Compression::Zstd { level }),
            _ => None,
        }
    }

    /// What it leads to, if that is worth it.
    pub const fn codec(self) -> Codec {
        match self {
            Compression::None => Codec::None,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd { .. } => Codec::Zstd,
        }
    }

    /// Whether this build can do it.
    pub const fn is_available(self) -> bool {
        self.codec().is_available()
    }

    /// Compresses, and says how: what does not save an eighth is stored as it is.
    pub fn compress(self, raw: &[u8]) -> (Codec, Cow<'_, [u8]>) {
        let packed: Option<Vec<u8>> = match self {
            _ if raw.is_empty() => None,
            #[cfg(feature = "lz4")]
            Compression::Lz4 => Some(compress_lz4(raw)),
            Compression::Zstd { level } => zstd::compress(raw, level),
            _ => None,
        };
        unless_too_long(raw, self.codec(), packed)
    }

    /// As [`Compression::compress`], for a file that has a dictionary: what Zstandard compresses is compressed
    /// against it.
    pub fn compress_in<'a>(self, raw: &'a [u8], dictionary: &FileDictionary) -> (Codec, Cow<'a, [u8]>) {
        match (self, dictionary) {
            (Compression::Zstd { .. }, FileDictionary::Writing(dictionary)) if !raw.is_empty() => {
                unless_too_long(raw, Codec::ZstdDictionary, dictionary.compress(raw))
            }
            _ => self.compress(raw),
        }
    }
}

/// What was made of `raw`, or `raw` as it is if that does not save an eighth.
fn unless_too_long(raw: &[u8], codec: Codec, packed: Option<Vec<u8>>) -> (Codec, Cow<'_, [u8]>) {
    match packed.filter(|packed| packed.len() <= raw.len() - raw.len() / 8) {
        Some(packed) => (codec, Cow::Owned(packed)),
        None => (Codec::None, Cow::Borrowed(raw)),
    }
}

/// How a section is compressed. The numbers of [`Codec::to_raw`] are on disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Codec {
    /// Stored as it is.
    None,
    /// One LZ4 block. Needs feature `lz4`.
    Lz4,
    /// One Zstandard frame that says its content's size. Needs feature `zstd`.
    Zstd,
    /// As [`Codec::Zstd`], compressed against the dictionary of the file that it lies in.
    ZstdDictionary,
}

impl Codec {
    /// The number on disk.
    pub const fn to_raw(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
            Codec::ZstdDictionary => 3,
        }
    }

    /// The inverse of [`Codec::to_raw`].
    pub const fn from_raw(raw: u8) -> Option<Codec> {
        match raw {
            0 => Some(Codec::None),
            1 => Some(Codec::Lz4),
            2 => Some(Codec::Zstd),
            3 => Some(Codec::ZstdDictionary),
            _ => None,
        }
    }

    /// Whether this build can do it.
    pub const fn is_available(self) -> bool {
        match self {
            Codec::None => true,
            Codec::Lz4 => cfg!(feature = "lz4"),
            Codec::Zstd | Codec::ZstdDictionary => cfg!(feature = "zstd"),
        }
    }

    /// At most so many bytes come out of one.
    const fn max_ratio(self) -> u64 {
        match self {
            Codec::None => 1,
            Codec::Lz4 => 255,
            // A block of one byte repeated: 4 bytes that yield 128 KiB.
            Codec::Zstd | Codec::ZstdDictionary => 32 << 10,
        }
    }

    /// The inverse of [`Compression::compress`].
    ///
    /// # Errors
    ///
    /// As [`Codec::decompress_in`], of a file without a dictionary.
    pub fn decompress(self, stored: Vec<u8>, raw_bytes: usize) -> Result<Vec<u8>, Corruption> {
        self.decompress_in(stored, raw_bytes, &FileDictionary::None)
    }

    /// The inverse of [`Compression::compress_in`].
    ///
    /// # Errors
    ///
    /// The bytes are not `raw_bytes` long once decompressed, or cannot be, for one because the file has no
    /// dictionary. Nothing is allocated for a length that the codec cannot reach from this input.
    pub fn decompress_in<'a>(
        self,
        stored: impl Into<Cow<'a, [u8]>>,
        raw_bytes: usize,
        dictionary: &FileDictionary,
    ) -> Result<Vec<u8>, Corruption> {
        let stored = stored.into();
        if raw_bytes as u64 > (stored.len() as u64).saturating_mul(self.max_ratio()) {
            return Err(Corruption("a section claims more bytes than its compression can yield"));
        }
        match self {
            Codec::None if stored.len() == raw_bytes => Ok(stored.into_owned()),
            Codec::None => Err(Corruption("a stored section has another length than its directory says")),
            #[cfg(feature = "lz4")]
            Codec::Lz4 => decompress_lz4(&stored, raw_bytes),
            #[cfg(not(feature = "lz4"))]
            Codec::Lz4 => Err(Corruption("LZ4 is not compiled in: enable feature `lz4`")),
            Codec::Zstd => zstd::decompress(&stored, raw_bytes),
            Codec::ZstdDictionary => match dictionary {
                FileDictionary::Reading(dictionary) => dictionary.decompress(&stored, raw_bytes),
                _ => Err(Corruption("a section needs a dictionary, and its file names none")),
            },
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
