//! Many threads: what each of them is promised about its own writes and those of others.

use isopach::{Db, Keyspace, Seqno, env::MemFs};
use std::{
    collections::BTreeSet,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use testkit::Rng;
use testkit::db::{SOON, small, synced, tiny_tables};

#[test]
fn every_thread_reads_its_own_writes_and_numbers_are_unique_and_rise() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    let (threads, rounds) = (6_u8, 400_u32);
    let start = Barrier::new(usize::from(threads));

    let numbers: Vec<Vec<Seqno>> = thread::scope(|scope| {
        let work = |thread: u8| {
            let (db, ks, start) = (&db, &ks, &start);
            move || {
                start.wait();
                let mut rng = Rng::new(u64::from(thread));
                let mut numbers = Vec::new();
                for round in 0..rounds {
                    let key = [thread, rng.below(50) as u8];
                    let value = [&round.to_be_bytes()[..], &[thread; 60]].concat();
                    let seqno = if rng.one_in(40) {
                        let seqno = ks.insert_with(key, &value, synced()).unwrap();
                        assert!(db.durable_seqno() >= seqno);
                        seqno
                    } else {
                        ks.insert(key, &value).unwrap()
                    };
                    assert_eq!(ks.get(key).unwrap().as_deref(), Some(&value[..]), "its own write");
                    assert!(db.seqno() >= seqno);
                    if rng.one_in(20) {
                        let removed = ks.remove(key).unwrap();
                        assert_eq!(ks.get(key).unwrap(), None, "its own delete");
                        numbers.push(seqno);
                        numbers.push(removed);
                    } else {
                        numbers.push(seqno);
                    }
                }
                numbers
            }
        };
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });

    assert!(numbers.iter().all(|numbers| numbers.is_sorted()), "a thread's commits come in its order");
    let unique: BTreeSet<Seqno> = numbers.iter().flatten().copied().collect();
    assert_eq!(unique.len(), numbers.iter().map(Vec::len).sum::<usize>());
    assert_eq!(unique.last(), Some(&db.seqno()));
}

const ACCOUNTS: u8 = 40;
const SUM: i64 = 0;

fn balance(value: &[u8]) -> i64 {
    i64::from_le_bytes(value[..8].try_into().unwrap())
}

fn sum(ks: impl Iterator<Item = isopach::Result<isopach::Slice>>) -> i64 {
    ks.map(|value| balance(&value.unwrap())).sum()
}

/// Each batch moves an amount from an account of one keyspace to one of the other: whoever sees half of a
/// batch sees another sum.
#[test]
fn no_torn_batch_is_ever_seen_over_two_keyspaces() {
    let db = small(MemFs::new()).threads(3).open().unwrap();
    let (a, b) =
        (db.keyspace_with("a", tiny_tables()).unwrap(), db.keyspace_with("b", tiny_tables()).unwrap());
    let is_done = AtomicBool::new(false);

    thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u8)
            .map(|writer| {
                let (db, a, b) = (&db, &a, &b);
                scope.spawn(move || transfer(db, a, b, writer))
            })
            .collect();
        for reader in 0..2 {
            let (db, a, b, is_done) = (&db, &a, &b, &is_done);
            scope.spawn(move || {
                while !is_done.load(Ordering::Acquire) {
                    let snapshot = db.snapshot();
                    let (a, b) = (a.at(&snapshot), b.at(&snapshot));
                    let found = if reader == 0 {
                        sum(a.iter().values()) + sum(b.iter().values().rev())
                    } else {
                        let keys: Vec<[u8; 1]> = (0..ACCOUNTS).map(|account| [account]).collect();
                        let values =
                            |values: Vec<Option<isopach::Slice>>| values.into_iter().flatten().map(Ok);
                        sum(values(a.get_many(&keys).unwrap())) + sum(values(b.get_many(&keys).unwrap()))
                    };
                    assert_eq!(found, SUM, "at {}", snapshot.seqno());
                }
            });
        }
        let _done = SetWhenDropped(&is_done);
        scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                a.compact_range(..).unwrap();
                db.flush().unwrap();
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });

    db.wait_idle(SOON).unwrap();
    assert_eq!(sum(a.iter().values()) + sum(b.iter().values()), SUM);
    a.compact_range(..).unwrap();
    assert_eq!(sum(a.iter().values()) + sum(b.iter().values()), SUM);
}

/// Each writer has accounts of its own, so that reading and writing back is no race.
fn transfer(db: &Db, a: &Keyspace, b: &Keyspace, writer: u8) {
    let mut rng = Rng::new(u64::from(writer));
    for _ in 0..400 {
        let account = |rng: &mut Rng| [(rng.below(usize::from(ACCOUNTS) / 3) * 3) as u8 + writer];
        let (from, to) = (account(&mut rng), account(&mut rng));
        let amount = rng.below(1000) as i64;
        let now = |ks: &Keyspace, key| ks.get(key).unwrap().map_or(0, |value| balance(&value));
        let padded = |balance: i64| [&balance.to_le_bytes()[..], &[0; 100]].concat();
        let mut batch = db.batch();
        batch.insert(a, from, padded(now(a, from) - amount)).insert(b, to, padded(now(b, to) + amount));
        db.write(batch).unwrap();
    }
}

/// A reader that asks twice never sees time go back.
#[test]
fn what_was_seen_once_is_seen_by_everybody_from_then_on() {
    let db = small(MemFs::new()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    ks.insert("counter", 0_u64.to_be_bytes()).unwrap();
    let is_done = AtomicBool::new(false);
    let count =
        |ks: &Keyspace| u64::from_be_bytes(ks.get("counter").unwrap().unwrap()[..].try_into().unwrap());

    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !is_done.load(Ordering::Acquire) {
                    let now = count(&ks);
                    assert!(now >= last, "{now} after {last}");
                    let scanned = ks.iter().next().unwrap().unwrap().1;
                    last = u64::from_be_bytes(scanned[..].try_into().unwrap());
                    assert!(last >= now, "{last} after {now}");
                }
            });
        }
        let _done = SetWhenDropped(&is_done);
        for n in 1..3000_u64 {
            ks.insert("counter", n.to_be_bytes()).unwrap();
            if n % 500 == 0 {
                ks.compact_range(..).unwrap();
            }
        }
    });
    assert_eq!(count(&ks), 2999);
}

/// Ends the other threads, also when this one panics.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Keyspaces come and go while others write to them: a write is in the keyspace, or was refused.
#[test]
fn keyspaces_may_be_dropped_and_made_while_they_are_written_to() {
    let db = small(MemFs::new()).open().unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..3_u8 {
            let (db, is_done) = (&db, &is_done);
            scope.spawn(move || {
                while !is_done.load(Ordering::Acquire) {
                    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
                    for n in 0..100_u8 {
                        let key = [writer, n];
                        match ks.insert(key, [n; 200]) {
                            Err(error) => {
                                assert_eq!(error.kind(), isopach::ErrorKind::KeyspaceDropped);
                                break;
                            }
                            Ok(_) => match ks.get(key) {
                                Ok(found) => assert_eq!(found.expect("just written"), &[n; 200]),
                                Err(error) => assert_eq!(error.kind(), isopach::ErrorKind::KeyspaceDropped),
                            },
                        }
                    }
                }
            });
        }
        let _done = SetWhenDropped(&is_done);
        for _ in 0..100 {
            db.drop_keyspace("k").unwrap();
            drop(db.snapshot());
            let ks = db.keyspace_with("k", tiny_tables()).unwrap();
            let _ = ks.insert("mine", "1");
        }
    });
    db.drop_keyspace("k").unwrap();
    db.wait_idle(SOON).unwrap();
    assert_eq!(db.stats().memory.memtables, 0, "nothing is left, and nothing was counted twice");
}
