//! Which of the tables of a directory are the database, where no manifest says so. Pure.
//!
//! A compaction writes its outputs beside its inputs; an edit then names those in place of these, and the inputs go. So of
//! the files of a job either the inputs are to be taken or the outputs, never both: what stands in both would count twice,
//! which merge operands do not bear. A table says which ones it was made of, its *lineage*:
//!
//! - An input goes only after the edit is durable. Of a job of which an input is missing, or was read by another job that is
//!   done, as one that made tables which are gone, or of which an output was read, the outputs are taken, and inputs that are
//!   still there are left out. So is what a lineage names beside inputs: what those descend from, held by a reader.
//! - Of any other job all inputs are there: they are taken, and the outputs, which may not be complete, are left out.
//! - Two tables that were taken and hold one version of a key both descend from each other by a table that is gone. The one
//!   with the lesser number is the ancestor; the job that read it is done.

use crate::types::Uuid;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

/// What a table says of where it comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// The number of its file. What was made of a table has a greater one.
    pub(super) number: u64,
    /// Its uuid.
    pub(super) uuid: Uuid,
    /// Uuids of the tables that it was made of.
    pub(super) lineage: &'a [Uuid],
}

/// What becomes of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    /// It is part of the database.
    Taken,
    /// Everything that it was made of is there.
    Unfinished,
    /// What was made of it is there.
    Replaced,
}

/// Chooses tables of one tree. `shares` are pairs of places among them of which both hold one version.
///
/// Takes `n` steps of `n log n`, where `n` is the number of tables that a job read and that are there all the same.
pub(super) fn choose(tables: &[Origin<'_>], shares: &BTreeSet<(usize, usize)>) -> Vec<Choice> {
    let mut is_replaced = vec![false; tables.len()];
    loop {
        let choices = by_lineage(tables, &is_replaced);
        let taken =
            |&&(a, b): &&(usize, usize)| a != b && choices[a] == Choice::Taken && choices[b] == Choice::Taken;
        // The newest first: what was made last is surely no ancestor.
        let newest_first = |&&(a, b): &&(usize, usize)| tables[a].number.max(tables[b].number);
        let Some(&(a, b)) = shares.iter().filter(taken).max_by_key(newest_first) else { return choices };
        is_replaced[if tables[a].number < tables[b].number { a } else { b }] = true;
    }
}

/// What lineage tells, of tables of which some are known to be replaced.
fn by_lineage(tables: &[Origin<'_>], is_replaced: &[bool]) -> Vec<Choice> {
    let present: BTreeMap<Uuid, usize> =
        tables.iter().enumerate().map(|(place, table)| (table.uuid, place)).collect();
    let read: BTreeSet<Uuid> = tables.iter().flat_map(|table| table.lineage).copied().collect();
    let mut open: BTreeSet<&[Uuid]> =
        tables.iter().map(|table| table.lineage).filter(|lineage| !lineage.is_empty()).collect();
    let outputs_read: BTreeSet<&[Uuid]> =
        tables.iter().filter(|table| read.contains(&table.uuid)).map(|table| table.lineage).collect();
    let is_gone = |input: &Uuid| present.get(input).is_none_or(|&place| is_replaced[place]);
    let mut inputs: BTreeSet<Uuid> = BTreeSet::new();
    loop {
        let is_done = |lineage: &&&[Uuid]| {
            outputs_read.contains(**lineage)
                || lineage.iter().any(is_gone)
                || own_inputs(lineage, tables, &present).any(|input| inputs.contains(&input))
        };
        let done: Vec<&[Uuid]> = open.iter().filter(is_done).copied().collect();
        if done.is_empty() {
            break;
        }
        for lineage in done {
            open.remove(lineage);
            inputs.extend(lineage);
        }
    }
    let choice = |(place, table): (usize, &Origin<'_>)| match () {
        () if is_replaced[place] || inputs.contains(&table.uuid) => Choice::Replaced,
        () if open.contains(table.lineage) => Choice::Unfinished,
        () => Choice::Taken,
    };
    tables.iter().enumerate().map(choice).collect()
}

/// What a job read itself: not what others of its lineage were made of.
fn own_inputs<'a>(
    lineage: &'a [Uuid],
    tables: &'a [Origin<'_>],
    present: &'a BTreeMap<Uuid, usize>,
) -> impl Iterator<Item = Uuid> + 'a {
    let of = |input: &Uuid| present.get(input).map_or(&[][..], |&place| tables[place].lineage);
    let older: BTreeSet<Uuid> = lineage.iter().flat_map(of).copied().collect();
    lineage.iter().copied().filter(move |input| !older.contains(input))
}

#[cfg(test)]
mod tests;
