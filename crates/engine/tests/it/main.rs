//! Stores and trees through their public surface.

mod dice;
mod estimates;
mod faults;
mod harness;
mod lifecycle;
mod manifest;
mod model;
mod store;
mod tree;
