//! Flush and compaction of one tree, on the caller's thread: the database does the same on others.

use super::Case;
use crate::{
    inputs::{batch, empty_env, seqno, write_order},
    meter::Meter,
};
use isopach::{
    Level, Seqno,
    engine::{
        compaction::{Plan, Views},
        store::{Store, StoreOptions},
        tree::{Tree, TreeOptions},
        types::{UnixUs, View},
    },
};

pub const CASES: &[Case] =
    &[Case::counted("tree/flush", "entry", flush), Case::counted("tree/compaction", "entry", compact)];

/// Operations of one batch.
const BATCH: usize = 100;

/// Tables of level 0 that a compaction merges into level 1.
const RUNS: usize = 4;

/// A tree in a store of its own.
struct Prepared {
    _store: Store,
    tree: Tree,
    /// The last operation.
    last: Seqno,
}

impl Prepared {
    fn empty() -> Prepared {
        let store = Store::open(empty_env(), &StoreOptions::default()).expect("memory suffices");
        let id = store.reserve_tree_id().expect("memory suffices");
        let last = seqno(0);
        let tree = store.create_tree(id, "part", &TreeOptions::default(), &[], last);
        Prepared { _store: store, tree: tree.expect("it is new"), last }
    }

    /// Applies entries in this order and seals the memtable.
    fn fill(&mut self, order: &[usize]) {
        for indexes in order.chunks(BATCH) {
            let first = self.last.checked_add(1).expect("few entries");
            self.tree.apply(&batch(indexes.iter().copied()), first).expect("numbers rise");
            self.last = self.last.checked_add(indexes.len() as u64).expect("few entries");
        }
        self.tree.rotate(self.last).expect("at the last operation");
    }

    fn flush(&self) {
        let report = self.tree.flush(self.last, &self.views(), &[]).expect("memory suffices");
        assert_eq!(report.memtables, 1);
    }

    /// Nobody reads what is past.
    fn views(&self) -> Views {
        Views::new(&[], View::new(self.last, UnixUs(0)))
    }
}

fn flush(meter: &mut Meter) {
    let order = write_order(meter.entries());
    let prepare = || {
        let mut prepared = Prepared::empty();
        prepared.fill(&order);
        prepared
    };
    meter.measure(order.len(), prepare, |prepared| prepared.flush());
}

/// Every fifth entry was written twice; the older one is dropped.
fn compact(meter: &mut Meter) {
    let (entries, order) = (meter.entries(), write_order(meter.entries()));
    let written: Vec<usize> = order.iter().copied().chain(order[..entries / 5].iter().copied()).collect();
    let prepare = || {
        let mut prepared = Prepared::empty();
        for run in written.chunks(written.len().div_ceil(RUNS)) {
            prepared.fill(run);
            prepared.flush();
        }
        prepared
    };
    meter.measure(written.len(), prepare, |prepared| {
        let inputs: Vec<_> = prepared.tree.tables().iter().map(|table| table.id).collect();
        assert_eq!(inputs.len(), RUNS);
        let plan = Plan::merge(inputs, Level(1));
        let report = prepared.tree.compact(&plan, &prepared.views(), &mut |_| Ok(()));
        assert_eq!(report.expect("memory suffices").dropped_entries, entries as u64 / 5);
    });
}
