//! Reading a file of separated values: one record that a pointer tells of, or all of them in a row.

use super::{
    BlobMeta, BlobPointer,
    record::{self, RECORD_HEADER_BYTES, RecordHeader},
};
use crate::{
    codec::{
        Codec, Corruption, FileCodec, FileDictionary, FileHeader, FileKind, HEADER_BYTES, Owner, header_error,
    },
    error::{Error, ErrorKind, Result},
    types::{Seqno, Slice},
};
use alloc::{format, string::String, sync::Arc, vec, vec::Vec};
use core::ops::Bound;
use isopach_env::{File, Fs, IoErrorKind, OpenMode};

/// A file of separated values that is open for reading. Shared by threads.
pub struct BlobFile {
    file: Arc<dyn File>,
    name: String,
    codec: FileCodec,
    bytes: u64,
}

/// A record that was read and checked.
#[derive(Clone, Debug)]
pub struct BlobRecord {
    header: RecordHeader,
    /// Header, key, and value as it is stored.
    bytes: Slice,
}

impl BlobFile {
    /// Opens the file that the manifest says this of.
    ///
    /// # Errors
    ///
    /// The backend's; `Corruption` if it is missing, has another size or another uuid, or is sealed in another way;
    /// `MixedStore` if it is of another database; those of [`Keyring::check`](crate::codec::Keyring::check).
    pub fn open(fs: &Arc<dyn Fs>, meta: &BlobMeta, owner: impl Into<Owner>) -> Result<BlobFile> {
        let owner = owner.into();
        let name = meta.file_name();
        let io = |doing: &'static str, error| Error::io(error, doing, name.as_str());
        let file = match fs.open(&name, OpenMode::Read) {
            Err(error) if error.kind() == IoErrorKind::NotFound => {
                let why = "the file is missing, and the manifest names it: restore it from a copy";
                return Err(Error::corrupt(name, 0, why));
            }
            opened => opened.map_err(|error| io("open", error))?,
        };
        let bytes = file.size_bytes().map_err(|error| io("measure", error))?;
        if bytes != meta.bytes {
            let why = format!("the file has {bytes} bytes, not {}, as the manifest says", meta.bytes);
            return Err(Error::corrupt(name, 0, why));
        }
        let mut start = [0; HEADER_BYTES];
        file.read_exact_at(0, &mut start).map_err(|error| io("read", error))?;
        let header = FileHeader::decode(&start).map_err(|why| header_error(why, &name))?;
        if header.kind != FileKind::Blob || header.file != meta.uuid {
            return Err(Error::corrupt(name, 0, "the file is another one than the manifest names"));
        }
        if header.database != owner.database {
            let message = "the file of separated values belongs to another database";
            return Err(Error::new(ErrorKind::MixedStore, message).in_file(name));
        }
        if header.seal != meta.seal {
            return Err(Error::corrupt(name, 40, "the file is not sealed as the manifest says"));
        }
        let codec = owner.codec(&header, &name)?;
        Ok(BlobFile { file, name, codec, bytes })
    }

    /// Its name, relative to the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of `key` that a pointer into this file stands for.
    ///
    /// # Errors
    ///
    /// As [`BlobFile::read_record`].
    pub fn read(&self, key: &[u8], pointer: &BlobPointer) -> Result<Slice> {
        let record = self.read_record(key, pointer)?;
        record.into_value().map_err(|why| self.damaged(key, pointer.offset, why))
    }

    /// The record of `key` that a pointer into this file points to.
    ///
    /// # Errors
    ///
    /// The backend's; `Corruption`, naming place and key, if the pointer points elsewhere, if the record is damaged, or is
    /// another one.
    pub fn read_record(&self, key: &[u8], pointer: &BlobPointer) -> Result<BlobRecord> {
        self.check_inside(key, pointer)?;
        self.record_in(key, pointer, self.read_bytes(key, pointer.offset, pointer.record_bytes.into())?)
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Says whether a pointer points into the file.
    ///
    /// # Errors
    ///
    /// `Corruption`, naming place and key.
    pub(crate) fn check_inside(&self, key: &[u8], pointer: &BlobPointer) -> Result<()> {
        if pointer.offset.saturating_add(pointer.record_bytes.into()) <= self.bytes {
            return Ok(());
        }
        Err(self.damaged(key, pointer.offset, Corruption("a pointer points behind the end of the file")))
    }

    /// Bytes that lie in the file, read for the value of `key`.
    ///
    /// # Errors
    ///
    /// The backend's.
    pub(crate) fn read_bytes(&self, key: &[u8], offset: u64, bytes: u64) -> Result<Slice> {
        let mut buffer = vec![0; usize::try_from(bytes).expect("what is read is bounded")];
        let read = self.file.read_exact_at(offset, &mut buffer);
        read.map_err(|error| over_key(Error::io(error, "read", self.name.as_str()).at(offset), key))?;
        Ok(Slice::from(buffer))
    }

    /// As [`BlobFile::read`], of a record that was read.
    ///
    /// # Errors
    ///
    /// `Corruption`, as there.
    pub(crate) fn value_in(&self, key: &[u8], pointer: &BlobPointer, bytes: Slice) -> Result<Slice> {
        let record = self.record_in(key, pointer, bytes)?;
        record.into_value().map_err(|why| self.damaged(key, pointer.offset, why))
    }

    fn record_in(&self, key: &[u8], pointer: &BlobPointer, bytes: Slice) -> Result<BlobRecord> {
        let BlobPointer { offset, value_bytes, checksum, .. } = *pointer;
        let damaged = |why| self.damaged(key, offset, why);
        let (header, bytes) = record::decode(bytes, &self.codec, offset).map_err(damaged)?;
        let record = BlobRecord { header, bytes };
        if header.checksum != checksum || header.value_bytes != value_bytes || record.key() != key {
            return Err(damaged(Corruption("the record is not the one that the pointer tells of")));
        }
        Ok(record)
    }

    /// Reads all records, from front to back, and calls `with` for each that is sound. Behind one that is not, nothing
    /// is known of where the next begins.
    ///
    /// # Errors
    ///
    /// The first damage, and what `with` says.
    pub fn walk(&self, with: &mut dyn FnMut(Walked<'_>) -> Result<()>) -> Result<()> {
        let mut offset = HEADER_BYTES as u64;
        while offset < self.bytes {
            let damaged = |why: Corruption| Error::corrupt(self.name.as_str(), offset, why);
            let io = |error| Error::io(error, "read", self.name.as_str()).at(offset);
            if self.bytes - offset < RECORD_HEADER_BYTES as u64 {
                return Err(damaged(Corruption("a record ends behind the file")));
            }
            let mut header = [0; RECORD_HEADER_BYTES];
            self.file.read_exact_at(offset, &mut header).map_err(io)?;
            let record_bytes = RecordHeader::decode(&header).map_err(damaged)?.record_bytes(&self.codec);
            if record_bytes > self.bytes - offset {
                return Err(damaged(Corruption("a record ends behind the file")));
            }
            let len =
                usize::try_from(record_bytes).expect("the size of a record has 32 bits, and a little more");
            let mut bytes = vec![0; len];
            self.file.read_exact_at(offset, &mut bytes).map_err(io)?;
            let (header, bytes) = record::decode(bytes.into(), &self.codec, offset).map_err(damaged)?;
            let record = BlobRecord { header, bytes };
            record.clone().into_value().map_err(damaged)?;
            with(Walked { offset, record_bytes, record: &record })?;
            offset += record_bytes;
        }
        Ok(())
    }

    #[cold]
    fn damaged(&self, key: &[u8], offset: u64, why: Corruption) -> Error {
        over_key(Error::corrupt(self.name.as_str(), offset, why), key)
    }
}

/// A record that [`BlobFile::walk`] came upon.
#[derive(Clone, Copy, Debug)]
pub struct Walked<'a> {
    /// Where it begins.
    pub offset: u64,
    /// Its size.
    pub record_bytes: u64,
    /// What it holds.
    pub record: &'a BlobRecord,
}

impl BlobRecord {
    /// Its key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[RECORD_HEADER_BYTES..][..usize::from(self.header.key_bytes)]
    }

    /// Number of the put when its value was separated; 0 if it was not known.
    pub fn seqno(&self) -> Seqno {
        self.header.seqno
    }

    /// Size of the value.
    pub fn value_bytes(&self) -> u32 {
        self.header.value_bytes
    }

    /// The checksum that its pointer has.
    pub fn checksum(&self) -> crate::codec::Checksum {
        self.header.checksum
    }

    /// How the value is stored, and as what.
    pub(super) fn stored(&self) -> (Codec, &[u8]) {
        (self.header.codec, &self.bytes[self.value_at()..])
    }

    fn value_at(&self) -> usize {
        RECORD_HEADER_BYTES + usize::from(self.header.key_bytes)
    }

    /// The value.
    ///
    /// # Errors
    ///
    /// It does not decompress to its size.
    pub fn into_value(self) -> Result<Slice, Corruption> {
        let (at, value_bytes) = (self.value_at(), self.header.value_bytes as usize);
        if self.header.codec == Codec::None && self.bytes.len() - at == value_bytes {
            return Ok(self.bytes.tail(at));
        }
        let stored = &self.bytes[at..];
        self.header.codec.decompress_in(stored, value_bytes, &FileDictionary::None).map(Slice::from)
    }
}

fn over_key(error: Error, key: &[u8]) -> Error {
    let here = || Bound::Included(Vec::from(key));
    error.over_keys((here(), here()))
}
