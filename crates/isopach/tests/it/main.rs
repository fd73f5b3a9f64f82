//! The database through its public surface.

mod support;

mod basics;
mod budget;
mod crash;
mod idle;
mod memory;
mod model;
mod power;
