//! Commit: requests are put in order, logged with one write a group, applied, published, and synced if asked.
//!
//! One writer at a time leads: it takes everybody who waits as its group. The order of commits is the order in
//! which leaders take them. Reads top-down: [`Commits::commit`] is the whole story.

use super::{Debt, Throttle, operations::decode_operations, rate};
use crate::{
    error::{Error, ErrorKind, Result},
    notes::RESERVED,
    options::Durability,
    space::Space,
    views::LiveViews,
    wal::{AppendRecord, RecordKind, Wal},
};
use isopach_engine::{
    codec::LogPosition,
    memtable::Operation,
    store::Store,
    types::{Seqno, SharedBytes, TreeId, UnixUs},
    version::Note,
};
use isopach_env::{
    Clock,
    sync::{Condvar, Mutex, Rank},
};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

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
/// Of waiting for memory.
const MEMORY: Rank = Rank::new(28, "commit.memory");

/// Most bytes of a group; a single larger request is a group of its own.
const MAX_GROUP_BYTES: usize = 1 << 20;

/// Numbers reserved at once: they are lost at an unclean end.
const SEQNO_BLOCK: u64 = 1 << 20;

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
struct Waiter {
    request: Option<Request>,
    outcome: Mutex<Outcome>,
    changed: Condvar,
}

enum Outcome {
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
    store: Store,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    numbering: Mutex<Numbering>,
    /// End of the last group in the log, and its last operation. A sync that starts now covers both.
    tail: Mutex<(LogPosition, Seqno)>,
    /// Everything up to here is on the medium. Written under `durable_wait`, read without.
    durable: AtomicU64,
    durable_wait: Mutex<()>,
    became_durable: Condvar,
    /// Bytes of all memtables.
    memtable_bytes: AtomicU64,
    memtable_limit: u64,
    memory_wait: Mutex<()>,
    memory_freed: Condvar,
    /// Bytes of keys and values that callers wrote.
    accepted_bytes: AtomicU64,
    /// The last group found no room for the log.
    is_out_of_space: AtomicBool,
    /// How far the log is between the length at which it is shortened and its bound, in 1024ths.
    log_excess: AtomicU64,
}

impl Waiter {
    fn new(request: Option<Request>) -> Waiter {
        Waiter { request, outcome: Mutex::new(OUTCOME, Outcome::Waiting), changed: Condvar::new() }
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Waiter>>,
    has_leader: bool,
}

struct Numbering {
    next: Seqno,
    /// Numbers up to here may be given out: the edit that says so is durable.
    reserved: Seqno,
    /// Greatest commit time so far; times never go back.
    last_time: UnixUs,
}

/// Where the pipeline starts.
pub(crate) struct Start {
    /// The last number that may have been given out before.
    pub(crate) last_used: Seqno,
    pub(crate) last_time: UnixUs,
    pub(crate) memtable_limit: u64,
}

/// Alone in the order of commits: nobody appends or applies while it is held.
pub(crate) struct Order<'c> {
    commits: &'c Commits,
}

impl Commits {
    pub(crate) fn new(store: Store, wal: Wal, views: Arc<LiveViews>, start: Start) -> Commits {
        let numbering = Numbering {
            next: start.last_used.checked_add(1).unwrap_or(Seqno::MAX),
            reserved: start.last_used,
            last_time: start.last_time,
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
            is_out_of_space: AtomicBool::new(false),
            log_excess: AtomicU64::new(0),
        }
    }

    /// Carries a request out and returns the number of its last operation: logged, applied, visible, and durable
    /// if that was asked.
    ///
    /// `after_group` runs in the order of commits, behind each group that this thread led.
    ///
    /// # Errors
    ///
    /// `KeyspaceDropped`, `OutOfSpace`, `Io`: nothing happened. `Poisoned`: a sync failed; whether this commit
    /// survives is known after reopening.
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

    // ----- memory -----

    /// Memory of all memtables.
    pub(crate) fn memtable_bytes(&self) -> u64 {
        self.memtable_bytes.load(Ordering::Relaxed)
    }

    /// What [`Commits::memtable_bytes`] should stay within.
    pub(crate) fn memtable_limit(&self) -> u64 {
        self.memtable_limit
    }

    /// Memtables of recovery count too.
    pub(crate) fn add_memory(&self, bytes: u64) {
        self.memtable_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Memtables became tables.
    pub(crate) fn free_memory(&self, bytes: u64) {
        self.memtable_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.wake_writers();
    }

    /// Those who wait for memory look again: there is more, or they should give up.
    pub(crate) fn wake_writers(&self) {
        let _wait = self.memory_wait.lock();
        self.memory_freed.notify_all();
    }

    /// Slows a writer by what is owed to the background, and holds it while memtables fill their part of the
    /// budget. `gives_up` says why waiting makes no sense any more.
    ///
    /// # Errors
    ///
    /// What `gives_up` said.
    pub(crate) fn admit(
        &self,
        bytes: u64,
        spaces: &[Arc<Space>],
        gives_up: &dyn Fn() -> Option<Error>,
    ) -> Result<()> {
        if let Some((_, bytes_per_s)) = rate(self.debt(spaces)) {
            self.throttle.wait(&*self.clock, bytes, bytes_per_s);
        }
        if self.memtable_bytes() < self.memtable_limit {
            return Ok(());
        }
        let since = self.clock.monotonic();
        let mut wait = self.memory_wait.lock();
        while self.memtable_bytes() >= self.memtable_limit {
            if let Some(error) = gives_up() {
                return Err(error);
            }
            // The limit of the wait only guards against a wake-up lost with its thread.
            wait = self.memory_freed.wait_timeout(wait, Duration::from_millis(200)).0;
        }
        drop(wait);
        self.throttle.note_wait(self.clock.monotonic().saturating_sub(since));
        Ok(())
    }

    /// What the background owes to writers of these keyspaces.
    pub(crate) fn debt(&self, spaces: &[Arc<Space>]) -> Debt {
        let most = |of: fn(&Space) -> &AtomicU64| {
            spaces.iter().map(|space| of(space).load(Ordering::Relaxed)).max().unwrap_or(0)
        };
        Debt {
            l0_runs: most(|space| &space.l0_runs),
            compaction_bytes: most(|space| &space.debt_bytes),
            memtable_bytes: self.memtable_bytes(),
            memtable_limit: self.memtable_limit,
            log_excess: self.log_excess.load(Ordering::Relaxed),
        }
    }

    /// Whether the last group found no room for the log.
    pub(crate) fn is_out_of_space(&self) -> bool {
        self.is_out_of_space.load(Ordering::Relaxed)
    }

    /// Tells writers how long the log is. Whether it is longer than `bound`.
    pub(crate) fn note_log(&self, bound: u64) -> bool {
        let bytes = self.wal.bytes();
        self.log_excess.store(bytes.saturating_sub(bound) * 1024 / (bound / 15).max(1), Ordering::Relaxed);
        bytes > bound
    }

    /// Bytes that callers wrote.
    pub(crate) fn accepted_bytes(&self) -> u64 {
        self.accepted_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Order<'_> {
    /// The next who waits leads, if there is one.
    fn drop(&mut self) {
        let mut queue = self.commits.queue.lock();
        match queue.waiting.front() {
            Some(next) => {
                *next.outcome.lock() = Outcome::Leads;
                next.changed.notify_one();
            }
            None => queue.has_leader = false,
        }
    }
}

impl Order<'_> {
    /// The newest commit: everything up to it is applied.
    pub(crate) fn visible(&self) -> Seqno {
        self.commits.views.visible()
    }

    /// The last number given out, and the time of its commit: the next commit's are above.
    pub(crate) fn last_used(&self) -> (Seqno, UnixUs) {
        let numbering = self.commits.numbering.lock();
        (numbering.next.before(), numbering.last_time)
    }

    /// Logs, applies and publishes a group. A result for each member.
    fn carry_out(&self, group: &[&Request]) -> Vec<Result<Seqno>> {
        let commits = self.commits;
        if let Some(error) = commits.poisoned() {
            return group.iter().map(|_| Err(error.clone())).collect();
        }
        let mut results: Vec<Result<Seqno>> = Vec::with_capacity(group.len());
        let mut dropped_in_group: Vec<TreeId> = Vec::new();
        for member in group {
            let gone = |space: &&Arc<Space>| space.is_dropped() || dropped_in_group.contains(&space.id);
            results.push(match member.spaces.iter().find(gone) {
                Some(space) => Err(space.dropped_error()),
                None => Ok(Seqno::ZERO),
            });
            if let (Change::Drop(space), Ok(_)) = (&member.change, &results[results.len() - 1]) {
                dropped_in_group.push(space.id);
            }
        }

        let total = group.iter().zip(&results).filter(|(_, result)| result.is_ok());
        let total: u64 = total.map(|(member, _)| u64::from(member.count)).sum();
        if total == 0 {
            return results;
        }
        let fail_all = |results: Vec<Result<Seqno>>, error: Error| {
            results.into_iter().map(|result| result.and_then(|_| Err(error.clone()))).collect()
        };
        let (mut next, time) = match self.take_numbers(total) {
            Ok(taken) => taken,
            Err(error) => return fail_all(results, error),
        };
        let mut records = Vec::with_capacity(group.len());
        let mut last = next.before();
        for (member, result) in group.iter().zip(&mut results).filter(|(_, result)| result.is_ok()) {
            let Request { count, body, durability, change, .. } = *member;
            let kind = if matches!(change, Change::Batch) { RecordKind::Batch } else { RecordKind::Keyspace };
            if *durability != Durability::Volatile {
                records.push(AppendRecord { kind, first_seqno: next, count: *count, time, body });
            }
            last = next.checked_add(u64::from(*count) - 1).expect("the numbers were taken");
            *result = Ok(last);
            next = last.checked_add(1).unwrap_or(Seqno::MAX);
        }
        let appended = if records.is_empty() { Ok(None) } else { commits.wal.append(&records).map(Some) };
        match appended {
            Ok(end) => {
                let mut tail = commits.tail.lock();
                *tail = (end.unwrap_or(tail.0), last);
                commits.is_out_of_space.store(false, Ordering::Relaxed);
            }
            // The numbers stay void: nothing was applied under them.
            Err(error) => {
                let lacks_space = error.kind() == isopach_engine::error::ErrorKind::OutOfSpace;
                commits.is_out_of_space.store(lacks_space, Ordering::Relaxed);
                return fail_all(results, error.into());
            }
        }
        for (member, result) in group.iter().zip(&results) {
            if let Ok(last) = result {
                self.apply(member, *last);
            }
        }
        commits.views.publish(last); // Everything up to it is applied (INV-WAL-2).
        results
    }

    /// Numbers for `count` operations, and the time of their commit.
    fn take_numbers(&self, count: u64) -> Result<(Seqno, UnixUs)> {
        let commits = self.commits;
        let mut numbering = commits.numbering.lock();
        let exhausted = || Error::new(ErrorKind::InvalidArgument, "sequence numbers are used up");
        let last = numbering.next.checked_add(count - 1).ok_or_else(exhausted)?;
        if last > numbering.reserved {
            let upto = last.checked_add(SEQNO_BLOCK).unwrap_or(Seqno::MAX);
            let note = Note::new(RESERVED, upto.raw().to_le_bytes());
            commits.store.commit(&[note])?;
            numbering.reserved = upto;
        }
        let first = numbering.next;
        numbering.next = last.checked_add(1).ok_or_else(exhausted)?;
        numbering.last_time = numbering.last_time.max(UnixUs(commits.clock.unix_us()));
        Ok((first, numbering.last_time))
    }

    /// Applies a request whose last operation is `last`.
    fn apply(&self, request: &Request, last: Seqno) {
        let commits = self.commits;
        match &request.change {
            Change::Create => {}
            Change::Drop(space) => space.mark_dropped(),
            Change::Batch => {
                let first =
                    Seqno::from_raw(last.raw() + 1 - u64::from(request.count)).expect("below the last");
                let mut per_tree: Vec<Vec<Operation>> = request.spaces.iter().map(|_| Vec::new()).collect();
                let place = |tree: TreeId, operation| {
                    let at = request.spaces.iter().position(|space| space.id == tree);
                    per_tree[at.expect("a batch names its keyspaces")].push(operation);
                };
                let body = 0..request.body.len();
                decode_operations(&request.body, body, first, request.count, place)
                    .expect("our own encoding");
                for (space, operations) in request.spaces.iter().zip(per_tree) {
                    if request.durability == Durability::Volatile {
                        space.last_volatile.store(last.raw(), Ordering::Relaxed);
                    }
                    let applied = space.tree.apply_operations(operations);
                    let applied = applied.expect("INV-WAL-4: numbers above every boundary are not flushed");
                    commits.add_memory(applied.bytes);
                }
                commits.accepted_bytes.fetch_add(request.body.len() as u64, Ordering::Relaxed);
            }
        }
    }
}
