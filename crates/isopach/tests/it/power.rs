//! The power goes at every step: of what was not synced, any subset of sectors, sizes and names is there.

use isopach::{
    Db, Durability, WriteOptions,
    env::{Call, CrashFs, Fault, FaultFs, File, Fs, OpenMode, Rule, Step, Survival, SyncSite},
};
use std::{
    any::Any,
    panic::resume_unwind,
    sync::{Arc, Mutex, mpsc},
};
use testkit::{
    Op, Rng,
    crash::{Checker, Floors, Ledger, Writer, check_image},
    db::{contents, entries, small, synced, tiny_tables},
    seeds,
};

/// Images of one step.
const IMAGES: usize = 2;

/// Runs `work` on files whose every step may be the last. Returns the number of images that were looked at.
fn lose_power_at_every_step(seed: u64, one_in: usize, work: impl FnOnce(&CrashFs, &Ledger)) -> usize {
    let outcome = lose_power(CrashFs::new(), seed, one_in, work);
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

fn lose_power(
    fs: CrashFs,
    seed: u64,
    one_in: usize,
    work: impl FnOnce(&CrashFs, &Ledger),
) -> Result<usize, Box<dyn Any + Send>> {
    let (ledger, checker) = (Ledger::default(), Checker::start());
    let (sender, watched, files) = (checker.sender(), ledger.clone(), fs.clone());
    fs.watch(move |number, step| {
        let mut rng = Rng::new(seed ^ number);
        if !rng.one_in(one_in) {
            return Ok(());
        }
        let floors = watched.floors(); // Before the image: what is acknowledged from here on may be missing.
        for image_number in 0..IMAGES {
            let image = files.crash(rng.word());
            let label = format!("ISOPACH_SEED={seed}, step {number}.{image_number}, before {step}");
            let (ledger, mut rng) = (watched.clone(), rng.fork());
            let check = move || {
                if rng.one_in(8) {
                    check_power_loss_in_recovery(&image, &ledger, floors, &mut rng);
                } else {
                    check_image(&image, &ledger, floors, floors.durable);
                }
            };
            let _ = sender.send((label, Box::new(check)));
        }
        Ok(())
    });
    work(&fs, &ledger);
    fs.unwatch(); // The watcher goes with its sender.
    checker.finish()
}

/// Opens an image on files that may lose power themselves, and checks what is left of some of its steps.
fn check_power_loss_in_recovery(image: &CrashFs, ledger: &Ledger, floors: Floors, rng: &mut Rng) {
    let (source, seed) = (image.clone(), rng.word());
    let (sender, images) = mpsc::channel();
    let sender = Mutex::new(sender);
    image.watch(move |number, step| {
        let mut rng = Rng::new(seed ^ number);
        if rng.one_in(4) {
            let _ = sender.lock().unwrap().send((number, step.to_string(), source.crash(rng.word())));
        }
        Ok(())
    });
    let db = small(image.clone()).open().expect("a database opens after any crash");
    let survived = ledger.check(contents(&db), floors.durable);
    let is_all_durable = db.durable_seqno() == db.seqno();
    let opened = image.crash(rng.word());
    image.unwatch();
    drop(db);
    for (number, step, image) in images {
        eprintln!("in recovery, step {number}, before {step}");
        check_image(&image, ledger, floors, floors.durable);
    }
    eprintln!("after recovery");
    let floor = if is_all_durable { survived } else { floors.durable };
    check_image(&opened, ledger, floors, floor);
}

#[test]
fn a_power_loss_at_any_step_of_mixed_work_leaves_a_prefix_with_all_that_was_synced() {
    for seed in seeds(1) {
        let images = lose_power_at_every_step(seed, 1, |fs, ledger| {
            let mut rng = Rng::new(seed);
            let db = small(fs.clone()).open().unwrap();
            Writer::new(&db, ledger, rng.fork()).run(50);
            db.close().unwrap();
            ledger.all_is_durable();
            let db = small(fs.clone()).open().unwrap();
            Writer::new(&db, ledger, rng.fork()).run(25);
            drop(db);
        });
        assert!(images > 200, "{images} images");
    }
}

#[test]
fn a_power_loss_at_any_step_of_rotation_flush_and_compaction_leaves_a_prefix() {
    for seed in seeds(1) {
        let images = lose_power_at_every_step(seed, 12, |fs, ledger| {
            let db = small(fs.clone()).open().unwrap();
            Writer::new(&db, ledger, Rng::new(seed)).fill(500);
            assert!(db.stats().keyspaces.iter().any(|keyspace| keyspace.tree.compactions > 0));
            db.close().unwrap();
        });
        assert!(images > 50, "{images} images");
    }
}

#[test]
fn a_power_loss_at_any_step_of_making_and_dropping_keyspaces_leaves_a_prefix() {
    for seed in seeds(1) {
        lose_power_at_every_step(seed, 1, |fs, ledger| {
            let db = small(fs.clone()).open().unwrap();
            let mut writer = Writer::new(&db, ledger, Rng::new(seed));
            for _ in 0..4 {
                writer.make_and_drop();
            }
        });
    }
}

#[test]
fn what_was_found_in_the_log_is_durable_once_the_database_is_open() {
    for seed in seeds(15) {
        let mut rng = Rng::new(seed);
        let (files, ledger) = (CrashFs::new(), Ledger::default());
        let db = small(files.clone()).open().unwrap();
        Writer::new(&db, &ledger, rng.fork()).run(30);
        let floors = ledger.floors();
        let image = files.crash(rng.word());
        check_power_loss_in_recovery(&image, &ledger, floors, &mut rng);
    }
}

/// The table of one keyspace is durable, the log that has the other half of the same batch is not: without a sync
/// of the log before the table's edit, half of the batch would be left.
#[test]
fn two_keyspaces_one_flushed_the_unsynced_log_lost_no_half_batch() {
    for seed in 0..60 {
        let (files, ledger) = (CrashFs::new(), Ledger::default());
        let db = small(files.clone()).open().unwrap();
        let (a, b) = (make(&db, &ledger, "a"), make(&db, &ledger, "b"));
        for n in 0..5_u8 {
            let mut batch = db.batch();
            batch.insert(&a, "k", [n]).insert(&b, "k", [n]);
            ledger.begin(vec![Op::Put(0, b"k".into(), vec![n]), Op::Put(1, b"k".into(), vec![n])]);
            ledger.acknowledge(db.write(batch).unwrap().raw(), false);
        }
        a.compact_range(..).unwrap(); // Flushes this keyspace alone.
        assert_eq!(b.stats().tree.flushes, 0);

        let image = files.crash(seed);

        let survived = check_image(&image, &ledger, ledger.floors(), ledger.floors().durable);
        assert_eq!(survived, ledger.floors().acknowledged, "the flush made the log before it durable");
    }
}

fn make(db: &Db, ledger: &Ledger, name: &str) -> isopach::Keyspace {
    ledger.begin(vec![Op::Create(name.into())]);
    let keyspace = db.keyspace_with(name, tiny_tables()).unwrap();
    ledger.acknowledge(db.seqno().raw(), true);
    keyspace
}

/// A byte of the log that was synced long ago changes: that is damage, and never taken for the log's end.
#[test]
fn damage_below_what_was_synced_is_told_from_the_end_of_the_log() {
    let files = CrashFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    for n in 0..50_u8 {
        ks.insert_with([n], [n; 100], WriteOptions::new().durability(Durability::Sync)).unwrap();
    }
    let image = files.crash(1);
    let log = testkit::db::files_in(&image, "wal");
    let name = format!("wal/{}", log.last().unwrap());
    let found = testkit::db::read_file(&image, &name);
    let at = found.windows(100).position(|bytes| bytes == [7; 100]).expect("its value is in the log");
    let file: Arc<dyn File> = image.open(&name, OpenMode::ReadWrite).unwrap();
    file.write_at(at as u64, b"x").unwrap();

    let error = small(image.clone()).open().unwrap_err();

    assert_eq!(error.kind(), isopach::ErrorKind::Corruption);
    assert!(error.path().unwrap().ends_with(&name), "{error}");
    assert!(error.offset().is_some_and(|offset| offset <= at as u64), "{error:?}");
    let report = small(image).verify(isopach::VerifyOptions::new()).unwrap();
    assert!(report.found.iter().any(|finding| finding.file == name), "{report:?}");
}

#[test]
fn every_step_of_a_creation_can_be_the_last() {
    let fs = CrashFs::new();
    let files = fs.clone();
    let (sender, images) = mpsc::channel();
    let sender = Mutex::new(sender);
    fs.watch(move |number, step: Step<'_>| {
        for image in 0..12 {
            let image = files.crash(number * 100 + image);
            sender.lock().unwrap().send((step.to_string(), image)).unwrap();
        }
        Ok(())
    });
    drop(small(fs.clone()).open().unwrap());
    fs.unwatch();
    for (step, image) in images {
        eprintln!("before {step}");
        check_image(&image, &Ledger::default(), Default::default(), 0);
    }
}

/// A sync fails, the system forgets what it could not write, and later syncs report success (Rebello and others, "Can
/// applications recover from fsync failures?", 2020).
#[test]
fn a_sync_that_failed_and_lies_from_then_on_takes_nothing_that_was_acknowledged() {
    let mut fired = 0;
    for number in 0..40 {
        let files = CrashFs::new();
        let fs = FaultFs::new(Arc::new(files.clone()));
        fs.arm(Rule::new(Fault::FailThenLie).on(Call::Sync).on(Call::SyncDir).skip(number).times(1));

        let acknowledged = small(fs.clone()).open().map_or(0, |db| synced_until_refused(&db));

        fired += fs.fired().len();
        for seed in 0..4 {
            let survival = if seed == 0 { Survival::Nothing } else { Survival::Any };
            let db =
                small(files.crash_with(survival, seed)).open().expect("a database opens after any crash");
            let ks = db.keyspace("k").unwrap();
            let found = entries(&ks);
            assert!(found.len() >= acknowledged, "rules {}: {} of {acknowledged}", fs.rules(), found.len());
            let keys = (0_u8..).map(|n| vec![n]);
            assert!(found.keys().cloned().eq(keys.take(found.len())), "no prefix");
        }
    }
    assert!(fired > 20, "{fired} syncs failed");
}

/// Writes keys 0, 1, 2 ..., each durable. Returns how many were; none is after one that failed.
fn synced_until_refused(db: &Db) -> usize {
    let Ok(ks) = db.keyspace_with("k", tiny_tables()) else {
        return 0;
    };
    let write = |n: &u8| ks.insert_with([*n], vec![*n; 3000], synced()).is_ok();
    let acknowledged = (0..30).take_while(write).count();
    let is_refused = |n: u8| ks.insert_with([n], "late", synced()).is_err();
    assert!(acknowledged == 30 || (30..33).all(is_refused), "poisoned");
    acknowledged
}

/// That the tests above can fail: without any one of the syncs there is a power loss that breaks a promise.
#[test]
fn every_sync_is_needed() {
    let work = |seed| {
        move |fs: &CrashFs, ledger: &Ledger| {
            let mut rng = Rng::new(seed);
            let db = small(fs.clone()).open().unwrap();
            Writer::new(&db, ledger, rng.fork()).run(60);
            drop(db);
            let db = small(fs.clone()).open().unwrap();
            Writer::new(&db, ledger, rng.fork()).run(20);
        }
    };
    let files = CrashFs::new();
    lose_power(files.clone(), 1, usize::MAX, work(1)).unwrap();
    let mut sites = files.sites();
    // Of empty directories, for file systems that make a new directory durable by itself only; here it has no effect.
    sites.retain(|site| *site != "create.directory");
    assert!(sites.len() > 8, "{sites:?}");
    let is_noticed = |site: &&'static str| {
        (0..10).any(|seed| {
            let files = CrashFs::new();
            files.mute(SyncSite(site));
            lose_power(files, seed, 2, work(seed)).is_err()
        })
    };
    let unnoticed: Vec<_> = sites.iter().filter(|site| !is_noticed(site)).collect();
    assert!(unnoticed.is_empty(), "nobody misses the syncs of {unnoticed:?}");
}
