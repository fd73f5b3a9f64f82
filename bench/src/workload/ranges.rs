//! Range deletes, and reading where ranges were deleted.

use super::scan::{self, SEEK_ENTRIES};
use crate::{
    Result,
    engine::{Direction, Engine, Scan},
    keys::Keys,
    measure::Tally,
    record::Measured,
    rig::Rig,
};
use std::ops::Range;

/// Ranges that are deleted.
const HOLES_COUNT: u64 = 8;

/// Records of one of the ranges: all of them together are a third of `count`.
fn hole(number: u64, count: u64) -> Range<u64> {
    let from = number * count / HOLES_COUNT + hole_records(count);
    from..from + hole_records(count)
}

fn hole_records(count: u64) -> u64 {
    count / HOLES_COUNT / 3
}

/// Removes one of the ranges; the bytes of the keys it was given.
fn remove(keys: &Keys, engine: &dyn Engine, number: u64) -> Result<u64> {
    let hole = hole(number, keys.count());
    let (mut from, mut to) = (Vec::new(), Vec::new());
    keys.write(hole.start, &mut from);
    keys.write(hole.end, &mut to);
    engine.remove_range(0, &from, &to)?;
    Ok((from.len() + to.len()) as u64)
}

/// Makes the database with holes of a loaded one.
pub fn remove_all(keys: &Keys, engine: &dyn Engine) -> Result<()> {
    (0..HOLES_COUNT).try_for_each(|number| remove(keys, engine, number).map(|_| ()))
}

pub fn delete(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    let driven = rig.drive(engine, HOLES_COUNT, |_| {
        move |number, tally: &mut Tally| {
            tally.user_bytes += remove(&rig.keys, engine, number)?;
            tally.operations += 1;
            tally.commits += 1;
            Ok(())
        }
    })?;
    let mut measured = driven.measured;
    let count = rig.keys.count();
    let borders = (0..driven.steps[0]).flat_map(|number| {
        let hole = hole(number, count);
        [(hole.start - 1, true), (hole.start, false), (hole.end - 1, false), (hole.end, true)]
    });
    rig.check(engine, &mut measured, borders)?;
    let deleted_count = driven.steps[0] * hole_records(count);
    measured.facts.push(("keys deleted".into(), deleted_count as f64));
    rig.note_live(&mut measured, count - deleted_count);
    Ok(measured)
}

pub fn seek(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    let count = rig.keys.count();
    let driven = rig.drive(engine, u64::MAX, |thread| {
        let mut random = rig.random(thread);
        let (mut from, mut next) = (Vec::new(), Vec::new());
        move |_, tally: &mut Tally| {
            let hole = hole(random.below(HOLES_COUNT), count);
            rig.keys.write(hole.start + random.below(hole.end - hole.start), &mut from);
            rig.keys.write(hole.end, &mut next);
            let mut found_next = None;
            let scan = Scan { from: Some(&from), direction: Direction::Forward, limit: SEEK_ENTRIES };
            let shown = engine.scan(0, scan, &mut |key, _| {
                found_next.get_or_insert_with(|| key == next);
            })?;
            let least = SEEK_ENTRIES.min((count - hole.end) as usize);
            tally.operations += 1;
            tally.expect(found_next == Some(true) && shown >= least, || {
                format!("from {} in a hole: {shown} entries, or another first", from.escape_ascii())
            });
            Ok(())
        }
    })?;
    let mut measured = driven.measured;
    rig.note_live(&mut measured, count - HOLES_COUNT * hole_records(count));
    Ok(measured)
}

pub fn scan(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    let count = rig.keys.count();
    scan::whole(rig, engine, Direction::Forward, count - HOLES_COUNT * hole_records(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_a_third_and_apart() {
        const COUNT: u64 = 2400;
        let holes: Vec<_> = (0..HOLES_COUNT).map(|number| hole(number, COUNT)).collect();

        assert_eq!(holes.iter().map(|hole| hole.end - hole.start).sum::<u64>(), COUNT / 3);
        assert!(holes.windows(2).all(|pair| pair[0].end < pair[1].start), "{holes:?}");
        assert!(holes[0].start > 0 && holes[7].end < COUNT);
    }
}
