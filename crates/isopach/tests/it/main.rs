//! The database through its public surface.

mod basics;
mod budget;
mod closing;
mod crash;
mod idle;
mod kill;
mod lifetimes;
mod memory;
mod model;
mod power;
mod read_only;
mod support;
