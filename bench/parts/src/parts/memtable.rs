//! The memtable by itself.

use super::Case;
use crate::{
    inputs::{key, memtable, read_order, seqno, value, write_order},
    meter::Meter,
};
use isopach::{
    Seqno,
    engine::{
        iter::Cursor,
        key::ValueKind,
        memtable::{Memtable, Operation},
    },
};
use std::hint::black_box;

pub const CASES: &[Case] = &[
    Case::new("memtable/insert-random", "entry", |meter| {
        let order = write_order(meter.entries());
        insert(meter, &order);
    }),
    Case::new("memtable/insert-sequential", "entry", |meter| {
        let order: Vec<usize> = (0..meter.entries()).collect();
        insert(meter, &order);
    }),
    Case::new("memtable/get", "get", get),
    Case::new("memtable/scan", "entry", scan),
    Case::new("memtable/scan-reverse", "entry", scan_reverse),
];

/// One operation at a time, as single writes do.
fn insert(meter: &mut Meter, order: &[usize]) {
    let entries: Vec<_> = order.iter().map(|&index| (seqno(index), key(index), value(index))).collect();
    meter.measure(order.len(), Memtable::default, |memtable| {
        for (seqno, key, value) in &entries {
            memtable.apply([Operation { seqno: *seqno, kind: ValueKind::Put, key, value }]);
        }
    });
}

fn get(meter: &mut Meter) {
    let order = write_order(meter.entries());
    let memtable = memtable(order.iter().copied());
    let keys: Vec<_> = read_order(order.len()).into_iter().map(key).collect();
    meter.measure(
        keys.len(),
        || (),
        |()| {
            for key in &keys {
                assert!(black_box(memtable.get(key, Seqno::MAX)).is_some());
            }
        },
    );
}

fn scan(meter: &mut Meter) {
    let memtable = memtable(write_order(meter.entries()));
    meter.measure(
        meter.entries(),
        || memtable.cursor(),
        |cursor| {
            cursor.seek_first().expect("in memory");
            while cursor.entry().is_some() {
                black_box(cursor.value_bytes().expect("in memory"));
                cursor.next().expect("in memory");
            }
        },
    );
}

fn scan_reverse(meter: &mut Meter) {
    let memtable = memtable(write_order(meter.entries()));
    meter.measure(
        meter.entries(),
        || memtable.cursor(),
        |cursor| {
            cursor.seek_last().expect("in memory");
            while cursor.entry().is_some() {
                black_box(cursor.value_bytes().expect("in memory"));
                cursor.prev().expect("in memory");
            }
        },
    );
}
