//! The process dies at every step that changes a file: everything written until then is kept.

mod late;
mod small_workloads;

use isopach::{
    Durability, WriteOptions,
    env::{CrashFs, MemFs},
};
use testkit::{
    Rng,
    crash::{Act, Crash, Explored, Ledger, Pace, Plan, Promised, Run, Writer, check_image, explore},
    db::small,
    seeds,
};

/// Does `work` with a new database whose process dies at one step of so many.
fn crash_at_every_step(seed: u64, one_in: usize, work: impl FnOnce(&mut Run<CrashFs>)) -> Explored {
    let files = CrashFs::new();
    let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed));
    let explored = explore(&files, &mut run, Plan::new(seed, Crash::Process).one_in(one_in), work);
    explored.unwrap_or_else(|violation| panic!("{violation}"))
}

#[test]
fn a_crash_at_any_step_of_mixed_work_keeps_every_acknowledged_commit() {
    for seed in seeds(1) {
        let explored = crash_at_every_step(seed, 1, |run| {
            run.perform_any(50);
            run.close();
            // Opening, recovery and closing are steps too.
            run.perform_any(30);
            run.abandon();
        });
        assert!(explored.images > 200, "{explored}");
    }
}

#[test]
fn a_crash_at_any_step_of_rotation_flush_and_compaction_keeps_every_acknowledged_commit() {
    for seed in seeds(1) {
        let explored = crash_at_every_step(seed, 3, |run| {
            run.perform(&[Act::Batch; 600]);
            assert!(run.db().stats().keyspaces.iter().any(|keyspace| keyspace.tree.compactions > 0));
            run.close();
        });
        assert!(explored.images > 200, "{explored}");
    }
}

#[test]
fn a_crash_at_any_step_of_making_and_dropping_keyspaces_keeps_every_acknowledged_one() {
    for seed in seeds(1) {
        crash_at_every_step(seed, 1, |run| {
            run.perform(
                &[Act::Create, Act::Put, Act::Drop, Act::Create, Act::Batch, Act::Flush, Act::Drop].repeat(5),
            );
            run.close();
        });
    }
}

#[test]
fn a_crash_at_any_step_of_a_checkpoint_keeps_every_acknowledged_commit_and_copy() {
    for seed in seeds(1) {
        let explored = crash_at_every_step(seed, 1, |run| {
            run.perform(&[Act::Fill, Act::Batch, Act::Checkpoint, Act::Batch, Act::Checkpoint, Act::Reopen]);
        });
        assert!(explored.images > 50, "{explored}");
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
                check_image(&moment.files, &ledger, Promised { floor: floors.acknowledged, floors });
            }
            image = next;
        }
        db.close().unwrap();
    }
}

/// A compaction dropped what nobody saw any more, and stored what was visible then as the least that could
/// still be read; the crash lost the last of the visible commits, and everything that was left lay below
/// that: no read worked until the next write.
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
