//! Calls on single keys are linearizable, whatever flush, compaction and snapshots do beside them.
//!
//! `ISOPACH_ROUNDS` multiplies the histories.

use isopach::{Db, Keyspace, Slice, WriteOptions, env::MemFs};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use testkit::{
    Rng,
    db::{SOON, small, synced, tiny_tables},
    linear::{Recorder, Value},
    seeds,
};

const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];
const THREADS: usize = 5;
const CALLS: u64 = 2000;

/// What is wrong with a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Planted {
    Nothing,
    /// Some reads are of a snapshot that was taken before another call.
    StaleReads,
    /// Some writes are told and not made.
    LostWrites,
}

fn value_of(slice: Option<Slice>) -> Value {
    slice.map(|slice| u64::from_le_bytes(slice[..8].try_into().expect("values begin with a number")))
}

/// Reads in one of the ways there are; the view is taken inside the call.
fn read(db: &Db, ks: &Keyspace, key: &[u8], rng: &mut Rng) -> isopach::Result<Value> {
    let found = match rng.below(4) {
        0 => ks.get_many([key])?.remove(0),
        1 => ks.range(key..=key).values().next().transpose()?,
        2 => ks.at(&db.snapshot()).get(key)?,
        _ => ks.get(key)?,
    };
    Ok(value_of(found))
}

/// Values are long, so that a memtable holds some fifty.
fn bytes_of(number: u64) -> Vec<u8> {
    [&number.to_le_bytes()[..], &[b'.'; 300]].concat()
}

/// What one thread does to a database, and tells the recorder.
struct Caller<'a> {
    thread: usize,
    db: &'a Db,
    ks: &'a Keyspace,
    recorder: &'a Recorder,
    rng: Rng,
}

impl Caller<'_> {
    fn call_many_times(mut self, planted: Planted) {
        for round in 0..CALLS {
            let key = *self.rng.pick(&KEYS);
            let value = round * THREADS as u64 + self.thread as u64;
            let is_wrong = self.rng.one_in(20);
            match self.rng.below(10) {
                0..4 if is_wrong && planted == Planted::LostWrites => {
                    let nothing = || Ok::<(), isopach::Error>(());
                    self.recorder.write(self.thread, key, Some(value), nothing).unwrap();
                }
                0..4 => self.insert(key, value),
                4 if self.rng.one_in(20) => self.clear(key),
                4 => drop(self.recorder.write(self.thread, key, None, || self.ks.remove(key)).unwrap()),
                5 if is_wrong && planted == Planted::StaleReads => {
                    let old = self.db.snapshot();
                    self.insert(key, value);
                    let stale = || self.ks.at(&old).get(key).map(value_of);
                    self.recorder.read(self.thread, key, stale).unwrap();
                }
                _ => {
                    let (db, ks) = (self.db, self.ks);
                    let read = || read(db, ks, key, &mut self.rng);
                    self.recorder.read(self.thread, key, read).unwrap();
                }
            }
        }
    }

    /// All keys lose their values; told of one.
    fn clear(&mut self, key: &[u8]) {
        let others = KEYS.into_iter().filter(|other| *other != key);
        let mut clear: Box<dyn FnOnce() -> isopach::Result<()> + '_> = Box::new(|| self.ks.clear().map(drop));
        for other in others {
            let inner = clear;
            let (recorder, thread) = (self.recorder, self.thread);
            clear = Box::new(move || recorder.write(thread, other, None, inner).map(drop));
        }
        self.recorder.write(self.thread, key, None, clear).unwrap();
    }

    fn insert(&mut self, key: &[u8], value: u64) {
        let options = if self.rng.one_in(30) { synced() } else { WriteOptions::new() };
        let insert = || self.ks.insert_with(key, bytes_of(value), options);
        self.recorder.write(self.thread, key, Some(value), insert).unwrap();
    }
}

/// Calls from many threads on few keys, with flushes, compactions and snapshots beside them.
fn record(seed: u64, planted: Planted) -> Recorder {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    let (recorder, is_done, mut rng) = (Recorder::default(), AtomicBool::new(false), Rng::new(seed));
    thread::scope(|scope| {
        let callers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let caller = Caller { thread, db: &db, ks: &ks, recorder: &recorder, rng: rng.fork() };
                scope.spawn(move || caller.call_many_times(planted))
            })
            .collect();
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                let snapshot = db.snapshot();
                let before = ks.at(&snapshot).get_many(KEYS).unwrap();
                db.flush().unwrap();
                ks.compact_range(..).unwrap();
                assert_eq!(ks.at(&snapshot).get_many(KEYS).unwrap(), before, "a snapshot stays as it is");
            }
        });
        let ended: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        is_done.store(true, Ordering::Release);
        ended.into_iter().for_each(|caller| caller.unwrap());
    });
    db.wait_idle(SOON).unwrap();
    let stats = ks.stats().tree;
    assert!(stats.flushes > 1 && stats.compactions > 1, "little went on beside the calls: {stats:?}");
    recorder
}

#[test]
fn calls_on_single_keys_are_linearizable() {
    for seed in seeds(10) {
        let calls = record(seed, Planted::Nothing).check().unwrap_or_else(|disorder| panic!("{disorder}"));
        assert!(calls as u64 >= CALLS * THREADS as u64);
    }
}

#[test]
fn stale_reads_and_lost_writes_are_not() {
    for planted in [Planted::StaleReads, Planted::LostWrites] {
        assert!(record(1, planted).check().is_err(), "{planted:?}");
    }
}
