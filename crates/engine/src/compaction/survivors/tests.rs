//! The stream against the oracle, over a cursor that is a vector.

mod histories;

use super::*;
use crate::types::Slice;
use crate::{
    compaction::oracle::{Case, Random, Version, run_shown, seeds, seqno, views},
    key::{InternalKey, ValueKind},
};
use alloc::{format, string::String, vec, vec::Vec};

const CASES: u64 = 30_000;

#[test]
fn the_stream_is_what_reads_still_need() {
    for seed in seeds(CASES) {
        let case = Case::generate(&mut Random(seed));

        run_shown(seed, || check(&case));
    }
}

fn check(case: &Case) {
    let name = |at: usize| format!("key{at}").into_bytes();
    let entries = case.keys.iter().enumerate().flat_map(|(at, [_, job, _])| {
        job.iter().map(move |&(seqno, value)| match value {
            Some(value) => entry(&format!("key{at}"), seqno, ValueKind::Put, &format!("{value}")),
            None => entry(&format!("key{at}"), seqno, ValueKind::Delete, ""),
        })
    });
    let older: Vec<Vec<u8>> =
        (0..case.keys.len()).filter(|&at| !case.keys[at][2].is_empty()).map(name).collect();
    let older = OlderData::in_ranges(&KeyOrder::BYTES, older.iter().map(|key| (&key[..], &key[..])));
    let mut stream = Survivors::new(VecCursor::new(entries.collect()), case.views(), older);

    let mut kept: Vec<Vec<Version>> = vec![Vec::new(); case.keys.len()];
    let mut last_key = None;
    while stream.advance().unwrap() {
        let entry = stream.entry();
        assert_eq!(stream.is_new_key(), last_key.as_deref() != Some(entry.key));
        last_key = Some(entry.key.to_vec());
        let at = (0..case.keys.len()).find(|&at| name(at) == entry.key).unwrap();
        let value = (entry.kind == ValueKind::Put).then(|| {
            let digits = String::from_utf8(stream.checked_value().unwrap().0.to_vec()).unwrap();
            digits.parse().unwrap()
        });
        kept[at].push((entry.seqno.raw(), value));
    }

    for (parts, kept) in case.keys.iter().zip(&kept) {
        case.check_key(parts, kept);
    }
    let count = |versions: &[Version]| {
        let tombstones = versions.iter().filter(|version| version.1.is_none()).count();
        (versions.len() as u64, tombstones as u64)
    };
    let before = count(&case.keys.iter().flat_map(|parts| parts[1].clone()).collect::<Vec<_>>());
    let after = count(&kept.concat());
    let dropped = stream.dropped();
    assert_eq!((dropped.entries, dropped.tombstones), (before.0 - after.0, before.1 - after.1));
}

#[test]
fn nothing_of_a_dead_key_comes_back() {
    // Kinds that are kept otherwise would show again if they outlived the delete.
    let entries = vec![
        entry("a", 9, ValueKind::Delete, ""),
        entry("a", 7, ValueKind::Cells, "where"),
        entry("a", 5, ValueKind::Merge, "+1"),
        entry("b", 4, ValueKind::Merge, "+1"),
        entry("b", 3, ValueKind::Delete, ""),
    ];

    let mut stream = Survivors::new(VecCursor::new(entries), views(&[], 20), OlderData::NONE);

    // Without an operator an operand stays what it is; what it stood on is the same as nothing.
    assert_eq!(keys_of(&mut stream), [("b".into(), 4)]);
    assert_eq!(stream.dropped(), Dropped { entries: 4, tombstones: 2 });
    assert!(!stream.advance().unwrap(), "the end stays the end");
}

#[test]
fn nothing_follows_a_version_that_is_timeless() {
    let entries = vec![
        entry("a", 9, ValueKind::Put, "new"),
        entry("a", 7, ValueKind::Put, "seen by all"),
        entry("a", 5, ValueKind::Cells, "where"),
        entry("b", 4, ValueKind::Delete, ""),
        entry("c", 3, ValueKind::Put, "c"),
    ];

    let mut stream = Survivors::new(VecCursor::new(entries.clone()), views(&[8], 20), OlderData::NONE);
    assert_eq!(keys_of(&mut stream), [("a".into(), 9), ("a".into(), 0), ("c".into(), 0)]);
    assert_eq!(stream.dropped(), Dropped { entries: 2, tombstones: 1 });
    assert_eq!(stream.read_floor(seqno(9)), Some(seqno(9)));

    let mut stream = Survivors::new(VecCursor::new(entries), views(&[8], 20), OlderData::EVERYWHERE);
    assert_eq!(keys_of(&mut stream).len(), 5);
    assert_eq!(stream.read_floor(seqno(9)), None);
}

#[test]
fn a_tombstone_goes_only_where_nothing_older_lies() {
    let entries = || ["a", "m", "z"].map(|key| entry(key, 1, ValueKind::Delete, "")).to_vec();
    let older = OlderData::in_ranges(&KeyOrder::BYTES, [(&b"k"[..], &b"n"[..])]);

    for (older, expected) in
        [(OlderData::NONE, vec![]), (older, vec!["m"]), (OlderData::EVERYWHERE, vec!["a", "m", "z"])]
    {
        let mut stream = Survivors::new(VecCursor::new(entries()), views(&[], 20), older);
        let keys: Vec<String> = keys_of(&mut stream).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, expected);
    }
}

#[test]
fn an_error_of_the_cursor_ends_the_stream() {
    let entries = vec![entry("a", 1, ValueKind::Put, "1"), entry("b", 2, ValueKind::Put, "2")];
    let mut cursor = VecCursor::new(entries);
    cursor.fails_at = Some(1);
    let mut stream = Survivors::new(cursor, views(&[], 20), OlderData::NONE);

    assert!(stream.advance().unwrap());
    assert_eq!(stream.advance().unwrap_err().kind(), ErrorKind::Corruption);
    assert!(!stream.advance().unwrap());
    assert_eq!(stream.checked_value().unwrap().0, b"");
}

fn keys_of(stream: &mut Survivors<VecCursor>) -> Vec<(String, u64)> {
    let mut keys = Vec::new();
    while stream.advance().unwrap() {
        let entry = stream.entry();
        keys.push((String::from_utf8(entry.key.to_vec()).unwrap(), entry.seqno.raw()));
    }
    keys
}

type OwnedEntry = (Vec<u8>, u64, ValueKind, Vec<u8>);

fn entry(key: &str, seqno: u64, kind: ValueKind, value: &str) -> OwnedEntry {
    (key.into(), seqno, kind, value.into())
}

/// A cursor over versions in memory; one of them may be unreadable.
struct VecCursor {
    entries: Vec<OwnedEntry>,
    at: Option<usize>,
    fails_at: Option<usize>,
}

impl VecCursor {
    fn new(entries: Vec<OwnedEntry>) -> VecCursor {
        VecCursor { entries, at: None, fails_at: None }
    }

    fn stand(&mut self, at: Option<usize>) -> Result<()> {
        self.at = at.filter(|&at| at < self.entries.len());
        if self.at.is_some() && self.at == self.fails_at {
            self.at = None;
            return Err(Error::new(ErrorKind::Corruption, "unreadable"));
        }
        Ok(())
    }

    fn place(&self, target: InternalKey<'_>) -> usize {
        self.entries.partition_point(|(key, at, ..)| {
            KeyOrder::BYTES.is_before(InternalKey { key: &key[..], seqno: seqno(*at) }, target)
        })
    }
}

impl Cursor for VecCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.stand(Some(0))
    }

    fn seek_last(&mut self) -> Result<()> {
        self.stand(self.entries.len().checked_sub(1))
    }

    fn seek(&mut self, target: InternalKey<'_>) -> Result<()> {
        self.stand(Some(self.place(target)))
    }

    fn seek_back(&mut self, target: InternalKey<'_>) -> Result<()> {
        let at = self.place(target);
        let is_exact = self
            .entries
            .get(at)
            .is_some_and(|(key, seqno, ..)| key[..] == *target.key && *seqno == target.seqno.raw());
        self.stand(if is_exact { Some(at) } else { at.checked_sub(1) })
    }

    fn next(&mut self) -> Result<()> {
        self.stand(self.at.map(|at| at + 1))
    }

    fn prev(&mut self) -> Result<()> {
        self.stand(self.at.and_then(|at| at.checked_sub(1)))
    }

    fn entry(&self) -> Option<Entry<'_>> {
        let (key, at, kind, _) = &self.entries[self.at?];
        Some(Entry { key, seqno: seqno(*at), kind: *kind })
    }

    fn value_bytes(&self) -> Result<&[u8]> {
        Ok(self.at.map_or(&[], |at| &self.entries[at].3))
    }

    fn value(&self) -> Result<Slice> {
        self.value_bytes().map(Slice::from)
    }
}

/// The same table twice in one tree, as a manifest that was never written by us may have it: the table that
/// the merge was written to failed an assertion.
#[test]
fn a_version_that_comes_twice_ends_the_stream() {
    let twice = || entry("k", 5, ValueKind::Put, "v");
    let cursor = VecCursor::new(vec![entry("a", 9, ValueKind::Put, "v"), twice(), twice()]);
    let mut stream = Survivors::new(cursor, Views::keep_all(), OlderData::NONE);

    assert!(stream.advance().unwrap() && stream.advance().unwrap());
    let error = stream.advance().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(format!("{error}").contains("version 5"), "{error}");
    assert!(!stream.advance().unwrap(), "the stream is over");
}
