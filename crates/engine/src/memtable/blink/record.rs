//! Records: an operation as it lies in an arena, with its checksum if it has one. Never changed once a pointer to it
//! was stored.

use super::{super::atomics::AtomicU64, arena::Arena};
use crate::{
    iter::{Entry, EntryChecksum},
    key::{InternalKey, ValueKind},
    prefetch::prefetch,
    types::Seqno,
};
use core::{marker::PhantomData, ptr, ptr::NonNull, slice, sync::atomic::Ordering};

/// What a record begins with; its key and its value follow, then its checksum, if it has one.
#[repr(C)]
pub(super) struct Record {
    /// Number and kind. Atomic for the sake of model checkers, which see by it whether the record was written
    /// before it was found.
    tag: AtomicU64,
    key_len: u32,
    value_len: u32,
}

/// Flag of a tag beside the kind: there is a checksum.
const CHECKED: u64 = 0x80;

const CHECKSUM_BYTES: usize = 4;

/// How much of a record is asked for before it is known how long it is.
const PREFETCHED_BYTES: usize = 192;

/// A record of an arena that lives for `'a`.
#[derive(Clone, Copy)]
pub(super) struct RecordRef<'a> {
    record: NonNull<Record>,
    arena: PhantomData<&'a Arena>,
}

impl<'a> RecordRef<'a> {
    /// Writes a record.
    ///
    /// # Panics
    ///
    /// If key or value are longer than keys and values may be.
    pub(super) fn write(
        arena: &'a Arena,
        place: InternalKey<'_>,
        kind: ValueKind,
        value: &[u8],
        checksum: Option<EntryChecksum>,
    ) -> RecordRef<'a> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("keys and values are below 4 GiB");
        let (key_len, value_len) = (len(place.key), len(value));
        let record = arena.allocate(Self::bytes(place.key, value, checksum)).cast::<Record>();
        let tag = place.seqno.raw() << 8 | checksum.map_or(0, |_| CHECKED) | kind as u64;
        // SAFETY: the arena gave as many bytes as are written here, aligned for a record and not shared yet.
        unsafe {
            record.write(Record { tag: AtomicU64::new(0), key_len, value_len });
            record.as_ref().tag.store(tag, Ordering::Relaxed);
            let bytes = record.add(1).cast::<u8>().as_ptr();
            ptr::copy_nonoverlapping(place.key.as_ptr(), bytes, place.key.len());
            ptr::copy_nonoverlapping(value.as_ptr(), bytes.add(place.key.len()), value.len());
            if let Some(checksum) = checksum {
                let end = bytes.add(place.key.len() + value.len());
                end.cast::<[u8; CHECKSUM_BYTES]>().write(checksum.0.to_le_bytes());
            }
        }
        RecordRef { record, arena: PhantomData }
    }

    /// What a record takes of an arena.
    pub(super) fn bytes(key: &[u8], value: &[u8], checksum: Option<EntryChecksum>) -> usize {
        size_of::<Record>() + key.len() + value.len() + checksum.map_or(0, |_| CHECKSUM_BYTES)
    }

    /// # Safety
    ///
    /// `record` was written before what the caller has seen with `Acquire`, and its arena lives for `'a`.
    pub(super) unsafe fn from_ptr(record: NonNull<Record>) -> RecordRef<'a> {
        RecordRef { record, arena: PhantomData }
    }

    pub(super) fn as_ptr(self) -> *mut Record {
        self.record.as_ptr()
    }

    /// Asks for the first lines, so that those of the value do not come behind that of the key.
    pub(super) fn prefetch(self) {
        prefetch(self.record.as_ptr(), PREFETCHED_BYTES);
    }

    fn head(self) -> &'a Record {
        // SAFETY: it was written before it was found, and is never changed.
        unsafe { self.record.as_ref() }
    }

    pub(super) fn key(self) -> &'a [u8] {
        let len = self.head().key_len as usize;
        // SAFETY: as for `head`; the key follows it.
        unsafe { slice::from_raw_parts(self.record.add(1).cast().as_ptr(), len) }
    }

    pub(super) fn value(self) -> &'a [u8] {
        let (key_len, len) = (self.head().key_len as usize, self.head().value_len as usize);
        // SAFETY: as for `head`; the value follows the key.
        unsafe { slice::from_raw_parts(self.record.add(1).cast::<u8>().as_ptr().add(key_len), len) }
    }

    fn tag(self) -> u64 {
        let tag = self.head().tag.load(Ordering::Relaxed);
        debug_assert!(tag != 0, "a record is written before it is found");
        tag
    }

    pub(super) fn seqno(self) -> Seqno {
        Seqno::from_raw(self.tag() >> 8).expect("it was one")
    }

    pub(super) fn place(self) -> InternalKey<'a> {
        InternalKey { key: self.key(), seqno: self.seqno() }
    }

    pub(super) fn entry(self) -> Entry<'a> {
        let kind = ValueKind::from_raw((self.tag() & !CHECKED) as u8).expect("it was one");
        Entry { key: self.key(), seqno: self.seqno(), kind }
    }

    pub(super) fn checksum(self) -> Option<EntryChecksum> {
        if self.tag() & CHECKED == 0 {
            return None;
        }
        let end = self.value().as_ptr_range().end;
        // SAFETY: as for `head`; a checksum follows the value if the tag says so. Bytes may lie anywhere.
        let bytes = unsafe { end.cast::<[u8; CHECKSUM_BYTES]>().read() };
        Some(EntryChecksum(u32::from_le_bytes(bytes)))
    }

    /// Changes a bit of the value.
    ///
    /// # Safety
    ///
    /// Nobody else looks at the record, and its value has that bit.
    #[cfg(test)]
    pub(super) unsafe fn flip(self, bit: usize) {
        let byte = self.value().as_ptr().cast_mut().wrapping_add(bit / 8);
        // SAFETY: the caller's.
        unsafe { *byte ^= 1 << (bit % 8) };
    }
}
