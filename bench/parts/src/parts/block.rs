//! Data blocks, as far as they can be had apart from their table: one of an open table is searched and walked
//! over; one is read from a table that has no other, past a cache that keeps nothing.

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
        order::KeyOrder,
        table::DataBlock,
    },
};
use std::{hint::black_box, sync::Arc};

pub const CASES: &[Case] = &[
    Case::new("block/encode", "entry", encode),
    Case::counted("block/decode", "block", decode),
    Case::new("block/search", "search", search),
    Case::new("block/scan", "entry", scan),
];

/// Of one block of 16 KiB.
const BLOCK_ENTRIES: usize = 110;

/// A table without a filter: its blocks are nearly all there is to write.
fn encode(meter: &mut Meter) {
    let entries: Vec<_> = (0..meter.entries()).map(|index| (key(index), value(index))).collect();
    let prepare = || Some(table_writer(&env(), 1, table_options(None)));
    meter.measure(entries.len(), prepare, |writer| {
        let mut writer = writer.take().expect("one for each round");
        for (key, value) in &entries {
            writer.add(key, Seqno::MAX, ValueKind::Put, value).expect("memory suffices");
        }
        black_box(writer.finish().expect("memory suffices"));
    });
}

/// Read, checked, decompressed, and its first entry looked at.
fn decode(meter: &mut Meter) {
    let table = table(&env(), 1, table_options(None), &cache(false), 0..BLOCK_ENTRIES);
    let blocks = meter.entries() / 50;
    meter.measure(
        blocks,
        || (),
        |()| {
            for _ in 0..blocks {
                let mut cursor = table.cursor_past_cache();
                cursor.seek_first().expect("it was just written");
                black_box(cursor.value_bytes().expect("it was just written"));
            }
        },
    );
}

fn one_block() -> Arc<DataBlock> {
    let table = table(&env(), 1, table_options(None), &cache(true), 0..BLOCK_ENTRIES);
    let mut cursor = table.cursor();
    cursor.seek_first().expect("it was just written");
    let block = cursor.block().expect("the first entry is in it");
    assert_eq!(block.len(), BLOCK_ENTRIES, "the table has one block");
    Arc::clone(block)
}

fn search(meter: &mut Meter) {
    let block = one_block();
    let keys: Vec<_> = read_order(meter.entries()).iter().map(|index| key(index % BLOCK_ENTRIES)).collect();
    meter.measure(
        keys.len(),
        || (),
        |()| {
            for key in &keys {
                let entry = block.lower_bound(&KeyOrder::BYTES, InternalKey { key, seqno: Seqno::MAX });
                assert!(block.has_key(black_box(entry), key));
            }
        },
    );
}

fn scan(meter: &mut Meter) {
    let block = one_block();
    let rounds = meter.entries() / BLOCK_ENTRIES;
    meter.measure(
        rounds * BLOCK_ENTRIES,
        || (),
        |()| {
            for _ in 0..rounds {
                for entry in 0..block.len() {
                    black_box((block.seqno(entry), block.kind(entry), block.value_len(entry)));
                    black_box(block.value(entry).expect("in memory"));
                }
            }
        },
    );
}
