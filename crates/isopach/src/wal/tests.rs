//! Behaviour of the log, over files in memory that can fail, be damaged, and lose power.

mod append;
mod clean;
mod end_rule;
mod mapped;
mod power;
mod recycle;
mod restart;
mod support;
mod sync;
