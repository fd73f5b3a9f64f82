//! Makes checksums right again, so that hostile bytes reach the decoders behind them. Layouts:
//! `docs/format.md`.
//!
//! Follows lengths and counts as far as they lead through the bytes, and leaves everything but checksums as
//! it is: a hostile length stays one, in a header that passes its check.

use isopach::engine::codec::{
    Checksum, Dictionary, HEADER_BYTES, RECORD_HEADER_BYTES, Salt, digest, record_bytes,
};
use isopach::engine::{blob, dictionary, table::FOOTER_BYTES, types::Uuid};

const BLOCK_HEADER_BYTES: usize = 24;
const SECTION_BYTES: usize = 17;

/// Of any file of a database: what it holds follows from its header.
pub fn file(bytes: &mut [u8]) {
    const MANIFEST: u8 = 2;
    const LOG: u8 = 3;
    const TABLE: u8 = 4;
    const BLOB: u8 = 5;
    const DICTIONARY: u8 = 6;
    if bytes.get(4) == Some(&DICTIONARY) {
        dictionary_id(bytes);
    }
    file_header(bytes);
    let Some(salt) = salt_of(bytes) else { return };
    match bytes[4] {
        MANIFEST | LOG => records(bytes, salt, HEADER_BYTES),
        TABLE => table(bytes, salt),
        BLOB => separated_values(bytes, salt),
        DICTIONARY => {
            frame(&mut bytes[HEADER_BYTES..], salt, HEADER_BYTES as u64);
        }
        _ => {}
    }
}

/// The id in the header of a dictionary's file, if it has two sections (section 8): that of its content.
fn dictionary_id(file: &mut [u8]) {
    let directory_at = HEADER_BYTES + BLOCK_HEADER_BYTES;
    let Some(length) = file.get(directory_at..).and_then(<[u8]>::first_chunk) else { return };
    let facts_bytes = u32::from_le_bytes(*length) as usize;
    let content_at = (directory_at + 2 * SECTION_BYTES).saturating_add(facts_bytes);
    if let Some(content) = file.get(content_at..) {
        let uuid = dictionary::uuid_of(Dictionary::id_of(content));
        file[8..24].copy_from_slice(&uuid.0);
    }
}

/// Of the header that every file begins with (section 1).
pub(super) fn file_header(bytes: &mut [u8]) {
    if let Some(header) = bytes.first_chunk_mut::<HEADER_BYTES>() {
        let check = digest(&header[..60]).to_le_bytes();
        header[60..].copy_from_slice(&check[..4]);
    }
}

/// What the checksums of a file are bound to, as its header says.
pub(super) fn salt_of(file: &[u8]) -> Option<Salt> {
    let header = file.first_chunk::<HEADER_BYTES>()?;
    Some(Salt::of(Uuid(header[8..24].try_into().expect("16 bytes"))))
}

/// Of records, one behind the other from `at` on (section 3). A payload that would end behind the file gets a
/// header that passes its check, and is the last.
pub(super) fn records(file: &mut [u8], salt: Salt, mut at: usize) {
    while let Some(header) = file.get(at..at + RECORD_HEADER_BYTES) {
        let payload_bytes = u32::from_le_bytes(header[..4].try_into().expect("four bytes"));
        if header.iter().all(|&byte| byte == 0) {
            return;
        }
        let payload_at = at + RECORD_HEADER_BYTES;
        let payload =
            usize::try_from(payload_bytes).ok().and_then(|len| file.get(payload_at..payload_at + len));
        let next = payload.map(|payload| at + record_bytes(payload.len()) as usize);
        if let Some(payload) = payload {
            let checksum = Checksum::of(payload, salt, at as u64).0.to_le_bytes();
            file[at + 16..at + 24].copy_from_slice(&checksum);
        }
        if let (Some(next), Some(payload_bytes)) = (next, usize::try_from(payload_bytes).ok()) {
            let end = next.min(file.len());
            file[payload_at + payload_bytes..end].fill(0); // Padding, which no checksum covers.
        }
        let check = Checksum::of(&file[at..at + 28], salt, at as u64).0.to_le_bytes();
        file[at + 28..at + 32].copy_from_slice(&check[..4]);
        match next {
            Some(next) => at = next,
            None => return,
        }
    }
}

/// Of a file of separated values: its records, one behind the other (section 10). One that would end behind the file
/// is the last.
fn separated_values(file: &mut [u8], salt: Salt) {
    let mut at = HEADER_BYTES;
    while let Some(header) = file.get(at..at + blob::RECORD_HEADER_BYTES) {
        let payload_bytes = u32::from_le_bytes(header[8..12].try_into().expect("four bytes")) as usize;
        let end = (at + blob::RECORD_HEADER_BYTES).saturating_add(payload_bytes);
        let Some(covered) = file.get(at + 8..end) else { return };
        let checksum = Checksum::of(covered, salt, at as u64).0.to_le_bytes();
        file[at..at + 8].copy_from_slice(&checksum);
        at = end;
    }
}

/// Of a table: its frames, one behind the other, and its footer (section 4).
fn table(file: &mut [u8], salt: Salt) {
    let Some(footer_at) = file.len().checked_sub(FOOTER_BYTES) else { return };
    let mut at = HEADER_BYTES;
    while at < footer_at && file[at..].starts_with(b"IB") {
        match frame(&mut file[at..footer_at], salt, at as u64) {
            Some(bytes) => at += bytes,
            None => break,
        }
    }
    let (covered, checksum) = file[footer_at..].split_at_mut(FOOTER_BYTES - 8);
    checksum.copy_from_slice(&Checksum::of(covered, salt, footer_at as u64).0.to_le_bytes());
}

/// Of the block frame that `bytes` begin with, which lies at `offset` of its file (section 2). Returns how
/// long it is, if it ends within the bytes; the checksums of a longer one are of what is there.
pub(super) fn frame(bytes: &mut [u8], salt: Salt, offset: u64) -> Option<usize> {
    let header = bytes.get(..BLOCK_HEADER_BYTES)?;
    let sections = usize::from(header[5]);
    let mut stored = [0; 8];
    stored[..6].copy_from_slice(&header[8..14]);
    let payload_at = BLOCK_HEADER_BYTES + sections * SECTION_BYTES;
    if bytes.len() < payload_at {
        return None;
    }
    let stored = usize::try_from(u64::from_le_bytes(stored)).unwrap_or(usize::MAX);
    let end = payload_at.saturating_add(stored).min(bytes.len());

    let mut section_at = payload_at;
    for entry in (BLOCK_HEADER_BYTES..payload_at).step_by(SECTION_BYTES) {
        let len = u32::from_le_bytes(bytes[entry..entry + 4].try_into().expect("four bytes"));
        let section_end = section_at.saturating_add(len as usize).min(end);
        let checksum = Checksum::of(&bytes[section_at..section_end], salt, offset + section_at as u64);
        bytes[entry + 9..entry + 17].copy_from_slice(&checksum.0.to_le_bytes());
        section_at = section_end;
    }
    let directory = digest(&bytes[BLOCK_HEADER_BYTES..payload_at]).to_le_bytes();
    let covered = [&bytes[..20], &directory].concat();
    let check = Checksum::of(&covered, salt, offset).0.to_le_bytes();
    bytes[20..24].copy_from_slice(&check[..4]);
    payload_at.checked_add(stored).filter(|len| *len <= bytes.len())
}
