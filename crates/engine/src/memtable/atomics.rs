//! What the tree takes its atomics from, so that a model checker can put its own in their place.

pub(crate) use isopach_env::sync::core_atomic::{AtomicPtr, AtomicU32, AtomicU64, fence};
pub(crate) use isopach_env::sync::relax;
