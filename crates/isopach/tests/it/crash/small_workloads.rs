//! All workloads of one and two acts, crashed at every step: of two acts a third in each round, which the seed chooses;
//! `ISOPACH_ROUNDS=10` takes all but surely.

use testkit::{
    crash::{Crash, Explored, Past, Plan, explore, workloads},
    seeds,
};

/// Explores workloads of so many acts: one in so many.
fn explore_all(acts: usize, one_in: usize, seed: u64, crash: Crash) -> Explored {
    let past = Past::new(seed);
    let mut all = Explored::default();
    for workload in workloads(acts).skip(seed as usize % one_in).step_by(one_in) {
        let mut run = past.go_on(seed);
        let explored =
            explore(&run.files().clone(), &mut run, Plan::new(seed, crash), |run| run.perform(&workload));
        all += &explored.unwrap_or_else(|violation| panic!("{workload:?}, {violation}"));
    }
    eprintln!("one in {one_in} workloads of {acts} acts, {crash:?}: {all}");
    all
}

#[test]
fn a_power_loss_at_any_step_of_any_two_acts_leaves_a_prefix_and_whole_copies() {
    for seed in seeds(1) {
        explore_all(1, 1, seed, Crash::Power { images: 4 });
        let explored = explore_all(2, 3, seed, Crash::Power { images: 2 });
        assert!(explored.images > 1000, "{explored}");
    }
}

#[test]
fn a_crash_at_any_step_of_any_act_keeps_every_acknowledged_commit() {
    for seed in seeds(1) {
        explore_all(1, 1, seed, Crash::Process);
    }
}
