//! What a put costs that is in nobody's way: no call of the system, and no memory but that of the memtable.

use isopach::{
    Builder, Db, Keyspace, WriteOptions,
    env::{Env, FaultFs, OsEntropy, OsFs, SystemClock},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use testkit::{
    TempDir,
    allocations::{Counting, count_of_thread},
};

#[global_allocator]
static HEAP: Counting = Counting;

const PUTS: u64 = 200_000;
const SEGMENT_BYTES: u64 = 4 << 20;
/// Of a memtable at most: it grows from small pieces to large ones.
const PIECES: u64 = 32;

fn builder(files: &FaultFs) -> Builder {
    let env = Env::new(Arc::new(files.clone()), Arc::new(SystemClock::new()), Arc::new(OsEntropy));
    Db::builder("db").env(env).max_wal_bytes(16 * SEGMENT_BYTES)
}

fn put(keyspace: &Keyspace, number: u64) {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    keyspace.insert(key, [7; 100]).expect("there is space");
}

/// What putting took, and what there was then.
struct Cost {
    /// Calls of files, of all threads.
    calls: u64,
    /// Allocations of the thread that put.
    allocations: u64,
    segments: u64,
    flushes: u64,
}

/// In the directory for temporary files, whose file system must be one that logs are mapped on.
fn cost_of_puts(write_buffer_bytes: u64) -> Cost {
    let dir = TempDir::new();
    let files = FaultFs::new(Arc::new(OsFs::new(dir.path()).expect("it is there")));
    let db = builder(&files).write_buffer_bytes(write_buffer_bytes).open().expect("a new database");
    let keyspace = db.keyspace("puts").expect("a new keyspace");
    (0..1000).for_each(|number| put(&keyspace, number)); // The first one begins a segment.
    let calls = files.calls();

    let ((), allocations) = count_of_thread(|| (1000..PUTS).for_each(|number| put(&keyspace, number)));

    db.wait_idle(Duration::from_secs(60)).expect("background work ends");
    let flushes = db.stats().keyspaces[0].tree.flushes;
    Cost { calls: files.calls() - calls, allocations, segments: PUTS * 180 / SEGMENT_BYTES, flushes }
}

/// On a busy machine what is prepared comes late, and who puts does it himself: of several rounds one must be as it
/// should.
fn in_some_round(write_buffer_bytes: u64, check: impl Fn(&Cost) -> Result<(), String>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut why = String::new();
    for _ in 0..10 {
        match check(&cost_of_puts(write_buffer_bytes)) {
            Ok(()) => return,
            Err(round) => why = round,
        }
    }
    panic!("{why}");
}

#[test]
fn a_put_that_nobody_contends_with_makes_no_call_and_takes_no_memory() {
    in_some_round(128 << 20, |&Cost { calls, allocations, segments, flushes }| {
        assert!(segments >= 6 && flushes == 0);
        // Of all threads: of the one that prepares segments, too.
        if calls > 10 * segments || allocations > 10 * segments + PIECES {
            return Err(format!("{calls} calls and {allocations} allocations for {segments} segments"));
        }
        Ok(())
    });
}

/// The calls of this thread cannot be told from those of flushes.
#[test]
fn a_put_takes_no_memory_while_memtables_are_sealed_and_flushed() {
    in_some_round(8 << 20, |&Cost { allocations, segments, flushes, .. }| {
        assert!(flushes >= 2, "{flushes} flushes");
        // Who finds a memtable full begins a segment with the next.
        if allocations > 10 * segments + PIECES * (flushes + 1) {
            return Err(format!("{allocations} allocations for {segments} segments and {flushes} flushes"));
        }
        Ok(())
    });
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
