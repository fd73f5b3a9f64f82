//! What a life acknowledged, when, and what that demands of the database after the cut.
//!
//! Only what was heard before the cut counts as durable: a sync may return while the power goes, and be lost.

use crate::history::{Model, Operation, State, operation};
use std::{
    io::{BufRead, BufReader, Read},
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

/// How long a child may take to acknowledge what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a child has said so far.
#[derive(Clone, Default, Debug)]
pub(crate) struct Said {
    /// Of each writer, in order, the commit of each acknowledged write; 0 of a change of keyspaces.
    pub(crate) acknowledged: Vec<Vec<u64>>,
    /// Number and commit of each finished checkpoint.
    pub(crate) copies: Vec<(usize, u64)>,
    /// Flushes and compactions under way.
    pub(crate) flushes: i64,
    pub(crate) compactions: i64,
    /// A checkpoint is being made.
    pub(crate) is_copying: bool,
    /// It says nothing more.
    is_over: bool,
}

impl Said {
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.iter().map(Vec::len).sum()
    }

    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["ack", writer, _, seqno] => {
                let writer: usize = writer.parse().expect("a writer");
                self.acknowledged[writer].push(seqno.parse().expect("a commit"));
            }
            ["copy", number, seqno] => {
                self.is_copying = false;
                self.copies.push((number.parse().expect("a number"), seqno.parse().expect("a commit")));
            }
            ["begin", "copy"] => self.is_copying = true,
            ["begin", "flush"] => self.flushes += 1,
            ["end", "flush"] => self.flushes -= 1,
            ["begin", "compaction"] => self.compactions += 1,
            ["end", "compaction"] => self.compactions -= 1,
            _ => {}
        }
    }
}

/// Listens to a child while others look at what it said.
pub(crate) struct Listener {
    said: Mutex<Said>,
    more: Condvar,
}

impl Listener {
    pub(crate) fn new(writers: usize) -> Listener {
        let said = Said { acknowledged: vec![Vec::new(); writers], ..Said::default() };
        Listener { said: Mutex::new(said), more: Condvar::new() }
    }

    /// Hears every whole line up to the end.
    pub(crate) fn listen(&self, output: impl Read) {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
            self.said.lock().expect("nobody panics").hear(line.trim_end());
            self.more.notify_all();
            line.clear();
        }
        self.said.lock().expect("nobody panics").is_over = true;
        self.more.notify_all();
    }

    /// Waits until so many writes were acknowledged.
    pub(crate) fn wait_for(&self, count: usize) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        let mut said = self.said.lock().expect("nobody panics");
        while said.count() < count && !said.is_over {
            let left = end.saturating_duration_since(Instant::now());
            let (next, waited) = self.more.wait_timeout(said, left).expect("nobody panics");
            said = next;
            if waited.timed_out() {
                return Err(format!("{} writes acknowledged within {PATIENCE:?}, not {count}", said.count()));
            }
        }
        if said.count() < count {
            return Err(format!("the writer ended after {} writes", said.count()));
        }
        Ok(())
    }

    /// What was said by now.
    pub(crate) fn said(&self) -> Said {
        self.said.lock().expect("nobody panics").clone()
    }
}

/// A life and its cut.
pub(crate) struct Ledger {
    pub(crate) seed: u64,
    /// Of each writer, the number of its first operation.
    pub(crate) from: Vec<u64>,
    /// What was said before the cut.
    pub(crate) before: Said,
    /// What was said at all.
    pub(crate) whole: Said,
}

/// What a check found, if nothing was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Survived {
    /// Operations that had to be there.
    pub(crate) durable: u64,
    /// Others that were acknowledged before the cut, and are there.
    pub(crate) buffered: u64,
    /// Others that were acknowledged before the cut, and are not.
    pub(crate) forgotten: u64,
}

impl Ledger {
    /// Checks the database after the cut and moves the models on to it.
    ///
    /// # Errors
    ///
    /// What was lost or invented.
    pub(crate) fn check(&self, models: &mut [Model], found: &[State]) -> Result<Survived, String> {
        let mut survived = Survived::default();
        for (writer, (model, found)) in models.iter_mut().zip(found).enumerate() {
            let of = |what: String| format!("writer {writer}: {what}");
            model.advance_to(found).map_err(of)?;
            let (from, floor) = (self.from[writer], self.durable(writer));
            let acknowledged = from + self.before.acknowledged[writer].len() as u64;
            if model.count < floor {
                return Err(of(format!("{} operations are there, but {floor} were durable", model.count)));
            }
            let begun = from + self.whole.acknowledged[writer].len() as u64 + 1;
            if model.count > begun {
                return Err(of(format!("{} operations are there, but {begun} were begun", model.count)));
            }
            survived.durable += floor - from;
            survived.buffered += model.count.min(acknowledged) - floor.min(acknowledged);
            survived.forgotten += acknowledged.saturating_sub(model.count);
        }
        let newest = self.newest(models);
        self.exactly(models, "the database", |seqno| seqno < newest, |_| false)?;
        Ok(survived)
    }

    /// Checks a finished checkpoint: it holds the commits up to `seqno` and no other. The models are those
    /// from before the life.
    pub(crate) fn check_copy(
        &self,
        mut models: Vec<Model>,
        found: &[State],
        seqno: u64,
    ) -> Result<(), String> {
        for (writer, (model, found)) in models.iter_mut().zip(found).enumerate() {
            model.advance_to(found).map_err(|what| format!("writer {writer}: {what}"))?;
        }
        self.exactly(&models, "the checkpoint", |at| at <= seqno, |at| at > seqno)
    }

    /// How many operations of a writer must be there: up to the last that was synced, and up to the last
    /// commit that lies before any that was synced.
    fn durable(&self, writer: usize) -> u64 {
        let synced =
            |writer: usize, at: usize| match operation(self.seed, writer, self.from[writer] + at as u64) {
                Operation::Write { is_synced, .. } => is_synced,
                Operation::Make | Operation::Drop => true,
            };
        let all = self.before.acknowledged.iter().enumerate();
        let last_synced = all
            .flat_map(|(writer, seqnos)| {
                seqnos.iter().enumerate().map(move |(at, seqno)| (writer, at, *seqno))
            })
            .filter(|&(writer, at, _)| synced(writer, at))
            .map(|(.., seqno)| seqno)
            .max()
            .unwrap_or(0);
        let own = &self.before.acknowledged[writer];
        let last = own
            .iter()
            .enumerate()
            .rposition(|(at, &seqno)| synced(writer, at) || (seqno > 0 && seqno <= last_synced));
        self.from[writer] + last.map_or(0, |last| last as u64 + 1)
    }

    /// The newest acknowledged commit that is there.
    fn newest(&self, models: &[Model]) -> u64 {
        let there = |(writer, seqnos): (usize, &Vec<u64>)| {
            let count = (models[writer].count - self.from[writer]) as usize;
            seqnos.iter().take(count).copied().max().unwrap_or(0)
        };
        self.whole.acknowledged.iter().enumerate().map(there).max().unwrap_or(0)
    }

    /// Of all acknowledged commits those that must be there are, and those that must not are not.
    fn exactly(
        &self,
        models: &[Model],
        place: &str,
        must_be: impl Fn(u64) -> bool,
        must_not: impl Fn(u64) -> bool,
    ) -> Result<(), String> {
        for (writer, seqnos) in self.whole.acknowledged.iter().enumerate() {
            let count = (models[writer].count - self.from[writer]) as usize;
            for (at, &seqno) in seqnos.iter().enumerate().filter(|(_, seqno)| **seqno > 0) {
                let (is_there, number) = (at < count, self.from[writer] + at as u64);
                if (must_be(seqno) && !is_there) || (must_not(seqno) && is_there) {
                    let is = if is_there { "holds" } else { "lacks" };
                    return Err(format!(
                        "{place} {is} operation {number} of writer {writer}, commit {seqno}: no prefix of commits"
                    ));
                }
            }
        }
        Ok(())
    }
}
