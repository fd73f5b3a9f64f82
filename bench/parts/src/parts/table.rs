//! One table: written, and read with all its blocks in the cache.

use super::Case;
use crate::{
    inputs::{cache, env, key, read_order, table, table_options, table_writer, value},
    meter::Meter,
};
use isopach::{
    Seqno,
    engine::{
        iter::Cursor,
        key::{InternalKey, ValueKind},
        table::Table,
    },
};
use std::{hint::black_box, sync::Arc};

pub const CASES: &[Case] = &[
    Case::new("table/write", "entry", write),
    Case::new("table/get", "get", |meter| get(meter, Some(10.0))),
    Case::new("table/get-unfiltered", "get", |meter| get(meter, None)),
    Case::new("table/seek", "seek", seek),
    Case::new("table/scan", "entry", scan),
    Case::new("table/scan-reverse", "entry", scan_reverse),
    Case::new("table/scan-uncached", "entry", scan_uncached),
];

fn write(meter: &mut Meter) {
    let entries: Vec<_> = (0..meter.entries()).map(|index| (key(index), value(index))).collect();
    let prepare = || Some(table_writer(&env(), 1, table_options(Some(10.0))));
    meter.measure(entries.len(), prepare, |writer| {
        let mut writer = writer.take().expect("one for each round");
        for (key, value) in &entries {
            writer.add(key, Seqno::MAX, ValueKind::Put, value).expect("memory suffices");
        }
        black_box(writer.finish().expect("memory suffices"));
    });
}

fn cached(meter: &Meter, filter_bits_per_key: Option<f32>) -> Arc<Table> {
    table(&env(), 1, table_options(filter_bits_per_key), &cache(true), 0..meter.entries())
}

fn get(meter: &mut Meter, filter_bits_per_key: Option<f32>) {
    let table = cached(meter, filter_bits_per_key);
    let keys: Vec<_> = read_order(meter.entries()).into_iter().map(key).collect();
    meter.measure(
        keys.len(),
        || (),
        |()| {
            for key in &keys {
                assert!(black_box(table.get(key, Seqno::MAX).expect("in memory")).is_some());
            }
        },
    );
}

fn seek(meter: &mut Meter) {
    let table = cached(meter, None);
    let keys: Vec<_> = read_order(meter.entries()).into_iter().map(key).collect();
    let prepare = || table.cursor();
    meter.measure(keys.len(), prepare, |cursor| {
        for key in &keys {
            cursor.seek(InternalKey { key, seqno: Seqno::MAX }).expect("in memory");
            assert!(black_box(cursor.entry()).is_some());
        }
    });
}

fn scan(meter: &mut Meter) {
    let table = cached(meter, None);
    let prepare = || table.cursor();
    meter.measure(meter.entries(), prepare, walk);
}

/// Every block is read, checked and decompressed.
fn scan_uncached(meter: &mut Meter) {
    let table = table(&env(), 1, table_options(None), &cache(false), 0..meter.entries());
    let prepare = || table.cursor_past_cache();
    meter.measure(meter.entries(), prepare, walk);
}

fn walk(cursor: &mut impl Cursor) {
    cursor.seek_first().expect("in memory");
    while cursor.entry().is_some() {
        black_box(cursor.value_bytes().expect("in memory"));
        cursor.next().expect("in memory");
    }
}

fn scan_reverse(meter: &mut Meter) {
    let table = cached(meter, None);
    let prepare = || table.cursor();
    meter.measure(meter.entries(), prepare, |cursor| {
        cursor.seek_last().expect("in memory");
        while cursor.entry().is_some() {
            black_box(cursor.value_bytes().expect("in memory"));
            cursor.prev().expect("in memory");
        }
    });
}
