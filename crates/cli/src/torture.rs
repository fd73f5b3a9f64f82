//! `torture`: a busy process is killed again and again, and nothing that it was told is kept may be lost.
//!
//! The database lies on the disk that is tried; what was acknowledged is counted by the parent, in memory.
//! Each round is a life of the child ([`life`]), killed at a random moment, and a check ([`check`]) of the
//! database and all checkpoints against the model ([`model`]) of what the operations ([`operations`]) leave.
//! The next life goes on with the same database.

mod check;
pub(crate) mod child;
mod life;
mod model;
mod operations;
mod readers;
mod tally;
mod tamper;
mod words;

use crate::{
    args::TortureArgs,
    database,
    exit::{self, Failure},
    output::Console,
    random::{self, Random},
    workplace::Workplace,
};
use check::{Kept, Losses};
use life::{Life, Moment};
use model::Model;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tally::Tally;

/// Runs the torture.
pub(crate) fn run(args: &TortureArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let seed = args.seed.unwrap_or_else(|| random::fresh_seed() >> 16); // Short enough to copy.
    let workplace = Workplace::claim("torture", &args.dir)?;
    let mut rig = Rig::new(args, seed, workplace.path())?;
    Tally::heading(console)?;

    let lost = rig.run(console)?;

    rig.tally.last_line(seed, lost.len(), console)?;
    if lost.is_empty() {
        return if args.keep { Ok(()) } else { workplace.remove() };
    }
    let message = format!(
        "{}; the directory {} is kept; `{}` repeats the choices, not the moments",
        lost.join("; "),
        args.dir.display(),
        command(args, seed)
    );
    Err(Failure::new(exit::FAILURE, "torture", message)
        .with_hint("this is a bug of isopach or a fault of this machine; please report it with the output"))
}

fn command(args: &TortureArgs, seed: u64) -> String {
    let TortureArgs { dir, seconds, writers, readers, .. } = args;
    let dir = dir.display();
    format!("isopach torture {dir} --seconds {seconds} --seed {seed} --writers {writers} --readers {readers}")
}

/// A run: where it works and how far it is.
struct Rig<'a> {
    args: &'a TortureArgs,
    seed: u64,
    db: PathBuf,
    copies: PathBuf,
    kept_path: PathBuf,
    kept: Option<Kept>,
    model: Model,
    random: Random,
    tally: Tally,
    /// How long opening took last: a kill in recovery comes within that time.
    opening: Duration,
}

impl Rig<'_> {
    fn new<'a>(args: &'a TortureArgs, seed: u64, dir: &Path) -> Result<Rig<'a>, Failure> {
        let copies = dir.join("checkpoints");
        fs::create_dir(&copies).map_err(|error| Failure::io("torture: make a directory", &error))?;
        Ok(Rig {
            args,
            seed,
            db: dir.join("db"),
            copies,
            kept_path: dir.join("kept-checkpoint"),
            kept: None,
            model: Model::new(seed, usize::from(args.writers)),
            random: Random::new(seed),
            tally: Tally::new(),
            opening: Duration::from_millis(20),
        })
    }

    /// Round after round until the time is up, or something is lost.
    fn run(&mut self, console: &mut Console<'_>) -> Result<Losses, Failure> {
        let limit = Duration::from_secs(self.args.seconds);
        while self.tally.elapsed() < limit {
            let lost = self.round()?;
            if !lost.is_empty() {
                return Ok(lost);
            }
            self.tally.progress(console)?;
        }
        Ok(Losses::new())
    }

    /// A life and its check.
    fn round(&mut self) -> Result<Losses, Failure> {
        tamper::prepare(self.args.tamper, &self.db)?;
        let life = self.live()?;
        self.tally.count_life(&life);
        self.opening = life.opening.unwrap_or(self.opening);
        tamper::damage(self.args.tamper, &self.db, &self.copies, &life)?;
        if !life.wrong.is_empty() {
            return Ok(life.wrong);
        }

        let mut checked = match check::check(self.seed, &self.db, &self.copies, &life, &mut self.model) {
            Ok(checked) => checked,
            Err(lost) => return Ok(lost),
        };
        self.tally.count_checked(&checked);
        if let Some(kept) = self.kept.take() {
            if let Err(lost) = kept.check(self.seed, usize::from(self.args.writers)) {
                return Ok(lost);
            }
            self.tally.count_kept();
        }
        self.clear(checked.kept.take())
            .map_err(|error| Failure::io("torture: remove checkpoints", &error))?;
        Ok(Losses::new())
    }

    fn live(&mut self) -> Result<Life, Failure> {
        let moment = Moment::draw(&mut self.random, self.opening);
        let from = self.model.counts();
        let mut is_refused = false;
        let second_opening = || {
            refuses_second(&self.db)?;
            is_refused = true;
            Ok(())
        };
        let life = Life::live(self.args, self.seed, (&self.db, &self.copies), &from, moment, second_opening)?;
        if is_refused {
            self.tally.count_refused();
        }
        Ok(life)
    }

    /// Removes the checkpoints of a life, but one for the next check.
    fn clear(&mut self, kept: Option<Kept>) -> io::Result<()> {
        self.kept = match kept {
            Some(kept) => Some(kept.move_to(self.kept_path.clone())?),
            None => None,
        };
        for entry in fs::read_dir(&self.copies)? {
            fs::remove_dir_all(entry?.path())?;
        }
        Ok(())
    }
}

/// The database is open in the child: nobody else can open it.
fn refuses_second(db: &Path) -> Result<(), Failure> {
    for opened in [database::read(db).err(), database::write(db, database::Missing::Refuse).err()] {
        match opened {
            Some(Failure::Report { code: exit::LOCKED, .. }) => {}
            Some(other) => return Err(other),
            None => {
                let message = "two processes have the database open at once";
                return Err(Failure::new(exit::FAILURE, "torture", message));
            }
        }
    }
    Ok(())
}
