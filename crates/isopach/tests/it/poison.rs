//! A sync fails: nothing is reported durable from then on, reads go on, and only reopening ends it.

use isopach::{
    Db, ErrorKind, Event, EventListener, WriteState,
    env::{CrashFs, IoErrorKind, Step},
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
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
