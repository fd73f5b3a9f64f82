//! The corruption sweep: a database is damaged in one way after another, and every answer that it then gives
//! must be the right value or an error that names the place.
//!
//! `subject` makes the databases and knows what is in them; `damage` lists what can happen to their files;
//! `examine` asks everything of a damaged one; [`sweep()`] does so for all, and counts. What may become of a
//! log is in `fate`: the rule of its end, with knowledge that recovery does not have. The program `corrupt`
//! sweeps for long.

mod image;
mod layout;

mod subject;

mod damage;
mod fate;

mod examine;

mod forge;

mod sweep;

pub use damage::{Damage, Density, damages};
pub use examine::{Examined, Outcome, Passes, examine};
pub use forge::{forge_log, forge_table};
pub use image::Image;
pub use layout::{FileClass, Section, sections};
pub use subject::{Subject, check_sound, subjects};
pub use sweep::{Plan, Swept, sweep, sweep_one};
