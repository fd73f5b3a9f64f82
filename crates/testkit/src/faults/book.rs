//! What a database was told to do and what it said to that: which contents it may have now, and after a
//! crash.
//!
//! A commit that was acknowledged is there; a prefix of them survives a power loss. One that failed is there
//! only as the end of the log, while no later one was acknowledged. One whose sync failed, and a change of
//! keyspaces that failed, may be there or not: nobody was promised either.

use crate::{Contents, Entries};
use std::collections::{BTreeMap, BTreeSet};

/// A part of a commit, by names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A key of a keyspace gets a value.
    Put(String, Vec<u8>, Vec<u8>),
    /// A key of a keyspace has none any more.
    Remove(String, Vec<u8>),
    /// A keyspace is made, if there is none of that name.
    Create(String),
    /// A keyspace goes.
    Drop(String),
    /// A keyspace loses all that it has.
    Clear(String),
}

#[derive(Clone, Debug)]
struct Commit {
    changes: Vec<Change>,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Acknowledged,
    /// There or not.
    InDoubt,
    /// There only if nothing comes behind it.
    Failed,
}

/// Commits in order, with their fate. What is written to the keyspace [`Book::VOLATILE`] is in no log: of its
/// entries it is known only that they were written.
#[derive(Clone, Default, Debug)]
pub struct Book {
    commits: Vec<Commit>,
    /// Commits that are durable for sure.
    durable: usize,
    volatile: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

impl Book {
    /// The keyspace of writes that are in no log.
    pub const VOLATILE: &'static str = "v";

    /// A database that holds this, durably.
    pub fn of(contents: &Contents) -> Book {
        let mut book = Book::default();
        let mut changes = Vec::new();
        for (name, entries) in contents {
            changes.push(Change::Create(name.clone()));
            for (key, value) in entries {
                if name == Book::VOLATILE {
                    book.wrote_volatile(key, value);
                }
                changes.push(Change::Put(name.clone(), key.clone(), value.clone()));
            }
        }
        book.acknowledged(changes, true);
        book
    }

    /// A commit was acknowledged.
    pub fn acknowledged(&mut self, changes: Vec<Change>, is_durable: bool) {
        self.commits.retain(|commit| commit.fate != Fate::Failed);
        self.commits.push(Commit { changes, fate: Fate::Acknowledged });
        if is_durable {
            self.all_is_durable();
        }
    }

    /// Everything acknowledged so far was acknowledged as durable.
    pub fn all_is_durable(&mut self) {
        let last = self.commits.iter().rposition(|commit| commit.fate == Fate::Acknowledged);
        self.durable = last.map_or(0, |at| at + 1);
    }

    /// A commit may have happened.
    pub fn in_doubt(&mut self, changes: Vec<Change>) {
        self.commits.push(Commit { changes, fate: Fate::InDoubt });
    }

    /// A commit failed, and nothing of it is visible.
    pub fn failed(&mut self, changes: Vec<Change>) {
        self.commits.push(Commit { changes, fate: Fate::Failed });
    }

    /// A value may have been written that is in no log.
    pub fn wrote_volatile(&mut self, key: &[u8], value: &[u8]) {
        self.volatile.entry(key.into()).or_default().insert(value.into());
    }

    /// What is wrong with contents that a running database shows.
    pub fn check_live(&self, found: &Contents) -> Result<(), String> {
        let states = self.states(self.commits.len());
        self.compare(found, &states)
    }

    /// What is wrong with contents that a killed process left behind.
    pub fn check_killed(&self, found: &Contents) -> Result<(), String> {
        let mut states = self.states(self.commits.len());
        let whole = states.clone();
        let failed = self.commits.iter().filter(|commit| commit.fate == Fate::Failed);
        for commit in failed {
            states.extend(whole.iter().map(|state| apply(state, &commit.changes)));
        }
        self.compare(found, &states)
    }

    /// What is wrong with contents that a power loss left behind.
    pub fn check_after_power_loss(&self, found: &Contents) -> Result<(), String> {
        let prefixes =
            (self.durable..self.commits.len()).flat_map(|end| self.states(end)).collect::<Vec<_>>();
        if self.compare(found, &prefixes).is_ok() { Ok(()) } else { self.check_killed(found) }
    }

    /// What the first commits may have made of an empty database, without those that failed.
    fn states(&self, end: usize) -> Vec<Contents> {
        let mut states = vec![Contents::new()];
        for commit in &self.commits[..end] {
            match commit.fate {
                Fate::Failed => {}
                Fate::Acknowledged => {
                    states.iter_mut().for_each(|state| *state = apply(state, &commit.changes));
                }
                Fate::InDoubt => {
                    let with = states.iter().map(|state| apply(state, &commit.changes)).collect::<Vec<_>>();
                    states.extend(with);
                    states.dedup();
                    assert!(states.len() <= 1 << 10, "too many commits are in doubt");
                }
            }
        }
        states
    }

    fn compare(&self, found: &Contents, states: &[Contents]) -> Result<(), String> {
        let mut found = found.clone();
        if let Some(volatile) = found.get_mut(Book::VOLATILE) {
            for (key, value) in std::mem::take(volatile) {
                if !self.volatile.get(&key).is_some_and(|values| values.contains(&value)) {
                    return Err(format!("{} was never written without a log", key.escape_ascii()));
                }
            }
        }
        let cleared = |state: &Contents| {
            let mut state = state.clone();
            state.get_mut(Book::VOLATILE).map(Entries::clear);
            state
        };
        if states.iter().any(|state| cleared(state) == found) {
            return Ok(());
        }
        let Some(last) = states.last().map(cleared) else {
            return Err("no contents are allowed at all".into());
        };
        Err(format!(
            "none of {} allowed contents; of the last one differ {}",
            states.len(),
            differences(&last, &found)
        ))
    }
}

fn apply(state: &Contents, changes: &[Change]) -> Contents {
    let mut state = state.clone();
    for change in changes {
        match change {
            Change::Put(name, key, value) => {
                if let Some(entries) = state.get_mut(name) {
                    entries.insert(key.clone(), value.clone());
                }
            }
            Change::Remove(name, key) => {
                state.get_mut(name).map(|entries| entries.remove(key));
            }
            Change::Create(name) => drop(state.entry(name.clone()).or_default()),
            Change::Drop(name) => drop(state.remove(name)),
            Change::Clear(name) => {
                if let Some(entries) = state.get_mut(name) {
                    entries.clear();
                }
            }
        }
    }
    state
}

fn differences(expected: &Contents, found: &Contents) -> String {
    let mut words = Vec::new();
    for name in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        match (expected.get(name), found.get(name)) {
            (Some(expected), Some(found)) => {
                let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
                let differing = keys.into_iter().filter(|key| expected.get(*key) != found.get(*key));
                words.extend(differing.map(|key| {
                    let bytes = |entries: &Entries| entries.get(key).map(|value| value.len());
                    format!("{name}/{}: {:?} not {:?}", key.escape_ascii(), bytes(found), bytes(expected))
                }));
            }
            (None, _) => words.push(format!("keyspace {name} is there")),
            (_, None) => words.push(format!("keyspace {name} is missing")),
        }
    }
    words.truncate(12);
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str) -> Vec<Change> {
        vec![Change::Put("k".into(), key.into(), b"1".to_vec())]
    }

    fn holding(keys: &[&str]) -> Contents {
        let entries = keys.iter().map(|key| (key.as_bytes().to_vec(), b"1".to_vec())).collect();
        Contents::from([("k".to_owned(), entries)])
    }

    fn book() -> Book {
        let mut book = Book::of(&holding(&[]));
        book.acknowledged(put("a"), true);
        book.acknowledged(put("b"), false);
        book
    }

    #[test]
    fn a_power_loss_may_take_what_is_not_durable_and_a_kill_nothing() {
        let book = book();

        assert_eq!(book.check_after_power_loss(&holding(&["a"])), Ok(()));
        assert_eq!(book.check_after_power_loss(&holding(&["a", "b"])), Ok(()));
        assert!(book.check_after_power_loss(&holding(&[])).is_err());
        assert!(book.check_after_power_loss(&holding(&["b"])).is_err());
        assert!(book.check_killed(&holding(&["a"])).is_err());
    }

    #[test]
    fn what_failed_is_there_as_the_last_or_never() {
        let mut book = book();
        book.failed(put("x"));

        assert_eq!(book.check_killed(&holding(&["a", "b", "x"])), Ok(()));
        assert!(book.check_live(&holding(&["a", "b", "x"])).is_err());
        book.acknowledged(put("c"), false);
        assert!(book.check_killed(&holding(&["a", "b", "c", "x"])).is_err());
        assert_eq!(book.check_killed(&holding(&["a", "b", "c"])), Ok(()));
    }

    #[test]
    fn what_is_in_doubt_is_there_or_not() {
        let mut book = book();
        book.in_doubt(put("x"));

        for keys in [&["a", "b"][..], &["a", "b", "x"]] {
            assert_eq!(book.check_live(&holding(keys)), Ok(()));
        }
        assert!(book.check_live(&holding(&["a", "x"])).is_err());
    }
}
