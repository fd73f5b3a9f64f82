//! Gets.

use crate::{
    Result,
    engine::Engine,
    measure::Tally,
    record::Measured,
    rig::Rig,
    values::{tag, tag_in},
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Of the thread that writes beside those that read.
const WRITES_PER_SECOND: f64 = 10_000.0;

/// Keys of one call.
const KEYS_COUNT: usize = 32;

type Step<'a> = Box<dyn FnMut(u64, &mut Tally) -> Result<()> + 'a>;

pub fn random(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    rig.warm(engine)?;
    let mut measured = rig.drive(engine, u64::MAX, |thread| reading(rig, engine, thread))?.measured;
    rig.note_live(&mut measured, rig.keys.count());
    Ok(measured)
}

/// The last thread puts new values of random records while the others read, at the same pace for every
/// engine: one whose writer is slow would have it easier.
pub fn beside_writing(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    rig.warm(engine)?;
    let steps_of = |thread| -> Step<'_> {
        if thread < rig.workload.threads as u64 {
            Box::new(reading(rig, engine, thread))
        } else {
            Box::new(writing(rig, engine, thread))
        }
    };
    let mut measured = rig.drive(engine, u64::MAX, steps_of)?.measured;
    rig.note_live(&mut measured, rig.keys.count());
    Ok(measured)
}

fn reading<'a>(
    rig: &'a Rig<'_>,
    engine: &'a dyn Engine,
    thread: u64,
) -> impl FnMut(u64, &mut Tally) -> Result<()> + 'a {
    let mut random = rig.random(thread);
    let mut key = Vec::new();
    move |_, tally| {
        let record = random.below(rig.keys.count());
        rig.keys.write(record, &mut key);
        let mut is_right = false;
        engine.get(0, &key, &mut |value| is_right = rig.values.is_of(record, value))?;
        tally.operations += 1;
        tally.expect(is_right, || format!("record {record} is not there or has a wrong value"));
        Ok(())
    }
}

fn writing<'a>(
    rig: &'a Rig<'_>,
    engine: &'a dyn Engine,
    thread: u64,
) -> impl FnMut(u64, &mut Tally) -> Result<()> + 'a {
    let mut random = rig.random(thread);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let started = Instant::now();
    move |number, tally| {
        let due = started + Duration::from_secs_f64(number as f64 / WRITES_PER_SECOND);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let record = random.below(rig.keys.count());
        rig.keys.write(record, &mut key);
        rig.values.write(record, number + 1, &mut value);
        engine.insert(0, &key, &value)?;
        tally.wrote(&key, &value);
        Ok(())
    }
}

pub fn missing(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    rig.warm(engine)?;
    let driven = rig.drive(engine, u64::MAX, |thread| {
        let mut random = rig.random(thread);
        let mut key = Vec::new();
        move |_, tally: &mut Tally| {
            rig.keys.write_missing(random.below(rig.keys.count()), &mut key);
            let found = engine.get(0, &key, &mut |_| ())?;
            tally.operations += 1;
            tally.expect(!found, || format!("{} was never written, and is there", key.escape_ascii()));
            Ok(())
        }
    })?;
    let mut measured = driven.measured;
    rig.note_live(&mut measured, rig.keys.count());
    Ok(measured)
}

pub fn many(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    rig.warm(engine)?;
    let driven = rig.drive(engine, u64::MAX, |thread| {
        let mut random = rig.random(thread);
        let mut keys = vec![Vec::new(); KEYS_COUNT];
        move |_, tally: &mut Tally| {
            let mut expected = 0_u64;
            for key in &mut keys {
                let record = random.below(rig.keys.count());
                rig.keys.write(record, key);
                expected = expected.wrapping_add(tag(record));
            }
            // Values may be shown in any order: their tags add up to the same.
            let mut seen = 0_u64;
            let found = engine.multi_get(0, &keys, &mut |value| seen = seen.wrapping_add(tag_in(value)))?;
            tally.operations += keys.len() as u64;
            tally.expect(found == keys.len() && seen == expected, || {
                format!("{found} of {} keys found, or wrong values", keys.len())
            });
            Ok(())
        }
    })?;
    let mut measured = driven.measured;
    rig.note_live(&mut measured, rig.keys.count());
    Ok(measured)
}
