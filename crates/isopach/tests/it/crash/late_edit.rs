//! A crash between the record of a change of keyspaces and its edit, while the log is freed.

use isopach::env::{MemFs, sync::set_point};
use std::{
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};
use testkit::db::{SOON, files_in, small, tiny_tables, wait_until};

/// The thread whose edit is late.
const LATE: &str = "a late drop";
/// Freeing the log takes less. What is right waits for the drop; only what is wrong does not need all of it.
const ENOUGH: Duration = Duration::from_millis(300);

/// A drop was logged, and its edit was not made yet. The flush of another keyspace then freed the segment
/// that held the record, for nothing in memory was older than the log's end. A crash brought the keyspace
/// back.
#[test]
fn a_keyspace_whose_drop_lacks_its_edit_stays_dropped_though_another_one_frees_the_log() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    db.keyspace("dropped").unwrap().insert("k", "v").unwrap();
    let other = db.keyspace_with("other", tiny_tables()).unwrap();
    db.flush().unwrap();
    db.wait_idle(SOON).unwrap();
    let (arrived, arrivals) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let hold = move || {
        if thread::current().name() == Some(LATE) {
            arrived.send(()).expect("the test waits");
            let _ = gone.lock().expect("one caller").recv(); // Ends when the sender goes.
        }
    };
    let _held = set_point("keyspace.before_edit", Box::new(hold));
    let drops = {
        let db = db.clone();
        move || db.drop_keyspace("dropped").unwrap()
    };
    let dropping = thread::Builder::new().name(LATE.into()).spawn(drops).unwrap();
    arrivals.recv_timeout(SOON).expect("the drop is logged");
    let oldest = files_in(&files, "wal").remove(0);

    for n in 0..100_u32 {
        other.insert(n.to_be_bytes(), [n as u8; 1000]).unwrap();
    }
    wait_until("the other keyspace is flushed", || other.stats().tree.flushes > 0);
    let start = Instant::now();
    while files_in(&files, "wal").contains(&oldest) && start.elapsed() < ENOUGH {
        thread::yield_now();
    }
    let crashed = files.deep_clone();
    let held = db.stats().wal_segments;
    drop(go);
    assert!(dropping.join().unwrap());

    let found = small(crashed).open().unwrap();
    assert!(found.get_keyspace("dropped").unwrap().is_none(), "{:?}", found.keyspaces());
    assert!(found.get_keyspace("other").unwrap().is_some());
    wait_until("the log is freed behind the edit", || db.stats().wal_segments < held);
}
