//! The database through its public surface.

mod arguments;
mod basics;
mod budget;
mod checkpoint;
mod closing;
mod concurrent;
mod crash;
mod damage;
mod durable;
mod events;
mod golden;
mod idle;
mod kill;
mod lifetimes;
mod linear;
mod log_recovery;
mod memory;
mod model;
mod one_writer;
mod options;
mod poison;
mod power;
mod read_only;
mod recovery;
mod space;
