//! The baseline: `bench/parts/instructions.txt`, and what differs from it.
//!
//! Lines that begin with `#` are comments; then `toolchain: ...`; then one line a case, its name and its
//! instructions an item.

use std::{fmt::Write, fs};

/// The file.
pub const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

/// Counts may be this far apart, both ways. Less instructions are news too: the next loss must not hide in
/// them.
pub const TOLERANCE_PERCENT: f64 = 2.0;

/// The command that writes it.
pub const RENEW: &str = "(cd bench && cargo run --release -p isopach-parts -- counts renew)";

const HEAD: &str = "\
# Instructions an item of each hot path, as Callgrind counts them. CI fails where they change by more than 2 %.
# Written by: (cd bench && cargo run --release -p isopach-parts -- counts renew)
";

#[derive(Clone, PartialEq, Debug)]
pub struct Counted {
    pub name: String,
    /// An item.
    pub instructions: f64,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Baseline {
    pub toolchain: String,
    pub counts: Vec<Counted>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Same,
    Differs,
}

impl Baseline {
    /// # Errors
    ///
    /// The file is missing or is no baseline.
    pub fn read() -> Result<Baseline, String> {
        let text = fs::read_to_string(PATH).map_err(|error| format!("cannot read {PATH}: {error}"))?;
        Baseline::parse(&text).map_err(|why| format!("{PATH}: {why}"))
    }

    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self) -> Result<(), String> {
        fs::write(PATH, self.text()).map_err(|error| format!("cannot write {PATH}: {error}"))
    }

    fn parse(text: &str) -> Result<Baseline, String> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let toolchain = lines.next().and_then(|line| line.strip_prefix("toolchain: "));
        let toolchain = toolchain.ok_or("the first line does not say `toolchain: `")?.to_owned();
        let counted = |line: &str| {
            let (name, instructions) = line.split_once(' ')?;
            Some(Counted { name: name.into(), instructions: instructions.trim().parse().ok()? })
        };
        let counts = lines.map(|line| counted(line).ok_or_else(|| format!("no name and count: {line:?}")));
        Ok(Baseline { toolchain, counts: counts.collect::<Result<_, _>>()? })
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}toolchain: {}\n", self.toolchain);
        for Counted { name, instructions } in &self.counts {
            writeln!(text, "{name:<24} {instructions:>10.1}").expect("text grows");
        }
        text
    }
}

/// Counts beside those of the baseline, and whether all are within the tolerance. A case that only one of
/// them has differs; one that was not asked for does not matter.
pub fn table(counted: &[Counted], baseline: Option<&Baseline>) -> (String, Verdict) {
    let mut text =
        format!("{:<24} {:>12} {:>12} {:>8}\n", "instructions an item", "baseline", "now", "change");
    let mut verdict = Verdict::Same;
    for Counted { name, instructions } in counted {
        let old = baseline.and_then(|baseline| baseline.counts.iter().find(|old| old.name == *name));
        match old {
            None => {
                verdict = Verdict::Differs;
                writeln!(text, "{name:<24} {:>12} {instructions:>12.1} {:>8} <--", "none", "")
            }
            Some(old) => {
                let percent = (instructions / old.instructions - 1.0) * 100.0;
                let is_same = percent.abs() <= TOLERANCE_PERCENT;
                if !is_same {
                    verdict = Verdict::Differs;
                }
                let mark = if is_same { "" } else { " <--" };
                let old = old.instructions;
                writeln!(text, "{name:<24} {old:>12.1} {instructions:>12.1} {percent:>+6.2} %{mark}")
            }
        }
        .expect("text grows");
    }
    (text, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(name: &str, instructions: f64) -> Counted {
        Counted { name: name.into(), instructions }
    }

    fn baseline() -> Baseline {
        Baseline {
            toolchain: "rustc 1.0".into(),
            counts: vec![counted("db/get", 1000.0), counted("db/put", 2000.5)],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Baseline::parse(&baseline().text()), Ok(baseline()));
    }

    #[test]
    fn a_file_that_is_no_baseline_says_why() {
        assert!(Baseline::parse("").unwrap_err().contains("toolchain"));
        assert!(Baseline::parse("db/get 1\n").unwrap_err().contains("toolchain"));
        assert!(Baseline::parse("toolchain: x\ndb/get many\n").unwrap_err().contains("db/get many"));
    }

    #[test]
    fn more_and_less_than_the_tolerance_differ() {
        for (now, verdict) in [
            (1000.0, Verdict::Same),
            (1019.0, Verdict::Same),
            (981.0, Verdict::Same),
            (1021.0, Verdict::Differs),
            (979.0, Verdict::Differs),
        ] {
            let (text, found) = table(&[counted("db/get", now)], Some(&baseline()));

            assert_eq!(found, verdict, "{now}");
            assert_eq!(text.contains("<--"), verdict == Verdict::Differs);
        }
    }

    #[test]
    fn a_case_without_a_baseline_differs() {
        assert_eq!(table(&[counted("db/scan", 1.0)], Some(&baseline())).1, Verdict::Differs);
        assert_eq!(table(&[counted("db/get", 1.0)], None).1, Verdict::Differs);
    }
}
