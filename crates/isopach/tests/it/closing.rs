//! The end of a database: who may hold it up, what it keeps, and when the directory is free.

use isopach::{
    Db, ErrorKind, Event, EventListener, WriteOptions,
    env::{CrashFs, MemFs, Step},
};
use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};
use testkit::db::{SOON, small, tiny_tables, volatile, wait_until};

fn is_free(files: &MemFs) -> bool {
    match small(files.clone()).open() {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
            false
        }
    }
}

#[test]
fn a_second_opening_is_locked_and_the_directory_is_free_after_closing() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();

    assert_eq!(small(files.clone()).open().unwrap_err().kind(), ErrorKind::Locked);
    assert_eq!(small(files.clone()).open_read_only().unwrap_err().kind(), ErrorKind::Locked);
    db.close().unwrap();

    assert!(is_free(&files));
}

#[test]
fn every_handle_of_a_closed_database_says_so() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.insert("k", "v").unwrap();
    let (snapshot, other) = (db.snapshot(), db.clone());
    let old = ks.at(&snapshot);
    drop(snapshot);
    db.close().unwrap();

    let kinds = [
        ks.insert("k", "v").map(drop),
        ks.get("k").map(drop),
        ks.count(..).map(drop),
        ks.iter().next().expect("an error").map(drop),
        old.get("k").map(drop),
        ks.compact_range(..),
        other.flush(),
        other.sync().map(drop),
        other.keyspace("l").map(drop),
        other.drop_keyspace("k").map(drop),
        other.write(other.batch()).map(drop),
        other.wait_idle(SOON),
        other.verify(isopach::VerifyOptions::new()).map(drop),
    ];
    for (call, outcome) in kinds.into_iter().enumerate() {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed, "call {call}");
    }
    other.close().unwrap();
}

#[test]
fn closing_beside_an_iterator_is_busy_and_the_lock_goes_with_the_iterator() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    for n in 0..100_u8 {
        ks.insert([n], [n]).unwrap();
    }
    db.flush().unwrap();
    let mut iter = ks.iter();
    assert_eq!(iter.next().unwrap().unwrap().0, &[0]);
    drop(ks);

    let error = db.close_within(Duration::from_millis(10)).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(!is_free(&files));
    assert_eq!(iter.by_ref().map(Result::unwrap).count(), 99, "the iterator reads on");
    drop(iter);
    assert!(is_free(&files));
}

#[test]
fn a_slice_outlives_its_database() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.insert("in a table", vec![7; 5000]).unwrap();
    db.flush().unwrap();
    let table = ks.get("in a table").unwrap().unwrap();
    ks.insert("in memory", vec![8; 5000]).unwrap();
    let memory = ks.get("in memory").unwrap().unwrap();
    drop(ks);

    db.close().unwrap();

    assert_eq!((&table[..], &memory[..]), (&[7; 5000][..], &[8; 5000][..]));
}

#[test]
fn dropping_the_last_handle_closes() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let seqno = ks.insert_with("k", "v", volatile()).unwrap();
    let snapshot = db.snapshot();
    let iter = ks.iter();

    drop(db);
    assert!(!is_free(&files), "a keyspace is a handle");
    drop(ks);
    assert!(!is_free(&files), "so is a snapshot");
    drop(snapshot);
    assert!(!is_free(&files), "and an iterator");
    drop(iter);

    let db = small(files).open().unwrap();
    assert!(db.recovery().is_clean);
    assert_eq!((db.seqno(), db.durable_seqno()), (seqno, seqno));
    assert_eq!(db.keyspace("k").unwrap().get("k").unwrap().unwrap(), b"v");
}

/// Drops what it was given at the first event.
#[derive(Clone, Default)]
struct DropsHandle(Arc<Mutex<Option<Db>>>);

impl EventListener for DropsHandle {
    fn on_event(&self, _event: &Event<'_>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[test]
fn a_listener_may_drop_the_last_handle() {
    let files = MemFs::new();
    let listener = DropsHandle::default();
    let db = small(files.clone()).listener(listener.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    let (freed, is_freed) = mpsc::channel();
    db.on_closed(move || freed.send(()).unwrap());
    for n in 0..30_u8 {
        ks.insert([n], [n; 400]).unwrap();
    }
    *listener.0.lock().unwrap() = Some(db);

    ks.insert("one more", vec![0; 16 << 10]).unwrap(); // A flush begins on a background thread.
    drop(ks);

    is_freed.recv_timeout(SOON).expect("the database is closed");
    let db = small(files).open().unwrap();
    assert!(db.recovery().is_clean);
    assert_eq!(db.keyspace("k").unwrap().count(..).unwrap(), 31);
}

#[test]
fn a_background_thread_of_another_database_may_drop_the_last_handle() {
    let files = MemFs::new();
    let listener = DropsHandle::default();
    let other = small(MemFs::new()).listener(listener.clone()).open().unwrap();
    let db = small(files.clone()).open().unwrap();
    db.keyspace("k").unwrap().insert("k", "v").unwrap();
    *listener.0.lock().unwrap() = Some(db);

    let ks = other.keyspace("k").unwrap();
    ks.insert("k", vec![0; 20 << 10]).unwrap();

    wait_until("the handle is dropped and the database closed", || is_free(&files));
    assert_eq!(small(files).open().unwrap().keyspace("k").unwrap().count(..).unwrap(), 1);
}

#[test]
fn volatile_writes_survive_a_clean_close_and_not_a_crash() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let (a, b) = (db.keyspace("a").unwrap(), db.keyspace("b").unwrap());
    a.insert_with("volatile", "1", volatile()).unwrap();
    b.insert("buffered", "1").unwrap();
    let crashed = files.deep_clone();
    drop((a, b));
    db.close().unwrap();

    let db = small(files).open().unwrap();
    assert_eq!(db.keyspace("a").unwrap().get("volatile").unwrap().unwrap(), b"1");
    let db = small(crashed).open().unwrap();
    assert_eq!(db.keyspace("a").unwrap().get("volatile").unwrap(), None);
    assert_eq!(db.keyspace("b").unwrap().get("buffered").unwrap().unwrap(), b"1");
}

/// Every write that was acknowledged is there, and no number is given out twice, whatever ran beside the
/// close.
#[test]
fn writes_beside_a_close_are_kept_or_refused() {
    for _ in 0..30 {
        let files = MemFs::new();
        let db = small(files.clone()).open().unwrap();
        let ks = db.keyspace("k").unwrap();
        let (started, is_started) = mpsc::channel();
        let writers: Vec<_> = (0..3_u8)
            .map(|writer| {
                let (ks, started) = (ks.clone(), started.clone());
                thread::spawn(move || {
                    let options = if writer == 0 { WriteOptions::new() } else { volatile() };
                    let mut last = None;
                    for n in 0_u32.. {
                        match ks.insert_with([writer], n.to_be_bytes(), options) {
                            Ok(seqno) => last = Some((n, seqno)),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                                break;
                            }
                        }
                        if n == 20 {
                            started.send(()).unwrap();
                        }
                    }
                    last.expect("some were written")
                })
            })
            .collect();
        (0..3).for_each(|_| is_started.recv_timeout(SOON).unwrap());

        db.close().unwrap();

        let last: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        drop(ks);
        let db = small(files).open().unwrap();
        let ks = db.keyspace("k").unwrap();
        let newest = last.iter().map(|(_, seqno)| *seqno).max().unwrap();
        for (writer, (n, seqno)) in last.into_iter().enumerate() {
            let found = ks.get([writer as u8]).unwrap().unwrap();
            assert_eq!(found, &n.to_be_bytes(), "writer {writer}");
            assert!(seqno <= db.seqno(), "{seqno} is used and {} is the last", db.seqno());
        }
        assert!(ks.insert("next", "1").unwrap() > newest, "numbers are not used again");
    }
}

/// The lock around the edit that frees log segments was one for all databases of the process.
#[test]
fn a_database_whose_files_hang_holds_up_no_other() {
    let ((arrive, arrived), (go, gone)) = (mpsc::channel(), mpsc::channel::<()>());
    let gone = Mutex::new(gone);
    let fs = CrashFs::new();
    fs.watch(move |_, step| {
        if matches!(step, Step::Write(_, _, data) if data.windows(9).any(|bytes| bytes == b"log.first")) {
            arrive.send(()).unwrap();
            let _ = gone.lock().unwrap().recv();
        }
        Ok(())
    });
    let hanging = small(fs).open().unwrap();
    let ks = hanging.keyspace("k").unwrap();
    for n in 0..4_u8 {
        ks.insert([n], vec![0; 20 << 10]).unwrap();
    }
    arrived.recv_timeout(SOON).expect("a flush frees segments of the log");

    let other = small(MemFs::new()).open().unwrap();
    let (done, is_done) = mpsc::channel();
    let work = thread::spawn(move || {
        let ks = other.keyspace("k").unwrap();
        for n in 0..4_u8 {
            ks.insert([n], vec![0; 20 << 10]).unwrap();
        }
        other.wait_idle(SOON).unwrap();
        drop(ks);
        other.close().unwrap();
        done.send(()).unwrap();
    });
    let outcome = is_done.recv_timeout(Duration::from_secs(20));
    drop(go);
    outcome.expect("the other database went on");
    work.join().unwrap();
}
