//! Records: an operation as it lies in an arena. Never changed once a pointer to it was stored.

use super::{super::atomics::AtomicU64, arena::Arena};
use crate::{
    iter::Entry,
    key::{InternalKey, ValueKind},
    prefetch::prefetch,
    types::Seqno,
};
use core::{marker::PhantomData, ptr, ptr::NonNull, slice, sync::atomic::Ordering};

/// What a record begins with; its key and its value follow.
#[repr(C)]
pub(super) struct Record {
    /// Number and kind. Atomic for the sake of model checkers, which see by it whether the record was written
    /// before it was found.
    tag: AtomicU64,
    key_len: u32,
    value_len: u32,
}

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
    ) -> RecordRef<'a> {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("keys and values are below 4 GiB");
        let (key_len, value_len) = (len(place.key), len(value));
        let record = arena.allocate(Self::bytes(place.key, value)).cast::<Record>();
        let tag = place.seqno.raw() << 8 | kind as u64;
        // SAFETY: the arena gave as many bytes as are written here, aligned for a record and not shared yet.
        unsafe {
            record.write(Record { tag: AtomicU64::new(0), key_len, value_len });
            record.as_ref().tag.store(tag, Ordering::Relaxed);
            let bytes = record.add(1).cast::<u8>().as_ptr();
            ptr::copy_nonoverlapping(place.key.as_ptr(), bytes, place.key.len());
            ptr::copy_nonoverlapping(value.as_ptr(), bytes.add(place.key.len()), value.len());
        }
        RecordRef { record, arena: PhantomData }
    }

    /// What a record takes of an arena.
    pub(super) fn bytes(key: &[u8], value: &[u8]) -> usize {
        size_of::<Record>() + key.len() + value.len()
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
        let kind = ValueKind::from_raw(self.tag() as u8).expect("it was one");
        Entry { key: self.key(), seqno: self.seqno(), kind }
    }
}
