//! Tables: immutable files of sorted blocks.

mod meta;

pub use meta::{BlockHandle, TableMeta};
