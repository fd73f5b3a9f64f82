//! How the bytes of one file are protected: its salt, its dictionary, sealing, and what corrects them.
//!
//! Order: encode, compress, seal, checksum, parity. Parity lies behind the whole file; wherever a checksum fails,
//! [`FileCodec::retry`] asks it.

use super::{Corrector, Corruption, checksum::Salt, dictionary::FileDictionary, sealer::Sealer};
use crate::types::Uuid;
use alloc::{borrow::Cow, sync::Arc, vec::Vec};
use core::fmt;

/// Size of what authenticates a section or a record, behind it.
pub const TAG_BYTES: usize = 16;

/// Encryption of sections and records.
#[derive(Clone)]
#[non_exhaustive]
pub enum Sealing {
    /// Bytes are stored as they are.
    Clear,
    /// Bytes are encrypted, and a tag follows.
    Sealed(Arc<Sealer>),
}

impl Sealing {
    /// Whether bytes are stored as they are.
    pub fn is_clear(&self) -> bool {
        matches!(self, Sealing::Clear)
    }

    /// By how many bytes what is sealed is longer.
    pub fn added_bytes(&self) -> usize {
        match self {
            Sealing::Clear => 0,
            Sealing::Sealed(_) => TAG_BYTES,
        }
    }

    /// Seals what `out` has from `start` on, and which will lie at `offset`, once and for all. `context` is what must be
    /// the same when it is opened.
    pub fn seal(&self, out: &mut Vec<u8>, start: usize, offset: u64, context: &[u8]) {
        if let Sealing::Sealed(sealer) = self {
            let tag = sealer.seal(&mut out[start..], offset, context);
            out.extend_from_slice(&tag);
        }
    }

    /// The inverse of [`Sealing::seal`], of what lay at `offset`.
    ///
    /// # Errors
    ///
    /// The bytes were altered or moved.
    pub fn open<'a>(
        &self,
        bytes: impl Into<Cow<'a, [u8]>>,
        offset: u64,
        context: &[u8],
    ) -> Result<Cow<'a, [u8]>, Corruption> {
        let bytes = bytes.into();
        if self.is_clear() {
            return Ok(bytes);
        }
        self.open_behind(bytes.into_owned(), 0, offset, context).map(Cow::Owned)
    }

    /// As [`Sealing::open`], of what lies behind the first `start` of these bytes, which stay before it.
    ///
    /// # Errors
    ///
    /// As [`Sealing::open`].
    pub fn open_behind(
        &self,
        mut bytes: Vec<u8>,
        start: usize,
        offset: u64,
        context: &[u8],
    ) -> Result<Vec<u8>, Corruption> {
        if let Sealing::Sealed(sealer) = self {
            let sealed = &mut bytes[start..];
            let Some((sealed, tag)) = sealed.split_last_chunk_mut() else {
                return Err(Corruption("sealed bytes are shorter than their tag"));
            };
            sealer.open(sealed, tag, offset, context)?;
            bytes.truncate(bytes.len() - TAG_BYTES);
        }
        Ok(bytes)
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_clear() { "Clear" } else { "Sealed(..)" })
    }
}

/// What framing needs to know of a file.
#[derive(Clone, Debug)]
pub struct FileCodec {
    /// Binds checksums to the file.
    pub salt: Salt,
    /// Encrypts.
    pub sealing: Sealing,
    /// Corrects, if the file has parity.
    pub corrector: Option<Arc<Corrector>>,
    /// What sections are compressed against.
    pub dictionary: FileDictionary,
}

impl FileCodec {
    /// Neither sealed nor protected by parity, and without a dictionary.
    pub fn clear(file: Uuid) -> FileCodec {
        FileCodec {
            salt: Salt::of(file),
            sealing: Sealing::Clear,
            corrector: None,
            dictionary: FileDictionary::None,
        }
    }

    /// As [`FileCodec::clear`], sealed.
    pub(super) fn sealed(file: Uuid, sealer: Sealer) -> FileCodec {
        FileCodec { sealing: Sealing::Sealed(Arc::new(sealer)), ..FileCodec::clear(file) }
    }

    /// What `check` makes of bytes that lay at `offset`. If it does not take them, of what parity restores there; the error
    /// is that of the bytes as they are.
    pub(crate) fn retry<T>(
        &self,
        bytes: &[u8],
        offset: u64,
        check: impl Fn(&[u8]) -> Result<T, Corruption>,
    ) -> Result<T, Corruption> {
        check(bytes).or_else(|why| self.corrected(bytes.len(), offset, check).ok_or(why))
    }

    /// As [`FileCodec::retry`], of so many bytes that were found wrong.
    #[cold]
    pub(crate) fn corrected<T>(
        &self,
        bytes: usize,
        offset: u64,
        check: impl Fn(&[u8]) -> Result<T, Corruption>,
    ) -> Option<T> {
        self.corrector.as_ref()?.retry(offset..offset.saturating_add(bytes as u64), check)
    }
}
