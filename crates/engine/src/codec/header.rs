//! The clear header that every file starts with. Layout: `docs/format.md` §1.

use super::{
    Corruption, Parity, Reader,
    checksum::digest,
    keys::{KeyId, Seal},
};
use crate::{
    error::{Error, ErrorKind},
    types::Uuid,
};
use alloc::format;

/// Size of a file header.
pub const HEADER_BYTES: usize = 64;

/// Version of all formats. Until 0.1 it is `0x8000 + n` and every other version is refused.
pub const FORMAT_VERSION: u16 = 0x8003;

const MAGIC: [u8; 4] = *b"ISOP";
/// Checksums are XXH3-64, bound to their place.
const CHECKSUM_XXH3_BOUND: u8 = 1;

/// What a file is. The numbers are on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[repr(u8)]
pub enum FileKind {
    /// Birth certificate of a store.
    Identity = 1,
    /// Log of edits.
    Manifest = 2,
    /// Log segment of the layer above.
    Log = 3,
    /// Sorted blocks.
    Table = 4,
    /// Separated values.
    Blob = 5,
    /// Compression dictionary.
    Dictionary = 6,
    /// Birth certificate of a place beside the store's directory.
    Place = 7,
}

impl FileKind {
    fn from_raw(raw: u8) -> Option<FileKind> {
        Some(match raw {
            1 => FileKind::Identity,
            2 => FileKind::Manifest,
            3 => FileKind::Log,
            4 => FileKind::Table,
            5 => FileKind::Blob,
            6 => FileKind::Dictionary,
            7 => FileKind::Place,
            _ => return None,
        })
    }
}

/// First 64 bytes of every file, never encrypted.
///
/// | bytes  | field                                                        |
/// |--------|--------------------------------------------------------------|
/// | 0..4   | magic `ISOP`                                                 |
/// | 4      | file kind                                                    |
/// | 5      | checksum id: 1 = XXH3-64 bound to its place                  |
/// | 6..8   | format version                                               |
/// | 8..24  | uuid of the file                                             |
/// | 24..40 | uuid of the database                                         |
/// | 40..48 | key id, 0 = not encrypted                                    |
/// | 48..51 | parity scheme, data shards, parity shards; 0 0 0 = none      |
/// | 51..60 | cipher and check value of the key; 0 = not encrypted         |
/// | 60..64 | low half of XXH3-64 of bytes 0..60                           |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileHeader {
    /// What the file is.
    pub kind: FileKind,
    /// Its own identity.
    pub file: Uuid,
    /// The database it belongs to.
    pub database: Uuid,
    /// How the rest is sealed, if it is.
    pub seal: Option<Seal>,
    /// What lies behind all of it, and corrects it.
    pub parity: Parity,
}

/// Why a header is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// It does not begin as our files do.
    Foreign,
    /// Another version of the format.
    Version(u16),
    /// Sealed with a cipher that is not in this build, or with parity where this format has none.
    Protected,
    /// Damaged.
    Corrupt(Corruption),
}

impl FileHeader {
    /// The header of a file that is not sealed and has no parity.
    pub const fn clear(kind: FileKind, file: Uuid, database: Uuid) -> FileHeader {
        FileHeader { kind, file, database, seal: None, parity: Parity::None }
    }

    /// Encodes the header; [`FileHeader::decode`] is its inverse.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.kind as u8;
        bytes[5] = CHECKSUM_XXH3_BOUND;
        bytes[6..8].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.file.0);
        bytes[24..40].copy_from_slice(&self.database.0);
        bytes[48..51].copy_from_slice(&self.parity.to_raw());
        if let Some(seal) = &self.seal {
            let [key @ .., c, x0, x1, x2, x3, x4, x5, x6, x7] = seal.encode();
            bytes[40..48].copy_from_slice(&key);
            bytes[51..60].copy_from_slice(&[c, x0, x1, x2, x3, x4, x5, x6, x7]);
        }
        let check = check_of(&bytes);
        bytes[60..].copy_from_slice(&check);
        bytes
    }

    /// Decodes a header.
    ///
    /// # Errors
    ///
    /// The version is judged before the rest, so that files of a later format are named as such.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<FileHeader, HeaderError> {
        let mut fields = Reader::new(bytes);
        let decoded = (|| {
            let magic: [u8; 4] = fields.array()?;
            let kind = fields.u8()?;
            let checksum = fields.u8()?;
            let version = fields.u16()?;
            let file = Uuid(fields.array()?);
            let database = Uuid(fields.array()?);
            let key: [u8; 8] = fields.array()?;
            let parity: [u8; 3] = fields.array()?;
            let cipher: [u8; 9] = fields.array()?;
            Ok((magic, kind, checksum, version, file, database, key, parity, cipher))
        })();
        let (magic, kind, checksum, version, file, database, key, parity, cipher) =
            decoded.map_err(HeaderError::Corrupt)?;
        if magic != MAGIC {
            return Err(HeaderError::Foreign);
        }
        if check_of(bytes) != bytes[60..] {
            return Err(HeaderError::Corrupt(Corruption("the file header fails its checksum")));
        }
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        let seal = match (key, cipher) {
            ([0, 0, 0, 0, 0, 0, 0, 0], [0, ..]) if cipher == [0; 9] => None,
            _ => Some(decode_seal(key, cipher)?),
        };
        let kind = FileKind::from_raw(kind).ok_or(HeaderError::Corrupt(Corruption("unknown file kind")))?;
        if checksum != CHECKSUM_XXH3_BOUND {
            return Err(HeaderError::Corrupt(Corruption("reserved bytes of the file header are in use")));
        }
        let parity = Parity::from_raw(parity);
        match kind {
            FileKind::Table | FileKind::Blob => {}
            _ if parity == Parity::None => {}
            _ => return Err(HeaderError::Protected),
        }
        Ok(FileHeader { kind, file, database, seal, parity })
    }
}

/// The error of a file whose header is refused.
pub fn header_error(error: HeaderError, name: &str) -> Error {
    match error {
        HeaderError::Foreign => Error::corrupt(name, 0, "the file does not begin as a file of Isopach"),
        HeaderError::Corrupt(why) => Error::corrupt(name, 0, why),
        HeaderError::Version(found) => {
            let message =
                format!("format version {found:#06x}; this program reads {FORMAT_VERSION:#06x} only");
            Error::new(ErrorKind::UnsupportedFormat, message).in_file(name)
        }
        HeaderError::Protected => {
            let message =
                "sealed with a cipher, or protected by parity, in a way that this program does not know";
            Error::new(ErrorKind::UnsupportedFeature, message).in_file(name)
        }
    }
}

fn decode_seal(key: [u8; 8], cipher: [u8; 9]) -> Result<Seal, HeaderError> {
    let mut bytes = [0; Seal::ENCODED_BYTES];
    bytes[..8].copy_from_slice(&key);
    bytes[8..].copy_from_slice(&cipher);
    match Seal::decode(bytes) {
        Some(seal) => Ok(seal),
        None if KeyId(u64::from_le_bytes(key)) == KeyId::CLEAR => {
            Err(HeaderError::Corrupt(Corruption("the file header names a cipher and no key")))
        }
        None => Err(HeaderError::Protected),
    }
}

fn check_of(bytes: &[u8; HEADER_BYTES]) -> [u8; 4] {
    let [a, b, c, d, ..] = digest(&bytes[..60]).to_le_bytes();
    [a, b, c, d]
}
