//! Whether a history of concurrent calls on one key is linearizable: each call takes effect at one moment
//! between its beginning and its end.
//!
//! The search is that of Wing and Gong (1993) with the memory of Lowe (2017): calls are put in an order step
//! by step, and no pair of a set of calls and a value is looked at twice. Keys of a map are independent of
//! each other, so a history of many keys is linearizable if that of each key is (Herlihy and Wing, 1990).

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The value of a key; values that are written differ.
pub type Value = Option<u64>;

/// What a call did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The key got a value, or lost it.
    Write(Value),
    /// The key was found to have a value, or none.
    Read(Value),
}

/// A call on one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Who called.
    pub thread: usize,
    /// What it did.
    pub action: Action,
    /// When it began. Moments are numbered; no two are the same.
    pub began: u64,
    /// When it ended; `None` if it failed, and may take effect at any later time or never.
    pub ended: Option<u64>,
}

/// Calls of many threads as they are made. The lock is held for moments, never over a call.
#[derive(Default, Debug)]
pub struct Recorder {
    now: AtomicU64,
    calls: Mutex<BTreeMap<Vec<u8>, Vec<Call>>>,
}

impl Recorder {
    /// Makes a write and records it. One that fails may have taken effect.
    ///
    /// # Errors
    ///
    /// That of the call.
    pub fn write<T, E>(
        &self,
        thread: usize,
        key: &[u8],
        value: Value,
        call: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let began = self.tick();
        let result = call();
        let ended = result.is_ok().then(|| self.tick());
        self.note(key, Call { thread, action: Action::Write(value), began, ended });
        result
    }

    /// Makes a read and records what it found. One that fails tells nothing.
    ///
    /// # Errors
    ///
    /// That of the call.
    pub fn read<E>(
        &self,
        thread: usize,
        key: &[u8],
        call: impl FnOnce() -> Result<Value, E>,
    ) -> Result<Value, E> {
        let began = self.tick();
        let value = call()?;
        let ended = Some(self.tick());
        self.note(key, Call { thread, action: Action::Read(value), began, ended });
        Ok(value)
    }

    fn tick(&self) -> u64 {
        self.now.fetch_add(1, Ordering::SeqCst)
    }

    fn note(&self, key: &[u8], call: Call) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.entry(key.to_vec()).or_default().push(call);
    }

    /// Checks what was recorded so far, from keys without values. Returns the number of calls.
    ///
    /// # Errors
    ///
    /// The first key whose calls have no order.
    pub fn check(&self) -> Result<usize, Disorder> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().try_fold(0, |count, (key, calls)| {
            check(calls, None).map_err(|disorder| Disorder { key: key.clone(), ..disorder })?;
            Ok(count + calls.len())
        })
    }
}

/// Calls that no order explains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disorder {
    /// On which key; empty if it was not told.
    pub key: Vec<u8>,
    /// So many calls could be put in order, the earliest.
    pub explained: usize,
    /// Those that come next, none of which fits.
    pub stuck: Vec<Call>,
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, explained) = (String::from_utf8_lossy(&self.key), self.explained);
        write!(f, "key {key:?}: no order explains what comes behind {explained} calls: {:?}", self.stuck)
    }
}

/// Some calls that were put in order, and the value they leave. Of the calls in the order of their beginnings
/// these are all below `below`, and `beyond`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    below: usize,
    beyond: Vec<usize>,
    value: Value,
}

/// Looks for an order of the calls on one key whose first value is `first`.
///
/// # Errors
///
/// There is none.
pub fn check(calls: &[Call], first: Value) -> Result<(), Disorder> {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| call.began);
    let start = Place { below: 0, beyond: Vec::new(), value: first };
    let (mut open, mut seen, mut furthest) = (vec![start.clone()], HashSet::new(), start);
    while let Some(place) = open.pop() {
        if place.is_end(&calls) {
            return Ok(());
        }
        if place.explained() > furthest.explained() {
            furthest = place.clone();
        }
        let next = place.candidates(&calls).filter_map(|call| place.with(&calls, call));
        open.extend(next.filter(|next| seen.insert(next.clone())));
    }
    let stuck = furthest.candidates(&calls).map(|call| calls[call]).collect();
    Err(Disorder { key: Vec::new(), explained: furthest.explained(), stuck })
}

impl Place {
    fn explained(&self) -> usize {
        self.below + self.beyond.len()
    }

    /// Calls that are not in order yet.
    fn rest<'a>(&'a self, calls: &'a [Call]) -> impl Iterator<Item = usize> + 'a {
        (self.below..calls.len()).filter(|call| !self.beyond.contains(call))
    }

    /// Nothing is left but calls that failed.
    fn is_end(&self, calls: &[Call]) -> bool {
        self.rest(calls).all(|call| calls[call].ended.is_none())
    }

    /// Calls that may be the next: they began before any other that is left ended.
    fn candidates<'a>(&'a self, calls: &'a [Call]) -> impl Iterator<Item = usize> + 'a {
        let mut first_end = u64::MAX;
        self.rest(calls).take_while(move |&call| {
            let is_before = calls[call].began < first_end;
            first_end = first_end.min(calls[call].ended.unwrap_or(u64::MAX));
            is_before
        })
    }

    /// With `call` behind the others; `None` if it reads another value.
    fn with(&self, calls: &[Call], call: usize) -> Option<Place> {
        let value = match calls[call].action {
            Action::Write(value) => value,
            Action::Read(value) if value == self.value => value,
            Action::Read(_) => return None,
        };
        let (mut below, mut beyond) = (self.below, self.beyond.clone());
        beyond.push(call);
        beyond.sort_unstable();
        while beyond.first() == Some(&below) {
            beyond.remove(0);
            below += 1;
        }
        Some(Place { below, beyond, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(thread: usize, action: Action, began: u64, ended: u64) -> Call {
        Call { thread, action, began, ended: Some(ended) }
    }

    fn write(thread: usize, value: u64, began: u64, ended: u64) -> Call {
        call(thread, Action::Write(Some(value)), began, ended)
    }

    fn read(thread: usize, value: Value, began: u64, ended: u64) -> Call {
        call(thread, Action::Read(value), began, ended)
    }

    #[test]
    fn calls_one_after_the_other_have_their_order() {
        let history = [write(0, 1, 0, 1), read(1, Some(1), 2, 3), write(1, 2, 4, 5), read(0, Some(2), 6, 7)];

        assert_eq!(check(&history, None), Ok(()));
    }

    #[test]
    fn a_read_beside_a_write_finds_either_value() {
        for found in [None, Some(1)] {
            assert_eq!(check(&[write(0, 1, 0, 3), read(1, found, 1, 2)], None), Ok(()));
        }
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [write(0, 1, 0, 1), write(0, 2, 2, 3), read(1, Some(1), 4, 5)];

        let disorder = check(&history, None).expect_err("the second write had ended");

        assert_eq!(disorder.explained, 2);
        assert_eq!(disorder.stuck, [history[2]]);
    }

    #[test]
    fn a_lost_write_is_found() {
        let history = [write(0, 1, 0, 1), read(1, None, 2, 3)];

        assert!(check(&history, None).is_err());
    }

    #[test]
    fn a_write_that_is_undone_by_an_earlier_one_is_found() {
        // Two writes beside each other, in either order: but a reader does not see the value change twice.
        let writes = [write(0, 1, 0, 3), write(1, 2, 1, 2)];
        let reads = |values: [u64; 3]| {
            let read = |(value, at)| read(2, Some(value), at, at + 1);
            writes.into_iter().chain(values.into_iter().zip([4, 6, 8]).map(read)).collect::<Vec<_>>()
        };

        assert_eq!(check(&reads([1, 1, 1]), None), Ok(()));
        assert_eq!(check(&reads([2, 2, 2]), None), Ok(()));
        assert!(check(&reads([1, 2, 1]), None).is_err());
        assert!(check(&reads([1, 2, 2]), None).is_err());
    }

    #[test]
    fn readers_agree_on_the_order_of_writes() {
        let writes = [write(0, 1, 0, 20), write(1, 2, 1, 21)];
        let reads = |first: u64, second: u64, at| {
            [read(2, Some(first), at, at + 1), read(3, Some(second), at + 2, at + 3)]
        };

        let agree = [&writes[..], &reads(1, 2, 2), &reads(2, 2, 6)].concat();
        assert_eq!(check(&agree, None), Ok(()));
        let differ = [&writes[..], &reads(1, 2, 2), &reads(1, 1, 6)].concat();
        assert!(check(&differ, None).is_err());
    }

    #[test]
    fn a_failed_write_may_take_effect_late_or_never() {
        let failed = Call { ended: None, ..write(0, 1, 0, 0) };

        assert_eq!(check(&[failed, read(1, None, 1, 2)], None), Ok(()));
        assert_eq!(check(&[failed, read(1, None, 1, 2), read(1, Some(1), 3, 4)], None), Ok(()));
        assert!(check(&[failed, read(1, Some(1), 1, 2), read(1, None, 3, 4)], None).is_err());
    }

    #[test]
    fn keys_are_independent_and_the_wrong_one_is_named() {
        let recorder = Recorder::default();
        let fine: Result<(), ()> = recorder.write(0, b"a", Some(1), || Ok(()));
        assert_eq!(fine, Ok(()));
        assert_eq!(recorder.read(0, b"a", || Ok::<Value, ()>(Some(1))), Ok(Some(1)));
        assert_eq!(recorder.check(), Ok(2));

        assert_eq!(recorder.read(0, b"b", || Ok::<Value, ()>(Some(1))), Ok(Some(1)));

        let disorder = recorder.check().expect_err("nobody wrote b");
        assert_eq!(disorder.key, b"b");
        assert!(disorder.to_string().contains("key \"b\""), "{disorder}");
    }
}
