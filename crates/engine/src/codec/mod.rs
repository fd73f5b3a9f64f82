//! Framing: bytes in memory to bytes on disk and back. Layouts: `docs/format.md`.
//!
//! Owns the primitives that every file shares: the 64-byte file header, position-bound checksums, block frames with their
//! section directory, log records, compression, sealing, parity. Knows nothing of what the bytes mean: each record's own
//! codec sits with its owner.

mod block;
mod checksum;
mod compress;
mod dictionary;
#[cfg(feature = "zstd")]
mod zstd;
#[cfg(not(feature = "zstd"))]
#[path = "no_zstd.rs"]
mod zstd;
#[cfg(test)]
pub(crate) mod golden;
mod header;
mod keys;
mod parity;
mod protect;
mod read;
mod record;
#[cfg(feature = "encryption-portable")]
mod sealer;
#[cfg(not(feature = "encryption-portable"))]
#[path = "no_sealer.rs"]
mod sealer;
#[cfg(test)]
mod tests;
mod tlv;

pub use block::{
    BLOCK_HEADER_BYTES, BlockKind, FRAME_MAGIC, MAX_FRAME_START_BYTES, MAX_SECTIONS, SECTION_ENTRY_BYTES,
    Section, StoredSection, decode_block, encode_block, frame_bytes, frame_start, read_frame,
};
pub use checksum::{Checksum, Salt, digest};
pub use compress::{Codec, Compression};
pub use dictionary::{Dictionary, FileDictionary, WritingDictionary, train};
pub use header::{FORMAT_VERSION, FileHeader, FileKind, HEADER_BYTES, HeaderError, header_error};
pub use keys::{Cipher, KeyError, KeyId, KeyProvider, Keyring, Owner, Seal, SealRecorder, Secret};
pub use parity::{
    CleanCopies, CorrectionWatch, Corrector, Parity, ParityFinding, ParityTail, ParityWriter, Rescue,
};
pub use protect::{FileCodec, Sealing, TAG_BYTES};
pub use read::{Corruption, Reader};
pub use record::{
    LogPosition, RECORD_ALIGN, RECORD_HEADER_BYTES, Record, RecordReader, Step, Traces, encode_record,
    encode_record_in_parts, record_bytes, salt_of_records, traces_of_records,
};
pub(crate) use tlv::once;
pub use tlv::{TlvReader, TlvWriter};
