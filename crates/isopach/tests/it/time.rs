//! The database's time: that of commits and snapshots.

use isopach::{
    Builder, Db, UnixUs,
    env::{MemFs, TestClock},
};
use std::{sync::Arc, time::Duration};
use testkit::db::{env_of, small};

const START: u64 = TestClock::START_UNIX_US;

fn at(files: &MemFs, clock: &TestClock) -> Builder {
    small(files.clone()).clock(Arc::new(clock.clone()))
}

#[test]
fn a_snapshot_has_the_time_at_which_it_was_taken() {
    let clock = TestClock::new();
    let db = at(&MemFs::new(), &clock).open().unwrap();
    let first = db.snapshot();
    clock.advance(Duration::from_secs(5));

    let second = db.snapshot();

    assert_eq!((first.time(), second.time()), (UnixUs(START), UnixUs(START + 5_000_000)));
    assert_eq!(first.seqno(), second.seqno(), "nothing was written between");
}

#[test]
fn time_never_goes_back_when_the_clock_does() {
    let clock = TestClock::new();
    let db = at(&MemFs::new(), &clock).open().unwrap();
    let before = db.snapshot().time();

    clock.set_unix_us(5);

    assert_eq!(db.snapshot().time(), before);
}

#[test]
fn time_never_goes_back_over_a_reopening() {
    let (files, clock) = (MemFs::new(), TestClock::new());
    let db = at(&files, &clock).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    clock.advance(Duration::from_secs(1));
    keyspace.insert("key", "value").unwrap();
    let crashed = files.deep_clone();
    clock.advance(Duration::from_secs(1));
    let seen = db.snapshot().time();
    drop(keyspace);
    db.close().unwrap();

    clock.set_unix_us(5);

    let db = at(&files, &clock).open().unwrap();
    assert_eq!(db.snapshot().time(), seen, "of a clean close: the greatest that anybody saw");
    let db = at(&crashed, &clock).open().unwrap();
    assert_eq!(db.snapshot().time(), UnixUs(START + 1_000_000), "of a crash: that of the last commit");
}

#[test]
fn the_clock_of_the_builder_wins_over_that_of_its_surroundings() {
    let clock = TestClock::new();
    clock.set_unix_us(77);
    let db = Db::builder("db").clock(Arc::new(clock)).env(env_of(MemFs::new())).open().unwrap();

    assert_eq!(db.snapshot().time(), UnixUs(77));
}
