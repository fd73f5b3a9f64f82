//! Alone in the order of commits: what the leader of a group does with it.

use super::{
    commit::{Change, Commits, Outcome, Request},
    operations::decode_operations,
};
use crate::{
    error::{Error, ErrorKind, Result},
    notes::RESERVED,
    options::Durability,
    space::Space,
    wal::{AppendRecord, RecordKind},
};
use isopach_engine::{
    memtable::Operation,
    types::{Seqno, TreeId, UnixUs},
    version::Note,
};
use std::sync::{Arc, atomic::Ordering};

/// Numbers reserved at once: they are lost at an unclean end.
const SEQNO_BLOCK: u64 = 1 << 20;

/// Alone in the order of commits: nobody appends or applies while it is held.
pub(crate) struct Order<'c> {
    pub(super) commits: &'c Commits,
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

    /// The last number given out, and the time of its commit.
    pub(crate) fn numbered(&self) -> (Seqno, UnixUs) {
        let numbering = self.commits.numbering.lock();
        (numbering.next.before(), numbering.last_time)
    }

    /// Ends the numbering: who comes later gets `Closed`, also with writes that no log would refuse. Returns
    /// the last number given out, and the time of its commit.
    pub(crate) fn end(&self) -> (Seqno, UnixUs) {
        let mut numbering = self.commits.numbering.lock();
        numbering.has_ended = true;
        (numbering.next.before(), numbering.last_time)
    }

    /// Logs, applies and publishes a group. A result for each member.
    pub(super) fn carry_out(&self, group: &[&Request]) -> Vec<Result<Seqno>> {
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
            Err(error) => {
                commits.note_space(Some(&error));
                return fail_all(results, error);
            }
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
                drop(tail);
                commits.note_space(None);
            }
            // The numbers stay void: nothing was applied under them.
            Err(error) => {
                let error = Error::from(error);
                commits.note_space(Some(&error));
                return fail_all(results, error);
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
        if numbering.has_ended {
            return Err(Error::new(ErrorKind::Closed, "the database is closed"));
        }
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
                let mut per_tree: Vec<Vec<Operation<'_>>> =
                    request.spaces.iter().map(|_| Vec::new()).collect();
                let place = |tree: TreeId, operation| {
                    let at = request.spaces.iter().position(|space| space.id == tree);
                    per_tree[at.expect("a batch names its keyspaces")].push(operation);
                };
                decode_operations(&request.body, first, request.count, place).expect("our own encoding");
                for (space, operations) in request.spaces.iter().zip(per_tree) {
                    if request.durability == Durability::Volatile {
                        space.last_volatile.store(last.raw(), Ordering::Relaxed);
                    }
                    let applied = space.tree.apply_operations(&operations);
                    let applied = applied.expect("INV-WAL-4: numbers above every boundary are not flushed");
                    commits.add_memory(applied.bytes);
                }
                commits.accepted_bytes.fetch_add(request.body.len() as u64, Ordering::Relaxed);
            }
        }
    }
}
