//! Oracle, conformance tests, generators and failing backends for the tests of Isopach.

mod temp_dir;

mod rng;

pub mod inputs;

mod oracle;

mod steps;

mod power_loss;

pub mod fs_conformance;

pub use oracle::{Contents, Entries, Op, Oracle, SpaceId};
pub use power_loss::PowerLossFs;
pub use rng::{Rng, seeds};
pub use steps::{Step, StepFs, Watch};
pub use temp_dir::TempDir;
