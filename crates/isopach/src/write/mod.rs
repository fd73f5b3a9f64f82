//! Writing: from operations to a place in the log, the memtables, and in sight.
//!
//! [`Operations`] encodes a batch; [`Commits`] puts batches in order, logs, applies and publishes them;
//! [`throttle`](throttle::rate) says how fast writers may be.

mod operations;
mod throttle;
mod group;
mod in_flight;
mod commit;
mod order;
mod admission;

pub(crate) use commit::{Change, Commits, Committed, Request, Start};
pub(crate) use group::Body;
pub(crate) use operations::{Lives, Operations, decode_operations, sort_by_space};
pub(crate) use order::{Order, reserve_behind};
pub use throttle::StallReason;
pub(crate) use throttle::{Throttle, rate};
