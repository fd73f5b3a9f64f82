//! Compaction of a range of keys on request: level by level down to the last level in use, which is then
//! written anew where that gets rid of something. Steps are pure; the caller carries each out before it asks
//! for the next.

use super::{
    plan::Plan,
    shape::{LAST_LEVEL, TableShape, TreeShape},
};
use crate::{
    key::KeyRange,
    types::{Level, Seqno, TableId},
};
use alloc::vec::Vec;

/// Which tables that lie in the last level already are written anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BottomRewrite {
    /// Those with tombstones, which may no longer hide anything.
    WithTombstones,
    /// All, to drop versions that only views of the past needed. A table does not say whether it has any.
    All,
}

/// What a range compaction remembers: the state of the tree when it began.
///
/// What is written to the tree later is not compacted, so that the steps end on a busy tree too; flush first
/// what is to take part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeProgress {
    /// Versions up to this one are to be in the last level.
    newest: Seqno,
    /// Tables with greater numbers were written since.
    newest_table: TableId,
    rewrite: BottomRewrite,
    /// A step takes no more of a level, unless a single table has more.
    step_bytes: u64,
}

impl RangeProgress {
    /// Begins. Steps take about `step_bytes` of the upper level each; of level 0 all that overlaps at once.
    pub fn start(tree: &TreeShape<'_>, rewrite: BottomRewrite, step_bytes: u64) -> RangeProgress {
        RangeProgress {
            newest: tree.tables().map(|table| table.seqnos().1).max().unwrap_or(Seqno::ZERO),
            newest_table: tree.tables().map(TableShape::id).max().unwrap_or(TableId(0)),
            rewrite,
            step_bytes,
        }
    }

    fn takes_part(&self, table: &TableShape<'_>) -> bool {
        table.seqnos().0 <= self.newest
    }

    fn is_worth_rewriting(&self, table: &TableShape<'_>) -> bool {
        table.id() <= self.newest_table
            && match self.rewrite {
                BottomRewrite::WithTombstones => table.tombstones() > 0,
                BottomRewrite::All => true,
            }
    }
}

/// The next step of compacting `range`, or `None` if all is done.
///
/// A step may name tables that a job has taken: [`validate`](super::validate) then says `Busy`, and the
/// caller asks again when a job is done. Steps end, because each brings data further down or leaves a newer
/// table behind.
///
/// ```text
/// let progress = RangeProgress::start(&shape(), BottomRewrite::WithTombstones, step_bytes);
/// while let Some(step) = tree.begin_compaction(|shape| next_range_plan(shape, &range, &progress))? {
///     step.run(&views, &mut |_| Ok(()))?;
/// }
/// ```
pub fn next_range_plan(
    tree: &TreeShape<'_>,
    range: &impl KeyRange,
    progress: &RangeProgress,
) -> Option<Plan> {
    let bottom = tree.last_used_level().filter(|level| level.0 > 0).unwrap_or(LAST_LEVEL);
    next_descent(tree, range, progress, bottom).or_else(|| {
        let run = tree.level(bottom).runs().first()?;
        let wanted = run.overlapping_bounds(range.bounds()).iter().copied();
        let stretch = first_stretch(wanted, progress.step_bytes, |table| progress.is_worth_rewriting(table));
        (!stretch.is_empty()).then(|| Plan::merge(ids(&stretch), bottom))
    })
}

/// A step that brings what lies highest to the next level that is in use.
fn next_descent(
    tree: &TreeShape<'_>,
    range: &impl KeyRange,
    progress: &RangeProgress,
    bottom: Level,
) -> Option<Plan> {
    let mut levels = (0..bottom.0).map(Level);
    let (from, sources) = levels.find_map(|level| {
        let sources = match level {
            Level(0) => closure_of_level0(tree, range, progress),
            _ => {
                let run = tree.level(level).runs().first()?;
                let wanted = run.overlapping_bounds(range.bounds()).iter().copied();
                first_stretch(wanted, progress.step_bytes, |table| progress.takes_part(table))
            }
        };
        (!sources.is_empty()).then_some((level, sources))
    })?;
    let to = (from.0 + 1..=bottom.0)
        .map(Level)
        .find(|&level| level == bottom || !tree.level(level).is_empty())
        .expect("the last level lies below");

    let (first, last) = tree.hull(sources.iter().copied()).expect("there are sources");
    let there = tree.level(to).overlapping(first, last);
    // What comes to the last level meets nothing older there, so that its tombstones can go at once.
    let drops = |table: &TableShape<'_>| table.tombstones() > 0 || progress.is_worth_rewriting(table);
    let is_worth_writing = to == bottom && sources.iter().any(drops);
    if there.is_empty() && from.0 > 0 && !is_worth_writing {
        return Some(Plan::relocate(ids(&sources), to));
    }
    let mut inputs = sources;
    inputs.extend_from_slice(there);
    Some(Plan::merge(ids(&inputs), to))
}

/// The tables of level 0 that overlap the range, and with each what is older and overlaps it.
fn closure_of_level0<'a>(
    tree: &TreeShape<'a>,
    range: &impl KeyRange,
    progress: &RangeProgress,
) -> Vec<TableShape<'a>> {
    let mut picked: Vec<TableShape<'a>> = Vec::new();
    for run in tree.level(Level(0)).runs() {
        let below =
            tree.hull(picked.iter().copied()).map_or(&[][..], |(first, last)| run.overlapping(first, last));
        let wanted = run.overlapping_bounds(range.bounds()).iter().filter(|table| progress.takes_part(table));
        let new: Vec<TableShape<'a>> = wanted
            .filter(|table| below.iter().all(|other| other.id() != table.id()))
            .chain(below)
            .copied()
            .collect();
        picked.extend(new);
    }
    picked
}

/// The first tables in a row that are wanted, up to a number of bytes but at least one.
fn first_stretch<'a>(
    tables: impl Iterator<Item = TableShape<'a>>,
    step_bytes: u64,
    is_wanted: impl Fn(&TableShape<'a>) -> bool,
) -> Vec<TableShape<'a>> {
    let mut bytes = 0_u64;
    tables
        .skip_while(|table| !is_wanted(table))
        .take_while(|table| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(table.bytes());
            is_wanted(table) && (is_first || bytes <= step_bytes)
        })
        .collect()
}

fn ids(tables: &[TableShape<'_>]) -> Vec<TableId> {
    tables.iter().map(TableShape::id).collect()
}
