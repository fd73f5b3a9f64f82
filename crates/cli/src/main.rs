//! Command line of the Isopach database.

fn main() {}
