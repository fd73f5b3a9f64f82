//! Everything a store needs from outside, in one value.

use crate::{
    clock::{Clock, TestClock},
    entropy::{Entropy, SeededEntropy},
    fs::Fs,
    mem::MemFs,
    spawn::{Inline, Spawn},
};
use alloc::sync::Arc;

/// Everything a store needs from outside. Cheap to clone; clones share all of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Env {
    /// Where the files are.
    pub fs: Arc<dyn Fs>,
    /// Time of day and waiting.
    pub clock: Arc<dyn Clock>,
    /// Source of uuids and seeds.
    pub entropy: Arc<dyn Entropy>,
    /// Where parallel work runs; [`Inline`] unless set.
    pub spawn: Arc<dyn Spawn>,
}

impl Env {
    /// An environment whose parallel work runs inline, on the caller's thread.
    pub fn new(fs: Arc<dyn Fs>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Env {
        Env { fs, clock, entropy, spawn: Arc::new(Inline) }
    }

    /// A fresh [`MemFs`], a clock moved by hand and seeded randomness: the same seed, the same run.
    pub fn simulated(seed: u64) -> Env {
        Env::new(Arc::new(MemFs::new()), Arc::new(TestClock::new()), Arc::new(SeededEntropy::new(seed)))
    }

    /// The same environment with other files.
    #[must_use]
    pub fn with_fs(self, fs: Arc<dyn Fs>) -> Env {
        Env { fs, ..self }
    }

    /// The same environment with another place for parallel work.
    #[must_use]
    pub fn with_spawn(self, spawn: Arc<dyn Spawn>) -> Env {
        Env { spawn, ..self }
    }

    /// Files below the directory `root`, which exists, with the clock, random source and threads of the
    /// operating system.
    ///
    /// # Errors
    ///
    /// As [`OsFs::new`](crate::OsFs::new).
    #[cfg(feature = "std")]
    pub fn os(root: impl AsRef<std::path::Path>) -> crate::IoResult<Env> {
        use crate::os::{OsEntropy, OsFs, SystemClock, ThreadSpawn};
        let fs = Arc::new(OsFs::new(root)?);
        let env = Env::new(fs, Arc::new(SystemClock::new()), Arc::new(OsEntropy));
        Ok(env.with_spawn(Arc::new(ThreadSpawn::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::OpenMode;

    #[test]
    fn one_seed_simulates_one_run() {
        let draw = |seed| {
            let env = Env::simulated(seed);
            let mut bytes = [0; 16];
            env.entropy.fill(&mut bytes).expect("seeded");
            (bytes, env.clock.unix_us())
        };

        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn clones_share_files_and_simulations_do_not() {
        use crate::{CreateOptions, WriteOrigin};
        let (one, two) = (Env::simulated(7), Env::simulated(7));

        one.clone().fs.create("a", &CreateOptions::new(WriteOrigin::Log)).expect("new");

        assert!(one.fs.open("a", OpenMode::Read).is_ok());
        assert!(two.fs.open("a", OpenMode::Read).is_err());
    }

    #[test]
    #[cfg(feature = "std")]
    fn the_environment_of_the_system_needs_a_directory() {
        assert!(Env::os("/no such directory").is_err());

        let env = Env::os(std::env::temp_dir()).expect("exists");

        assert!(env.spawn.parallelism() >= 1);
    }
}
