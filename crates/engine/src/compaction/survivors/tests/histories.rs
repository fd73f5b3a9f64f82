//! All kinds of operations: generated histories of a few keys, of which a job reads a part, read the same before and
//! after it, at every view; and nothing is left that no view needs.

use super::*;
use crate::{
    blob::{BlobPointer, stored_pointer},
    compaction::model,
    merge_operator::{Append, MergeError},
    types::{BlobId, TableId, View},
};
use alloc::collections::BTreeMap;

/// Keys are `a`, `b`, `c`, `d`.
const KEYS: u8 = 4;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Operation {
    Put,
    PutUntil(UnixUs),
    Delete,
    DeleteWeak,
    /// Up to this key, not included.
    DeleteRange(u8),
    Merge,
}

/// What was written to a key. Values tell when.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Written {
    key: u8,
    seqno: u64,
    operation: Operation,
    value: Vec<u8>,
    /// A put whose value lies elsewhere.
    is_separated: bool,
    /// A put whose value is packed.
    is_packed: bool,
}

/// Separated values: pointers tell the numbers of the puts, and these the values.
struct Aside;

impl Aside {
    fn pointer(seqno: u64) -> BlobPointer {
        let checksum = crate::codec::Checksum(0);
        BlobPointer { file: BlobId(1), offset: 64 + seqno, record_bytes: 40, value_bytes: 8, checksum }
    }
}

impl ReadBlobs for Aside {
    fn read(&self, _key: &[u8], pointer: &BlobPointer) -> Result<Slice> {
        Ok(format!("{}", pointer.offset - 64).into())
    }
}

impl Written {
    fn kind(&self) -> ValueKind {
        match self.operation {
            Operation::Put if self.is_separated => ValueKind::BlobPointer,
            Operation::PutUntil(_) if self.is_separated => ValueKind::BlobPointerUntil,
            Operation::Put if self.is_packed => ValueKind::PutPacked,
            Operation::PutUntil(_) if self.is_packed => ValueKind::PutPackedUntil,
            Operation::Put => ValueKind::Put,
            Operation::PutUntil(_) => ValueKind::PutUntil,
            Operation::Delete => ValueKind::Delete,
            Operation::DeleteWeak => ValueKind::DeleteWeak,
            Operation::DeleteRange(_) => ValueKind::DeleteRange,
            Operation::Merge => ValueKind::Merge,
        }
    }

    fn stored(&self) -> Vec<u8> {
        match self.operation {
            Operation::Put if self.is_separated => Aside::pointer(self.seqno).encode().into(),
            Operation::PutUntil(at) if self.is_separated => {
                stored_pointer(Some(at), &Aside::pointer(self.seqno)).1
            }
            Operation::Put if self.is_packed => self.packed(),
            Operation::PutUntil(at) if self.is_packed => expiry::stored_value(at, &self.packed()),
            Operation::Put | Operation::Merge => self.value.clone(),
            Operation::PutUntil(at) => expiry::stored_value(at, &self.value),
            Operation::Delete | Operation::DeleteWeak => Vec::new(),
            Operation::DeleteRange(end) => vec![end],
        }
    }

    /// As it is packed by no compression.
    fn packed(&self) -> Vec<u8> {
        [&[0, self.value.len() as u8, 0, 0, 0], &self.value[..]].concat()
    }

    fn of_entry(entry: Entry<'_>, stored: &[u8]) -> Written {
        let aside = value_apart(entry.key, entry.kind, stored, Some(&Aside)).unwrap();
        let (operation, value) = match entry.kind {
            ValueKind::BlobPointer | ValueKind::PutPacked => {
                (Operation::Put, aside.clone().unwrap().to_vec())
            }
            ValueKind::BlobPointerUntil | ValueKind::PutPackedUntil => {
                let at = expiry::of_version(entry.kind, stored).unwrap().unwrap();
                (Operation::PutUntil(at), aside.clone().unwrap().to_vec())
            }
            ValueKind::Put => (Operation::Put, stored.to_vec()),
            ValueKind::PutUntil => {
                let at = expiry::of_version(entry.kind, stored).unwrap().unwrap();
                (Operation::PutUntil(at), stored[expiry::EXPIRY_BYTES..].to_vec())
            }
            ValueKind::Delete => (Operation::Delete, Vec::new()),
            ValueKind::DeleteWeak => (Operation::DeleteWeak, Vec::new()),
            ValueKind::DeleteRange => (Operation::DeleteRange(stored[0]), Vec::new()),
            ValueKind::Merge => (Operation::Merge, stored.to_vec()),
            other => panic!("{other:?} was not written"),
        };
        let (is_separated, is_packed) = (entry.kind.is_separated(), false);
        Written { key: entry.key[0], seqno: entry.seqno.raw(), operation, value, is_separated, is_packed }
    }

    fn tombstone(&self) -> Option<RangeTombstone> {
        let Operation::DeleteRange(end) = self.operation else { return None };
        Some(RangeTombstone::of_version(&[self.key], seqno(self.seqno), &[end]))
    }
}

/// Keeps the order of operands and folds none.
struct Notes;

impl MergeOperator for Notes {
    fn name(&self) -> &str {
        "notes"
    }

    fn merge(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> core::result::Result<(), MergeError> {
        out.extend_from_slice(base.unwrap_or(b"-"));
        operands.iter().for_each(|operand| out.extend([b"+", *operand].concat()));
        Ok(())
    }
}

/// By brute force: what a view sees of a key.
fn value_at(all: &[Written], key: u8, view: View, operator: &dyn MergeOperator) -> Option<Vec<u8>> {
    let seen = || all.iter().filter(|written| written.seqno <= view.seqno.raw());
    let covers = |written: &&Written| match written.operation {
        Operation::DeleteRange(end) => (written.key..end).contains(&key),
        _ => false,
    };
    let hidden_below = seen().filter(covers).map(|written| written.seqno).max().unwrap_or(0);
    let mut versions: Vec<&Written> = seen().filter(|it| it.key == key && it.seqno >= hidden_below).collect();
    versions.sort_by_key(|written| core::cmp::Reverse(written.seqno));
    let mut operands: Vec<&[u8]> = Vec::new();
    let mut base = None;
    for written in versions {
        match written.operation {
            Operation::Merge => operands.insert(0, &written.value),
            Operation::Put => base = Some(&written.value[..]),
            Operation::PutUntil(at) if view.time < at => base = Some(&written.value),
            _ => {}
        }
        if written.operation != Operation::Merge {
            break;
        }
    }
    if operands.is_empty() {
        return base.map(<[u8]>::to_vec);
    }
    let mut out = Vec::new();
    operator.merge(&[key], base, &operands, &mut out).unwrap();
    Some(out)
}

struct History {
    /// Above the job, in it, and below.
    parts: [Vec<Written>; 3],
    /// Whether what is newer than all that the job reads, or may lie below, is in memtables: the job knows nothing of it.
    has_memtable: bool,
    /// Whether some range tombstones cannot be read.
    is_damaged: bool,
    live: Vec<View>,
    visible: View,
    folds: bool,
}

impl History {
    fn generate(random: &mut Random, is_whole: bool) -> History {
        let mut all: Vec<Written> = Vec::new();
        let mut seqno = 0;
        for _ in 0..random.below(16) {
            seqno += 1 + random.below(2);
            let key = b'a' + random.below(KEYS.into()) as u8;
            let operation = match random.below(12) {
                0..3 => Operation::Put,
                3..5 => Operation::PutUntil(UnixUs(seqno + random.below(12))),
                5 => Operation::Delete,
                6 | 7 => Operation::DeleteWeak,
                8 | 9 => Operation::DeleteRange(key + 1 + random.below(3) as u8),
                _ => Operation::Merge,
            };
            let is_put = matches!(operation, Operation::Put | Operation::PutUntil(_));
            let (value, kept) = (format!("{seqno}").into_bytes(), random.below(3));
            let (is_separated, is_packed) = (is_put && kept == 0, is_put && kept == 1);
            all.push(Written { key, seqno, operation, value, is_separated, is_packed });
        }
        // The time is that of the newest operation, or later.
        let visible = if is_whole { seqno } else { random.below(seqno + 2) };
        let now = seqno + 1 + random.below(4);
        let view = |at: u64, time: u64| View::new(super::seqno(at), UnixUs(time));
        let live = (0..if is_whole { 0 } else { random.below(4) }).map(|_| {
            let at = random.below(visible + 1);
            view(at, at + random.below(now - at + 1))
        });
        let live = live.collect();
        let mut parts = [Vec::new(), Vec::new(), Vec::new()];
        for key in b'a'..b'a' + KEYS {
            let mut history: Vec<Written> = all.iter().filter(|it| it.key == key).cloned().collect();
            history.reverse();
            let end = history.len() as u64 + 1;
            let (a, b) = (random.below(end) as usize, random.below(end) as usize);
            let above = if is_whole || random.below(2) == 0 { 0 } else { a.min(b) };
            let below = if is_whole || random.below(2) == 0 { history.len() } else { a.max(b) };
            parts[0].extend_from_slice(&history[..above]);
            parts[1].extend_from_slice(&history[above..below]);
            parts[2].extend_from_slice(&history[below..]);
        }
        let (has_memtable, folds) = (random.below(2) == 0, random.below(2) == 0);
        let is_damaged = !is_whole && random.below(4) == 0;
        History { parts, is_damaged, has_memtable, live, visible: view(visible, now), folds }
    }

    fn operator(&self) -> Arc<dyn MergeOperator> {
        if self.folds { Arc::new(Append::with_separator(b',')) } else { Arc::new(Notes) }
    }

    fn views(&self) -> Views {
        Views::new(&self.live, self.visible)
    }

    /// What is left of the part that the job reads.
    fn run(&self) -> (Vec<Written>, Option<Seqno>) {
        let [above, job, below] = &self.parts;
        let older =
            OlderData::in_ranges(&KeyOrder::BYTES, below.iter().map(|it| (one(&it.key), one(&it.key))));
        let flushed = job.iter().chain(below).map(|it| it.seqno).max().unwrap_or(0);
        let known = above.iter().filter(|it| !self.has_memtable || it.seqno <= flushed);
        let tombstones = known.chain(job).chain(below).filter_map(Written::tombstone);
        let tombstones = tombstones.filter(|it| !self.is_damaged || it.seqno.raw() % 2 == 0);
        let order = &KeyOrder::BYTES;
        let ranges = JobRanges::new(order, tombstones, &self.views());
        let ranges = if self.is_damaged { ranges.incomplete() } else { ranges };
        let others = above.iter().chain(below).map(table_of).collect();
        let others = OtherTables::new(order, others, |_, _| false);
        let entries = job.iter().map(|it| (vec![it.key], it.seqno, it.kind(), it.stored())).collect();
        let mut stream = Survivors::new(VecCursor::new(entries), self.views(), older)
            .with_ranges(ranges, others)
            .with_blobs(Arc::new(Aside))
            .with_operator(Some(self.operator()));
        let mut kept = Vec::new();
        let mut firsts = BTreeMap::new();
        while stream.advance().unwrap() {
            let written = Written::of_entry(stream.entry(), stream.checked_value().unwrap().0);
            assert_eq!(stream.is_new_key(), firsts.insert(written.key, ()).is_none());
            kept.push(written);
        }
        let newest = job.iter().map(|it| it.seqno).max().unwrap_or(0);
        (kept, stream.read_floor(seqno(newest)))
    }

    fn check(&self) {
        let (kept, floor) = self.run();
        let [above, job, below] = &self.parts;
        let before = [&above[..], job, below].concat();
        let after = [&above[..], &kept, below].concat();
        let newest = before.iter().map(|it| it.seqno).max().unwrap_or(0);
        let mut views = self.live.clone();
        for at in self.visible.seqno.raw()..=newest.max(self.visible.seqno.raw()) + 1 {
            views.extend((0..15).map(|later| View::new(seqno(at), UnixUs(self.visible.time.0 + later))));
        }
        // A view of the past that the floor lets through reads right too, now or later.
        let past = floor.map_or(0, Seqno::raw)..self.visible.seqno.raw();
        views.extend(past.map(|at| View::new(seqno(at), self.visible.time)));
        for view in views {
            for key in b'a'..b'a' + KEYS {
                let operator = self.operator();
                let text = |value: Option<Vec<u8>>| value.map(|it| String::from_utf8(it).unwrap());
                let expected = text(value_at(&before, key, view, &*operator));
                let found = text(value_at(&after, key, view, &*operator));
                assert_eq!(
                    found, expected,
                    "{} at {view:?}: {kept:?} left of {:?}; live {:?}, visible {:?}, floor {floor:?}",
                    key as char, self.parts, self.live, self.visible
                );
            }
        }
    }
}

/// A key as bytes.
fn one(key: &u8) -> &[u8] {
    core::slice::from_ref(key)
}

/// A table of this version alone.
fn table_of(written: &Written) -> Arc<crate::table::TableMeta> {
    let number = seqno(written.seqno);
    let table = model::meta(1, &[written.key], &[written.key]);
    Arc::new(crate::table::TableMeta { id: TableId(1), first_seqno: number, last_seqno: number, ..table })
}

#[test]
fn every_view_reads_the_same_after_a_job_over_all_kinds_of_operations() {
    for seed in seeds(25_000) {
        let history = History::generate(&mut Random(seed), false);
        run_shown(seed, || history.check());
    }
}

#[test]
fn a_job_over_everything_without_snapshots_leaves_one_put_for_each_living_key() {
    for seed in seeds(8_000) {
        let history = History::generate(&mut Random(seed), true);
        run_shown(seed, || {
            history.check();
            let (kept, _) = history.run();
            for key in b'a'..b'a' + KEYS {
                let is_living =
                    value_at(&history.parts[1], key, history.visible, &*history.operator()).is_some();
                let left: Vec<&Written> = kept.iter().filter(|it| it.key == key).collect();
                // A put that has not expired yet is under operands as long as that depends on the time.
                let is_put = |it: &&Written| matches!(it.operation, Operation::Put | Operation::PutUntil(_));
                let waits = left.iter().any(|it| matches!(it.operation, Operation::PutUntil(_)));
                assert!(waits || left.len() == usize::from(is_living), "{left:?} of {:?}", history.parts[1]);
                assert!(waits || left.iter().all(is_put), "{left:?} of {:?}", history.parts[1]);
            }
        });
    }
}
