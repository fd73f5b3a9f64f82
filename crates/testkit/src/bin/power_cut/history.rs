//! What the writers write, and what must be there after some of it. Pure; no file.
//!
//! An operation follows from the seed, its writer and its number. Each puts the number of operations so far
//! under one key of both keyspaces, so that the state itself says how many of a writer's operations are in
//! it.

use std::collections::BTreeMap;
use testkit::Rng;

/// Keyspaces that all writers write to.
pub(crate) const SHARED: [&str; 2] = ["left", "right"];

/// The key under which a writer counts.
const COUNT: u16 = u16::MAX;

/// Keys of a writer in a keyspace.
const KEYS: usize = 300;

/// A writer's own keyspace is made and dropped once in so many operations, at these.
const PERIOD: u64 = 150;
const MADE_AT: u64 = 40;
const DROPPED_AT: u64 = 120;

/// One commit of a writer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    /// Changes in their order, all or none of them.
    Write { changes: Vec<(Place, Change)>, is_synced: bool },
    /// Makes the writer's own keyspace.
    Make,
    /// Drops it.
    Drop,
}

/// Whose keyspace, and the key: [`SHARED`] by position, behind them the writer's own.
pub(crate) type Place = (usize, u16);

/// What happens at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Put,
    Remove,
}

/// The operation of a writer with this number.
pub(crate) fn operation(seed: u64, writer: usize, number: u64) -> Operation {
    match number % PERIOD {
        MADE_AT => return Operation::Make,
        DROPPED_AT => return Operation::Drop,
        _ => {}
    }
    let mut rng = rng_of(seed, writer, number);
    let spaces = SHARED.len() + usize::from(has_own(number));
    let mut changes: Vec<(Place, Change)> = (0..1 + rng.below(8))
        .map(|_| {
            let place = (rng.below(spaces), rng.below(KEYS) as u16);
            (place, if rng.one_in(4) { Change::Remove } else { Change::Put })
        })
        .collect();
    changes.extend((0..SHARED.len()).map(|space| ((space, COUNT), Change::Put)));
    Operation::Write { changes, is_synced: rng.one_in(6) }
}

/// Whether the writer's own keyspace is there before its operation of this number.
pub(crate) fn has_own(number: u64) -> bool {
    (MADE_AT + 1..=DROPPED_AT).contains(&(number % PERIOD))
}

/// What a keyspace of a writer is called.
pub(crate) fn name_of(space: usize, writer: usize) -> String {
    SHARED.get(space).map_or_else(|| format!("own-{writer}"), |name| (*name).into())
}

/// The key of a writer in a keyspace.
pub(crate) fn key_of(writer: usize, key: u16) -> [u8; 3] {
    let [high, low] = key.to_be_bytes();
    [writer as u8, high, low]
}

/// What the operation of this number puts at a place: the number, and bytes that follow from all of it.
pub(crate) fn value_of(seed: u64, writer: usize, number: u64, (space, key): Place) -> Vec<u8> {
    let mut rng = rng_of(seed ^ (space as u64) << 40 ^ u64::from(key) << 20, writer, number);
    let len = rng.below(600);
    let mut value = number.to_be_bytes().to_vec();
    value.extend(rng.bytes(len));
    value
}

fn rng_of(seed: u64, writer: usize, number: u64) -> Rng {
    Rng::new(seed ^ (writer as u64) << 56 ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// What a writer has in the database.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    /// Which operation put the value at each place.
    pub(crate) entries: BTreeMap<Place, u64>,
    pub(crate) has_own: bool,
}

impl State {
    /// How many operations it says are in it, apart from changes of keyspaces behind the last write. The
    /// shared keyspaces must say the same.
    fn counted(&self) -> Result<u64, String> {
        let counts: Vec<u64> = (0..SHARED.len())
            .map(|space| self.entries.get(&(space, COUNT)).map_or(0, |number| number + 1))
            .collect();
        if counts.iter().any(|count| *count != counts[0]) {
            return Err(format!("half a batch: the keyspaces are at {counts:?}"));
        }
        Ok(counts[0])
    }

    fn apply(&mut self, number: u64, operation: &Operation) {
        match operation {
            Operation::Write { changes, .. } => {
                for (place, change) in changes {
                    match change {
                        Change::Put => self.entries.insert(*place, number),
                        Change::Remove => self.entries.remove(place),
                    };
                }
            }
            Operation::Make => self.has_own = true,
            Operation::Drop => {
                self.has_own = false;
                self.entries.retain(|(space, _), _| *space < SHARED.len());
            }
        }
    }
}

/// A writer's operations so far, and what they leave.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    seed: u64,
    writer: usize,
    pub(crate) count: u64,
    state: State,
}

impl Model {
    /// Before the first operation.
    pub(crate) fn new(seed: u64, writer: usize) -> Model {
        Model { seed, writer, count: 0, state: State::default() }
    }

    /// Goes on to what was found, which must be the state after some more operations.
    pub(crate) fn advance_to(&mut self, found: &State) -> Result<(), String> {
        let counted = found.counted()?;
        while self.count < counted {
            self.step();
        }
        // A change of keyspaces counts nothing.
        if self.state != *found && matches!(self.next(), Operation::Make | Operation::Drop) {
            self.step();
        }
        if self.state == *found {
            return Ok(());
        }
        let differs = |place: &&Place| self.state.entries.get(place) != found.entries.get(place);
        let place = self.state.entries.keys().chain(found.entries.keys()).find(differs);
        Err(format!(
            "after {} operations, {:?} must be of operation {:?} and is of {:?} (own keyspace: {} and {})",
            self.count,
            place,
            place.and_then(|place| self.state.entries.get(place)),
            place.and_then(|place| found.entries.get(place)),
            self.state.has_own,
            found.has_own,
        ))
    }

    fn next(&self) -> Operation {
        operation(self.seed, self.writer, self.count)
    }

    fn step(&mut self) {
        let operation = self.next();
        self.state.apply(self.count, &operation);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(count: u64) -> State {
        let mut model = Model::new(3, 0);
        (0..count).for_each(|_| model.step());
        model.state
    }

    #[test]
    fn a_state_says_how_many_operations_are_in_it() {
        let mut model = Model::new(3, 0);
        for count in [0, 30, 41, 200, 271] {
            assert_eq!(model.advance_to(&after(count)), Ok(()));
            assert_eq!(model.count, count);
        }
    }

    #[test]
    fn half_a_batch_and_a_lost_entry_are_found() {
        let mut half = after(100);
        half.entries.insert((1, COUNT), 98);
        assert!(Model::new(3, 0).advance_to(&half).unwrap_err().starts_with("half a batch"));

        let mut lacks = after(100);
        lacks.entries.pop_first();
        assert!(Model::new(3, 0).advance_to(&lacks).is_err());
    }
}
