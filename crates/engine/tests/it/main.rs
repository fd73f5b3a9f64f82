//! Stores and trees through their public surface.

mod blobs;
mod checksums;
mod clear;
mod dice;
mod dictionaries;
mod estimates;
mod faults;
mod filter_budget;
mod harness;
mod lifecycle;
mod manifest;
mod model;
mod orders;
mod prefixes;
mod routes;
mod store;
mod tree;
