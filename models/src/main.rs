//! Models of the memtable's tree: a few operations on tiny nodes, in every order and with every value that the
//! memory model lets a load see, as far as loom goes (Norris and Demsky, "CDSChecker", 2013).
//!
//! `cargo run --release` explores all models, `cargo run --release -- NAME ...` those whose name holds one of these.

extern crate alloc;

mod memtable {
    pub(crate) mod atomics;
    #[allow(dead_code)] // Of the pool that keeps nothing little is used.
    #[path = "../../../crates/engine/src/memtable/pool.rs"]
    pub(crate) mod pool;
    #[allow(dead_code)] // Estimates are not explored.
    #[path = "../../../crates/engine/src/memtable/blink/mod.rs"]
    pub(crate) mod blink;
}
mod models;
#[path = "../../crates/engine/src/prefetch.rs"]
mod prefetch;

// What the tree names by `crate::`.
use isopach_engine::{error, iter, key, order, types};

use std::{env, time::Instant};

fn main() {
    let wanted: Vec<String> = env::args().skip(1).collect();
    for (name, preemptions, model) in models::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(&**part)) {
            continue;
        }
        let start = Instant::now();
        let executions = models::explore(*preemptions, *model);
        println!("{name}: {executions} executions in {:.1} s", start.elapsed().as_secs_f64());
    }
}
