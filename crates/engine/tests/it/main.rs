//! Stores and trees through their public surface.

mod faults;
mod harness;
mod lifecycle;
mod manifest;
mod store;
mod tree;
