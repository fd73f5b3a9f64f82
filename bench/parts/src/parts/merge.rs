//! Merging runs: each holds every second or eighth key, so that every step changes the run in front. What
//! compaction keeps is a pass over the same.

use super::Case;
use crate::{
    inputs::{cache, env, memtable, table, table_options, write_order},
    meter::Meter,
};
use isopach::engine::{
    compaction::{OlderData, Survivors, Views},
    iter::{Cursor, MergeCursor},
    order::KeyOrder,
    table::TableCursor,
};
use std::hint::black_box;

pub const CASES: &[Case] = &[
    Case::new("merge/2-memtables", "entry", |meter| merge(meter, memtables(meter, 2))),
    Case::new("merge/8-memtables", "entry", |meter| merge(meter, memtables(meter, 8))),
    Case::new("merge/2-tables", "entry", |meter| merge(meter, tables(meter, 2))),
    Case::new("merge/8-tables", "entry", |meter| merge(meter, tables(meter, 8))),
    Case::new("merge/survivors-of-8-tables", "entry", |meter| survivors(meter, tables(meter, 8))),
];

fn memtables(meter: &Meter, runs: usize) -> impl Fn() -> Vec<Box<dyn Cursor>> + use<> {
    let entries = meter.entries();
    let of_run = |run| memtable(write_order(entries).into_iter().filter(move |index| index % runs == run));
    let memtables: Vec<_> = (0..runs).map(of_run).collect();
    move || memtables.iter().map(|memtable| memtable.cursor()).collect()
}

fn tables(meter: &Meter, runs: usize) -> impl Fn() -> Vec<TableCursor> + use<> {
    let (entries, env, cache) = (meter.entries(), env(), cache(true));
    let of_run = |run: usize| {
        let indexes = (0..entries).filter(move |index| index % runs == run);
        table(&env, run as u64 + 1, table_options(None), &cache, indexes)
    };
    let tables: Vec<_> = (0..runs).map(of_run).collect();
    move || tables.iter().map(|table| table.cursor()).collect()
}

fn merge<C: Cursor>(meter: &mut Meter, cursors: impl Fn() -> Vec<C>) {
    let entries = meter.entries();
    let prepare = || MergeCursor::new(cursors(), &KeyOrder::BYTES);
    meter.measure(entries, prepare, |merged| {
        let mut seen = 0;
        merged.seek_first().expect("in memory");
        while merged.entry().is_some() {
            black_box(merged.value_bytes().expect("in memory"));
            seen += 1;
            merged.next().expect("in memory");
        }
        assert_eq!(seen, entries);
    });
}

fn survivors<C: Cursor>(meter: &mut Meter, cursors: impl Fn() -> Vec<C>) {
    let entries = meter.entries();
    let prepare =
        || Survivors::new(MergeCursor::new(cursors(), &KeyOrder::BYTES), Views::keep_all(), OlderData::NONE);
    meter.measure(entries, prepare, |survivors| {
        let mut seen = 0;
        while survivors.advance().expect("in memory") {
            black_box(survivors.checked_value().expect("in memory"));
            seen += 1;
        }
        assert_eq!(seen, entries);
    });
}
