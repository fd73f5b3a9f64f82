//! The part of the fault explorer that runs with all tests; `cargo run --release -p testkit --bin faults`
//! runs all.

use std::collections::BTreeSet;
use testkit::faults::{Explorer, Outcome};
use testkit::seeds;

/// Every place where the script makes a call has one fault or more, of any kind that suits it; then pairs.
/// Which, the seed decides.
#[test]
fn a_call_that_fails_anywhere_gives_an_error_with_its_place_and_loses_nothing() {
    let explorer = Explorer::new();
    for seed in seeds(1) {
        let mut report = explorer.run(explorer.sampled_singles(seed, 2), &|_| ());
        let untouched: BTreeSet<_> = explorer.sites().difference(&report.sites).cloned().collect();
        report.merge(explorer.run(explorer.pairs(seed, 100), &|_| ()));

        assert!(report.broken.is_empty(), "ISOPACH_SEED={seed}\n{report}");
        // Background work may be told under a later step in one run than in another.
        assert!(
            untouched.len() * 10 <= explorer.sites().len(),
            "ISOPACH_SEED={seed}: untouched {untouched:?}"
        );
        // Want of space is rare: one sample in some hundreds has none.
        for outcome in [Outcome::Failed, Outcome::Damaged, Outcome::Poisoned, Outcome::NotOpened] {
            assert!(
                report.outcomes.contains_key(&outcome),
                "ISOPACH_SEED={seed}: none {outcome:?} of {report}"
            );
        }
        println!("seed {seed}: {report}");
    }
}
