//! Locks and what else differs with and without `std`: the one module above which no code asks for `std`.
//!
//! | item                                      | with `std`                      | without            |
//! |-------------------------------------------|---------------------------------|--------------------|
//! | [`Mutex`], [`RwLock`], [`StateCell`]      | blocking locks                  | spin locks         |
//! | [`atomic`]                                | [`core_atomic`]                 | the same           |
//! | order of locks ([`Rank`])                 | asserted in debug builds        | not checked        |
//! | `Condvar`                                 | present                         | absent             |
//! | `thread`, `thread_local`, `Instant`       | those of `std`                  | absent             |
//! | [`Striped`]                               | groups of threads               | one group          |
//! | [`catch`]                                 | catches panics                  | a plain call       |
//! | [`point()`]                               | calls hooks, feature `points`   | nothing            |
//!
//! # Schedules
//!
//! With the feature `schedules` the same items belong to a scheduler (`shuttle`) that runs one thread at a
//! time and chooses at each of their operations which: a seed stands for one interleaving, and a deadlock is
//! seen. Code that is to run under it takes locks, atomics and threads from here, and waits by nothing else.
//! The feature is for the workspace `schedules`; outside of a run of the scheduler these items panic.
//!
//! # Order of locks
//!
//! Every lock has a [`Rank`], and a thread waits only for locks whose level is *strictly greater* than all it
//! holds; so no two threads ever wait for each other, and no thread waits for itself. Debug builds with `std`
//! assert it at every acquisition. Levels from [`Rank::ENV_LEVELS`] on belong to this crate: its backends may
//! be called under any lock of the layers above.
//!
//! # Panics
//!
//! Locks are not poisoned: a panic under a lock releases it. What a half-done change means is for the owner
//! of the state to say, who keeps a state of its own for it.

#[cfg(all(feature = "std", not(feature = "schedules")))]
mod blocking;
#[cfg(all(feature = "std", not(feature = "schedules")))]
use blocking as raw;
#[cfg(feature = "schedules")]
mod scheduled;
#[cfg(feature = "schedules")]
use scheduled as raw;
#[cfg(any(not(feature = "std"), test))]
mod spin;
#[cfg(not(feature = "std"))]
use spin as raw;

mod rank;

mod cell;
mod condvar;
pub mod core_atomic;
mod lock;
mod panics;
mod point;
mod relax;
mod striped;

pub use cell::StateCell;
pub use condvar::Condvar;
pub use lock::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use panics::{Panicked, catch};
pub use point::point;
#[cfg(feature = "points")]
pub use point::{PointGuard, set_point};
pub use rank::Rank;
pub use relax::relax;
pub use striped::Striped;

#[cfg(not(feature = "schedules"))]
pub use core_atomic as atomic;
#[cfg(feature = "schedules")]
pub use scheduled::Instant;
#[cfg(feature = "schedules")]
pub use shuttle::{sync::atomic, thread, thread_local};
#[cfg(all(feature = "std", not(feature = "schedules")))]
pub use std::{thread, thread_local, time::Instant};
