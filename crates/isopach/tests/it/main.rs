//! The database through its public surface.

mod support;

mod basics;
mod crash;
mod memory;
mod model;
mod power;
