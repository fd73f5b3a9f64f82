//! What was begun and what was acknowledged, kept outside of the database.

use crate::{Contents, Op, Oracle};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The keyspace of writes that are in no log: they are checked apart.
pub const VOLATILE: &str = "volatile";

/// Shared by the writer and by who looks at images.
#[derive(Clone, Default, Debug)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Clone, Default, Debug)]
struct Book {
    oracle: Oracle,
    floors: Floors,
    /// Every value that a key of [`VOLATILE`] ever got.
    volatile: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    /// In the order in which they were begun.
    checkpoints: Vec<Checkpoint>,
}

/// A copy of the database, and which commit it is to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Its directory.
    pub name: String,
    /// The last commit in it: nobody writes while it is made.
    pub at: usize,
    /// It could not be made, and nothing of it may be there once that was said.
    pub has_failed: bool,
}

/// What an image must hold at least, by the number of the commit in the oracle.
#[derive(Clone, Copy, Default, Debug)]
pub struct Floors {
    /// Last commit that was acknowledged and logged.
    pub acknowledged: usize,
    /// Last commit that was acknowledged as durable.
    pub durable: usize,
    /// Greatest number that the database gave to a commit.
    pub seqno: u64,
    /// So many of the checkpoints that were begun have ended, one way or the other.
    pub checkpoints: usize,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit is about to be made.
    pub fn begin(&self, ops: Vec<Op>) {
        self.book().oracle.commit(ops);
    }

    /// The commit that was begun last was acknowledged.
    pub fn acknowledge(&self, seqno: u64, is_durable: bool) {
        let mut book = self.book();
        book.floors.acknowledged = book.oracle.last();
        book.floors.seqno = seqno;
        if is_durable {
            book.floors.durable = book.floors.acknowledged;
        }
    }

    /// Everything acknowledged so far is durable.
    pub fn all_is_durable(&self) {
        let mut book = self.book();
        book.floors.durable = book.floors.acknowledged;
    }

    /// A write that is in no log is about to be made.
    pub fn begin_volatile(&self, key: &[u8], value: &[u8]) {
        self.book().volatile.entry(key.into()).or_default().insert(value.into());
    }

    /// Such a write was acknowledged.
    pub fn acknowledge_volatile(&self, seqno: u64) {
        self.book().floors.seqno = seqno;
    }

    /// A copy of the database, in the directory `name`, is about to be made.
    pub fn begin_checkpoint(&self, name: &str) {
        let mut book = self.book();
        let at = book.oracle.last();
        book.checkpoints.push(Checkpoint { name: name.into(), at, has_failed: false });
    }

    /// The copy that was begun last is finished, or it was said that there will be none.
    ///
    /// # Panics
    ///
    /// If none was begun.
    pub fn end_checkpoint(&self, has_failed: bool) {
        let mut book = self.book();
        book.checkpoints.last_mut().expect("one was begun").has_failed = has_failed;
        book.floors.checkpoints = book.checkpoints.len();
    }

    /// Copies that were begun, in this order.
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        self.book().checkpoints.clone()
    }

    /// Another ledger that goes on from here.
    #[must_use]
    pub fn fork(&self) -> Ledger {
        Ledger(Arc::new(Mutex::new(self.book().clone())))
    }

    /// What an image that is made from now on must hold at least.
    pub fn floors(&self) -> Floors {
        self.book().floors
    }

    /// A look at the oracle.
    pub fn with_oracle<T>(&self, look: impl FnOnce(&Oracle) -> T) -> T {
        look(&self.book().oracle)
    }

    /// Checks that what was found is one prefix of the commits, at least up to `floor`, and returns where it
    /// ends.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn check(&self, found: Contents, floor: usize) -> usize {
        let begun = self.with_oracle(Oracle::last);
        self.check_within(found, floor, begun)
    }

    /// As [`Ledger::check`], where no commit behind `begun` may be there.
    ///
    /// # Panics
    ///
    /// If it is no such prefix.
    pub fn check_within(&self, mut found: Contents, floor: usize, begun: usize) -> usize {
        let book = self.book();
        if let Some(volatile) = found.get_mut(VOLATILE) {
            for (key, value) in std::mem::take(volatile) {
                let known = book.volatile.get(&key).is_some_and(|values| values.contains(&value));
                assert!(known, "{key:?} = {value:?} was never written");
            }
        }
        let oracle = &book.oracle;
        if let Some(at) = oracle.find_prefix(&found, floor, begun) {
            return at;
        }
        if let Some(at) = oracle.find_prefix(&found, 0, floor) {
            panic!("only the first {at} commits survived; {floor} were promised");
        }
        let near = (0..=begun).min_by_key(|&at| differences(&oracle.contents(at), &found).len());
        let near = near.expect("there is commit 0");
        let differences = differences(&oracle.contents(near), &found);
        panic!("no prefix of the commits; nearest is {near} of {floor}..={begun}, but {differences:#?}");
    }
}

/// What differs, in words.
fn differences(expected: &Contents, found: &Contents) -> Vec<String> {
    let mut differences = Vec::new();
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for name in names {
        let (Some(expected), Some(found)) = (expected.get(name), found.get(name)) else {
            let there = if found.contains_key(name) { "there" } else { "missing" };
            differences.push(format!("keyspace {name:?} is {there}"));
            continue;
        };
        let keys: BTreeSet<&Vec<u8>> = expected.keys().chain(found.keys()).collect();
        for key in keys.into_iter().filter(|key| expected.get(*key) != found.get(*key)) {
            let brief = |value: Option<&Vec<u8>>| value.map(|value| (value.len(), value.first().copied()));
            let (is, should) = (brief(found.get(key)), brief(expected.get(key)));
            differences.push(format!("{name}/{}: {is:?}, not {should:?}", key.escape_ascii()));
        }
    }
    differences
}
