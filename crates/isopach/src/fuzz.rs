//! Decoders of this crate, for tests that give them hostile bytes.
//!
//! What lies in the log and in the notes of the manifest is nobody's business but this crate's, so its
//! decoders are private; and the checksums before them keep most hostile bytes away. These functions go
//! straight to them. Not part of the API.
//!
//! A decoder answers or refuses; it never panics. What it takes is encoded again and compared.

use crate::{
    ends::CommitEnds,
    notes::{CleanClose, first_segment},
    options::{KeyspaceOptions, SetOptions},
    state::KeyspaceChange,
    wal::{self, RecordKind},
    write::{Operations, decode_operations},
};
use isopach_engine::{
    memtable::Operation,
    tree::TreeOptions,
    types::{Seqno, TreeId, UnixUs},
};

/// The payload of a log record, behind a byte that says its kind.
pub fn log_record(data: &[u8]) {
    wal::fuzz::record(data);
}

/// A whole segment, behind a byte that says what the manifest has to say about it.
pub fn log_segment(data: &[u8]) {
    wal::fuzz::segment(data, |record| match record.kind {
        RecordKind::Batch => {
            let _ = decode_operations(record.body(), record.first_seqno, record.count, |_, _| {});
        }
        RecordKind::Keyspace => keyspace_change(record.body()),
    });
}

/// The body of a batch, behind a byte that says how many operations it has.
pub fn batch(data: &[u8]) {
    let Some((&count, body)) = data.split_first() else { return };
    let Some(operations) = decode_batch(body, count.into()) else { return };
    assert_eq!(operations.len(), usize::from(count));
    let mut encoded = Operations::default();
    for (tree, operation) in &operations {
        encoded.add(*tree, operation);
    }
    let (bytes, encoded_count) = encoded.finish(UnixUs(0)).expect("what was decoded is within its bounds");
    assert_eq!(encoded_count, u32::from(count));
    // Numbers may have been written longer than need be, so it is the meaning that is the same.
    let again = decode_batch(&bytes, encoded_count).expect("our own encoding");
    let meaning = |(tree, operation): &(TreeId, Operation<'_>)| {
        (*tree, operation.seqno, operation.kind, operation.key.to_vec(), operation.value.to_vec())
    };
    assert!(operations.iter().map(meaning).eq(again.iter().map(meaning)));
}

fn decode_batch(body: &[u8], count: u32) -> Option<Vec<(TreeId, Operation<'_>)>> {
    let mut operations = Vec::new();
    let each = |tree, operation| operations.push((tree, operation));
    decode_operations(body, Seqno::ZERO, count, each).ok()?;
    Some(operations)
}

/// A change of keyspaces.
pub fn keyspace_change(data: &[u8]) {
    if let Ok(change) = KeyspaceChange::decode(data) {
        assert_eq!(KeyspaceChange::decode(&change.encode()), Ok(change));
    }
}

/// Notes about the log.
pub fn notes(data: &[u8]) {
    if let Ok(Some(close)) = CleanClose::decode(data) {
        assert_eq!(close.encode(), data);
    }
    let _ = first_segment(Some(data));
    if let Ok(ends) = CommitEnds::decode(data) {
        assert_eq!(CommitEnds::decode(&ends.encode()), Ok(ends.clone()));
        let mut later = ends.clone();
        later.extend(&ends);
        later.cut_behind(Seqno::ZERO);
        for number in (1..600).step_by(3) {
            let end = Seqno::from_raw(number).expect("it is small");
            later.note(end, UnixUs(number * 1000));
        }
        assert!(later.end_at(Seqno::ZERO).is_none_or(|end| end == Seqno::ZERO));
        assert!(CommitEnds::decode(&later.encode()).is_ok());
    }
}

/// Stored options of a database, of a keyspace, and of its tree.
pub fn options(data: &[u8]) {
    if let Ok(set) = SetOptions::decode(data) {
        let _ = set.resolve();
        let again = SetOptions::decode(&set.encode()).expect("our own encoding");
        assert_eq!(again.encode(), set.encode());
    }
    let tree = TreeOptions::decode(data);
    if let Ok(tree) = &tree {
        let again = TreeOptions::decode(&tree.encode()).expect("our own encoding");
        assert_eq!(again, *tree);
    }
    if let Ok(options) = KeyspaceOptions::from_stored(&tree.unwrap_or_default(), data) {
        let again = KeyspaceOptions::from_stored(&options.tree_options(), &options.encode_note());
        assert_eq!(again.as_ref().ok(), Some(&options));
    }
}
