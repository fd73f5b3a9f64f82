//! LSM trees in a *store*: one directory, one manifest, any number of ordered maps of byte strings.
//!
//! Always `no_std` + `alloc`, over the files, clock and random source of an [`Env`](env::Env).
//!
//! **The caller owns numbers, log and threads.** It gives every operation a sequence number, used once; keeps
//! a log, if writes are to survive before they are flushed; and decides when, and on which thread, to rotate,
//! flush, compact and remove files. Nothing here starts a thread, waits for time, or does work that was not
//! asked for. In return:
//!
//! - A view at `s` shows exactly the operations numbered `<= s`, as long as it is above the
//!   [read floor](tree::Tree::read_floor) or every job was told of it.
//! - After a crash a tree holds everything up to its [replay point](tree::Tree::replay_point); what lies
//!   above is the caller's to apply again. An edit of the manifest happened as a whole or not at all.
//! - An answer is right or an error that names file, place and keys; a scan goes on behind what it names.
//! - A job that fails leaves its tree as it was. After a failed sync of the manifest or a directory the store
//!   takes no more edits ([`Poisoned`](error::ErrorKind::Poisoned)) and reads on; reopening tells what
//!   survived.
//!
//! # Example
//!
//! ```
//! use isopach_engine::{
//!     compaction::Views,
//!     env::Env,
//!     store::{Store, StoreOptions},
//!     tree::{TreeOptions, WriteBatch},
//!     types::{Seqno, UnixUs, View},
//! };
//!
//! # fn main() -> isopach_engine::error::Result<()> {
//! let number = |raw| Seqno::from_raw(raw).expect("below 2^56");
//! let env = Env::simulated(1); // Files in memory; `Env::os` has those of a directory.
//! let store = Store::open(env.clone(), &StoreOptions::default())?;
//! let id = store.reserve_tree_id()?;
//! let fruit = store.create_tree(id, "fruit", &TreeOptions::default(), &[], number(1))?;
//!
//! // Numbered 2, 3 and 4: in memory only, until they are flushed.
//! let mut batch = WriteBatch::new();
//! batch.put(b"apple", b"red").put(b"pear", b"green").delete(b"plum");
//! fruit.apply(&batch, number(2))?;
//! let now = View::new(number(4), UnixUs(0));
//! assert_eq!(fruit.get(b"apple", now)?.as_deref(), Some(&b"red"[..]));
//!
//! // Sealed at a boundary, then written. No view but `now` needs old versions.
//! fruit.rotate(number(4))?;
//! let report = fruit.flush(number(4), &Views::new(&[], now), &[])?;
//! assert_eq!(report.replay_point, number(4));
//! drop((fruit, store));
//!
//! let store = Store::open(env, &StoreOptions::default())?;
//! let fruit = store.tree("fruit")?;
//! assert_eq!(fruit.replay_point(), number(4), "nothing is to be applied again");
//! let mut scan = fruit.scan("a".."z", now)?;
//! assert_eq!(scan.next_back().transpose()?.expect("two keys").0, b"pear");
//! assert_eq!(scan.next_back().transpose()?.expect("one left").0, b"apple");
//! assert!(scan.next().is_none(), "the ends met");
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! Bottom to top; a module names only modules above it in this table.
//!
//! | module         | what it owns |
//! |----------------|------|
//! | [`types`]      | sequence numbers, ids, views, shared bytes |
//! | [`error`]      | the error and what a caller can do about each kind |
//! | [`key`]        | the order of versions, kinds of values, ranges |
//! | [`named`]      | code of users that stores find again by name |
//! | [`order`]      | orders of keys, found by name |
//! | [`prefix`]     | prefixes of keys that filters are made of, and extractors by name |
//! | [`merge_operator`] | what operands do to a value |
//! | [`codec`]      | framing: headers, checksums bound to their place, blocks, records, compression |
//! | [`place`]      | where files lie, as part of their names |
//! | [`range_tombstone`] | deletes of ranges, and what they hide |
//! | [`expiry`]     | puts that expire |
//! | [`packed`]     | values that are compressed by themselves |
//! | [`dictionary`] | compression dictionaries as files, and when one is worth having |
//! | [`blob`]       | separated values: their files, and what points to them |
//! | [`cache`]      | decoded blocks and open tables in memory |
//! | [`iter`]       | the contract of cursors, merging, what a view sees from both ends |
//! | [`memtable`]   | operations in memory |
//! | [`table`]      | immutable files of sorted blocks |
//! | [`version`]    | which tables there are: levels, edits, manifest, and the lives of files |
//! | [`compaction`] | what to compact and what may be dropped: decisions only |
//! | [`tree`]       | the paths of one map: apply, rotate, flush, compact, get, scan |
//! | [`store`]      | a directory of trees: create, open, lock, orphans, verify |
//!
//! [`env`](mod@env) is the only door to files, time and randomness. Formats are described in
//! `docs/format.md`, invariants (`INV-...`) in `docs/invariants.md`.
//!
//! # What is not there yet
//!
//! Cells (their kind is reserved, and reading one is
//! [`UnsupportedFeature`](error::ErrorKind::UnsupportedFeature)); strategies
//! other than [`Leveled`](compaction::Leveled). Until 0.1 the format changes without a migration.

#![no_std]

extern crate alloc;

pub use isopach_env as env;

// Each stands alone, so that formatting keeps the order of the layers.

mod prefetch;
pub mod types;

pub mod error;

pub mod key;

pub mod named;

pub mod order;

pub mod prefix;

pub mod merge_operator;

pub mod codec;

pub mod place;

pub mod range_tombstone;

pub mod expiry;

pub mod packed;

pub mod dictionary;

pub mod blob;

pub mod cache;

pub mod iter;

pub mod memtable;

pub mod table;

pub mod version;

pub mod compaction;

pub mod tree;

pub mod store;
