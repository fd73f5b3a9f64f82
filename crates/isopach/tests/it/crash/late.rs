//! A crash while a thread stands between a record in the log and what the record says, and the log is freed.

use isopach::{
    Event, EventListener,
    env::{
        Fs, MemFs,
        sync::{PointGuard, set_point},
    },
};
use std::{
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};
use testkit::db::{SOON, files_in, small, tiny_tables, wait_until};

/// The thread that stands there.
const LATE: &str = "late";
/// Freeing the log takes less. What is right waits for the thread; only what is wrong does not need all of it.
const ENOUGH: Duration = Duration::from_millis(300);

/// Where a thread is held; it goes on when this is dropped.
struct Hold {
    arrivals: mpsc::Receiver<()>,
    _go: mpsc::Sender<()>,
}

impl Hold {
    /// What to call where a thread is to be held, and the hold.
    fn new() -> (impl Fn() + Send + Sync, Hold) {
        let (arrived, arrivals) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let hold = move || {
            let _ = arrived.send(());
            let _ = gone.lock().expect("one caller").recv(); // Ends when the sender goes.
        };
        (hold, Hold { arrivals, _go: go })
    }

    /// Holds the thread [`LATE`] at a point.
    fn at(point: &'static str) -> (PointGuard, Hold) {
        let (hold, held) = Hold::new();
        let guard = set_point(
            point,
            Box::new(move || {
                if thread::current().name() == Some(LATE) {
                    hold();
                }
            }),
        );
        (guard, held)
    }

    fn wait_for_arrival(&self, what: &str) {
        self.arrivals.recv_timeout(SOON).expect(what);
    }
}

fn start_late<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().name(LATE.into()).spawn(work).unwrap()
}

/// Gives the log time to be freed, if anybody frees the segment `name`.
fn wait_while_there(files: &dyn Fs, name: &String) {
    let start = Instant::now();
    while files_in(files, "wal").contains(name) && start.elapsed() < ENOUGH {
        thread::yield_now();
    }
}

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
    let (_guard, hold) = Hold::at("keyspace.before_edit");
    let dropping = start_late({
        let db = db.clone();
        move || db.drop_keyspace("dropped").unwrap()
    });
    hold.wait_for_arrival("the drop is logged");
    let oldest = files_in(&files, "wal").remove(0);

    for n in 0..100_u32 {
        other.insert(n.to_be_bytes(), [n as u8; 1000]).unwrap();
    }
    wait_until("the other keyspace is flushed", || other.stats().tree.flushes > 0);
    wait_while_there(&files, &oldest);
    let crashed = files.deep_clone();
    let held = db.stats().wal_segments;
    drop(hold);
    assert!(dropping.join().unwrap());

    let found = small(crashed).open().unwrap();
    assert!(found.get_keyspace("dropped").unwrap().is_none(), "{:?}", found.keyspaces());
    assert!(found.get_keyspace("other").unwrap().is_some());
    wait_until("the log is freed behind the edit", || db.stats().wal_segments < held);
}

/// Holds the first flush before it begins, and tells when one has ended.
struct HoldsFlush<F> {
    hold: F,
    ended: mpsc::Sender<()>,
}

impl<F: Fn() + Send + Sync + 'static> EventListener for HoldsFlush<F> {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::FlushBegin { .. } => (self.hold)(),
            Event::FlushEnd { .. } => drop(self.ended.send(())),
            _ => {}
        }
    }
}

/// A commit was logged, and not applied yet; the next one began a segment. A flush that ended then found nothing
/// of the first one in memory, and freed the segment that alone held it. A crash lost it, and kept the next one.
#[test]
fn a_commit_that_is_logged_and_not_applied_keeps_its_segment() {
    const BUFFER_BYTES: usize = 96 << 10;
    const SEGMENT_BYTES: usize = 64 << 10;
    let files = MemFs::new();
    let (hold_flush, flush) = Hold::new();
    let (ended, flushes) = mpsc::channel();
    let builder = small(files.clone()).write_buffer_bytes(BUFFER_BYTES as u64);
    let db = builder.listener(HoldsFlush { hold: hold_flush, ended }).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    ks.insert("memtable of its own", vec![0; BUFFER_BYTES]).unwrap();
    flush.wait_for_arrival("it is to be flushed");

    let (_guard, apply) = Hold::at("commit.before_apply");
    let late = start_late({
        let ks = ks.clone();
        move || ks.insert("late", "v").unwrap()
    });
    apply.wait_for_arrival("it is logged");
    let its_segment = files_in(&files, "wal").pop().unwrap();
    let behind = thread::spawn({
        let ks = ks.clone();
        move || ks.insert("behind", vec![0; SEGMENT_BYTES]).unwrap()
    });
    wait_until("it is logged in a segment of its own", || {
        db.stats().wal_bytes > (BUFFER_BYTES + SEGMENT_BYTES) as u64
    });
    drop(flush);
    flushes.recv_timeout(SOON).expect("it ends");
    wait_while_there(&files, &its_segment);
    let crashed = files.deep_clone();
    drop(apply);
    assert!(late.join().unwrap() < behind.join().unwrap());

    let found = small(crashed).open().unwrap().get_keyspace("k").unwrap().unwrap();
    assert_eq!(found.get("behind").unwrap().map(|value| value.len()), Some(SEGMENT_BYTES));
    assert_eq!(found.get("late").unwrap().as_deref(), Some(&b"v"[..]), "INV-WAL-5: a prefix");
}
