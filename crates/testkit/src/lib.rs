//! Oracle, conformance tests and generators for the tests of Isopach.

pub mod allocations;

mod temp_dir;

mod rng;

pub mod inputs;

mod oracle;

pub mod linear;

pub mod fs_conformance;

pub mod keys;

pub mod db;

pub mod crash;

pub mod mutate;

pub mod faults;

pub mod corruption;

pub mod fuzz;

pub use oracle::{Contents, Entries, Op, Oracle, SpaceId};
pub use rng::{Rng, seeds};
pub use temp_dir::TempDir;
