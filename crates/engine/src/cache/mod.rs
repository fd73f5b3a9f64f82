//! What stays in memory of immutable files: decoded blocks and open tables.
//!
//! Knows nothing of what it keeps: blocks come with their size in bytes, tables with their number. The blocks of
//! a table are let go with it, when it closes. Locks: `cache.open_tables` (60) and `cache.blocks` (61); no lock
//! is held while a table is opened or a value dropped.

mod blocks;
mod open_files;
mod s3_fifo;

pub use blocks::{BlockCache, CacheStats, Charge, Shelf};
pub use open_files::OpenFiles;
