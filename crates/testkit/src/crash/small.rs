//! All workloads of a few acts, from a database that has a past.
//!
//! Most bugs of file systems and databases after a crash show in two or three operations, if all of them are
//! tried (Mohan and others, "Finding Crash-Consistency Bugs with Bounded Black-Box Crash Testing", 2018).

use super::{
    ledger::Ledger,
    run::{Pace, Run},
    workload::Act,
};
use crate::Rng;
use isopach::env::CrashFs;

/// What small workloads are made of.
pub const ALPHABET: [Act; 13] = [
    Act::Put,
    Act::PutSync,
    Act::Batch,
    Act::RemoveRange,
    Act::Fill,
    Act::Flush,
    Act::Compact,
    Act::Load,
    Act::Create,
    Act::Clear,
    Act::Drop,
    Act::Checkpoint,
    Act::Reopen,
];

/// A database with two keyspaces, which have tables of two levels, and writes in the log only. It is closed,
/// and all of it is durable.
#[derive(Clone, Debug)]
pub struct Past {
    files: CrashFs,
    ledger: Ledger,
}

impl Past {
    /// Makes it. The same seed makes the same keys and values.
    pub fn new(seed: u64) -> Past {
        let (files, ledger) = (CrashFs::new(), Ledger::default());
        let mut run = Run::new(&files, &ledger, Pace::Stepwise, Rng::new(seed));
        run.perform(&[Act::Create, Act::Create, Act::Fill, Act::Fill, Act::Compact]);
        run.perform(&[Act::Batch, Act::Flush, Act::Batch, Act::Put, Act::Remove]);
        run.close();
        files.settle();
        Past { files, ledger }
    }

    /// A run that goes on from here, with the database open. What it does stays its own.
    pub fn go_on(&self, seed: u64) -> Run<CrashFs> {
        let mut run = Run::new(&self.files.kill(), &self.ledger.fork(), Pace::Stepwise, Rng::new(seed));
        run.perform(&[]);
        run
    }
}

/// All workloads of exactly so many acts.
pub fn workloads(acts: usize) -> impl Iterator<Item = Vec<Act>> {
    let count = ALPHABET.len().pow(u32::try_from(acts).expect("a few"));
    (0..count).map(move |number| nth_workload(number, acts))
}

fn nth_workload(number: usize, acts: usize) -> Vec<Act> {
    let digits = (0..acts).scan(number, |rest, _| {
        let digit = *rest % ALPHABET.len();
        *rest /= ALPHABET.len();
        Some(digit)
    });
    digits.map(|digit| ALPHABET[digit]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_acts_is_a_workload_once() {
        let mut all: Vec<String> = workloads(2).map(|acts| format!("{acts:?}")).collect();

        all.sort();
        all.dedup();

        assert_eq!(all.len(), ALPHABET.len() * ALPHABET.len());
    }
}
