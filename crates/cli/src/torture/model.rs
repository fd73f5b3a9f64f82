//! What the writers' operations leave: the state that a prefix of them makes. Pure; no file.

use super::operations::{Change, Operation, Place, Space, operation};
use std::collections::BTreeMap;

/// What is in the database of one writer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Holding {
    /// Which operation put the value at each place.
    pub(super) entries: BTreeMap<Place, u64>,
    /// Whether its own keyspace is there.
    pub(super) has_own: bool,
}

/// A difference between what must be there and what is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Difference {
    /// Of one place: which operation's value must be there, and which one's is.
    Value { place: Place, expected: Option<u64>, found: Option<u64> },
    /// The writer's own keyspace must be there, or must not.
    OwnKeyspace { expected: bool },
}

impl Holding {
    fn apply(&mut self, number: u64, operation: &Operation) {
        match operation {
            Operation::Write { changes, .. } => {
                for change in changes {
                    match *change {
                        Change::Put(place) => self.entries.insert(place, number),
                        Change::Remove(place) => self.entries.remove(&place),
                    };
                }
            }
            Operation::Make => self.has_own = true,
            Operation::Drop => {
                self.has_own = false;
                self.entries.retain(|place, _| place.space != Space::Own);
            }
        }
    }

    /// The first difference of `found` to this, in the order of places.
    pub(super) fn difference(&self, found: &Holding) -> Option<Difference> {
        if self.has_own != found.has_own {
            return Some(Difference::OwnKeyspace { expected: self.has_own });
        }
        let (mut wanted, mut given) = (self.entries.iter().peekable(), found.entries.iter().peekable());
        loop {
            let place = match (wanted.peek(), given.peek()) {
                (None, None) => return None,
                (Some((place, _)), None) | (None, Some((place, _))) => **place,
                (Some((one, _)), Some((other, _))) => **one.min(other),
            };
            let expected = wanted.next_if(|(at, _)| **at == place).map(|(_, &number)| number);
            let found = given.next_if(|(at, _)| **at == place).map(|(_, &number)| number);
            if expected != found {
                return Some(Difference::Value { place, expected, found });
            }
        }
    }
}

/// The writer whose state does not follow from what it was told is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lost {
    pub(super) writer: usize,
    /// Operations that were acknowledged.
    pub(super) acknowledged: u64,
    /// Where the state differs from the one after these.
    pub(super) difference: Difference,
}

/// The state after some operations of each writer.
#[derive(Clone)]
pub(super) struct Model {
    seed: u64,
    writers: Vec<(u64, Holding)>,
}

impl Model {
    /// Before the first operation of `writers` writers.
    pub(super) fn new(seed: u64, writers: usize) -> Model {
        Model { seed, writers: vec![(0, Holding::default()); writers] }
    }

    /// Operations of each writer that are in.
    pub(super) fn counts(&self) -> Vec<u64> {
        self.writers.iter().map(|(count, _)| *count).collect()
    }

    /// Goes on to the state that was found after a crash, and returns how many operations are in it that were
    /// not acknowledged. Of each writer that is the state after its first `acknowledged` operations (or as
    /// many as were in already), or after the one that was under way as well.
    ///
    /// # Errors
    ///
    /// The writers of which it is neither. They stay at the state that was acknowledged.
    pub(super) fn settle(&mut self, acknowledged: &[u64], found: &[Holding]) -> Result<u64, Vec<Lost>> {
        let (mut more, mut lost) = (0, Vec::new());
        for (writer, (&acknowledged, found)) in acknowledged.iter().zip(found).enumerate() {
            self.advance(writer, acknowledged);
            let (count, expected) = &self.writers[writer];
            let Some(difference) = expected.difference(found) else { continue };
            let (count, mut next) = (*count, expected.clone());
            next.apply(count, &operation(self.seed, writer, count));
            if next.difference(found).is_none() {
                self.writers[writer] = (count + 1, next);
                more += 1;
            } else {
                lost.push(Lost { writer, acknowledged: count, difference });
            }
        }
        if lost.is_empty() { Ok(more) } else { Err(lost) }
    }

    fn advance(&mut self, writer: usize, upto: u64) {
        let (count, holding) = &mut self.writers[writer];
        while *count < upto {
            holding.apply(*count, &operation(self.seed, writer, *count));
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 11;

    /// What is there after so many operations of one writer.
    fn after(count: u64) -> Vec<Holding> {
        let mut model = Model::new(SEED, 1);
        model.advance(0, count);
        vec![model.writers[0].1.clone()]
    }

    #[test]
    fn what_was_acknowledged_and_one_more_pass() {
        let mut model = Model::new(SEED, 1);
        assert_eq!(model.settle(&[150], &after(150)), Ok(0));
        assert_eq!(model.settle(&[400], &after(401)), Ok(1));
        assert_eq!(model.counts(), [401]);
    }

    #[test]
    fn a_lost_operation_is_found_with_its_place() {
        // The last operations that change something: one of them is not there.
        let mut model = Model::new(SEED, 1);
        let lost = model.settle(&[400], &after(380)).unwrap_err();

        assert_eq!((lost[0].writer, lost[0].acknowledged), (0, 400));
        assert!(matches!(lost[0].difference, Difference::Value { .. }), "{lost:?}");
    }

    #[test]
    fn operations_that_nobody_began_are_found() {
        assert!(Model::new(SEED, 1).settle(&[200], &after(210)).is_err());
    }

    #[test]
    fn half_a_batch_is_found() {
        let large = |number: &u64| match operation(SEED, 0, *number) {
            Operation::Write { changes, .. } => changes.len() == 200,
            _ => false,
        };
        let number = (0..).find(large).unwrap();
        let mut found = after(number + 1);
        let half = found[0].entries.iter().find(|(_, at)| **at == number).map(|(place, _)| *place).unwrap();
        found[0].entries.remove(&half);

        assert!(Model::new(SEED, 1).settle(&[number], &found).is_err(), "not acknowledged, but not absent");
        assert!(Model::new(SEED, 1).settle(&[number + 1], &found).is_err());
    }

    #[test]
    fn a_keyspace_that_came_back_is_found() {
        let mut found = after(750);
        found[0].has_own = true;

        let lost = Model::new(SEED, 1).settle(&[750], &found).unwrap_err();

        assert_eq!(lost[0].difference, Difference::OwnKeyspace { expected: false });
    }
}
