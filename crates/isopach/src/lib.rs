//! An embedded ordered key-value database: keyspaces, atomic batches over them, snapshots, a write-ahead log.
//!
//! ```
//! # fn main() -> isopach::Result<()> {
//! let db = isopach::Db::in_memory()?; // `Db::open("path")` keeps it on disk.
//! let users = db.keyspace("users")?;
//! let names = db.keyspace("names")?;
//!
//! let mut batch = db.batch();
//! batch.insert(&users, "1", "ada").insert(&names, "ada", "1");
//! db.write(batch)?; // Both or none, now and after a crash.
//!
//! let before = db.snapshot();
//! users.insert("2", "grace")?;
//! assert_eq!(users.get("2")?.as_deref(), Some(&b"grace"[..]));
//! assert_eq!(users.at(&before).get("2")?, None);
//! for entry in users.range("1"..).rev() {
//!     let (key, value) = entry?;
//!     println!("{key:?} = {value:?}");
//! }
//! # db.close()
//! # }
//! ```
//!
//! Limits: key 0 to 65,535 bytes, value and encoded batch 0 to 2^32 - 1 bytes together with their record,
//! keyspace name 1 to 255 bytes without `/` and control characters.

#![forbid(unsafe_code)]

mod error;
mod options;
mod settings;
mod events;
mod told;
mod waiting;
mod time;
mod ends;
mod together;
mod pace;
mod check;
mod wal;
mod views;
mod space;
mod notes;
mod write;
mod durable;
mod passes;
mod jobs;
mod keys;
mod state;
mod routes;
mod background;
mod recovery;
mod repair;
mod checkpoint;
mod rotation;
mod close;
mod read;
mod health;
mod snapshot;
mod table_file;
mod ingest;
mod keyspace;
mod batch;
mod verify;
mod scrub;
mod copies;
mod db;
#[cfg(feature = "typed")]
pub mod typed;
#[doc(hidden)]
pub mod fuzz;

pub use batch::Batch;
pub use copies::CopiesIn;
pub use db::{Builder, Db, ReadDb};
pub use error::{Error, ErrorKind, Result};
pub use events::{DamagedTable, Event, EventListener};
pub use health::{Health, KeyspaceStats, MemoryStats, OldestView, Stats, WriteState};
pub use ingest::Ingest;
pub use keys::KeySet;
pub use keyspace::Keyspace;
pub use options::{DbOptions, Durability, KeepVersions, KeyspaceOptions, LogRecovery, WriteOptions};
pub use passes::ScrubStats;
pub use read::{Iter, Keys, Readable, Values};
pub use recovery::{DiscardedEnd, Progress, Recovery};
pub use repair::{Fate, RepairOptions, RepairReport, RepairedFile, RepairedTree};
pub use routes::{Route, RouteInfo};
pub use scrub::{ScrubOptions, ScrubReport};
pub use snapshot::{KeyspaceAt, Snapshot};
pub use table_file::{TableFileInfo, TableFileWriter};
pub use verify::{VerifyOptions, VerifyReport};
pub use write::StallReason;

pub use isopach_engine as engine;
pub use isopach_engine::{
    codec::{Cipher, CleanCopies, Compression, KeyError, KeyId, KeyProvider, Parity, Secret},
    compaction::{CompactionFilter, CompactionFilterFactory, FilterContext, FilterEntry, Verdict},
    error::KeyBounds,
    key::KeyRange,
    merge_operator::{self as merge, MergeError, MergeOperator},
    order::{ByteOrder, Comparator, ReverseByteOrder},
    prefix::{DelimitedPrefix, FixedPrefix, PrefixExtractor},
    store::{
        CheckpointInfo, CheckpointOptions, FilterMemory, Finding, KeyUse, NamedTable, Unnamed, UnnamedFile,
    },
    table::VerifyDepth,
    tree::{BlobStats, FilterPolicy, LevelStats, PerLevel, RangeEstimate, TreeStats},
    types::{Level, Seqno, Slice, TreeId as KeyspaceId, UnixUs, Uuid},
    version::{DeletionPause, HealStats},
};
pub use isopach_env as env;

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
