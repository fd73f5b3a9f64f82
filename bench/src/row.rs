//! The work of a child process: one row measured, or one database made.

use crate::{
    Result,
    engine::Engine,
    engines,
    keys::{Keys, Texts},
    measure::Probes,
    plan::Sizes,
    random::mix,
    record::{Measured, Outcome, Plan},
    request::{LoadAnswer, LoadKind, LoadRequest, RowAnswer, RowRequest},
    rig::Rig,
    values::Values,
    workload::{self, Base, Data, Run, open, ranges, recovery},
};
use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Entries of a batch of a loaded database.
const LOADED_BATCH_ENTRIES: u64 = 1000;

/// Does nothing: its answers do not count.
const UNCHECKED_ENGINE: &str = "noop";

pub fn run(request: &RowRequest) -> Result<RowAnswer> {
    let rig = rig(
        &request.engine,
        &request.workload,
        &request.plan,
        &request.dir,
        request.paths.as_deref(),
        u64::from(request.round),
    )?;
    let measured = match rig.workload.run {
        Run::Unopened(run) => run(&rig)?,
        Run::Opened(run) => {
            let engine = rig.open()?;
            if let Some(why) = rig.workload.lacks(&engine.abilities()) {
                return Ok(RowAnswer { outcome: Outcome::Unsupported { why: why.into() } });
            }
            let measured = run(&rig, &*engine)?;
            engine.close()?;
            measured
        }
    };
    let mut measured = measured;
    let wrong = if rig.workload.is_synced { missing_syncs(&measured, rig.workload.threads) } else { None };
    rig.judge(&mut measured, wrong);
    if rig.workload.data == Data::Text {
        measured.facts.push(("keys".into(), rig.keys.count() as f64));
        measured.facts.push(("average key bytes".into(), rig.keys.average_bytes()));
    }
    Ok(RowAnswer { outcome: Outcome::Measured(Box::new(measured)) })
}

/// A sync may serve the commits of all threads that wait for it, one each.
fn missing_syncs(measured: &Measured, threads: usize) -> Option<String> {
    let count = measured.sync_calls.as_ref()?.count();
    let least = measured.commits / threads as u64;
    (count < least)
        .then(|| format!("{count} sync calls for {} commits of {threads} threads", measured.commits))
}

/// Makes a database and prints what the engine is. Does not return for [`LoadKind::Unflushed`].
pub fn load(request: &LoadRequest, out: &mut impl Write) -> Result<()> {
    let rig =
        rig(&request.engine, &request.workload, &request.plan, &request.dir, request.paths.as_deref(), 0)?;
    let engine = rig.open()?;
    let settings = engine.settings().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let answer = LoadAnswer { abilities: engine.abilities(), settings };
    match (request.kind, rig.workload.base) {
        (LoadKind::Introduce, _) | (LoadKind::Base, Base::Empty) => engine.close()?,
        (LoadKind::Base, Base::Loaded) => {
            insert_all(&rig, &*engine)?;
            engine.settle()?;
            engine.close()?;
        }
        (LoadKind::Base, Base::Holes) => {
            ranges::remove_all(&rig.keys, &*engine)?;
            engine.close()?;
        }
        (LoadKind::Base, Base::Keyspaces) => {
            open::fill(&rig, &*engine)?;
            engine.settle()?;
            engine.close()?;
        }
        (LoadKind::Unflushed, _) => {
            recovery::fill(&rig, &*engine)?;
            writeln!(out, "{}", serde_json::to_string(&answer)?)?;
            out.flush()?;
            loop {
                std::thread::park(); // Until killed.
            }
        }
    }
    writeln!(out, "{}", serde_json::to_string(&answer)?)?;
    Ok(())
}

fn insert_all(rig: &Rig<'_>, engine: &dyn Engine) -> Result<()> {
    let (count, order) = (rig.keys.count(), rig.loaded_order());
    let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    // Large values make a batch large.
    let batch_entries = LOADED_BATCH_ENTRIES.min((1 << 20) / rig.values.value_bytes() as u64).max(1);
    for from in (0..count).step_by(batch_entries as usize) {
        let indexes = from..count.min(from + batch_entries);
        entries.resize_with((indexes.end - from) as usize, Default::default);
        for (index, (key, value)) in indexes.zip(&mut entries) {
            let record = order.at(index);
            rig.keys.write(record, key);
            rig.values.write(record, 0, value);
        }
        engine.insert_batch(0, &entries)?;
    }
    Ok(())
}

fn rig<'a>(
    engine: &str,
    workload: &str,
    plan: &'a Plan,
    dir: &'a Path,
    paths: Option<&Path>,
    round: u64,
) -> Result<Rig<'a>> {
    let adapter = engines::find(engine).ok_or_else(|| format!("this build has no engine {engine}"))?;
    let workload = workload::find(workload).ok_or_else(|| format!("there is no workload {workload}"))?;
    let sizes = Sizes::of(plan);
    let value_bytes = if workload.data == Data::Large { Data::LARGE_VALUE_BYTES } else { plan.value_bytes };
    let keys = match workload.data {
        Data::Numbers => Keys::Numbers { count: sizes.records },
        Data::Large => Keys::Numbers { count: sizes.large_records },
        Data::Text => Keys::Texts(Texts::read(paths, value_bytes, sizes.volume_bytes)?),
    };
    // Probes first: they count the calls of threads that are started after them.
    let probes = Mutex::new(Probes::start(workload.is_synced));
    Ok(Rig {
        adapter,
        workload,
        plan,
        sizes,
        keys,
        values: Values::new(value_bytes, plan.seed),
        seed: mix(plan.seed ^ mix(round)),
        dir,
        paths: paths.map(PathBuf::from),
        probes,
        is_checked: adapter.name != UNCHECKED_ENGINE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SyncCalls;

    #[test]
    fn fewer_syncs_than_group_commit_allows_are_missed() {
        let calls = |count| Some(SyncCalls { counter: "test".into(), calls: vec![("fsync".into(), count)] });
        let measured = |sync_calls| Measured { commits: 800, sync_calls, ..Measured::default() };

        assert_eq!(missing_syncs(&measured(calls(100)), 8), None);
        assert!(missing_syncs(&measured(calls(99)), 8).unwrap().contains("99 sync calls for 800 commits"));
        assert!(missing_syncs(&measured(calls(100)), 1).is_some());
        assert_eq!(missing_syncs(&measured(None), 1), None);
    }
}
