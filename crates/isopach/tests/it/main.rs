//! The database through its public surface.

mod basics;
mod budget;
mod idle;
mod memory;
mod model;
mod support;
