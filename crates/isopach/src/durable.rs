//! Those who hear of durable commits without waiting for them: calls, and a future made of one.

use crate::error::Result;
use isopach_engine::types::Seqno;
use isopach_env::sync::{
    Mutex, Rank,
    atomic::{AtomicUsize, Ordering},
};
use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Of calls to come. Held for moments, never while one is made.
const CALLS: Rank = Rank::new(26, "durable.calls");
/// Of one future's outcome.
const OUTCOME: Rank = Rank::new(97, "durable.outcome");

/// What is called once, with the outcome.
pub(crate) type Call = Box<dyn FnOnce(Result<()>) + Send>;

/// Calls to be made when a commit is durable, or cannot become so.
pub(crate) struct DurableCalls {
    waiting: Mutex<Vec<(Seqno, Call)>>,
    /// How many wait; for those who only look.
    count: AtomicUsize,
}

impl DurableCalls {
    pub(crate) fn new() -> DurableCalls {
        DurableCalls { waiting: Mutex::new(CALLS, Vec::new()), count: AtomicUsize::new(0) }
    }

    pub(crate) fn add(&self, seqno: Seqno, call: Call) {
        let mut waiting = self.waiting.lock();
        waiting.push((seqno, call));
        self.count.store(waiting.len(), Ordering::SeqCst);
    }

    /// Those that wait for `upto` or less.
    pub(crate) fn take_through(&self, upto: Seqno) -> Vec<Call> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let mut waiting = self.waiting.lock();
        let (due, rest): (Vec<_>, Vec<_>) =
            mem::take(&mut *waiting).into_iter().partition(|(seqno, _)| *seqno <= upto);
        self.count.store(rest.len(), Ordering::SeqCst);
        *waiting = rest;
        due.into_iter().map(|(_, call)| call).collect()
    }
}

/// The outcome of a call, for a future that waits for it.
struct Outcome(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    result: Option<Result<()>>,
    waker: Option<Waker>,
}

/// A call, and the future of its outcome.
pub(crate) fn call_and_future() -> (Call, Future) {
    let outcome = Arc::new(Outcome(Mutex::new(OUTCOME, Waiting::default())));
    let future = Future(Arc::clone(&outcome));
    (Box::new(move |result| outcome.set(result)), future)
}

impl Outcome {
    fn set(&self, result: Result<()>) {
        let waker = {
            let mut waiting = self.0.lock();
            waiting.result = Some(result);
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// See [`call_and_future`].
pub(crate) struct Future(Arc<Outcome>);

impl std::future::Future for Future {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let mut waiting = self.0.0.lock();
        match waiting.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
