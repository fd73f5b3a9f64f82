//! What range tombstones are to a job: which versions they hide from all views alike, and whether one is needed itself.

use super::fate::Views;
use crate::{
    order::KeyOrder,
    range_tombstone::{RangeTombstone, RangeTombstones},
    table::TableMeta,
    types::Seqno,
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::ops::Bound;

/// The range tombstones that a job knows of: those it reads, and those of all other tables, which are durable.
///
/// They are sorted into *stripes*: no view tells two of one stripe apart, so that of each only the newest over a key
/// matters.
#[derive(Debug)]
pub struct JobRanges {
    /// By number.
    stripes: Vec<RangeTombstones>,
    /// Others may be there that could not be read.
    is_incomplete: bool,
}

impl JobRanges {
    /// None at all.
    pub const NONE: JobRanges = JobRanges { stripes: Vec::new(), is_incomplete: false };

    /// These, of keys in `order`, given anyhow.
    pub fn new(order: &KeyOrder, all: impl IntoIterator<Item = RangeTombstone>, views: &Views) -> JobRanges {
        let mut stripes: BTreeMap<(usize, Seqno), Vec<RangeTombstone>> = BTreeMap::new();
        for tombstone in all {
            // From the newest view on there may be one at any number.
            let alone = if tombstone.seqno > views.visible() { tombstone.seqno } else { Seqno::ZERO };
            stripes.entry((views.live_before(tombstone.seqno), alone)).or_default().push(tombstone);
        }
        let stripes = stripes.into_values().map(|stripe| RangeTombstones::new(order, stripe)).collect();
        JobRanges { stripes, is_incomplete: false }
    }

    /// Some could not be read, of tables that the job reads perhaps: nothing is hidden by these, and any key may be.
    #[must_use]
    pub fn incomplete(self) -> JobRanges {
        JobRanges { is_incomplete: true, ..self }
    }

    /// Whether some could not be read.
    pub(super) fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        self.stripes.is_empty() && !self.is_incomplete
    }

    /// Greatest number of one.
    pub fn newest(&self) -> Seqno {
        self.stripes.last().map_or(Seqno::ZERO, RangeTombstones::newest)
    }

    /// Of those over a key that are newer than a number: the oldest, or one that no view tells from that.
    pub(super) fn hider(&self, key: &[u8], seqno: Seqno) -> Option<Seqno> {
        let over = self.stripes.iter().filter(|stripe| stripe.newest() > seqno);
        over.filter_map(|stripe| stripe.covering(key, Seqno::MAX)).find(|&found| found > seqno)
    }

    /// The same for all keys from `start` on up to an end: of those that lie over all of them, between them within a stripe.
    pub(super) fn hider_of_range(&self, start: &[u8], end: Bound<&[u8]>, seqno: Seqno) -> Option<Seqno> {
        let newer = self.stripes.iter().filter(|stripe| stripe.newest() > seqno);
        newer.filter(|stripe| stripe.cover_whole(start, end, seqno)).map(RangeTombstones::newest).next()
    }

    /// Whether one of any number may lie over a key.
    pub(super) fn may_lie_over(&self, key: &[u8]) -> bool {
        self.is_incomplete || self.stripes.iter().any(|stripe| stripe.covering(key, Seqno::MAX).is_some())
    }
}

/// The tables of a tree that a job does not read: what a tombstone may still hide.
#[derive(Clone)]
pub struct OtherTables {
    tables: Vec<Arc<TableMeta>>,
    order: KeyOrder,
    denies: Arc<Denies>,
}

/// Whether the filter of a table tells that a key is not there.
type Denies = dyn Fn(&TableMeta, &[u8]) -> bool + Send + Sync;

impl OtherTables {
    /// These, of keys in this order; `denies` says of a key that is in the range of one whether its filter tells that it is
    /// not there.
    pub fn new(
        order: &KeyOrder,
        tables: Vec<Arc<TableMeta>>,
        denies: impl Fn(&TableMeta, &[u8]) -> bool + Send + Sync + 'static,
    ) -> OtherTables {
        OtherTables { tables, order: order.clone(), denies: Arc::new(denies) }
    }

    /// Whether any may hold a version of a key that is older than a number, its filter asked.
    pub(super) fn may_hold(&self, key: &[u8], seqno: Seqno) -> bool {
        self.tables.iter().any(|table| {
            table.first_seqno < seqno
                && self.order.is_at_most(&table.first_key, key)
                && self.order.is_at_most(key, &table.last_key)
                && !(self.denies)(table, key)
        })
    }

    /// Whether any may hold a version that the tombstone hides, in any level: where in a tree a tombstone lies says
    /// nothing of what it hides but for the first key of its range.
    pub(super) fn may_hold_hidden(&self, tombstone: &RangeTombstone) -> bool {
        self.tables.iter().any(|table| {
            table.first_seqno < tombstone.seqno
                && tombstone.overlaps(&self.order, &table.first_key, &table.last_key)
        })
    }
}
