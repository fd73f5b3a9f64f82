//! The explorer: cases made of a clean run, run side by side, each with a limit of time; and what came of
//! them.

use super::{
    book::Book,
    case::{Case, Outcome, Ran},
    script::{Run, killed_database},
    sites::{Pick, Site},
};
use crate::{Contents, Rng};
use isopach::env::{CrashFs, Fault, FaultFs, Rule, Rules};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// A case that runs longer hangs.
const HANGS: Duration = Duration::from_secs(180);

/// Cases at a time: they mostly wait for background work that is tried again.
const SIDE_BY_SIDE: usize = 12;

/// Explores what a script does when calls fail.
pub struct Explorer {
    killed: CrashFs,
    contents: Contents,
    picks: Vec<Pick>,
}

/// What came of some cases.
#[derive(Default, Debug)]
pub struct Report {
    /// Places at which something went wrong.
    pub sites: BTreeSet<Site>,
    /// Cases by what came of them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Cases in which something did not hold, and what.
    pub broken: Vec<(Case, Vec<String>)>,
}

impl Default for Explorer {
    fn default() -> Explorer {
        Explorer::new()
    }
}

impl Explorer {
    /// Runs the script without a fault and notes its calls.
    ///
    /// # Panics
    ///
    /// If anything fails.
    pub fn new() -> Explorer {
        note_panics();
        let (killed, contents) = killed_database();
        let medium = killed.kill();
        let mut run = Run::new(medium.clone(), FaultFs::new(Arc::new(medium)), Book::of(&contents));
        // A delay of no time changes nothing, and every call is noted.
        run.fs.arm(Rule::new(Fault::Delay { us: 0 }));
        run.all();
        assert!(run.errors.is_empty() && run.broken.is_empty(), "{:?} {:?}", run.errors, run.broken);
        let trace: Vec<_> = run
            .fs
            .fired()
            .into_iter()
            .map(|fired| {
                let step = run.step_of(fired.number);
                (fired, step)
            })
            .collect();
        Explorer { killed, contents, picks: Pick::all(&trace) }
    }

    /// Calls of the clean run.
    pub fn calls(&self) -> usize {
        self.picks.len()
    }

    /// Places of the clean run.
    pub fn sites(&self) -> BTreeSet<Site> {
        self.picks.iter().map(|pick| pick.site.clone()).collect()
    }

    /// Every fault at every call.
    pub fn singles(&self) -> Vec<Case> {
        let rules = self.picks.iter().flat_map(Pick::rules);
        let mut cases = Vec::new();
        for rule in rules {
            cases.push(Case(Rules(vec![rule])));
        }
        cases
    }

    /// At every place some faults, of a call that the seed chooses.
    pub fn sampled_singles(&self, seed: u64, faults_per_site: usize) -> Vec<Case> {
        let mut rng = Rng::new(seed);
        let mut by_site: BTreeMap<&Site, Vec<&Pick>> = BTreeMap::new();
        for pick in &self.picks {
            by_site.entry(&pick.site).or_default().push(pick);
        }
        let mut cases = Vec::new();
        for picks in by_site.values() {
            for _ in 0..faults_per_site {
                let rules = rng.pick(picks).rules();
                let case = Case(Rules(vec![rng.pick(&rules).clone()]));
                if !cases.contains(&case) {
                    cases.push(case);
                }
            }
        }
        cases
    }

    /// Two faults at two calls, as the seed chooses.
    pub fn pairs(&self, seed: u64, count: usize) -> Vec<Case> {
        let mut rng = Rng::new(seed);
        let pair = |_| {
            let mut rule = || {
                let rules = rng.pick(&self.picks).rules();
                rng.pick(&rules).clone()
            };
            Case(Rules(vec![rule(), rule()]))
        };
        (0..count).map(pair).collect()
    }

    /// Runs cases and says what came of them. `progress` hears after each how many are done.
    pub fn run(&self, cases: Vec<Case>, progress: &(dyn Fn(usize) + Sync)) -> Report {
        let queue = Mutex::new(cases.into_iter().enumerate());
        let report = Mutex::new(Report::default());
        let next = || lock(&queue).next();
        thread::scope(|scope| {
            for _ in 0..SIDE_BY_SIDE {
                scope.spawn(|| {
                    while let Some((at, case)) = next() {
                        let ran = self.run_with_limit(&case);
                        lock(&report).add(case, ran);
                        progress(at + 1);
                    }
                });
            }
        });
        report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one case, whose text another run printed.
    pub fn replay(&self, rules: Rules) -> Report {
        self.run(vec![Case(rules)], &|_| ())
    }

    /// Runs a case on a thread of its own, which is left behind if it hangs.
    fn run_with_limit(&self, case: &Case) -> Ran {
        let (sender, receiver) = mpsc::channel();
        let (killed, contents) = (self.killed.clone(), self.contents.clone());
        let ours = case.clone();
        let body = move || {
            let ran = catch_unwind(AssertUnwindSafe(|| ours.run(&killed, &contents)));
            let ran = ran.unwrap_or_else(|panic| Ran::broken(format!("a call panics: {}", said(&*panic))));
            drop(sender.send(ran)); // Nobody waits any more if it took too long.
        };
        let thread = thread::Builder::new().name("case".into()).spawn(body).expect("a thread starts");
        let mut ran = match receiver.recv_timeout(HANGS) {
            Ok(ran) => {
                thread.join().expect("panics were caught");
                ran
            }
            Err(_) => Ran::broken(format!("a call does not return within {HANGS:?}")),
        };
        ran.broken.extend(lock(&PANICS).drain(..));
        ran
    }
}

impl Ran {
    fn broken(why: String) -> Ran {
        Ran { outcome: Outcome::Failed, sites: Vec::new(), broken: vec![why] }
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

impl Report {
    fn add(&mut self, case: Case, ran: Ran) {
        self.sites.extend(ran.sites);
        *self.outcomes.entry(ran.outcome).or_default() += 1;
        if !ran.broken.is_empty() {
            self.broken.push((case, ran.broken));
        }
    }

    /// Adds another.
    pub fn merge(&mut self, other: Report) {
        self.sites.extend(other.sites);
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.broken.extend(other.broken);
    }

    /// Cases in which a call went wrong.
    pub fn executions(&self) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| **outcome != Outcome::NotHit).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (case, broken) in &self.broken {
            let rules = case.to_string();
            writeln!(f, "broken:\n{rules}")?;
            broken.iter().try_for_each(|why| writeln!(f, "    {why}"))?;
            let argument = rules.trim_end().replace('\n', "' --replay '");
            writeln!(f, "    cargo run --release -p testkit --bin faults -- --replay '{argument}'\n")?;
        }
        write!(f, "{} sites, {} executions:", self.sites.len(), self.executions())?;
        self.outcomes.iter().try_for_each(|(outcome, count)| write!(f, " {outcome:?} {count}"))?;
        write!(f, "; broken {}", self.broken.len())
    }
}

/// Panics of background threads, which nobody joins in time to hear of them.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on panics of threads of databases are noted. Cases run side by side: a panic is told of one that
/// ended soon behind it.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let name = thread::current().name().unwrap_or_default().to_owned();
            if name.starts_with("isopach-") {
                lock(&PANICS).push(format!("{name} panics: {info}"));
            }
            before(info);
        }));
    });
}
