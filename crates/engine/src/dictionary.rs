//! Compression dictionaries as files, and when one is worth having. Layout: `docs/format.md` §8.
//!
//! | at    | what                                                                     |
//! |-------|--------------------------------------------------------------------------|
//! | 0     | file header, 64 bytes; the uuid of the file is made of the dictionary's id |
//! | 64    | one frame of two sections, not compressed: facts as TLV, then the content |
//!
//! A file is named by its content and never changes. Which dictionaries a store has is `version::Dictionaries`'; when
//! one is trained, `tree`'s. This module writes nothing.

mod trial;

pub use trial::{Samples, Trial};

use crate::{
    codec::{
        BlockKind, Codec, Compression, Corruption, Dictionary, FileCodec, FileHeader, FileKind, HEADER_BYTES,
        Keyring, Owner, Reader, Seal, Section, TAG_BYTES, TlvReader, TlvWriter, decode_block, encode_block,
        header_error,
    },
    env::{Fs, IoErrorKind, OpenMode},
    error::{Error, ErrorKind},
    types::{DictionaryId, Uuid},
};
use alloc::{format, string::String, vec, vec::Vec};

/// Directory of the dictionaries, relative to the root.
pub const DICTIONARIES_DIR: &str = "dictionaries";

/// Size of the longest file, in bytes: what is around the longest content is short.
const MAX_FILE_BYTES: u64 = *Dictionary::BYTES.end() as u64 + 4096;

/// Field of the facts: see [`Dictionary::saved_permille`].
const SAVED_PERMILLE: u8 = 1;

/// Name of a dictionary's file, relative to the root.
pub fn file_name(id: DictionaryId) -> String {
    format!("{DICTIONARIES_DIR}/{}", base_name(id))
}

/// Name of a dictionary's file in its directory.
pub fn base_name(id: DictionaryId) -> String {
    format!("{id}.dict")
}

/// The id of the dictionary whose file has this name; `None` for other files.
pub fn id_of(name: &str) -> Option<DictionaryId> {
    let digits = name.strip_prefix(DICTIONARIES_DIR)?.strip_prefix('/')?.strip_suffix(".dict")?;
    let id = DictionaryId(u64::from_str_radix(digits, 16).ok()?);
    (file_name(id) == name).then_some(id)
}

/// What a table says of its dictionary.
///
/// | bytes  | field                      |
/// |--------|----------------------------|
/// | 0..8   | id                         |
/// | 8..16  | size of the file, in bytes |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DictionaryHandle {
    /// Which it is.
    pub id: DictionaryId,
    /// Size of its file.
    pub bytes: u64,
}

impl DictionaryHandle {
    /// Size of the encoding.
    pub const ENCODED_BYTES: usize = 16;

    /// Encodes the handle; [`DictionaryHandle::decode`] is its inverse.
    pub fn encode(self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[..8].copy_from_slice(&self.id.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    /// Decodes a handle.
    ///
    /// # Errors
    ///
    /// No dictionary's file has this size.
    pub fn decode(bytes: [u8; Self::ENCODED_BYTES]) -> Result<DictionaryHandle, Corruption> {
        let mut fields = Reader::new(&bytes);
        let handle = DictionaryHandle { id: DictionaryId(fields.u64()?), bytes: fields.u64()? };
        if (HEADER_BYTES as u64..=MAX_FILE_BYTES).contains(&handle.bytes) {
            Ok(handle)
        } else {
            Err(Corruption("a dictionary has a size that none has"))
        }
    }
}

/// Reads the file of a dictionary under whatever name, checks every byte, and that it is the one that is asked for.
/// Returns the file's header as well.
///
/// # Errors
///
/// `MissingDictionary`, `Corruption`, `UnsupportedFormat`; `UnsupportedFeature` without Zstandard; those of
/// [`Keyring::check`]; the backend's.
pub fn read_file(
    fs: &dyn Fs,
    name: &str,
    handle: DictionaryHandle,
    keys: &Keyring,
) -> Result<(Dictionary, FileHeader), Error> {
    if !Codec::ZstdDictionary.is_available() {
        let message = "dictionaries need Zstandard, which is not compiled in: enable feature `zstd`";
        return Err(Error::new(ErrorKind::UnsupportedFeature, message).in_file(name));
    }
    let io = |doing: &'static str| move |error| Error::io(error, doing, name);
    let file = fs.open(name, OpenMode::Read).map_err(|error| match error.kind() {
        IoErrorKind::NotFound => {
            Error::new(ErrorKind::MissingDictionary, "the dictionary is missing").in_file(name)
        }
        _ => io("open")(error),
    })?;
    let file_bytes = file.size_bytes().map_err(io("measure"))?;
    if file_bytes != handle.bytes {
        let why =
            format!("the file has {file_bytes} bytes, not {}, as tables that need it say", handle.bytes);
        return Err(Error::corrupt(name, 0, why));
    }
    // Its bound was checked with the handle.
    let mut bytes = vec![0; usize::try_from(file_bytes).expect("a dictionary is short")];
    file.read_exact_at(0, &mut bytes).map_err(io("read"))?;
    let (dictionary, header) = decode_file(&bytes, name, keys)?;
    if dictionary.id() != handle.id {
        return Err(Error::corrupt(name, 8, "the file is another dictionary than the one of its name"));
    }
    Ok((dictionary, header))
}

/// The uuid of a dictionary's file that is not sealed: its id, and zeros.
pub fn uuid_of(id: DictionaryId) -> Uuid {
    sealed_uuid_of(id, Uuid::default())
}

/// The uuid of one that is sealed: its id, and half of a uuid that was drawn, so that one that is trained again is another
/// file, under a key of its own.
fn sealed_uuid_of(id: DictionaryId, drawn: Uuid) -> Uuid {
    let mut uuid = drawn;
    uuid.0[..8].copy_from_slice(&id.0.to_le_bytes());
    uuid
}

/// The bytes of a dictionary's file, and how they are sealed; [`decode_file`] is the inverse. `drawn` is a random uuid.
///
/// # Errors
///
/// Those of [`Keyring::current`].
pub fn encode_file(
    dictionary: &Dictionary,
    drawn: Uuid,
    owner: impl Into<Owner>,
) -> Result<(Vec<u8>, Option<Seal>), Error> {
    let Owner { database, keys } = owner.into();
    let seal = keys.current(database)?;
    let file = if seal.is_some() { sealed_uuid_of(dictionary.id(), drawn) } else { uuid_of(dictionary.id()) };
    let header = FileHeader { seal, ..FileHeader::clear(FileKind::Dictionary, file, database) };
    let codec = keys.codec(&header)?;
    Ok((encode_parts(dictionary.content(), dictionary.saved_permille(), &header, &codec), seal))
}

/// Size of a dictionary's file. Nothing is sealed for it: under a uuid that is not drawn that must not be done twice.
pub(crate) fn file_bytes(dictionary: &Dictionary, is_sealed: bool) -> u64 {
    const SECTIONS: usize = 2;
    let header = FileHeader::clear(FileKind::Dictionary, uuid_of(dictionary.id()), Uuid::default());
    let codec = FileCodec::clear(header.file);
    let clear = encode_parts(dictionary.content(), dictionary.saved_permille(), &header, &codec).len();
    (clear + if is_sealed { SECTIONS * TAG_BYTES } else { 0 }) as u64
}

fn encode_parts(content: &[u8], saved_permille: u16, header: &FileHeader, codec: &FileCodec) -> Vec<u8> {
    let mut facts = TlvWriter::new();
    facts.u64(SAVED_PERMILLE, saved_permille.into());
    let facts = facts.finish();
    let section = |raw| Section { raw, compression: Compression::None };
    let mut bytes = Vec::from(header.encode());
    let sections = [section(&facts), section(content)];
    encode_block(&mut bytes, BlockKind::Dictionary, codec, HEADER_BYTES as u64, &sections);
    bytes
}

/// The dictionary out of all bytes of its file, and the file's header. Every byte is checked, and
/// that the content has the id that the header has.
///
/// # Errors
///
/// `Corruption`, `UnsupportedFormat`, `UnsupportedFeature`, with the place in `file`.
pub fn decode_file(bytes: &[u8], file: &str, keys: &Keyring) -> Result<(Dictionary, FileHeader), Error> {
    let (content, saved_permille, header) = decode_parts(bytes, file, keys)?;
    let dictionary = Dictionary::new(content, saved_permille).map(|read| read.sealed_as(header.seal));
    Ok((dictionary.map_err(|why| Error::corrupt(file, HEADER_BYTES as u64, why))?, header))
}

fn decode_parts(bytes: &[u8], file: &str, keys: &Keyring) -> Result<(Vec<u8>, u16, FileHeader), Error> {
    let at_header = |why: &str| Error::corrupt(file, 0, why);
    let start = bytes.first_chunk().ok_or_else(|| at_header("the file is too short for a dictionary"))?;
    let header = FileHeader::decode(start).map_err(|why| header_error(why, file))?;
    if header.kind != FileKind::Dictionary {
        return Err(at_header("the file is no dictionary"));
    }
    let at_frame = |why| Error::corrupt(file, HEADER_BYTES as u64, why);
    let frame = &bytes[HEADER_BYTES..];
    let codec = keys.codec(&header).map_err(|error| error.in_file(file))?;
    let sections = decode_block(frame, BlockKind::Dictionary, &codec, HEADER_BYTES as u64);
    let [facts, content] = <[Vec<u8>; 2]>::try_from(sections.map_err(at_frame)?)
        .map_err(|_| at_frame(Corruption("a dictionary has not two sections")))?;
    if header.file.0[..8] != Dictionary::id_of(&content).0.to_le_bytes() {
        return Err(at_frame(Corruption("the content of a dictionary is not the one that it is named by")));
    }
    Ok((content, decode_facts(&facts).map_err(at_frame)?, header))
}

fn decode_facts(facts: &[u8]) -> Result<u16, Corruption> {
    let mut saved_permille = None;
    let mut fields = TlvReader::new(facts);
    while let Some((tag, value)) = fields.next_field()? {
        match tag {
            SAVED_PERMILLE if saved_permille.is_none() => saved_permille = Some(TlvReader::as_u64(value)?),
            SAVED_PERMILLE => return Err(Corruption("a field is there twice")),
            unknown => TlvReader::unknown(unknown)?,
        }
    }
    let saved = saved_permille.and_then(|saved| u16::try_from(saved).ok()).filter(|&saved| saved <= 1000);
    saved.ok_or(Corruption("a dictionary does not say what it saves"))
}

#[cfg(test)]
mod tests;
