//! Checkpoints while the database is written to, changed and closed.

use super::{checkpoint, fill, make_in, open_in, sub, try_checkpoint};
use isopach::{
    CheckpointInfo, CheckpointOptions, Db, ErrorKind, Seqno,
    env::{Call, Errno, Fault, FaultFs, Fs, MemFs, Rule, sync::set_point},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};
use testkit::Contents;
use testkit::db::{SOON, contents, entries, files_in, small, tiny_tables, volatile, wait_until};

/// Every commit up to the seqno is there, none above it, and no batch in part, while writers, flushes and
/// compactions run.
#[test]
fn a_checkpoint_under_load_is_a_prefix_of_the_commits() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    let (left, right) =
        (db.keyspace_with("left", tiny_tables()).unwrap(), db.keyspace_with("right", tiny_tables()).unwrap());
    let done = AtomicBool::new(false);
    let mut committed: Vec<(u32, Seqno)> = Vec::new();
    let mut infos = Vec::new();

    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut committed = Vec::new();
            for n in 0_u32.. {
                let mut batch = db.batch();
                batch.insert(&left, n.to_be_bytes(), [n as u8; 200]).insert(&right, n.to_be_bytes(), b"");
                committed.push((n, db.write(batch).unwrap()));
                if done.load(Ordering::Relaxed) {
                    return committed;
                }
            }
            unreachable!("the test ends before the numbers do")
        });
        let compactor = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                left.compact_range(..).unwrap();
            }
        });
        for n in 0..12 {
            let before = db.seqno();
            infos.push(checkpoint(&db, &files, &format!("copy{n}")));
            wait_until("writers go on", || db.seqno() > before);
        }
        done.store(true, Ordering::Relaxed);
        committed = writer.join().unwrap();
        compactor.join().unwrap();
    });

    for (n, info) in infos.iter().enumerate() {
        let copy = open_in(&files, &format!("copy{n}"));
        let expected: Vec<Vec<u8>> = committed
            .iter()
            .filter(|(_, seqno)| *seqno <= info.seqno)
            .map(|(n, _)| n.to_be_bytes().to_vec())
            .collect();
        for name in ["left", "right"] {
            let found: Vec<Vec<u8>> = entries(&copy.keyspace(name).unwrap()).into_keys().collect();
            assert!(found == expected, "{name} of {info:?}: {} of {}", found.len(), expected.len());
        }
    }
    assert!(infos.last().unwrap().seqno > infos[0].seqno, "no copy is later than the first");
    let tables = || {
        let levels = [left.stats(), right.stats()].map(|stats| stats.tree.levels);
        levels.iter().flatten().map(|(_, level)| level.tables).sum::<u64>()
    };
    wait_until("obsolete files are removed once nobody pauses that", || {
        files_in(&files, "db/tables").len() as u64 == tables()
    });
}

/// Each keyspace is in the checkpoints between its creation and its drop, and in no other.
#[test]
fn keyspaces_that_come_and_go_meanwhile_are_there_as_of_the_seqno() {
    const KEPT: u32 = 3;
    let files = MemFs::new();
    let db = make_in(&files, "db");
    let done = AtomicBool::new(false);
    // Where each was made, written to and dropped: nobody else commits.
    let mut lives: Vec<(Seqno, Seqno, Seqno)> = Vec::new();
    let mut infos = Vec::new();

    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut lives: Vec<(Seqno, Seqno, Seqno)> = Vec::new();
            for n in 0_u32.. {
                let keyspace = db.keyspace_with(&format!("k{n}"), tiny_tables()).unwrap();
                let made = db.seqno();
                let written = keyspace.insert("n", n.to_be_bytes()).unwrap();
                lives.push((made, written, Seqno::MAX));
                if let Some(old) = n.checked_sub(KEPT) {
                    assert!(db.drop_keyspace(&format!("k{old}")).unwrap());
                    lives[old as usize].2 = db.seqno();
                }
                if done.load(Ordering::Relaxed) {
                    return lives;
                }
            }
            unreachable!("the test ends before the numbers do")
        });
        for n in 0..12 {
            let options = CheckpointOptions::new().flush(n % 3 == 0);
            infos.push(db.checkpoint_to(Arc::new(files.clone()), &format!("copy{n}"), options).unwrap());
        }
        done.store(true, Ordering::Relaxed);
        lives = writer.join().unwrap();
    });

    for (n, info) in infos.iter().enumerate() {
        let found = contents(&open_in(&files, &format!("copy{n}")));
        let alive = lives.iter().enumerate();
        let alive = alive.filter(|(_, (made, _, dropped))| (*made..*dropped).contains(&info.seqno));
        let content = |(n, (_, written, _)): (usize, &(Seqno, Seqno, Seqno))| {
            let entry = (b"n".to_vec(), (n as u32).to_be_bytes().to_vec());
            (format!("k{n}"), (*written <= info.seqno).then_some(entry).into_iter().collect())
        };
        let expected: Contents = alive.map(content).collect();
        assert_eq!(found, expected, "{info:?}");
    }
}

#[test]
fn what_happens_behind_the_capture_does_not_show() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    let (a, b) = (db.keyspace("a").unwrap(), db.keyspace("b").unwrap());
    a.insert_with("in no log", "but there", volatile()).unwrap();
    let expected = contents(&db);

    let made = checkpoint_around(&db, &files, "a checkpoint before changes", || {
        b.insert("too", "late").unwrap();
        a.insert_with("in no log", "too late", volatile()).unwrap();
        db.flush().unwrap();
        b.compact_range(..).unwrap();
        assert!(db.drop_keyspace("a").unwrap());
        db.keyspace("new").unwrap().insert("too", "late").unwrap();
    });

    made.unwrap();
    assert_eq!(contents(&open_in(&files, "copy")), expected);
    assert!(db.get_keyspace("a").unwrap().is_none());
}

#[test]
fn a_database_that_is_closed_meanwhile_is_free_when_the_checkpoint_has_ended() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    fill(&db);
    db.keyspace("a").unwrap().insert_with("in no log", "but there", volatile()).unwrap();
    let expected = contents(&db);

    let made = checkpoint_around(&db, &files, "a checkpoint before closing", || {
        let closed = db.clone().close_within(Duration::from_millis(1));
        assert_eq!(closed.unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(small(sub(&files, "db")).open().unwrap_err().kind(), ErrorKind::Locked);
    });

    match made {
        Ok(_) => assert_eq!(contents(&open_in(&files, "copy")), expected),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
            assert!(!files.exists("copy").unwrap());
        }
    }
    let again = open_in(&files, "db");
    assert!(again.recovery().is_clean);
    assert_eq!(contents(&again), expected);
}

/// What is read of a log whose sync failed may not be what lies on the medium.
#[test]
fn a_log_that_is_poisoned_meanwhile_is_not_copied() {
    let files = FaultFs::new(Arc::new(MemFs::new()));
    let db = make_in(&files, "db");
    fill(&db);

    let made = checkpoint_around(&db, &files, "a checkpoint before poison", || {
        files.arm(Rule::new(Fault::Fail(Errno::Io)).on(Call::Sync).named("db/wal/*").times(1));
        db.keyspace("a").unwrap().insert("too", "late").unwrap();
        assert_eq!(db.sync().unwrap_err().kind(), ErrorKind::Poisoned);
    });

    assert_eq!(made.unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(!files.exists("copy").unwrap());
}

/// Makes a checkpoint in `copy`, on a thread of this name, and does something between its capture and its
/// files.
fn checkpoint_around(
    db: &Db,
    files: &(impl Fs + Clone),
    thread_name: &'static str,
    meanwhile: impl FnOnce(),
) -> isopach::Result<CheckpointInfo> {
    let (arrived, arrivals) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let hold = move || {
        if thread::current().name() == Some(thread_name) {
            arrived.send(()).expect("the test waits");
            let _ = gone.lock().expect("one caller").recv(); // Ends when the sender goes.
        }
    };
    let _held = set_point("checkpoint.captured", Box::new(hold));
    thread::scope(|scope| {
        let making = thread::Builder::new().name(thread_name.into());
        let making = making.spawn_scoped(scope, || try_checkpoint(db, files, "copy")).unwrap();
        arrivals.recv_timeout(SOON).expect("it captures");
        meanwhile();
        drop(go); // Also if that panics: the checkpoint goes on.
        making.join().unwrap()
    })
}

#[test]
fn a_keyspace_that_is_dropped_meanwhile_fails_no_flush() {
    let files = MemFs::new();
    let db = make_in(&files, "db");
    let done = AtomicBool::new(false);

    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                db.keyspace("t").unwrap().insert("k", "v").unwrap();
                assert!(db.drop_keyspace("t").unwrap());
            }
        });
        let flushed: Vec<_> = (0..200).map(|_| db.flush()).collect();
        done.store(true, Ordering::Relaxed);
        flushed.into_iter().for_each(Result::unwrap);
    });
}

/// Bytes of it lie in the log, behind its end.
#[test]
fn a_write_that_failed_is_not_in_the_checkpoint() {
    let files = MemFs::new();
    let faulty = FaultFs::new(Arc::new(files.clone()));
    faulty.create_dir("db").unwrap();
    let db = small(sub(&faulty, "db")).mapped_log(false).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.insert("a", "1").unwrap();
    faulty.arm(Rule::new(Fault::Cut(20, Errno::Io)).on(Call::Write).named("db/wal/*").times(1));
    assert_eq!(ks.insert("b", "lost").unwrap_err().kind(), ErrorKind::Io);
    let before = checkpoint(&db, &files, "before");
    ks.insert("c", "3").unwrap();

    let after = checkpoint(&db, &files, "after");

    assert!(before.seqno < after.seqno);
    for (name, expected) in [("before", "a"), ("after", "ac")] {
        let keys = entries(&open_in(&files, name).keyspace("k").unwrap()).into_keys();
        assert_eq!(keys.flatten().collect::<Vec<u8>>(), expected.as_bytes(), "{name}");
    }
}
