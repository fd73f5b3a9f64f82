//! LSM trees in a store.
