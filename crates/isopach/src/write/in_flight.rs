//! Commits in flight: numbered, and not seen yet. They are applied side by side, and published in their order.
//!
//! Each has a ticket, the next in the order of commits. Whoever has applied a commit notes it under its ticket
//! and publishes all that are noted from the first ticket on; so nobody waits for a lock, and only who comes
//! before others that are not done waits for them.

use crate::{
    views::LiveViews,
    waiting::{Padded, Waiters},
};
use isopach_engine::types::Seqno;
use isopach_env::sync::{
    Rank,
    atomic::{AtomicU64, Ordering},
};

/// Of waiting for others. Held for moments.
const WAITING: Rank = Rank::new(13, "commit.in_flight");

/// Most commits in flight.
const TICKETS: u64 = 256;

/// A commit that is applied.
struct Slot {
    /// Its ticket plus one. Stored behind `last`.
    done: AtomicU64,
    /// Its last operation; 0 if it is void.
    last: AtomicU64,
}

/// Commits in flight.
pub(super) struct InFlight {
    /// By ticket, modulo [`TICKETS`].
    slots: Box<[Padded<Slot>]>,
    /// Tickets below are published.
    published: Padded<AtomicU64>,
    /// For what changes when commits are published.
    pub(super) waiters: Waiters,
}

impl InFlight {
    pub(super) fn new() -> InFlight {
        let slot = || Padded(Slot { done: AtomicU64::new(0), last: AtomicU64::new(0) });
        InFlight {
            slots: (0..TICKETS).map(|_| slot()).collect(),
            published: Padded(AtomicU64::new(0)),
            waiters: Waiters::new(WAITING),
        }
    }

    /// Whether a commit may get this ticket.
    pub(super) fn has_room(&self, ticket: u64) -> bool {
        ticket - self.published.0.load(Ordering::SeqCst) < TICKETS
    }

    /// Whether all tickets below this are published.
    pub(super) fn is_published(&self, below: u64) -> bool {
        self.published.0.load(Ordering::SeqCst) >= below
    }

    /// The commit of `ticket` is applied, up to its operation `last`; `None`: it is void. Publishes it, and all
    /// behind it that are done, if all before it are published.
    pub(super) fn done(&self, ticket: u64, last: Option<Seqno>, views: &LiveViews) {
        let slot = self.slot(ticket);
        slot.last.store(last.map_or(0, Seqno::raw), Ordering::Relaxed);
        // All of these are `SeqCst`: of two that note theirs and look for the other's, one finds both.
        slot.done.store(ticket + 1, Ordering::SeqCst);
        let mut has_published = false;
        loop {
            let next = self.published.0.load(Ordering::SeqCst);
            let slot = self.slot(next);
            if slot.done.load(Ordering::SeqCst) != next + 1 {
                break;
            }
            let last = slot.last.load(Ordering::SeqCst);
            // The slot is given to another ticket only when this one is published: until then it is this one's.
            if self.published.0.load(Ordering::SeqCst) != next {
                continue;
            }
            // First in sight, then published: whoever waits for all tickets sees all commits.
            if let Some(last) = Seqno::from_raw(last).filter(|last| *last > Seqno::ZERO) {
                views.publish(last);
            }
            let _ = self.published.0.compare_exchange(next, next + 1, Ordering::SeqCst, Ordering::SeqCst);
            has_published = true;
        }
        if has_published {
            self.waiters.wake();
        }
    }

    fn slot(&self, ticket: u64) -> &Slot {
        &self.slots[(ticket % TICKETS) as usize].0
    }
}
