//! What the writers of the torture do. An operation follows from the seed, the writer and its number alone,
//! so that whoever knows how many were acknowledged knows what must be in the database, without a record of
//! it.
//!
//! Each writer has keys of its own in every shared keyspace, and now and then a keyspace of its own.

use crate::random::Random;

/// Keyspaces that all writers write to.
pub(super) const SHARED: [&str; 4] = ["ash", "birch", "cedar", "daisy"];

/// Keys of a writer in each keyspace. Few, so that most writes replace something.
const KEYS: u16 = 1000;

/// The key that stamps put in every shared keyspace at once.
pub(super) const STAMP: u16 = u16::MAX;

/// Operations from one making of a writer's own keyspace to the next.
const OWN_PERIOD: u64 = 900;

/// When the keyspace is made within the period, and when it is dropped.
const OWN_LIFE: std::ops::Range<u64> = 100..700;

/// Most writers there can be: the number is a byte of the key, and of the operation's seed.
pub(super) const MAX_WRITERS: usize = 64;

/// A writer's keyspaces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Space {
    /// One of [`SHARED`].
    Shared(u8),
    /// The one of its own.
    Own,
}

/// Where a value of a writer lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Place {
    pub(super) space: Space,
    pub(super) key: u16,
}

/// One operation: a commit, whole or absent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    /// Changes in their order.
    Write {
        changes: Vec<Change>,
        /// Whether they are on the medium once acknowledged.
        is_synced: bool,
    },
    /// Makes the writer's own keyspace.
    Make,
    /// Drops it with what is in it.
    Drop,
}

/// A change of one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Puts [`value`].
    Put(Place),
    Remove(Place),
}

/// The operation of a writer with this number.
pub(super) fn operation(seed: u64, writer: usize, number: u64) -> Operation {
    match number % OWN_PERIOD {
        phase if phase == OWN_LIFE.start => return Operation::Make,
        phase if phase == OWN_LIFE.end => return Operation::Drop,
        _ => {}
    }
    let mut random = random_of(seed, writer, number);
    let has_own = has_own(number);
    let changes = match random.below(100) {
        0..40 => vec![Change::Put(place(&mut random, has_own))],
        40..52 => vec![Change::Remove(place(&mut random, has_own))],
        52..60 => stamp(),
        60 => (0..200).map(|_| change(&mut random, has_own)).collect(),
        _ => (0..2 + random.below(9)).map(|_| change(&mut random, has_own)).collect(),
    };
    Operation::Write { changes, is_synced: random.below(12) == 0 }
}

/// Whether the writer's own keyspace is there before its operation of this number.
pub(super) fn has_own(number: u64) -> bool {
    (OWN_LIFE.start + 1..=OWN_LIFE.end).contains(&(number % OWN_PERIOD))
}

/// Puts under one key in all shared keyspaces: of these, a view sees all or none.
fn stamp() -> Vec<Change> {
    let spaces = 0..SHARED.len() as u8;
    spaces.map(|space| Change::Put(Place { space: Space::Shared(space), key: STAMP })).collect()
}

fn change(random: &mut Random, has_own: bool) -> Change {
    let place = place(random, has_own);
    if random.below(4) == 0 { Change::Remove(place) } else { Change::Put(place) }
}

fn place(random: &mut Random, has_own: bool) -> Place {
    let spaces = SHARED.len() as u64 + u64::from(has_own);
    let space = match random.below(spaces) as usize {
        shared if shared < SHARED.len() => Space::Shared(shared as u8),
        _ => Space::Own,
    };
    Place { space, key: random.below(u64::from(KEYS)) as u16 }
}

fn random_of(seed: u64, writer: usize, number: u64) -> Random {
    Random::new(seed ^ (writer as u64) << 56 ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

// ----- names, keys, values -----

impl Space {
    /// What the keyspace of a writer is called.
    pub(super) fn name(self, writer: usize) -> String {
        match self {
            Space::Shared(shared) => SHARED[usize::from(shared)].to_owned(),
            Space::Own => format!("own-{writer}"),
        }
    }

    /// The inverse of [`Space::name`], and which writers use it: one or all.
    pub(super) fn of_name(name: &str) -> Option<(Space, Option<usize>)> {
        if let Some(shared) = SHARED.iter().position(|shared| *shared == name) {
            return Some((Space::Shared(shared as u8), None));
        }
        let writer = name.strip_prefix("own-")?.parse().ok()?;
        Some((Space::Own, Some(writer)))
    }

    fn byte(self) -> u8 {
        match self {
            Space::Shared(shared) => shared,
            Space::Own => u8::MAX,
        }
    }
}

/// The key of a writer's place: 3 bytes, the writer first.
pub(super) fn key(writer: usize, key: u16) -> [u8; 3] {
    let [high, low] = key.to_be_bytes();
    [writer as u8, high, low]
}

/// The inverse of [`key`].
pub(super) fn split_key(key: &[u8]) -> Option<(usize, u16)> {
    let &[writer, high, low] = key else { return None };
    Some((usize::from(writer), u16::from_be_bytes([high, low])))
}

/// What the operation of this number puts at a place: 12 to some thousand bytes, which name the number and
/// the place, so that a value from elsewhere or of another time is told.
pub(super) fn value(seed: u64, writer: usize, number: u64, place: Place) -> Vec<u8> {
    let [high, low] = place.key.to_be_bytes();
    let mut random =
        random_of(seed ^ u64::from(place.key) << 32 ^ u64::from(place.space.byte()), writer, number);
    let longest = if random.below(16) == 0 { 4000 } else { 300 };
    let length = 12 + random.below(longest) as usize;
    let mut value = Vec::with_capacity(length + 8);
    value.extend_from_slice(&number.to_be_bytes());
    value.extend_from_slice(&[writer as u8, place.space.byte(), high, low]);
    while value.len() < length {
        value.extend_from_slice(&random.next().to_le_bytes());
    }
    value.truncate(length);
    value
}

/// Which operation put a value there; `None` if none can have.
pub(super) fn number_of(seed: u64, writer: usize, place: Place, found: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*found.first_chunk()?);
    (value(seed, writer, number, place) == found).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { space: Space::Shared(2), key: 7 };

    #[test]
    fn operations_follow_from_seed_writer_and_number() {
        assert_eq!(operation(1, 2, 3), operation(1, 2, 3));
        let differs =
            |seed, writer| (0..20).any(|number| operation(seed, writer, number) != operation(1, 2, number));
        assert!(differs(2, 2) && differs(1, 3));
    }

    #[test]
    fn a_keyspace_of_its_own_is_written_to_only_while_it_is_there() {
        let mut is_there = false;
        for number in 0..3 * OWN_PERIOD {
            assert_eq!(has_own(number), is_there, "before operation {number}");
            match operation(5, 0, number) {
                Operation::Make => is_there = true,
                Operation::Drop => is_there = false,
                Operation::Write { changes, .. } => assert!(changes.iter().all(|change| {
                    let (Change::Put(place) | Change::Remove(place)) = change;
                    is_there || place.space != Space::Own
                })),
            }
        }
    }

    #[test]
    fn a_value_tells_its_operation_and_no_other_value_passes() {
        let found = value(1, 2, 300, PLACE);

        assert_eq!(number_of(1, 2, PLACE, &found), Some(300));
        assert_eq!(number_of(1, 3, PLACE, &found), None, "of another writer");
        assert_eq!(number_of(1, 2, Place { key: 8, ..PLACE }, &found), None, "of another key");
        assert_eq!(number_of(1, 2, PLACE, &found[..found.len() - 1]), None, "cut off");
        assert_eq!(number_of(1, 2, PLACE, b"short"), None);
    }

    #[test]
    fn names_and_keys_split() {
        assert_eq!(Space::of_name(&Space::Shared(3).name(5)), Some((Space::Shared(3), None)));
        assert_eq!(Space::of_name(&Space::Own.name(5)), Some((Space::Own, Some(5))));
        assert_eq!(Space::of_name("other"), None);
        assert_eq!(split_key(&key(9, STAMP)), Some((9, STAMP)));
        assert_eq!(split_key(b"long key"), None);
    }
}
