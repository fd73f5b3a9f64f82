//! Iterators: short ones from random keys, and whole scans.

use crate::{
    Result,
    engine::{Direction, Engine, Scan},
    keys::Keys,
    measure::Tally,
    record::Measured,
    rig::Rig,
};

/// Entries of a short scan: that under the key sought and the next 10.
pub const SEEK_ENTRIES: usize = 11;

pub fn from_random(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    rig.warm(engine)?;
    let count = rig.keys.count();
    let driven = rig.drive(engine, u64::MAX, |thread| {
        let mut random = rig.random(thread);
        let mut key = Vec::new();
        move |_, tally: &mut Tally| {
            let record = random.below(count);
            rig.keys.write(record, &mut key);
            let mut found_first = None;
            let scan = Scan { from: Some(&key), direction: Direction::Forward, limit: SEEK_ENTRIES };
            let shown = engine.scan(0, scan, &mut |found, value| {
                found_first.get_or_insert_with(|| found == key && rig.values.is_of(record, value));
            })?;
            // Number keys are in the order of their records; of paths only the first is known.
            let least = match rig.keys {
                Keys::Numbers { .. } => SEEK_ENTRIES.min((count - record) as usize),
                Keys::Texts(_) => 1,
            };
            tally.operations += 1;
            tally.expect(found_first == Some(true) && shown >= least, || {
                format!("from {}: {shown} entries, or another first", key.escape_ascii())
            });
            Ok(())
        }
    })?;
    let mut measured = driven.measured;
    rig.note_live(&mut measured, count);
    Ok(measured)
}

pub fn forward(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    whole(rig, engine, Direction::Forward, rig.keys.count())
}

pub fn reverse(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    whole(rig, engine, Direction::Reverse, rig.keys.count())
}

/// Scans all keys, once at least.
pub fn keys(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    let count = rig.keys.count();
    let driven = rig.drive(engine, u64::MAX, |_| {
        move |_, tally: &mut Tally| {
            let mut bytes = 0;
            let shown =
                engine.scan_keys(0, count as usize, &mut |key| bytes += std::hint::black_box(key).len())?;
            tally.operations += shown as u64;
            tally.expect(shown as u64 == count, || format!("{shown} keys, not {count}"));
            Ok(())
        }
    })?;
    let mut measured = driven.measured;
    rig.note_live(&mut measured, count);
    Ok(measured)
}

/// Scans everything, once at least; there must be `expected_count` entries.
pub fn whole(
    rig: &Rig<'_>,
    engine: &dyn Engine,
    direction: Direction,
    expected_count: u64,
) -> Result<Measured> {
    rig.warm(engine)?;
    let mut key = Vec::new();
    rig.keys.write(0, &mut key);
    let expected_bytes = expected_count * (key.len() + rig.values.value_bytes()) as u64;
    let driven = rig.drive(engine, u64::MAX, |_| {
        move |_, tally: &mut Tally| {
            let mut bytes = 0_u64;
            // One more than there should be, to see those too.
            let scan = Scan { from: None, direction, limit: expected_count as usize + 1 };
            let shown = engine.scan(0, scan, &mut |key, value| {
                std::hint::black_box((key.first(), value.first()));
                bytes += (key.len() + value.len()) as u64;
            })?;
            tally.operations += shown as u64;
            tally.expect(shown as u64 == expected_count && bytes == expected_bytes, || {
                format!("{shown} entries of {bytes} bytes, not {expected_count} of {expected_bytes}")
            });
            Ok(())
        }
    })?;
    let mut measured = driven.measured;
    rig.note_live(&mut measured, expected_count);
    Ok(measured)
}
