//! What the tree takes its atomics from, so that a model checker can put its own in their place.

pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, fence};
pub(crate) use isopach_env::sync::relax;
