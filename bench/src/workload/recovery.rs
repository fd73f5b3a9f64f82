//! What SIGKILL leaves: another process writes and is killed; this one opens.

use crate::{
    Result, child,
    engine::{Buffered, Direction, Engine, Scan},
    measure::Meter,
    plan::Sizes,
    random::Permutation,
    record::{Measured, Plan},
    request::{LoadKind, LoadRequest},
    rig::Rig,
};

/// Keys and values that are written and not flushed, at most.
const UNFLUSHED_BYTES: u64 = 40_000_000;

/// Records that are written.
fn records(plan: &Plan) -> u64 {
    let sizes = Sizes::of(plan);
    let record_bytes = sizes.volume_bytes / sizes.records;
    sizes.records.min(UNFLUSHED_BYTES / record_bytes)
}

/// Holds all of it, with what engines keep beside each entry.
pub fn write_buffer_bytes(plan: &Plan) -> u64 {
    let sizes = Sizes::of(plan);
    (4 * records(plan) * (sizes.volume_bytes / sizes.records)).next_power_of_two()
}

/// The same in every round: the process that writes does not know its row's.
fn order(rig: &Rig<'_>) -> Permutation {
    Permutation::new(rig.keys.count(), rig.plan.seed)
}

/// Writes the records, in random order. For the process that will be killed.
pub fn fill(rig: &Rig<'_>, engine: &dyn Engine) -> Result<()> {
    let order = order(rig);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for index in 0..records(rig.plan) {
        let record = order.at(index);
        rig.keys.write(record, &mut key);
        rig.values.write(record, 0, &mut value);
        engine.insert(0, &key, &value)?;
    }
    Ok(())
}

pub fn measure(rig: &Rig<'_>) -> Result<Measured> {
    let written_count = records(rig.plan);
    let request = LoadRequest {
        engine: rig.adapter.name.into(),
        kind: LoadKind::Unflushed,
        workload: rig.workload.name.into(),
        plan: rig.plan.clone(),
        dir: rig.dir.into(),
        paths: rig.paths.clone(),
    };
    child::start_and_kill(&request)?;

    let mut key = Vec::new();
    rig.keys.write(order(rig).at(0), &mut key);
    let mut probes = rig.probes.lock().expect("no thread panics with it");
    let mut meter = Meter::start(&mut probes)?;
    let engine = rig.open()?;
    let found_first = engine.get(0, &key, &mut |_| ())?;
    meter.work_is_done(meter.started().elapsed())?;
    let mut measured = meter.end(rig.dir)?;

    measured.operations = 1;
    let limit = written_count as usize + 1;
    let mut right_count = 0_u64;
    let scan = Scan { from: None, direction: Direction::Forward, limit };
    let survived_count = engine.scan(0, scan, &mut |key, value| {
        let record = std::str::from_utf8(key).ok().and_then(|key| key.parse().ok());
        right_count += u64::from(record.is_some_and(|record| rig.values.is_of(record, value)));
    })? as u64;
    measured.facts.push(("records written".into(), written_count as f64));
    measured.facts.push(("records survived".into(), survived_count as f64));
    let promises_all = engine.abilities().buffered == Buffered::Survives;
    let wrong = if right_count != survived_count {
        Some(format!("{} of {survived_count} records are wrong", survived_count - right_count))
    } else if promises_all && (survived_count != written_count || !found_first) {
        Some(format!("{survived_count} of {written_count} records survived, all should"))
    } else {
        None
    };
    rig.judge(&mut measured, wrong);
    engine.close()?;
    Ok(measured)
}
