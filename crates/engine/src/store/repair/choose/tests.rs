//! The rules one by one, and random histories against what a database must hold.

extern crate std;

use super::*;
use std::println;

fn uuid(number: u64) -> Uuid {
    let mut uuid = Uuid::default();
    uuid.0[..8].copy_from_slice(&number.to_le_bytes());
    uuid
}

/// A table of the number that its uuid is made of, and its lineage.
type Made = (u64, Vec<u64>);

fn choices(tables: &[Made], shares: &[(u64, u64)]) -> Vec<Choice> {
    let lineages: Vec<Vec<Uuid>> =
        tables.iter().map(|(_, of)| of.iter().map(|&number| uuid(number)).collect()).collect();
    let origin =
        |((number, _), lineage): (&Made, _)| Origin { number: *number, uuid: uuid(*number), lineage };
    let origins: Vec<Origin<'_>> =
        tables.iter().zip(lineages.iter().map(Vec::as_slice)).map(origin).collect();
    let place = |number: u64| tables.iter().position(|(it, _)| *it == number).unwrap();
    let shares = shares.iter().map(|&(a, b)| (place(a), place(b))).collect();
    choose(&origins, &shares)
}

#[test]
fn outputs_of_a_job_whose_inputs_are_all_there_are_left_out() {
    let tables = [(1, vec![]), (2, vec![]), (3, vec![1, 2])];

    assert_eq!(choices(&tables, &[]), [Choice::Taken, Choice::Taken, Choice::Unfinished]);
}

#[test]
fn inputs_that_outlived_their_job_are_left_out() {
    let tables = [(2, vec![]), (3, vec![1, 2]), (4, vec![1, 2])];

    assert_eq!(choices(&tables, &[]), [Choice::Replaced, Choice::Taken, Choice::Taken]);
}

#[test]
fn a_job_whose_output_was_read_is_done_though_its_inputs_are_there() {
    let tables = [(1, vec![]), (2, vec![1]), (4, vec![2, 3])];

    assert_eq!(choices(&tables, &[]), [Choice::Replaced, Choice::Replaced, Choice::Taken]);
}

/// 1 and 2 became 3 and 4; 4 became 5 and is gone, while a reader holds 1 and 2.
#[test]
fn an_ancestor_by_a_table_that_is_gone_is_known_by_what_it_shares() {
    let tables = [(1, vec![]), (2, vec![]), (3, vec![1, 2]), (5, vec![4])];

    let found = choices(&tables, &[(1, 5), (1, 3), (2, 3)]);

    assert_eq!(found, [Choice::Replaced, Choice::Replaced, Choice::Taken, Choice::Taken]);
}

#[test]
fn lineage_that_nobody_wrote_ends() {
    let tables = [(1, vec![1]), (2, vec![3]), (3, vec![2])];

    assert_eq!(choices(&tables, &[(1, 2), (2, 3)]), [Choice::Replaced; 3]);
}

/// A table, which operations it holds, and whether the database has it.
struct File {
    number: u64,
    lineage: Vec<u64>,
    operations: BTreeSet<u64>,
    is_live: bool,
    /// It stays when the database has it no more, and what is made of its successors knows.
    is_held: bool,
}

/// What tells of ancestors by tables that are gone.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    /// Versions that both hold; lineage is that of one step, and anything may not be removed yet.
    Shares,
    /// The lineage: no version keeps its number, and what is left is held.
    Lineage,
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Flushes and compactions, after which some of the files that are not needed any more are still there, and one job was
/// interrupted. Each operation must be in exactly one of the tables that are chosen.
#[test]
fn every_operation_is_in_one_table_whatever_was_not_removed() {
    (0..20_000).for_each(|seed| check_history(seed, Told::Shares));
    (0..20_000).for_each(|seed| check_history(seed, Told::Lineage));
}

fn check_history(seed: u64, told: Told) {
    let mut state = seed;
    let mut draw = |end: u64| next(&mut state) % end;
    let mut files: Vec<File> = Vec::new();
    let (mut number, mut operation) = (0, 0);
    for _ in 0..2 + draw(10) {
        number += 1;
        let live: Vec<usize> = (0..files.len()).filter(|&at| files[at].is_live).collect();
        if live.len() < 2 || draw(2) == 0 {
            let first = operation;
            operation += 1 + draw(4);
            let operations = (first..operation).collect();
            let is_held = draw(2) == 0;
            files.push(File { number, lineage: vec![], operations, is_live: true, is_held });
            continue;
        }
        let inputs: Vec<usize> = live.into_iter().filter(|_| draw(2) == 0).collect();
        let outputs = 1 + draw(3);
        number = compact(&mut files, &inputs, number, outputs, (true, told), &mut draw);
    }
    let live: Vec<usize> = (0..files.len()).filter(|&at| files[at].is_live).collect();
    let inputs = &live[..draw(live.len() as u64 + 1) as usize];
    let outputs = draw(2);
    compact(&mut files, inputs, number + 1, outputs, (false, told), &mut draw);
    let files: Vec<File> = files
        .into_iter()
        .filter(|file| !file.operations.is_empty())
        .filter(|file| match told {
            Told::Lineage => file.is_live || file.is_held,
            Told::Shares => file.is_live || draw(2) == 0,
        })
        .collect();

    let tables: Vec<Made> = files.iter().map(|file| (file.number, file.lineage.clone())).collect();
    let pairs = files.iter().flat_map(|a| files.iter().map(move |b| (a, b)));
    let shares: Vec<(u64, u64)> = pairs
        .filter(|(a, b)| a.number < b.number && !a.operations.is_disjoint(&b.operations))
        .map(|(a, b)| (a.number, b.number))
        .filter(|_| told == Told::Shares)
        .collect();
    let chosen = choices(&tables, &shares);

    let taken = files.iter().zip(&chosen).filter(|(_, choice)| **choice == Choice::Taken);
    let mut seen: Vec<u64> = taken.flat_map(|(file, _)| file.operations.iter().copied()).collect();
    seen.sort_unstable();
    let all: Vec<u64> = (0..operation).collect();
    if seen != all {
        println!("seed {seed}: {tables:?} share {shares:?}: {chosen:?}");
    }
    assert_eq!(seen, all, "seed {seed}");
}

/// Writes what `inputs` hold into so many tables, the last of which an interrupted job does not write. Returns the last
/// number.
fn compact(
    files: &mut Vec<File>,
    inputs: &[usize],
    number: u64,
    outputs: u64,
    (is_done, told): (bool, Told),
    draw: &mut dyn FnMut(u64) -> u64,
) -> u64 {
    let operations: BTreeSet<u64> = inputs.iter().flat_map(|&at| files[at].operations.clone()).collect();
    let mut lineage: BTreeSet<u64> = inputs.iter().map(|&at| files[at].number).collect();
    if inputs.is_empty() {
        return number;
    }
    if told == Told::Lineage {
        let older = inputs.iter().flat_map(|&at| &files[at].lineage).copied();
        let is_held = |number: &u64| files.iter().any(|file| file.number == *number && file.is_held);
        lineage.extend(older.filter(is_held).collect::<Vec<_>>());
    }
    for &at in inputs {
        files[at].is_live &= !is_done;
    }
    for output in 0..outputs {
        let is_own = |operation: &&u64| **operation % outputs == output;
        let operations = operations.iter().filter(is_own).copied().collect();
        let (number, lineage) = (number + output, lineage.iter().copied().collect());
        files.push(File { number, lineage, operations, is_live: is_done, is_held: !is_done || draw(2) == 0 });
    }
    number + outputs
}
