//! Tag, length, value: the encoding of everything that grows with time.
//!
//! A tag is one byte, a length four. Readers refuse unknown tags below [`TlvReader::OPTIONAL`] and skip those
//! at or above it.

use super::{Corruption, Reader};
use alloc::vec::Vec;

/// Writes fields.
#[derive(Default)]
pub struct TlvWriter {
    bytes: Vec<u8>,
}

impl TlvWriter {
    /// Without fields.
    pub fn new() -> TlvWriter {
        TlvWriter::default()
    }

    /// Adds a field.
    ///
    /// # Panics
    ///
    /// If the value exceeds 4 GiB, which no field does.
    pub fn bytes(&mut self, tag: u8, value: &[u8]) -> &mut TlvWriter {
        self.bytes.push(tag);
        let len = u32::try_from(value.len()).expect("a field is at most 4 GiB");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(value);
        self
    }

    /// Adds a number.
    pub fn u64(&mut self, tag: u8, value: u64) -> &mut TlvWriter {
        self.bytes(tag, &value.to_le_bytes())
    }

    /// The encoding.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads fields in the order they were written.
#[derive(Clone, Copy)]
pub struct TlvReader<'a> {
    fields: Reader<'a>,
}

impl<'a> TlvReader<'a> {
    /// Tags from here on may be skipped by readers that do not know them.
    pub const OPTIONAL: u8 = 0x80;

    /// Reads an encoding.
    pub const fn new(bytes: &'a [u8]) -> TlvReader<'a> {
        TlvReader { fields: Reader::new(bytes) }
    }

    /// The next field, `None` at the end.
    ///
    /// # Errors
    ///
    /// A field ends behind the encoding.
    pub fn next_field(&mut self) -> Result<Option<(u8, &'a [u8])>, Corruption> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let tag = self.fields.u8()?;
        Ok(Some((tag, self.fields.bytes_u32()?)))
    }

    /// What to do about a tag that is not known.
    ///
    /// # Errors
    ///
    /// It may not be skipped.
    pub fn unknown(tag: u8) -> Result<(), Corruption> {
        if tag >= Self::OPTIONAL { Ok(()) } else { Err(Corruption("a field of a later version is required")) }
    }

    /// A number out of a field.
    ///
    /// # Errors
    ///
    /// The field is not eight bytes long.
    pub fn as_u64(value: &[u8]) -> Result<u64, Corruption> {
        let bytes = value.try_into().map_err(|_| Corruption("a number is not eight bytes long"))?;
        Ok(u64::from_le_bytes(bytes))
    }
}
/// Sets a field that occurs once.
///
/// # Errors
///
/// It was set before.
pub(crate) fn once<T>(field: &mut Option<T>, value: T) -> Result<(), Corruption> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Corruption("a field is there twice")),
    }
}
