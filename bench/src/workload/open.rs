//! Many keyspaces: what opening costs, the first get from each included.

use crate::{
    Result,
    engine::Engine,
    measure::{Meter, Tally},
    record::Measured,
    rig::Rig,
};
use std::time::Instant;

pub const KEYSPACES_COUNT: usize = 1000;

/// Puts one record into each.
pub fn fill(rig: &Rig<'_>, engine: &dyn Engine) -> Result<()> {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for keyspace in 0..KEYSPACES_COUNT {
        rig.keys.write(0, &mut key);
        rig.values.write(0, keyspace as u64, &mut value);
        engine.insert(keyspace, &key, &value)?;
    }
    Ok(())
}

pub fn measure(rig: &Rig<'_>) -> Result<Measured> {
    let mut tally = Tally::new();
    let mut key = Vec::new();
    rig.keys.write(0, &mut key);
    let mut probes = rig.probes.lock().expect("no thread panics with it");
    let mut meter = Meter::start(&mut probes)?;
    let engine = rig.open()?;
    let open_seconds = meter.started().elapsed().as_secs_f64();
    let mut last = Instant::now();
    for keyspace in 0..KEYSPACES_COUNT {
        let mut is_right = false;
        engine.get(keyspace, &key, &mut |value| is_right = rig.values.is_of(0, value))?;
        let now = Instant::now();
        tally.took(now - last);
        last = now;
        tally.operations += 1;
        tally.expect(is_right, || format!("keyspace {keyspace} has lost its record"));
    }
    meter.work_is_done(last - meter.started())?;
    let mut measured = meter.end(rig.dir)?;
    measured.operations = tally.operations;
    measured.latency = tally.latency();
    measured.facts.push(("seconds of open alone".into(), open_seconds));
    rig.judge(&mut measured, tally.wrong());
    engine.close()?;
    Ok(measured)
}
