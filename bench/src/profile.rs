//! Where the time of a row goes: its process under `perf record`, and what `perf report` makes of it, as
//! text.

use crate::Result;
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Samples a second, of each thread that runs: no divisor of what timers do.
const SAMPLES_PER_SECOND: &str = "1999";

/// Functions below this share are left out.
const LEAST_PERCENT: &str = "0.7";

/// One row's profile being made.
pub struct Profile {
    data: PathBuf,
    text: PathBuf,
}

impl Profile {
    /// To `DIR/NAME.txt`; the directory is made if need be.
    pub fn new(dir: &Path, name: &str) -> Result<Profile> {
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Profile { data: dir.join(format!("{name}.data")), text: dir.join(format!("{name}.txt")) })
    }

    /// What to start in place of a program: the program and its arguments follow.
    pub fn wrapper(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            ["perf", "record", "--quiet", "--event", "cpu-clock", "--freq"].map(OsString::from).into();
        words.extend([SAMPLES_PER_SECOND.into(), "--output".into(), self.data.clone().into(), "--".into()]);
        words
    }

    /// Turns the samples into text.
    ///
    /// # Errors
    ///
    /// `perf` is missing, or finds nothing to report.
    pub fn finish(self) -> Result<()> {
        let mut command = Command::new("perf");
        command.args(["report", "--stdio", "--no-children", "--sort", "comm,symbol", "--percent-limit"]);
        let output = command.arg(LEAST_PERCENT).arg("--input").arg(&self.data).output();
        let output = output.map_err(|error| format!("perf report: {error}"))?;
        if !output.status.success() {
            return Err(format!("perf report: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
        }
        let report = String::from_utf8_lossy(&output.stdout);
        // Behind the function some versions have two columns that are empty here.
        let lines = report.lines().map(|line| line.trim_start().trim_end_matches([' ', '-']));
        let lines: Vec<&str> = lines.filter(|line| is_function(line)).collect();
        let head = "Share of all samples, thread, function; `[k]` is the kernel's.\n\n";
        fs::write(&self.text, format!("{head}{}\n", lines.join("\n")))
            .map_err(|error| format!("{}: {error}", self.text.display()))?;
        fs::remove_file(&self.data)?;
        Ok(())
    }
}

/// Whether a line of `perf report` names a function, and is no heading.
fn is_function(line: &str) -> bool {
    line.split('%').next().is_some_and(|share| share.parse::<f64>().is_ok() && share.len() < line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_from_headings() {
        let of_perf = "    12.50%  bench     [.] isopach::Keyspace::get";

        assert!(is_function(of_perf.trim()));
        for other in ["# Overhead  Command  Symbol", "", "# Samples: 12K of event 'cpu-clock'", "12.5"] {
            assert!(!is_function(other), "{other}");
        }
    }
}
