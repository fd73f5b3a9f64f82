//! The process dies, or the power goes, at any moment of any interleaving.

use crate::database::{Written, keys, visible_at, write_long};
use isopach::{
    Durability, Seqno,
    env::{CrashFs, Survival},
};
use isopach_schedules::{FOR_EVER, explore, tiny, together, work};
use shuttle::{rand::Rng, thread};
use std::sync::{Arc, Mutex};

/// Each fills a memtable and a segment of the log: segments end and are freed all the time.
const LONG: usize = 60 << 10;

/// What a moment leaves, and what was acknowledged before it.
struct Moment {
    after: CrashFs,
    /// Everything up to here must be there.
    floor: Seqno,
}

/// Two writers and flushes; a third thread keeps what the disk would show after the death of the process, and
/// after a loss of power.
fn die_beside_writers() {
    let disk = CrashFs::new();
    let db = tiny(Arc::new(disk.clone())).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    let written = Written::default();
    let writer = |name: &'static str, last: Durability| {
        let (db, ks, written) = (db.clone(), ks.clone(), Arc::clone(&written));
        work(move || {
            for round in 0..4 {
                let durability = if round == 3 { last } else { Durability::Buffered };
                write_long(&db, &ks, &format!("{name}{round}"), LONG, durability, &written);
            }
        })
    };
    let moments = Arc::new(Mutex::new(Vec::new()));
    let witness = {
        let (db, written, moments) = (db.clone(), Arc::clone(&written), Arc::clone(&moments));
        work(move || {
            for _ in 0..3 {
                for _ in 0..shuttle::rand::thread_rng().gen_range(0..40) {
                    thread::yield_now();
                }
                // Read before the moment: what is acknowledged at it may be there or not.
                let floor = written.lock().unwrap().values().max().copied().unwrap_or(Seqno::ZERO);
                moments.lock().unwrap().push(Moment { after: disk.kill(), floor });
                let floor = db.durable_seqno();
                let seed = shuttle::rand::thread_rng().gen_range(0..u64::MAX);
                let after = disk.crash_with(Survival::Any, seed);
                moments.lock().unwrap().push(Moment { after, floor });
            }
        })
    };
    let flusher = {
        let db = db.clone();
        work(move || db.flush().unwrap())
    };
    together([writer("a", Durability::Sync), writer("b", Durability::Buffered), flusher, witness]);
    drop(ks);
    db.close_within(FOR_EVER).unwrap();

    for Moment { after, floor } in moments.lock().unwrap().drain(..) {
        let db = tiny(Arc::new(after)).open().unwrap();
        let found = keys(&db.keyspace("k").unwrap());
        let last = found.iter().map(|key| written.lock().unwrap()[key]).max().unwrap_or(Seqno::ZERO);
        assert_eq!(
            found,
            visible_at(&written, last.max(floor)),
            "INV-WAL-5: a prefix, at least up to {floor}"
        );
    }
}

#[test]
fn a_prefix_survives_with_all_that_was_acknowledged() {
    explore("crash", 60, die_beside_writers);
}
