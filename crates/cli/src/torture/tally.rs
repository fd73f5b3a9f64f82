//! What a run has tried so far, and how it is told.

use super::{check::Checked, life::Life, words::Work};
use crate::{
    exit::Failure,
    output::{Console, Output},
    text,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Time between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Counts of a run.
pub(super) struct Tally {
    started: Instant,
    told: Option<Instant>,
    kills: u64,
    /// Kills while the database was being opened.
    in_recovery: u64,
    /// Kills while a checkpoint was being made.
    in_checkpoint: u64,
    /// Kills in each of [`Work::ALL`].
    in_work: [u64; Work::ALL.len()],
    /// Lives that ended by themselves.
    closed: u64,
    /// Openings of a database that was open in the child.
    refused: u64,
    acknowledged: u64,
    more: u64,
    views: u64,
    entries: u64,
    checkpoints: u64,
    half_made: u64,
    /// Checkpoints that were looked at a life later, and written to.
    kept: u64,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            started: Instant::now(),
            told: None,
            kills: 0,
            in_recovery: 0,
            in_checkpoint: 0,
            in_work: [0; Work::ALL.len()],
            closed: 0,
            refused: 0,
            acknowledged: 0,
            more: 0,
            views: 0,
            entries: 0,
            checkpoints: 0,
            half_made: 0,
            kept: 0,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn count_life(&mut self, life: &Life) {
        self.acknowledged += life.seqnos.iter().map(|seqnos| seqnos.len() as u64).sum::<u64>();
        self.views += life.views;
        if life.is_closed {
            self.closed += 1;
            return;
        }
        self.kills += 1;
        self.in_recovery += u64::from(life.has_begun && life.opening.is_none());
        self.in_checkpoint += u64::from(life.was_copying());
        for (count, work) in self.in_work.iter_mut().zip(Work::ALL) {
            *count += u64::from(life.interrupted.contains(&work));
        }
    }

    pub(super) fn count_checked(&mut self, checked: &Checked) {
        self.more += checked.more;
        self.entries += checked.entries;
        self.checkpoints += checked.checkpoints;
        self.half_made += checked.half_made;
    }

    pub(super) fn count_refused(&mut self) {
        self.refused += 1;
    }

    pub(super) fn count_kept(&mut self) {
        self.kept += 1;
    }

    // ----- telling -----

    /// The line above the progress.
    pub(super) fn heading(console: &mut Console<'_>) -> Result<(), Failure> {
        if console.output() == Output::Table {
            writeln!(
                console.out(),
                "{:>8}  {:>6}  {:>13}  {:>5}  {:>11}  {:>11}  LOST",
                "TIME",
                "KILLS",
                "ACKNOWLEDGED",
                "MORE",
                "CHECKPOINTS",
                "VIEWS READ"
            )?;
            console.out().flush()?;
        }
        Ok(())
    }

    /// A line of progress, if the last is old enough.
    pub(super) fn progress(&mut self, console: &mut Console<'_>) -> Result<(), Failure> {
        if self.told.is_some_and(|told| told.elapsed() < LINE_EVERY) {
            return Ok(());
        }
        self.told = Some(Instant::now());
        match console.output() {
            Output::Table => writeln!(
                console.out(),
                "{:>6.1} s  {:>6}  {:>13}  {:>5}  {:>11}  {:>11}  0",
                self.elapsed().as_secs_f64(),
                self.kills,
                text::grouped(self.acknowledged),
                self.more,
                self.checkpoints,
                text::grouped(self.views),
            )?,
            Output::Jsonl => console.object("torture-progress", self.fields())?,
        }
        Ok(console.out().flush()?)
    }

    /// The last line: what was tried and what was lost.
    pub(super) fn last_line(&self, seed: u64, lost: usize, console: &mut Console<'_>) -> Result<(), Failure> {
        match console.output() {
            Output::Table => {
                let lost = match lost {
                    0 => "nothing".to_owned(),
                    some => text::counted(some as u64, "thing", "things"),
                };
                writeln!(console.out(), "{}. Lost: {lost}.", self.sentence(seed))?;
            }
            Output::Jsonl => {
                let mut fields = self.fields();
                fields["seed"] = seed.into();
                fields["lost"] = lost.into();
                console.object("torture", fields)?;
            }
        }
        Ok(console.out().flush()?)
    }

    fn sentence(&self, seed: u64) -> String {
        let works =
            Work::ALL.iter().zip(self.in_work).map(|(work, count)| format!("{count} in {}", work.name()));
        let places =
            [format!("{} in recovery", self.in_recovery), format!("{} in a checkpoint", self.in_checkpoint)];
        format!(
            "Tried in {:.1} s with seed {seed}: {} ({}), {} endings in order, {} commits acknowledged and {} \
             more found whole, {} views and {} entries compared, {} checkpoints opened, {} of them written to \
             a life later, {} half-made ones refused, {} second openings refused",
            self.elapsed().as_secs_f64(),
            text::counted(self.kills, "kill", "kills"),
            places.into_iter().chain(works).collect::<Vec<_>>().join(", "),
            self.closed,
            text::grouped(self.acknowledged),
            self.more,
            text::grouped(self.views),
            text::grouped(self.entries),
            self.checkpoints,
            self.kept,
            self.half_made,
            self.refused,
        )
    }

    fn fields(&self) -> Value {
        let mut fields = json!({
            "seconds": self.elapsed().as_secs_f64(),
            "kills": self.kills,
            "kills_in_recovery": self.in_recovery,
            "kills_in_checkpoint": self.in_checkpoint,
            "ended_in_order": self.closed,
            "acknowledged": self.acknowledged,
            "more_found": self.more,
            "views": self.views,
            "entries": self.entries,
            "checkpoints": self.checkpoints,
            "checkpoints_written_to": self.kept,
            "half_made_checkpoints": self.half_made,
            "second_openings_refused": self.refused,
        });
        for (work, count) in Work::ALL.iter().zip(self.in_work) {
            fields[format!("kills_in_{}", work.name().replace('-', "_"))] = count.into();
        }
        fields
    }
}
