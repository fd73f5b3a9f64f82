//! Several writers at once: a crash leaves one prefix of the order in which their commits got their numbers.
//!
//! Each writer commits 1, 2, 3 ... and every commit is a batch over two keyspaces that says which it is. So
//! what is left of a writer can be read off, and what is left of all must be a prefix by number.

use super::{
    activity::UnderWay,
    explorer::{Crash, Explored},
    image::{Checker, MARKS, Violation, database},
    run::DATABASE,
};
use crate::{
    Rng,
    db::{SOON, small, synced, tiny_tables},
};
use isopach::{
    Db, Durability, Keyspace, VerifyOptions, WriteOptions,
    env::{CrashFs, Fs, SubDir},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// A writer's last commit overwrites one of so many keys.
const SLOTS: u64 = 8;

/// What is asked of a crowd.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Of the writers' choices, of what is looked at and of what survives.
    pub seed: u64,
    /// What crashes.
    pub crash: Crash,
    /// Threads that write.
    pub writers: usize,
    /// Commits of each.
    pub commits: u64,
    /// One step of so many is looked at.
    pub one_in: usize,
}

/// Lets a crowd write to a new database, of which some steps may be the last.
///
/// # Errors
///
/// The first promise that was broken.
///
/// # Panics
///
/// If a write fails.
pub fn explore_crowd(crowd: Crowd) -> Result<Explored, Violation> {
    let files = CrashFs::new();
    files.create_dir(DATABASE).expect("new");
    let under_way = UnderWay::default();
    let place = SubDir::open(Arc::new(files.clone()), DATABASE).expect("it was made");
    let db = small(place).listener(under_way.clone()).open().expect("a new database");
    for name in ["a", "b"] {
        db.keyspace_with(name, tiny_tables()).expect("a new keyspace");
    }
    let books = Books::new(crowd.writers);
    let (checker, explored) = (Checker::start(), Arc::new(Mutex::new(Explored::default())));
    let (watched, taken, count) = (files.clone(), books.clone(), Arc::clone(&explored));
    let sender = Mutex::new(checker.sender());
    files.watch(move |number, step| {
        let mut rng = Rng::new(crowd.seed ^ number);
        if rng.one_in(crowd.one_in) {
            let promised = taken.lock().clone(); // Before the image.
            let image = match crowd.crash {
                Crash::Process => watched.kill(),
                Crash::Power { .. } => watched.crash(rng.word()),
            };
            count.lock().unwrap_or_else(PoisonError::into_inner).note(&under_way, step);
            let later = taken.clone();
            let check = move || check_crowd(&image, &promised, &later, crowd.crash);
            let label = format!("{crowd:?}, step {number}, before {step}");
            let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let _ = sender.send((label, Box::new(check)));
        }
        Ok(())
    });
    thread::scope(|scope| {
        for writer in 0..crowd.writers {
            let (db, books, rng) = (&db, &books, Rng::new(crowd.seed + writer as u64));
            scope.spawn(move || write(db, books, writer, crowd.commits, rng));
        }
    });
    files.unwatch(); // The watcher goes with its sender.
    drop(db);
    checker.finish()?;
    let mut explored = explored.lock().unwrap_or_else(PoisonError::into_inner).clone();
    explored.steps = files.steps();
    Ok(explored)
}

fn write(db: &Db, books: &Books, writer: usize, commits: u64, mut rng: Rng) {
    let open = |name| db.keyspace(name).expect("it was made");
    let (a, b) = (open("a"), open("b"));
    for n in 1..=commits {
        let number = n.to_le_bytes();
        let mut batch = db.batch();
        batch.insert(&a, key(writer, SLOTS), number).insert(&b, key(writer, SLOTS), number);
        let padding = rng.below(600);
        let slot = [&number[..], &rng.bytes(padding)].concat();
        batch.insert(&a, key(writer, n % SLOTS), slot);
        let durability = if rng.one_in(7) { Durability::Sync } else { Durability::Buffered };
        books.lock().begun[writer] = n;
        let seqno =
            db.write_with(batch, WriteOptions::new().durability(durability)).expect("it can be written");
        books.acknowledge(writer, seqno.raw(), durability == Durability::Sync);
        if rng.one_in(60) {
            a.compact_range(..).expect("it can be compacted");
        }
    }
}

fn key(writer: usize, slot: u64) -> String {
    format!("writer {writer} slot {slot}")
}

/// What the writers were told.
#[derive(Clone)]
struct Books(Arc<Mutex<Book>>);

#[derive(Clone)]
struct Book {
    /// Last commit that each writer began.
    begun: Vec<u64>,
    /// Numbers of the commits of each that were acknowledged, in order.
    seqnos: Vec<Vec<u64>>,
    /// Everything up to this number is durable.
    durable: u64,
}

impl Books {
    fn new(writers: usize) -> Books {
        let book = Book { begun: vec![0; writers], seqnos: vec![Vec::new(); writers], durable: 0 };
        Books(Arc::new(Mutex::new(book)))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledge(&self, writer: usize, seqno: u64, is_durable: bool) {
        let mut book = self.lock();
        book.seqnos[writer].push(seqno);
        if is_durable {
            book.durable = book.durable.max(seqno);
        }
    }
}

/// Checks what a crash left: `promised` was known before it, `later` knows the numbers of commits that were
/// under way.
fn check_crowd(image: &CrashFs, promised: &Book, later: &Books, crash: Crash) {
    let db = small(database(image)).open().expect("a database opens after any crash");
    let open = |name| db.get_keyspace(name).expect("a sound database").expect("it was made durable");
    let (a, b) = (open("a"), open("b"));
    let survived: Vec<u64> = (0..promised.begun.len()).map(|writer| survivors(&a, &b, writer)).collect();

    let later = later.lock().clone();
    let last =
        survived.iter().zip(&later.seqnos).filter_map(|(&n, seqnos)| seqnos.get(n.checked_sub(1)? as usize));
    let last = last.max().copied().unwrap_or(0);
    for (writer, &n) in survived.iter().enumerate() {
        assert!(n <= later.begun[writer], "writer {writer} never began {n}");
        let due =
            |bound: u64| later.seqnos[writer].iter().take_while(|&&seqno| seqno <= bound).count() as u64;
        let of_prefix = due(last);
        assert!(n >= of_prefix, "writer {writer}: {n} survived; {of_prefix} come before {last}, which did");
        let acknowledged = promised.seqnos[writer].len() as u64;
        let floor =
            if crash == Crash::Process { acknowledged } else { due(promised.durable).min(acknowledged) };
        assert!(n >= floor, "writer {writer}: {n} survived, {floor} were promised");
    }
    db.wait_idle(SOON).expect("background work ends");
    let report = db.verify(VerifyOptions::new()).expect("it can be verified");
    assert!(report.found.is_empty(), "{:?}", report.found);
    let marks = db.keyspace(MARKS).expect("what was reopened takes writes");
    marks.insert_with("mark", "1", synced()).expect("what was reopened takes writes");
}

/// How many commits of a writer are there. None is there in part.
fn survivors(a: &Keyspace, b: &Keyspace, writer: usize) -> u64 {
    let number = |keyspace: &Keyspace, slot| {
        let value = keyspace.get(key(writer, slot)).expect("a sound keyspace");
        value.map_or(0, |value| u64::from_le_bytes(*value.first_chunk().expect("a number")))
    };
    let n = number(a, SLOTS);
    assert_eq!(number(b, SLOTS), n, "writer {writer}: half of a batch");
    for slot in 0..SLOTS {
        let expected = (n.saturating_sub(SLOTS - 1)..=n).find(|n| n % SLOTS == slot).unwrap_or(0);
        assert_eq!(number(a, slot), expected, "writer {writer}, slot {slot}, {n} commits");
    }
    n
}
