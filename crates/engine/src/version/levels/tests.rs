//! Applying changes of tables, and what is refused.

use super::*;
use crate::{codec::golden::parse, iter::simulated::with_seeds, order::tests::orders};
use alloc::string::{String, ToString};
use core::fmt::Write;

const META: &str = include_str!("../../../testdata/golden/table_meta.hex");

const BYTES: Option<&KeyOrder> = Some(&KeyOrder::BYTES);

fn meta(id: u64, first: &[u8], last: &[u8]) -> TableMeta {
    let meta = TableMeta::decode(&parse(META)).unwrap();
    TableMeta { id: TableId(id), first_key: first.into(), last_key: last.into(), ..meta }
}

fn add(level: u8, age: u64, id: u64, first: &str, last: &str) -> Added<TableMeta> {
    let table = meta(id, first.as_bytes(), last.as_bytes());
    Added { level: Level(level), age: RunAge(age), table }
}

fn built(added: &[Added<TableMeta>]) -> Levels<TableMeta> {
    Levels::default().apply(BYTES, &[], added).unwrap()
}

/// `L0@9 5:a-c 6:x-z; ...`
fn drawn(levels: &Levels<TableMeta>) -> String {
    let mut text = String::new();
    for (level, runs) in levels.iter() {
        for run in runs {
            write!(text, "{level}@{}", run.age.0).unwrap();
            for TableMeta { id, first_key, last_key, .. } in &run.tables {
                let key = |key: &[u8]| String::from_utf8_lossy(key).to_string();
                write!(text, " {id}:{}-{}", key(first_key), key(last_key)).unwrap();
            }
            text.push_str("; ");
        }
    }
    text.trim_end_matches("; ").into()
}

#[test]
fn runs_lie_newest_first_and_tables_in_key_order() {
    let levels = built(&[
        add(0, 5, 1, "a", "c"),
        add(0, 9, 2, "x", "z"),
        add(0, 9, 3, "a", "w"),
        add(0, 7, 4, "b", "b"),
        add(2, 0, 5, "m", "n"),
        add(2, 0, 6, "", "l"),
    ]);

    assert_eq!(drawn(&levels), "L0@9 3:a-w 2:x-z; L0@7 4:b-b; L0@5 1:a-c; L2@0 6:-l 5:m-n");
    assert_eq!(levels.table(TableId(4)).map(|(level, age, _)| (level, age)), Some((Level(0), RunAge(7))));
    assert!(levels.table(TableId(7)).is_none() && levels.runs(Level(200)).is_empty());
}

#[test]
fn applying_leaves_what_was_there_alone() {
    let before = built(&[add(0, 1, 1, "a", "c"), add(0, 2, 2, "a", "c")]);

    let after = before.apply(BYTES, &[TableId(1), TableId(2)], &[add(1, 0, 3, "a", "c")]).unwrap();

    assert_eq!(drawn(&before), "L0@2 2:a-c; L0@1 1:a-c");
    assert_eq!(drawn(&after), "L1@0 3:a-c");
    assert!(after.apply(BYTES, &[TableId(3)], &[]).unwrap().is_empty());
}

#[test]
fn a_table_may_come_back_to_another_level_in_one_edit() {
    let levels = built(&[add(0, 1, 1, "a", "c")]);

    let moved = levels.apply(BYTES, &[TableId(1)], &[add(3, 0, 1, "a", "c")]).unwrap();

    assert_eq!(drawn(&moved), "L3@0 1:a-c");
}

#[test]
fn what_contradicts_the_shape_is_refused() {
    let levels = built(&[add(0, 1, 1, "a", "c"), add(1, 0, 2, "f", "k")]);

    assert!(levels.apply(BYTES, &[TableId(9)], &[]).is_err(), "removes what is not there");
    assert!(levels.apply(BYTES, &[TableId(1), TableId(1)], &[]).is_err(), "removes twice");
    assert!(levels.apply(BYTES, &[], &[add(5, 0, 1, "a", "c")]).is_err(), "adds what is there");
    assert!(levels.apply(BYTES, &[], &[add(7, 0, 3, "a", "c")]).is_err(), "below the last level");
    assert!(levels.apply(BYTES, &[], &[add(1, 1, 3, "a", "c")]).is_err(), "a second run below level 0");
    assert!(levels.apply(BYTES, &[], &[add(2, 0, 3, "c", "a")]).is_err(), "ends before it begins");
    for (first, last) in [("a", "f"), ("k", "z"), ("g", "h"), ("a", "z"), ("f", "k")] {
        assert!(levels.apply(BYTES, &[], &[add(1, 0, 3, first, last)]).is_err(), "{first}-{last} overlaps");
    }
    assert!(levels.apply(BYTES, &[], &[add(1, 0, 3, "a", "e"), add(1, 0, 4, "l", "l")]).is_ok());
    assert!(levels.apply(BYTES, &[], &[add(0, 2, 3, "a", "c")]).is_ok(), "runs of level 0 may overlap");
    assert!(levels.apply(BYTES, &[], &[add(0, 1, 3, "b", "d")]).is_err(), "tables of one may not");
}

#[test]
fn the_table_for_a_key_is_the_one_whose_range_holds_it() {
    for order in orders() {
        with_seeds(200, |dice| {
            let mut keys: Vec<Vec<u8>> = (0..2 * (1 + dice.below(6))).map(|_| dice.key()).collect();
            keys.sort_by(|a, b| order.compare(a, b));
            keys.dedup();
            let tables: Vec<TableMeta> =
                keys.chunks_exact(2).zip(1..).map(|(pair, id)| meta(id, &pair[0], &pair[1])).collect();
            let run = Run { age: RunAge(1), tables };

            for _ in 0..20 {
                let key = dice.key();
                let holds = |table: &&TableMeta| {
                    order.is_at_most(&table.first_key, &key) && order.is_at_most(&key, &table.last_key)
                };
                assert_eq!(
                    run.table_for(&order, &key).map(|table| table.id),
                    run.tables.iter().find(holds).map(|table| table.id)
                );
            }
        });
    }
}

#[test]
fn tables_of_an_order_that_is_not_known_are_sorted_once_it_is() {
    let [_, reverse, _] = orders();
    let tables = [add(1, 0, 1, "c", "b"), add(1, 0, 2, "z", "x"), add(1, 0, 3, "w", "d")];

    let unknown = Levels::default().apply(None, &[], &tables).unwrap();
    assert_eq!(drawn(&unknown), "L1@0 1:c-b 2:z-x 3:w-d", "as they came");
    assert_eq!(drawn(&unknown.apply(None, &[TableId(2)], &[]).unwrap()), "L1@0 1:c-b 3:w-d");

    assert_eq!(drawn(&unknown.sorted(&reverse).unwrap()), "L1@0 2:z-x 3:w-d 1:c-b");
    assert!(unknown.sorted(&KeyOrder::BYTES).is_err(), "each ends before it begins");
    let overlapping = unknown.apply(None, &[], &[add(1, 0, 4, "e", "a")]).unwrap();
    assert!(overlapping.sorted(&reverse).is_err());
}
