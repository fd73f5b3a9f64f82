//! What a crash left behind, and everything that must be so.

use super::{
    ledger::{Checkpoint, Floors, Ledger},
    run::DATABASE,
};
use crate::{
    Contents,
    db::{PLACES, SOON, contents, files_in, read_file, small},
    keys::is_of_keys,
};
use isopach::{
    Db, ErrorKind, UnnamedFile, VerifyDepth, VerifyOptions,
    engine::{
        codec::{FileHeader, HeaderError},
        place::PlaceId,
    },
    env::{CrashFs, Fs, SubDir},
};
use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

/// A keyspace that only checks write to; no ledger knows it.
pub(super) const MARKS: &str = "marks of a check";

/// A promise that was broken.
#[derive(Debug)]
pub struct Violation {
    /// The crash.
    pub at: String,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.why)
    }
}

/// A check of one image, and what to say if it fails.
type Check = (String, Box<dyn FnOnce() + Send>);

/// Where to send checks.
pub(super) type Sender = SyncSender<Check>;

/// Checks images on a thread of its own, a few behind whoever takes them: who takes them holds locks of the
/// database, and threads that do may open no other.
pub struct Checker {
    sender: Option<Sender>,
    has_failed: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<usize, Violation>>>,
}

impl Checker {
    /// Starts its thread.
    pub fn start() -> Checker {
        let (sender, receiver) = sync_channel::<Check>(4);
        let has_failed = Arc::new(AtomicBool::new(false));
        let failed = Arc::clone(&has_failed);
        let work = move || {
            let mut outcome = Ok(0);
            for (label, check) in receiver {
                // Behind the first that failed the others are only taken, so that the work comes to its end.
                if let Ok(checked) = &mut outcome {
                    *checked += 1;
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(check)) {
                        outcome = Err(Violation { at: label, why: text_of(&*panic) });
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            }
            outcome
        };
        Checker { sender: Some(sender), has_failed, thread: Some(thread::spawn(work)) }
    }

    /// Becomes true when a check fails: from then on images need not be made.
    pub(super) fn has_failed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.has_failed)
    }

    /// Where to send checks; a check that panics has failed.
    pub fn sender(&self) -> SyncSender<Check> {
        self.sender.clone().expect("it runs")
    }

    /// Waits for all checks and returns how many there were. Whoever sends has ended.
    ///
    /// # Errors
    ///
    /// The first that failed.
    pub fn finish(mut self) -> Result<usize, Violation> {
        drop(self.sender.take());
        self.thread.take().expect("it runs").join().expect("checks are caught")
    }
}

/// What a panic said.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").into()
}

/// What an image must hold at least.
#[derive(Clone, Copy, Debug)]
pub struct Promised {
    /// The last commit that must be there.
    pub floor: usize,
    /// What was acknowledged before it was made.
    pub floors: Floors,
}

/// Checks everything that a crash left behind: the database and the copies that were made of it. Returns
/// where the prefix ends that survived.
///
/// # Panics
///
/// If something is not as it must be.
pub fn check_files(files: &CrashFs, ledger: &Ledger, promised: Promised) -> usize {
    for (index, copy) in ledger.checkpoints().iter().enumerate() {
        check_checkpoint(files, ledger, copy, index < promised.floors.checkpoints);
    }
    check_image(&database(files), ledger, promised)
}

/// No file holds these bytes.
///
/// # Panics
///
/// If one does.
pub fn check_hidden(files: &CrashFs, bytes: &[u8]) {
    fn search(files: &CrashFs, directory: &str, wanted: &[u8]) {
        for entry in files.list(directory).expect("it is listed") {
            let name = if directory.is_empty() { entry.name } else { format!("{directory}/{}", entry.name) };
            if entry.is_dir {
                search(files, &name, wanted);
            } else {
                let found = read_file(files, &name);
                assert!(
                    !found.windows(wanted.len()).any(|part| part == wanted),
                    "{name} shows what it holds"
                );
            }
        }
    }
    search(files, "", bytes);
}

/// The place of the database; its directory is made anew if it is gone.
pub(super) fn database(files: &CrashFs) -> SubDir {
    let _ = files.create_dir(DATABASE);
    SubDir::open(Arc::new(files.clone()), DATABASE).expect("there is a directory")
}

/// A copy that was finished is whole; one that was not is whole, refused, or nothing; one that failed is
/// nothing.
fn check_checkpoint(files: &CrashFs, ledger: &Ledger, copy: &Checkpoint, has_ended: bool) {
    let (name, is_finished) = (&copy.name, has_ended && !copy.has_failed);
    let Ok(place) = SubDir::open(Arc::new(files.clone()), name) else {
        assert!(!is_finished, "the copy {name} was finished, and is gone");
        return;
    };
    assert!(!(has_ended && copy.has_failed), "the copy {name} could not be made, and is there");
    match small(place).create_if_missing(false).open() {
        Ok(db) => {
            let found = contents(&db);
            ledger.check_within(found, copy.at, copy.at);
            let report = db.verify(VerifyOptions::new()).expect("a copy can be verified");
            assert!(report.lost().next().is_none(), "in the copy {name}: {:?}", report.found);
        }
        Err(error) => {
            let is_partial = error.kind() == ErrorKind::Corruption && error.to_string().contains("PARTIAL");
            assert!(is_partial || error.kind() == ErrorKind::NotFound, "of the copy {name}: {error}");
            assert!(!is_finished, "the copy {name} was finished, and is refused: {error}");
        }
    }
}

/// Opens the database that a crash left behind, and checks all that must hold. Returns where the prefix ends
/// that survived.
///
/// # Panics
///
/// If something is not as it must be.
pub fn check_image(fs: &(impl Fs + Clone), ledger: &Ledger, promised: Promised) -> usize {
    let Promised { floor, floors } = promised;
    match small(fs.clone()).verify(VerifyOptions::new()) {
        Ok(report) => assert!(report.lost().next().is_none(), "before opening: {:?}", report.found),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert_eq!(floor, 0, "the database was there, and is not");
        }
    }
    let db = small(fs.clone()).open().expect("a database opens after any crash");
    let survived = ledger.check(written_to(&db), floor);
    assert!(db.durable_seqno() <= db.seqno());

    db.wait_idle(SOON).unwrap();
    check_tables(fs, &db);
    check_names(fs, &db);
    check_beside_tables(fs, &db);
    let report = db.verify(VerifyOptions::new()).unwrap();
    assert!(report.lost().next().is_none(), "after opening: {:?}", report.found);
    assert_eq!(ledger.check(written_to(&db), survived), survived, "background work changes no answer");

    let last = db.seqno();
    let marks = db.keyspace(MARKS).unwrap();
    let seqno = marks.insert("mark", "1").unwrap();
    assert!(seqno > last && seqno.raw() > floors.seqno, "{seqno} was used before, {floors:?}");
    drop(marks);
    db.close().unwrap();

    let db = small(fs.clone()).open().expect("it opens again");
    assert!(db.recovery().is_clean);
    let mark = db.get_keyspace(MARKS).unwrap().expect("made before closing").get("mark").unwrap();
    assert_eq!(mark.as_deref(), Some(&b"1"[..]));
    assert_eq!(ledger.check(written_to(&db), survived), survived, "a second opening finds the same");
    survived
}

/// Everything but what checks wrote.
pub(super) fn written_to(db: &Db) -> Contents {
    let mut found = contents(db);
    found.remove(MARKS);
    found
}

/// Every table file is one that a keyspace has, or cannot be told to be a table of this database.
fn check_tables(fs: &impl Fs, db: &Db) {
    let keyspaces = db.stats().keyspaces;
    let tables = keyspaces.iter().flat_map(|keyspace| &keyspace.tree.levels);
    let known: u64 = tables.map(|(_, stats)| stats.tables).sum();
    let mut there = files_below(fs, "tables");
    there.retain(|name| !has_damaged_header(fs, name));
    assert_eq!(there.len() as u64, known, "orphans among {there:?}: {}", db.stats());
}

/// Every dictionary and every file of separated values is one that a table has, or cannot be told to be one of this
/// database; and tables point to nothing else.
fn check_beside_tables(fs: &impl Fs, db: &Db) {
    let there = files_below(fs, "dictionaries").into_iter().chain(files_below(fs, "blobs"));
    let there: Vec<String> = there.filter(|name| !has_damaged_header(fs, name)).collect();
    if there.is_empty() {
        return;
    }
    let report = db.verify(VerifyOptions::new().depth(VerifyDepth::Full)).unwrap();
    let is_there = |it: &&UnnamedFile| {
        let (place, inner) = PlaceId::split(&it.file);
        let route = db.routes().into_iter().find(|route| route.place == place.0);
        there.contains(&route.map_or_else(|| it.file.clone(), |route| format!("{}/{inner}", route.name)))
    };
    let unnamed: Vec<_> = report.unnamed.iter().filter(is_there).collect();
    assert!(report.lost().next().is_none() && unnamed.is_empty(), "{:?}, {unnamed:?}", report.found);
}

/// Names of the files in a directory of the database, and in that of its places.
fn files_below(fs: &impl Fs, directory: &str) -> Vec<String> {
    let places = PLACES.iter().filter(|place| fs.exists(place) == Ok(true));
    let directories = places.map(|place| format!("{place}/{directory}"));
    let directories = directories.filter(|name| fs.exists(name) == Ok(true)).chain([String::from(directory)]);
    let names = |directory: String| {
        files_in(fs, &directory).into_iter().map(move |name| format!("{directory}/{name}"))
    };
    directories.flat_map(names).collect()
}

/// Of every other kind there is what is needed and nothing else.
fn check_names(fs: &impl Fs, db: &Db) {
    let mut root = files_in(fs, "");
    let manifests = root.iter().filter(|name| name.starts_with("MANIFEST-")).count();
    assert_eq!(manifests, 1, "manifests in {root:?}");
    root.retain(|name| !name.starts_with("MANIFEST-") && !PLACES.contains(&&**name) && !is_of_keys(name));
    assert_eq!(root, ["IDENTITY", "LOCK", "blobs", "dictionaries", "tables", "wal"]);
    let segments = || (files_in(fs, "wal"), db.stats().wal_segments);
    // One may be prepared, and two be kept for the next.
    let is_tidy = |(segments, live): &(Vec<String>, u64)| segments.len() as u64 <= live + 3;
    if !is_tidy(&segments()) {
        db.wait_idle(SOON).unwrap(); // What an opening that was interrupted left is on its way out.
    }
    let (segments, live) = segments();
    assert!(is_tidy(&(segments.clone(), live)), "{live} segments are live, and there are {segments:?}");
}

/// Whether a power loss left something stale in place of the header of a table or dictionary, before it was durable: files
/// are removed only if they are surely the database's own, so this one stays.
fn has_damaged_header(fs: &impl Fs, name: &str) -> bool {
    let bytes = read_file(fs, name);
    let header = bytes.first_chunk().filter(|header| header.iter().any(|&byte| byte != 0));
    header.is_some_and(|header| FileHeader::decode(header) == Err(HeaderError::Foreign))
}
