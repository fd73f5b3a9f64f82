//! Part 3 of the demo: a writer is killed without warning, again and again.
//!
//! What must hold after each kill: every batch that was acknowledged is there in whole; behind them at most
//! the one that was under way, also in whole; nothing else. [`check`] is that rule, without processes.

use super::{
    child::{self, BATCH_RECORDS},
    say, wrong,
};
use crate::{database, exit::Failure, killed::Killed, output::Console, random::Random, text};
use isopach::Slice;
use std::{
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// Shortest time that a writer lives.
const MIN_LIFE: Duration = Duration::from_millis(300);

/// How long a writer may take to open the database and write its first batch.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Runs the rounds, all on one database.
pub(super) fn run(
    dir: &Path,
    rounds: u32,
    max_life: Duration,
    random: &mut Random,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    say(
        console,
        &format!(
            "\n3. Kill a writer {rounds} times: what was acknowledged must be there, in whole batches\n   \
             {:>5}  {:>7}  {:>12}  {:>4}  {:>4}  {:>15}  {:>7}  log end",
            "round", "lived", "acknowledged", "lost", "more", "entries checked", "in"
        ),
    )?;
    let mut before = 0;
    for round in 1..=rounds {
        let spread_us = max_life.saturating_sub(MIN_LIFE).as_micros() as u64;
        let life = MIN_LIFE + Duration::from_micros(random.below(spread_us + 1));
        // The database counts on from what it holds; a round that acknowledges nothing adds nothing.
        let acknowledged = before + one_life(dir, before, life)?;

        let started = Instant::now();
        let (entries, end) = reopened(dir)?;
        let batches = check(entries, acknowledged).map_err(|why| wrong("crash", why))?;
        let took = started.elapsed().as_secs_f64();

        say(
            console,
            &format!(
                "   {round:>5}  {:>5.2} s  {:>12}  {:>4}  {:>4}  {:>15}  {took:>5.2} s  {end}",
                life.as_secs_f64(),
                text::grouped(acknowledged - before),
                0, // Else the check fails.
                batches - acknowledged,
                text::grouped(batches * u64::from(BATCH_RECORDS)),
            ),
        )?;
        before = batches;
    }
    Ok(())
}

/// A writer's life. Returns the number of batches that it said were acknowledged, which begin at `first`.
fn one_life(dir: &Path, first: u64, life: Duration) -> Result<u64, Failure> {
    let failed = |error: io::Error| Failure::io("demo: run a writer", &error);
    let program = std::env::current_exe().map_err(failed)?;
    let mut writer = Killed(
        Command::new(program)
            .arg("demo-child")
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?,
    );
    let output = writer.0.stdout.take().expect("stdout of the writer is a pipe");
    let (begun, first_batch) = mpsc::channel();
    let reader = thread::spawn(move || acknowledged(BufReader::new(output), first, &begun));

    // The clock starts at the first batch: opening after a crash may take a while.
    let ended = match first_batch.recv_timeout(START_LIMIT) {
        Ok(()) => {
            thread::sleep(life);
            writer.0.try_wait().map_err(failed)?
        }
        // It closed its output, so it is about to end.
        Err(RecvTimeoutError::Disconnected) => Some(writer.0.wait().map_err(failed)?),
        Err(RecvTimeoutError::Timeout) => return Err(wrong("crash", "the writer wrote nothing for 30 s")),
    };
    if let Some(status) = ended {
        return Err(wrong("crash", format!("the writer ended by itself, with {status}")));
    }
    writer.kill().map_err(failed)?;

    // What it said before it died is still in the pipe, up to its end.
    let count = reader.join().expect("the reader returns its errors").map_err(failed)?;
    count.map_err(|line| wrong("crash", format!("the writer said {line:?}")))
}

/// Counts the batches that a writer acknowledges, one line each, from `first` on. A line that the kill cut
/// off does not count. An inner error is a line that should not be there.
fn acknowledged(mut output: impl BufRead, first: u64, begun: &Sender<()>) -> io::Result<Result<u64, String>> {
    let mut count = 0;
    let mut line = String::new();
    loop {
        line.clear();
        // No line is longer than a number; whatever else comes is not read without end.
        output.by_ref().take(64).read_line(&mut line)?;
        let Some(number) = line.strip_suffix('\n') else {
            return Ok(Ok(count));
        };
        if number.parse() != Ok(first + count) {
            return Ok(Err(number.to_owned()));
        }
        count += 1;
        if count == 1 {
            // The other side may have given up waiting.
            let _ = begun.send(());
        }
    }
}

type Entry = Result<(Slice, Slice), isopach::Error>;

/// The entries after a crash, and what opening said about the end of the log.
fn reopened(dir: &Path) -> Result<(impl Iterator<Item = Entry>, String), Failure> {
    let db = database::read(dir)?;
    let keyspace = database::keyspace_to_read(&db, child::KEYSPACE)?;
    let end = match database::facts(&db, Vec::new()).opening.discarded {
        None => "whole".to_owned(),
        Some(end) => format!("{} torn", text::size(end.bytes)),
    };
    Ok((keyspace.iter(), end))
}

/// Checks every entry, and returns the number of batches: `acknowledged`, or one more.
///
/// # Errors
///
/// Which rule does not hold, and where.
fn check<K: AsRef<[u8]>, V: AsRef<[u8]>, E: std::fmt::Display>(
    entries: impl Iterator<Item = Result<(K, V), E>>,
    acknowledged: u64,
) -> Result<u64, String> {
    let (mut batch, mut index) = (0, 0);
    for entry in entries {
        let (key, value) = entry.map_err(|error| format!("in batch {batch}: {error}"))?;
        if *key.as_ref() != child::key(batch, index) {
            let found = text::plain(key.as_ref()).into_owned();
            return Err(format!("instead of record {index} of batch {batch} there is the key {found}"));
        }
        if value.as_ref() != child::value(batch, index) {
            return Err(format!("record {index} of batch {batch} has the wrong value"));
        }
        index += 1;
        if index == BATCH_RECORDS {
            (batch, index) = (batch + 1, 0);
        }
    }

    if index != 0 {
        return Err(format!("batch {batch} has {index} of its {BATCH_RECORDS} records"));
    }
    if batch < acknowledged {
        return Err(format!("{} acknowledged batches are lost, from batch {batch} on", acknowledged - batch));
    }
    if batch > acknowledged + 1 {
        return Err(format!("{batch} batches, but the writer had begun {} only", acknowledged + 1));
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn entries(batches: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let batch =
            |batch| (0..BATCH_RECORDS).map(move |i| (child::key(batch, i).into(), child::value(batch, i)));
        (0..batches).flat_map(batch).collect()
    }

    fn checked(entries: Vec<(Vec<u8>, Vec<u8>)>, acknowledged: u64) -> Result<u64, String> {
        check(entries.into_iter().map(Ok::<_, Infallible>), acknowledged)
    }

    #[test]
    fn acknowledged_batches_and_one_more_pass() {
        assert_eq!(checked(entries(3), 3), Ok(3));
        assert_eq!(checked(entries(4), 3), Ok(4));
        assert_eq!(checked(Vec::new(), 0), Ok(0));
    }

    #[test]
    fn lost_and_invented_batches_are_found() {
        assert_eq!(checked(entries(3), 5).unwrap_err(), "2 acknowledged batches are lost, from batch 3 on");
        assert_eq!(checked(entries(5), 3).unwrap_err(), "5 batches, but the writer had begun 4 only");
    }

    #[test]
    fn partial_batches_are_found() {
        let mut cut = entries(3);
        cut.pop();
        assert_eq!(checked(cut, 2).unwrap_err(), "batch 2 has 49 of its 50 records");

        let mut hole = entries(3);
        hole.remove(60);
        assert!(checked(hole, 3).unwrap_err().starts_with("instead of record 10 of batch 1 "));
    }

    #[test]
    fn wrong_values_are_found() {
        let mut entries = entries(2);
        entries[70].1[0] ^= 1;
        assert_eq!(checked(entries, 2).unwrap_err(), "record 20 of batch 1 has the wrong value");
    }

    #[test]
    fn only_whole_lines_acknowledge() {
        let (begun, first_batch) = mpsc::channel();

        assert_eq!(acknowledged(&b"7\n8\n9"[..], 7, &begun).unwrap(), Ok(2));
        assert_eq!(first_batch.try_iter().count(), 1);
        assert_eq!(acknowledged(&b""[..], 7, &begun).unwrap(), Ok(0));
        assert_eq!(acknowledged(&b"7\n9\n"[..], 7, &begun).unwrap(), Err("9".to_owned()));
    }
}
