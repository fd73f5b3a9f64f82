//! Databases that crash: what is done to them, what they promised, and what a crash left behind.
//!
//! [`explore`] is the whole of it: it runs [`Act`]s on files that tell of every step, makes images of what a
//! crash before that step would leave, opens them, and compares with the [`Ledger`].

mod activity;
mod ledger;

mod workload;

mod run;
mod small;

mod image;
mod second;

mod explorer;

mod crowd;

pub use activity::{Activity, UnderWay};
pub use crowd::{Crowd, explore_crowd};
pub use explorer::{Crash, Explored, Plan, explore};
pub use image::{Checker, Promised, Violation, check_files, check_hidden, check_image};
pub use ledger::{Checkpoint, Floors, Ledger, VOLATILE};
pub use run::{DATABASE, Pace, Run};
pub use second::check_a_second_crash;
pub use small::{ALPHABET, Past, workloads};
pub use workload::{Act, CANARY, Writer};
