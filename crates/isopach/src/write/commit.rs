//! Commit: a request gets its place in the order, is logged, applied, published in order, and synced if asked.
//!
//! Reads top-down: [`Commits::commit`] is the whole story. No lock is held over an I/O, and an uncontended write
//! to a mapped log makes no system call: its record is stored under the lock of the [order](super::order), it is
//! applied beside others, and [published](super::in_flight) by whoever is done last. Records for a log that is
//! written wait for a [group](super::group): one thread writes it, and all go on from there.

use super::{
    Throttle,
    group::Body,
    in_flight::InFlight,
    operations::{decode_by_space, decode_operations},
    order::{Entered, Ordered},
};
use crate::{
    ends::CommitEnds,
    error::{Error, ErrorKind, Result},
    options::Durability,
    space::Space,
    views::LiveViews,
    waiting::Turn,
    wal::Wal,
};
use isopach_engine::{
    memtable::{Operation, SortedBatch},
    store::Store,
    types::Seqno,
};
use isopach_env::{
    Clock,
    sync::{
        Condvar, Mutex, Rank,
        atomic::{AtomicBool, AtomicU64, Ordering},
        point,
    },
};
use std::sync::Arc;

/// Of who reserves numbers.
const RESERVING: Rank = Rank::new(8, "commit.reserving");
/// Of who writes a group.
const WRITING: Rank = Rank::new(9, "commit.writing");
/// Of the order of commits. Held for moments.
const ORDERED: Rank = Rank::new(10, "commit.ordered");
/// Of the want of space that lasts. Held for moments.
const SPACE: Rank = Rank::new(29, "commit.space");
/// Of waiting for memory.
const MEMORY: Rank = Rank::new(28, "commit.memory");

/// A write under way.
pub(crate) struct Request<'a> {
    pub(crate) change: Change,
    /// Keyspaces it names; it is refused if one was dropped before it.
    pub(crate) spaces: &'a [Arc<Space>],
    /// Number of operations, at least 1.
    pub(crate) count: u32,
    /// Encoded.
    pub(crate) body: Body<'a>,
    pub(crate) durability: Durability,
}

impl Request<'_> {
    /// Whether its operations are memtables of their own.
    pub(crate) fn is_large(&self) -> bool {
        matches!(self.change, Change::Large(_))
    }
}

/// What a request does.
#[derive(Clone)]
pub(crate) enum Change {
    /// Operations on keyspaces.
    Batch,
    /// As many as a memtable holds: of each keyspace those that go to it.
    Large(Vec<Arc<SortedBatch>>),
    /// A keyspace is created: takes its place in the order, no operation.
    Create,
    /// A keyspace is dropped: writes that come later in the order are refused.
    Drop(Arc<Space>),
    /// A keyspace is cleared, by who commits: see [`Order::commit_with`](super::Order::commit_with).
    Clear,
    /// Tables of bulk loads are shown, by who commits.
    Ingest,
}

/// A write that is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    /// Its last operation.
    pub(crate) seqno: Seqno,
    /// Of the memtables it was applied to, the size of the largest.
    pub(crate) memtable_bytes: u64,
}

/// The commit pipeline of an open database.
pub(crate) struct Commits {
    pub(crate) wal: Wal,
    pub(crate) views: Arc<LiveViews>,
    pub(crate) throttle: Throttle,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ordered: Mutex<Ordered>,
    /// Who was alone in the order of commits is not any more.
    pub(super) may_enter: Condvar,
    pub(super) in_flight: InFlight,
    pub(super) reserving: Turn,
    /// Numbers run short.
    pub(super) wants_numbers: AtomicBool,
    writing: Turn,
    /// The last operation of the last group that was written, or failed.
    group_ended: AtomicU64,
    /// Everything up to here is on the medium.
    durable: AtomicU64,
    /// Bytes of all memtables.
    pub(super) memtable_bytes: AtomicU64,
    /// What `memtable_bytes` should stay within. Changes now and then, and is read by itself.
    pub(super) memtable_limit: AtomicU64,
    pub(super) memory_wait: Mutex<()>,
    pub(super) memory_freed: Condvar,
    /// Why the last group failed, if that was for want of space.
    out_of_space: Mutex<Option<Error>>,
    /// Whether `out_of_space` is set; for those who only look.
    is_out_of_space: AtomicBool,
    /// How far the log is between the length at which it is shortened and its bound, in 1024ths.
    pub(super) log_excess: AtomicU64,
}

/// Where the pipeline starts.
pub(crate) struct Start {
    /// The last number that may have been given out before.
    pub(crate) last_used: Seqno,
    /// What may be given out: the edit that says so is durable.
    pub(crate) reserved: Seqno,
    /// Where commits end so far.
    pub(crate) ends: CommitEnds,
    pub(crate) memtable_limit: u64,
}

impl Commits {
    pub(crate) fn new(store: Store, wal: Wal, views: Arc<LiveViews>, start: Start) -> Commits {
        let visible = views.visible();
        Commits {
            durable: AtomicU64::new(visible.raw()),
            clock: Arc::clone(&store.env().clock),
            wal,
            views,
            throttle: Throttle::default(),
            store,
            ordered: Mutex::new(ORDERED, Ordered::new(start.last_used, start.reserved, start.ends)),
            may_enter: Condvar::new(),
            in_flight: InFlight::new(),
            reserving: Turn::new(RESERVING),
            wants_numbers: AtomicBool::new(false),
            writing: Turn::new(WRITING),
            group_ended: AtomicU64::new(0),
            memtable_bytes: AtomicU64::new(0),
            memtable_limit: AtomicU64::new(start.memtable_limit),
            memory_wait: Mutex::new(MEMORY, ()),
            memory_freed: Condvar::new(),
            out_of_space: Mutex::new(SPACE, None),
            is_out_of_space: AtomicBool::new(false),
            log_excess: AtomicU64::new(0),
        }
    }

    /// Carries a request out: logged, applied, visible, and durable if that was asked.
    ///
    /// # Errors
    ///
    /// `KeyspaceDropped`, `OutOfSpace`, `Io`: nothing happened. `Poisoned`: a sync failed; whether this
    /// commit survives is known after reopening.
    pub(crate) fn commit(&self, request: &Request<'_>) -> Result<Committed> {
        // What is a memtable of its own gets its place between others when nobody is on the way.
        let order = request.is_large().then(|| self.order());
        let committed = self.commit_as(request, order.is_some())?;
        drop(order);
        if request.durability == Durability::Sync {
            self.sync_through(committed.seqno)?;
        }
        Ok(committed)
    }

    /// All of [`Commits::commit`] but the sync. `is_alone`: the caller is alone in the order of commits.
    pub(super) fn commit_as(&self, request: &Request<'_>, is_alone: bool) -> Result<Committed> {
        let apply = |first, last| Ok(self.apply(request, first, last));
        let (seqno, memtable_bytes) = self.commit_with(request, is_alone, apply)?;
        Ok(Committed { seqno, memtable_bytes })
    }

    /// Gives a request its place in the order, has it in the log, has `effect` do what it says, given its first and last
    /// number, and then shows it. If `effect` fails the commit is void, with its record in the log.
    #[inline]
    pub(super) fn commit_with<T>(
        &self,
        request: &Request<'_>,
        is_alone: bool,
        effect: impl FnOnce(Seqno, Seqno) -> Result<T>,
    ) -> Result<(Seqno, T)> {
        let Entered { ticket, first, last, waits_for_group } = self.enter(request, is_alone)?;
        let mut flight = Flight { commits: self, ticket, applied: None };
        if waits_for_group {
            self.write_group(last)?;
        }
        point("commit.before_apply");
        let done = effect(first, last)?;
        flight.applied = Some(last);
        drop(flight);
        self.in_flight.waiters.wait_until(|| self.views.visible() >= last);
        Ok((last, done))
    }

    /// What is visible, once that is not below `least`: what somebody is about to publish.
    #[inline]
    pub(crate) fn visible_from(&self, least: Seqno) -> Seqno {
        let visible = self.views.visible();
        if visible >= least { visible } else { self.wait_until_visible(least) }
    }

    #[cold]
    fn wait_until_visible(&self, least: Seqno) -> Seqno {
        self.in_flight.waiters.wait_until(|| self.views.visible() >= least);
        self.views.visible()
    }

    /// Returns when the group is written in which the record with this last operation waits.
    ///
    /// # Errors
    ///
    /// The group failed.
    fn write_group(&self, last: Seqno) -> Result<()> {
        loop {
            let has_ended = || (self.group_ended.load(Ordering::SeqCst) >= last.raw()).then_some(());
            let Ok(turn) = self.writing.take_unless(has_ended) else {
                return self.ordered.lock().groups.outcome(last);
            };
            let group = self.ordered.lock().groups.begin();
            let written = self.wal.append(&group.records()).map_err(Error::from);
            self.note_space(written.as_ref().err());
            let ended = self.ordered.lock().groups.end(group, written.as_ref().err());
            self.group_ended.store(ended.raw(), Ordering::SeqCst);
            drop(turn);
        }
    }

    /// Applies a request, and returns the size of the largest memtable it went to that takes more.
    fn apply(&self, request: &Request<'_>, first: Seqno, last: Seqno) -> u64 {
        let is_volatile = request.durability == Durability::Volatile;
        if is_volatile && matches!(request.change, Change::Batch | Change::Large(_)) {
            request.spaces.iter().for_each(|space| space.note_volatile(last));
        }
        match &request.change {
            Change::Create | Change::Clear | Change::Ingest => 0,
            Change::Drop(space) => {
                space.mark_dropped();
                0
            }
            Change::Batch => self.apply_batch(request, first),
            Change::Large(parts) => self.apply_large(request.spaces, parts, first),
        }
    }

    fn apply_batch(&self, request: &Request<'_>, first: Seqno) -> u64 {
        let mut largest = 0;
        let mut applied_bytes = 0;
        let mut apply = |space: &Space, operations: &[Operation<'_>]| {
            let applied = space.tree.apply_operations(operations);
            let applied = applied.expect("INV-WAL-4: numbers above every boundary are not flushed");
            applied_bytes += applied.bytes;
            largest = largest.max(applied.memtable_bytes);
        };
        let body = request.body.bytes();
        let decoded = match request.spaces {
            [space] if request.count == 1 => {
                decode_operations(body, first, 1, |_, operation| apply(space, &[operation]))
            }
            spaces => {
                let mut parts: Vec<Vec<Operation<'_>>> = spaces.iter().map(|_| Vec::new()).collect();
                let place = |space: usize, operation| parts[space].push(operation);
                let decoded = decode_by_space(body, first, request.count, spaces, place);
                spaces.iter().zip(&parts).for_each(|(space, operations)| apply(space, operations));
                decoded
            }
        };
        decoded.expect("our own encoding");
        self.add_memory(applied_bytes);
        largest
    }

    fn apply_large(&self, spaces: &[Arc<Space>], parts: &[Arc<SortedBatch>], first: Seqno) -> u64 {
        for (space, part) in spaces.iter().zip(parts) {
            let applied = space.tree.apply_sorted(Arc::clone(part), first);
            self.add_memory(applied.expect("INV-WAL-4: nobody else is on the way").bytes);
        }
        0
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

    /// As [`Commits::check`], without a look at the log.
    pub(super) fn check_store(&self) -> Result<()> {
        self.store.poisoned().map_or(Ok(()), |error| Err(error.into()))
    }

    // ----- space -----

    /// Why commits fail for want of space, if they do.
    pub(crate) fn out_of_space(&self) -> Option<Error> {
        if self.is_out_of_space.load(Ordering::Acquire) { self.out_of_space.lock().clone() } else { None }
    }

    /// Something was written for commits, or failed with this.
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

    /// Makes everything visible durable, and returns up to where.
    ///
    /// # Errors
    ///
    /// `Poisoned`.
    pub(crate) fn sync(&self) -> Result<Seqno> {
        // Whatever poisoned: the log might be synced all the same, but its keyspaces could not be found
        // again.
        self.check()?;
        let (position, upto) = self.wal.end_of(self.views.visible());
        self.wal.sync_through(position)?;
        self.note_durable(upto);
        Ok(upto)
    }

    /// Returns when `seqno`, which is visible, is durable.
    ///
    /// # Errors
    ///
    /// `Poisoned`.
    pub(crate) fn sync_through(&self, seqno: Seqno) -> Result<()> {
        if self.durable() < seqno {
            self.check()?;
            let (position, upto) = self.wal.end_of(seqno);
            self.wal.sync_through(position)?;
            self.note_durable(upto);
        }
        Ok(())
    }

    /// As [`Commits::sync_through`], for what is done now and then: not for writes.
    ///
    /// # Errors
    ///
    /// `Poisoned`.
    pub(crate) fn sync_once(&self, seqno: Seqno) -> Result<()> {
        if self.durable() < seqno {
            self.check()?;
            let (position, upto) = self.wal.end_of(seqno);
            self.wal.sync_once(position)?;
            self.note_durable(upto);
        }
        Ok(())
    }

    fn note_durable(&self, upto: Seqno) {
        self.durable.fetch_max(upto.raw(), Ordering::AcqRel);
    }
}

/// A commit between its entry and its publication. One that is not applied leaves its numbers void.
struct Flight<'c> {
    commits: &'c Commits,
    ticket: u64,
    applied: Option<Seqno>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.commits.in_flight.done(self.ticket, self.applied, &self.commits.views);
    }
}
