//! One life of the child, seen from its parent: started, listened to, killed at a random moment.
//!
//! What the child acknowledged is kept here, in the parent's memory, and nowhere on the disk that is tried.

use super::words::{Word, Work};
use crate::{
    args::TortureArgs,
    exit::{self, Failure},
    killed::Killed,
    random::Random,
};
use std::{
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::{ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// How long a child may take to open the database or to end by itself before that is a failure.
const LIMIT: Duration = Duration::from_secs(60);

/// Longest life of a child that waits for something to be killed in.
const LONGEST_LIFE: Duration = Duration::from_millis(1500);

/// When a child is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    /// So long after it began to open the database.
    Opening(Duration),
    /// So long after the database was open.
    Open(Duration),
    /// So long after this kind of work began.
    Work(Work, Duration),
    /// So long after a checkpoint began.
    Checkpoint(Duration),
    /// So long after it was told to end.
    Closing(Duration),
    /// Never: it ends by itself when it is told to.
    Never,
}

impl Moment {
    /// Draws one. `opening` is how long opening took last.
    pub(super) fn draw(random: &mut Random, opening: Duration) -> Moment {
        let mut up_to = |limit: Duration| Duration::from_micros(random.below(limit.as_micros() as u64 + 1));
        let short = up_to(Duration::from_millis(6));
        let (while_opening, any) = (up_to(opening), up_to(LONGEST_LIFE));
        match random.below(18) {
            16.. => Moment::Opening(while_opening / 2),
            0..3 => Moment::Opening(while_opening),
            3..6 => Moment::Work(Work::Flush, short),
            6..8 => Moment::Work(Work::Compaction, short),
            8 => Moment::Work(Work::Keyspace, short / 4),
            9..12 => Moment::Checkpoint(short * 2),
            12 => Moment::Closing(short * 3),
            13 if random.below(3) == 0 => Moment::Never,
            _ => Moment::Open(any),
        }
    }
}

/// What a life left behind, apart from the database.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Of each writer, the commit numbers of its acknowledged operations, in order: each is that of the
    /// operation or, of changes of keyspaces, not below it.
    pub(super) seqnos: Vec<Vec<u64>>,
    pub(super) checkpoints: Vec<Made>,
    /// What had begun and not ended.
    pub(super) interrupted: Vec<Work>,
    /// How long opening took, if it ended.
    pub(super) opening: Option<Duration>,
    /// Whether the child had begun to open the database.
    pub(super) has_begun: bool,
    /// Whether it closed the database.
    pub(super) is_closed: bool,
    /// Views that were read and right.
    pub(super) views: u64,
    /// What was not.
    pub(super) wrong: Vec<String>,
}

/// A checkpoint of a life, finished or not.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) number: u64,
    /// Operations of each writer in this life that were acknowledged before it began.
    pub(super) before: Vec<u64>,
    /// It holds the commits up to here; `None` if it was not finished.
    pub(super) seqno: Option<u64>,
}

impl Life {
    /// Lives one. `while_open` is called once in a while when the database is open in the child.
    pub(super) fn live(
        args: &TortureArgs,
        seed: u64,
        places: (&Path, &Path),
        from: &[u64],
        moment: Moment,
        while_open: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Life, Failure> {
        let failed = |error: io::Error| Failure::io("torture: run a child", &error);
        let mut child = Killed(command(args, seed, places, from).map_err(failed)?.spawn().map_err(failed)?);
        let output = child.0.stdout.take().expect("stdout of the child is a pipe");
        let (say, news) = mpsc::channel();
        let writers = from.len();
        let firsts = from.to_vec();
        let listener = thread::spawn(move || listen(output, writers, &firsts, &say));

        wait_for(moment, &news, while_open)?;
        if matches!(moment, Moment::Closing(_) | Moment::Never) {
            drop(child.0.stdin.take());
            wait_for_closing(moment, &news)?;
        }
        // Unless it was told to end, it lives until now.
        let ended = match moment {
            Moment::Never => Some(child.0.wait().map_err(failed)?),
            _ => child.0.try_wait().map_err(failed)?,
        };
        child.kill().map_err(failed)?;
        // What it said before it died is still in the pipe, up to its end.
        let mut life = listener.join().expect("the listener returns its errors").map_err(failed)?;
        if let Some(status) = ended.filter(|status| !(status.success() && life.is_closed)) {
            life.wrong.push(format!("the child ended by itself, with {status}"));
        }
        Ok(life)
    }
}

fn command(
    args: &TortureArgs,
    seed: u64,
    (db, checkpoints): (&Path, &Path),
    from: &[u64],
) -> io::Result<Command> {
    let from = from.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("torture-child").arg(db).arg("--checkpoints").arg(checkpoints);
    command.args(["--seed", &seed.to_string(), "--from", &from, "--readers", &args.readers.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// Waits for the moment; for one in work that does not come, for [`LONGEST_LIFE`].
fn wait_for(
    moment: Moment,
    news: &Receiver<Word>,
    while_open: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    heard(news, |word| *word == Word::Opening, LIMIT)?;
    if let Moment::Opening(delay) = moment {
        thread::sleep(delay);
        return Ok(());
    }
    if heard(news, |word| *word == Word::Open, LIMIT)? {
        while_open()?;
    }
    match moment {
        Moment::Work(work, delay) => {
            heard(news, |word| *word == Word::Begin(work), LONGEST_LIFE)?;
            thread::sleep(delay);
        }
        Moment::Checkpoint(delay) => {
            heard(news, |word| matches!(word, Word::CheckpointBegin { .. }), LONGEST_LIFE)?;
            thread::sleep(delay);
        }
        Moment::Open(delay) => thread::sleep(delay),
        Moment::Closing(_) | Moment::Never => thread::sleep(LONGEST_LIFE / 4),
        Moment::Opening(_) => unreachable!("handled above"),
    }
    Ok(())
}

/// The child was told to end.
fn wait_for_closing(moment: Moment, news: &Receiver<Word>) -> Result<(), Failure> {
    if let Moment::Closing(delay) = moment {
        heard(news, |word| *word == Word::Begin(Work::Closing), LIMIT)?;
        thread::sleep(delay);
    } else {
        heard(news, |word| *word == Word::Closed, LIMIT)?;
    }
    Ok(())
}

/// Waits until the child says what is wanted, and returns whether it did. After `limit` it goes on without,
/// unless that is [`LIMIT`].
fn heard(news: &Receiver<Word>, is_wanted: impl Fn(&Word) -> bool, limit: Duration) -> Result<bool, Failure> {
    let end = Instant::now() + limit;
    loop {
        match news.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(word) if is_wanted(&word) => return Ok(true),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) if limit < LIMIT => return Ok(false),
            // It died; why is on standard error, and in what is checked next.
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Err(RecvTimeoutError::Timeout) => {
                let message = format!("the child did nothing for {} s", LIMIT.as_secs());
                return Err(Failure::new(exit::FAILURE, "torture", message));
            }
        }
    }
}

/// Takes down what the child says until it is dead, and passes on all but acknowledgements. A line that the
/// kill cut off was not said.
fn listen(output: ChildStdout, writers: usize, from: &[u64], say: &Sender<Word>) -> io::Result<Life> {
    let mut life = Life { seqnos: vec![Vec::new(); writers], ..Life::default() };
    let mut output = BufReader::with_capacity(64 << 10, output);
    let (mut line, mut began) = (String::new(), Instant::now());
    loop {
        line.clear();
        // No line is longer than an error message; whatever else comes is not read without end.
        output.by_ref().take(64 << 10).read_line(&mut line)?;
        let Some(said) = line.strip_suffix('\n') else { return Ok(life) };
        let Some(word) = Word::parse(said) else {
            life.wrong.push(format!("the child said {said:?}"));
            continue;
        };
        match &word {
            Word::Opening => (life.has_begun, began) = (true, Instant::now()),
            Word::Open => life.opening = Some(began.elapsed()),
            _ => {}
        }
        life.take_down(&word, from);
        if !matches!(word, Word::Acknowledged { .. }) {
            let _ = say.send(word); // Nobody listens after the kill.
        }
    }
}

impl Life {
    fn take_down(&mut self, word: &Word, from: &[u64]) {
        match word {
            Word::Acknowledged { writer, number, seqno } => match self.seqnos.get_mut(*writer) {
                Some(seqnos) if *number == from[*writer] + seqnos.len() as u64 => seqnos.push(*seqno),
                _ => self.wrong.push(format!("the child said {word}, which is not its turn")),
            },
            Word::Begin(work) => self.interrupted.push(*work),
            Word::End(work) => {
                let begun = self.interrupted.iter().position(|begun| begun == work);
                begun.map(|at| self.interrupted.swap_remove(at));
            }
            Word::CheckpointBegin { number } => {
                let before = self.seqnos.iter().map(|seqnos| seqnos.len() as u64).collect();
                self.checkpoints.push(Made { number: *number, before, seqno: None });
            }
            Word::CheckpointEnd { number, seqno } => {
                let made = self.checkpoints.iter_mut().find(|made| made.number == *number);
                made.expect("it began").seqno = Some(*seqno);
            }
            Word::Read { views } => self.views += views,
            Word::Wrong(what) => self.wrong.push(what.clone()),
            Word::Closed => {
                self.is_closed = true;
                self.interrupted.retain(|work| *work != Work::Closing);
            }
            Word::Opening | Word::Open => {}
        }
    }

    /// Operations of each writer that were acknowledged, all lives counted.
    pub(super) fn acknowledged(&self, from: &[u64]) -> Vec<u64> {
        from.iter().zip(&self.seqnos).map(|(from, seqnos)| from + seqnos.len() as u64).collect()
    }

    /// Operations of each writer that are certainly among the commits up to `seqno`.
    pub(super) fn up_to(&self, seqno: u64, from: &[u64]) -> Vec<u64> {
        let count = |seqnos: &Vec<u64>| seqnos.partition_point(|&at| at <= seqno) as u64;
        from.iter().zip(&self.seqnos).map(|(from, seqnos)| from + count(seqnos)).collect()
    }

    /// Whether a checkpoint was being made.
    pub(super) fn was_copying(&self) -> bool {
        self.checkpoints.last().is_some_and(|made| made.seqno.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life_of(lines: &[&str], from: &[u64]) -> Life {
        let mut life = Life { seqnos: vec![Vec::new(); from.len()], ..Life::default() };
        for line in lines {
            life.take_down(&Word::parse(line).unwrap(), from);
        }
        life
    }

    #[test]
    fn acknowledgements_are_counted_by_writer_and_commit() {
        let life =
            life_of(&["ack 0 5 10", "ack 1 0 11", "checkpoint 0", "ack 0 6 14", "checkpoint 0 12"], &[5, 0]);

        assert_eq!(life.acknowledged(&[5, 0]), [7, 1]);
        assert_eq!(life.up_to(12, &[5, 0]), [6, 1]);
        assert_eq!((&life.checkpoints[0].before[..], life.checkpoints[0].seqno), (&[1, 1][..], Some(12)));
        assert!(life.wrong.is_empty() && !life.was_copying());
    }

    #[test]
    fn an_acknowledgement_out_of_turn_is_wrong() {
        assert_eq!(life_of(&["ack 0 6 10"], &[5]).wrong.len(), 1);
        assert_eq!(life_of(&["ack 1 0 10"], &[5]).wrong.len(), 1);
    }

    #[test]
    fn what_had_not_ended_was_interrupted() {
        let life = life_of(&["begin flush", "begin flush", "end flush", "checkpoint 0"], &[0]);

        assert_eq!(life.interrupted, [Work::Flush]);
        assert!(life.was_copying());
    }
}
