//! What a database should answer: all versions of everything, by the number of their commit.
//!
//! Knows nothing of files, memory or time. Slow and obviously right.

use crate::inputs::{Bounds, is_inside_in};
use isopach::engine::order::KeyOrder;
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
    /// No key of a range has a value any more.
    RemoveRange(SpaceId, Bounds),
    /// An operand is appended to the value of a key, behind a comma if there is one: what the merge operator
    /// `isopach.append.44` does.
    Merge(SpaceId, Vec<u8>, Vec<u8>),
    /// A keyspace is made; its id is the number of keyspaces made before it.
    Create(String),
    /// A keyspace loses all that it has.
    Clear(SpaceId),
    /// A keyspace goes.
    Drop(SpaceId),
}

/// A model of a database.
#[derive(Clone, Debug)]
pub struct Oracle {
    order: KeyOrder,
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

/// Of one key, oldest first: the commit, and what it did.
type Versions = Vec<(usize, Change)>;

#[derive(Clone, Debug)]
enum Change {
    Put(Vec<u8>),
    Remove,
    Merge(Vec<u8>),
}

impl Default for Oracle {
    fn default() -> Oracle {
        Oracle::ordered(KeyOrder::BYTES)
    }
}

impl Oracle {
    /// Without keyspaces.
    pub fn new() -> Oracle {
        Oracle::default()
    }

    /// Without keyspaces; all will have their keys in this order.
    pub fn ordered(order: KeyOrder) -> Oracle {
        Oracle { order, commits: Vec::new(), spaces: Vec::new() }
    }

    /// The order of keys.
    pub fn order(&self) -> &KeyOrder {
        &self.order
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
                Op::Put(space, key, value) => self.write(at, *space, key, Change::Put(value.clone())),
                Op::Remove(space, key) => self.write(at, *space, key, Change::Remove),
                Op::Merge(space, key, operand) => self.write(at, *space, key, Change::Merge(operand.clone())),
                Op::RemoveRange(space, bounds) => self.remove_range(at, *space, bounds),
                Op::Create(name) => {
                    assert_eq!(self.find(name), None, "keyspace {name:?} is there already");
                    let name = name.clone();
                    self.spaces.push(Space { name, created: at, dropped: None, versions: BTreeMap::new() });
                }
                Op::Clear(space) => {
                    let keys: Vec<Vec<u8>> = self.spaces[*space].versions.keys().cloned().collect();
                    keys.iter().for_each(|key| self.write(at, *space, key, Change::Remove));
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

    /// Forgets what was committed behind commit `at`, as a crash may. Keyspaces that were made since are none, and their ids
    /// are given out again.
    pub fn truncate(&mut self, at: usize) {
        let kept: Vec<Vec<Op>> = self.commits.drain(..at).collect();
        *self = Oracle::ordered(self.order.clone());
        for ops in kept {
            self.commit(ops);
        }
    }

    fn write(&mut self, at: usize, space: SpaceId, key: &[u8], change: Change) {
        assert!(self.is_alive(space), "keyspace {space} is gone");
        self.spaces[space].versions.entry(key.into()).or_default().push((at, change));
    }

    fn remove_range(&mut self, at: usize, space: SpaceId, bounds: &Bounds) {
        assert!(self.is_alive(space), "keyspace {space} is gone");
        let (order, versions) = (&self.order, self.spaces[space].versions.iter_mut());
        versions
            .filter(|(key, _)| is_inside_in(order, key, bounds))
            .for_each(|(_, versions)| versions.push((at, Change::Remove)));
    }

    /// Whether a key was put at most once, and nothing else done to it, since it was removed: who deletes it weakly has to
    /// know that.
    pub fn may_remove_weakly(&self, space: SpaceId, key: &[u8]) -> bool {
        let Some(versions) = self.spaces[space].versions.get(key) else { return true };
        let since: Vec<_> =
            versions.iter().rev().take_while(|(_, change)| !matches!(change, Change::Remove)).collect();
        since.len() <= 1 && since.iter().all(|(_, change)| matches!(change, Change::Put(_)))
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
    pub fn get(&self, space: SpaceId, key: &[u8], at: usize) -> Option<Vec<u8>> {
        let space = &self.spaces[space];
        if !space.is_seen(at) {
            return None;
        }
        let versions = space.versions.get(key)?;
        let seen = versions.iter().take_while(|(commit, _)| *commit <= at);
        seen.fold(None, |value, (_, change)| match change {
            Change::Put(value) => Some(value.clone()),
            Change::Remove => None,
            Change::Merge(operand) => Some(append(value, operand)),
        })
    }

    /// The entries of a range behind commit `at`, in the order of keys.
    pub fn range(&self, space: SpaceId, bounds: &Bounds, at: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let keys = self.spaces[space].versions.keys().filter(|key| is_inside_in(&self.order, key, bounds));
        let entries = keys.filter_map(|key| self.get(space, key, at).map(|value| (key.clone(), value)));
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|(a, _), (b, _)| self.order.compare(a, b));
        entries
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
                Op::Clear(space) => {
                    contents.get_mut(self.name(*space)).expect("its keyspace is there").clear();
                }
                Op::Put(space, key, value) => {
                    let entries = contents.get_mut(self.name(*space)).expect("its keyspace is there");
                    entries.insert(key.clone(), value.clone());
                }
                Op::Remove(space, key) => {
                    let entries = contents.get_mut(self.name(*space)).expect("its keyspace is there");
                    entries.remove(key);
                }
                Op::RemoveRange(space, bounds) => {
                    let entries = contents.get_mut(self.name(*space)).expect("its keyspace is there");
                    entries.retain(|key, _| !is_inside_in(&self.order, key, bounds));
                }
                Op::Merge(space, key, operand) => {
                    let entries = contents.get_mut(self.name(*space)).expect("its keyspace is there");
                    let value = append(entries.remove(key), operand);
                    entries.insert(key.clone(), value);
                }
            }
        }
    }
}

/// What an operand makes of a value.
fn append(value: Option<Vec<u8>>, operand: &[u8]) -> Vec<u8> {
    match value {
        None => operand.into(),
        Some(value) => [&value[..], b",", operand].concat(),
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
        oracle.commit(vec![put(1, "k", "3")]);
        oracle.commit(vec![Op::Clear(1)]);
        oracle
    }

    #[test]
    fn every_commit_can_be_looked_at() {
        let oracle = example();
        let value = |at| oracle.get(0, b"k", at);

        assert_eq!(
            [value(1), value(2), value(3), value(4)],
            [None, Some(b"1".into()), Some(b"2".into()), None]
        );
        assert_eq!(oracle.get(0, b"l", 3), None);
        assert_eq!((oracle.find("a"), oracle.last()), (Some(1), 7));
        assert_eq!((oracle.get(1, b"k", 6), oracle.get(1, b"k", 7)), (Some(b"3".into()), None));
    }

    #[test]
    fn operands_are_appended_and_ranges_removed() {
        let mut oracle = Oracle::new();
        oracle.commit(vec![Op::Create("a".into()), put(0, "k", "1"), put(0, "l", "2")]);
        oracle.commit(vec![Op::Merge(0, b"k".into(), b"x".into())]);
        assert!(!oracle.may_remove_weakly(0, b"k") && oracle.may_remove_weakly(0, b"l"));
        oracle.commit(vec![
            Op::RemoveRange(0, (Bound::Included(b"k".into()), Bound::Excluded(b"l".into()))),
            Op::Merge(0, b"k".into(), b"y".into()),
        ]);

        assert_eq!(oracle.get(0, b"k", 2), Some(b"1,x".into()));
        assert_eq!(oracle.get(0, b"k", 3), Some(b"y".into()));
        assert_eq!(oracle.find_prefix(&oracle.contents(3), 1, 3), Some(3));
    }

    #[test]
    fn a_prefix_is_found_by_its_contents() {
        let oracle = example();

        for at in 0..=7 {
            let first = oracle.find_prefix(&oracle.contents(at), 0, 7).expect("there is one");
            assert_eq!(oracle.contents(first), oracle.contents(at));
            assert_eq!(oracle.find_prefix(&oracle.contents(at), at, 7), Some(at));
        }
        let mut torn = oracle.contents(2);
        torn.get_mut("a").expect("there").remove(&b"l"[..]);
        assert_eq!(oracle.find_prefix(&torn, 0, 7), None);
    }
}
