//! The power goes at every step: of what was not synced, any subset of sectors, sizes and names is there.

use isopach::{
    Db, Durability, WriteOptions,
    env::{Call, CrashFs, Fault, FaultFs, File, Fs, OpenMode, Rule, Survival},
};
use std::sync::Arc;
use testkit::{
    Op, Rng,
    crash::{
        Act, Crash, Crowd, Explored, Ledger, Pace, Plan, Promised, Run, check_a_second_crash, check_image,
        explore, explore_crowd,
    },
    db::{entries, small, synced, tiny_tables},
    seeds,
};

/// Does `work` with a new database whose every step may be the last before the power goes.
fn lose_power_at_every_step(seed: u64, one_in: usize, work: impl FnOnce(&mut Run<CrashFs>)) -> Explored {
    let files = CrashFs::new();
    let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed));
    let explored =
        explore(&files, &mut run, Plan::new(seed, Crash::Power { images: 2 }).one_in(one_in), work);
    explored.unwrap_or_else(|violation| panic!("{violation}"))
}

#[test]
fn a_power_loss_at_any_step_of_mixed_work_leaves_a_prefix_with_all_that_was_synced() {
    for seed in seeds(1) {
        let explored = lose_power_at_every_step(seed, 1, |run| {
            run.perform_any(50);
            run.close();
            run.perform_any(25);
            run.abandon();
        });
        assert!(explored.images > 200, "{explored}");
    }
}

#[test]
fn a_power_loss_at_any_step_of_rotation_flush_and_compaction_leaves_a_prefix() {
    for seed in seeds(1) {
        let explored = lose_power_at_every_step(seed, 12, |run| {
            run.perform(&[Act::Batch; 500]);
            assert!(run.db().stats().keyspaces.iter().any(|keyspace| keyspace.tree.compactions > 0));
            run.close();
        });
        assert!(explored.images > 50, "{explored}");
    }
}

#[test]
fn a_power_loss_at_any_step_of_making_and_dropping_keyspaces_leaves_a_prefix() {
    for seed in seeds(1) {
        lose_power_at_every_step(seed, 1, |run| {
            run.perform(
                &[Act::Create, Act::Put, Act::Drop, Act::Create, Act::Batch, Act::Flush, Act::Drop].repeat(4),
            );
        });
    }
}

#[test]
fn a_power_loss_at_any_step_of_a_checkpoint_leaves_no_copy_or_a_whole_one() {
    for seed in seeds(1) {
        let explored = lose_power_at_every_step(seed, 1, |run| {
            run.perform(&[Act::Fill, Act::Batch, Act::Checkpoint, Act::Batch, Act::Checkpoint, Act::Reopen]);
        });
        assert!(explored.images > 100, "{explored}");
    }
}

#[test]
fn a_power_loss_beside_several_writers_leaves_a_prefix_of_the_order_of_commits() {
    for seed in seeds(1) {
        let crash = Crash::Power { images: 1 };
        let explored = explore_crowd(Crowd { seed, crash, writers: 4, commits: 120, one_in: 4 });
        let explored = explored.unwrap_or_else(|violation| panic!("{violation}"));
        assert!(explored.images > 50, "{explored}");
    }
}

/// Every step of the creation of a database, many ways.
#[test]
fn every_step_of_a_creation_can_be_the_last() {
    for seed in seeds(1) {
        let files = CrashFs::new();
        let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed));
        let plan = Plan::new(seed, Crash::Power { images: 12 });
        let explored =
            explore(&files, &mut run, plan, Run::open).unwrap_or_else(|violation| panic!("{violation}"));
        assert!(explored.images > 100, "{explored}");
    }
}

/// The process died between the birth of the database and the sync of its parent directory. Who found the
/// database wrote to it, was told that the write is durable, and a power loss took all of it with the
/// directory's name.
#[test]
fn a_database_whose_creation_was_killed_is_durable_once_it_was_reopened() {
    for seed in seeds(1) {
        for round in 0..8 {
            let files = CrashFs::new();
            let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed));
            let plan = Plan { second_crash_one_in: 1, ..Plan::new(seed + round, Crash::Process) };
            explore(&files, &mut run, plan, Run::open).unwrap_or_else(|violation| panic!("{violation}"));
        }
    }
}

/// The process dies and leaves a log that is not durable; who finds it makes it so before anything is told.
#[test]
fn what_was_found_in_the_log_is_durable_once_the_database_is_open() {
    for seed in seeds(15) {
        let mut rng = Rng::new(seed);
        let (files, ledger) = (CrashFs::new(), Ledger::default());
        let mut run = Run::new(&files, &ledger, Pace::Free, rng.fork());
        run.perform_any(30);
        let floors = ledger.floors();
        let killed = Promised { floor: floors.acknowledged, floors };
        check_a_second_crash(&files.kill(), &ledger, killed, &mut rng);
        let without_power = Promised { floor: floors.durable, floors };
        check_a_second_crash(&files.crash(rng.word()), &ledger, without_power, &mut rng);
    }
}

/// The table of one keyspace is durable, the log that has the other half of the same batch is not: without a
/// sync of the log before the table's edit, half of the batch would be left.
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

        let survived = check_image(
            &image,
            &ledger,
            Promised { floor: ledger.floors().durable, floors: ledger.floors() },
        );
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
    // Syncs that come often move on to another segment, sooner or later.
    let mut places = testkit::db::files_in(&image, "wal").into_iter().rev().filter_map(|name| {
        let name = format!("wal/{name}");
        let found = testkit::db::read_file(&image, &name);
        found.windows(100).position(|bytes| bytes == [7; 100]).map(|at| (name, at))
    });
    let (name, at) = places.next().expect("its value is in the log");
    let file: Arc<dyn File> = image.open(&name, OpenMode::ReadWrite).unwrap();
    file.write_at(at as u64, b"x").unwrap();

    let error = small(image.clone()).open().unwrap_err();

    assert_eq!(error.kind(), isopach::ErrorKind::Corruption);
    assert!(error.path().unwrap().ends_with(&name), "{error}");
    assert!(error.offset().is_some_and(|offset| offset <= at as u64), "{error:?}");
    let report = small(image).verify(isopach::VerifyOptions::new()).unwrap();
    assert!(report.found.iter().any(|finding| finding.file == name), "{report:?}");
}

/// A sync fails, the system forgets what it could not write, and later syncs report success (Rebello and
/// others, "Can applications recover from fsync failures?", 2020).
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

/// After the failed sync the process goes on as it should: it opens the database anew. What it is told to be
/// durable then is so, though what the system forgot can still be read.
#[test]
fn what_was_acknowledged_after_a_failed_sync_and_a_reopening_is_durable() {
    let mut reopened = 0;
    for number in 0..30 {
        let files = CrashFs::new();
        let fs = FaultFs::new(Arc::new(files.clone()));
        fs.arm(Rule::new(Fault::FailThenLie).on(Call::Sync).skip(number).times(1));
        let _ = small(fs.clone()).open().map(|db| synced_until_refused(&db));

        let Ok(db) = small(fs.clone()).open() else {
            continue; // A sync failed without which there is no database.
        };
        let ks = db.keyspace_with("k", tiny_tables()).expect("it takes writes again");
        let found = entries(&ks);
        ks.insert_with("later", "1", synced()).expect("it takes writes again");

        reopened += fs.fired().len();
        for survival in [Survival::Nothing, Survival::Any, Survival::Any] {
            let image = files.crash_with(survival, number);
            let db = small(image).open().expect("a database opens after any crash");
            let mut left = entries(&db.keyspace("k").unwrap());
            assert!(left.remove(&b"later"[..]).is_some(), "rules {}", fs.rules());
            assert_eq!(left, found, "rules {}", fs.rules());
        }
    }
    assert!(reopened > 15, "{reopened} were reopened");
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
