//! LSM trees in a *store* (one directory, one manifest). `no_std` + `alloc`.
//!
//! The caller owns the sequence numbers, the log and the threads.

#![no_std]

extern crate alloc;

pub mod cache;
pub mod codec;
pub mod error;
pub mod iter;
pub mod key;
pub mod table;
pub mod types;

pub use isopach_env as env;
