//! Stores and trees through their public surface.

mod lifecycle;
