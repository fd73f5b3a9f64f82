//! A tree as pickers see it: borrowed facts about its tables, in the order of their age. Never opens a table.

use crate::{
    blob::BlobUse,
    order::KeyOrder,
    table::TableMeta,
    types::{Level, Seqno, TableId, UnixUs},
};
use alloc::vec::Vec;
use core::ops::Bound;

/// Number of levels of a tree, level 0 included.
pub const LEVEL_COUNT: usize = 7;

/// The deepest level.
pub const LAST_LEVEL: Level = Level(LEVEL_COUNT as u8 - 1);

/// The tables of a tree at one moment, and where running jobs are about to put more.
#[derive(Clone, Debug)]
pub struct TreeShape<'a> {
    levels: Vec<LevelShape<'a>>,
    pending: Vec<PendingOutput<'a>>,
    now: UnixUs,
    order: &'a KeyOrder,
}

/// Where a running job will put its outputs.
///
/// No other job may put tables there, even between tables of the level: the outputs of the first may span it.
#[derive(Clone, Copy, Debug)]
pub struct PendingOutput<'a> {
    /// The level of the outputs.
    pub level: Level,
    /// Least key that they may hold.
    pub first_key: &'a [u8],
    /// Greatest key that they may hold.
    pub last_key: &'a [u8],
}

impl<'a> TreeShape<'a> {
    /// A tree of `levels` (level 0 first), each of runs (newest first), each of tables in key order, which is `order`.
    ///
    /// Missing levels are empty, and so are runs without tables, which are left out.
    ///
    /// # Panics
    ///
    /// If there are more than [`LEVEL_COUNT`] levels, more than one run below level 0, or tables of a run
    /// that overlap or are out of order (INV-VER-1).
    pub fn new(order: &'a KeyOrder, levels: Vec<Vec<Vec<TableShape<'a>>>>, now: UnixUs) -> TreeShape<'a> {
        assert!(levels.len() <= LEVEL_COUNT, "a tree has at most {LEVEL_COUNT} levels");
        let mut levels = levels.into_iter();
        let levels = (0..=LAST_LEVEL.0)
            .map(|level| {
                let runs = levels.next().unwrap_or_default().into_iter().filter(|tables| !tables.is_empty());
                let runs = runs.map(|tables| RunShape::new(order, tables)).collect();
                LevelShape { level: Level(level), runs }
            })
            .inspect(|level| {
                assert!(level.level.0 == 0 || level.runs.len() <= 1, "INV-VER-1: one run below level 0");
            })
            .collect();
        TreeShape { levels, pending: Vec::new(), now, order }
    }

    /// Adds where running jobs will put their outputs.
    #[must_use]
    pub fn with_pending(mut self, pending: Vec<PendingOutput<'a>>) -> TreeShape<'a> {
        self.pending = pending;
        self
    }

    /// Levels from 0 down, empty ones included.
    pub fn levels(&self) -> &[LevelShape<'a>] {
        &self.levels
    }

    /// One level.
    ///
    /// # Panics
    ///
    /// Below [`LAST_LEVEL`].
    pub fn level(&self, level: Level) -> &LevelShape<'a> {
        &self.levels[usize::from(level.0)]
    }

    /// All runs, newest first: those of level 0, then the others downwards.
    pub fn runs_by_age(&self) -> impl Iterator<Item = (Level, usize, &RunShape<'a>)> {
        self.levels
            .iter()
            .flat_map(|level| level.runs.iter().enumerate().map(|(at, run)| (level.level, at, run)))
    }

    /// Every table.
    pub fn tables(&self) -> impl Iterator<Item = &TableShape<'a>> {
        self.runs_by_age().flat_map(|(_, _, run)| run.tables.iter())
    }

    /// The deepest level with tables.
    pub fn last_used_level(&self) -> Option<Level> {
        self.levels.iter().rfind(|level| !level.is_empty()).map(|level| level.level)
    }

    /// Whether a running job may put tables between `first` and `last`, inclusive, of `level`.
    pub fn is_pending(&self, level: Level, first: &[u8], last: &[u8]) -> bool {
        self.pending.iter().any(|output| {
            output.level == level
                && self.order.is_at_most(output.first_key, last)
                && self.order.is_at_most(first, output.last_key)
        })
    }

    /// The order of its keys.
    pub fn order(&self) -> &'a KeyOrder {
        self.order
    }

    /// The least and the greatest key of some tables of the tree, inclusive; `None` without tables.
    pub(super) fn hull(
        &self,
        tables: impl IntoIterator<Item = TableShape<'a>>,
    ) -> Option<(&'a [u8], &'a [u8])> {
        tables.into_iter().map(|table| (table.first_key(), table.last_key())).reduce(|a, b| {
            let first = if self.order.is_less(b.0, a.0) { b.0 } else { a.0 };
            (first, if self.order.is_less(a.1, b.1) { b.1 } else { a.1 })
        })
    }

    /// Whether both may hold the same key.
    pub(super) fn overlap(&self, a: &TableShape<'_>, b: &TableShape<'_>) -> bool {
        self.order.is_at_most(a.first_key(), b.last_key())
            && self.order.is_at_most(b.first_key(), a.last_key())
    }

    /// Time of the call.
    pub fn now(&self) -> UnixUs {
        self.now
    }
}

/// One level.
#[derive(Clone, Debug)]
pub struct LevelShape<'a> {
    level: Level,
    runs: Vec<RunShape<'a>>,
}

impl<'a> LevelShape<'a> {
    /// Which.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Sorted runs, newest first. At most one below level 0.
    pub fn runs(&self) -> &[RunShape<'a>] {
        &self.runs
    }

    /// All tables: of the newest run first, and within a run in key order.
    pub fn tables(&self) -> impl Iterator<Item = &TableShape<'a>> {
        self.runs.iter().flat_map(|run| run.tables.iter())
    }

    /// Of the single run of a level below 0, the tables that may hold keys between `first` and `last`,
    /// inclusive.
    pub fn overlapping(&self, first: &[u8], last: &[u8]) -> &[TableShape<'a>] {
        debug_assert!(self.level.0 > 0, "level 0 has several runs");
        self.runs.first().map_or(&[], |run| run.overlapping(first, last))
    }

    /// Bytes of all runs.
    pub fn bytes(&self) -> u64 {
        self.tables().map(TableShape::bytes).sum()
    }

    /// Bytes that no job has taken.
    pub fn idle_bytes(&self) -> u64 {
        self.tables().filter(|table| !table.is_busy).map(TableShape::bytes).sum()
    }

    /// Whether it has no table.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// A sorted run: tables with disjoint ranges, in key order. Never without tables.
#[derive(Clone, Debug)]
pub struct RunShape<'a> {
    order: &'a KeyOrder,
    tables: Vec<TableShape<'a>>,
}

impl<'a> RunShape<'a> {
    fn new(order: &'a KeyOrder, tables: Vec<TableShape<'a>>) -> RunShape<'a> {
        for table in &tables {
            let is_in_order = order.is_at_most(table.first_key(), table.last_key());
            assert!(is_in_order, "table {} ends before it starts", table.id());
        }
        for pair in tables.windows(2) {
            assert!(
                order.is_less(pair[0].last_key(), pair[1].first_key()),
                "INV-VER-1: tables {} and {} of a run are out of order",
                pair[0].id(),
                pair[1].id(),
            );
        }
        RunShape { order, tables }
    }

    /// Its tables.
    pub fn tables(&self) -> &[TableShape<'a>] {
        &self.tables
    }

    /// Those that may hold keys between `first` and `last`, inclusive. Two binary searches.
    pub fn overlapping(&self, first: &[u8], last: &[u8]) -> &[TableShape<'a>] {
        self.overlapping_bounds((Bound::Included(first), Bound::Included(last)))
    }

    /// Those that may hold keys inside of the bounds.
    pub fn overlapping_bounds(&self, (low, high): (Bound<&[u8]>, Bound<&[u8]>)) -> &[TableShape<'a>] {
        let start = self.tables.partition_point(|table| !self.order.is_above(table.last_key(), low));
        let end = self.tables.partition_point(|table| self.order.is_below(table.first_key(), high));
        // A reversed range holds nothing.
        self.tables.get(start..end).unwrap_or(&[])
    }

    /// Least key.
    pub fn first_key(&self) -> &'a [u8] {
        self.tables[0].first_key()
    }

    /// Greatest key.
    pub fn last_key(&self) -> &'a [u8] {
        self.tables[self.tables.len() - 1].last_key()
    }

    /// Bytes of all tables.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(TableShape::bytes).sum()
    }

    /// Whether a job has taken any of its tables.
    pub fn is_busy(&self) -> bool {
        self.tables.iter().any(|table| table.is_busy)
    }
}

/// One table.
#[derive(Clone, Copy, Debug)]
pub struct TableShape<'a> {
    meta: &'a TableMeta,
    is_busy: bool,
}

impl<'a> TableShape<'a> {
    /// A table, and whether a job has taken it or none may.
    pub fn new(meta: &'a TableMeta, is_busy: bool) -> TableShape<'a> {
        TableShape { meta, is_busy }
    }

    /// What it points to in files of separated values.
    pub(super) fn blobs(&self) -> &'a [BlobUse] {
        &self.meta.blobs
    }

    /// What the manifest knows of it.
    pub fn meta(&self) -> &'a TableMeta {
        self.meta
    }

    /// Its number.
    pub fn id(&self) -> TableId {
        self.meta.id
    }

    /// Whether it has range tombstones.
    pub fn has_ranges(&self) -> bool {
        self.meta.ranges.is_some()
    }

    /// When all of its entries have expired, if they do.
    pub fn expire_by(&self) -> Option<UnixUs> {
        self.meta.expiry.and_then(|expiry| expiry.last)
    }

    /// Size of its file.
    pub fn bytes(&self) -> u64 {
        self.meta.bytes
    }

    /// Least user key.
    pub fn first_key(&self) -> &'a [u8] {
        &self.meta.first_key
    }

    /// Greatest user key.
    pub fn last_key(&self) -> &'a [u8] {
        &self.meta.last_key
    }

    /// Least and greatest number of a version.
    pub fn seqnos(&self) -> (Seqno, Seqno) {
        (self.meta.first_seqno, self.meta.last_seqno)
    }

    /// Versions in it.
    pub fn entries(&self) -> u64 {
        self.meta.entries
    }

    /// Of these, deletes of any kind.
    pub fn tombstones(&self) -> u64 {
        self.meta.tombstones
    }

    /// When it was written.
    pub fn created_at(&self) -> UnixUs {
        self.meta.created_at
    }

    /// Taken by a job, or damaged and left alone.
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }
}
