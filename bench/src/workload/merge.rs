//! Counters.

use crate::{
    Result,
    engine::{Direction, Engine, Scan, counter},
    measure::Tally,
    record::Measured,
    rig::Rig,
    summary::LIVE_BYTES_FACT,
};

/// Counters at most.
const COUNTERS_COUNT: u64 = 100_000;

pub fn counters(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    const OPERAND: u64 = 1;
    let counters_count = rig.keys.count().min(COUNTERS_COUNT);
    let driven = rig.drive(engine, rig.sizes.merges, |thread| {
        let mut random = rig.random(thread);
        let mut key = Vec::new();
        move |_, tally: &mut Tally| {
            rig.keys.write(random.below(counters_count), &mut key);
            engine.merge(0, &key, OPERAND)?;
            tally.wrote(&key, &OPERAND.to_le_bytes());
            Ok(())
        }
    })?;
    let mut measured = driven.measured;
    let (mut sum, mut live_bytes) = (0, 0);
    let scan = Scan { from: None, direction: Direction::Forward, limit: counters_count as usize + 1 };
    let shown = engine.scan(0, scan, &mut |key, value| {
        sum += counter(value);
        live_bytes += key.len() + value.len();
    })?;
    measured.facts.push(("counters".into(), shown as f64));
    measured.facts.push((LIVE_BYTES_FACT.into(), live_bytes as f64));
    let is_right = sum == measured.operations * OPERAND;
    let wrong = (!is_right).then(|| format!("the counters add up to {sum}, not {}", measured.operations));
    rig.judge(&mut measured, wrong);
    Ok(measured)
}
