//! What a snapshot costs: memory, by the million.

use isopach::{Db, Snapshot};
use testkit::allocations::{Counting, peak_of_thread};

#[global_allocator]
static HEAP: Counting = Counting;

const SNAPSHOTS: usize = 1_000_000;

#[test]
fn a_million_snapshots_of_as_many_commits_take_64_bytes_each() {
    let db = Db::in_memory().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    keyspace.insert("key", "value").unwrap();
    let mut held: Vec<Snapshot> = Vec::with_capacity(SNAPSHOTS);
    let mut bytes = 0;

    // Only the taking is measured: commits take memory of their own.
    for _ in 0..SNAPSHOTS {
        keyspace.remove("key").unwrap();
        let (snapshot, more) = peak_of_thread(|| db.snapshot());
        held.push(snapshot);
        bytes += more;
    }

    assert!(bytes <= 64 * SNAPSHOTS, "{} bytes each", bytes as f64 / SNAPSHOTS as f64);
    assert_eq!(db.stats().open_snapshots, SNAPSHOTS as u64);
    held.into_iter().rev().for_each(drop);
    assert_eq!(db.stats().open_snapshots, 0);
}
