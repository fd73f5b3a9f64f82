//! The database through its public surface.

mod support;

mod basics;
mod budget;
mod crash;
mod idle;
mod kill;
mod memory;
mod model;
mod power;
