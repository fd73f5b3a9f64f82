//! Databases that crash: who writes to them, what they promised, and what a crash left behind.

mod image;
mod ledger;
mod workload;

pub use image::{Checker, check_image};
pub use ledger::{Floors, Ledger, VOLATILE};
pub use workload::Writer;
