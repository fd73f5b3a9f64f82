//! LSM trees in a *store* (one directory, one manifest). `no_std` + `alloc`.
//!
//! The caller owns the sequence numbers, the log and the threads.

#![no_std]

extern crate alloc;

pub mod cache;
pub mod codec;
pub mod compaction;
pub mod error;
pub mod iter;
pub mod key;
pub mod memtable;
pub mod store;
pub mod table;
pub mod tree;
pub mod types;
pub mod version;

pub use isopach_env as env;
