//! The sweep: every damage of a plan, on as many threads as are asked for, and what came of it.

use super::{
    damage::{Damage, Density, damages},
    examine::{Examined, Outcome, Passes, examine},
    layout::FileClass,
    subject::{Subject, check_sound, subjects},
};
use crate::Rng;
use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// An examination that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Memory that a damaged database may take beyond the sound one: this many times its size, and a constant.
const PEAK_FACTOR: usize = 2;
const PEAK_CONSTANT_BYTES: usize = 512 << 10;

/// What is swept.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of the databases and of all choices.
    pub seed: u64,
    /// How much of all that can happen.
    pub density: Density,
    /// Every so many damages the database is also opened for writing.
    pub write_every: usize,
    /// Examinations at a time.
    pub threads: usize,
}

/// What came of a sweep.
#[derive(Default)]
pub struct Swept {
    /// Damages by what was hit, how, and what came of it.
    pub counts: BTreeMap<(FileClass, &'static str, Outcome), usize>,
    /// How many of them were opened for writing too.
    pub written: usize,
    /// Most memory beyond what the sound database takes, in bytes, and of which damage.
    pub peak: (usize, String),
    /// Answers that are wrong, each with the damage.
    pub violations: Vec<String>,
    /// Time it took.
    pub time: Duration,
}

/// Damages the databases of a seed, and examines each.
pub fn sweep(plan: Plan) -> Swept {
    let mut rng = Rng::new(plan.seed);
    let mut swept = Swept::default();
    let start = Instant::now();
    for subject in subjects(plan.seed) {
        check_sound(&subject);
        let damages = damages(&subject, plan.density, &mut rng);
        sweep_one(&subject, &damages, plan, &mut swept);
    }
    swept.time = start.elapsed();
    swept
}

/// Examines a subject after each of the damages.
pub fn sweep_one(subject: &Subject, damages: &[Damage], plan: Plan, swept: &mut Swept) {
    let sound = examine(subject, &subject.image, Passes::Read);
    let sound = sound.unwrap_or_else(|why| panic!("{} is not sound: {why}", subject.name));
    let limit = sound.peak_bytes + PEAK_FACTOR * subject.image.size_bytes() + PEAK_CONSTANT_BYTES;
    let next = AtomicUsize::new(0);
    let shared = Mutex::new(std::mem::take(swept));
    let work = |watch: &Watch| {
        while let Some(damage) = damages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let index = next.load(Ordering::Relaxed);
            let is_written = index.is_multiple_of(plan.write_every);
            watch.begin(subject, damage);
            let result = examine_damaged(subject, damage, is_written);
            watch.end();
            let mut swept = shared.lock().unwrap_or_else(PoisonError::into_inner);
            swept.written += usize::from(is_written);
            swept.note(subject, damage, result, sound.peak_bytes, limit);
        }
    };
    thread::scope(|scope| {
        let watches: Vec<Watch> = (0..plan.threads).map(|_| Watch::default()).collect();
        let (watches, work) = (&*watches.leak(), &work);
        let workers: Vec<_> = watches.iter().map(|watch| scope.spawn(move || work(watch))).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            watches.iter().for_each(Watch::check);
            thread::park_timeout(Duration::from_millis(20));
        }
    });
    *swept = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
}

fn examine_damaged(subject: &Subject, damage: &Damage, is_written: bool) -> Result<Examined, String> {
    let passes = if is_written { Passes::ReadAndWrite } else { Passes::Read };
    let image = damage.apply(&subject.image);
    catch_unwind(AssertUnwindSafe(|| examine(subject, &image, passes))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// What a thread is doing since when.
#[derive(Default)]
struct Watch(Mutex<Option<(Instant, String)>>);

impl Watch {
    fn begin(&self, subject: &Subject, damage: &Damage) {
        let text = format!("{}: {damage}", subject.name);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), text));
    }

    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends the program if it hangs: nothing can be awaited any more.
    fn check(&self) {
        if let Some((since, what)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && since.elapsed() > PATIENCE
        {
            eprintln!("hangs: {what}");
            std::process::abort();
        }
    }
}

impl Swept {
    /// Damages in all.
    pub fn total(&self) -> usize {
        self.counts.values().sum::<usize>() + self.violations.len()
    }

    /// Damages that came out so.
    pub fn of(&self, outcome: Outcome) -> usize {
        self.counts.iter().filter(|((.., found), _)| *found == outcome).map(|(_, count)| count).sum()
    }

    fn note(
        &mut self,
        subject: &Subject,
        damage: &Damage,
        result: Result<Examined, String>,
        sound_peak: usize,
        limit: usize,
    ) {
        let what = format!("{}: {damage}", subject.name);
        match result {
            Err(why) => self.violations.push(format!("{what}: {why}")),
            Ok(Examined { peak_bytes, .. }) if peak_bytes > limit => {
                self.violations.push(format!("{what}: took {peak_bytes} bytes of memory, more than {limit}"));
            }
            Ok(Examined { outcome, peak_bytes }) => {
                *self.counts.entry((damage.class, damage.kind, outcome)).or_default() += 1;
                let beyond = peak_bytes.saturating_sub(sound_peak);
                if beyond > self.peak.0 {
                    self.peak = (beyond, what);
                }
            }
        }
    }
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9} {:<15}", "file", "damage")?;
        for outcome in Outcome::ALL {
            write!(f, " {:>11}", outcome.name())?;
        }
        writeln!(f)?;
        let mut rows: BTreeMap<(FileClass, &str), BTreeMap<Outcome, usize>> = BTreeMap::new();
        for (&(class, kind, outcome), &count) in &self.counts {
            rows.entry((class, kind)).or_default().insert(outcome, count);
        }
        for ((class, kind), counts) in rows {
            write!(f, "{:<9} {kind:<15}", class.name())?;
            for outcome in Outcome::ALL {
                write!(f, " {:>11}", counts.get(&outcome).copied().unwrap_or(0))?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "{} damages in {:.1} s, {} of them opened for writing too; most memory beyond the sound database: {} bytes \
             ({})",
            self.total(),
            self.time.as_secs_f64(),
            self.written,
            self.peak.0,
            self.peak.1,
        )?;
        writeln!(f, "{} violations", self.violations.len())
    }
}
