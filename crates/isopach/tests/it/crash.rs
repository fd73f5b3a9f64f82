//! The process dies at every step that changes a file: everything written until then is kept.

mod late_edit;

use isopach::{
    Durability, WriteOptions,
    env::{CrashFs, Fs, MemFs, OpenMode, Step},
};
use std::panic::resume_unwind;
use testkit::{
    Rng,
    crash::{Checker, Ledger, Writer, check_image},
    db::small,
    seeds,
};

/// Runs `work` on files whose every step is a crash: the state before it, and of a write also the state in the
/// middle of it. Returns the number of crashes that were looked at.
fn crash_at_every_step(seed: u64, one_in: usize, work: impl FnOnce(&CrashFs, &Ledger)) -> usize {
    let fs = CrashFs::new();
    let (ledger, checker) = (Ledger::default(), Checker::start());
    let (sender, watched, files) = (checker.sender(), ledger.clone(), fs.clone());
    fs.watch(move |number, step| {
        let mut rng = Rng::new(seed ^ number);
        if !rng.one_in(one_in) {
            return Ok(());
        }
        let floors = watched.floors(); // Before the image: what is acknowledged from here on may be missing.
        let image = files.kill();
        let label = format!("ISOPACH_SEED={seed}, step {number}, before {step}");
        let torn = torn_write(&image, step, &mut rng);
        for (label, image) in [(label.clone(), Some(image)), (format!("{label}, torn"), torn)] {
            let (ledger, floor) = (watched.clone(), floors.acknowledged);
            if let Some(image) = image {
                let check = move || {
                    check_image(&image, &ledger, floors, floor);
                };
                let _ = sender.send((label, Box::new(check)));
            }
        }
        Ok(())
    });
    work(&fs, &ledger);
    fs.unwatch(); // The watcher goes with its sender.
    checker.finish().unwrap_or_else(|panic| resume_unwind(panic))
}

/// The image with the first part of a write, if the step is one.
fn torn_write(image: &CrashFs, step: Step<'_>, rng: &mut Rng) -> Option<CrashFs> {
    let Step::Write(name, offset, data) = step else {
        return None;
    };
    if !rng.one_in(3) {
        return None;
    }
    let torn = image.kill();
    let file = torn.open(name, OpenMode::ReadWrite).ok()?;
    file.write_at(offset, &data[..rng.below(data.len())]).expect("in memory");
    Some(torn)
}

#[test]
fn a_crash_at_any_step_of_mixed_work_keeps_every_acknowledged_commit() {
    for seed in seeds(1) {
        let crashes = crash_at_every_step(seed, 1, |fs, ledger| {
            let mut rng = Rng::new(seed);
            let db = small(fs.clone()).open().unwrap();
            Writer::new(&db, ledger, rng.fork()).run(50);
            db.close().unwrap();
            // Opening, recovery and closing are steps too.
            let db = small(fs.clone()).open().unwrap();
            Writer::new(&db, ledger, rng.fork()).run(30);
            drop(db);
        });
        assert!(crashes > 200, "{crashes} crashes");
    }
}

#[test]
fn a_crash_at_any_step_of_rotation_flush_and_compaction_keeps_every_acknowledged_commit() {
    for seed in seeds(1) {
        let crashes = crash_at_every_step(seed, 3, |fs, ledger| {
            let db = small(fs.clone()).open().unwrap();
            Writer::new(&db, ledger, Rng::new(seed)).fill(600);
            assert!(db.stats().keyspaces.iter().any(|keyspace| keyspace.tree.compactions > 0));
            db.close().unwrap();
        });
        assert!(crashes > 200, "{crashes} crashes");
    }
}

#[test]
fn a_crash_at_any_step_of_making_and_dropping_keyspaces_keeps_every_acknowledged_one() {
    for seed in seeds(1) {
        crash_at_every_step(seed, 1, |fs, ledger| {
            let db = small(fs.clone()).open().unwrap();
            let mut writer = Writer::new(&db, ledger, Rng::new(seed));
            for _ in 0..5 {
                writer.make_and_drop();
            }
            db.close().unwrap();
        });
    }
}

/// A crash while a crash is recovered from, three deep.
#[test]
fn a_crash_at_any_step_of_recovery_keeps_every_acknowledged_commit() {
    for seed in seeds(1) {
        let mut rng = Rng::new(seed);
        let (files, ledger) = (CrashFs::new(), Ledger::default());
        let db = small(files.clone()).open().unwrap();
        Writer::new(&db, &ledger, rng.fork()).run(150);
        let mut image = files.kill();
        let floors = ledger.floors();
        for depth in 0..3 {
            image.record();
            drop(small(image.clone()).open().unwrap());
            let history = image.history();
            let mut images: Vec<_> = history.moments().collect();
            assert!(images.len() > 4, "recovery has steps");
            let next = images[rng.below(images.len())].files.kill();
            for moment in images.drain(..) {
                eprintln!("depth {depth}, before step {:?}", moment.next.map(|(number, _)| number));
                check_image(&moment.files, &ledger, floors, floors.acknowledged);
            }
            image = next;
        }
        db.close().unwrap();
    }
}

/// A compaction dropped what nobody saw any more, and stored what was visible then as the least that could still be
/// read; the crash lost the last of the visible commits, and everything that was left lay below that: no read
/// worked until the next write.
#[test]
fn what_a_crash_leaves_can_be_read_though_commits_seen_by_a_compaction_are_lost() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let (k, v) = (db.keyspace("k").unwrap(), db.keyspace("v").unwrap());
    for value in ["old", "new"] {
        k.insert("key", value).unwrap();
        db.flush().unwrap();
    }
    v.insert_with("lost", "1", WriteOptions::new().durability(Durability::Volatile)).unwrap();
    k.compact_range(..).unwrap();

    let db = small(files.deep_clone()).open().unwrap();

    assert_eq!(db.keyspace("k").unwrap().get("key").unwrap().unwrap(), b"new");
    assert_eq!(db.keyspace("k").unwrap().count(..).unwrap(), 1);
    assert!(db.keyspace("v").unwrap().is_empty().unwrap());
}
