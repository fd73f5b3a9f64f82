//! What a put costs that is in nobody's way: no call of the system, and no memory but that of the memtable.

use isopach::{
    Builder, Db, Keyspace, WriteOptions,
    env::{Env, FaultFs, OsEntropy, OsFs, SystemClock},
};
use std::{sync::Arc, time::Duration};
use testkit::{
    TempDir,
    allocations::{Counting, count_of_thread},
};

#[global_allocator]
static HEAP: Counting = Counting;

const PUTS: u64 = 200_000;
const SEGMENT_BYTES: u64 = 4 << 20;

fn builder(files: &FaultFs) -> Builder {
    let env = Env::new(Arc::new(files.clone()), Arc::new(SystemClock::new()), Arc::new(OsEntropy));
    Db::builder("db").env(env).max_wal_bytes(16 * SEGMENT_BYTES)
}

fn put(keyspace: &Keyspace, number: u64) {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    keyspace.insert(key, [7; 100]).expect("there is space");
}

/// In the directory for temporary files, whose file system must be one that logs are mapped on.
#[test]
fn a_put_that_nobody_contends_with_makes_no_call_and_takes_no_memory() {
    let dir = TempDir::new();
    let files = FaultFs::new(Arc::new(OsFs::new(dir.path()).expect("it is there")));
    let db = builder(&files).write_buffer_bytes(128 << 20).open().expect("a new database");
    let keyspace = db.keyspace("puts").expect("a new keyspace");
    (0..1000).for_each(|number| put(&keyspace, number)); // The first ones reserve numbers, and begin a segment.
    let calls = files.calls();

    let ((), taken) = count_of_thread(|| (1000..PUTS).for_each(|number| put(&keyspace, number)));

    db.wait_idle(Duration::from_secs(60)).expect("background work ends");
    let (calls, segments) = (files.calls() - calls, db.stats().wal_segments);
    assert!(segments >= 6, "{segments} segments");
    // Of all threads: of the one that prepares segments, too.
    assert!(calls <= 10 * segments, "{calls} calls for {segments} segments");
    assert!(taken <= 10 * segments, "memory was taken {taken} times, for {segments} segments");
}

/// As above, with flushes; the calls of this thread cannot be told from theirs.
#[test]
fn a_put_takes_no_memory_while_memtables_are_sealed_and_flushed() {
    let dir = TempDir::new();
    let files = FaultFs::new(Arc::new(OsFs::new(dir.path()).expect("it is there")));
    let db = builder(&files).write_buffer_bytes(8 << 20).open().expect("a new database");
    let keyspace = db.keyspace("puts").expect("a new keyspace");
    (0..1000).for_each(|number| put(&keyspace, number));

    let ((), taken) = count_of_thread(|| (1000..PUTS).for_each(|number| put(&keyspace, number)));

    db.wait_idle(Duration::from_secs(60)).expect("background work ends");
    let flushes = db.stats().keyspaces[0].tree.flushes;
    assert!(flushes >= 2, "{flushes} flushes");
    // A memtable grows from small pieces to large ones; who finds it full begins a segment with the next.
    let (segments, pieces) = (PUTS * 180 / SEGMENT_BYTES, 32 * (flushes + 1));
    assert!(taken <= 10 * segments + pieces, "memory was taken {taken} times, for {segments} segments");
}

/// What is not asked for costs nothing: an option with every field set is as cheap as none.
#[test]
fn options_of_a_write_take_no_memory() {
    let dir = TempDir::new();
    let files = FaultFs::new(Arc::new(OsFs::new(dir.path()).expect("it is there")));
    let db = builder(&files).open().expect("a new database");
    let keyspace = db.keyspace("puts").expect("a new keyspace");
    let options = WriteOptions::new().durability(isopach::Durability::Buffered);
    (0..1000).for_each(|number| put(&keyspace, number));

    let ((), taken) = count_of_thread(|| {
        for number in 0..1000_u64 {
            keyspace.insert_with(number.to_be_bytes(), "v", options).expect("there is space");
        }
    });

    assert!(taken <= 10, "memory was taken {taken} times");
}
