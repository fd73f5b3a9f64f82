//! Child processes of the bench: this program again, one for each row. None outlives its time or its parent.

use crate::{Result, request::LoadRequest};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    error::Error,
    ffi::OsString,
    fmt,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How much of what a child says last is kept.
const KEPT_BYTES: usize = 2000;

/// A child was killed because it was not done in time.
#[derive(Debug)]
pub struct TimedOut {
    limit: Duration,
    /// What it had said last on standard error.
    complaint: String,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not done after {:.0} s: {}", self.limit.as_secs_f64(), self.complaint)
    }
}

impl Error for TimedOut {}

/// Runs `bench SUBCOMMAND` with `request` on its standard input; what its last line answers.
///
/// # Errors
///
/// If it fails, with what it said last on standard error; if it does not end within `limit`, then it is
/// killed.
pub fn ask<A: DeserializeOwned>(subcommand: &str, request: &impl Serialize, limit: Duration) -> Result<A> {
    ask_below(&[], subcommand, request, limit)
}

/// As [`ask`], below other programs: the words of `wrapper` come before the bench's own.
pub fn ask_below<A: DeserializeOwned>(
    wrapper: &[OsString],
    subcommand: &str,
    request: &impl Serialize,
    limit: Duration,
) -> Result<A> {
    let mut command = match wrapper {
        [] => bench(subcommand)?,
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(std::env::current_exe()?).arg(subcommand);
            command
        }
    };
    answer_in(&output(&mut command, serde_json::to_string(request)?, limit)?)
}

/// As [`ask`], of a child that may kill itself once it has answered.
pub fn ask_mortal<A: DeserializeOwned>(
    subcommand: &str,
    request: &impl Serialize,
    limit: Duration,
) -> Result<A> {
    let ended = run(&mut bench(subcommand)?, serde_json::to_string(request)?, limit)?;
    let has_answered = !ended.output.is_empty();
    let was_killed = ended.status.signal() == Some(Signal::KILL.as_raw());
    answer_in(&if has_answered && was_killed { ended.output } else { ended.unless_failed()? })
}

fn answer_in<A: DeserializeOwned>(output: &str) -> Result<A> {
    let line = output.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|error| format!("answered `{}`: {error}", end_of(line)).into())
}

/// Ends this process as a crash would.
pub fn kill_self() -> ! {
    let killed = kill_process(rustix::process::getpid(), Signal::KILL);
    panic!("SIGKILL is not to be survived: {killed:?}");
}

/// Starts `bench load`, waits until it has answered, and kills it as a crash would.
pub fn start_and_kill(request: &LoadRequest) -> Result<()> {
    let mut command = bench("load")?;
    // Its complaints go where this process's go; it is in the same process group, to be killed with it.
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(serde_json::to_string(request)?.as_bytes())?;
    drop(input);
    let mut answer = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut answer)?;
    child.kill()?;
    let status = child.wait()?;
    if answer.is_empty() {
        return Err(format!("the writing process failed before it was killed: {}", said(status)).into());
    }
    Ok(())
}

fn bench(subcommand: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(subcommand);
    Ok(command)
}

/// To be called first in a child: it dies with its parent, when a thread of it panics, and before others when
/// memory runs out.
pub fn settle_in() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Not permitted everywhere, and a comfort only.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    Ok(())
}

/// How a child ended.
struct Ended {
    status: ExitStatus,
    output: String,
    /// What it said on standard error.
    complaint: String,
}

impl Ended {
    fn unless_failed(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.output);
        }
        Err(format!("{}: {}", said(self.status), end_of(self.complaint.trim_end())).into())
    }
}

fn output(command: &mut Command, input: String, limit: Duration) -> Result<String> {
    run(command, input, limit)?.unless_failed()
}

fn run(command: &mut Command, input: String, limit: Duration) -> Result<Ended> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that children of it can be killed with it.
    let mut child = command.process_group(0).spawn()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        // A child that ends before it has read everything says why itself.
        scope.spawn(move || _ = stdin.write_all(input.as_bytes()));
        let stdout = scope.spawn(move || read(stdout.expect("it is piped")));
        let stderr = scope.spawn(move || read(stderr.expect("it is piped")));
        let status = wait(&mut child, limit);
        kill_group(&child);
        let output = stdout.join().expect("reading does not panic");
        let complaint = stderr.join().expect("reading does not panic");
        match status? {
            Some(status) => Ok(Ended { status, output, complaint }),
            None => Err(TimedOut { limit, complaint: end_of(complaint.trim_end()).into() }.into()),
        }
    })
}

/// `None`, and killed, if it did not end in time.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    const STEP: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(STEP);
    }
    kill_group(child);
    child.wait()?;
    Ok(None)
}

/// Also what it left behind: its pipes would never close.
fn kill_group(child: &Child) {
    let group = Pid::from_raw(child.id() as i32).expect("a process has an id");
    // Mostly there is nothing left to kill.
    let _ = kill_process_group(group, Signal::KILL);
}

fn read(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // What could be read until it broke is still worth showing.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn said(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn end_of(text: &str) -> &str {
    let mut from = text.len().saturating_sub(KEPT_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<String> {
        output(Command::new("sh").args(["-c", script]), "said\n".into(), limit)
    }

    #[test]
    fn child_gets_its_input_and_its_output_is_kept() {
        let output = shell("read line; echo \"$line again\"", Duration::from_secs(60)).unwrap();

        assert_eq!(output, "said again\n");
    }

    #[test]
    fn failing_child_is_an_error_with_its_message() {
        let error = shell("echo boom >&2; exit 3", Duration::from_secs(60)).unwrap_err();

        assert_eq!(error.to_string(), "exit status 3: boom");
    }

    #[test]
    fn killed_child_is_an_error_with_the_signal() {
        let error = shell("kill -9 $$", Duration::from_secs(60)).unwrap_err();

        assert_eq!(error.to_string(), "killed by signal 9: ");
    }

    #[test]
    fn child_that_hangs_is_killed_with_its_children() {
        let started = Instant::now();

        let error = shell("echo before >&2; sleep 600 & sleep 600", Duration::from_millis(100)).unwrap_err();

        assert!(error.is::<TimedOut>());
        assert_eq!(error.to_string(), "not done after 0 s: before");
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn only_the_end_of_a_long_message_is_kept() {
        let error =
            shell("yes é | head -c 9000 >&2; echo last >&2; exit 1", Duration::from_secs(60)).unwrap_err();

        let error = error.to_string();
        assert!(error.ends_with("last") && error.len() < KEPT_BYTES + 100, "{error}");
    }
}
