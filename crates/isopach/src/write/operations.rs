//! A batch as it lies in the log: operations one after another. Layout: `docs/format.md` §6.
//!
//! | field        | encoding                            |
//! |--------------|-------------------------------------|
//! | kind         | u8, a value kind: 1 put, 2 delete, 3 weak delete, 4 operand, 6 put that expires, 8 range delete, 10 and 11 these puts with a packed value |
//! | keyspace     | varint, its tree id                 |
//! | key length   | varint                              |
//! | value length | varint, not of kinds 2 and 3        |
//! | key, value   | bytes                               |
//!
//! The value of a put that expires begins with the time of that; while a batch is built, with the time it lives. That of
//! a range delete is the end of the range, and its key the beginning.

use crate::{
    error::{Error, ErrorKind, Result},
    space::Space,
    wal::ENTRY_PREFIX_BYTES,
};
use isopach_engine::{
    blob::MAX_BLOB_VALUE_BYTES,
    codec::{Compression, Corruption, Reader},
    expiry::EXPIRY_BYTES,
    key::{KeyRange, MAX_KEY_BYTES, MAX_VALUE_BYTES, ValueKind},
    memtable::{Operation, SortedBatch, Sorter},
    order::KeyOrder,
    packed::{PACKED_HEAD_BYTES, check_packed, pack},
    range_tombstone::range_of_delete,
    types::{Seqno, TreeId, UnixUs},
};
use isopach_env::sync::thread_local;
use std::{cell::Cell, mem, ops::Bound, sync::Arc, time::Duration};

/// Most bytes of an encoded batch: with the prefix of its record 2^32 - 1.
pub(crate) const MAX_BATCH_BYTES: usize = u32::MAX as usize - ENTRY_PREFIX_BYTES;

/// An encoded batch under construction. The first mistake is kept and told when it is written.
#[derive(Clone, Default, Debug)]
pub(crate) struct Operations {
    bytes: Vec<u8>,
    count: u32,
    /// Puts that expire.
    expiring: Vec<Expiring>,
    /// Whether a range is deleted.
    has_ranges: bool,
    mistake: Option<Error>,
}

/// A put that expires.
#[derive(Clone, Copy, Debug)]
struct Expiring {
    /// Where its value begins, with the microseconds that it lives.
    at: usize,
    lives: Lives,
}

/// Who says how long a put lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lives {
    /// The put itself.
    Own(Duration),
    /// Its keyspace, unless the write says otherwise.
    Default(Duration),
}

impl Lives {
    fn microseconds(self) -> u64 {
        let (Lives::Own(time) | Lives::Default(time)) = self;
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    }
}

thread_local! {
    /// The memory of the last short write of this thread, for its next one.
    static MEMORY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Operations {
    /// Without operations, with the memory of an earlier write.
    pub(crate) fn reusing() -> Operations {
        Operations { bytes: MEMORY.with(Cell::take), ..Operations::default() }
    }

    /// Keeps the memory of a write for [`Operations::reusing`].
    pub(crate) fn keep(mut bytes: Vec<u8>) {
        bytes.clear();
        MEMORY.with(|memory| memory.set(bytes));
    }

    /// Puts a value, for good or for a time; packed, where that is wanted and worth it.
    #[inline]
    pub(crate) fn put(
        &mut self,
        tree: TreeId,
        key: &[u8],
        value: &[u8],
        lives: Option<Lives>,
        packing: Option<Compression>,
    ) {
        match (packing, lives) {
            (None, None) => self.push(ValueKind::Put, tree, key, &[], Some(value)),
            (None, Some(lives)) => self.put_for(ValueKind::PutUntil, tree, key, &[], value, lives),
            (Some(compression), _) => self.put_packed(tree, key, value, lives, compression),
        }
    }

    #[cold]
    fn put_packed(
        &mut self,
        tree: TreeId,
        key: &[u8],
        value: &[u8],
        lives: Option<Lives>,
        compression: Compression,
    ) {
        // What is too large is told as the value that it is.
        let packed = if value.len() > MAX_BLOB_VALUE_BYTES { None } else { pack(value, compression) };
        match (packed, lives) {
            (None, _) => self.put(tree, key, value, lives, None),
            (Some((head, bytes)), None) => self.push(ValueKind::PutPacked, tree, key, &head, Some(&bytes)),
            (Some((head, bytes)), Some(lives)) => {
                self.put_for(ValueKind::PutPackedUntil, tree, key, &head, &bytes, lives);
            }
        }
    }

    /// Puts a value for a time: `head` is a part of it.
    fn put_for(
        &mut self,
        kind: ValueKind,
        tree: TreeId,
        key: &[u8],
        head: &[u8],
        value: &[u8],
        lives: Lives,
    ) {
        let mut front = [0; EXPIRY_BYTES + PACKED_HEAD_BYTES];
        let front = &mut front[..EXPIRY_BYTES + head.len()];
        front[..EXPIRY_BYTES].copy_from_slice(&lives.microseconds().to_le_bytes());
        front[EXPIRY_BYTES..].copy_from_slice(head);
        self.push(kind, tree, key, front, Some(value));
        let at = self.bytes.len().saturating_sub(front.len() + value.len());
        self.expiring.push(Expiring { at, lives });
    }

    pub(crate) fn delete(&mut self, tree: TreeId, key: &[u8]) {
        self.push(ValueKind::Delete, tree, key, &[], None);
    }

    pub(crate) fn delete_weak(&mut self, tree: TreeId, key: &[u8]) {
        self.push(ValueKind::DeleteWeak, tree, key, &[], None);
    }

    pub(crate) fn merge(&mut self, tree: TreeId, key: &[u8], operand: &[u8]) {
        self.push(ValueKind::Merge, tree, key, &[], Some(operand));
    }

    /// Deletes a range in the order of its tree; one without keys is no operation, and one whose end lies before its beginning a
    /// mistake. Where the order has no key behind the last one, that is deleted by itself.
    pub(crate) fn delete_range(&mut self, tree: TreeId, order: &KeyOrder, range: &impl KeyRange) {
        let (low, high) = range.bounds();
        match (low, high) {
            (Bound::Included(start), Bound::Included(last)) if !order.is_bytewise() => {
                // Of one key there is no range, also of the empty one, which ends none.
                if start != last {
                    self.delete_half_open(tree, order, low, Bound::Excluded(last));
                }
                self.delete(tree, last);
            }
            _ => self.delete_half_open(tree, order, low, high),
        }
    }

    fn delete_half_open(&mut self, tree: TreeId, order: &KeyOrder, low: Bound<&[u8]>, high: Bound<&[u8]>) {
        match range_of_delete(order, low, high) {
            Ok(Some((start, end))) => {
                self.has_ranges = true;
                self.push(ValueKind::DeleteRange, tree, &start, &[], Some(&end));
            }
            Ok(None) => {}
            Err(error) => self.refuse(error.into()),
        }
    }

    /// Adds an operation as it lies in a log.
    pub(crate) fn add(&mut self, tree: TreeId, operation: &Operation<'_>) {
        let has_value = !matches!(operation.kind, ValueKind::Delete | ValueKind::DeleteWeak);
        self.has_ranges |= operation.kind == ValueKind::DeleteRange;
        self.push(operation.kind, tree, operation.key, &[], has_value.then_some(operation.value));
    }

    /// `head` comes before `value`, as a part of it.
    #[inline]
    fn push(&mut self, kind: ValueKind, tree: TreeId, key: &[u8], head: &[u8], value: Option<&[u8]>) {
        let value_bytes = head.len() + value.map_or(0, <[u8]>::len);
        if let Err(mistake) = check_bounds(key.len(), value_bytes, self.bytes.len(), MAX_BATCH_BYTES) {
            self.refuse(mistake);
        }
        if self.mistake.is_some() {
            return;
        }
        self.bytes.reserve(16 + key.len() + value_bytes);
        self.bytes.push(kind as u8);
        put_varint(&mut self.bytes, u64::from(tree.0));
        put_varint(&mut self.bytes, key.len() as u64);
        if value.is_some() {
            put_varint(&mut self.bytes, value_bytes as u64);
        }
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.count += 1;
    }

    /// Has every put live so long that does not say otherwise itself.
    pub(crate) fn live(&mut self, time: Duration) {
        let before = mem::take(self);
        let body = &before.bytes[..];
        let own_at = |value: &[u8]| {
            let at = value.as_ptr() as usize - body.as_ptr() as usize;
            before.expiring.iter().find(|put| put.at == at && matches!(put.lives, Lives::Own(_)))
        };
        let lives = Lives::Own(time);
        let decoded = decode_operations(body, Seqno::ZERO, before.count, |tree, operation| {
            let Operation { kind, key, value, .. } = operation;
            match kind {
                ValueKind::Put => self.put(tree, key, value, Some(lives), None),
                ValueKind::PutPacked => {
                    self.put_for(ValueKind::PutPackedUntil, tree, key, &[], value, lives);
                }
                ValueKind::PutUntil | ValueKind::PutPackedUntil => {
                    let lives = own_at(value).map_or(lives, |put| put.lives);
                    self.put_for(kind, tree, key, &[], &value[EXPIRY_BYTES..], lives);
                }
                _ => self.add(tree, &operation),
            }
        });
        decoded.expect("our own encoding");
        self.mistake = before.mistake.or(self.mistake.take());
    }

    /// Whether a range is deleted.
    pub(crate) fn has_ranges(&self) -> bool {
        self.has_ranges
    }

    /// The ranges that are deleted: of which keyspace, from which key, up to which, without this one; `None`: without end.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (TreeId, &[u8], Option<&[u8]>)> {
        let mut ranges = Vec::new();
        let decoded = decode_operations(&self.bytes, Seqno::ZERO, self.count, |tree, operation| {
            if operation.kind == ValueKind::DeleteRange {
                let end = (!operation.value.is_empty()).then_some(operation.value);
                ranges.push((tree, operation.key, end));
            }
        });
        decoded.expect("our own encoding");
        ranges.into_iter()
    }

    /// Whether any put expires.
    pub(crate) fn may_expire(&self) -> bool {
        !self.expiring.is_empty()
    }

    /// Remembers the first mistake.
    pub(crate) fn refuse(&mut self, mistake: Error) {
        self.mistake.get_or_insert(mistake);
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.expiring.clear();
        self.has_ranges = false;
        self.mistake = None;
    }

    /// The encoding, written at this time, and its number of operations.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub(crate) fn finish(mut self, now: UnixUs) -> Result<(Vec<u8>, u32)> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        for Expiring { at, lives } in self.expiring {
            // Time ends late enough.
            let expires_at = now.0.saturating_add(lives.microseconds());
            self.bytes[at..at + EXPIRY_BYTES].copy_from_slice(&expires_at.to_le_bytes());
        }
        Ok((self.bytes, self.count))
    }
}

/// Whether another operation fits. Pure, with the bound of a batch as an argument for its tests.
fn check_bounds(
    key_bytes: usize,
    value_bytes: usize,
    batch_bytes: usize,
    max_batch_bytes: usize,
) -> Result<()> {
    if key_bytes > MAX_KEY_BYTES {
        let message = format!("a key of {key_bytes} bytes; at most {MAX_KEY_BYTES} are allowed");
        return Err(Error::new(ErrorKind::KeyTooLarge, message));
    }
    if value_bytes > MAX_VALUE_BYTES {
        let message = format!("a value of {value_bytes} bytes; at most {MAX_VALUE_BYTES} are allowed");
        return Err(Error::new(ErrorKind::ValueTooLarge, message));
    }
    // Kind and three varints of at most 5, 3 and 5 bytes.
    let needed = batch_bytes as u128 + 14 + key_bytes as u128 + value_bytes as u128;
    if needed > max_batch_bytes as u128 {
        let message = format!("a batch of {needed} bytes; at most {max_batch_bytes} are allowed: split it");
        return Err(Error::new(ErrorKind::BatchTooLarge, message));
    }
    Ok(())
}

/// Decodes `body`: each operation with its tree and number.
///
/// # Errors
///
/// The bytes are no batch, or not of `count` operations.
pub(crate) fn decode_operations<'a>(
    body: &'a [u8],
    first: Seqno,
    count: u32,
    mut each: impl FnMut(TreeId, Operation<'a>),
) -> std::result::Result<(), Corruption> {
    let mut fields = Reader::new(body);
    for index in 0..u64::from(count) {
        let seqno = first.checked_add(index).ok_or(Corruption("a batch runs out of sequence numbers"))?;
        let kind = ValueKind::from_raw(fields.u8()?).ok_or(Corruption("unknown kind of operation"))?;
        let tree =
            u32::try_from(take_varint(&mut fields)?).map_err(|_| Corruption("a tree id exceeds 32 bits"))?;
        let key_bytes = take_varint(&mut fields)?;
        let value_bytes = match kind {
            ValueKind::Put
            | ValueKind::PutUntil
            | ValueKind::PutPacked
            | ValueKind::PutPackedUntil
            | ValueKind::Merge
            | ValueKind::DeleteRange => take_varint(&mut fields)?,
            ValueKind::Delete | ValueKind::DeleteWeak => 0,
            ValueKind::BlobPointer | ValueKind::BlobPointerUntil | ValueKind::Cells => {
                return Err(Corruption("an operation that no log holds"));
            }
        };
        if key_bytes > MAX_KEY_BYTES as u64 {
            return Err(Corruption("a key exceeds its bound"));
        }
        let mut take = |bytes: u64| {
            let bytes =
                usize::try_from(bytes).map_err(|_| Corruption("a length exceeds the address space"))?;
            fields.bytes(bytes)
        };
        let (key, value) = (take(key_bytes)?, take(value_bytes)?);
        check_value(kind, value)?;
        each(TreeId(tree), Operation { seqno, kind, key, value });
    }
    fields.finish()
}

/// Whether an operation of this kind can have this value; whether a range ends behind its beginning its tree knows.
fn check_value(kind: ValueKind, value: &[u8]) -> std::result::Result<(), Corruption> {
    match kind {
        ValueKind::PutPacked => check_packed(kind, value),
        ValueKind::PutPackedUntil if value.len() >= EXPIRY_BYTES => check_packed(kind, value),
        ValueKind::PutUntil | ValueKind::PutPackedUntil if value.len() < EXPIRY_BYTES => {
            Err(Corruption("a put that expires does not say when"))
        }
        ValueKind::DeleteRange if value.len() > MAX_KEY_BYTES + 1 => {
            Err(Corruption("the end of a range exceeds its bound"))
        }
        _ => Ok(()),
    }
}

/// Decodes `body` of a batch on these keyspaces: each operation with the index of its keyspace.
///
/// # Errors
///
/// As [`decode_operations`].
pub(super) fn decode_by_space<'a>(
    body: &'a [u8],
    first: Seqno,
    count: u32,
    spaces: &[Arc<Space>],
    mut each: impl FnMut(usize, Operation<'a>),
) -> std::result::Result<(), Corruption> {
    decode_operations(body, first, count, |tree, operation| {
        let at = spaces.iter().position(|space| space.id == tree);
        each(at.expect("a batch names its keyspaces"), operation);
    })
}

/// Sorts a batch on these keyspaces where it lies: the part of each.
pub(crate) fn sort_by_space(body: &Arc<Vec<u8>>, count: u32, spaces: &[Arc<Space>]) -> Vec<Arc<SortedBatch>> {
    let mut parts: Vec<Sorter<'_>> =
        spaces.iter().map(|space| Sorter::new(body, space.tree.order())).collect();
    // Numbers from zero are positions.
    let decoded = decode_by_space(body, Seqno::ZERO, count, spaces, |space, operation| {
        let Operation { seqno, kind, key, value } = operation;
        let added = parts[space].add(seqno.raw() as u32, kind, key, value);
        added.expect("it was decoded from these bytes");
    });
    decoded.expect("our own encoding");
    parts.into_iter().map(|part| Arc::new(part.sort())).collect()
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(fields: &mut Reader<'_>) -> std::result::Result<u64, Corruption> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let byte = fields.u8()?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Corruption("a number is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use isopach_engine::order::ReverseByteOrder;

    /// The worked example of `docs/format.md` §6: change both or neither.
    const GOLDEN: [u8; 11] = [1, 7, 1, 2, b'k', b'v', b'w', 2, 0x80, 0x01, 0];

    fn decode(bytes: &[u8], count: u32) -> std::result::Result<Vec<(TreeId, Operation<'_>)>, Corruption> {
        let mut found = Vec::new();
        let first = Seqno::from_raw(10).unwrap();
        decode_operations(bytes, first, count, |tree, operation| found.push((tree, operation)))?;
        Ok(found)
    }

    #[test]
    fn a_batch_encodes_as_documented() {
        let mut operations = Operations::default();
        operations.put(TreeId(7), b"k", b"vw", None, None);
        operations.delete(TreeId(128), b"");

        let (bytes, count) = operations.finish(UnixUs(0)).unwrap();

        assert_eq!((&bytes[..], count), (&GOLDEN[..], 2));
        let found = decode(&bytes, 2).unwrap();
        assert_eq!((found[0].0, found[0].1.key, found[0].1.value), (TreeId(7), &b"k"[..], &b"vw"[..]));
        assert_eq!(
            (found[1].0, found[1].1.kind, found[1].1.seqno.raw()),
            (TreeId(128), ValueKind::Delete, 11)
        );
    }

    #[test]
    fn damaged_batches_are_refused() {
        for end in 0..GOLDEN.len() {
            assert!(decode(&GOLDEN[..end], 2).is_err(), "cut at {end}");
        }
        assert!(decode(&GOLDEN, 1).is_err(), "bytes follow");
        assert!(decode(&[9, 0, 0], 1).is_err(), "unknown kind");
        assert!(decode(&[1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0], 1).is_err(), "endless number");
    }

    #[test]
    fn a_put_expires_so_long_after_the_write_as_the_nearest_says() {
        let (own, keyspace) = (Duration::from_micros(5), Duration::from_micros(9));
        let mut operations = Operations::default();
        operations.put(TreeId(1), b"own", b"1", Some(Lives::Own(own)), None);
        operations.put(TreeId(1), b"keyspace's", b"2", Some(Lives::Default(keyspace)), None);
        operations.put(TreeId(2), b"none", b"3", None, None);
        operations.merge(TreeId(1), b"operand", b"4");
        operations.put(TreeId(1), b"packed", &[5; 5000], Some(Lives::Own(own)), Some(Compression::Lz4));
        operations.put(TreeId(1), b"packed, none", &[6; 5000], None, Some(Compression::Lz4));
        let expiries = |operations: Operations| -> Vec<Option<u64>> {
            let (bytes, count) = operations.finish(UnixUs(100)).unwrap();
            let found = decode(&bytes, count).unwrap();
            let time = |value: &[u8]| u64::from_le_bytes(value[..8].try_into().unwrap());
            let expires = |it: &(TreeId, Operation<'_>)| it.1.kind.expires().then(|| time(it.1.value));
            found.iter().map(expires).collect()
        };

        assert_eq!(expiries(operations.clone()), [Some(105), Some(109), None, None, Some(105), None]);
        operations.live(Duration::from_micros(7));
        assert_eq!(expiries(operations), [Some(105), Some(107), Some(107), None, Some(105), Some(107)]);
    }

    #[test]
    fn large_values_are_packed_if_that_makes_them_smaller() {
        let word = |at: u64| isopach_engine::codec::digest(&at.to_le_bytes()).to_le_bytes();
        let noise: Vec<u8> = (0..250).flat_map(word).collect();
        let mut operations = Operations::default();
        operations.put(TreeId(1), b"k", &[7; 5000], None, Some(Compression::Lz4));
        operations.put(TreeId(1), b"l", &noise, None, Some(Compression::Lz4));

        let (bytes, count) = operations.finish(UnixUs(0)).unwrap();

        let found = decode(&bytes, count).unwrap();
        assert_eq!(found[0].1.kind, ValueKind::PutPacked);
        assert!(found[0].1.value.len() < 100);
        assert!(found[1].1.kind == ValueKind::Put && found[1].1.value == noise);
        for bad in [
            &[10, 1, 1, 1, b'k', 1][..],
            &[10, 1, 1, 6, b'k', 99, 0, 0, 0, 0, 0],
            &[11, 1, 1, 7, b'k', 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(decode(bad, 1).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_range_delete_is_its_ends_and_a_reversed_one_is_refused() {
        let mut operations = Operations::default();
        let order = &KeyOrder::BYTES;
        operations.delete_range(TreeId(1), order, &("b".."d"));
        operations.delete_range(TreeId(1), order, &("b".."b"));
        operations.delete_range(TreeId(1), order, &..);
        assert!(operations.has_ranges());

        let (bytes, count) = operations.clone().finish(UnixUs(0)).unwrap();
        let found = decode(&bytes, count).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].1.kind, found[0].1.key, found[0].1.value),
            (ValueKind::DeleteRange, &b"b"[..], &b"d"[..])
        );
        assert_eq!((found[1].1.key, found[1].1.value), (&b""[..], &b""[..]));

        operations.delete_range(TreeId(1), order, &("d".."b"));
        assert_eq!(operations.finish(UnixUs(0)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn under_another_order_a_range_up_to_a_key_is_a_range_and_that_key() {
        let order = &KeyOrder::of(Arc::new(ReverseByteOrder));
        let mut operations = Operations::default();
        operations.delete_range(TreeId(1), order, &("d"..="b"));
        operations.delete_range(TreeId(1), order, &("c"..="c"));

        let (bytes, count) = operations.finish(UnixUs(0)).unwrap();

        let found = decode(&bytes, count).unwrap();
        let found: Vec<_> = found.iter().map(|(_, it)| (it.kind, it.key, it.value)).collect();
        let delete = |key| (ValueKind::Delete, key, &b""[..]);
        let expected = [(ValueKind::DeleteRange, &b"d"[..], &b"b"[..]), delete(&b"b"[..]), delete(&b"c"[..])];
        assert_eq!(found, expected);
    }

    #[test]
    fn bounds_are_told_apart() {
        let kind = |key, value, batch| check_bounds(key, value, batch, MAX_BATCH_BYTES).map_err(|e| e.kind());

        assert_eq!(kind(MAX_KEY_BYTES, 0, 0), Ok(()));
        assert_eq!(kind(MAX_KEY_BYTES + 1, 0, 0), Err(ErrorKind::KeyTooLarge));
        assert_eq!(kind(0, MAX_VALUE_BYTES + 1, 0), Err(ErrorKind::ValueTooLarge));
        assert_eq!(kind(0, MAX_VALUE_BYTES, 0), Err(ErrorKind::BatchTooLarge));
        assert_eq!(kind(0, MAX_BATCH_BYTES - 14, 0), Ok(()));
        assert_eq!(kind(0, 1, MAX_BATCH_BYTES - 14), Err(ErrorKind::BatchTooLarge));
    }
}
