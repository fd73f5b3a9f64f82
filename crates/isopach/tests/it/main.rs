//! The database through its public surface.

mod basics;
