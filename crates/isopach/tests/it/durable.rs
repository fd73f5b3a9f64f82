//! Hearing of durable commits without waiting for them.

use isopach::{
    Db, ErrorKind, Event, EventListener, Keyspace, Result,
    env::{Call, Fault, FaultFs, Fs, MemFs, Rule},
};
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};
use testkit::db::{SOON, small};

fn open(fs: impl Fs) -> (Db, Keyspace) {
    let db = small(fs).threads(2).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    (db, keyspace)
}

/// A call that says what it heard.
fn heard() -> (impl FnOnce(Result<()>) + Send + 'static, mpsc::Receiver<Result<()>>) {
    let (told, heard) = mpsc::channel();
    (move |result| told.send(result).unwrap(), heard)
}

#[test]
fn a_call_is_made_when_its_commit_is_durable() {
    let (db, ks) = open(MemFs::new());
    let seqno = ks.insert("k", "v").unwrap();
    assert!(db.durable_seqno() < seqno);
    let (call, outcome) = heard();

    db.on_durable(seqno, call);

    outcome.recv_timeout(SOON).unwrap().unwrap();
    assert!(db.durable_seqno() >= seqno, "a sync was started for it");
}

#[test]
fn where_there_is_nothing_to_wait_for_the_call_is_made_at_once() {
    let (db, ks) = open(MemFs::new());
    ks.insert("k", "v").unwrap();
    let durable = db.sync().unwrap();
    let (first, second) = (heard(), heard());

    db.on_durable(durable, first.0);
    db.on_durable(durable.checked_add(1).unwrap(), second.0);

    first.1.try_recv().unwrap().unwrap();
    assert_eq!(second.1.try_recv().unwrap().unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_failed_sync_is_told_to_all_who_wait() {
    let faults = FaultFs::new(Arc::new(MemFs::new()));
    let (db, ks) = open(faults.clone());
    let before = ks.insert("k", "v").unwrap();
    faults.arm(Rule::new(Fault::FailThenLie).on(Call::Sync).named("wal/*"));
    let calls = [heard(), heard()];

    let outcomes = calls.map(|(call, outcome)| {
        db.on_durable(before, call);
        outcome
    });

    for outcome in outcomes {
        assert_eq!(outcome.recv_timeout(SOON).unwrap().unwrap_err().kind(), ErrorKind::Poisoned);
    }
    let (call, outcome) = heard();
    db.on_durable(before, call);
    assert_eq!(
        outcome.recv_timeout(SOON).unwrap().unwrap_err().kind(),
        ErrorKind::Poisoned,
        "later ones, too"
    );
}

#[test]
fn closing_makes_the_calls_that_wait() {
    for _ in 0..20 {
        let (db, ks) = open(MemFs::new());
        let seqno = ks.insert("k", "v").unwrap();
        let (call, outcome) = heard();
        db.on_durable(seqno, call);
        let late = db.clone();

        db.close().unwrap();

        outcome.recv_timeout(SOON).unwrap().unwrap();
        let (call, outcome) = heard();
        late.on_durable(seqno, call);
        assert_eq!(outcome.recv_timeout(SOON).unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[derive(Clone, Default)]
struct Panics(Arc<AtomicU64>);

impl EventListener for Panics {
    fn on_event(&self, event: &Event<'_>) {
        if matches!(event, Event::ListenerPanicked) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_call_that_panics_is_told_and_harms_nobody() {
    let panics = Panics::default();
    let db = small(MemFs::new()).listener(panics.clone()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let seqno = ks.insert("k", "v").unwrap();
    let (call, outcome) = heard();

    db.on_durable(seqno, |_| panic!("a call of a test"));
    db.on_durable(seqno, call);

    outcome.recv_timeout(SOON).unwrap().unwrap();
    db.wait_idle(SOON).unwrap();
    assert_eq!(panics.0.load(Ordering::SeqCst), 1);
    ks.insert("l", "v").unwrap();
}

#[test]
fn a_call_may_let_the_last_handle_go() {
    let fs = MemFs::new();
    let (db, ks) = open(fs.clone());
    let seqno = ks.insert("k", "v").unwrap();
    let (closed, is_closed) = mpsc::channel();
    db.on_closed(move || closed.send(()).unwrap());
    let last = db.clone();
    drop(ks);

    db.on_durable(seqno, move |result| {
        result.unwrap();
        drop(last);
    });
    drop(db);

    is_closed.recv_timeout(SOON).unwrap();
    assert_eq!(open(fs).1.name(), "k");
}

/// Wakes the thread that waits for a future.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_future_ends_when_its_commit_is_durable() {
    let (db, ks) = open(MemFs::new());
    let seqno = ks.insert("k", "v").unwrap();
    let future = db.durable(seqno);
    assert!(db.durable_seqno() < seqno, "nothing happens before it is polled");

    block_on(future).unwrap();

    assert!(db.durable_seqno() >= seqno);
    block_on(db.durable(seqno)).unwrap();
    let above = db.durable(seqno.checked_add(1).unwrap());
    assert_eq!(block_on(above).unwrap_err().kind(), ErrorKind::InvalidArgument);
}
