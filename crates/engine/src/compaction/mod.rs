//! What to compact, and what may be dropped while doing so. Decisions only: no file is read or written here.
//!
//! A tree is a sequence of *runs*, newest first: those of level 0, then one per level below. For one key a
//! newer version never lies in an older run (INV-VER-2); [`validate`] is the gate that every plan passes.
//!
//! The job goes: a [`CompactionStrategy`] or [`next_range_plan`] makes a [`Plan`], [`validate`] makes it a
//! [`CheckedPlan`], [`Survivors`] is the stream of what has to be written, [`Cutter`] says where a table
//! ends.

mod older;
mod shape;

mod plan;

mod strategy;

mod leveled;
mod range;

mod fate;
mod filter;
mod ranges;

mod chain;
mod survivors;

mod unneeded;

mod garbage;

mod cut;

#[cfg(test)]
mod amplification;
#[cfg(test)]
mod model;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod script;
#[cfg(test)]
mod simulation;

pub use cut::{Cutter, Grandparent};
pub use fate::{Below, Fate, Ground, Newer, VersionFacts, Views, fate};
pub use filter::{
    CompactionFilter, CompactionFilterFactory, CompactionFilters, FilterContext, FilterEntry, Verdict,
};
pub use garbage::{garbage_files, heal, leave_garbage, reseal};
pub use leveled::{LevelScore, Leveled};
pub use older::OlderData;
pub use plan::{CheckedInput, CheckedPlan, Plan, PlanKind, validate};
pub use range::{BottomRewrite, RangeProgress, next_range_plan};
pub use ranges::{JobRanges, OtherTables};
pub use shape::{LAST_LEVEL, LEVEL_COUNT, LevelShape, PendingOutput, RunShape, TableShape, TreeShape};
pub use strategy::CompactionStrategy;
pub use survivors::{Dropped, Survivors};
pub use unneeded::unneeded_tables;
