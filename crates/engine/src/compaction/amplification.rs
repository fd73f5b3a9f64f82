//! What the picks write for each byte that is flushed, and what readers find meanwhile.

use super::{
    leveled::Leveled,
    model::{OwnedTable, OwnedTree, merged, meta},
    plan::{PlanKind, validate},
    strategy::CompactionStrategy,
};
use crate::table::TableMeta;
use alloc::vec::Vec;

const RUN_BYTES: u64 = 4 << 20;
const RUN_ENTRIES: u64 = 40_000;

/// Flushes so many runs over all keys, none of which is there twice; the bytes written over those flushed.
fn amplification(runs: u64) -> f64 {
    let leveled = Leveled::for_tables_of(64 << 20);
    let mut tree = OwnedTree::new();
    let mut written = 0;
    let mut next_id = 1_000_000;
    for id in 1..=runs {
        let run = TableMeta { bytes: RUN_BYTES, entries: RUN_ENTRIES, ..meta(id, b"a", b"z") };
        tree.levels[0].insert(0, Vec::from([OwnedTable { meta: run, is_busy: false }]));
        written += RUN_BYTES;
        while let Some(plan) = leveled.pick(&tree.shape()) {
            let checked = validate(&tree.shape(), &plan).expect("a pick is valid");
            let outputs =
                if plan.kind == PlanKind::Merge { merged(&tree, &checked, next_id) } else { Vec::new() };
            next_id += 1;
            written += outputs.iter().map(|output| output.bytes).sum::<u64>();
            tree.claim(&checked);
            tree.install(&checked, outputs);
        }
        let shape = tree.shape();
        assert!(shape.levels()[0].runs().len() < leveled.l0_runs.into(), "after {id} runs");
        let waiting = shape.levels()[0].bytes();
        assert!(
            2 * waiting
                <= shape.levels()[1..].iter().map(|level| level.bytes()).max().unwrap() + 6 * RUN_BYTES
        );
    }
    written as f64 / (runs * RUN_BYTES) as f64
}

#[test]
fn small_runs_do_not_write_all_of_the_base_level_anew_for_each_few_of_them() {
    for (runs, at_most) in [(20, 3.5), (60, 5.0), (200, 7.0)] {
        let found = amplification(runs);
        assert!(found <= at_most, "{found} for {runs} runs");
    }
}
