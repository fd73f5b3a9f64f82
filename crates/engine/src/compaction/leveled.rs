//! Leveled compaction with dynamic sizes: one run per level below 0, each level `ratio` times the one above.
//!
//! The sizes follow the data: the largest level is as large as it is, each level above is to be `ratio` times
//! smaller, and the first one that fits into `level1_bytes` is the *base level*, where the content of level 0
//! goes. Levels above the base level are empty. So a tree of any size wastes about `1/ratio` of its space on
//! versions that a deeper level shadows, and a small tree has two levels, not seven.
//!
//! Pure, like every strategy. The idea is from "Optimizing Space Amplification in RocksDB" (CIDR 2017).

use super::{
    plan::{Plan, validate},
    shape::{LAST_LEVEL, LEVEL_COUNT, LevelShape, RunShape, TableShape, TreeShape},
    strategy::CompactionStrategy,
};
use crate::types::Level;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// The score of a level that is exactly as large as wanted.
const FULL_PERMILLE: u64 = 1_000;

/// Level 0 is merged within itself from this many times `l0_runs` on, if nothing else helps.
const CROWDED_L0_FACTOR: usize = 2;

/// Level 0 goes down when what it meets there is at most so many times as large. Before, its runs are merged with each other:
/// each way down writes all of that anew. So at most about half as much as the base level waits, shadowing what is there.
const DEAR_DESCENT_FACTOR: u64 = 2;

/// A table is rich in tombstones if they are at least this share of its entries.
const TOMBSTONE_RICH_PERCENT: u64 = 50;

/// One run per level, each `ratio` times the one above; sizes follow the last level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leveled {
    /// Size of a level over that of the level above; at least 2.
    pub ratio: u8,
    /// So many runs in level 0 start a compaction; at least 1.
    pub l0_runs: u8,
    /// Largest size wanted of the base level, and size of level 0 that starts a compaction. A few tables.
    pub level1_bytes: u64,
}

impl Leveled {
    /// Defaults for tables of about `table_bytes`.
    pub const fn for_tables_of(table_bytes: u64) -> Leveled {
        Leveled { ratio: 10, l0_runs: 4, level1_bytes: table_bytes.saturating_mul(4) }
    }

    /// How full each level is, level 0 first, the last level left out. What jobs have taken does not count.
    pub fn scores(&self, tree: &TreeShape<'_>) -> Vec<LevelScore> {
        let targets = self.targets(tree);
        let level0 = tree.level(Level(0));
        let idle_runs = level0.runs().iter().filter(|run| !run.is_busy()).count();
        let by_runs = permille(idle_runs as u64, u64::from(self.l0_runs));
        let by_bytes = permille(level0.idle_bytes(), self.level1_bytes);

        let mut scores = Vec::from([LevelScore { level: Level(0), permille: by_runs.max(by_bytes) }]);
        scores.extend((1..LAST_LEVEL.0).map(Level).map(|level| LevelScore {
            level,
            permille: permille(tree.level(level).idle_bytes(), targets.bytes(level)),
        }));
        scores
    }

    /// The level that the content of level 0 goes to.
    pub fn base_level(&self, tree: &TreeShape<'_>) -> Level {
        self.targets(tree).base
    }

    /// Size wanted of `level`; that of level 0, and of levels above the base level, is 0.
    pub fn target_bytes(&self, tree: &TreeShape<'_>, level: Level) -> u64 {
        self.targets(tree).bytes(level)
    }

    fn targets(&self, tree: &TreeShape<'_>) -> Targets {
        assert!(
            self.ratio >= 2 && self.l0_runs >= 1 && self.level1_bytes >= 1,
            "options are in their bounds"
        );
        let below = &tree.levels()[1..];
        let largest = below.iter().map(LevelShape::bytes).max().expect("a tree has levels below 0");
        let first_used = below.iter().find(|level| !level.is_empty()).map_or(LAST_LEVEL, LevelShape::level);

        let mut bytes = [0; LEVEL_COUNT];
        let mut base = LAST_LEVEL;
        let mut wanted = largest;
        bytes[usize::from(base.0)] = wanted.max(self.level1_bytes);
        while base.0 > 1 && wanted > self.level1_bytes {
            base.0 -= 1;
            wanted /= u64::from(self.ratio);
            // Never less than a few tables, or each merge into the base level would need one out of it.
            bytes[usize::from(base.0)] = wanted.max(self.level1_bytes);
        }
        // The tree has shrunk: these levels drain, and newer data must not pass what they still hold.
        while base > first_used {
            base.0 -= 1;
            bytes[usize::from(base.0)] = (self.level1_bytes / u64::from(self.ratio)).max(1);
        }
        Targets { base, bytes }
    }

    fn pick_level0(&self, tree: &TreeShape<'_>, base: Level) -> Option<Plan> {
        let runs = tree.level(Level(0)).runs();
        let idle_count = runs.iter().rev().take_while(|run| !run.is_busy()).count();
        let oldest = &runs[runs.len() - idle_count..];
        // If the oldest run is taken, a job to the base level is on its way, or a merge that comes first.
        if oldest.is_empty() {
            return self.pick_within_level0(runs);
        }

        let alone = oldest.iter().rev().take_while(|run| stands_alone(tree, run, base)).count();
        if alone > 0 {
            let tables: Vec<TableShape<'_>> =
                oldest[oldest.len() - alone..].iter().flat_map(|run| run.tables()).copied().collect();
            return Some(descend(tree, &tables, base));
        }

        let tables: Vec<TableShape<'_>> = oldest.iter().flat_map(|run| run.tables()).copied().collect();
        let way_down = || merge_into(tree, &tables, base);
        if self.is_descent_dear(tree, &tables, base) {
            merge_newest(oldest, 2).or_else(way_down)
        } else {
            way_down().or_else(|| self.pick_within_level0(runs))
        }
    }

    /// Whether these tables of level 0 should wait for more: few, for what they meet in the base level, in bytes and in
    /// entries, for deletes are short. Not if they are as many bytes as level 0 may have.
    fn is_descent_dear(&self, tree: &TreeShape<'_>, tables: &[TableShape<'_>], base: Level) -> bool {
        let Some((first, last)) = tree.hull(tables.iter().copied()) else { return false };
        let met = tree.level(base).overlapping(first, last);
        let bytes = |tables: &[TableShape<'_>]| tables.iter().map(TableShape::bytes).sum::<u64>();
        let entries = |tables: &[TableShape<'_>]| tables.iter().map(TableShape::entries).sum::<u64>();
        let are_few = |here: u64, there: u64| here.saturating_mul(DEAR_DESCENT_FACTOR) < there;
        bytes(tables) < self.level1_bytes
            && are_few(bytes(tables), bytes(met))
            && are_few(entries(tables), entries(met))
    }

    /// Fewer runs for readers while the way down is taken: a merge of adjacent runs, the newest that are
    /// worth it.
    fn pick_within_level0(&self, runs: &[RunShape<'_>]) -> Option<Plan> {
        if runs.len() < CROWDED_L0_FACTOR * usize::from(self.l0_runs) {
            return None;
        }
        let least = usize::from(self.l0_runs).max(2);
        runs.split(|run| run.is_busy()).find_map(|idle| merge_newest(idle, least))
    }
}

/// How full a level is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LevelScore {
    /// Which.
    pub level: Level,
    /// Thousandths of what is wanted; from 1000 on a compaction is due.
    pub permille: u64,
}

struct Targets {
    base: Level,
    bytes: [u64; LEVEL_COUNT],
}

impl Targets {
    fn bytes(&self, level: Level) -> u64 {
        self.bytes[usize::from(level.0)]
    }
}

impl CompactionStrategy for Leveled {
    fn name(&self) -> &str {
        "leveled"
    }

    fn pick(&self, tree: &TreeShape<'_>) -> Option<Plan> {
        let base = self.base_level(tree);
        let mut due = self.scores(tree);
        due.retain(|score| score.permille >= FULL_PERMILLE);
        due.sort_by_key(|score| Reverse(score.permille)); // Stable: of equals the upper level goes first.

        let plan = due.iter().find_map(|score| match score.level {
            Level(0) => self.pick_level0(tree, base),
            level => pick_table(tree, level),
        })?;
        debug_assert!(
            validate(tree, &plan).is_ok(),
            "a pick is valid: {plan:?}, {:?}",
            validate(tree, &plan)
        );
        Some(plan)
    }

    /// Follows the excess of each level down: what it writes there, and what it has to merge with on average.
    fn debt(&self, tree: &TreeShape<'_>) -> u64 {
        let targets = self.targets(tree);
        let level0 = tree.level(Level(0));
        let l0_bytes = level0.bytes();
        let mut debt = 0_u64;
        let mut arriving = 0;
        if level0.runs().len() >= usize::from(self.l0_runs) || l0_bytes >= self.level1_bytes {
            let (first, last) = tree.hull(level0.tables().copied()).expect("level 0 has runs");
            let merged: u64 =
                tree.level(targets.base).overlapping(first, last).iter().map(TableShape::bytes).sum();
            debt = l0_bytes + merged;
            arriving = l0_bytes;
        }
        for level in (targets.base.0..LAST_LEVEL.0).map(Level) {
            let bytes = tree.level(level).bytes() + arriving;
            let excess = bytes.saturating_sub(targets.bytes(level));
            if excess > 0 {
                let below = tree.level(Level(level.0 + 1)).bytes();
                let merged = u128::from(excess) * u128::from(below) / u128::from(bytes);
                debt +=
                    excess + u64::try_from(merged).expect("a share of a level is no larger than the level");
            }
            arriving = excess;
        }
        debt
    }
}

/// The table of a level whose way down costs least for its size, those rich in tombstones before all others.
fn pick_table(tree: &TreeShape<'_>, level: Level) -> Option<Plan> {
    let to = Level(level.0 + 1);
    let below = tree.level(to);
    let candidates = tree.level(level).tables().filter(|table| !table.is_busy()).filter_map(|table| {
        let plan = merge_into(tree, &[*table], to)?;
        let merged: u64 =
            below.overlapping(table.first_key(), table.last_key()).iter().map(TableShape::bytes).sum();
        Some((Reverse(is_rich_in_tombstones(table)), permille(merged, table.bytes()), table, plan))
    });
    let (_, merged, table, plan) = candidates.min_by_key(|&(rich, merged, ..)| (rich, merged))?;
    Some(if merged == 0 { descend(tree, &[*table], to) } else { plan })
}

/// Merges tables into a level, together with the tables there that the outputs may overlap; `None` if a job
/// is in the way.
fn merge_into<'a>(tree: &TreeShape<'a>, tables: &[TableShape<'a>], to: Level) -> Option<Plan> {
    let (first, last) = tree.hull(tables.iter().copied())?;
    let there = tree.level(to).overlapping(first, last);
    let (first, last) = tree.hull(tables.iter().chain(there).copied())?;
    if there.iter().any(TableShape::is_busy) || tree.is_pending(to, first, last) {
        return None;
    }
    Some(Plan::merge(tables.iter().chain(there).map(TableShape::id).collect(), to))
}

/// Brings tables down that meet nothing on the way: as they are, unless writing them anew gets rid of
/// tombstones.
fn descend<'a>(tree: &TreeShape<'a>, tables: &[TableShape<'a>], to: Level) -> Plan {
    let hides_nothing = |table: &TableShape<'_>| {
        let below = &tree.levels()[usize::from(to.0) + 1..];
        below.iter().all(|level| level.overlapping(table.first_key(), table.last_key()).is_empty())
    };
    let is_worth_writing = tables.iter().any(|table| is_rich_in_tombstones(table) && hides_nothing(table));
    // Outputs of a merge may span all of its inputs; then nothing may lie between them.
    let merge = if is_worth_writing { merge_into(tree, tables, to) } else { None };
    merge.unwrap_or_else(|| Plan::relocate(tables.iter().map(TableShape::id).collect(), to))
}

/// Whether a run of level 0 overlaps neither the other runs there nor anything in the base level.
fn stands_alone(tree: &TreeShape<'_>, run: &RunShape<'_>, base: Level) -> bool {
    let others = || tree.level(Level(0)).runs().iter().filter(|other| !core::ptr::eq(*other, run));
    run.tables().iter().all(|table| {
        let (first, last) = (table.first_key(), table.last_key());
        tree.level(base).overlapping(first, last).is_empty()
            && !tree.is_pending(base, first, last)
            && others().all(|other| other.overlapping(first, last).is_empty())
    })
}

/// Merges the newest of some adjacent runs of level 0 that are worth it, at least so many.
fn merge_newest(idle: &[RunShape<'_>], least: usize) -> Option<Plan> {
    if idle.len() < least {
        return None;
    }
    let count = cheapest_prefix(idle);
    let inputs = || idle[..count].iter().flat_map(|run| run.tables()).map(TableShape::id).collect();
    (count >= least).then(|| Plan::merge(inputs(), Level(0)))
}

/// How many of the runs, newest first, to merge so that each run less costs the fewest bytes.
///
/// Stops before a run that would make it dearer: an old, large run is not written again for each few new
/// ones.
fn cheapest_prefix(runs: &[RunShape<'_>]) -> usize {
    let mut count = 1;
    let mut bytes = runs[0].bytes();
    let mut cost = u64::MAX;
    for run in &runs[1..] {
        bytes += run.bytes();
        let longer_cost = bytes / count as u64; // Merging `count + 1` runs leaves `count` fewer.
        if longer_cost > cost {
            break;
        }
        cost = longer_cost;
        count += 1;
    }
    count
}

fn is_rich_in_tombstones(table: &TableShape<'_>) -> bool {
    table.tombstones() > 0 && permille(table.tombstones(), table.entries()) >= TOMBSTONE_RICH_PERCENT * 10
}

/// Thousandths of `whole` in `part`; the greatest number if `whole` is 0 and `part` is not.
fn permille(part: u64, whole: u64) -> u64 {
    match (part, whole) {
        (0, _) => 0,
        (_, 0) => u64::MAX,
        _ => u64::try_from(u128::from(part) * u128::from(FULL_PERMILLE) / u128::from(whole))
            .unwrap_or(u64::MAX),
    }
}
