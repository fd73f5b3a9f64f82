//! One adapter a file, and the list of those that this build has.

mod noop;
mod isopach;

use crate::engine::Open;

/// An engine of this build.
pub struct Adapter {
    pub name: &'static str,
    /// Its crate's name in the lock file.
    pub package: &'static str,
    pub open: Open,
}

/// In the order in which they take turns.
pub const ADAPTERS: &[Adapter] = &[
    Adapter { name: "noop", package: "isopach-bench", open: noop::open },
    Adapter { name: "isopach", package: "isopach", open: isopach::open },
];

pub fn find(name: &str) -> Option<&'static Adapter> {
    ADAPTERS.iter().find(|adapter| adapter.name == name)
}
