//! The database through its public surface.

mod support;

mod basics;
mod memory;
mod model;
