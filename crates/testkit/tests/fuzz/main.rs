//! What hostile bytes may cost, measured: a program of its own, because its allocator counts.

use testkit::allocations::Counting;

mod allocations;
mod planted;
mod targets;
mod turns;

#[global_allocator]
static HEAP: Counting = Counting;
