//! The work of a child process: one row measured, or one database made.

use crate::{
    Result, child,
    engine::{Abilities, Buffered, Direction, Engine, Scan},
    engines,
    keys::{Keys, Texts},
    measure::Probes,
    plan::Sizes,
    random::mix,
    record::{Measured, Outcome, Plan},
    request::{CheckAnswer, CheckRequest, LoadAnswer, LoadKind, LoadRequest, RowAnswer, RowRequest},
    rig::Rig,
    values::Values,
    workload::{self, Base, Data, Run, Workload, open, ranges, recovery},
};
use serde::Serialize;
use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Entries of a batch of a loaded database.
const LOADED_BATCH_ENTRIES: u64 = 1000;

/// Does nothing: its answers do not count.
const UNCHECKED_ENGINE: &str = "noop";

/// Measures a row and prints what came of it. Does not return where [`ends_by_kill`] says so.
pub fn run(request: &RowRequest, out: &mut impl Write) -> Result<()> {
    let rig = rig_of(request)?;
    let (mut measured, killed) = match rig.workload.run {
        Run::Unopened(run) => (run(&rig)?, None),
        Run::Opened(run) => {
            let engine = rig.open()?;
            let abilities = engine.abilities();
            if let Some(why) = rig.workload.lacks(&abilities) {
                let outcome = Outcome::Unsupported { why: why.into() };
                return answer(out, &RowAnswer { outcome, is_killed: false });
            }
            let measured = run(&rig, &*engine)?;
            if request.may_be_killed && rig.is_checked && ends_by_kill(rig.workload, &abilities) {
                (measured, Some(engine))
            } else {
                engine.close()?;
                (measured, None)
            }
        }
    };
    let wrong = if rig.workload.is_synced { missing_syncs(&measured, rig.workload.threads) } else { None };
    rig.judge(&mut measured, wrong);
    if rig.workload.data == Data::Text {
        measured.facts.push(("keys".into(), rig.keys.count() as f64));
        measured.facts.push(("average key bytes".into(), rig.keys.average_bytes()));
    }
    let outcome = Outcome::Measured(Box::new(measured));
    answer(out, &RowAnswer { outcome, is_killed: killed.is_some() })?;
    // The engine is open still.
    killed.map_or(Ok(()), |_engine| child::kill_self())
}

/// Whether a row of this workload ends as a crash of the process would: all that it wrote must be there then.
pub fn ends_by_kill(workload: &Workload, abilities: &Abilities) -> bool {
    workload.is_fill && (workload.is_synced || abilities.buffered == Buffered::Survives)
}

/// Opens what a row left that was killed: whether the records that it wrote are all there, once each.
pub fn check(request: &CheckRequest, out: &mut impl Write) -> Result<()> {
    let rig = rig_of(&request.row)?;
    let engine = rig.open()?;
    let mut wrong_count = 0_u64;
    let limit = request.written_count as usize + 1;
    let scan = Scan { from: None, direction: Direction::Forward, limit };
    let found_count = engine.scan(0, scan, &mut |key, value| {
        let record = std::str::from_utf8(key).ok().and_then(|key| key.parse().ok());
        wrong_count += u64::from(!record.is_some_and(|record| rig.values.is_of(record, value)));
    })? as u64;
    engine.close()?;
    let written_count = request.written_count;
    let wrong = (found_count != written_count || wrong_count > 0).then(|| {
        format!("{found_count} of {written_count} records survived a kill, {wrong_count} of them wrong")
    });
    answer(out, &CheckAnswer { wrong })
}

fn answer(out: &mut impl Write, answer: &impl Serialize) -> Result<()> {
    writeln!(out, "{}", serde_json::to_string(answer)?)?;
    Ok(out.flush()?)
}

fn rig_of(request: &RowRequest) -> Result<Rig<'_>> {
    let RowRequest { engine, workload, plan, dir, paths, round, .. } = request;
    rig(engine, workload, plan, dir, paths.as_deref(), u64::from(*round))
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
            self::answer(out, &answer)?;
            loop {
                std::thread::park(); // Until killed.
            }
        }
    }
    self::answer(out, &answer)
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
    use crate::{engines::tests::Dir, record::SyncCalls};

    #[test]
    fn what_promises_to_survive_is_killed() {
        let abilities = |buffered| Abilities { buffered, ..crate::session::NO_ABILITIES };
        let is_killed = |name, buffered| ends_by_kill(workload::find(name).unwrap(), &abilities(buffered));

        assert!(is_killed("fillrandom", Buffered::Survives) && !is_killed("fillrandom", Buffered::NoLog));
        assert!(is_killed("fillsync", Buffered::NoLog), "each put was synced");
        assert!(!is_killed("readrandom", Buffered::Survives) && !is_killed("overwrite", Buffered::Survives));
    }

    #[test]
    fn what_a_kill_took_is_found() {
        let dir = Dir::new(engines::find("isopach").unwrap());
        let row = RowRequest {
            engine: "isopach".into(),
            workload: "fillrandom".into(),
            round: 0,
            plan: crate::plan::quick(),
            dir: dir.path.clone(),
            paths: None,
            may_be_killed: true,
        };
        let rig = rig_of(&row).unwrap();
        // Records, and the records whose values they get.
        let put = |records: &[(u64, u64)]| {
            let engine = rig.open().unwrap();
            let (mut key, mut value) = (Vec::new(), Vec::new());
            for &(record, of) in records {
                rig.keys.write(record, &mut key);
                rig.values.write(of, 0, &mut value);
                engine.insert(0, &key, &value).unwrap();
            }
            engine.close().unwrap();
        };
        let wrong = |written_count| {
            let mut out = Vec::new();
            check(&CheckRequest { row: row.clone(), written_count }, &mut out).unwrap();
            serde_json::from_slice::<CheckAnswer>(&out).unwrap().wrong
        };

        put(&[(0, 0), (1, 1), (2, 2)]);
        assert_eq!(wrong(3), None);
        assert_eq!(wrong(4).unwrap(), "3 of 4 records survived a kill, 0 of them wrong");

        put(&[(1, 2)]);
        assert_eq!(wrong(3).unwrap(), "3 of 3 records survived a kill, 1 of them wrong");
    }

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
