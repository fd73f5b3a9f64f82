//! Proof that the crash tests can fail: each sync is muted, and each order of two writes reversed, in turn; a
//! promise must break every time.
//!
//! A mutation is of the *files*, not of the program: [`CrashFs::mute`](isopach::env::CrashFs::mute) makes the
//! syncs of one place in the code succeed without an effect. What the program then promises is not so, and
//! [`explore`](crate::crash::explore)'s checks have to see it.

mod edges;
mod scenarios;
mod sites;

pub use edges::{EDGES, Edge};
pub use scenarios::Scenario;
pub use sites::{OUTSIDE, SITES, Site, sites_in_the_source};

use crate::crash::Violation;
use isopach::env::SyncSite;

/// How often a mutation may go unnoticed before it counts as unnoticed: each time with another seed.
pub const MOST_SEEDS: u64 = 24;

/// How a mutation was found out.
#[derive(Debug)]
pub struct Caught {
    /// Which scenario showed it.
    pub scenario: Scenario,
    /// Of which seed.
    pub seed: u64,
    /// What was broken.
    pub violation: Violation,
}

/// Mutes a site until a promise breaks.
pub fn mute(site: &Site, first_seed: u64) -> Option<Caught> {
    first_caught(site.scenarios, first_seed, |scenario, seed| {
        scenario.explore(Some(SyncSite(site.name)), seed).err()
    })
}

/// Reverses an order until a promise breaks.
pub fn reverse(edge: &Edge, first_seed: u64) -> Option<Caught> {
    first_caught(edge.scenarios, first_seed, |scenario, seed| edges::reverse_once(edge, scenario, seed))
}

/// Runs every scenario without a mutation, so that what [`mute`] and [`reverse`] find is due to the mutation.
///
/// # Errors
///
/// What is broken all the same.
pub fn check_without_mutation(seeds: std::ops::Range<u64>) -> Result<(), Violation> {
    for seed in seeds {
        for scenario in Scenario::ALL {
            scenario.explore(None, seed)?;
        }
    }
    Ok(())
}

fn first_caught(
    scenarios: &[Scenario],
    first_seed: u64,
    run: impl Fn(Scenario, u64) -> Option<Violation>,
) -> Option<Caught> {
    let tries = (first_seed..first_seed + MOST_SEEDS)
        .flat_map(|seed| scenarios.iter().map(move |&scenario| (scenario, seed)));
    let mut caught = tries.map(|(scenario, seed)| (scenario, seed, run(scenario, seed)));
    caught.find_map(|(scenario, seed, violation)| {
        violation.map(|violation| Caught { scenario, seed, violation })
    })
}
