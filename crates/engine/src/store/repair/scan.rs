//! One pass over all tables of a tree, key by key: which of them share versions, which of two has the newer ones, what
//! they point to, and what of them cannot be read.

use super::examine::Readable;
use crate::{
    blob::{BlobUse, BlobUses, pointer_of},
    codec::Owner,
    error::Result,
    key::InternalKey,
    order::KeyOrder,
    table::{
        inspect::TableEntry,
        salvage::{Losses, RemainingEntries},
    },
    types::{BlobId, Seqno},
};
use alloc::{collections::BTreeSet, sync::Arc, vec, vec::Vec};
use isopach_env::Fs;

/// What a pass over the tables of a tree found. Tables are named by their places.
pub(super) struct Scan {
    /// Of two that share a key, the one whose newest version of it is newer, and the other.
    pub(super) above: BTreeSet<(usize, usize)>,
    /// Two that hold the same version of a key.
    pub(super) shares: BTreeSet<(usize, usize)>,
    /// Of each, what it points to.
    pub(super) uses: Vec<Vec<BlobUse>>,
    /// Of each, what was read and what was not.
    pub(super) losses: Vec<Losses>,
}

/// A table that is being read.
struct Open {
    table: usize,
    entries: RemainingEntries,
    next: TableEntry,
}

/// Reads all of them once; those are open at a time whose keys overlap.
///
/// # Errors
///
/// The backend's; keys that are not to be had.
pub(super) fn scan(fs: &Arc<dyn Fs>, owner: &Owner, tables: &[Readable], order: &KeyOrder) -> Result<Scan> {
    let mut found = Scan {
        above: BTreeSet::new(),
        shares: BTreeSet::new(),
        uses: vec![Vec::new(); tables.len()],
        losses: vec![Losses::default(); tables.len()],
    };
    let mut counted = vec![BlobUses::default(); tables.len()];
    let mut unopened: Vec<usize> = (0..tables.len()).collect();
    let first_key = |table: usize| &tables[table].properties.first_key[..];
    unopened.sort_by(|&a, &b| order.compare(first_key(b), first_key(a)));
    let mut open: Vec<Open> = Vec::new();
    loop {
        // A table whose first key is not behind all that are open comes in before they go on.
        while let Some(&table) = unopened.last()
            && open.iter().all(|other| order.is_at_most(first_key(table), &other.next.key))
        {
            unopened.pop();
            let mut entries = tables[table].remains(fs, owner)?.entries()?;
            match entries.next() {
                Some(next) => open.push(Open { table, entries, next }),
                None => found.losses[table] = entries.finish(),
            }
        }
        let Some(key) = open.iter().map(|it| &it.next.key).min_by(|a, b| order.compare(a, b)).cloned() else {
            if unopened.is_empty() {
                break;
            }
            continue;
        };
        let mut versions: Vec<Version> = Vec::new();
        let mut at = 0;
        while at < open.len() {
            let Open { table, next, .. } = &open[at];
            let table = *table;
            if next.key != key {
                at += 1;
                continue;
            }
            let seqno = tables[table].number.unwrap_or(next.seqno);
            let pointer = pointer_of(next.kind, &next.value).ok().flatten();
            let record = pointer.map(|pointer| (pointer.file, pointer.offset));
            versions.push(Version { table, seqno, record });
            counted[table].count(next.kind, &next.value).ok(); // Pointers were checked when the entry was read.
            let it = &mut open[at];
            match it.entries.next() {
                Some(following) => it.next = following,
                None => {
                    let ended = open.swap_remove(at);
                    found.losses[table] = ended.entries.finish();
                }
            }
        }
        compare(&mut versions, tables, &mut found);
    }
    found.uses = counted.into_iter().map(BlobUses::finish).collect();
    Ok(found)
}

/// A version of a key.
struct Version {
    table: usize,
    seqno: Seqno,
    /// Where its value is, if it is separated. No record is pointed to twice, so who does holds the same version.
    record: Option<(BlobId, u64)>,
}

/// Notes what the versions of one key tell.
fn compare(versions: &mut [Version], tables: &[Readable], found: &mut Scan) {
    let mut share = |same: &[Version]| {
        for (at, a) in same.iter().enumerate() {
            let others = same[at + 1..].iter().filter(|b| b.table != a.table);
            found.shares.extend(others.map(|b| (a.table.min(b.table), a.table.max(b.table))));
        }
    };
    versions.sort_unstable_by_key(|it| (it.record, it.table));
    versions
        .chunk_by(|a, b| a.record == b.record)
        .filter(|same| same[0].record.is_some())
        .for_each(&mut share);
    // A number is told of by the entry itself, and not zero.
    let seqno = |it: &Version| if tables[it.table].number.is_some() { Seqno::ZERO } else { it.seqno };
    versions.sort_unstable_by_key(|it| (seqno(it), it.table));
    versions
        .chunk_by(|a, b| seqno(a) == seqno(b))
        .filter(|same| seqno(&same[0]) > Seqno::ZERO)
        .for_each(&mut share);

    let mut newest: Vec<(usize, Seqno)> = Vec::new();
    for &Version { table, seqno, .. } in versions.iter() {
        match newest.iter_mut().find(|(other, _)| *other == table) {
            Some((_, newest)) => *newest = seqno.max(*newest),
            None => newest.push((table, seqno)),
        }
    }
    // Of equal numbers, as of loads whose number is not known, the one that was written later counts.
    newest.sort_by_key(|&(table, seqno)| {
        (seqno, tables[table].number.is_some(), tables[table].properties.seed.created_at, tables[table].id)
    });
    for (at, &(upper, _)) in newest.iter().enumerate() {
        found.above.extend(newest[..at].iter().map(|&(lower, _)| (upper, lower)));
    }
}

/// Calls `each` for every version that can be read of a table.
///
/// # Errors
///
/// As [`scan`].
pub(super) fn for_each_version(
    fs: &Arc<dyn Fs>,
    owner: &Owner,
    table: &Readable,
    each: &mut dyn FnMut(InternalKey<'_>),
) -> Result<()> {
    for entry in table.remains(fs, owner)?.entries()? {
        each(InternalKey { key: &entry.key, seqno: entry.seqno });
    }
    Ok(())
}
