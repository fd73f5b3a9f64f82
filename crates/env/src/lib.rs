//! Files, clock, threads and randomness: the only door of Isopach to the outside.
//!
//! `no_std` + `alloc`; the feature `std` (on by default) adds the operating system's files ([`OsFs`]), clock,
//! random source and threads, and makes the locks of [`sync`] blocking ones. Everything above this crate
//! reaches the outside through an [`Env`], so that a test can replace all of it: [`Env::simulated`].
//!
//! The crate knows nothing of tables, logs or keys, starts no thread on its own, and retries nothing that
//! failed, except system calls that a signal interrupted or that moved only part of their bytes.
//!
//! # File names
//!
//! A name is UTF-8, relative to the backend's root, with `/` between its parts: `tables/000017.table`. A part
//! is not empty, `.` or `..`, and holds no NUL and no backslash; anything else is refused with
//! [`IoErrorKind::InvalidName`]. Where a method takes a directory, `""` is the root.
//!
//! # Layers
//!
//! The order of the `mod` lines is the layer order: a module names only modules above it in this list.

#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod error;
pub mod memory;
mod name;
pub mod sync;

mod ledger;

mod file;
mod fs;

mod clock;
mod entropy;
mod spawn;

mod dir;
mod mem;
mod mount;
mod crash;
mod fault;
#[cfg(feature = "std")]
mod os;

mod env;

pub use clock::{Clock, TestClock};
pub use crash::{CrashFs, Damage, History, Moment, Moments, Piece, PieceKind, Step, Survival};
pub use dir::SubDir;
pub use entropy::{Entropy, SeededEntropy};
pub use env::Env;
pub use error::{IoError, IoErrorKind, IoResult};
pub use fault::{Call, Errno, Fault, FaultFs, Fired, Rule, RuleError, Rules};
pub use file::{CreateOptions, File, FileMap, OpenMode, SyncMode, SyncSite};
pub use fs::{DirEntry, FileLock, Fs, LockMode};
pub use ledger::{Ledger, WriteOrigin};
pub use mem::MemFs;
pub use mount::MountFs;
#[cfg(feature = "std")]
pub use os::{OsEntropy, OsFs, SystemClock, ThreadSpawn};
pub use spawn::{Inline, Job, Spawn};
