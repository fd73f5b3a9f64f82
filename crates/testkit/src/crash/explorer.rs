//! Work that is cut at every step, and what is left checked.
//!
//! The files tell of each step before it is taken; at that instant images are made of what a crash would
//! leave behind, and checked on another thread while the work goes on.

use super::{
    activity::{Activity, UnderWay},
    image::{Checker, Promised, Sender, Violation, check_files, check_hidden},
    ledger::{Floors, Ledger},
    run::Run,
    second::check_a_second_crash,
    workload::CANARY,
};
use crate::Rng;
use isopach::env::{CrashFs, Fs, OpenMode, Step, Survival};
use std::{
    collections::BTreeMap,
    fmt,
    ops::AddAssign,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// The process: everything that was written stays, of the write under way a part.
    Process,
    /// The power: what was not synced stays in any part. So many images are made of a step.
    Power {
        /// Images of each step, each with another part.
        images: u64,
    },
}

/// How a piece of work is explored.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which parts survive, and which steps are looked at.
    pub seed: u64,
    /// What crashes.
    pub crash: Crash,
    /// One step of so many is looked at; 1: every step.
    pub one_in: usize,
    /// Of so many images one is crashed again, while it is recovered from and afterwards.
    pub second_crash_one_in: usize,
}

impl Plan {
    /// Every step, and every eighth image a second time.
    pub fn new(seed: u64, crash: Crash) -> Plan {
        Plan { seed, crash, one_in: 1, second_crash_one_in: 8 }
    }

    /// Looks at one step of so many.
    #[must_use]
    pub fn one_in(self, steps: usize) -> Plan {
        Plan { one_in: steps, ..self }
    }
}

/// What was explored.
#[derive(Clone, Default, Debug)]
pub struct Explored {
    /// Steps that were taken.
    pub steps: u64,
    /// Images that were opened and checked.
    pub images: u64,
    /// Images of crashes in the middle of each activity.
    pub during: BTreeMap<Activity, u64>,
}

impl Explored {
    /// Counts an image of a crash before this step.
    pub(super) fn note(&mut self, under_way: &UnderWay, step: Step<'_>) {
        self.images += 1;
        for activity in under_way.before(step) {
            *self.during.entry(activity).or_default() += 1;
        }
    }
}

impl AddAssign<&Explored> for Explored {
    fn add_assign(&mut self, other: &Explored) {
        self.steps += other.steps;
        self.images += other.images;
        for (&activity, count) in &other.during {
            *self.during.entry(activity).or_default() += count;
        }
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps, {} images", self.steps, self.images)?;
        for activity in Activity::ALL {
            write!(f, ", {} {}", self.during.get(&activity).copied().unwrap_or(0), activity.name())?;
        }
        Ok(())
    }
}

/// Does `work`, whose every step on `files` may be the last. What was done with the run before is not looked
/// at. Its files are these, or lie over them.
///
/// # Errors
///
/// The first promise that was broken.
///
/// # Panics
///
/// If `work` does.
pub fn explore<F: Fs + Clone>(
    files: &CrashFs,
    run: &mut Run<F>,
    plan: Plan,
    work: impl FnOnce(&mut Run<F>),
) -> Result<Explored, Violation> {
    let checker = Checker::start();
    let taker = Arc::new(Taker {
        files: files.clone(),
        ledger: run.ledger().clone(),
        plan,
        under_way: run.under_way(),
        searches: run.plants(),
        sender: Mutex::new(Some(checker.sender())),
        has_failed: checker.has_failed(),
        explored: Mutex::default(),
    });
    let (watcher, before) = (Arc::clone(&taker), files.steps());
    files.watch(move |number, step| {
        watcher.look(number, step);
        Ok(())
    });
    work(run);
    files.unwatch();
    taker.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    checker.finish()?;
    let mut explored = taker.explored.lock().unwrap_or_else(PoisonError::into_inner).clone();
    explored.steps = files.steps() - before;
    Ok(explored)
}

/// Makes images.
struct Taker {
    files: CrashFs,
    ledger: Ledger,
    plan: Plan,
    under_way: UnderWay,
    /// Whether [`CANARY`] is looked for in every image.
    searches: bool,
    /// `None` once the work has ended.
    sender: Mutex<Option<Sender>>,
    has_failed: Arc<AtomicBool>,
    explored: Mutex<Explored>,
}

impl Taker {
    fn look(&self, number: u64, step: Step<'_>) {
        let mut rng = Rng::new(self.plan.seed ^ number);
        if !rng.one_in(self.plan.one_in) || self.has_failed.load(Ordering::Relaxed) {
            return;
        }
        let floors = self.ledger.floors(); // Before the image: what is acknowledged from here on may be missing.
        let images = self.images(number, step, &mut rng);
        let mut explored = self.explored.lock().unwrap_or_else(PoisonError::into_inner);
        images.iter().for_each(|_| explored.note(&self.under_way, step));
        drop(explored);
        for (index, (what, image)) in images.into_iter().enumerate() {
            let label =
                format!("ISOPACH_SEED={}, step {number}.{index}, before {step}, {what}", self.plan.seed);
            self.send(label, image, floors, rng.fork());
        }
    }

    fn images(&self, number: u64, step: Step<'_>, rng: &mut Rng) -> Vec<(String, CrashFs)> {
        match self.plan.crash {
            Crash::Process => {
                let image = self.files.kill();
                let torn = torn_write(&image, step, rng).map(|image| ("the write torn".into(), image));
                [("killed".into(), image)].into_iter().chain(torn).collect()
            }
            Crash::Power { images } => (0..images)
                .map(|index| {
                    let seed = rng.word();
                    let survival = match index {
                        0 if rng.one_in(2) => Survival::Nothing,
                        1 if rng.one_in(2) => Survival::From(number.saturating_sub(rng.below(16) as u64)),
                        _ => Survival::Any,
                    };
                    (format!("{survival:?} of seed {seed}"), self.files.crash_with(survival, seed))
                })
                .collect(),
        }
    }

    fn send(&self, label: String, image: CrashFs, floors: Floors, mut rng: Rng) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sender) = sender else {
            return;
        };
        let ledger = self.ledger.clone();
        let floor = match self.plan.crash {
            Crash::Process => floors.acknowledged,
            Crash::Power { .. } => floors.durable,
        };
        let promised = Promised { floor, floors };
        let is_twice = rng.one_in(self.plan.second_crash_one_in);
        let searches = self.searches;
        let check = move || {
            if searches {
                check_hidden(&image, CANARY.as_bytes());
            }
            if is_twice {
                check_a_second_crash(&image, &ledger, promised, &mut rng);
            } else {
                check_files(&image, &ledger, promised);
            }
        };
        let _ = sender.send((label, Box::new(check)));
    }
}

/// The image with the first part of a write, if the step is one.
fn torn_write(image: &CrashFs, step: Step<'_>, rng: &mut Rng) -> Option<CrashFs> {
    let Step::Write(name, offset, data) = step else {
        return None;
    };
    if !rng.one_in(3) {
        return None;
    }
    let torn = image.kill();
    let file = torn.open(name, OpenMode::ReadWrite).ok()?;
    file.write_at(offset, &data[..rng.below(data.len())]).expect("in memory");
    Some(torn)
}
