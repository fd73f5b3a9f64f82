//! What edits add up to, and that a snapshot says the same.

use super::*;
use crate::{
    codec::golden::parse,
    iter::simulated::{Dice, with_seeds},
    types::{Level, TableId},
    version::{RunAge, decode_edit, encode_edit},
};
use alloc::format;

const META: &str = include_str!("../../../testdata/golden/table_meta.hex");

fn number(raw: u64) -> Seqno {
    Seqno::from_raw(raw).unwrap()
}

fn meta(id: u64, key: &[u8]) -> Arc<TableMeta> {
    let meta = TableMeta::decode(&parse(META)).unwrap();
    Arc::new(TableMeta { id: TableId(id), first_key: key.into(), last_key: key.into(), ..meta })
}

fn create(id: u32, name: &str, at: u64) -> Change {
    Change::CreateTree { id: TreeId(id), name: name.into(), options: Vec::new(), at: number(at) }
}

fn add(tree: u32, level: u8, age: u64, id: u64, key: &[u8]) -> Change {
    let mut change = TablesChange::of(TreeId(tree));
    change.added.push(Added { level: Level(level), age: RunAge(age), table: meta(id, key) });
    Change::Tables(change)
}

fn same(a: &Catalog, b: &Catalog) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

/// An edit that fits a catalog.
fn random_edit(dice: &mut Dice, catalog: &Catalog, round: u64) -> Change {
    let trees: Vec<TreeId> = catalog.trees.keys().copied().collect();
    let tree = (!trees.is_empty()).then(|| trees[dice.index(trees.len())]);
    match (dice.below(8), tree) {
        (0, _) | (_, None) => create(u32::try_from(round).unwrap(), &format!("tree {round}"), round),
        (1, Some(id)) if dice.one_in(4) => Change::DropTree { id, at: number(round) },
        (2, _) => Change::Note(Note::new(format!("{}", dice.below(4)), dice.key())),
        (3, _) => Change::FileIdMark(dice.below(100)),
        (4, Some(id)) => Change::SetOptions { id, options: dice.key() },
        (_, Some(id)) => {
            let levels = &catalog.trees[&id].levels;
            let mut change = TablesChange::of(id);
            change.removed = levels.tables().map(|(.., table)| table.id).filter(|_| dice.one_in(4)).collect();
            let level = Level(dice.below(3) as u8);
            let age = if level.0 == 0 { RunAge(dice.below(3)) } else { RunAge::SORTED };
            change.added.push(Added { level, age, table: meta(round, &dice.key()) });
            change.replay_point = dice.one_in(2).then_some(number(dice.below(50)));
            change.read_floor = dice.one_in(2).then_some(number(dice.below(50)));
            Change::Tables(change)
        }
    }
}

#[test]
fn the_snapshot_of_a_catalog_makes_the_same_catalog_out_of_an_empty_one() {
    with_seeds(200, |dice| {
        let mut catalog = Catalog::default();
        for round in 1..60 {
            let edit = random_edit(dice, &catalog, round);
            let mut next = catalog.clone();
            if next.apply(&[edit]).is_ok() {
                catalog = next; // Else two tables overlapped.
            }
        }

        let mut again = Catalog::default();
        again.apply(&decode_edit(&encode_edit(&catalog.snapshot())).unwrap()).unwrap();

        assert!(same(&again, &catalog), "{again:?}\n{catalog:?}");
    });
}

#[test]
fn positions_and_marks_only_rise() {
    let mut catalog = Catalog::default();
    let replay = |point, floor| {
        let mut change = TablesChange::of(TreeId(1));
        (change.replay_point, change.read_floor) = (Some(number(point)), Some(number(floor)));
        Change::Tables(change)
    };

    catalog.apply(&[create(1, "t", 5), replay(9, 8), replay(7, 6)]).unwrap();
    catalog
        .apply(&[Change::FileIdMark(5), Change::FileIdMark(3), Change::TreeIdMark(5), Change::TreeIdMark(3)])
        .unwrap();
    catalog.apply(&[create(2, "u", 20), Change::DropTree { id: TreeId(2), at: number(10) }]).unwrap();

    let tree = &catalog.trees[&TreeId(1)];
    assert_eq!((tree.replay_point, tree.read_floor), (number(9), number(8)));
    assert_eq!((catalog.file_id_mark, catalog.tree_id_mark), (5, 5));
    assert_eq!(catalog.applied_upto, number(20), "of a tree that is gone");
}

#[test]
fn changes_that_contradict_what_is_there_are_refused() {
    let mut catalog = Catalog::default();
    catalog.apply(&[create(1, "t", 1), add(1, 1, 0, 5, b"k")]).unwrap();
    let mut removal = TablesChange::of(TreeId(1));
    removal.removed.push(TableId(9));

    for change in [
        create(1, "other", 2),
        create(2, "t", 2),
        Change::DropTree { id: TreeId(2), at: number(2) },
        add(2, 0, 1, 6, b"k"),
        add(1, 1, 0, 6, b"k"),
        add(1, 0, 1, 5, b"x"),
        Change::Tables(removal),
        Change::Note(Note::new("isopach.applied_upto", [0; 7])),
        Change::Note(Note::new("isopach.applied_upto", [0xff; 8])),
    ] {
        assert!(catalog.clone().apply(core::slice::from_ref(&change)).is_err(), "{change:?}");
    }
}

#[test]
fn a_check_finds_what_no_edit_shows() {
    let with = |changes: &[Change]| {
        let mut catalog = Catalog::default();
        catalog.apply(&[Change::FileIdMark(10), Change::TreeIdMark(10)]).unwrap();
        catalog.apply(&[create(1, "t", 1), create(2, "u", 1)]).unwrap();
        catalog.apply(changes).unwrap();
        catalog.check()
    };

    assert_eq!(with(&[add(1, 0, 1, 8, b"k"), add(2, 0, 1, 9, b"k")]), Ok(()));
    assert!(with(&[add(1, 0, 1, 8, b"k"), add(2, 0, 1, 8, b"k")]).is_err(), "one table in two trees");
    assert!(with(&[add(1, 0, 1, 10, b"k")]).is_err(), "a table above the mark");
    assert!(with(&[create(10, "v", 1)]).is_err(), "a tree above the mark");
    let mut huge = TableMeta::clone(&meta(8, b"k"));
    huge.bytes = u64::MAX;
    let mut change = TablesChange::of(TreeId(1));
    change.added.push(Added { level: Level(0), age: RunAge(1), table: Arc::new(huge) });
    assert!(with(&[Change::Tables(change), add(2, 0, 1, 9, b"k")]).is_err(), "sums overflow");
}
