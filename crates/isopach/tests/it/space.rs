//! The disk is full: writes fail or wait a bounded time, reads go on, and everything comes back with the
//! space.

use isopach::{
    Db, ErrorKind, Event, EventListener, Keyspace, WriteState,
    env::{Fs, MemFs},
};
use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
};
use testkit::Entries;
use testkit::db::{SOON, entries, small, tiny_tables, volatile, wait_until};

/// What was told of space: that there is none, with the error, or that there is again.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Option<String>>>>);

impl EventListener for Heard {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::OutOfSpaceBegin { error } => self.0.lock().unwrap().push(Some(error.to_string())),
            Event::OutOfSpaceEnd => self.0.lock().unwrap().push(None),
            _ => {}
        }
    }
}

/// A database on files that can be filled up, and what was acknowledged.
struct Full {
    heard: Heard,
    files: MemFs,
    db: Db,
    ks: Keyspace,
    written: Entries,
    next: u32,
}

impl Full {
    fn new() -> Full {
        let files = MemFs::new();
        let heard = Heard::default();
        let db = small(files.clone()).listener(heard.clone()).open().unwrap();
        let ks = db.keyspace_with("k", tiny_tables()).unwrap();
        Full { heard, files, db, ks, written: Entries::new(), next: 0 }
    }

    /// Leaves this much.
    fn leave(&self, bytes: u64) {
        self.files.set_capacity(Some(u64::MAX / 2));
        let used = u64::MAX / 2 - self.files.space_left().unwrap().expect("it is limited");
        self.files.set_capacity(Some(used + bytes));
    }

    /// One write of another key each time.
    fn write(&mut self) -> Result<(), ErrorKind> {
        self.next += 1;
        let (key, value) = (self.next.to_be_bytes().to_vec(), vec![self.next as u8; 500]);
        self.ks.insert(&key, &value).map_err(|error| error.kind())?;
        self.written.insert(key, value);
        Ok(())
    }

    /// Writes until there is no space, at most so many times.
    fn fill(&mut self, most: u32) {
        for _ in 0..most {
            match self.write() {
                Ok(()) => {}
                Err(kind) => {
                    assert_eq!(kind, ErrorKind::OutOfSpace);
                    return;
                }
            }
        }
        panic!("{most} writes went through");
    }
}

#[test]
fn without_space_writes_fail_reads_go_on_and_all_comes_back_with_the_space() {
    let mut full = Full::new();
    (0..200).for_each(|_| full.write().unwrap());
    full.leave(300 << 10);

    let (done, is_done) = mpsc::channel();
    let worker = thread::spawn(move || {
        full.fill(100_000);
        done.send(()).unwrap();
        full
    });
    is_done.recv_timeout(SOON).expect("writers do not wait for ever");
    let mut full = worker.join().unwrap();

    assert!(matches!(full.db.health().writes, WriteState::OutOfSpace(_)), "{:?}", full.db.health());
    assert_eq!(entries(&full.ks), full.written, "reads go on");
    full.files.set_capacity(None);
    wait_until("writes come back by themselves", || full.write().is_ok());
    full.db.wait_idle(SOON).unwrap();
    wait_until("and so does health", || matches!(full.db.health().writes, WriteState::Normal));
    assert_eq!(entries(&full.ks), full.written);

    let crashed = full.files.deep_clone();
    let db = small(crashed).open().unwrap();
    assert_eq!(entries(&db.keyspace("k").unwrap()), full.written, "nothing acknowledged is lost in a crash");
    let Full { files, db, ks, written, .. } = full;
    drop(ks);
    db.close().unwrap();
    let db = small(files).open().unwrap();
    assert_eq!(entries(&db.keyspace("k").unwrap()), written);
}

/// Whoever waits for the state to be normal before writing again must not wait for ever.
#[test]
fn the_want_of_space_ends_by_itself_without_a_write_and_both_ends_are_told() {
    for left in [0, 40 << 10, 300 << 10] {
        let mut full = Full::new();
        (0..50).for_each(|_| full.write().unwrap());
        full.leave(left);
        full.fill(100_000);
        let WriteState::OutOfSpace(error) = full.db.health().writes else { panic!("{:?}", full.db.health()) };
        assert!(error.kind() == ErrorKind::OutOfSpace && error.path().is_some(), "{error:?}");

        full.files.set_capacity(None);

        wait_until("the state becomes normal", || matches!(full.db.health().writes, WriteState::Normal));
        wait_until("the end is told", || full.heard.0.lock().unwrap().last() == Some(&None));
        let heard = full.heard.0.lock().unwrap().clone();
        assert!(heard.chunks(2).all(|turn| turn[0].is_some() && turn[1].is_none()), "in turn: {heard:?}");
        full.write().unwrap();
        assert_eq!(entries(&full.ks), full.written);
    }
}

/// The database dies while the disk is full: what failed may not come back after what was written later.
#[test]
fn a_crash_without_space_keeps_what_was_acknowledged() {
    for left in [0, 1 << 10, 30 << 10, 140 << 10, 500 << 10] {
        let mut full = Full::new();
        (0..50).for_each(|_| full.write().unwrap());
        full.leave(left);
        full.fill(100_000);
        let crashed = full.files.deep_clone();
        crashed.set_capacity(None);

        let db = small(crashed).open().unwrap();

        let mut found = entries(&db.keyspace("k").unwrap());
        // The write that failed last may be there, as the last of the log.
        found.remove(&full.next.to_be_bytes()[..]);
        assert_eq!(found, full.written, "{left} bytes were left");
    }
}

#[test]
fn a_full_disk_can_still_be_opened_for_reading_and_read() {
    let mut full = Full::new();
    (0..200).for_each(|_| full.write().unwrap());
    full.leave(0);
    full.fill(100_000);
    let Full { files, written, db, ks, .. } = full;
    let crashed = files.deep_clone();
    drop((db, ks));

    let read = small(crashed.clone()).open_read_only().unwrap();

    let mut found = entries(&read.keyspace("k").unwrap());
    found.retain(|key, _| written.contains_key(key));
    assert_eq!(found, written);
    drop(read);
    match small(crashed.clone()).open() {
        Ok(db) => assert!(entries(&db.keyspace("k").unwrap()).len() >= written.len()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}"),
    }
    crashed.set_capacity(None);
    let db = small(crashed).open().unwrap();
    assert!(entries(&db.keyspace("k").unwrap()).len() >= written.len());
}

#[test]
fn a_flush_without_space_loses_nothing_and_is_made_up_for() {
    let full = Full::new();
    for n in 0..20_u8 {
        full.ks.insert_with([n], [n; 400], volatile()).unwrap();
    }
    full.leave(1 << 10);

    assert_eq!(full.db.flush().unwrap_err().kind(), ErrorKind::OutOfSpace);

    assert_eq!(full.ks.count(..).unwrap(), 20);
    full.files.set_capacity(None);
    full.db.wait_idle(SOON).unwrap();
    wait_until("what was sealed is flushed", || full.ks.stats().tree.flushes > 0);
    assert_eq!(full.ks.count(..).unwrap(), 20);
}

/// Keyspaces can be made and dropped again when there is space, whatever an attempt without left behind.
#[test]
fn making_and_dropping_keyspaces_without_space_can_be_repeated_with_it() {
    let full = Full::new();
    full.ks.insert("k", "v").unwrap();
    full.leave(0);
    let (mut made, mut dropped) = (0, true);
    for n in 0..20_000 {
        match full.db.keyspace(&format!("n{n}")) {
            Ok(_) => made += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
                dropped = full.db.drop_keyspace("k").is_ok();
                break;
            }
        }
    }
    full.files.set_capacity(None);
    assert!(!matches!(full.db.health().writes, WriteState::Poisoned(_)), "{:?}", full.db.health());
    let db = full.db;

    db.keyspace("another").unwrap().insert("k", "v").unwrap();
    if db.get_keyspace("k").unwrap().is_some() {
        assert!(db.drop_keyspace("k").unwrap());
    }
    let again = db.keyspace("k").unwrap();
    assert!(again.is_empty().unwrap(), "{made} made, dropped: {dropped}");
    again.insert("k", "new").unwrap();
}
