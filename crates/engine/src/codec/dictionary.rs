//! Dictionaries of Zstandard: what sections of a file are compressed against, prepared once for many of them.
//!
//! Knows nothing of the files that dictionaries lie in; those are `crate::dictionary`'s.

use super::{Compression, Corruption, checksum::digest, keys::Seal, zstd};
use crate::types::DictionaryId;
use alloc::{sync::Arc, vec::Vec};
use core::{fmt, ops::RangeInclusive};

/// A dictionary, ready for reading what was compressed against it.
pub struct Dictionary {
    id: DictionaryId,
    content: Vec<u8>,
    reading: zstd::Reading,
    saved_permille: u16,
    seal: Option<Seal>,
}

impl Dictionary {
    /// Sizes that one may be asked to have, in bytes.
    pub const BYTES: RangeInclusive<u32> = 1 << 10..=1 << 20;

    /// Prepares a dictionary. `saved_permille` says what it was good for when it was trained.
    ///
    /// # Errors
    ///
    /// The content is none that was trained, or is longer than the bound of [`Dictionary::BYTES`]; always if
    /// Zstandard is not compiled in.
    pub fn new(content: Vec<u8>, saved_permille: u16) -> Result<Dictionary, Corruption> {
        if content.len() > *Self::BYTES.end() as usize {
            return Err(Corruption("a dictionary is longer than the longest"));
        }
        let reading = zstd::Reading::new(&content)?;
        Ok(Dictionary { id: Self::id_of(&content), content, reading, saved_permille, seal: None })
    }

    /// The id of a dictionary with this content.
    pub fn id_of(content: &[u8]) -> DictionaryId {
        DictionaryId(digest(content))
    }

    /// Its id.
    pub fn id(&self) -> DictionaryId {
        self.id
    }

    /// What it consists of.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// How many thousandths it took, when it was trained, off what Zstandard makes of pages without it.
    pub fn saved_permille(&self) -> u16 {
        self.saved_permille
    }

    /// The same dictionary, of which something else is known now: see [`Dictionary::saved_permille`].
    #[must_use]
    pub fn saving(self, saved_permille: u16) -> Dictionary {
        Dictionary { saved_permille, ..self }
    }

    /// The same dictionary, whose file is sealed so.
    #[must_use]
    pub fn sealed_as(self, seal: Option<Seal>) -> Dictionary {
        Dictionary { seal, ..self }
    }

    /// How its file is sealed, if it is.
    pub fn seal(&self) -> Option<Seal> {
        self.seal
    }

    /// Memory that it takes, in bytes.
    pub fn resident_bytes(&self) -> usize {
        size_of::<Dictionary>() + self.content.len() + self.reading.resident_bytes()
    }

    pub(super) fn decompress(&self, stored: &[u8], raw_bytes: usize) -> Result<Vec<u8>, Corruption> {
        self.reading.decompress(stored, raw_bytes)
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A dictionary, ready for compressing against it at one level.
pub struct WritingDictionary {
    id: DictionaryId,
    writing: zstd::Writing,
}

impl WritingDictionary {
    /// Prepares a dictionary. `None` for a compression other than Zstandard's, and for want of memory.
    pub fn new(dictionary: &Dictionary, compression: Compression) -> Option<WritingDictionary> {
        let Compression::Zstd { level } = compression else { return None };
        let writing = zstd::Writing::new(&dictionary.content, level)?;
        Some(WritingDictionary { id: dictionary.id, writing })
    }

    /// Which it is.
    pub fn id(&self) -> DictionaryId {
        self.id
    }

    pub(super) fn compress(&self, raw: &[u8]) -> Option<Vec<u8>> {
        self.writing.compress(raw)
    }
}

impl fmt::Debug for WritingDictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritingDictionary").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The dictionary of a file.
#[derive(Clone, Default, Debug)]
pub enum FileDictionary {
    /// It has none.
    #[default]
    None,
    /// It is read.
    Reading(Arc<Dictionary>),
    /// It is written.
    Writing(Arc<WritingDictionary>),
}

/// Trains a dictionary of at most `bytes` bytes on samples of these lengths, which lie one behind the other. The same
/// samples make the same dictionary. `None` if they are too few or have nothing in common, or if Zstandard is not
/// compiled in.
///
/// Zstandard's "fast cover" (after Liao, Petri, Moffat, Wirth 2016), with its parameters searched for: about 0.1 s of
/// work for a MiB of samples.
///
/// # Panics
///
/// If the lengths do not add up to the samples.
pub fn train(samples: &[u8], lengths: &[usize], bytes: usize) -> Option<Vec<u8>> {
    zstd::train(samples, lengths, bytes)
}
