//! What a workload runs in: an engine's directory, the data, threads, and the measurement around them.

use crate::{
    Result,
    engine::Engine,
    engines::Adapter,
    keys::Keys,
    measure::{Meter, Probes, Tally},
    plan::Sizes,
    random::{Permutation, Random, mix},
    record::{Measured, Plan},
    summary::LIVE_BYTES_FACT,
    values::Values,
    workload::{Ends, Workload},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// One row's surroundings.
pub struct Rig<'a> {
    pub adapter: &'static Adapter,
    pub workload: &'static Workload,
    pub plan: &'a Plan,
    pub sizes: Sizes,
    pub keys: Keys,
    pub values: Values,
    /// Of this row: the same for every engine.
    pub seed: u64,
    pub dir: &'a Path,
    /// For children of this row that need the text keys.
    pub paths: Option<PathBuf>,
    pub probes: Mutex<Probes>,
    /// Whether answers count: one engine gives none.
    pub is_checked: bool,
}

/// A block holds more records than this.
const WARMING_STRIDE: usize = 8;

/// The order in which databases of `count` records are loaded: the same in all rounds, whose rows use copies.
pub fn loaded_order(count: u64, plan: &Plan) -> Permutation {
    Permutation::new(count, mix(plan.seed))
}

/// What came of driving.
pub struct Driven {
    pub measured: Measured,
    /// Steps that each thread made.
    pub steps: Vec<u64>,
}

impl Rig<'_> {
    pub fn open(&self) -> Result<Box<dyn Engine>> {
        (self.adapter.open)(self.dir, &self.workload.settings(self.plan))
    }

    /// Random numbers of one thread.
    pub fn random(&self, thread: u64) -> Random {
        Random::new(self.seed ^ mix(thread + 1))
    }

    /// An order of all loaded records, other than that in which they were loaded.
    pub fn order(&self) -> Permutation {
        Permutation::new(self.keys.count(), mix(self.seed ^ 0x5bd1))
    }

    /// The order in which they were loaded.
    pub fn loaded_order(&self) -> Permutation {
        loaded_order(self.keys.count(), self.plan)
    }

    /// Reads every block of a loaded database, so that what is read again is in memory where the engine keeps
    /// it.
    pub fn warm(&self, engine: &dyn Engine) -> Result<()> {
        let mut key = Vec::new();
        for record in (0..self.keys.count()).step_by(WARMING_STRIDE) {
            self.keys.write(record, &mut key);
            engine.get(0, &key, &mut |value| _ = std::hint::black_box(value.first()))?;
        }
        Ok(())
    }

    /// Runs `steps_of(thread)` on every thread of the workload: `asked` steps of all measured threads
    /// together, or as many as there is time for. A step is told its number within its thread; its time is
    /// one latency. Threads from [`Workload::threads`] on go on until the measured ones are done; what they
    /// do is not counted, but what they find wrong is.
    pub fn drive<S>(
        &self,
        engine: &dyn Engine,
        asked: u64,
        steps_of: impl Fn(u64) -> S + Sync,
    ) -> Result<Driven>
    where
        S: FnMut(u64, &mut Tally) -> Result<()>,
    {
        let threads = self.workload.threads;
        let crew_count = threads + self.workload.threads_beside;
        let crew = Crew {
            phases: Barrier::new(crew_count + 1),
            epoch: Instant::now(),
            ended_ns: AtomicU64::new(0),
            working: AtomicUsize::new(threads),
            has_failed: AtomicBool::new(false),
        };
        let mut probes = self.probes.lock().expect("no thread panics with it");
        thread::scope(|scope| {
            let (crew, steps_of) = (&crew, &steps_of);
            let handles: Vec<_> = (0..crew_count)
                .map(|thread| {
                    let share = Share {
                        steps: asked / threads as u64 + u64::from((thread as u64) < asked % threads as u64),
                        time: Duration::from_secs_f64(self.workload.seconds(self.plan)),
                        is_beside: thread >= threads,
                        ends: self.workload.ends,
                    };
                    scope.spawn(move || crew.take_part(&share, steps_of(thread as u64)))
                })
                .collect();

            crew.phases.wait(); // All steps are made.
            let meter = Meter::start(&mut probes);
            crew.has_failed.store(meter.is_err(), Relaxed);
            let started = Instant::now();
            crew.phases.wait(); // They begin.
            crew.phases.wait(); // They are done, and live on until their waiting has been read.
            let ended = crew.epoch + Duration::from_nanos(crew.ended_ns.load(Relaxed));
            let meter = meter.and_then(|mut meter| {
                meter.work_is_done(ended.saturating_duration_since(started))?;
                Ok(meter)
            });
            crew.phases.wait();

            let tallies = handles.into_iter().map(|handle| handle.join().expect("steps do not panic"));
            let tallies = tallies.collect::<Result<Vec<_>>>()?;
            self.end(engine, meter?, &tallies)
        })
    }

    fn end(&self, engine: &dyn Engine, mut meter: Meter<'_>, tallies: &[(Tally, u64)]) -> Result<Driven> {
        if self.workload.is_settled {
            meter.has_settled(engine.settle()?);
        }
        let mut measured = meter.end(self.dir)?;
        let mut sum = Tally::new();
        tallies[..self.workload.threads].iter().for_each(|(tally, _)| sum.add(tally));
        measured.operations = sum.operations;
        measured.commits = sum.commits;
        measured.is_capped = sum.is_capped;
        measured.latency = sum.latency();
        for (beside, _) in &tallies[self.workload.threads..] {
            let per_second = beside.operations as f64 / measured.seconds;
            measured.facts.push(("operations beside, each second".into(), per_second));
            sum.add(beside);
        }
        measured.user_bytes = sum.user_bytes;
        self.judge(&mut measured, sum.wrong());
        Ok(Driven { measured, steps: tallies.iter().map(|&(_, steps)| steps).collect() })
    }

    /// Notes why a row does not count, unless another reason was found before.
    pub fn judge(&self, measured: &mut Measured, wrong: Option<String>) {
        if self.is_checked {
            measured.invalid = measured.invalid.take().or(wrong);
        }
    }

    /// Notes how many bytes of keys and values the database holds at the end, where the workload did not
    /// write all.
    pub fn note_live(&self, measured: &mut Measured, records_count: u64) {
        let record_bytes = self.keys.average_bytes() + self.values.value_bytes() as f64;
        measured.facts.push((LIVE_BYTES_FACT.into(), records_count as f64 * record_bytes));
    }

    /// Looks whether records are there, or not, as they should.
    pub fn check(
        &self,
        engine: &dyn Engine,
        measured: &mut Measured,
        records: impl Iterator<Item = (u64, bool)>,
    ) -> Result<()> {
        let (mut tally, mut key) = (Tally::new(), Vec::new());
        for (record, is_there) in records {
            self.keys.write(record, &mut key);
            let mut is_right = true;
            let found = engine.get(0, &key, &mut |value| is_right = self.values.is_of(record, value))?;
            tally.expect(found == is_there && is_right, || {
                let is_found = if found { "is there" } else { "is not there" };
                format!(
                    "afterwards, record {record} {is_found}{}",
                    if is_right { "" } else { ", with a wrong value" }
                )
            });
        }
        self.judge(measured, tally.wrong());
        Ok(())
    }
}

/// What the threads of a workload share.
struct Crew {
    phases: Barrier,
    epoch: Instant,
    /// When the last measured thread was done, since the epoch.
    ended_ns: AtomicU64,
    /// Measured threads that are not done.
    working: AtomicUsize,
    has_failed: AtomicBool,
}

/// What one of them has to do.
struct Share {
    steps: u64,
    time: Duration,
    is_beside: bool,
    ends: Ends,
}

impl Crew {
    fn take_part(
        &self,
        share: &Share,
        mut step: impl FnMut(u64, &mut Tally) -> Result<()>,
    ) -> Result<(Tally, u64)> {
        let mut tally = Tally::new();
        self.phases.wait();
        self.phases.wait();
        let steps = if share.is_beside {
            self.step_until_others_are_done(&mut step, &mut tally)
        } else {
            self.step_until_done(share, &mut step, &mut tally)
        };
        if steps.is_err() {
            self.has_failed.store(true, Relaxed);
        }
        if !share.is_beside {
            self.ended_ns.fetch_max(self.epoch.elapsed().as_nanos() as u64, Relaxed);
            self.working.fetch_sub(1, Relaxed);
        }
        self.phases.wait();
        self.phases.wait();
        Ok((tally, steps?))
    }

    /// One reading of the clock a step serves for its latency and for the limit.
    fn step_until_done(
        &self,
        share: &Share,
        step: &mut impl FnMut(u64, &mut Tally) -> Result<()>,
        tally: &mut Tally,
    ) -> Result<u64> {
        let mut last = Instant::now();
        let deadline = last + share.time;
        let mut number = 0;
        while number < share.steps && !self.has_failed.load(Relaxed) {
            step(number, tally)?;
            number += 1;
            let now = Instant::now();
            tally.took(now - last);
            last = now;
            if now >= deadline {
                tally.is_capped = share.ends == Ends::AtWork && number < share.steps;
                break;
            }
        }
        Ok(number)
    }

    fn step_until_others_are_done(
        &self,
        step: &mut impl FnMut(u64, &mut Tally) -> Result<()>,
        tally: &mut Tally,
    ) -> Result<u64> {
        let mut number = 0;
        while self.working.load(Relaxed) > 0 && !self.has_failed.load(Relaxed) {
            step(number, tally)?;
            number += 1;
        }
        Ok(number)
    }
}
