//! Runs scenarios of concurrent threads under a scheduler that chooses the interleaving.
//!
//! Owns how schedules are chosen and counted, and the surroundings of a database under them. What a scenario
//! expects is in `tests/it`.

mod bursts;

use bursts::Bursts;
use isopach::{
    Builder, Db, Event, EventListener,
    env::{Clock, Env, Fs, Inline, Job, SeededEntropy, Spawn, TestClock},
};
use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    rand::Rng,
    scheduler::{PctScheduler, RandomScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler},
    thread,
};
use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

/// Schedules that one seed stands for. The scheduler of priorities learns from each how long the next may be.
const SCHEDULES_PER_SEED: usize = 20;

/// A schedule of more steps counts as one without end.
const MAX_STEPS: usize = 400_000;

/// Deep calls of a database, unoptimised.
const STACK_BYTES: usize = 1 << 20;

/// Runs `scenario` under [`SCHEDULES_PER_SEED`] schedules of each of `seeds` fresh seeds, or under those of
/// `ISOPACH_SEED`, and tells how many there were. `ISOPACH_ROUNDS` multiplies the seeds.
///
/// # Panics
///
/// With what went wrong in one of them: a panic of the scenario, a deadlock, or no end. The last seed printed
/// replays it.
pub fn explore(name: &str, seeds: u64, scenario: impl Fn() + Send + Sync + 'static) {
    let (start, scenario) = (Instant::now(), Arc::new(scenario));
    let schedules: usize = testkit::seeds(seeds).map(|seed| run(seed, &scenario)).sum();
    let took = start.elapsed().as_secs_f64();
    // Not by a macro: the count shall show although the test is green.
    let _ = writeln!(std::io::stderr(), "schedules {name}: {schedules} in {took:.1} s");
}

/// Whether the scheduler finds something wrong with `scenario` within the schedules of `seeds` fixed seeds.
pub fn finds(seeds: u64, scenario: impl Fn() + Send + Sync + 'static) -> bool {
    let scenario = Arc::new(scenario);
    // On a thread of its own, for what a schedule that was broken off leaves behind.
    let explore =
        move || (0..seeds).any(|seed| catch_unwind(AssertUnwindSafe(|| run(seed, &scenario))).is_err());
    std::thread::spawn(explore).join().expect("panics of schedules are caught")
}

/// Runs each schedule of `seeds` fixed seeds twice.
///
/// # Panics
///
/// If the second run has other choices than the first: something in `scenario` hangs on what the scheduler
/// does not choose, and no seed replays it.
pub fn repeats(seeds: u64, scenario: impl Fn() + Send + Sync + 'static) {
    let scenario = Arc::new(scenario);
    for seed in 0..seeds {
        let scheduler = RandomScheduler::new_from_seed(seed, SCHEDULES_PER_SEED);
        let scheduler = UncontrolledNondeterminismCheckScheduler::new(scheduler);
        let scenario = Arc::clone(&scenario);
        Runner::new(scheduler, config()).run(move || scenario());
    }
}

/// All schedules of one seed, which says how they are chosen: each step at random; by priorities that change
/// at 1 to 4 places (PCT; Burckhardt and others, 2010); or, for half of the seeds, in bursts of one thread.
fn run(seed: u64, scenario: &Arc<impl Fn() + Send + Sync + 'static>) -> usize {
    let (kind, strength) = (seed % 4, seed / 4 % 4);
    let scheduler: Box<dyn Scheduler + Send> = match kind {
        0 => Box::new(RandomScheduler::new_from_seed(seed, SCHEDULES_PER_SEED)),
        1 => Box::new(PctScheduler::new_from_seed(seed, 2 + strength as usize, SCHEDULES_PER_SEED)),
        _ => Box::new(Bursts::new(seed, SCHEDULES_PER_SEED, 8 << (2 * strength))), // 8 to 512 steps.
    };
    let scenario = Arc::clone(scenario);
    Runner::new(scheduler, config()).run(move || scenario())
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None; // The seed says as much.
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.silence_warnings = true;
    config
}

// ----- a database under schedules -----

/// A database on `fs` as small as it may be, with one worker beside its keeper.
pub fn tiny(fs: Arc<dyn Fs>) -> Builder {
    on_env(fs, Arc::new(Inline))
}

/// As [`tiny`], with threads of the environment that help where work can be shared.
pub fn helped(fs: Arc<dyn Fs>) -> Builder {
    on_env(fs, Arc::new(Helpers))
}

fn on_env(fs: Arc<dyn Fs>, spawn: Arc<dyn Spawn>) -> Builder {
    let env = Env::new(fs, Arc::new(YieldingClock::default()), Arc::new(SeededEntropy::new(1)));
    Db::builder("db")
        .env(env.with_spawn(spawn))
        .write_buffer_bytes(16 << 10)
        .max_wal_bytes(1 << 20)
        .cache_bytes(64 << 10)
        .memory_budget(1 << 20)
        .threads(1)
        .mapped_log(shuttle::rand::thread_rng().gen_bool(0.5))
        .listener(Quiet)
}

/// Gives a thread of the scheduler for each job.
struct Helpers;

impl Spawn for Helpers {
    fn spawn(&self, job: Job) -> Result<(), Job> {
        thread::spawn(job);
        Ok(())
    }

    fn parallelism(&self) -> usize {
        3
    }
}

/// Without end: the scheduler says if a wait has none.
pub const FOR_EVER: Duration = Duration::MAX;

struct Quiet;

impl EventListener for Quiet {
    fn on_event(&self, _event: &Event<'_>) {}
}

/// A clock that only sleeping moves. Who sleeps lets all others run first.
#[derive(Clone, Default, Debug)]
pub struct YieldingClock(TestClock);

impl Clock for YieldingClock {
    fn unix_us(&self) -> u64 {
        self.0.unix_us()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, time: Duration) {
        self.0.advance(time);
        thread::yield_now();
    }
}

/// What one thread of a scenario does.
pub type Work = Box<dyn FnOnce() + Send>;

/// See [`together`].
pub fn work(work: impl FnOnce() + Send + 'static) -> Work {
    Box::new(work)
}

/// Runs the pieces of work at once, each in a thread, and waits for all.
pub fn together(work: impl IntoIterator<Item = Work>) {
    let threads: Vec<_> = work.into_iter().map(thread::spawn).collect();
    for thread in threads {
        thread.join().expect("a panic of a thread ends its schedule");
    }
}
