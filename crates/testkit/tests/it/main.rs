//! Tests of what other crates cannot test on their own.

mod conformance;
mod faults;
mod layers;
mod mutate;
