//! LSM trees in a *store* (one directory, one manifest). `no_std` + `alloc`.
//!
//! The caller owns the sequence numbers, the log and the threads.

#![no_std]

extern crate alloc;

pub mod types;
pub mod error;
pub mod key;
pub mod codec;
pub mod cache;
pub mod iter;
pub mod table;

pub use isopach_env as env;
