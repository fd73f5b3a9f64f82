//! Writing: from operations to a place in the log, the memtables, and in sight.
//!
//! [`Operations`] encodes a batch; [`Commits`] puts batches in order, logs, applies and publishes them;
//! [`throttle`](throttle::rate) says how fast writers may be.

mod commit;
mod operations;
mod throttle;

pub(crate) use commit::{Change, Commits, Order, Request, Start};
pub(crate) use operations::{Operations, decode_operations};
pub use throttle::StallReason;
pub(crate) use throttle::{Debt, Throttle, rate};
