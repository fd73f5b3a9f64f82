//! Which files exist, who holds them, and when they go.

mod registry;

pub use registry::{DeletionPause, FileRegistry, Freed, Hold, Holder, LiveFile, RegistryStats};
