//! A sync fails: nothing is reported durable from then on, reads go on, and only reopening ends it.

use isopach::{
    Db, ErrorKind, Event, EventListener, WriteState,
    env::{Call, CrashFs, Errno, Fault, FaultFs, IoErrorKind, MemFs, Rule, Step, Survival},
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use std::thread;
use testkit::db::{entries, small, synced, tiny_tables, wait_until};

/// Files whose syncs fail while a switch is on; of files whose names begin so.
fn failing(prefix: &'static str) -> (CrashFs, Arc<AtomicBool>) {
    let fs = CrashFs::new();
    let fails = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&fails);
    fs.watch(move |_, step| match step {
        Step::Sync(name, _) | Step::SyncDir(name, _)
            if name.starts_with(prefix) && switch.load(Ordering::SeqCst) =>
        {
            Err(IoErrorKind::Other.into())
        }
        _ => Ok(()),
    });
    (fs, fails)
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl EventListener for Heard {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::Poisoned { error } = event {
            self.0.lock().unwrap().push(error.to_string());
        }
    }
}

fn is_poisoned(db: &Db) -> bool {
    matches!(db.health().writes, WriteState::Poisoned(_))
}

#[test]
fn after_a_failed_sync_of_the_log_nothing_is_durable_until_reopened() {
    let (fs, fails) = failing("wal/");
    let heard = Heard::default();
    let db = small(fs.clone()).listener(heard.clone()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let durable = ks.insert_with("durable", "1", synced()).unwrap();
    let buffered = ks.insert("buffered", "1").unwrap();

    fails.store(true, Ordering::SeqCst);
    assert_eq!(ks.insert_with("unknown", "1", synced()).unwrap_err().kind(), ErrorKind::Poisoned);
    fails.store(false, Ordering::SeqCst); // A later sync would succeed, and say nothing.

    assert_eq!(db.durable_seqno(), durable);
    assert_eq!(db.health().durable_seqno, durable);
    assert!(is_poisoned(&db), "{:?}", db.health());
    let refused = [
        ks.insert("k", "v").map(drop),
        ks.insert_with("k", "v", testkit::db::volatile()).map(drop),
        db.sync().map(drop),
        db.wait_durable(buffered),
        db.flush(),
        db.keyspace("new").map(drop),
        db.drop_keyspace("k").map(drop),
    ];
    for (call, outcome) in refused.into_iter().enumerate() {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Poisoned, "call {call}");
    }
    assert_eq!(ks.get("buffered").unwrap().unwrap(), b"1", "reads go on");
    assert!(ks.count(..).unwrap() >= 2);
    assert_eq!(heard.0.lock().unwrap().len(), 1, "told once");
    assert_eq!(db.durable_seqno(), durable);
    drop(ks);
    assert_eq!(db.close().unwrap_err().kind(), ErrorKind::Poisoned);

    let db = small(fs).open().unwrap();
    assert!(!is_poisoned(&db) && !db.recovery().is_clean);
    let ks = db.keyspace("k").unwrap();
    assert_eq!(ks.get("durable").unwrap().unwrap(), b"1");
    assert_eq!(ks.get("buffered").unwrap().unwrap(), b"1");
    assert!(ks.insert_with("again", "1", synced()).unwrap() > buffered);
}

#[test]
fn a_failed_sync_of_the_manifest_poisons() {
    let (fs, fails) = failing("MANIFEST");
    let db = small(fs.clone()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.insert("k", "v").unwrap();

    fails.store(true, Ordering::SeqCst);
    assert_eq!(db.flush().unwrap_err().kind(), ErrorKind::Poisoned);
    fails.store(false, Ordering::SeqCst);

    assert!(is_poisoned(&db));
    assert_eq!(ks.insert("l", "v").unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(ks.get("k").unwrap().unwrap(), b"v");
    drop((ks, db));
    let db = small(fs).open().unwrap();
    assert_eq!(entries(&db.keyspace("k").unwrap()).len(), 1);
}

#[test]
fn a_failed_sync_of_a_directory_of_tables_poisons() {
    let (fs, fails) = failing("tables");
    let db = small(fs.clone()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.insert("k", "v").unwrap();
    fs.watch({
        let fails = Arc::clone(&fails);
        move |_, step| match step {
            Step::SyncDir("tables", _) if fails.load(Ordering::SeqCst) => Err(IoErrorKind::Other.into()),
            _ => Ok(()),
        }
    });

    fails.store(true, Ordering::SeqCst);
    let error = db.flush().unwrap_err();
    fails.store(false, Ordering::SeqCst);

    assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
    assert_eq!(ks.get("k").unwrap().unwrap(), b"v");
    drop((ks, db));
    assert_eq!(entries(&small(fs).open().unwrap().keyspace("k").unwrap()).len(), 1);
}

/// No edit names such a file yet: it goes, and the job runs again in a new one.
#[test]
fn a_failed_sync_of_a_table_fails_its_job_and_nothing_else() {
    let (fs, fails) = failing("tables/");
    let db = small(fs.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    ks.insert("k", "v").unwrap();

    fails.store(true, Ordering::SeqCst);
    let error = db.flush().unwrap_err();
    assert_eq!((error.kind(), error.keyspace()), (ErrorKind::Io, Some("k")), "{error}");
    assert!(!is_poisoned(&db));
    ks.insert("l", "v").unwrap();
    fails.store(false, Ordering::SeqCst);

    wait_until("the flush is tried again", || ks.stats().tree.flushes > 0);
    db.flush().unwrap();
    db.wait_idle(testkit::db::SOON).unwrap();
    assert!(db.health().background_error.is_none());
    assert_eq!(ks.count(..).unwrap(), 2);
    let tables: u64 = ks.stats().tree.levels.iter().map(|(_, level)| level.tables).sum();
    wait_until("the file of the failed attempt goes", || {
        testkit::db::files_in(&fs, "tables").len() as u64 == tables
    });
}

/// Writers who share a sync that fails all hear of it, and none who comes later is told that his write is
/// durable.
#[test]
fn of_a_sync_that_fails_all_who_wait_get_the_error_and_nobody_later_is_acknowledged() {
    for skip in 0..6 {
        let medium = CrashFs::new();
        let fs = FaultFs::new(Arc::new(medium.clone()));
        let db = small(fs.clone()).open().unwrap();
        let ks = db.keyspace("k").unwrap();
        let failing = Rule::new(Fault::FailThenLie).on(Call::Sync).named("wal/*").skip(skip).times(1);
        fs.arm(failing);

        let write = |writer: u8| {
            let mut acknowledged = Vec::new();
            for n in 0_u8.. {
                match ks.insert_with([writer, n], "1", synced()) {
                    Ok(_) => acknowledged.push([writer, n]),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
                        break;
                    }
                }
            }
            let later = ks.insert_with([writer, 255], "1", synced()).unwrap_err();
            assert_eq!(later.kind(), ErrorKind::Poisoned, "{later}");
            acknowledged
        };
        let acknowledged: Vec<[u8; 2]> = thread::scope(|scope| {
            let writers: Vec<_> = (0..6).map(|writer| scope.spawn(move || write(writer))).collect();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });

        assert_eq!(fs.fired().len(), 1);
        let image = medium.crash_with(Survival::Nothing, 0);
        let survived = entries(&small(image).open().unwrap().keyspace("k").unwrap());
        for key in acknowledged {
            assert!(
                survived.contains_key(&key[..]),
                "{key:?} was acknowledged as durable, sync {skip} failed"
            );
        }
    }
}

/// The medium fails under the manifest: the log alone could be synced still, but nothing may count any more.
#[test]
fn once_the_manifest_has_poisoned_no_sync_of_the_log_is_acknowledged() {
    let (fs, fails) = failing("MANIFEST");
    let db = small(fs).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let durable = db.sync().unwrap();
    let buffered = ks.insert("k", "v").unwrap();
    fails.store(true, Ordering::SeqCst);
    assert_eq!(db.keyspace("another").unwrap_err().kind(), ErrorKind::Poisoned);
    fails.store(false, Ordering::SeqCst);

    let outcomes = [db.sync().map(drop), db.wait_durable(buffered.max(db.seqno())), db.flush()];
    let kinds = outcomes.map(|outcome| outcome.err().map(|error| error.kind()));

    // The record of the creation was synced, and everything before it, before its edit failed.
    let is_durable = db.durable_seqno() >= db.seqno();
    assert_eq!((kinds[0], kinds[2]), (Some(ErrorKind::Poisoned), Some(ErrorKind::Poisoned)));
    assert_eq!(kinds[1].is_none(), is_durable);
    assert!(db.durable_seqno() >= durable);
    assert_eq!(ks.compact_range(..).unwrap_err().kind(), ErrorKind::Poisoned);
}

/// A drop whose edit found no room was refused to its caller, yet the name could not be used again until
/// reopening.
#[test]
fn a_keyspace_whose_drop_failed_half_way_can_be_dropped_and_made_again() {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let db = small(fs.clone()).open().unwrap();
    // Edits fill the space that is reserved for them while no more can be had.
    fs.arm(Rule::new(Fault::Fail(Errno::NoSpace)).on(Call::Allocate).on(Call::Create).named("MANIFEST*"));
    let name = |n: u32| format!("{n:0>200}");
    let made = (0..20_000).find(|&n| db.keyspace(&name(n)).is_err()).expect("the space ends some time");
    // The edit of a drop is shorter: some fit still.
    let (at, error) =
        (0..made).find_map(|n| db.drop_keyspace(&name(n)).err().map(|error| (n, error))).unwrap();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace, "{error}");
    let (k, l) = (name(at), name(at + 1));
    assert_eq!(db.drop_keyspace(&l).unwrap_err().kind(), ErrorKind::OutOfSpace);
    assert!(!is_poisoned(&db), "{:?}", db.health());
    fs.disarm();

    assert!(db.drop_keyspace(&l).unwrap());
    assert!(db.get_keyspace(&l).unwrap().is_none() && !db.drop_keyspace(&l).unwrap());
    let again = db.keyspace(&k).unwrap();
    assert!(again.is_empty().unwrap());
    again.insert("k", "2").unwrap();
    drop(again);
    db.close().unwrap();
    let db = small(fs).open().unwrap();
    assert_eq!(db.get_keyspace(&k).unwrap().unwrap().get("k").unwrap().unwrap(), b"2");
    assert!(db.get_keyspace(&l).unwrap().is_none());
}
