//! The order of commits: who comes gets numbers, a ticket and a place in the log, under one short lock; and who
//! wants to be alone gets that.

use super::{
    commit::{Change, Commits, Request},
    group::Groups,
};
use crate::{
    ends::CommitEnds,
    error::{Error, ErrorKind, Result},
    notes::{COMMIT_ENDS, RESERVED},
    options::Durability,
    wal::{AppendRecord, RecordKind},
};
use isopach_engine::{
    types::{Seqno, UnixUs},
    version::Note,
};
use isopach_env::sync::{MutexGuard, atomic::Ordering};

/// Numbers reserved at once: they are lost at an unclean end.
const SEQNO_BLOCK: u64 = 1 << 22;

/// How far numbers are reserved when `upto` is to be given out.
pub(crate) fn reserve_behind(upto: Seqno) -> Seqno {
    upto.checked_add(SEQNO_BLOCK).unwrap_or(Seqno::MAX)
}

/// What the order of commits is kept in. Never locked for the length of an I/O.
pub(super) struct Ordered {
    next: Seqno,
    /// Numbers up to here may be given out: the edit that says so is durable.
    reserved: Seqno,
    /// Where commits end, and when.
    ends: CommitEnds,
    /// The database is closing: no number is given out any more.
    has_ended: bool,
    /// Somebody is alone in the order of commits.
    is_alone: bool,
    /// Who waits for that to end: they enter before the next is alone.
    entrants: usize,
    /// The next ticket.
    tickets: u64,
    /// Records that are written by groups.
    pub(super) groups: Groups,
    /// Bytes of keys and values that callers wrote.
    pub(super) accepted_bytes: u64,
}

impl Ordered {
    pub(super) fn new(last_used: Seqno, reserved: Seqno, ends: CommitEnds) -> Ordered {
        Ordered {
            next: last_used.checked_add(1).unwrap_or(Seqno::MAX),
            reserved,
            ends,
            has_ended: false,
            is_alone: false,
            entrants: 0,
            tickets: 0,
            groups: Groups::default(),
            accepted_bytes: 0,
        }
    }

    /// The last of the next `count` numbers.
    fn last_of(&self, count: u32) -> Result<Seqno> {
        let last = self.next.checked_add(u64::from(count) - 1);
        let exhausted = || Error::new(ErrorKind::InvalidArgument, "sequence numbers are used up");
        last.filter(|last| *last < Seqno::MAX).ok_or_else(exhausted)
    }
}

/// A commit that has its place in the order.
pub(super) struct Entered {
    pub(super) ticket: u64,
    pub(super) first: Seqno,
    pub(super) last: Seqno,
    /// Its record waits for a group to be written with.
    pub(super) waits_for_group: bool,
}

impl Commits {
    /// Gives a request its place in the order. `is_alone`: the caller is who wants to be alone.
    pub(super) fn enter(&self, request: &Request<'_>, is_alone: bool) -> Result<Entered> {
        let mut ordered = self.wait_to_enter(is_alone);
        loop {
            if ordered.has_ended {
                return Err(Error::new(ErrorKind::Closed, "the database is closed"));
            }
            self.check_store()?;
            request.spaces.iter().try_for_each(|space| match request.change {
                // Both end a clearing that failed half-way.
                Change::Clear | Change::Drop(_) => space.check_alive(),
                _ => space.check_writable(),
            })?;
            let last = ordered.last_of(request.count)?;
            if last > ordered.reserved {
                drop(ordered);
                self.reserve_numbers(last)?;
            } else if !self.in_flight.has_room(ordered.tickets) {
                let ticket = ordered.tickets;
                drop(ordered);
                self.in_flight.waiters.wait_until(|| self.in_flight.has_room(ticket));
            } else {
                return self.enter_as(&mut ordered, request, last);
            }
            ordered = self.wait_to_enter(is_alone);
        }
    }

    fn wait_to_enter(&self, is_alone: bool) -> MutexGuard<'_, Ordered> {
        let mut ordered = self.ordered.lock();
        if ordered.is_alone && !is_alone {
            ordered.entrants += 1;
            while ordered.is_alone {
                ordered = self.may_enter.wait(ordered);
            }
            ordered.entrants -= 1;
            if ordered.entrants == 0 {
                self.may_enter.notify_all();
            }
        }
        ordered
    }

    fn enter_as(&self, ordered: &mut Ordered, request: &Request<'_>, last: Seqno) -> Result<Entered> {
        let first = ordered.next;
        // Whatever becomes of the commit, its numbers are not used again.
        ordered.next = last.checked_add(1).expect("below the greatest");
        if last.raw() + SEQNO_BLOCK / 2 > ordered.reserved.raw() {
            self.wants_numbers.store(true, Ordering::Relaxed);
        }
        let time = self.views.now(); // Under the lock: times follow the order of commits.
        ordered.ends.note(last, time);
        let mut waits_for_group = false;
        if request.durability == Durability::Volatile {
            self.check()?; // Others hear of it from the log.
        } else {
            let kind = match request.change {
                Change::Batch | Change::Large(_) => RecordKind::Batch,
                Change::Create | Change::Drop(_) | Change::Clear | Change::Ingest => RecordKind::Keyspace,
            };
            let (count, body) = (request.count, request.body.bytes());
            let record = AppendRecord { kind, first_seqno: first, count, time, body };
            // Behind a record that waits this one waits, too.
            waits_for_group = !ordered.groups.is_idle() || !self.wal.store(&record)?;
            if waits_for_group {
                ordered.groups.push(&record, &request.body);
            }
        }
        let ticket = ordered.tickets;
        ordered.tickets += 1;
        if matches!(request.change, Change::Batch | Change::Large(_)) {
            ordered.accepted_bytes += request.body.bytes().len() as u64;
        }
        Ok(Entered { ticket, first, last, waits_for_group })
    }

    // ----- numbers -----

    /// Whether numbers should be reserved before somebody needs them; `true` once.
    pub(crate) fn takes_wish_for_numbers(&self) -> bool {
        self.wants_numbers.load(Ordering::Relaxed) && self.wants_numbers.swap(false, Ordering::Relaxed)
    }

    /// Has ahead what commits need next, so that none waits for it. For a thread that does not commit.
    ///
    /// # Errors
    ///
    /// Commits do themselves what is not done then. Want of space is none: who needs it will say so.
    pub(crate) fn prepare(&self) -> Result<()> {
        self.store.prepare_memory(self.memtable_room());
        let (next, reserved) = {
            let ordered = self.ordered.lock();
            (ordered.next, ordered.reserved)
        };
        let upto = next.checked_add(SEQNO_BLOCK / 2).unwrap_or(Seqno::MAX);
        let numbers = if reserved < upto { self.reserve_numbers(upto) } else { Ok(()) };
        match self.wal.prepare().map_err(Error::from).and(numbers) {
            Err(error) if error.kind() == ErrorKind::OutOfSpace => Ok(()),
            done => done,
        }
    }

    /// Sees to it that `upto` and a block of numbers behind it may be given out.
    fn reserve_numbers(&self, upto: Seqno) -> Result<()> {
        // One at a time: what is stored never goes back.
        let is_done = || (self.ordered.lock().reserved >= upto).then_some(());
        let Ok(_turn) = self.reserving.take_unless(is_done) else {
            return Ok(());
        };
        let reserved = reserve_behind(upto);
        let note = Note::new(RESERVED, reserved.raw().to_le_bytes());
        let stored = self.store.commit(&[note]).map_err(Error::from);
        self.note_space(stored.as_ref().err());
        stored?;
        self.ordered.lock().reserved = reserved;
        Ok(())
    }

    /// Looks at where commits end: those that are numbered, also if they do not show yet.
    pub(crate) fn with_ends<T>(&self, look: impl FnOnce(&CommitEnds) -> T) -> T {
        look(&self.ordered.lock().ends)
    }

    /// Where commits end, for an edit behind which the log may not tell it any more.
    pub(crate) fn note_of_ends(&self) -> Note {
        let ends = self.with_ends(CommitEnds::clone); // It is encoded outside of the lock.
        Note::new(COMMIT_ENDS, ends.encode())
    }

    // ----- alone -----

    /// Waits until nobody is on the way, and is alone in the order of commits while the result is held.
    pub(crate) fn order(&self) -> Order<'_> {
        let mut ordered = self.ordered.lock();
        while ordered.is_alone || ordered.entrants > 0 {
            ordered = self.may_enter.wait(ordered);
        }
        ordered.is_alone = true;
        let tickets = ordered.tickets;
        drop(ordered);
        self.in_flight.waiters.wait_until(|| self.in_flight.is_published(tickets));
        Order { commits: self }
    }
}

/// Alone in the order of commits: while it is held nobody is numbered, appends or applies.
pub(crate) struct Order<'c> {
    commits: &'c Commits,
}

impl Drop for Order<'_> {
    fn drop(&mut self) {
        self.commits.ordered.lock().is_alone = false;
        self.commits.may_enter.notify_all();
    }
}

impl Order<'_> {
    /// Carries a request out, as [`Commits::commit`] does.
    ///
    /// # Errors
    ///
    /// As [`Commits::commit`].
    pub(crate) fn commit(&self, request: &Request<'_>) -> Result<Seqno> {
        Ok(self.commits.commit_as(request, true)?.seqno)
    }

    /// As [`Order::commit`], and does what the record announces before the commit shows: `effect`, given its number.
    ///
    /// # Errors
    ///
    /// As [`Commits::commit`]; what `effect` says: the commit is void, with its record in the log.
    pub(crate) fn commit_with<T>(
        &self,
        request: &Request<'_>,
        effect: impl FnOnce(Seqno) -> Result<T>,
    ) -> Result<(Seqno, T)> {
        self.commits.commit_with(request, true, |_, last| effect(last))
    }

    /// The newest commit: everything up to it is applied.
    pub(crate) fn visible(&self) -> Seqno {
        self.commits.views.visible()
    }

    /// The last number given out, and the greatest time.
    pub(crate) fn numbered(&self) -> (Seqno, UnixUs) {
        (self.commits.ordered.lock().next.before(), self.commits.views.greatest_time())
    }

    /// Ends the numbering: who comes later gets `Closed`, also with writes that no log would refuse. Returns
    /// the last number given out, and the greatest time.
    pub(crate) fn end(&self) -> (Seqno, UnixUs) {
        self.commits.ordered.lock().has_ended = true;
        self.numbered()
    }
}
