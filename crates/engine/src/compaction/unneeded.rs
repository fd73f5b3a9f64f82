//! Whole tables that no view needs: they go without being read. Pure.

use super::{
    fate::Views,
    plan::Plan,
    ranges::JobRanges,
    shape::{RunShape, TableShape, TreeShape},
};
use crate::types::TableId;
use alloc::vec::Vec;
use core::ops::Bound;

/// A plan to drop the tables that no view needs, or `None` if there are none that are not busy.
///
/// Such are tables all of whose versions
///
/// - range tombstones of other tables hide from every view, without range tombstones of their own: those might hide
///   more;
/// - have expired for every view, where nothing older of their keys is left below that would show again.
///
/// Only those go that were there when the range tombstones were looked at (`was_there`): of a table that was written later
/// versions may have lost their numbers because a tombstone had gone, and look older than it.
pub fn unneeded_tables(
    tree: &TreeShape<'_>,
    ranges: &JobRanges,
    views: &Views,
    was_there: impl Fn(TableId) -> bool,
) -> Option<Plan> {
    let mut unneeded: Vec<TableId> = Vec::new();
    // What lies below comes first, so that it is known to go.
    let mut below: Vec<&RunShape<'_>> = Vec::new();
    let runs: Vec<&RunShape<'_>> = tree.runs_by_age().map(|(_, _, run)| run).collect();
    for run in runs.into_iter().rev() {
        let goes = |table: &&TableShape<'_>| {
            !table.is_busy()
                && was_there(table.id())
                && (is_hidden_whole(table, ranges, views)
                    || has_expired_whole(table, views) && !is_over(table, &below, &unneeded))
        };
        let ids: Vec<TableId> = run.tables().iter().filter(goes).map(TableShape::id).collect();
        unneeded.extend(ids);
        below.push(run);
    }
    (!unneeded.is_empty()).then(|| Plan::discard(unneeded))
}

/// Whether a table of these runs that does not go may hold keys of this one.
fn is_over(table: &TableShape<'_>, runs: &[&RunShape<'_>], goes: &[TableId]) -> bool {
    let mut below = runs.iter().flat_map(|run| run.overlapping(table.first_key(), table.last_key()));
    below.any(|table| !goes.contains(&table.id()))
}

fn is_hidden_whole(table: &TableShape<'_>, ranges: &JobRanges, views: &Views) -> bool {
    if table.has_ranges() || ranges.newest() < table.seqnos().1 {
        return false;
    }
    let (first_seqno, last_seqno) = table.seqnos();
    let hider = ranges.hider_of_range(table.first_key(), Bound::Included(table.last_key()), last_seqno);
    hider.is_some_and(|hider| !views.has_view_in(first_seqno, hider))
}

fn has_expired_whole(table: &TableShape<'_>, views: &Views) -> bool {
    table.expire_by().is_some_and(|last| last <= views.oldest_time())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compaction::{
            model::meta,
            oracle::{seqno, views},
        },
        expiry::ExpiryBounds,
        order::KeyOrder,
        range_tombstone::RangeTombstone,
        table::TableMeta,
        types::{Seqno, UnixUs, View},
    };
    use alloc::vec;

    /// A table that came after the range tombstones were looked at.
    const LATER: TableId = TableId(99);

    /// Levels of one run of one table each.
    fn shape(tables: &[TableMeta]) -> TreeShape<'_> {
        let levels = tables.iter().map(|table| vec![vec![TableShape::new(table, false)]]);
        TreeShape::new(KeyOrder::bytes(), levels.collect(), UnixUs(0))
    }

    fn unneeded(tables: &[TableMeta], ranges: &[(&str, &str, u64)], views: &Views) -> Vec<u64> {
        let tombstones = ranges.iter().map(|(start, end, number)| {
            RangeTombstone::of_version(start.as_bytes(), seqno(*number), end.as_bytes())
        });
        let ranges = JobRanges::new(&KeyOrder::BYTES, tombstones, views);
        let plan = unneeded_tables(&shape(tables), &ranges, views, |id| id != LATER);
        plan.map_or(Vec::new(), |plan| plan.inputs.iter().map(|id| id.0).collect())
    }

    #[test]
    fn a_table_goes_that_range_tombstones_cover_together_unless_a_view_sees_into_it() {
        let table = TableMeta { first_seqno: seqno(3), ..meta(5, b"c", b"m") };
        let tables = [table];

        assert_eq!(unneeded(&tables, &[("c", "n", 9)], &views(&[], 20)), [5]);
        assert_eq!(unneeded(&tables, &[("a", "h", 9), ("h", "", 12)], &views(&[], 20)), [5]);
        assert_eq!(
            unneeded(&tables, &[("c", "m", 9)], &views(&[], 20)),
            [0; 0],
            "the last key is not covered"
        );
        assert_eq!(unneeded(&tables, &[("c", "n", 4)], &views(&[], 20)), [0; 0], "it is older");
        assert_eq!(unneeded(&tables, &[("c", "n", 9)], &views(&[8], 20)), [0; 0], "8 sees the table");
        assert_eq!(unneeded(&tables, &[("c", "n", 9)], &views(&[2, 9], 20)), [5], "neither sees it");
        assert_eq!(unneeded(&tables, &[("c", "n", 9)], &views(&[], 8)), [0; 0], "the delete is not visible");
        assert_eq!(
            unneeded(&tables, &[("a", "h", 9), ("h", "z", 12)], &views(&[10], 20)),
            [0; 0],
            "10 sees a half"
        );
    }

    /// The tree was cleared, or the tombstone was dropped, while a job had it in hand: a put that was written since had lost its
    /// number at the bottom, and went with its table.
    #[test]
    fn a_table_stays_that_was_written_after_the_tombstones_were_looked_at() {
        let bottom = TableMeta { first_seqno: Seqno::ZERO, last_seqno: Seqno::ZERO, ..meta(99, b"c", b"m") };
        assert_eq!(unneeded(&[bottom], &[("a", "", 9)], &views(&[], 20)), [0; 0]);
    }

    #[test]
    fn a_table_goes_that_has_expired_if_nothing_older_lies_below() {
        let expiring = |id, last: Option<u64>| TableMeta {
            expiry: Some(ExpiryBounds { first: UnixUs(1), last: last.map(UnixUs) }),
            id: TableId(id),
            ..meta(id, b"c", b"m")
        };
        let at = |time| Views::new(&[], View::new(seqno(20), UnixUs(time)));

        assert_eq!(unneeded(&[expiring(5, Some(7))], &[], &at(7)), [5]);
        assert_eq!(unneeded(&[expiring(5, Some(7))], &[], &at(6)), [0; 0]);
        assert_eq!(unneeded(&[expiring(5, None)], &[], &at(7)), [0; 0], "some never expire");
        let older = [expiring(5, Some(7)), meta(2, b"d", b"e")];
        assert_eq!(unneeded(&older, &[], &at(7)), [0; 0], "a table below would show again");
        let both = [expiring(5, Some(7)), expiring(2, Some(3))];
        assert_eq!(unneeded(&both, &[], &at(7)), [2, 5], "that goes too");
        let old_view = Views::new(&[View::new(seqno(20), UnixUs(6))], View::new(seqno(20), UnixUs(9)));
        assert_eq!(unneeded(&[expiring(5, Some(7))], &[], &old_view), [0; 0], "a view was taken before");
    }
}
