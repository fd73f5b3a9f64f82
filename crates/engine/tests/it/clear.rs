//! Clearing a tree: what goes, what is left for whom, and jobs that run meanwhile.

use crate::{
    faults::Faults,
    harness::{
        at, create, flush, fresh, merge_all, open, put, seqno, shown, table_files, tables_of, try_flush,
        views,
    },
};
use isopach_engine::{
    compaction::{Plan, Views},
    env::{Clock, Env, MemFs, TestClock},
    error::ErrorKind,
    store::{Store, StoreOptions},
    types::Level,
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// A clock that does something the next time it is asked for the time of day, as who begins a table does.
#[derive(Default)]
struct Alarm {
    clock: TestClock,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Clock for Alarm {
    fn unix_us(&self) -> u64 {
        let then = self.then.lock().unwrap().take();
        if let Some(then) = then {
            then();
        }
        self.clock.unix_us()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn sleep(&self, time: Duration) {
        self.clock.sleep(time);
    }
}

#[test]
fn a_cleared_tree_is_empty_now_and_after_a_reopening() {
    let (faults, store, tree) = fresh();
    tables_of(&tree, &["a=1", "b=2"], 5);
    put(&tree, "c", "sealed", 10);
    tree.rotate(seqno(11)).unwrap();
    put(&tree, "d", "active", 12);

    drop(store.clear_tree(tree.id(), seqno(13)).unwrap());
    put(&tree, "e", "new", 14);

    assert_eq!(shown(&tree, 14), "e=new");
    assert_eq!(
        (tree.replay_point(), tree.read_floor(), store.applied_upto()),
        (seqno(13), seqno(13), seqno(13))
    );
    assert_eq!(tree.get(b"a", at(12)).unwrap_err().kind(), ErrorKind::SnapshotTooOld);
    assert_eq!(tree.memtables().1, 0, "nothing waits to be flushed");
    flush(&tree, 20);
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files).len(), 1, "of e");
    drop((tree, store));
    let store = open(&faults);
    let tree = store.tree("t").unwrap();
    assert_eq!(shown(&tree, 14), "e=new");
    assert_eq!((tree.read_floor(), store.applied_upto()), (seqno(13), seqno(13)));
}

#[test]
fn views_of_before_read_on_while_the_old_state_is_held() {
    let (_faults, store, tree) = fresh();
    put(&tree, "a", "1", 5);
    flush(&tree, 5);
    let first = store.clear_tree(tree.id(), seqno(6)).unwrap();
    put(&tree, "b", "2", 7);
    let second = store.clear_tree(tree.id(), seqno(8)).unwrap();
    put(&tree, "c", "3", 9);
    let third = store.drop_tree(tree.id(), seqno(10)).unwrap();

    assert_eq!(
        (shown(&tree, 5), shown(&tree, 7), shown(&tree, 9)),
        ("a=1".into(), "b=2".into(), "c=3".into())
    );
    drop(second);
    assert_eq!(tree.reader_at(seqno(7)).map(drop).unwrap_err().kind(), ErrorKind::TreeDropped);
    assert_eq!((shown(&tree, 5), shown(&tree, 9)), ("a=1".into(), "c=3".into()));
    drop((first, third));
    assert_eq!(tree.reader_at(seqno(5)).map(drop).unwrap_err().kind(), ErrorKind::TreeDropped);
}

#[test]
fn a_tree_is_not_cleared_below_what_it_holds() {
    let (_faults, store, tree) = fresh();
    put(&tree, "a", "1", 5);

    let refused = store.clear_tree(tree.id(), seqno(5)).map(drop).unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    assert_eq!(shown(&tree, 5), "a=1");
}

#[test]
fn a_compaction_whose_inputs_are_cleared_away_brings_nothing_and_does_not_fail() {
    let (faults, store, tree) = fresh();
    let inputs = tables_of(&tree, &["a=1", "a=2"], 5);
    let plan = Plan::merge(inputs, Level(6));
    let compaction = tree.begin_compaction(|_| Some(plan)).unwrap().unwrap();
    drop(store.clear_tree(tree.id(), seqno(10)).unwrap());
    tables_of(&tree, &["b=3"], 11);

    let report = compaction.run(&views(&[20]), &mut |_| Ok(())).unwrap();

    assert_eq!((report.outputs.len(), report.dropped_entries), (0, 0));
    assert_eq!(shown(&tree, 20), "b=3");
    store.files().run_deletions(u64::MAX);
    assert_eq!(table_files(&faults.files).len(), 1, "neither inputs nor outputs are left");
    assert_eq!(merge_all(&tree, 6, &views(&[20])).unwrap().outputs.len(), 1, "others go on");
}

#[test]
fn a_move_whose_tables_are_cleared_away_brings_nothing_and_does_not_fail() {
    let (_faults, store, tree) = fresh();
    let inputs = tables_of(&tree, &["a=1"], 5);
    let compaction = tree.begin_compaction(|_| Some(Plan::relocate(inputs, Level(6)))).unwrap().unwrap();
    drop(store.clear_tree(tree.id(), seqno(10)).unwrap());

    let report = compaction.run(&views(&[20]), &mut |_| Ok(())).unwrap();

    assert!(report.outputs.is_empty() && tree.tables().is_empty());
}

#[test]
fn a_flush_whose_memtables_are_cleared_away_brings_nothing_and_does_not_fail() {
    let (files, alarm) = (MemFs::new(), Arc::new(Alarm::default()));
    let env = Faults::new(&files).env();
    let env = Env::new(env.fs, Arc::clone(&alarm) as _, env.entropy);
    let store = Store::open(env, &StoreOptions::default()).unwrap();
    let tree = create(&store, "t");
    put(&tree, "a", "1", 5);
    tree.rotate(seqno(6)).unwrap();
    let (clearing, id) = (store.clone(), tree.id());
    let clear = move || {
        drop(clearing.clear_tree(id, seqno(7)).unwrap());
    };
    *alarm.then.lock().unwrap() = Some(Box::new(clear));

    let report = tree.flush(seqno(6), &Views::keep_all(), &[]).unwrap();

    assert!(alarm.then.lock().unwrap().is_none(), "it was cleared meanwhile");
    assert_eq!((report.memtables, report.memtable_bytes, report.replay_point), (0, 0, seqno(7)));
    assert!(tree.tables().is_empty());
    store.files().run_deletions(u64::MAX);
    assert!(table_files(&files).is_empty());
    put(&tree, "b", "2", 8);
    tree.rotate(seqno(8)).unwrap();
    assert_eq!(try_flush(&tree, 8).unwrap().memtables, 1);
    assert_eq!(shown(&tree, 8), "b=2");
}
