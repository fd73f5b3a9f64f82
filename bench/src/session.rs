//! A run: engines take turns, row by row, each row in a process and a directory of its own. A row that fails
//! or hangs is noted; the run goes on. The report is written after every row.

use crate::{
    Result,
    child::{self, TimedOut},
    copy,
    engine::{Abilities, Buffered},
    engines::Adapter,
    machine, plan,
    profile::Profile,
    record::{EngineInfo, Limit, Machine, Outcome, Plan, REPORT_VERSION, Report, Row},
    request::{CheckAnswer, CheckRequest, LoadAnswer, LoadKind, LoadRequest, RowAnswer, RowRequest},
    timestamp,
    workload::{self, Base, Data, Workload},
};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What to run.
pub struct Session {
    pub plan: Plan,
    pub engines: Vec<&'static Adapter>,
    pub workloads: Vec<&'static Workload>,
    /// Made if need be; the run's own directory in it is removed at the end.
    pub dir: PathBuf,
    pub out: PathBuf,
    /// Of the text keys.
    pub paths: Option<PathBuf>,
    /// Whether to measure first what the machine can do at most.
    pub has_limits: bool,
    /// Where a profile of each row goes. Rows are slower then.
    pub profiles: Option<PathBuf>,
}

/// Longest time to measure what the machine can do.
const LIMITS_LIMIT: Duration = Duration::from_secs(300);

/// Longest time to make a loaded database.
const LOAD_LIMIT: Duration = Duration::from_secs(300);

impl Session {
    /// Runs everything.
    pub fn run(&self) -> Result<Report> {
        fs::create_dir_all(&self.dir).map_err(|error| format!("{}: {error}", self.dir.display()))?;
        remove_left_over(&self.dir)?;
        let dir = self.dir.join(format!("run-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let done = Run::new(self, &dir)?.run();
        copy::remove_dir(&dir)?;
        done
    }

    /// Seconds that all of it takes, about.
    pub fn estimate_seconds(&self) -> f64 {
        let rows: f64 =
            self.workloads.iter().map(|workload| plan::estimate_seconds(workload, &self.plan)).sum();
        let has_bases = self.workloads.iter().any(|workload| workload.base != Base::Empty);
        let loading = if has_bases { plan::estimate_loading_seconds(&self.plan) } else { 0.0 };
        self.engines.len() as f64 * (rows * f64::from(self.plan.rounds) + loading)
    }
}

/// Removes directories of runs whose process has ended without doing so.
fn remove_left_over(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("run-")?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            copy::remove_dir(&entry.path())?;
        }
    }
    Ok(())
}

/// Which of `count` engines has the turn at `place` in a round: each begins in its turn.
fn at_turn(place: usize, count: usize, round: u32, workload: usize) -> usize {
    (place + round as usize + workload) % count
}

struct Run<'a> {
    session: &'a Session,
    dir: &'a Path,
    /// Loaded databases, or why there is none.
    bases: HashMap<BaseKey, Result<PathBuf, String>>,
    /// Engines and workloads that took too long: trying each round anew would take hours.
    hung: HashSet<(&'static str, &'static str)>,
    report: Report,
    started: Instant,
    rows_count: usize,
}

/// Engine, what it holds.
type BaseKey = (&'static str, Data, Base);

impl<'a> Run<'a> {
    fn new(session: &'a Session, dir: &'a Path) -> Result<Run<'a>> {
        let machine: Machine = machine::describe(dir);
        let report = Report {
            version: REPORT_VERSION,
            started: timestamp::now(),
            finished: String::new(),
            command: std::env::args().collect(),
            machine,
            plan: session.plan.clone(),
            engines: Vec::new(),
            workloads: session.workloads.iter().map(|workload| workload.info(&session.plan)).collect(),
            limits: Vec::new(),
            rows: Vec::new(),
        };
        let rows_count = session.engines.len() * session.workloads.len() * session.plan.rounds as usize;
        let (bases, hung, started) = (HashMap::new(), HashSet::new(), Instant::now());
        Ok(Run { session, dir, bases, hung, report, started, rows_count })
    }

    fn run(mut self) -> Result<Report> {
        let session = self.session;
        eprintln!(
            "{} rows, about {:.0} min; load {:.2}",
            self.rows_count,
            session.estimate_seconds() / 60.0,
            self.report.machine.load_before
        );
        for engine in &session.engines {
            let info = self.introduce(engine);
            self.report.engines.push(info);
        }
        self.save()?;
        if session.has_limits {
            self.report.limits = self.limits().unwrap_or_else(|error| {
                eprintln!("limits: {error}");
                Vec::new()
            });
        }
        for round in 0..session.plan.rounds {
            for (number, workload) in session.workloads.iter().enumerate() {
                for place in 0..session.engines.len() {
                    let turn = at_turn(place, session.engines.len(), round, number);
                    let outcome = self.row(turn, workload, round);
                    let engine = session.engines[turn].name;
                    self.report.rows.push(Row {
                        engine: engine.into(),
                        workload: workload.name.into(),
                        round,
                        outcome,
                    });
                    self.show_progress();
                    // A full disk now may be an emptier one later.
                    self.save().unwrap_or_else(|error| eprintln!("{error}"));
                }
            }
        }
        self.save()?;
        Ok(self.report)
    }

    /// Asks an engine what it is. One that does not even open is in the report all the same, with the reason.
    fn introduce(&self, engine: &Adapter) -> EngineInfo {
        let dir = self.dir.join("introduce");
        let request = LoadRequest {
            engine: engine.name.into(),
            kind: LoadKind::Introduce,
            workload: workload::WORKLOADS[0].name.into(),
            plan: self.session.plan.clone(),
            dir: dir.clone(),
            paths: None,
        };
        let answer = fs::create_dir_all(&dir).map_err(Into::into).and_then(|()| self.load(&request));
        let answer = answer.unwrap_or_else(|error| {
            eprintln!("{}: {error}", engine.name);
            let settings = vec![("does not open".into(), error.to_string())];
            LoadAnswer { abilities: NO_ABILITIES, settings }
        });
        self.clean(&dir);
        EngineInfo {
            name: engine.name.into(),
            version: machine::version(engine.package),
            abilities: answer.abilities,
            settings: answer.settings,
        }
    }

    fn limits(&self) -> Result<Vec<Limit>> {
        let dir = self.dir.join("limits");
        fs::create_dir_all(&dir)?;
        let limits = child::ask("measure-limits", &dir, LIMITS_LIMIT);
        self.clean(&dir);
        limits
    }

    fn row(&mut self, engine: usize, workload: &'static Workload, round: u32) -> Outcome {
        if let Some(why) = workload.lacks(&self.report.engines[engine].abilities) {
            return Outcome::Unsupported { why: why.into() };
        }
        let engine = self.session.engines[engine];
        if self.hung.contains(&(engine.name, workload.name)) {
            return Outcome::Failed { why: "not tried again: it was not done in time before".into() };
        }
        let dir = self.dir.join("row");
        let outcome = self.measure(engine, workload, round, &dir);
        self.clean(&dir);
        outcome.unwrap_or_else(|error| {
            if error.is::<TimedOut>() {
                self.hung.insert((engine.name, workload.name));
            }
            Outcome::Failed { why: error.to_string() }
        })
    }

    fn measure(
        &mut self,
        engine: &'static Adapter,
        workload: &'static Workload,
        round: u32,
        dir: &Path,
    ) -> Result<Outcome> {
        copy::remove_dir(dir)?;
        if workload.base == Base::Empty {
            fs::create_dir_all(dir)?;
        } else {
            copy::copy_dir(&self.base(engine, workload, workload.base)?, dir)?;
        }
        // What is still to be written, of earlier rows and of the copy, would be in the way of this one.
        rustix::fs::syncfs(File::open(dir)?)?;
        let request = RowRequest {
            engine: engine.name.into(),
            workload: workload.name.into(),
            round,
            plan: self.session.plan.clone(),
            dir: dir.into(),
            paths: self.session.paths.clone(),
            may_be_killed: self.session.profiles.is_none(),
        };
        let limit = Duration::from_secs_f64(self.session.plan.row_seconds * 10.0 + 60.0);
        let Some(profiles) = &self.session.profiles else {
            let answer = child::ask_mortal("row", &request, limit)?;
            return check_if_killed(request, answer, limit);
        };
        let profile = Profile::new(profiles, &format!("{}-{}-{round}", workload.name, engine.name))?;
        let answer: RowAnswer = child::ask_below(&profile.wrapper(), "row", &request, limit)?;
        profile.finish()?;
        Ok(answer.outcome)
    }

    /// The loaded database of an engine, made when first asked for.
    fn base(&mut self, engine: &'static Adapter, workload: &'static Workload, base: Base) -> Result<PathBuf> {
        let key = (engine.name, workload.data, base);
        if !self.bases.contains_key(&key) {
            let made = self.make_base(engine, workload, base).map_err(|error| error.to_string());
            self.bases.insert(key, made);
        }
        Ok(self.bases[&key].clone().map_err(|why| format!("its database could not be made: {why}"))?)
    }

    fn make_base(
        &mut self,
        engine: &'static Adapter,
        workload: &'static Workload,
        base: Base,
    ) -> Result<PathBuf> {
        let dir = self.dir.join(format!("base-{}-{:?}-{base:?}", engine.name, workload.data).to_lowercase());
        // The loaded one is made by the settings of a workload that has no other than the plan's.
        let maker = match base {
            Base::Holes => {
                copy::copy_dir(&self.base(engine, workload, Base::Loaded)?, &dir)?;
                workload
            }
            Base::Loaded => workload::loads(workload.data),
            Base::Empty | Base::Keyspaces => workload,
        };
        fs::create_dir_all(&dir)?;
        let request = LoadRequest {
            engine: engine.name.into(),
            kind: LoadKind::Base,
            workload: maker.name.into(),
            plan: self.session.plan.clone(),
            dir: dir.clone(),
            paths: self.session.paths.clone(),
        };
        let started = Instant::now();
        self.load(&request)?;
        rustix::fs::syncfs(File::open(&dir)?)?;
        eprintln!("  {}: {:?} {base:?} made in {:.1?}", engine.name, workload.data, started.elapsed());
        Ok(dir)
    }

    fn load(&self, request: &LoadRequest) -> Result<LoadAnswer> {
        child::ask("load", request, LOAD_LIMIT)
    }

    /// A directory that cannot be removed is no reason to end the run.
    fn clean(&self, dir: &Path) {
        copy::remove_dir(dir).unwrap_or_else(|error| eprintln!("{error}"));
    }

    fn show_progress(&self) {
        let row = self.report.rows.last().expect("a row was just done");
        let done_count = self.report.rows.len();
        let elapsed_seconds = self.started.elapsed().as_secs_f64();
        let left_seconds = elapsed_seconds / done_count as f64 * (self.rows_count - done_count) as f64;
        let said = match &row.outcome {
            Outcome::Unsupported { why } => format!("unsupported: {why}"),
            Outcome::Failed { why } => format!("FAILED: {why}"),
            Outcome::Measured(measured) => {
                let capped = if measured.is_capped { ", capped" } else { "" };
                let invalid =
                    measured.invalid.as_ref().map_or_else(String::new, |why| format!(", INVALID: {why}"));
                let rate = measured.operations_per_second();
                format!("{rate:.0}/s in {:.1} s{capped}{invalid}", measured.seconds)
            }
        };
        eprintln!(
            "[{done_count}/{}] {:.0} min left; round {} {} {}: {said}",
            self.rows_count,
            left_seconds / 60.0,
            row.round + 1,
            row.workload,
            row.engine
        );
    }

    /// Writes the report so that there is a whole one at any time.
    fn save(&mut self) -> Result<()> {
        self.report.finished = timestamp::now();
        self.report.machine.load_after = machine::load();
        let mut partial = self.session.out.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        self.report.write(&partial)?;
        fs::rename(&partial, &self.session.out)
            .map_err(|error| format!("{}: {error}", self.session.out.display()).into())
    }
}

/// The outcome of a row; if that was killed, with what was lost.
fn check_if_killed(row: RowRequest, answer: RowAnswer, limit: Duration) -> Result<Outcome> {
    let RowAnswer { mut outcome, is_killed } = answer;
    if is_killed && let Outcome::Measured(measured) = &mut outcome {
        let request = CheckRequest { row, written_count: measured.operations };
        let CheckAnswer { wrong } = child::ask("check", &request, limit)?;
        measured.invalid = measured.invalid.take().or(wrong);
    }
    Ok(outcome)
}

/// Of an engine that cannot be asked.
pub const NO_ABILITIES: Abilities = Abilities {
    buffered: Buffered::NoLog,
    sync: true,
    keyspaces: true,
    merge: false,
    range_delete: false,
    multi_get: false,
    settle: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_begins_in_its_turn() {
        let order = |round| (0..3).map(|place| at_turn(place, 3, round, 0)).collect::<Vec<_>>();

        assert_eq!(
            [order(0), order(1), order(2), order(3)],
            [vec![0, 1, 2], vec![1, 2, 0], vec![2, 0, 1], vec![0, 1, 2]]
        );
        assert_eq!(at_turn(0, 3, 0, 1), 1, "and so from workload to workload");
    }
}
