//! How the bytes of one file are protected: its salt, its dictionary, and where sealing and parity act.
//!
//! Order: encode, compress, seal, checksum, parity. Sealing and parity are the identity in this build; every
//! frame passes through them, so that a file kind cannot forget them.

use super::{Corruption, checksum::Salt, dictionary::FileDictionary};
use crate::types::Uuid;
use alloc::vec::Vec;

/// Encryption of sections and records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Sealing {
    /// Bytes are stored as they are.
    Clear,
}

impl Sealing {
    /// Seals `bytes`, which will lie at `offset`, once and for all.
    pub fn seal(self, bytes: Vec<u8>, _offset: u64) -> Vec<u8> {
        match self {
            Sealing::Clear => bytes,
        }
    }

    /// Whether bytes are stored as they are.
    pub fn is_clear(self) -> bool {
        self == Sealing::Clear
    }

    /// As [`Sealing::open`], of what lies behind the first `start` of these bytes, which stay before it.
    ///
    /// # Errors
    ///
    /// As [`Sealing::open`].
    pub fn open_behind(self, bytes: Vec<u8>, _start: usize, _offset: u64) -> Result<Vec<u8>, Corruption> {
        match self {
            Sealing::Clear => Ok(bytes),
        }
    }

    /// The inverse of [`Sealing::seal`].
    ///
    /// # Errors
    ///
    /// The bytes were altered or moved.
    pub fn open(self, bytes: Vec<u8>, _offset: u64) -> Result<Vec<u8>, Corruption> {
        match self {
            Sealing::Clear => Ok(bytes),
        }
    }
}

/// Redundancy behind blocks and records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Parity {
    /// No bytes follow.
    None,
}

impl Parity {
    /// Bytes of parity behind `payload_bytes` bytes.
    pub fn trailer_bytes(self, _payload_bytes: u64) -> u64 {
        match self {
            Parity::None => 0,
        }
    }

    /// Appends the parity of everything from `start` on.
    pub fn append(self, _frame: &mut Vec<u8>, _start: usize) {
        match self {
            Parity::None => {}
        }
    }
}

/// What framing needs to know of a file.
#[derive(Clone, Debug)]
pub struct FileCodec {
    /// Binds checksums to the file.
    pub salt: Salt,
    /// Encrypts.
    pub sealing: Sealing,
    /// Corrects.
    pub parity: Parity,
    /// What sections are compressed against.
    pub dictionary: FileDictionary,
}

impl FileCodec {
    /// Neither sealed nor protected by parity, and without a dictionary.
    pub fn clear(file: Uuid) -> FileCodec {
        FileCodec {
            salt: Salt::of(file),
            sealing: Sealing::Clear,
            parity: Parity::None,
            dictionary: FileDictionary::None,
        }
    }
}
