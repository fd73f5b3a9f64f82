//! The contract of strategies. Each strategy is a file of its own.

use super::{plan::Plan, shape::TreeShape};

/// Decides what to compact. Pure: the same shape, the same plan; it never sees files or blocks.
pub trait CompactionStrategy: Send + Sync + 'static {
    /// For events and logs.
    fn name(&self) -> &str;

    /// The most useful job now, or nothing. Its inputs are not busy, and [`validate`](super::validate)
    /// accepts it.
    fn pick(&self, tree: &TreeShape<'_>) -> Option<Plan>;

    /// Bytes to write until the shape is as wanted; steers throttling. An estimate.
    fn debt(&self, tree: &TreeShape<'_>) -> u64;
}
