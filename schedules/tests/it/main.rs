//! What must hold under every interleaving. `README.md` says how to run and replay.

mod cell;
mod commits;
mod database;
mod linear;
mod power;
mod recovery;
mod registry;
mod upkeep;
