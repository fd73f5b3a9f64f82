//! The database through its public surface.

mod support;

mod basics;
mod budget;
mod closing;
mod crash;
mod idle;
mod lifetimes;
mod memory;
mod model;
mod power;
mod read_only;
