//! What a database should answer: all versions of everything, by the number of their commit.
//!
//! Knows nothing of files, memory or time. Slow and obviously right.

use crate::inputs::{Bounds, is_inside};
use std::{collections::BTreeMap, ops::Bound};

/// A keyspace of the model; as with the database, one that was dropped and made anew is another.
pub type SpaceId = usize;

/// Entries of one keyspace.
pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// All keyspaces by name, with their entries.
pub type Contents = BTreeMap<String, Entries>;

/// One change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// A key gets a value.
    Put(SpaceId, Vec<u8>, Vec<u8>),
    /// A key has no value any more.
    Remove(SpaceId, Vec<u8>),
    /// A keyspace is made; its id is the number of keyspaces made before it.
    Create(String),
    /// A keyspace goes.
    Drop(SpaceId),
}

/// A model of a database.
#[derive(Clone, Default, Debug)]
pub struct Oracle {
    commits: Vec<Vec<Op>>,
    spaces: Vec<Space>,
}

#[derive(Clone, Debug)]
struct Space {
    name: String,
    created: usize,
    dropped: Option<usize>,
    versions: BTreeMap<Vec<u8>, Versions>,
}

/// Of one key, oldest first: the commit, and the value that it gave.
type Versions = Vec<(usize, Option<Vec<u8>>)>;

impl Oracle {
    /// Without keyspaces.
    pub fn new() -> Oracle {
        Oracle::default()
    }

    /// Carries a commit out and returns its number: 1 for the first.
    ///
    /// # Panics
    ///
    /// If it names a keyspace that is not there, or creates one that is.
    pub fn commit(&mut self, ops: Vec<Op>) -> usize {
        let at = self.commits.len() + 1;
        for op in &ops {
            match op {
                Op::Put(space, key, value) => self.write(at, *space, key, Some(value.clone())),
                Op::Remove(space, key) => self.write(at, *space, key, None),
                Op::Create(name) => {
                    assert_eq!(self.find(name), None, "keyspace {name:?} is there already");
                    let name = name.clone();
                    self.spaces.push(Space { name, created: at, dropped: None, versions: BTreeMap::new() });
                }
                Op::Drop(space) => {
                    assert!(self.is_alive(*space), "keyspace {space} is gone already");
                    self.spaces[*space].dropped = Some(at);
                }
            }
        }
        self.commits.push(ops);
        at
    }

    fn write(&mut self, at: usize, space: SpaceId, key: &[u8], value: Option<Vec<u8>>) {
        assert!(self.is_alive(space), "keyspace {space} is gone");
        self.spaces[space].versions.entry(key.into()).or_default().push((at, value));
    }

    /// Number of the last commit; 0 before the first.
    pub fn last(&self) -> usize {
        self.commits.len()
    }

    /// What the commit of this number did.
    pub fn ops(&self, commit: usize) -> &[Op] {
        &self.commits[commit - 1]
    }

    // ----- keyspaces -----

    /// The keyspace that has this name now.
    pub fn find(&self, name: &str) -> Option<SpaceId> {
        self.spaces.iter().position(|space| space.name == name && space.dropped.is_none())
    }

    /// Its name.
    pub fn name(&self, space: SpaceId) -> &str {
        &self.spaces[space].name
    }

    /// Whether it is there now.
    pub fn is_alive(&self, space: SpaceId) -> bool {
        self.spaces[space].dropped.is_none()
    }

    /// Names of all that are there now.
    pub fn names(&self) -> Vec<String> {
        let alive = self.spaces.iter().filter(|space| space.dropped.is_none());
        let mut names: Vec<String> = alive.map(|space| space.name.clone()).collect();
        names.sort();
        names
    }

    /// The commit that dropped it.
    pub fn dropped_at(&self, space: SpaceId) -> Option<usize> {
        self.spaces[space].dropped
    }

    /// All that are there now.
    pub fn alive(&self) -> Vec<SpaceId> {
        (0..self.spaces.len()).filter(|&space| self.is_alive(space)).collect()
    }

    // ----- reading -----

    /// The value of a key behind commit `at`.
    pub fn get(&self, space: SpaceId, key: &[u8], at: usize) -> Option<&[u8]> {
        let space = &self.spaces[space];
        if !space.is_seen(at) {
            return None;
        }
        let versions = space.versions.get(key)?;
        let (_, value) = versions.iter().rev().find(|(commit, _)| *commit <= at)?;
        value.as_deref()
    }

    /// The entries of a range behind commit `at`, in the order of keys.
    pub fn range(&self, space: SpaceId, bounds: &Bounds, at: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let from = (bounds.0.as_ref(), Bound::Unbounded);
        let keys = self.spaces[space].versions.range::<Vec<u8>, _>(from).map(|(key, _)| key);
        let keys = keys.take_while(|key| is_inside(key, &(Bound::Unbounded, bounds.1.clone())));
        keys.filter_map(|key| self.get(space, key, at).map(|value| (key.clone(), value.into()))).collect()
    }

    /// Everything behind commit `at`.
    pub fn contents(&self, at: usize) -> Contents {
        let all = (Bound::Unbounded, Bound::Unbounded);
        let seen = (0..self.spaces.len()).filter(|&space| self.spaces[space].is_seen(at));
        seen.map(|space| (self.name(space).into(), self.range(space, &all, at).into_iter().collect()))
            .collect()
    }

    /// The first commit from `from` to `upto` behind which everything is as in `found`.
    pub fn find_prefix(&self, found: &Contents, from: usize, upto: usize) -> Option<usize> {
        let mut contents = self.contents(from);
        for at in from..=upto {
            if at > from {
                self.step(&mut contents, at);
            }
            if contents == *found {
                return Some(at);
            }
        }
        None
    }

    /// Carries commit `at` out on what was behind the one before.
    fn step(&self, contents: &mut Contents, at: usize) {
        for op in self.ops(at) {
            match op {
                Op::Create(name) => drop(contents.insert(name.clone(), Entries::new())),
                Op::Drop(space) => drop(contents.remove(self.name(*space))),
                Op::Put(space, key, value) => {
                    let entries = contents.get_mut(self.name(*space)).expect("its keyspace is there");
                    entries.insert(key.clone(), value.clone());
                }
                Op::Remove(space, key) => {
                    let entries = contents.get_mut(self.name(*space)).expect("its keyspace is there");
                    entries.remove(key);
                }
            }
        }
    }
}

impl Space {
    fn is_seen(&self, at: usize) -> bool {
        self.created <= at && self.dropped.is_none_or(|dropped| at < dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(space: SpaceId, key: &str, value: &str) -> Op {
        Op::Put(space, key.into(), value.into())
    }

    fn example() -> Oracle {
        let mut oracle = Oracle::new();
        oracle.commit(vec![Op::Create("a".into())]);
        oracle.commit(vec![put(0, "k", "1"), put(0, "l", "1")]);
        oracle.commit(vec![put(0, "k", "2"), Op::Remove(0, b"l".into())]);
        oracle.commit(vec![Op::Drop(0)]);
        oracle.commit(vec![Op::Create("a".into())]);
        oracle
    }

    #[test]
    fn every_commit_can_be_looked_at() {
        let oracle = example();
        let value = |at| oracle.get(0, b"k", at);

        assert_eq!([value(1), value(2), value(3), value(4)], [None, Some(&b"1"[..]), Some(&b"2"[..]), None]);
        assert_eq!(oracle.get(0, b"l", 3), None);
        assert_eq!((oracle.find("a"), oracle.last()), (Some(1), 5));
    }

    #[test]
    fn a_prefix_is_found_by_its_contents() {
        let oracle = example();

        for at in 0..=5 {
            let first = oracle.find_prefix(&oracle.contents(at), 0, 5).expect("there is one");
            assert_eq!(oracle.contents(first), oracle.contents(at));
            assert_eq!(oracle.find_prefix(&oracle.contents(at), at, 5), Some(at));
        }
        let mut torn = oracle.contents(2);
        torn.get_mut("a").expect("there").remove(&b"l"[..]);
        assert_eq!(oracle.find_prefix(&torn, 0, 5), None);
    }
}
