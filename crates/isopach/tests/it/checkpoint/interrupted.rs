//! Checkpoints that are interrupted: by a power loss at every step, and by every call that fails.

use super::{open_in, sub, try_checkpoint};
use isopach::{
    Db, ErrorKind, VerifyOptions,
    env::{CrashFs, Errno, Fault, FaultFs, Fs, Rule, Survival},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use testkit::Contents;
use testkit::db::{SOON, contents, small, synced, tiny_tables, volatile};

/// Key of the write that is in no log.
const UNLOGGED: &[u8] = b"in no log";

/// A closed database in `db`: keyspaces with tables and with nothing.
fn closed_source() -> CrashFs {
    let files = CrashFs::new();
    files.create_dir("db").unwrap();
    let db = open_in(&files, "db");
    let (a, b) = (keyspace(&db, "a"), keyspace(&db, "b"));
    for n in 0..400_u32 {
        a.insert(n.to_be_bytes(), [n as u8; 300]).unwrap();
        b.insert(n.to_be_bytes(), [n as u8; 10]).unwrap();
    }
    a.compact_range(..).unwrap();
    db.flush().unwrap();
    keyspace(&db, "empty");
    drop((a, b));
    db.close().unwrap();
    files.settle();
    files
}

fn keyspace(db: &Db, name: &str) -> isopach::Keyspace {
    db.keyspace_with(name, tiny_tables()).unwrap()
}

/// Opens it and writes what is in memory only, in the log and in none. All that is logged is durable.
fn open_source(files: &(impl Fs + Clone)) -> Db {
    let db = open_in(files, "db");
    let (a, b, v) = (keyspace(&db, "a"), keyspace(&db, "b"), keyspace(&db, "v"));
    v.insert("logged", "1").unwrap();
    v.insert_with(UNLOGGED, "2", volatile()).unwrap();
    b.remove(7_u32.to_be_bytes()).unwrap();
    let mut batch = db.batch();
    batch.insert(&a, "batch", "1").insert(&b, "batch", "1");
    db.write(batch).unwrap();
    a.insert_with("last", "3", synced()).unwrap();
    db.wait_idle(SOON).unwrap();
    db
}

/// The source after a power loss: nothing is missing but what was in no log.
fn check_source(files: &CrashFs, expected: &Contents) {
    let mut found = contents(&open_in(files, "db"));
    let mut expected = expected.clone();
    let unlogged = expected.get_mut("v").and_then(|entries| entries.remove(UNLOGGED));
    let survived = found.get_mut("v").and_then(|entries| entries.remove(UNLOGGED));
    assert_eq!(found, expected);
    assert!(survived.is_none() || survived == unlogged, "{survived:?}");
}

/// What lies at a target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Target {
    /// Nothing, or an empty place.
    Unborn,
    /// Part of a copy, which is refused.
    Partial,
    /// All of it.
    Whole,
}

/// # Panics
///
/// If it is anything else.
fn look_at(files: &CrashFs, name: &str, expected: &Contents) -> Target {
    if !files.exists(name).unwrap() {
        return Target::Unborn;
    }
    match small(sub(files, name)).open_read_only() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Target::Unborn,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
            assert!(error.to_string().contains("PARTIAL"), "{error}");
            return Target::Partial;
        }
        Ok(read) => drop(read),
    }
    let copy = open_in(files, name);
    assert!(copy.recovery().is_clean);
    assert_eq!(&contents(&copy), expected);
    assert!(copy.verify(VerifyOptions::new()).unwrap().found.is_empty());
    Target::Whole
}

#[test]
fn a_power_loss_at_any_step_leaves_no_target_or_a_whole_one() {
    let files = closed_source();
    let db = open_source(&files);
    let expected = contents(&db);
    let images = Arc::new(Mutex::new(Vec::new()));
    let (watched, taken) = (files.clone(), Arc::clone(&images));
    files.watch(move |number, step| {
        for (survival, seed) in SURVIVALS.into_iter().zip(0..) {
            let image = watched.crash_with(survival, number * 10 + seed);
            taken.lock().unwrap().push((format!("before {number}, {step}: {survival:?}"), image));
        }
        Ok(())
    });
    try_checkpoint(&db, &files, "copy").unwrap();
    files.unwatch();

    let images = std::mem::take(&mut *images.lock().unwrap());
    let mut seen = BTreeSet::new();
    for (label, image) in &images {
        eprintln!("{label}");
        seen.insert(look_at(image, "copy", &expected));
        check_source(image, &expected);
    }
    assert!(images.len() > 100, "{} images", images.len());
    assert_eq!(seen.len(), 3, "of each kind there is one: {seen:?}");
    for (survival, seed) in SURVIVALS.into_iter().zip(0..) {
        let image = files.crash_with(survival, seed);
        assert_eq!(look_at(&image, "copy", &expected), Target::Whole, "finished, then {survival:?}");
        check_source(&image, &expected);
    }
}

const SURVIVALS: [Survival; 5] =
    [Survival::Nothing, Survival::Everything, Survival::Any, Survival::Any, Survival::Any];

#[test]
fn a_call_that_fails_once_leaves_no_target_or_a_whole_one() {
    let source = closed_source();
    for fault in [Fault::Fail(Errno::Io), Fault::FailLate(Errno::Io)] {
        let mut calls = 0;
        while checkpoint_with_fault(&source.kill(), fault, calls) {
            calls += 1;
        }
        assert!(calls > 30, "{calls} calls");
    }
}

/// Makes a checkpoint of which one call fails. `false` if it has fewer calls.
fn checkpoint_with_fault(files: &CrashFs, fault: Fault, skip: u64) -> bool {
    let faulty = FaultFs::new(Arc::new(files.clone()));
    let db = open_source(&faulty);
    let expected = contents(&db);
    faulty.arm(Rule::new(fault).skip(skip).times(1));

    let made = try_checkpoint(&db, &faulty, "copy");

    let fired = faulty.fired();
    faulty.disarm();
    let Some(fired) = fired.first() else {
        made.expect("nothing failed");
        return false;
    };
    eprintln!("{fired}: {made:?}");
    let left = if made.is_ok() { Target::Whole } else { Target::Unborn };
    let after_power_loss = look_at(&files.crash(skip), "copy", &expected);
    assert!(made.is_err() || after_power_loss == Target::Whole, "{after_power_loss:?}");
    check_source(&files.crash(skip + 1), &expected);
    assert_eq!(look_at(files, "copy", &expected), left);
    assert_eq!(contents(&db), expected, "the source reads on");
    match try_checkpoint(&db, &faulty, "again") {
        Ok(_) => assert_eq!(look_at(files, "again", &expected), Target::Whole),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}"),
    }
    match db.close() {
        Ok(()) => assert_eq!(contents(&open_in(files, "db")), expected),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
            check_source(files, &expected);
        }
    }
    true
}
