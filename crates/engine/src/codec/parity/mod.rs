//! Parity: redundancy behind what a file holds, from which damaged bytes are restored. Layout: `docs/format.md` §12.
//!
//! A file that is written once has its parity behind all of its content, in stripes that know nothing of blocks and
//! records: header, footer, and index are protected as everything else is, and a sector that cannot be read is one shard.
//! Reads without damage touch none of it. Where a checksum fails, [`Corrector`] restores the bytes, and the same checksum
//! says whether they are right.

mod correct;
mod layout;
#[cfg(feature = "parity")]
mod reed_solomon;
#[cfg(not(feature = "parity"))]
#[path = "no_reed_solomon.rs"]
mod reed_solomon;
mod sec_ded;
#[cfg(test)]
mod tests;
mod write;

pub use correct::{CleanCopies, CorrectionWatch, Corrector, ParityFinding, Rescue};
pub use layout::ParityTail;
pub use write::ParityWriter;

use crate::error::{Error, ErrorKind, Result};
use core::{fmt, ops::RangeInclusive};

/// How a file is protected against the decay of its medium.
///
/// | scheme                  | restores                                          | space                       |
/// |-------------------------|---------------------------------------------------|-----------------------------|
/// | `SecDed`                | one bit in each 8 bytes; two are told             | 12.5 %                      |
/// | `Xor { data }`          | one shard of 4 KiB among `data` and its parity    | 1 / `data`, and 0.2 %       |
/// | `ReedSolomon { data, parity }` | `parity` shards of 4 KiB of `data` and theirs | `parity` / `data`, and 0.2 % for each |
///
/// The codes: Hsiao's SEC-DED (72,64) (1970); parity of single shards; Reed-Solomon as built by Lin, Al-Naffouri, Han and
/// Chung (2014), by `reed-solomon-simd`, which makes tables of 8 MiB once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Parity {
    /// None.
    #[default]
    None,
    /// A byte for every 8.
    SecDed,
    /// One shard for so many.
    Xor {
        /// Shards of a stripe; within [`Parity::XOR_DATA`].
        data: u8,
    },
    /// Several shards for so many. Needs feature `parity`.
    ReedSolomon {
        /// Shards of a stripe; within [`Parity::RS_DATA`].
        data: u8,
        /// Shards of parity; within [`Parity::RS_PARITY`].
        parity: u8,
    },
    /// A scheme of a later version: what it protects is read, and cannot be corrected.
    Unknown {
        /// As in the file's header.
        raw: [u8; 3],
    },
}

impl Parity {
    /// What `data` of [`Parity::Xor`] may be.
    pub const XOR_DATA: RangeInclusive<u8> = 2..=255;
    /// What `data` of [`Parity::ReedSolomon`] may be.
    pub const RS_DATA: RangeInclusive<u8> = 1..=64;
    /// What `parity` of [`Parity::ReedSolomon`] may be; for one shard there is [`Parity::Xor`].
    pub const RS_PARITY: RangeInclusive<u8> = 2..=16;

    /// Whether files can be written and corrected so by this build.
    pub fn is_available(self) -> bool {
        match self {
            Parity::None | Parity::SecDed | Parity::Xor { .. } => true,
            Parity::ReedSolomon { .. } => reed_solomon::IS_AVAILABLE,
            Parity::Unknown { .. } => false,
        }
    }

    /// Says whether a file can be written so.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` outside of the bounds, `UnsupportedFeature` for what is not compiled in.
    pub fn validate(self) -> Result<()> {
        let out_of_bounds = |message: &'static str| Err(Error::new(ErrorKind::InvalidArgument, message));
        match self {
            Parity::Xor { data } if !Self::XOR_DATA.contains(&data) => {
                out_of_bounds("parity by XOR takes 2 to 255 shards of data")
            }
            Parity::ReedSolomon { data, .. } if !Self::RS_DATA.contains(&data) => {
                out_of_bounds("Reed-Solomon parity takes 1 to 64 shards of data")
            }
            Parity::ReedSolomon { parity, .. } if !Self::RS_PARITY.contains(&parity) => {
                out_of_bounds("Reed-Solomon parity has 2 to 16 shards; for one there is XOR")
            }
            scheme if !scheme.is_available() => {
                let message = "Reed-Solomon parity is not compiled in: enable feature `parity`";
                Err(Error::new(ErrorKind::UnsupportedFeature, message))
            }
            _ => Ok(()),
        }
    }

    /// As a file's header has it: scheme, shards of data, shards of parity. [`Parity::from_raw`] is the inverse.
    pub fn to_raw(self) -> [u8; 3] {
        match self {
            Parity::None => [0; 3],
            Parity::SecDed => [1, 0, 0],
            Parity::Xor { data } => [2, data, 1],
            Parity::ReedSolomon { data, parity } => [3, data, parity],
            Parity::Unknown { raw } => raw,
        }
    }

    /// Takes what a file's header has.
    pub fn from_raw(raw: [u8; 3]) -> Parity {
        match raw {
            [0, 0, 0] => Parity::None,
            [1, 0, 0] => Parity::SecDed,
            [2, data, 1] if Self::XOR_DATA.contains(&data) => Parity::Xor { data },
            [3, data, parity] if Self::RS_DATA.contains(&data) && Self::RS_PARITY.contains(&parity) => {
                Parity::ReedSolomon { data, parity }
            }
            raw => Parity::Unknown { raw },
        }
    }
}

/// `none`, `sec-ded`, `xor:16`, `rs:16+2`; as [`Parity::from_str`](core::str::FromStr) takes it.
impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parity::None => f.write_str("none"),
            Parity::SecDed => f.write_str("sec-ded"),
            Parity::Xor { data } => write!(f, "xor:{data}"),
            Parity::ReedSolomon { data, parity } => write!(f, "rs:{data}+{parity}"),
            Parity::Unknown { raw: [scheme, data, parity] } => write!(f, "unknown:{scheme}:{data}+{parity}"),
        }
    }
}

impl core::str::FromStr for Parity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Parity> {
        let parsed = match text {
            "none" => Some(Parity::None),
            "sec-ded" => Some(Parity::SecDed),
            _ => match text.split_once(':') {
                Some(("xor", data)) => data.parse().ok().map(|data| Parity::Xor { data }),
                Some(("rs", shards)) => shards.split_once('+').and_then(|(data, parity)| {
                    Some(Parity::ReedSolomon { data: data.parse().ok()?, parity: parity.parse().ok()? })
                }),
                _ => None,
            },
        };
        let message = "parity is none, sec-ded, xor:DATA, or rs:DATA+PARITY";
        let scheme = parsed.ok_or_else(|| Error::new(ErrorKind::InvalidArgument, message))?;
        scheme.validate()?;
        Ok(scheme)
    }
}
