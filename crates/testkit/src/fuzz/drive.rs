//! Drives a target without libFuzzer: damaged copies of sound inputs, by a seed, within bounds of memory and
//! time.

use super::{Counted, Memory, Target, mutate::mutate};
use crate::{
    Rng,
    allocations::{peak_of_process, peak_of_thread},
};
use std::{
    env, fs,
    panic::{self, AssertUnwindSafe},
    process,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// A single case that takes longer hangs.
const HANGS: Duration = Duration::from_secs(60);

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub enum Budget {
    /// So many cases.
    Cases(u64),
    /// As many as fit.
    Time(Duration),
}

/// What a drive has done.
#[derive(Clone, Copy, Default, Debug)]
pub struct Driven {
    /// Inputs that were run.
    pub cases: u64,
    /// Their length, all together.
    pub input_bytes: u64,
    /// The most memory that one of them took, in bytes.
    pub peak_bytes: usize,
}

/// Runs a target on its sound inputs, and then on damaged ones. The same seed makes the same inputs.
///
/// # Panics
///
/// If the target panics, on whatever thread, or takes more memory than it may. The input is in a file that
/// the message names. A case that hangs ends the process with such a message.
pub fn drive(target: &Target, seed: u64, budget: Budget) -> Driven {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "target {} has sound inputs", target.name);
    let mut rng = Rng::new(seed);
    let mut driven = Driven::default();
    let start = Instant::now();
    let watchdog = Watchdog::start(format!("{} with ISOPACH_SEED={seed}", target.name));
    loop {
        let is_over = match budget {
            Budget::Cases(cases) => driven.cases >= cases,
            Budget::Time(time) => start.elapsed() >= time,
        };
        if is_over {
            return driven;
        }
        let input = match seeds.get(driven.cases as usize) {
            Some(sound) if matches!(budget, Budget::Time(_)) || driven.cases < 8 => sound.clone(),
            _ => damaged(&mut rng, &seeds),
        };
        watchdog.next();
        let peak = run(target, seed, &input);
        driven.peak_bytes = driven.peak_bytes.max(peak);
        driven.cases += 1;
        driven.input_bytes += input.len() as u64;
    }
}

fn damaged(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.pick(seeds).clone();
    let other = rng.pick(seeds);
    mutate(rng, &mut input, other);
    input
}

/// One case. Returns the memory that it took.
fn run(target: &Target, seed: u64, input: &[u8]) -> usize {
    let panics_before = panics();
    let work = || panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let Memory { per_byte, constant, counted } = target.memory;
    let (result, peak) = match counted {
        Counted::Thread => peak_of_thread(work),
        Counted::Process => peak_of_process(work),
    };
    let most = per_byte * input.len() + constant;
    let wrong = match result {
        Err(_) => "panicked".into(),
        Ok(()) if counted == Counted::Process && panics() > panics_before => {
            "panicked on a thread of its own".into()
        }
        Ok(()) if peak > most => format!("took {peak} bytes of memory, more than {most}"),
        Ok(()) => return peak,
    };
    let path = env::temp_dir().join(format!("isopach-{}-{seed}.input", target.name));
    let kept = fs::write(&path, input).map(|()| path.display().to_string());
    panic!("target {} {wrong}; ISOPACH_SEED={seed}, {} bytes of input in {kept:?}", target.name, input.len());
}

/// Panics so far, of all threads: those of background jobs are caught there.
fn panics() -> u64 {
    static PANICS: AtomicU64 = AtomicU64::new(0);
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            next(info);
        }));
    });
    PANICS.load(Ordering::Relaxed)
}

/// Ends the process if a case hangs: nothing else can.
struct Watchdog {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    /// Cases begun. Read by the watchdog only: it asks whether the number changes.
    cases: AtomicU64,
    has_ended: AtomicBool,
}

impl Watchdog {
    fn start(what: String) -> Watchdog {
        let shared = Arc::new(Shared { cases: AtomicU64::new(0), has_ended: AtomicBool::new(false) });
        let watched = Arc::clone(&shared);
        let watch = move || {
            let (mut case, mut since) = (0, Instant::now());
            while !watched.has_ended.load(Ordering::Relaxed) {
                thread::park_timeout(HANGS / 4);
                let now = watched.cases.load(Ordering::Relaxed);
                if now != case {
                    (case, since) = (now, Instant::now());
                } else if since.elapsed() > HANGS && !watched.has_ended.load(Ordering::Relaxed) {
                    eprintln!("case {case} of target {what} hangs");
                    process::abort();
                }
            }
        };
        Watchdog { shared, thread: thread::spawn(watch).thread().clone() }
    }

    fn next(&self) {
        self.shared.cases.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}
