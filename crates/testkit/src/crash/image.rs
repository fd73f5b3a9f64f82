//! What a crash left behind, and everything that must be so.

use super::ledger::{Floors, Ledger};
use crate::db::{SOON, contents, files_in, read_file, small};
use isopach::{
    Db, ErrorKind, VerifyOptions,
    engine::codec::{FileHeader, HeaderError},
    env::Fs,
};
use std::{
    any::Any,
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

/// A check of one image, and what to say if it fails.
type Check = (String, Box<dyn FnOnce() + Send>);

/// Checks images on a thread of its own, a few behind whoever takes them: who takes them holds locks of the
/// database, and threads that do may open no other.
pub struct Checker {
    sender: Option<SyncSender<Check>>,
    thread: Option<JoinHandle<usize>>,
}

impl Checker {
    /// Starts its thread.
    pub fn start() -> Checker {
        let (sender, receiver) = sync_channel::<Check>(4);
        let work = move || {
            let mut checked = 0;
            for (label, check) in receiver {
                let told = ToldIfFailed(label);
                check();
                drop(told);
                checked += 1;
            }
            checked
        };
        Checker { sender: Some(sender), thread: Some(thread::spawn(work)) }
    }

    /// Where to send checks. Sending to a checker that failed does nothing.
    pub fn sender(&self) -> SyncSender<Check> {
        self.sender.clone().expect("it runs")
    }

    /// Waits for all checks and returns how many there were, or the panic of the first that failed. Whoever
    /// sends has ended.
    pub fn finish(mut self) -> Result<usize, Box<dyn Any + Send>> {
        drop(self.sender.take());
        self.thread.take().expect("it runs").join()
    }
}

struct ToldIfFailed(String);

impl Drop for ToldIfFailed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed at {}", self.0);
        }
    }
}

/// Opens what a crash left behind, and checks all that must hold. Returns where the prefix ends that
/// survived.
pub fn check_image(fs: &(impl Fs + Clone), ledger: &Ledger, floors: Floors, floor: usize) -> usize {
    match small(fs.clone()).verify(VerifyOptions::new()) {
        Ok(report) => assert!(report.found.is_empty(), "before opening: {:?}", report.found),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert_eq!(floor, 0, "the database was there, and is not");
        }
    }
    let db = small(fs.clone()).open().expect("a database opens after any crash");
    let survived = ledger.check(contents(&db), floor);
    assert!(db.durable_seqno() <= db.seqno());

    db.wait_idle(SOON).unwrap();
    check_tables(fs, &db);
    let report = db.verify(VerifyOptions::new()).unwrap();
    assert!(report.found.is_empty(), "after opening: {:?}", report.found);
    assert_eq!(ledger.check(contents(&db), survived), survived, "background work changes no answer");

    let last = db.seqno();
    let marks = db.keyspace("marks of a check").unwrap();
    let seqno = marks.insert("mark", "1").unwrap();
    assert!(seqno > last && seqno.raw() > floors.seqno, "{seqno} was used before, {floors:?}");
    drop(marks);
    db.close().unwrap();

    let db = small(fs.clone()).open().expect("it opens again");
    assert!(db.recovery().is_clean);
    let mut again = contents(&db);
    let marks = again.remove("marks of a check").expect("made before closing");
    assert_eq!(marks[&b"mark"[..]], b"1");
    assert_eq!(ledger.check(again, survived), survived, "a second opening finds the same");
    survived
}

/// Every table file is one that a keyspace has, or cannot be told to be a table of this database.
fn check_tables(fs: &impl Fs, db: &Db) {
    let keyspaces = db.stats().keyspaces;
    let tables = keyspaces.iter().flat_map(|keyspace| &keyspace.tree.levels);
    let known: u64 = tables.map(|(_, stats)| stats.tables).sum();
    let mut there = files_in(fs, "tables");
    there.retain(|name| !has_damaged_header(fs, name));
    assert_eq!(there.len() as u64, known, "orphans among {there:?}: {}", db.stats());
}

/// Whether a power loss left something stale in place of the header of a table, before it was durable: files
/// are removed only if they are surely the database's own, so this one stays.
fn has_damaged_header(fs: &impl Fs, name: &str) -> bool {
    let bytes = read_file(fs, &format!("tables/{name}"));
    let header = bytes.first_chunk().filter(|header| header.iter().any(|&byte| byte != 0));
    header.is_some_and(|header| FileHeader::decode(header) == Err(HeaderError::Foreign))
}
