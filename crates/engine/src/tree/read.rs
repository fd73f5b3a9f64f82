//! Get and scan: one state of a tree, pinned.

use super::{Tree, state::TreeState};
use crate::{
    error::{Error, ErrorKind, KeyBounds, Result},
    iter::{Cursor, Entry, Item, MergeCursor, VisibleScan, resolve},
    key::{KeyRange, ValueKind},
    table::KeyHash,
    types::{Seqno, Slice, TreeId, View},
    version::{Lease, RunCursor},
};
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};
use core::ops::Bound;

impl Tree {
    /// Pins the present state. Reading at the newest view: pin first, then learn what is visible; no job that
    /// this state contains dropped anything such a view sees.
    ///
    /// # Errors
    ///
    /// `Closed`; `TreeDropped`.
    pub fn reader(&self) -> Result<Reader> {
        let lease = self.0.context.enter()?;
        let state = self.0.state.load();
        self.check_alive()?;
        Ok(Reader { tree: self.clone(), state, lease })
    }

    /// As [`Tree::reader`], for a view of the past: of a dropped tree the state it had, while that is held.
    ///
    /// # Errors
    ///
    /// `Closed`; `TreeDropped` of a view that does not come before the drop, or if nobody holds the state.
    pub fn reader_at(&self, seqno: Seqno) -> Result<Reader> {
        let lease = self.0.context.enter()?;
        let mut state = self.0.state.load();
        if self.check_alive().is_err() {
            let dropped = self.0.dropped.lock();
            let before = dropped.as_ref().filter(|dropped| seqno < dropped.at);
            let old = before.and_then(|dropped| dropped.state.upgrade());
            state = old.ok_or_else(|| self.dropped_error())?;
        }
        Ok(Reader { tree: self.clone(), state, lease })
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// `SnapshotTooOld` below [`Tree::read_floor`]; `Corruption` and `Io` naming the file. If the newest
    /// source that may hold the key is damaged, an error, never an older value.
    pub fn get(&self, key: &[u8], at: View) -> Result<Option<Slice>> {
        self.reader_at(at.seqno)?.get(key, at)
    }

    /// The entries of a range, from both ends. Holds the files of one state until dropped.
    ///
    /// # Errors
    ///
    /// As [`Tree::get`].
    pub fn scan(&self, range: impl KeyRange, at: View) -> Result<Scan> {
        self.reader_at(at.seqno)?.scan(range, at)
    }
}

/// One state of a tree. Holds its memtables and files until dropped.
#[derive(Clone)]
pub struct Reader {
    tree: Tree,
    state: Arc<TreeState>,
    /// The directory stays locked while its files are read.
    lease: Lease,
}

impl Reader {
    /// The value of a key: memtables newest first, then runs of level 0, then one table a level.
    ///
    /// # Errors
    ///
    /// As [`Tree::get`].
    pub fn get(&self, key: &[u8], at: View) -> Result<Option<Slice>> {
        self.check(at)?;
        let found = self.newest(key, at.seqno).and_then(|newest| {
            let Some((seqno, kind, value)) = newest else {
                return Ok(None);
            };
            let is_put = resolve(Entry { key, seqno, kind })?;
            Ok(is_put.then_some(value))
        });
        found.map_err(|error| error.in_tree(self.tree.id()))
    }

    fn newest(&self, key: &[u8], at: Seqno) -> Result<Option<(Seqno, ValueKind, Slice)>> {
        for memtable in self.state.memtables() {
            if let Some(found) = memtable.get(key, at) {
                return Ok(Some(found));
            }
        }
        let hash = KeyHash::of(key);
        for (_, runs) in self.state.levels.iter() {
            for run in runs {
                let Some(table) = run.table_for(key) else {
                    continue;
                };
                if table.first_seqno > at {
                    continue;
                }
                let found = table.open().and_then(|table| table.get_hashed(key, hash, at));
                if let Some(found) = found.map_err(|error| table.blame(error))? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The entries of a range, from both ends. No I/O before the first is asked for.
    ///
    /// # Errors
    ///
    /// `SnapshotTooOld`.
    pub fn scan(&self, range: impl KeyRange, at: View) -> Result<Scan> {
        self.check(at)?;
        let (low, high) = range.bounds();
        let range = (low.map(Vec::from), high.map(Vec::from));
        let sources = Sources::overlapping(&self.state, &range);
        let tree = self.tree.id();
        let make: MakeCursor = Box::new(move || Box::new(MergeCursor::new(sources.cursors())));
        Ok(Scan { scan: VisibleScan::new(make, at.seqno, range), tree, _lease: self.lease.clone() })
    }

    fn check(&self, at: View) -> Result<()> {
        if self.state.is_readable_at(at.seqno) {
            return Ok(());
        }
        let (view, floor) = (at.seqno, self.state.read_floor);
        let message = format!("versions below {floor} may be gone, which a view at {view} would need");
        Err(Error::new(ErrorKind::SnapshotTooOld, message).in_tree(self.tree.id()))
    }
}

type MakeCursor = Box<dyn Fn() -> Box<dyn Cursor> + Send>;

/// Everything that may hold keys of a range. Makes cursors again for each end of a scan.
struct Sources {
    memtables: Vec<Arc<crate::memtable::Memtable>>,
    runs: Vec<Arc<[crate::version::TableRef]>>,
}

impl Sources {
    fn overlapping(state: &TreeState, (low, high): &KeyBounds) -> Sources {
        let memtables = state.memtables().filter(|memtable| !memtable.is_empty()).cloned().collect();
        let mut runs = Vec::new();
        for (_, level) in state.levels.iter() {
            for run in level {
                let from = match low {
                    Bound::Included(low) | Bound::Excluded(low) => {
                        run.tables.partition_point(|table| table.last_key < *low)
                    }
                    Bound::Unbounded => 0,
                };
                let to = match high {
                    Bound::Included(high) | Bound::Excluded(high) => {
                        run.tables.partition_point(|table| table.first_key <= *high)
                    }
                    Bound::Unbounded => run.tables.len(),
                };
                if from < to {
                    runs.push(Arc::from(&run.tables[from..to]));
                }
            }
        }
        Sources { memtables, runs }
    }

    fn cursors(&self) -> Vec<Box<dyn Cursor>> {
        let memtables = self.memtables.iter().map(|memtable| memtable.cursor());
        let runs = self.runs.iter().map(|run| Box::new(RunCursor::new(Arc::clone(run))) as Box<dyn Cursor>);
        memtables.chain(runs).collect()
    }
}

/// Entries in key order, from both ends; they meet without repeating.
///
/// An error stands for a range of keys ([`Error::keys`]); the scan goes on behind it in all sources, so no
/// older value shows in its place.
pub struct Scan {
    scan: VisibleScan<MakeCursor>,
    tree: TreeId,
    /// The directory stays locked while its files are read.
    _lease: Lease,
}

impl Scan {
    /// Moves the front to the first key `>= key`, inside the bounds. Backwards too. The back's position stays
    /// a bound: what that end gave out does not come again.
    pub fn seek(&mut self, key: &[u8]) {
        self.scan.seek(key);
    }

    /// Moves the back to the last key `<= key`, inside the bounds. The front's position stays a bound.
    pub fn seek_back(&mut self, key: &[u8]) {
        self.scan.seek_back(key);
    }

    /// The next key from the front, with an empty value in place of its own.
    pub fn next_key(&mut self) -> Option<Result<Item>> {
        self.scan.next(false).map(|item| item.map_err(|error| error.in_tree(self.tree)))
    }

    /// The next key from the back, with an empty value in place of its own.
    pub fn next_key_back(&mut self) -> Option<Result<Item>> {
        self.scan.next_back(false).map(|item| item.map_err(|error| error.in_tree(self.tree)))
    }
}

impl Iterator for Scan {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        self.scan.next(true).map(|item| item.map_err(|error| error.in_tree(self.tree)))
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Result<Item>> {
        self.scan.next_back(true).map(|item| item.map_err(|error| error.in_tree(self.tree)))
    }
}
