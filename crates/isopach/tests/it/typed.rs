//! Keyspaces seen through types.

mod draw;
mod hostile;
mod keys;
mod values;
mod views;
