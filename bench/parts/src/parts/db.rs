//! The whole database, on files in memory: what a caller's thread does. Its own threads have nothing to do
//! meanwhile.

use super::Case;
use crate::{
    inputs::{absent_key, empty_env, key, read_order, value, write_order},
    meter::Meter,
};
use isopach::{Db, Durability, Keyspace, WriteOptions, env::Env};
use std::{hint::black_box, time::Duration};

pub const CASES: &[Case] = &[
    Case::new("db/put-volatile", "put", |meter| put(meter, Durability::Volatile)),
    Case::counted("db/put-buffered", "put", |meter| put(meter, Durability::Buffered)),
    Case::counted("db/batch-of-100", "put", put_batches),
    Case::counted("db/get-memtable", "get", |meter| get(meter, &in_memtable(meter))),
    Case::counted("db/get-table", "get", |meter| get(meter, &in_table(meter))),
    Case::counted("db/get-missing", "get", get_missing),
    Case::counted("db/seek-next-10", "seek", seek),
    Case::counted("db/scan", "entry", |meter| scan(meter, |entries| entries.keyspace.iter().count())),
    Case::counted("db/scan-reverse", "entry", |meter| {
        scan(meter, |entries| entries.keyspace.iter().rev().count())
    }),
    Case::counted("db/recovery", "record", recovery),
];

/// Operations of one batch.
const BATCH: usize = 100;

/// A keyspace in a database of its own.
struct Opened {
    keyspace: Keyspace,
    db: Db,
}

fn open(env: &Env) -> Opened {
    let db = Db::builder("").env(env.clone()).threads(1).open().expect("memory suffices");
    let keyspace = db.keyspace("part").expect("memory suffices");
    Opened { keyspace, db }
}

fn fill(entries: &Keyspace, count: usize, options: WriteOptions) {
    for index in write_order(count) {
        entries.insert_with(key(index), value(index), options).expect("memory suffices");
    }
}

fn in_memtable(meter: &Meter) -> Opened {
    let opened = open(&empty_env());
    fill(&opened.keyspace, meter.entries(), WriteOptions::new().durability(Durability::Volatile));
    opened
}

/// In the last level, with every block in the cache.
fn in_table(meter: &Meter) -> Opened {
    let opened = in_memtable(meter);
    opened.keyspace.compact_range(..).expect("memory suffices");
    opened.db.wait_idle(Duration::from_secs(60)).expect("there is little to do");
    assert_eq!(opened.keyspace.iter().count(), meter.entries());
    opened
}

fn put(meter: &mut Meter, durability: Durability) {
    let entries: Vec<_> =
        write_order(meter.entries()).into_iter().map(|index| (key(index), value(index))).collect();
    let options = WriteOptions::new().durability(durability);
    let prepare = || open(&empty_env());
    meter.measure(entries.len(), prepare, |opened| {
        for (key, value) in &entries {
            opened.keyspace.insert_with(key, value, options).expect("memory suffices");
        }
    });
}

fn put_batches(meter: &mut Meter) {
    let entries: Vec<_> =
        write_order(meter.entries()).into_iter().map(|index| (key(index), value(index))).collect();
    let prepare = || open(&empty_env());
    meter.measure(entries.len(), prepare, |opened| {
        for entries in entries.chunks(BATCH) {
            let mut batch = opened.db.batch();
            for (key, value) in entries {
                batch.insert(&opened.keyspace, key, value);
            }
            opened.db.write(batch).expect("memory suffices");
        }
    });
}

fn get(meter: &mut Meter, opened: &Opened) {
    let keys: Vec<_> = read_order(meter.entries()).into_iter().map(key).collect();
    meter.measure(
        keys.len(),
        || (),
        |()| {
            for key in &keys {
                assert!(black_box(opened.keyspace.get(key).expect("in memory")).is_some());
            }
        },
    );
}

/// Keys between those of a table.
fn get_missing(meter: &mut Meter) {
    let opened = in_table(meter);
    let keys: Vec<_> = read_order(meter.entries() - 1).into_iter().map(absent_key).collect();
    meter.measure(
        keys.len(),
        || (),
        |()| {
            for key in &keys {
                assert!(black_box(opened.keyspace.get(key).expect("in memory")).is_none());
            }
        },
    );
}

/// An iterator from a key on, and ten entries of it.
fn seek(meter: &mut Meter) {
    let opened = in_table(meter);
    let keys: Vec<_> =
        read_order(meter.entries() - 10).into_iter().take(meter.entries() / 4).map(key).collect();
    meter.measure(
        keys.len(),
        || (),
        |()| {
            for key in &keys {
                let found = opened.keyspace.range(&key[..]..).take(10);
                assert_eq!(found.filter(|entry| black_box(entry).is_ok()).count(), 10);
            }
        },
    );
}

fn scan(meter: &mut Meter, pass: impl Fn(&Opened) -> usize) {
    let (opened, entries) = (in_table(meter), meter.entries());
    meter.measure(entries, || (), |()| assert_eq!(pass(&opened), entries));
}

/// Opening a database whose entries are all in its log.
fn recovery(meter: &mut Meter) {
    let entries = meter.entries();
    let prepare = || {
        let env = empty_env();
        let Opened { keyspace, db } = open(&env);
        fill(&keyspace, entries, WriteOptions::new());
        drop(keyspace);
        db.close().expect("memory suffices");
        (env, None)
    };
    meter.measure(entries, prepare, |(env, opened)| *opened = Some(open(env)));
}
