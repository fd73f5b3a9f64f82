//! Stores and trees through their public surface.

mod faults;
mod lifecycle;
mod manifest;
