//! The database through its public surface.

mod basics;
mod idle;
mod memory;
