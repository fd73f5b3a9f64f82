//! The database.

pub mod wal;
