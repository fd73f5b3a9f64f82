//! Writing a file of separated values, from front to back.

use super::{
    BlobMeta, BlobPointer, BlobRecord, file_name,
    record::{self, RecordParts},
};
use crate::{
    codec::{Compression, FileCodec, FileHeader, FileKind, Owner, Parity, ParityWriter, Seal},
    error::{Error, Result},
    packed::Packed,
    place::PlaceId,
    types::{BlobId, Seqno, Uuid},
};
use alloc::{string::String, sync::Arc, vec::Vec};
use isopach_env::{CreateOptions, File, Fs, SyncMode, SyncSite, WriteOrigin};

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// A file being written. Whoever drops it half-way removes the file.
pub struct BlobWriter {
    id: BlobId,
    uuid: Uuid,
    place: PlaceId,
    seal: Option<Seal>,
    codec: FileCodec,
    file: Arc<dyn File>,
    name: String,
    /// Bytes that are not written yet.
    buffer: Vec<u8>,
    /// Bytes that are.
    written: u64,
    /// Of these, bytes that are durable.
    synced: u64,
    records: u64,
    parity: ParityWriter,
}

impl BlobWriter {
    /// Creates the file `blobs/<id>.blob` in a place, sealed under the current key of its owner.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if it is there; the backend's; those of [`Keyring::current`](crate::codec::Keyring::current).
    pub fn create(
        fs: &Arc<dyn Fs>,
        (id, uuid): (BlobId, Uuid),
        place: PlaceId,
        owner: impl Into<Owner>,
        origin: WriteOrigin,
    ) -> Result<BlobWriter> {
        let name = place.name_of(&file_name(id));
        let (header, codec) = owner.into().new_file(FileKind::Blob, uuid)?;
        let created = fs.create(&name, &CreateOptions::new(origin));
        let file = created.map_err(|error| Error::io(error, "create", name.as_str()))?;
        let (seal, buffer) = (header.seal, Vec::from(header.encode()));
        let parity = ParityWriter::new(Parity::None);
        Ok(BlobWriter {
            id,
            uuid,
            place,
            seal,
            codec,
            file,
            name,
            buffer,
            written: 0,
            synced: 0,
            records: 0,
            parity,
        })
    }

    /// Adds parity to the file. Before anything is added; the scheme was [validated](Parity::validate).
    ///
    /// # Panics
    ///
    /// If something was added.
    #[must_use]
    pub fn with_parity(mut self, parity: Parity) -> BlobWriter {
        let header = self.buffer.first_chunk().filter(|_| self.records == 0);
        let header = header.and_then(|header| FileHeader::decode(header).ok());
        let header = FileHeader { parity, ..header.expect("only the header was written") };
        self.buffer = Vec::from(header.encode());
        self.parity = ParityWriter::new(parity);
        self
    }

    /// Adds a value, and returns what points to it.
    ///
    /// # Errors
    ///
    /// The backend's.
    ///
    /// # Panics
    ///
    /// If the key is longer than any, or the value longer than [`MAX_BLOB_VALUE_BYTES`](super::MAX_BLOB_VALUE_BYTES).
    pub fn add(
        &mut self,
        key: &[u8],
        seqno: Seqno,
        value: &[u8],
        compression: Compression,
    ) -> Result<BlobPointer> {
        let (codec, stored) = compression.compress(value);
        let value_bytes = u32::try_from(value.len()).expect("values that are separated are bounded");
        self.append(RecordParts { key, seqno, codec, stored: &stored, value_bytes })
    }

    /// As [`BlobWriter::add`], of a value that is compressed already.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub(crate) fn add_packed(&mut self, key: &[u8], seqno: Seqno, packed: Packed<'_>) -> Result<BlobPointer> {
        let Packed { codec, value_bytes, bytes } = packed;
        self.append(RecordParts { key, seqno, codec, stored: bytes, value_bytes })
    }

    /// Adds a record of another file as it is, and returns what points to it here.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub fn copy(&mut self, record: &BlobRecord) -> Result<BlobPointer> {
        let (codec, stored) = record.stored();
        let (key, seqno, value_bytes) = (record.key(), record.seqno(), record.value_bytes());
        self.append(RecordParts { key, seqno, codec, stored, value_bytes })
    }

    fn append(&mut self, parts: RecordParts<'_>) -> Result<BlobPointer> {
        let offset = self.bytes();
        let checksum = record::encode(&mut self.buffer, &self.codec, offset, parts);
        self.records += 1;
        let record_bytes =
            u32::try_from(self.bytes() - offset).expect("values that are separated are bounded");
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        let value_bytes = parts.value_bytes;
        Ok(BlobPointer { file: self.id, offset, record_bytes, value_bytes, checksum })
    }

    /// Its size so far.
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.file.write_at(self.written, &self.buffer);
        written.map_err(|error| Error::io(error, "write", self.name.as_str()).at(self.written))?;
        self.parity.write(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes everything that was added durable. Its entry in the directory is the caller's to sync.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub fn sync(&mut self) -> Result<()> {
        if self.bytes() == self.synced {
            return Ok(());
        }
        self.flush()?;
        let synced = self.file.sync(SyncMode::Durable, SyncSite("blob.finish"));
        synced.map_err(|error| Error::io(error, "sync", self.name.as_str()))?;
        self.synced = self.written;
        Ok(())
    }

    /// As [`BlobWriter::sync`], of the whole file.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub fn finish(mut self) -> Result<BlobMeta> {
        let parity = self.parity.parity();
        if parity != Parity::None {
            self.flush()?;
            let bytes = core::mem::replace(&mut self.parity, ParityWriter::new(Parity::None)).finish();
            let written = self.file.write_at(self.written, &bytes);
            written.map_err(|error| Error::io(error, "write", self.name.as_str()).at(self.written))?;
            self.synced = 0; // Of the parity nothing is.
        }
        self.sync()?;
        let BlobWriter { id, uuid, place, seal, written: bytes, records, .. } = self;
        Ok(BlobMeta { id, uuid, bytes, records, place, seal, parity })
    }
}
