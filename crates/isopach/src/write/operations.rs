//! A batch as it lies in the log: operations one after another. Layout: `docs/format.md` §6.
//!
//! | field        | encoding                            |
//! |--------------|-------------------------------------|
//! | kind         | u8, a value kind: 1 put, 2 delete   |
//! | keyspace     | varint, its tree id                 |
//! | key length   | varint                              |
//! | value length | varint, puts only                   |
//! | key, value   | bytes                               |

use crate::{
    error::{Error, ErrorKind, Result},
    space::Space,
    wal::ENTRY_PREFIX_BYTES,
};
use isopach_engine::{
    codec::{Corruption, Reader},
    key::{MAX_KEY_BYTES, MAX_VALUE_BYTES, ValueKind},
    memtable::{Operation, SortedBatch, Sorter},
    types::{Seqno, TreeId},
};
use isopach_env::sync::thread_local;
use std::{cell::Cell, sync::Arc};

/// Most bytes of an encoded batch: with the prefix of its record 2^32 - 1.
pub(crate) const MAX_BATCH_BYTES: usize = u32::MAX as usize - ENTRY_PREFIX_BYTES;

/// An encoded batch under construction. The first mistake is kept and told when it is written.
#[derive(Clone, Default, Debug)]
pub(crate) struct Operations {
    bytes: Vec<u8>,
    count: u32,
    mistake: Option<Error>,
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

    pub(crate) fn put(&mut self, tree: TreeId, key: &[u8], value: &[u8]) {
        self.push(ValueKind::Put, tree, key, Some(value));
    }

    pub(crate) fn delete(&mut self, tree: TreeId, key: &[u8]) {
        self.push(ValueKind::Delete, tree, key, None);
    }

    fn push(&mut self, kind: ValueKind, tree: TreeId, key: &[u8], value: Option<&[u8]>) {
        let value_bytes = value.map_or(0, <[u8]>::len);
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
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.count += 1;
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
        self.mistake = None;
    }

    /// The encoding and its number of operations.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub(crate) fn finish(self) -> Result<(Vec<u8>, u32)> {
        match self.mistake {
            None => Ok((self.bytes, self.count)),
            Some(mistake) => Err(mistake),
        }
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
            ValueKind::Put => take_varint(&mut fields)?,
            ValueKind::Delete => 0,
            _ => return Err(Corruption("an operation of a later version")),
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
        each(TreeId(tree), Operation { seqno, kind, key, value });
    }
    fields.finish()
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
    let mut parts: Vec<Sorter<'_>> = spaces.iter().map(|_| Sorter::new(body)).collect();
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
        operations.put(TreeId(7), b"k", b"vw");
        operations.delete(TreeId(128), b"");

        let (bytes, count) = operations.finish().unwrap();

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
