//! Power cuts on real file systems: ext4 and XFS on images, as root.
//!
//! ```sh
//! cargo run --release -p testkit --bin power_cut -- [--fs ext4|xfs] [--cuts N] [--seed S] [--dir DIR] [--lies]
//! ```
//!
//! Each cut: a process writes to a database on the disk until at least [`LEAST`] writes are acknowledged, the
//! power goes, the kernel mounts what is left, and the database there is checked against what was
//! acknowledged before the cut; the next life goes on with it. Three of four cuts clone the image of the disk
//! in use, the others have the file system go down without its journal. With `--lies` nothing is synced that
//! is said to be: that must be noticed.
//!
//! The last line of each file system says what was tried and lost. Ends with 0 if nothing was lost, 1 if
//! something was, 77 if a file system could not be tried, which is said on a line that begins with `SKIPPED`.

mod disk;
mod history;
mod ledger;
mod look;
mod writer;

use disk::{Cut, Disk, Host, Kind};
use history::Model;
use ledger::{Ledger, Listener, Survived};
use look::{read, verify};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, ExitCode, Stdio},
    thread,
    time::Instant,
};
use testkit::Rng;
use writer::{CHECKPOINTS, Honesty, Life, copy_name, live};

const WRITERS: usize = 3;
/// Least number of writes that are acknowledged before a cut: less would try nothing.
const LEAST: usize = 50;
/// What the program ends with if a file system could not be tried.
const SKIPPED: u8 = 77;

struct Options {
    kinds: Vec<Kind>,
    cuts: u64,
    seed: u64,
    dir: PathBuf,
    honesty: Honesty,
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [first, dir, seed, from, honesty] = &args[..]
        && first == "child"
    {
        let life = Life {
            dir: Path::new(dir),
            seed: seed.parse().expect("a number"),
            from: from.split(',').map(|number| number.parse().expect("a number")).collect(),
            honesty: if honesty == "lies" { Honesty::Lies } else { Honesty::Honest },
        };
        return live(&life).map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS);
    }
    match options(args) {
        Ok(options) => run(&options),
        Err(what) => {
            eprintln!("{what}\nusage: power_cut [--fs ext4|xfs] [--cuts N] [--seed S] [--dir DIR] [--lies]");
            ExitCode::from(2)
        }
    }
}

fn fail(what: &str) -> ExitCode {
    eprintln!("{what}");
    ExitCode::FAILURE
}

fn options(args: Vec<String>) -> Result<Options, String> {
    let dir = env::temp_dir().join(format!("isopach-power-{}", process::id()));
    let seed = Rng::new(u64::from(process::id())).word() >> 32;
    let mut options = Options { kinds: Kind::ALL.into(), cuts: 50, seed, dir, honesty: Honesty::Honest };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        match arg.as_str() {
            "--fs" => {
                let name = value()?;
                options.kinds.retain(|kind| kind.name() == name);
                if options.kinds.is_empty() {
                    return Err(format!("no such file system: {name}"));
                }
            }
            "--cuts" => options.cuts = number(value()?)?,
            "--seed" => options.seed = number(value()?)?,
            "--dir" => options.dir = value()?.into(),
            "--lies" => options.honesty = Honesty::Lies,
            other => return Err(format!("no such option: {other}")),
        }
    }
    Ok(options)
}

/// Tries every file system.
fn run(options: &Options) -> ExitCode {
    let skip = |what: &str, why: &str| println!("SKIPPED {what}: {why}");
    println!("power cuts with --seed {} in {}", options.seed, options.dir.display());
    if let Err(error) = fs::create_dir(&options.dir) {
        return fail(&format!("{}: {error}", options.dir.display()));
    }
    let host = match Host::make(options.dir.clone()) {
        Ok(host) => host,
        Err(why) => {
            skip("power cuts, all of them", &why);
            return ExitCode::from(SKIPPED);
        }
    };
    let (mut is_lost, mut is_skipped) = (false, false);
    for &kind in &options.kinds {
        match Disk::make(&host, kind) {
            Ok(disk) => is_lost |= !Run::new(options, kind, &disk).tries(),
            Err(why) => {
                skip(kind.name(), &why);
                is_skipped = true;
            }
        }
    }
    match (is_lost, is_skipped) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(SKIPPED),
        (false, false) => ExitCode::SUCCESS,
    }
}

/// The cuts of one file system.
struct Run<'a> {
    options: &'a Options,
    kind: Kind,
    disk: &'a Disk<'a>,
    models: Vec<Model>,
    rng: Rng,
    tally: Tally,
}

/// What was tried.
#[derive(Default)]
struct Tally {
    cuts: u64,
    clones: u64,
    in_flush: u64,
    in_compaction: u64,
    in_checkpoint: u64,
    acknowledged: u64,
    least: Option<u64>,
    survived: Survived,
    copies: u64,
    half_made: u64,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options, kind: Kind, disk: &'a Disk<'a>) -> Run<'a> {
        let models = (0..WRITERS).map(|writer| Model::new(options.seed, writer)).collect();
        Run { options, kind, disk, models, rng: Rng::new(options.seed), tally: Tally::default() }
    }

    /// Whether nothing was lost.
    fn tries(mut self) -> bool {
        let started = Instant::now();
        let lost =
            (1..=self.options.cuts).find_map(|cut| self.cut().err().map(|what| format!("cut {cut}: {what}")));
        self.report(started.elapsed().as_secs_f64(), lost.as_deref());
        lost.is_none()
    }

    /// A life, its cut, the check.
    fn cut(&mut self) -> Result<(), String> {
        let how = if self.rng.one_in(4) { Cut::Shutdown } else { Cut::Clone };
        let ledger = self.live_until(how)?;
        self.disk.restart(how)?;
        self.count(how, &ledger);

        let before = self.models.clone();
        let found = read(self.options.seed, &self.disk.path().join("db")).map_err(|why| why.what)?;
        let survived = ledger.check(&mut self.models, &found)?;
        verify(&self.disk.path().join("db"))?;
        self.check_copies(&before, &ledger)?;
        let total = &mut self.tally.survived;
        total.durable += survived.durable;
        total.buffered += survived.buffered;
        total.forgotten += survived.forgotten;
        Ok(())
    }

    /// Runs the writer until some time after [`LEAST`] acknowledgements, and cuts the power.
    fn live_until(&mut self, how: Cut) -> Result<Ledger, String> {
        let from: Vec<u64> = self.models.iter().map(|model| model.count).collect();
        let numbers = from.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let honesty = if self.options.honesty == Honesty::Lies { "lies" } else { "honest" };
        let mut child = Command::new(env::current_exe().map_err(|error| error.to_string())?)
            .arg("child")
            .arg(self.disk.path())
            .args([&self.options.seed.to_string(), &numbers, honesty])
            .stdout(Stdio::piped())
            .stderr(Stdio::null()) // Full of errors once the power is off.
            .spawn()
            .map_err(|error| error.to_string())?;
        let output = child.stdout.take().expect("it is a pipe");
        let listener = Listener::new(WRITERS);
        let enough = LEAST + self.rng.below(400);
        let cut = thread::scope(|scope| {
            scope.spawn(|| listener.listen(output));
            // What is heard by now counts; what is said while the power goes may be lost.
            let cut = listener.wait_for(enough).and_then(|()| {
                let before = listener.said();
                self.disk.cut(how).map(|()| before)
            });
            let killed = child.kill().and_then(|()| child.wait());
            killed.map_err(|error| error.to_string()).and(cut)
        });
        Ok(Ledger { seed: self.options.seed, from, before: cut?, whole: listener.said() })
    }

    /// Every checkpoint: finished before the cut it is whole, else whole or refused.
    fn check_copies(&mut self, before: &[Model], ledger: &Ledger) -> Result<(), String> {
        for number in 0..CHECKPOINTS {
            let path = self.disk.path().join(copy_name(number));
            if path.exists() || ledger.before.copies.iter().any(|copy| copy.0 == number) {
                let checked = self.check_copy(&path, number, before, ledger);
                checked.map_err(|what| format!("{}: {what}", path.display()))?;
                fs::remove_dir_all(&path).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn check_copy(
        &mut self,
        path: &Path,
        number: usize,
        before: &[Model],
        ledger: &Ledger,
    ) -> Result<(), String> {
        let said = |copies: &[(usize, u64)]| copies.iter().find(|copy| copy.0 == number).map(|copy| copy.1);
        let finished = said(&ledger.before.copies);
        match (read(self.options.seed, path), finished) {
            (Ok(found), _) => {
                let seqno = finished.or_else(|| said(&ledger.whole.copies));
                if let Some(seqno) = seqno {
                    ledger.check_copy(before.to_vec(), &found, seqno)?;
                }
                verify(path)?;
                self.tally.copies += 1;
            }
            (Err(why), None) if why.is_half => self.tally.half_made += 1,
            (Err(why), _) => return Err(why.what),
        }
        Ok(())
    }

    fn count(&mut self, how: Cut, ledger: &Ledger) {
        let (said, tally) = (&ledger.before, &mut self.tally);
        let acknowledged = said.count() as u64;
        assert!(acknowledged >= LEAST as u64, "a cut comes after {LEAST} acknowledgements");
        tally.cuts += 1;
        tally.clones += u64::from(how == Cut::Clone);
        tally.in_flush += u64::from(said.flushes > 0);
        tally.in_compaction += u64::from(said.compactions > 0);
        tally.in_checkpoint += u64::from(said.is_copying);
        tally.acknowledged += acknowledged;
        tally.least = Some(tally.least.map_or(acknowledged, |least| least.min(acknowledged)));
    }

    fn report(&self, seconds: f64, lost: Option<&str>) {
        let tally = &self.tally;
        let Survived { durable, buffered, forgotten } = tally.survived;
        println!(
            "{}: {} cuts in {seconds:.1} s ({} by a clone, {} by a shutdown; {} in a flush, {} in a compaction, {} in \
             a checkpoint), {} commits acknowledged before them, at least {} before each: {durable} durable ones \
             found, of the others {buffered} found and {forgotten} not; {} checkpoints whole, {} half-made ones \
             refused. Lost: {}",
            self.kind.name(),
            tally.cuts,
            tally.clones,
            tally.cuts - tally.clones,
            tally.in_flush,
            tally.in_compaction,
            tally.in_checkpoint,
            tally.acknowledged,
            tally.least.unwrap_or(0),
            tally.copies,
            tally.half_made,
            lost.unwrap_or("nothing"),
        );
    }
}
