//! Writes: into an empty database, over a loaded one, and deletes.

use crate::{
    Result,
    engine::{BulkLoad, Engine},
    measure::Tally,
    record::Measured,
    rig::{Driven, Rig},
};

/// Entries of a batch.
const BATCH_ENTRIES: u64 = 100;

/// Records that are looked for afterwards.
const CHECKED_COUNT: u64 = 500;

pub fn in_key_order(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    each_once(rig, engine, |index| index)
}

pub fn in_random_order(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    let order = rig.order();
    each_once(rig, engine, |index| order.at(index))
}

/// Threads take turns in the order.
fn each_once(rig: &Rig<'_>, engine: &dyn Engine, record_at: impl Fn(u64) -> u64 + Sync) -> Result<Measured> {
    let (threads, record_at) = (rig.workload.threads as u64, &record_at);
    let driven = rig.drive(engine, rig.keys.count(), |thread| {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        move |number, tally: &mut Tally| {
            let record = record_at(number * threads + thread);
            rig.keys.write(record, &mut key);
            rig.values.write(record, 0, &mut value);
            engine.insert(0, &key, &value)?;
            tally.wrote(&key, &value);
            Ok(())
        }
    })?;
    let Driven { mut measured, steps } = driven;
    let mut random = rig.random(threads);
    let written = (0..CHECKED_COUNT).map(|_| {
        let thread = random.below(threads);
        record_at(random.below(steps[thread as usize]) * threads + thread)
    });
    rig.check(engine, &mut measured, written.map(|record| (record, true)))?;
    Ok(measured)
}

/// In key order, by loads that show as a whole; of an engine that has none in batches of a thousand.
pub fn in_bulk(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    const BATCH: usize = 1000;
    const LOAD: u64 = 1_000_000;
    let count = rig.keys.count();
    let driven = rig.drive(engine, count, |_| {
        let mut load: Option<Box<dyn BulkLoad>> = None;
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        move |number, tally: &mut Tally| {
            if number % LOAD == 0 {
                load = engine.bulk_load(0)?;
            }
            rig.keys.write(number, &mut key);
            rig.values.write(number, 0, &mut value);
            match &mut load {
                Some(load) => load.insert(&key, &value)?,
                None => entries.push((key.clone(), value.clone())),
            }
            if ((number + 1) % LOAD == 0 || number + 1 == count)
                && let Some(load) = load.take()
            {
                load.finish()?;
            }
            if entries.len() == BATCH || number + 1 == count {
                engine.insert_batch(0, &entries)?;
                entries.clear();
            }
            tally.wrote(&key, &value);
            Ok(())
        }
    })?;
    let Driven { mut measured, steps } = driven;
    let mut random = rig.random(1);
    let shown = if steps[0] == count { count } else { steps[0] / LOAD * LOAD }; // What was cut shows nothing.
    let written = (0..CHECKED_COUNT.min(shown)).map(|_| random.below(shown));
    rig.check(engine, &mut measured, written.map(|record| (record, true)))?;
    Ok(measured)
}

pub fn in_batches(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    let (count, order) = (rig.keys.count(), rig.order());
    let driven = rig.drive(engine, count.div_ceil(BATCH_ENTRIES), |_| {
        let order = &order;
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        move |number, tally: &mut Tally| {
            let indexes = number * BATCH_ENTRIES..count.min((number + 1) * BATCH_ENTRIES);
            entries.resize_with((indexes.end - indexes.start) as usize, Default::default);
            for (index, (key, value)) in indexes.zip(&mut entries) {
                let record = order.at(index);
                rig.keys.write(record, key);
                rig.values.write(record, 0, value);
                tally.wrote(key, value);
            }
            engine.insert_batch(0, &entries)?;
            tally.commits -= entries.len() as u64 - 1;
            Ok(())
        }
    })?;
    let Driven { mut measured, .. } = driven;
    let (mut random, operations) = (rig.random(1), measured.operations);
    let written = (0..CHECKED_COUNT).map(|_| order.at(random.below(operations)));
    rig.check(engine, &mut measured, written.map(|record| (record, true)))?;
    Ok(measured)
}

/// As many puts as there are records, each to a record chosen anew.
pub fn overwrite(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    let count = rig.keys.count();
    let driven = rig.drive(engine, count, |thread| {
        let mut random = rig.random(thread);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        move |number, tally: &mut Tally| {
            let record = random.below(count);
            rig.keys.write(record, &mut key);
            rig.values.write(record, number + 1, &mut value);
            engine.insert(0, &key, &value)?;
            tally.wrote(&key, &value);
            Ok(())
        }
    })?;
    let Driven { mut measured, .. } = driven;
    let mut random = rig.random(rig.workload.threads as u64);
    rig.note_live(&mut measured, count);
    let loaded = (0..CHECKED_COUNT).map(|_| random.below(count));
    rig.check(engine, &mut measured, loaded.map(|record| (record, true)))?;
    Ok(measured)
}

pub fn delete(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    let (count, order) = (rig.keys.count(), rig.order());
    let driven = rig.drive(engine, count, |_| {
        let (order, mut key) = (&order, Vec::new());
        move |number, tally: &mut Tally| {
            rig.keys.write(order.at(number), &mut key);
            engine.remove(0, &key)?;
            tally.wrote(&key, &[]);
            Ok(())
        }
    })?;
    let Driven { mut measured, .. } = driven;
    let (mut random, deleted_count) = (rig.random(1), measured.operations);
    rig.note_live(&mut measured, count - deleted_count);
    let some = (0..CHECKED_COUNT).map(|_| random.below(count));
    rig.check(engine, &mut measured, some.map(|index| (order.at(index), index >= deleted_count)))?;
    Ok(measured)
}
