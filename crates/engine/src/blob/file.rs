//! Reading a file of separated values: one record that a pointer tells of, or all of them in a row.

use super::{
    BlobMeta, BlobPointer,
    record::{self, RECORD_HEADER_BYTES, RecordHeader},
};
use crate::{
    codec::{
        Codec, Corrector, Corruption, FileCodec, FileDictionary, FileHeader, FileKind, HEADER_BYTES, Owner,
        Parity, ParityFinding, Rescue, header_error,
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
        BlobFile::open_with(fs, meta, owner, Rescue::default())
    }

    /// As [`BlobFile::open`]; `rescue` is what helps where it is damaged.
    ///
    /// # Errors
    ///
    /// As [`BlobFile::open`].
    pub fn open_with(
        fs: &Arc<dyn Fs>,
        meta: &BlobMeta,
        owner: impl Into<Owner>,
        rescue: Rescue,
    ) -> Result<BlobFile> {
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
        let file_bytes = file.size_bytes().map_err(|error| io("measure", error))?;
        let is_whole = match meta.parity {
            Parity::Unknown { .. } => meta.bytes <= file_bytes,
            _ => meta.file_bytes() == file_bytes,
        };
        if !is_whole {
            let why =
                format!("the file has {file_bytes} bytes, not {}, as the manifest says", meta.file_bytes());
            return Err(Error::corrupt(name, 0, why));
        }
        let corrector = Corrector::new(&file, meta.parity, meta.bytes, rescue);
        let mut start = [0; HEADER_BYTES];
        let read = file.read_exact_at(0, &mut start).map_err(|error| io("read", error));
        let decoded = read.and_then(|()| FileHeader::decode(&start).map_err(|why| header_error(why, &name)));
        let header = decoded.or_else(|error| {
            let corrected = corrector.as_ref().and_then(|corrector| corrector.header());
            corrected.ok_or(error)
        })?;
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
        if header.parity != meta.parity {
            return Err(Error::corrupt(name, 48, "the file has not the parity that the manifest says"));
        }
        let codec = FileCodec { corrector, ..owner.codec(&header, &name)? };
        Ok(BlobFile { file, name, codec, bytes: meta.bytes })
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
        self.read_at(offset, bytes).map(Slice::from).map_err(|error| over_key(error, key))
    }

    fn read_at(&self, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        let mut buffer = vec![0; usize::try_from(bytes).expect("what is read is bounded")];
        let failed = |error| Error::io(error, "read", self.name.as_str()).at(offset);
        match (self.file.read_exact_at(offset, &mut buffer), &self.codec.corrector) {
            (Ok(()), _) => Ok(buffer),
            (Err(error), Some(corrector)) => corrector.read(offset..offset + bytes, error).map_err(failed),
            (Err(error), None) => Err(failed(error)),
        }
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

    /// Holds the file against its parity, if it has some.
    pub fn walk_parity(&self, found: &mut dyn FnMut(ParityFinding)) {
        if let Some(corrector) = &self.codec.corrector {
            corrector.walk(found);
        }
    }

    /// Has what is read from now on come from the medium. A hint.
    pub(crate) fn drop_cached(&self) {
        self.file.drop_cached(0..self.bytes);
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
            let record = self.record_at(offset)?;
            let record_bytes = record.header.record_bytes();
            with(Walked { offset, record_bytes, record: &record })?;
            offset += record_bytes;
        }
        Ok(())
    }

    /// The record that begins at `offset`, whose size nobody else knows.
    fn record_at(&self, offset: u64) -> Result<BlobRecord> {
        const CUT: Corruption = Corruption("a record ends behind the file");
        let damaged = |why: Corruption| Error::corrupt(self.name.as_str(), offset, why);
        if self.bytes - offset < RECORD_HEADER_BYTES as u64 {
            return Err(damaged(CUT));
        }
        let read = |header: &[u8]| {
            let header = header.first_chunk().expect("as long as it was asked for");
            let record_bytes = RecordHeader::decode(header).map_err(damaged)?.record_bytes();
            if record_bytes > self.bytes - offset {
                return Err(damaged(CUT));
            }
            let bytes = self.read_at(offset, record_bytes)?;
            let (header, bytes) = record::decode(bytes.into(), &self.codec, offset).map_err(damaged)?;
            let record = BlobRecord { header, bytes };
            record.clone().into_value().map_err(damaged)?;
            Ok(record)
        };
        let header = self.read_at(offset, RECORD_HEADER_BYTES as u64)?;
        read(&header).or_else(|error| {
            // Its size may be what is damaged.
            let again = |header: &[u8]| read(header).map_err(|_| CUT);
            self.codec.corrected(RECORD_HEADER_BYTES, offset, again).ok_or(error)
        })
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
