//! Commit: requests are put in order, logged with one write a group, applied, published, and synced if asked.
//!
//! One writer at a time leads: it takes everybody who waits as its group. The order of commits is the order
//! in which leaders take them. Reads top-down: [`Commits::commit`] is the whole story.

use super::{Order, Throttle};
use crate::{
    error::{Error, ErrorKind, Result},
    options::Durability,
    space::Space,
    views::LiveViews,
    wal::Wal,
};
use isopach_engine::{
    codec::LogPosition,
    store::Store,
    types::{Seqno, SharedBytes, UnixUs},
};
use isopach_env::{
    Clock,
    sync::{
        Condvar, Mutex, Rank,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use std::{collections::VecDeque, sync::Arc};

/// Of who leads and who waits. Held for moments.
const QUEUE: Rank = Rank::new(10, "commit.queue");
/// Of one request's outcome.
const OUTCOME: Rank = Rank::new(11, "commit.outcome");
/// Of the numbering; taken by the leader only, so nobody ever waits.
const NUMBERING: Rank = Rank::new(12, "commit.numbering");
/// Of the end of what was appended.
const TAIL: Rank = Rank::new(26, "commit.tail");
/// Of waiting for durable commits.
const DURABLE: Rank = Rank::new(27, "commit.durable");
/// Of the want of space that lasts. Held for moments.
const SPACE: Rank = Rank::new(29, "commit.space");
/// Of waiting for memory.
const MEMORY: Rank = Rank::new(28, "commit.memory");

/// Most bytes of a group; a single larger request is a group of its own.
const MAX_GROUP_BYTES: usize = 1 << 20;

/// A write under way.
pub(crate) struct Request {
    pub(crate) change: Change,
    /// Keyspaces it names; it is refused if one was dropped before it.
    pub(crate) spaces: Vec<Arc<Space>>,
    /// Number of operations, at least 1.
    pub(crate) count: u32,
    /// Encoded.
    pub(crate) body: SharedBytes,
    pub(crate) durability: Durability,
}

/// What a request does.
#[derive(Clone)]
pub(crate) enum Change {
    /// Operations on keyspaces.
    Batch,
    /// A keyspace is created: takes its place in the order, no operation.
    Create,
    /// A keyspace is dropped: writes that come later in the order are refused.
    Drop(Arc<Space>),
}

/// A place in the queue: of a request, or of somebody who wants to be alone in the order of commits.
pub(super) struct Waiter {
    pub(super) request: Option<Request>,
    pub(super) outcome: Mutex<Outcome>,
    pub(super) changed: Condvar,
}

pub(super) enum Outcome {
    Waiting,
    /// The writer that waits leads the next group.
    Leads,
    Done(Result<Seqno>),
}

/// The commit pipeline of an open database.
pub(crate) struct Commits {
    pub(crate) wal: Wal,
    pub(crate) views: Arc<LiveViews>,
    pub(crate) throttle: Throttle,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queue: Mutex<Queue>,
    pub(super) numbering: Mutex<Numbering>,
    /// End of the last group in the log, and its last operation. A sync that starts now covers both.
    pub(super) tail: Mutex<(LogPosition, Seqno)>,
    /// Everything up to here is on the medium. Written under `durable_wait`, read without.
    durable: AtomicU64,
    durable_wait: Mutex<()>,
    became_durable: Condvar,
    /// Bytes of all memtables.
    pub(super) memtable_bytes: AtomicU64,
    pub(super) memtable_limit: u64,
    pub(super) memory_wait: Mutex<()>,
    pub(super) memory_freed: Condvar,
    /// Bytes of keys and values that callers wrote.
    pub(super) accepted_bytes: AtomicU64,
    /// Why the last group failed, if that was for want of space.
    out_of_space: Mutex<Option<Error>>,
    /// Whether `out_of_space` is set; for those who only look.
    is_out_of_space: AtomicBool,
    /// How far the log is between the length at which it is shortened and its bound, in 1024ths.
    pub(super) log_excess: AtomicU64,
}

impl Waiter {
    fn new(request: Option<Request>) -> Waiter {
        Waiter { request, outcome: Mutex::new(OUTCOME, Outcome::Waiting), changed: Condvar::new() }
    }
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Arc<Waiter>>,
    pub(super) has_leader: bool,
}

pub(super) struct Numbering {
    pub(super) next: Seqno,
    /// Numbers up to here may be given out: the edit that says so is durable.
    pub(super) reserved: Seqno,
    /// Greatest commit time so far; times never go back.
    pub(super) last_time: UnixUs,
    /// The database is closing: no number is given out any more.
    pub(super) has_ended: bool,
}

/// Where the pipeline starts.
pub(crate) struct Start {
    /// The last number that may have been given out before.
    pub(crate) last_used: Seqno,
    pub(crate) last_time: UnixUs,
    pub(crate) memtable_limit: u64,
}

impl Commits {
    pub(crate) fn new(store: Store, wal: Wal, views: Arc<LiveViews>, start: Start) -> Commits {
        let numbering = Numbering {
            next: start.last_used.checked_add(1).unwrap_or(Seqno::MAX),
            reserved: start.last_used,
            last_time: start.last_time,
            has_ended: false,
        };
        let visible = views.visible();
        Commits {
            tail: Mutex::new(TAIL, (wal.end(), visible)),
            durable: AtomicU64::new(visible.raw()),
            clock: Arc::clone(&store.env().clock),
            wal,
            views,
            throttle: Throttle::default(),
            store,
            queue: Mutex::new(QUEUE, Queue::default()),
            numbering: Mutex::new(NUMBERING, numbering),
            durable_wait: Mutex::new(DURABLE, ()),
            became_durable: Condvar::new(),
            memtable_bytes: AtomicU64::new(0),
            memtable_limit: start.memtable_limit,
            memory_wait: Mutex::new(MEMORY, ()),
            memory_freed: Condvar::new(),
            accepted_bytes: AtomicU64::new(0),
            out_of_space: Mutex::new(SPACE, None),
            is_out_of_space: AtomicBool::new(false),
            log_excess: AtomicU64::new(0),
        }
    }

    /// Carries a request out and returns the number of its last operation: logged, applied, visible, and
    /// durable if that was asked.
    ///
    /// `after_group` runs in the order of commits, behind each group that this thread led.
    ///
    /// # Errors
    ///
    /// `KeyspaceDropped`, `OutOfSpace`, `Io`: nothing happened. `Poisoned`: a sync failed; whether this
    /// commit survives is known after reopening.
    pub(crate) fn commit(
        &self,
        request: Request,
        after_group: &dyn Fn(&Order<'_>, &[Arc<Space>]),
    ) -> Result<Seqno> {
        let durability = request.durability;
        let seqno = self.take_turn(request, after_group)?;
        if durability == Durability::Sync {
            self.sync_through(seqno)?;
        }
        Ok(seqno)
    }

    /// Waits until a leader carried the request out, or leads.
    fn take_turn(&self, request: Request, after_group: &dyn Fn(&Order<'_>, &[Arc<Space>])) -> Result<Seqno> {
        let waiter = Arc::new(Waiter::new(Some(request)));
        if let Some(result) = self.wait_to_lead(&waiter) {
            return result;
        }
        // From here on this thread is alone in the order of commits, until `order` goes.
        let order = Order { commits: self };
        let group = self.take_group();
        let requests: Vec<&Request> = group.iter().filter_map(|member| member.request.as_ref()).collect();
        let results = order.carry_out(&requests);
        let spaces: Vec<Arc<Space>> =
            requests.iter().flat_map(|request| request.spaces.iter().cloned()).collect();
        let mut own = None;
        for (member, result) in group.iter().zip(results) {
            if Arc::ptr_eq(member, &waiter) {
                own = Some(result);
            } else {
                *member.outcome.lock() = Outcome::Done(result);
                member.changed.notify_one();
            }
        }
        after_group(&order, &spaces);
        own.expect("a leader is the first of its group")
    }

    /// Waits in the queue. `None`: this thread leads now, and its waiter is the first in the queue.
    fn wait_to_lead(&self, waiter: &Arc<Waiter>) -> Option<Result<Seqno>> {
        let leads = {
            let mut queue = self.queue.lock();
            queue.waiting.push_back(Arc::clone(waiter));
            !std::mem::replace(&mut queue.has_leader, true)
        };
        if leads {
            return None;
        }
        let mut outcome = waiter.outcome.lock();
        loop {
            match std::mem::replace(&mut *outcome, Outcome::Waiting) {
                Outcome::Waiting => outcome = waiter.changed.wait(outcome),
                Outcome::Leads => return None,
                Outcome::Done(result) => return Some(result),
            }
        }
    }

    /// The requests that wait, in order, the leader's own first. Stops before who wants to be alone.
    fn take_group(&self) -> Vec<Arc<Waiter>> {
        let mut queue = self.queue.lock();
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(request) = queue.waiting.front().and_then(|next| next.request.as_ref()) {
            bytes += request.body.len();
            if !group.is_empty() && bytes > MAX_GROUP_BYTES {
                break;
            }
            group.extend(queue.waiting.pop_front());
        }
        group
    }

    /// Waits its turn, and is alone in the order of commits while the result is held.
    pub(crate) fn order(&self) -> Order<'_> {
        let waiter = Arc::new(Waiter::new(None));
        let outcome = self.wait_to_lead(&waiter);
        debug_assert!(outcome.is_none(), "nothing was requested");
        self.queue.lock().waiting.pop_front();
        Order { commits: self }
    }

    /// Why nothing can be written, if so.
    pub(crate) fn poisoned(&self) -> Option<Error> {
        self.wal.poisoned().or_else(|| self.store.poisoned()).map(Error::from)
    }

    /// Says whether anything can be written.
    ///
    /// # Errors
    ///
    /// [`Commits::poisoned`].
    pub(crate) fn check(&self) -> Result<()> {
        self.poisoned().map_or(Ok(()), Err)
    }

    // ----- space -----

    /// Why commits fail for want of space, if they do.
    pub(crate) fn out_of_space(&self) -> Option<Error> {
        if self.is_out_of_space.load(Ordering::Acquire) { self.out_of_space.lock().clone() } else { None }
    }

    /// A group was committed, or failed with this.
    pub(super) fn note_space(&self, failure: Option<&Error>) {
        let lacking = failure.filter(|error| error.kind() == ErrorKind::OutOfSpace);
        if lacking.is_some() || self.is_out_of_space.load(Ordering::Relaxed) {
            let mut out_of_space = self.out_of_space.lock();
            *out_of_space = lacking.cloned();
            self.is_out_of_space.store(lacking.is_some(), Ordering::Release);
        }
    }

    /// Sees whether what a group lacked is there now: the want of space ends without a write that asks.
    pub(crate) fn look_for_space(&self) {
        let found = self.wal.look_for_room().and_then(|()| self.store.commit(&[]));
        let failure = found.err().map(Error::from);
        if failure.as_ref().is_none_or(|error| error.kind() == ErrorKind::OutOfSpace) {
            self.note_space(failure.as_ref());
        }
    }

    // ----- durability -----

    /// Everything up to here survives a power loss, `Volatile` writes excepted.
    pub(crate) fn durable(&self) -> Seqno {
        Seqno::from_raw(self.durable.load(Ordering::Acquire)).expect("only valid numbers become durable")
    }

    /// Makes everything appended so far durable, and returns up to where.
    ///
    /// # Errors
    ///
    /// `Poisoned`.
    pub(crate) fn sync(&self) -> Result<Seqno> {
        // Whatever poisoned: the log might be synced all the same, but its keyspaces could not be found
        // again.
        self.check()?;
        let (position, seqno) = *self.tail.lock();
        self.wal.sync_through(position)?;
        let _wait = self.durable_wait.lock();
        self.durable.fetch_max(seqno.raw(), Ordering::AcqRel);
        self.became_durable.notify_all();
        Ok(seqno)
    }

    /// Returns when `seqno`, which was committed, is durable.
    ///
    /// # Errors
    ///
    /// `Poisoned`.
    pub(crate) fn sync_through(&self, seqno: Seqno) -> Result<()> {
        if self.durable() < seqno {
            self.sync()?;
        }
        Ok(())
    }
}
