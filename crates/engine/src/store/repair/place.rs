//! Where tables go that no manifest places: so that of every key newer versions come first. Pure.

use crate::{
    order::KeyOrder,
    types::{Level, Seqno},
    version::{LEVELS, RunAge},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

/// A table that is to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placing<'a> {
    /// The number of its file.
    pub(super) number: u64,
    /// Its least key.
    pub(super) first_key: &'a [u8],
    /// Its greatest key.
    pub(super) last_key: &'a [u8],
    /// The number of its newest version.
    pub(super) last_seqno: Seqno,
}

/// Where tables go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Placed {
    /// Level and run of each table.
    pub(super) places: Vec<(Level, RunAge)>,
    /// Places among them contradict each other: of two tables each has newer versions of some keys than the other.
    pub(super) is_contradictory: bool,
}

/// Places tables, of which `above` says which of two that share a key has the newer versions of it.
///
/// Each goes to the deepest level above which, and in which, nothing older lies that overlaps it, as a bulk load does; so
/// the runs below level 0 are disjoint, and whatever shares keys with a table and is newer lies above it. In level 0 each
/// is a run of its own; ages end below `newest_age`, where there is room.
pub(super) fn place(
    order: &KeyOrder,
    tables: &[Placing<'_>],
    above: &BTreeSet<(usize, usize)>,
    newest_age: u64,
) -> Placed {
    let (sequence, is_contradictory) = oldest_first(tables, above);
    let mut runs: Vec<Vec<usize>> = vec![Vec::new(); LEVELS];
    let mut levels = vec![Level(0); tables.len()];
    for &table in &sequence {
        let level = level_for(order, tables, &runs, table);
        let run = &mut runs[usize::from(level.0)];
        let at = run.partition_point(|&other| order.is_less(tables[other].last_key, tables[table].first_key));
        run.insert(if level.0 == 0 { run.len() } else { at }, table);
        levels[table] = level;
    }
    let first_age = newest_age.saturating_sub(runs[0].len() as u64);
    let ages: BTreeMap<usize, u64> = runs[0].iter().copied().zip(first_age..).collect();
    let age = |table: usize| ages.get(&table).map_or(RunAge::SORTED, |&age| RunAge(age));
    let places = levels.iter().enumerate().map(|(table, &level)| (level, age(table))).collect();
    Placed { places, is_contradictory }
}

/// The deepest level with room above all that overlaps.
fn level_for(order: &KeyOrder, tables: &[Placing<'_>], runs: &[Vec<usize>], table: usize) -> Level {
    let Placing { first_key, last_key, .. } = tables[table];
    let overlaps = |&other: &usize| {
        order.is_at_most(tables[other].first_key, last_key)
            && order.is_at_most(first_key, tables[other].last_key)
    };
    let is_taken = |(level, run): &(usize, &Vec<usize>)| match level {
        0 => run.iter().any(overlaps),
        _ => {
            let at = run.partition_point(|&other| order.is_less(tables[other].last_key, first_key));
            run.get(at).is_some_and(overlaps)
        }
    };
    let taken = runs.iter().enumerate().find(is_taken).map_or(LEVELS, |(level, _)| level);
    Level(u8::try_from(taken.saturating_sub(1)).unwrap_or(0))
}

/// The tables in an order in which each comes behind those that it must lie above; of several that may come next, the
/// one whose newest version is oldest. If there is none, for what was given contradicts itself, that is taken all the same.
fn oldest_first(tables: &[Placing<'_>], above: &BTreeSet<(usize, usize)>) -> (Vec<usize>, bool) {
    let mut below_left = vec![0_usize; tables.len()];
    let mut over: Vec<Vec<usize>> = vec![Vec::new(); tables.len()];
    for &(upper, lower) in above.iter().filter(|(upper, lower)| upper != lower) {
        below_left[upper] += 1;
        over[lower].push(upper);
    }
    let rank = |table: usize| (tables[table].last_seqno, tables[table].number, table);
    let mut ready: BTreeSet<_> =
        (0..tables.len()).filter(|&table| below_left[table] == 0).map(rank).collect();
    let mut waiting: BTreeSet<_> =
        (0..tables.len()).filter(|&table| below_left[table] > 0).map(rank).collect();
    let (mut sequence, mut is_contradictory) = (Vec::new(), false);
    while let Some((_, _, table)) = ready.pop_first().or_else(|| {
        is_contradictory |= !waiting.is_empty();
        waiting.pop_first()
    }) {
        sequence.push(table);
        for &upper in &over[table] {
            below_left[upper] -= 1;
            if below_left[upper] == 0 && waiting.remove(&rank(upper)) {
                ready.insert(rank(upper));
            }
        }
    }
    (sequence, is_contradictory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: u64 = 100;

    fn placing(number: u64, keys: &'static [u8; 2], last_seqno: u64) -> Placing<'static> {
        let last_seqno = Seqno::from_raw(last_seqno).unwrap();
        Placing { number, first_key: &keys[..1], last_key: &keys[1..], last_seqno }
    }

    fn placed(tables: &[Placing<'_>], above: &[(usize, usize)]) -> Placed {
        place(KeyOrder::bytes(), tables, &above.iter().copied().collect(), AGE)
    }

    #[test]
    fn disjoint_tables_share_the_last_level() {
        let found = placed(&[placing(1, b"ac", 5), placing(2, b"xz", 3), placing(3, b"df", 9)], &[]);

        assert_eq!(found.places, [(Level(6), RunAge::SORTED); 3]);
    }

    /// Table 0 has the newest version of all, and table 1 newer ones of the keys that they share.
    #[test]
    fn what_is_newer_of_a_shared_key_lies_above_whatever_else_it_holds() {
        let found = placed(&[placing(1, b"az", 100), placing(2, b"bc", 60)], &[(1, 0)]);

        assert_eq!(found.places, [(Level(6), RunAge::SORTED), (Level(5), RunAge::SORTED)]);
        assert!(!found.is_contradictory);
    }

    #[test]
    fn what_has_no_room_below_is_a_run_of_level_0_newest_first() {
        let tables: Vec<Placing<'_>> = (0..9).map(|at| placing(at, b"az", 10 + at)).collect();
        let above: Vec<(usize, usize)> = (1..9).map(|at| (at, at - 1)).collect();

        let found = placed(&tables, &above);

        let expected: Vec<(Level, RunAge)> = (1..=6)
            .rev()
            .map(|level| (Level(level), RunAge::SORTED))
            .chain([97, 98, 99].map(|age| (Level(0), RunAge(age))))
            .collect();
        assert_eq!(found.places, expected);
    }

    #[test]
    fn a_contradiction_is_told_and_ends() {
        let found = placed(&[placing(1, b"az", 5), placing(2, b"az", 6)], &[(0, 1), (1, 0)]);

        assert!(found.is_contradictory);
        assert_eq!(found.places.len(), 2);
    }
}
