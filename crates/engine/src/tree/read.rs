//! Get and scan: one state of a tree, pinned.

use super::{Tree, state::TreeState};
use crate::{
    error::{Error, ErrorKind, KeyBounds, Result},
    expiry,
    iter::{
        Cursor, Item, MergeCursor, Sight, SkippingCursor, VisibleScan, unexpired, unsupported, value_apart,
        value_bytes_apart,
    },
    key::{KeyRange, ValueKind, prefix_of_range},
    order::KeyOrder,
    range_tombstone::Hidden,
    table::KeyHash,
    types::{Seqno, Slice, TreeId, UnixUs, View},
    version::{BlobReadAhead, CoveredPrefix, Lease, RunCursor},
};
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};

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

    /// As [`Tree::reader`], for a view of the past: of a tree that was cleared or dropped since the state it had, while
    /// that is held.
    ///
    /// # Errors
    ///
    /// `Closed`; `TreeDropped` of a view that does not come before the drop, or if nobody holds the state.
    pub fn reader_at(&self, seqno: Seqno) -> Result<Reader> {
        let lease = self.0.context.enter()?;
        let mut state = self.0.state.load();
        if seqno < state.cleared_at || self.check_alive().is_err() {
            match self.former_state(seqno) {
                Some(former) => state = former,
                None => self.check_alive()?, // Of a cleared tree the floor says that it is gone.
            }
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

/// The newest version of a key that a view sees, with its value as it is stored.
struct Newest {
    version: (Seqno, ValueKind, Slice),
    /// No put expires before, of the table that holds it.
    expires_from: UnixUs,
}

/// Whether a put of which something else is stored than its value has not expired.
fn is_there(kind: ValueKind, stored: &[u8], near: impl Fn(UnixUs) -> UnixUs) -> bool {
    let expires_at = expiry::of_version(kind, stored).unwrap_or_default();
    !kind.expires() || expires_at.is_some_and(|expires_at| near(expires_at) < expires_at)
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
    /// As [`Tree::read_floor`], of this state.
    #[inline]
    pub fn floor(&self) -> Seqno {
        self.state.read_floor
    }

    /// The value of a key: memtables newest first, then runs of level 0, then one table a level.
    ///
    /// # Errors
    ///
    /// As [`Tree::get`].
    pub fn get(&self, key: &[u8], at: View) -> Result<Option<Slice>> {
        self.get_timed(key, at.seqno, |_| at.time)
    }

    /// As [`Reader::get`], of a view whose time is asked for only if it matters: `near` is told when an entry expires, and
    /// gives the time, or one that tells as well whether the entry has.
    ///
    /// # Errors
    ///
    /// As [`Tree::get`].
    #[inline]
    pub fn get_timed(
        &self,
        key: &[u8],
        seqno: Seqno,
        near: impl Fn(UnixUs) -> UnixUs,
    ) -> Result<Option<Slice>> {
        self.check(seqno)?;
        let found = self.newest(key, seqno).and_then(|newest| match newest {
            Some(newest) => self.value_of(key, seqno, near, newest),
            None => Ok(None),
        });
        if let Err(error) = self.tree.0.order.check() {
            return Err(error.in_tree(self.tree.id()));
        }
        found.map_err(|error| error.in_tree(self.tree.id()))
    }

    /// As [`Reader::get_timed`], of the value's size: one that is separated or packed is not read.
    ///
    /// # Errors
    ///
    /// As [`Tree::get`].
    pub fn value_len_timed(
        &self,
        key: &[u8],
        seqno: Seqno,
        near: impl Fn(UnixUs) -> UnixUs,
    ) -> Result<Option<u32>> {
        self.check(seqno)?;
        let bytes = |value: Slice| u32::try_from(value.len()).expect("values are bounded");
        let found = self.newest(key, seqno).and_then(|newest| match newest {
            None => Ok(None),
            Some(newest) if !newest.version.1.is_apart() => {
                Ok(self.value_of(key, seqno, near, newest)?.map(bytes))
            }
            Some(Newest { version: (number, kind, stored), .. }) => {
                if self.state.is_hidden(key, number, seqno)? || !is_there(kind, &stored, near) {
                    return Ok(None);
                }
                value_bytes_apart(key, kind, &stored).map(Some)
            }
        });
        if let Err(error) = self.tree.0.order.check() {
            return Err(error.in_tree(self.tree.id()));
        }
        found.map_err(|error| error.in_tree(self.tree.id()))
    }

    /// What the newest version of a key that a view sees, hidden or not, makes of the key.
    #[inline]
    fn value_of(
        &self,
        key: &[u8],
        at: Seqno,
        near: impl Fn(UnixUs) -> UnixUs,
        Newest { version: (seqno, kind, stored), expires_from }: Newest,
    ) -> Result<Option<Slice>> {
        if kind.is_tombstone() || self.state.is_hidden(key, seqno, at)? {
            return Ok(None);
        }
        match kind {
            ValueKind::Put => Ok(Some(stored)),
            ValueKind::PutUntil => unexpired(key, stored, expires_from, near),
            // Of operands all is needed, down to what they stand on; that may expire.
            ValueKind::Merge => {
                let about_now = near(UnixUs(u64::MAX));
                let now = near(UnixUs(about_now.0.saturating_add(1))); // What is near is told exactly.
                let view = View::new(at, now);
                Ok(self.scan(key..=key, view)?.next().transpose()?.map(|(_, value)| value))
            }
            ValueKind::Delete | ValueKind::DeleteWeak | ValueKind::DeleteRange => Ok(None),
            ValueKind::BlobPointer
            | ValueKind::BlobPointerUntil
            | ValueKind::PutPacked
            | ValueKind::PutPackedUntil => match is_there(kind, &stored, near) {
                true => value_apart(key, kind, &stored, Some(&*self.state.blobs)),
                false => Ok(None),
            },
            ValueKind::Cells => Err(unsupported(key, kind)),
        }
    }

    /// Whether the time of a view can matter. To be asked once the view is known, by its number.
    pub fn may_expire(&self) -> bool {
        self.state.has_expiring || self.state.memtables().any(|memtable| memtable.may_expire())
    }

    fn newest(&self, key: &[u8], at: Seqno) -> Result<Option<Newest>> {
        for memtable in self.state.memtables() {
            if let Some(version) = memtable.get(key, at) {
                return Ok(Some(Newest { version, expires_from: UnixUs(0) }));
            }
        }
        let hash = KeyHash::of(key);
        for (_, runs) in self.state.levels.iter() {
            for run in runs {
                let Some(table) = run.table_for(&self.tree.0.order, key) else {
                    continue;
                };
                if table.first_seqno > at {
                    continue;
                }
                let found = table.open().and_then(|table| table.get_hashed(key, hash, at));
                if let Some(version) = found.map_err(|error| table.blame(error))? {
                    return Ok(Some(Newest { version, expires_from: table.expires_from() }));
                }
            }
        }
        Ok(None)
    }

    /// The entries of a range, from both ends. No I/O before the first is asked for.
    ///
    /// If all keys of the range begin with a prefix that the tree's extractor covers, tables whose prefix filter
    /// denies it are passed over. Memtables have no filters: they are searched faster than one would be made.
    ///
    /// # Errors
    ///
    /// `SnapshotTooOld`; `Corruption` or `Io` of range tombstones, which any key may need.
    pub fn scan(&self, range: impl KeyRange, at: View) -> Result<Scan> {
        self.check(at.seqno)?;
        let (low, high) = range.bounds();
        let range = (low.map(Vec::from), high.map(Vec::from));
        let tree = self.tree.id();
        let hidden = self.state.hidden(at.seqno).map_err(|error| error.in_tree(tree))?;
        let sources = Sources {
            prefix: self.covered_prefix(&range),
            hidden: hidden.clone(),
            ..Sources::overlapping(&self.tree.0.order, &self.state, &range)
        };
        let order = self.tree.0.order.clone();
        let sight = Sight {
            at,
            hidden,
            operator: self.state.code.merge.clone(),
            order: order.clone(),
            blobs: Some(BlobReadAhead::reader(&self.state.blobs)),
        };
        let make: MakeCursor = Box::new(move || sources.cursor());
        Ok(Scan { scan: VisibleScan::new(make, sight, range), tree, order, _lease: self.lease.clone() })
    }

    /// The longest prefix of all keys of a range that the extractor covers.
    fn covered_prefix(&self, (low, high): &KeyBounds) -> Option<Arc<CoveredPrefix>> {
        let extractor = self.state.code.extractor.as_ref()?;
        let common = prefix_of_range(low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        let mut longest = None;
        // What it covers of these bytes is among the prefixes of every key that begins with them, so of themselves.
        extractor.prefixes(common, &mut |bytes| {
            let covered = common.get(..bytes).filter(|prefix| extractor.covers(prefix));
            longest = longest.max(covered.map(<[u8]>::len));
        });
        let hash = KeyHash::of(&common[..longest?]);
        let skips = Arc::clone(&self.tree.0.counters.prefix_skips);
        Some(Arc::new(CoveredPrefix { extractor: Arc::clone(extractor), hash, skips }))
    }

    #[inline]
    fn check(&self, view: Seqno) -> Result<()> {
        if self.state.is_readable_at(view) { Ok(()) } else { Err(self.too_old(view)) }
    }

    #[cold]
    fn too_old(&self, view: Seqno) -> Error {
        let floor = self.state.read_floor;
        let message = format!("versions below {floor} may be gone, which a view at {view} would need");
        Error::new(ErrorKind::SnapshotTooOld, message).in_tree(self.tree.id())
    }
}

type SourcesCursor = MergeCursor<Box<dyn Cursor>>;
type MakeCursor = Box<dyn Fn() -> SourcesCursor + Send>;

/// Everything that may hold keys of a range. Makes cursors again for each end of a scan.
struct Sources {
    order: KeyOrder,
    memtables: Vec<Arc<crate::memtable::Memtable>>,
    runs: Vec<Arc<[crate::version::TableRef]>>,
    /// Of all keys of the range, if filters know it.
    prefix: Option<Arc<CoveredPrefix>>,
    /// From the view.
    hidden: Hidden,
}

impl Sources {
    fn overlapping(order: &KeyOrder, state: &TreeState, (low, high): &KeyBounds) -> Sources {
        let (low, high) = (low.as_ref().map(Vec::as_slice), high.as_ref().map(Vec::as_slice));
        let memtables = state.memtables().filter(|memtable| !memtable.is_empty()).cloned().collect();
        let mut runs = Vec::new();
        for (_, level) in state.levels.iter() {
            for run in level {
                let from = run.tables.partition_point(|table| !order.is_above(&table.last_key, low));
                let to = run.tables.partition_point(|table| order.is_below(&table.first_key, high));
                if from < to {
                    runs.push(Arc::from(&run.tables[from..to]));
                }
            }
        }
        Sources { order: order.clone(), memtables, runs, prefix: None, hidden: Hidden::nothing() }
    }

    fn cursor(&self) -> SourcesCursor {
        let memtables = self.memtables.iter().map(|memtable| match self.hidden.is_nothing() {
            true => memtable.cursor(),
            false => {
                Box::new(SkippingCursor::new(memtable.cursor(), Some(memtable.last_seqno()), &self.hidden))
            }
        });
        let runs = self.runs.iter().map(|run| {
            let run = Arc::clone(run);
            let cursor = match &self.prefix {
                Some(prefix) => RunCursor::of_prefix(&self.order, run, prefix),
                None => RunCursor::new(&self.order, run),
            };
            match self.hidden.is_nothing() {
                true => Box::new(cursor) as Box<dyn Cursor>,
                false => Box::new(SkippingCursor::new(cursor, None, &self.hidden)),
            }
        });
        MergeCursor::new(memtables.chain(runs).collect(), &self.order)
    }
}

/// Entries in key order, from both ends; they meet without repeating.
///
/// An error stands for a range of keys ([`Error::keys`]); the scan goes on behind it in all sources, so no
/// older value shows in its place.
pub struct Scan {
    scan: VisibleScan<MakeCursor, SourcesCursor>,
    tree: TreeId,
    order: KeyOrder,
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
        let item = self.scan.next(false);
        self.told(item)
    }

    /// The next key from the back, with an empty value in place of its own.
    pub fn next_key_back(&mut self) -> Option<Result<Item>> {
        let item = self.scan.next_back(false);
        self.told(item)
    }

    /// What is given out: nothing, also no end, that an order is to blame for which panicked.
    #[inline]
    fn told(&self, item: Option<Result<Item>>) -> Option<Result<Item>> {
        let item = item.map(|item| item.map_err(|error| error.in_tree(self.tree)));
        if self.order.is_bytewise() { item } else { self.told_in_order(item) }
    }

    #[cold]
    fn told_in_order(&self, item: Option<Result<Item>>) -> Option<Result<Item>> {
        let sound = self.order.check().map_err(|error| error.in_tree(self.tree));
        sound.map_or_else(|error| Some(Err(error)), |()| item)
    }
}

impl Iterator for Scan {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        let item = self.scan.next(true);
        self.told(item)
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Result<Item>> {
        let item = self.scan.next_back(true);
        self.told(item)
    }
}
