//! One case: rules, the script under them, and everything that must hold then and afterwards.
//!
//! Every call returns; nothing panics; an error says what failed, where, and has the kind that fits; the
//! state that `health()` tells is the one that the fault leads to; what was acknowledged is there, in the
//! database that goes on, in a killed one and after a power loss; and when the fault is gone everything works
//! again: by itself, or after reopening if writing was poisoned.

use super::{
    book::Book,
    script::{Heard, PATIENCE, Run, is_poisoned, open, place, read_only},
    sites::Site,
};
use crate::{
    Contents,
    db::{contents, files_in, wait_until},
};
use isopach::{
    Db, Durability, Error, ErrorKind, VerifyOptions, WriteState,
    env::{Call, CrashFs, Errno, Fault, FaultFs, Fired, Rules, SubDir, Survival},
};
use std::{fmt, path::Path, sync::Arc};

/// What goes wrong. Its text, given to [`Explorer::replay`](super::Explorer::replay), makes the same go
/// wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case(pub Rules);

/// What came of a case, from the mildest to the gravest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// No call went wrong: the case says nothing.
    NotHit,
    /// Nobody noticed: the call was only a help.
    Unnoticed,
    /// A call or background work failed, and the database stayed healthy.
    Failed,
    /// A table was marked as damaged.
    Damaged,
    /// Space was missing, and the want of it ended by itself.
    OutOfSpace,
    /// Writing was poisoned until the database was reopened.
    Poisoned,
    /// The database could not be opened while the fault lasted.
    NotOpened,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A case that was run.
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    pub(super) sites: Vec<Site>,
    /// What did not hold, in words.
    pub(super) broken: Vec<String>,
}

impl Case {
    /// Runs the script on a copy of a killed database that held `contents`.
    pub(super) fn run(&self, killed: &CrashFs, contents: &Contents) -> Ran {
        let medium = killed.kill();
        let fs = FaultFs::new(Arc::new(medium.clone()));
        let mut run = Run::new(medium, fs, Book::of(contents));
        run.fs.arm_all(self.0.clone());
        run.all();

        let fired = run.fs.fired();
        let sites = fired.iter().map(|fired| Site::of(fired, run.step_of(fired.number))).collect();
        if fired.is_empty() {
            return Ran { outcome: Outcome::NotHit, sites, broken: run.broken };
        }
        let outcome = outcome_of(&run);
        check_errors(&mut run, &fired);
        check_state(&mut run, &fired);
        let (book, images) = (run.book.clone(), images(&run.medium, fired[0].number));
        run.fs.disarm();
        recover(&mut run);
        for (label, image, is_power_loss) in images {
            check_image(&mut run, label, &image, &book, is_power_loss);
        }
        Ran { outcome, sites, broken: run.broken }
    }
}

fn outcome_of(run: &Run) -> Outcome {
    if run.errors.iter().any(|(step, _)| *step == "open") {
        Outcome::NotOpened
    } else if run.heard.count("poisoned") > 0 {
        Outcome::Poisoned
    } else if run.heard.count("out of space") > 0 {
        Outcome::OutOfSpace
    } else if run.heard.count("damaged") > 0 {
        Outcome::Damaged
    } else if !run.errors.is_empty() || run.heard.count("background") > 0 {
        Outcome::Failed
    } else {
        Outcome::Unnoticed
    }
}

// ----- while the fault lasts -----

/// The number of the error that the fault gives.
fn errno_of(fault: Fault) -> Option<Errno> {
    match fault {
        Fault::Fail(errno) | Fault::FailLate(errno) | Fault::Cut(_, errno) => Some(errno),
        Fault::FailThenLie => Some(Errno::Io),
        _ => None,
    }
}

fn is_of_space(fired: &Fired) -> bool {
    matches!(errno_of(fired.fault), Some(Errno::NoSpace | Errno::Quota))
}

/// Files of the database itself, not of a copy.
fn is_own(fired: &Fired) -> bool {
    !fired.name.starts_with("copy")
}

/// Whether faults like these may poison: one of a sync of log, manifest or directory, or of the name of the
/// manifest; or several, of which the second hits what makes up for the first.
fn may_poison(fired: &[Fired]) -> bool {
    let is_named_manifest = |name: &str| name.contains("MANIFEST") && !name.ends_with(".tmp");
    let is_grave = |fired: &Fired| match fired.call {
        Call::SyncDir => true,
        Call::Sync => fired.name.contains("/wal/") || is_named_manifest(&fired.name),
        Call::Rename => fired.name.contains("MANIFEST"),
        _ => false,
    };
    let is_made_up_for = |fired: &&Fired| fired.name.contains("/wal") || fired.name.contains("MANIFEST");
    let own = || fired.iter().filter(|fired| is_own(fired));
    own().any(is_grave) || own().filter(is_made_up_for).count() >= 2
}

/// Whether a single fault must have poisoned.
fn must_poison(run: &Run, fired: &[Fired]) -> bool {
    let [only] = fired else { return false };
    let is_synced =
        only.name.contains("/wal/") || (only.name.contains("MANIFEST") && !only.name.ends_with(".tmp"));
    let step = run.step_of(only.number);
    only.call == Call::Sync && is_own(only) && is_synced && !step.contains("open") && step != "close"
}

/// Every error has a kind that its cause gives, and says where it happened.
fn check_errors(run: &mut Run, fired: &[Fired]) {
    let errors: Vec<(String, Error)> =
        run.errors.iter().map(|(step, error)| ((*step).to_owned(), error.clone())).collect();
    let background = run.db.as_ref().and_then(|db| db.health().background_error);
    let background = background.map(|error| ("background".to_owned(), error));
    for (step, error) in errors.into_iter().chain(background) {
        if let Err(why) = check_error(&error, fired) {
            run.broken.push(format!("{step}: {why}: {:?} {error}", error.kind()));
        }
    }
    let is_panic = |heard: &&String| heard.contains("panicked");
    run.broken.extend(run.heard.all().iter().filter(is_panic).cloned());
}

fn check_error(error: &Error, fired: &[Fired]) -> Result<(), &'static str> {
    let fits = match error.kind() {
        ErrorKind::OutOfSpace => fired.iter().any(is_of_space),
        ErrorKind::Io => fired.iter().any(|fired| !is_of_space(fired)),
        ErrorKind::Poisoned => may_poison(fired),
        _ => false,
    };
    if !fits {
        return Err("the kind does not fit");
    }
    let errnos = fired.iter().filter_map(|fired| errno_of(fired.fault)?.error().raw_os_error());
    if error.kind() != ErrorKind::Poisoned
        && !errnos.into_iter().any(|errno| error.raw_os_error() == Some(errno))
    {
        return Err("the number of the system is missing");
    }
    if error.path().is_none() {
        return Err("no path is named");
    }
    let text = error.to_string();
    let names = |fired: &Fired| {
        let name = fired.name.strip_prefix("db/").unwrap_or(&fired.name);
        // A directory that is the database, or above it, is named by the path of the database.
        // Of a rename the new name may be told.
        fired.call == Call::Rename
            || !name.contains('/') && !fired.name.starts_with("db/")
            || text.contains(name)
            || error.path().is_some_and(|path| path.ends_with(Path::new(name)))
    };
    if fired.iter().any(names) { Ok(()) } else { Err("the file is not named") }
}

/// The state that is told is one that the faults lead to.
fn check_state(run: &mut Run, fired: &[Fired]) {
    let told = run.heard.count("poisoned");
    if must_poison(run, fired) && told == 0 {
        run.broken.push("a failed sync did not poison".into());
    }
    if told > 0 && !may_poison(fired) {
        run.broken.push(format!("poisoned without need: {:?}", run.heard.all()));
    }
    let Some(health) = run.db.as_ref().map(Db::health) else { return };
    match &health.writes {
        WriteState::OutOfSpace(error) if !fired.iter().any(is_of_space) => {
            run.broken.push(format!("out of space without need: {error}"));
        }
        WriteState::Poisoned(error) if told == 0 => {
            run.broken.push(format!("poisoned, and nobody told: {error}"))
        }
        _ => {}
    }
    let reads_data = |fired: &Fired| {
        let is_data = fired.name.contains("/tables/") || fired.name.contains("/blobs/");
        is_data && matches!(fired.call, Call::Read | Call::Open | Call::Size)
    };
    if !health.damaged_tables.is_empty() && !fired.iter().any(reads_data) {
        run.broken.push(format!("damaged without need: {:?}", health.damaged_tables));
    }
}

// ----- crashes under the fault -----

/// What a kill and power losses leave now, and whether it is a power loss.
fn images(medium: &CrashFs, seed: u64) -> Vec<(&'static str, CrashFs, bool)> {
    vec![
        ("killed", medium.kill(), false),
        ("without power", medium.crash_with(Survival::Nothing, seed), true),
        ("without power, some pieces left", medium.crash(seed), true),
    ]
}

fn check_image(run: &mut Run, label: &str, image: &CrashFs, book: &Book, is_power_loss: bool) {
    let files = place(image, "db");
    let db = match open(&files, Heard::default()) {
        Ok(db) => db,
        Err(error) => return run.broken.push(format!("{label}: cannot be opened: {error}")),
    };
    let found = contents(&db);
    let checked = if is_power_loss { book.check_after_power_loss(&found) } else { book.check_killed(&found) };
    if let Err(why) = checked {
        run.broken.push(format!("{label}: {why}"));
    }
    db.wait_idle(PATIENCE).expect("nothing fails any more");
    let report = db.verify(VerifyOptions::new()).expect("it is open");
    if !report.found.is_empty() {
        run.broken.push(format!("{label}: {:?}", report.found));
    }
    if contents(&db) != found {
        run.broken.push(format!("{label}: background work changes answers"));
    }
    db.close().expect("nothing fails any more");
    match open(&files, Heard::default()) {
        Ok(db) if contents(&db) == found => {}
        Ok(_) => run.broken.push(format!("{label}: a second opening finds something else")),
        Err(error) => run.broken.push(format!("{label}: cannot be opened again: {error}")),
    }
}

// ----- when the fault is gone -----

/// The database works again, without help or after reopening, and holds what it should.
fn recover(run: &mut Run) {
    if run.db.is_none() {
        run.open();
    }
    if run.db.as_ref().is_some_and(is_poisoned) {
        check_poisoned(run);
        run.close();
        run.open();
    }
    let Some(db) = run.db.clone() else {
        let last = run.errors.last().map(|(_, error)| error.to_string());
        return run.broken.push(format!("cannot be opened though nothing fails any more: {last:?}"));
    };
    let is_healthy = || {
        let health = db.health();
        health.background_error.is_none()
            && matches!(health.writes, WriteState::Normal | WriteState::Delayed { .. })
    };
    wait_until("the state becomes healthy by itself", is_healthy);
    let heard = run.heard.clone();
    wait_until("the end of the want of space is told", || !heard.lacks_space());
    drop(db);
    check_working(run);
    check_copy(run);
    check_end(run);
}

/// Reads go on, nothing is acknowledged, and no background work starts.
fn check_poisoned(run: &mut Run) {
    let errors = run.errors.len();
    run.read_everything();
    if run.errors.len() > errors {
        run.broken.push(format!("reads fail though poisoned: {:?}", run.errors.last()));
    }
    run.put("a", 300, 10, Durability::Sync);
    run.put("a", 301, 10, Durability::Buffered);
    run.put(Book::VOLATILE, 302, 10, Durability::Volatile);
    let Some(db) = &run.db else { return };
    for (call, result) in [("flush", db.flush()), ("sync", db.sync().map(drop))] {
        if !result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Poisoned) {
            run.broken.push(format!("{call} though poisoned: {result:?}"));
        }
    }
}

/// All kinds of calls succeed.
fn check_working(run: &mut Run) {
    let errors = run.errors.len();
    run.read_everything();
    run.put("a", 400, 100, Durability::Sync);
    run.create("d");
    run.put("d", 401, 100, Durability::Buffered);
    run.drop_keyspace("d");
    for name in ["b", "c"] {
        run.create(name);
        run.put(name, 402, 100, Durability::Sync);
    }
    run.read_everything();
    let Some(db) = run.db.clone() else { return };
    let work =
        db.flush().and_then(|()| db.wait_idle(PATIENCE)).and_then(|()| db.verify(VerifyOptions::new()));
    match work {
        Ok(report) if report.found.is_empty() => {}
        Ok(report) => run.broken.push(format!("damage was done: {:?}", report.found)),
        Err(error) => run.broken.push(format!("work fails though nothing does: {error}")),
    }
    if !db.health().damaged_tables.is_empty() {
        run.broken.push("a table that reads well is still damaged".into());
    }
    run.read_everything();
    let new: Vec<String> =
        run.errors[errors..].iter().map(|(step, error)| format!("{step}: {error}")).collect();
    if !new.is_empty() {
        run.broken.push(format!("calls fail though nothing does: {new:?}"));
    }
}

/// A checkpoint that returned holds what it was made of.
fn check_copy(run: &mut Run) {
    let Some(book) = run.copied.take() else { return };
    match read_only(&place(&run.medium, "copy")) {
        Ok(found) => {
            if let Err(why) = book.check_live(&found) {
                run.broken.push(format!("the copy: {why}"));
            }
        }
        Err(error) => run.broken.push(format!("the copy cannot be opened: {error}")),
    }
}

/// No file is left over; the database closes in order, and opens with the same contents.
fn check_end(run: &mut Run) {
    let Some(db) = run.db.clone() else { return };
    let keyspaces = db.stats().keyspaces;
    let tables = keyspaces
        .iter()
        .flat_map(|keyspace| &keyspace.tree.levels)
        .map(|(_, level)| level.tables)
        .sum::<u64>();
    drop(db);
    let errors = run.errors.len();
    run.close();
    let files: SubDir = place(&run.medium, "db");
    run.open();
    let Some(db) = run.db.clone().filter(|_| run.errors.len() == errors) else {
        return run
            .broken
            .push(format!("closing or opening fails though nothing does: {:?}", run.errors.last()));
    };
    db.wait_idle(PATIENCE).expect("nothing fails any more");
    let there = files_in(&files, "tables");
    let now = db.stats().keyspaces;
    let known =
        now.iter().flat_map(|keyspace| &keyspace.tree.levels).map(|(_, level)| level.tables).sum::<u64>();
    if there.len() as u64 != known {
        run.broken.push(format!("{known} tables ({tables} before closing), but there are {there:?}"));
    }
    if !db.recovery().is_clean {
        run.broken.push("the end was not clean".into());
    }
    run.read_everything();
    drop(db);
    run.close();
}
