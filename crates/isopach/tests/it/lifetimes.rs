//! What readers hold, and what they do not.

use isopach::{Keyspace, env::MemFs};
use std::{sync::mpsc, thread};
use testkit::db::{SOON, files_in, small, tiny_tables, wait_until};

/// Writes the same keys anew and rewrites all tables.
fn round(ks: &Keyspace, value: u8) {
    for n in 0..100_u8 {
        ks.insert([n], [value; 100]).unwrap();
    }
    ks.compact_range(..).unwrap();
}

#[test]
fn an_iterator_held_over_a_hundred_compactions_reads_on() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    round(&ks, 0);
    let mut held = ks.iter();
    let snapshot = db.snapshot();

    for value in 1..=100 {
        round(&ks, value);
        if value % 10 == 0 {
            let (key, found) = held.next().unwrap().unwrap();
            assert_eq!((key[0], found[0]), (value / 10 - 1, 0));
            let (key, found) = held.next_back().unwrap().unwrap();
            assert_eq!((key[0], found[0]), (100 - value / 10, 0));
        }
    }

    assert!(ks.stats().tree.compactions >= 100, "{:?}", ks.stats());
    assert!(held.map(Result::unwrap).all(|(_, value)| value == &[0; 100]));
    assert!(ks.at(&snapshot).iter().map(Result::unwrap).all(|(_, value)| value == &[0; 100]));
    assert!(ks.iter().map(Result::unwrap).all(|(_, value)| value == &[100; 100]));
}

/// Readers leave nothing behind in their threads: a thread that read once and sleeps keeps no file alive.
#[test]
fn a_parked_reader_keeps_no_table_alive() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    round(&ks, 0);
    db.wait_idle(SOON).unwrap();
    let (done_reading, has_read) = mpsc::channel();
    let (wake, parked) = mpsc::channel::<()>();
    let reader = ks.clone();
    let thread = thread::spawn(move || {
        assert!(reader.get([7]).unwrap().is_some());
        assert_eq!(reader.count(..).unwrap(), 100);
        done_reading.send(()).unwrap();
        parked.recv().unwrap();
    });
    has_read.recv_timeout(SOON).unwrap();
    let before = files_in(&files, "tables");

    round(&ks, 1);

    db.wait_idle(SOON).unwrap();
    wait_until("the tables that were compacted are removed", || {
        let now = files_in(&files, "tables");
        before.iter().all(|table| !now.contains(table))
    });
    wake.send(()).unwrap();
    thread.join().unwrap();
}

#[test]
fn tables_go_with_the_last_reader_of_them() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    round(&ks, 0);
    db.wait_idle(SOON).unwrap();
    let before = files_in(&files, "tables");
    let mut held = ks.iter();
    assert!(held.next().is_some());

    round(&ks, 1);
    db.wait_idle(SOON).unwrap();

    assert!(before.iter().all(|table| files_in(&files, "tables").contains(table)), "they are read");
    drop(held);
    wait_until("they go", || before.iter().all(|table| !files_in(&files, "tables").contains(table)));
}

#[test]
fn tables_of_a_dropped_keyspace_go_with_the_last_snapshot_before_it() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    round(&ks, 0);
    let snapshot = db.snapshot();
    db.drop_keyspace("k").unwrap();
    let later = db.snapshot();
    db.wait_idle(SOON).unwrap();

    assert_eq!(ks.at(&snapshot).count(..).unwrap(), 100);
    assert!(!files_in(&files, "tables").is_empty());
    drop(snapshot);
    wait_until("its tables go", || files_in(&files, "tables").is_empty());
    drop(later);
}

#[test]
fn while_deletions_are_paused_no_file_goes() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    round(&ks, 0);
    db.wait_idle(SOON).unwrap();
    let before = [files_in(&files, "tables"), files_in(&files, "wal")];
    let pause = db.pause_deletions();

    for value in 1..20 {
        round(&ks, value);
    }

    let after = [files_in(&files, "tables"), files_in(&files, "wal")];
    assert!(before.iter().zip(&after).all(|(before, after)| before.iter().all(|file| after.contains(file))));
    drop(pause);
    wait_until("they go", || files_in(&files, "tables").len() <= 2);
}
