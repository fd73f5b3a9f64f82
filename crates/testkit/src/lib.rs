//! Oracle, conformance tests and generators for the tests of Isopach.

mod temp_dir;

pub mod fs_conformance;

pub use temp_dir::TempDir;
