//! The command line.

use crate::{
    Result,
    engine::Compression,
    engines::{ADAPTERS, Adapter},
    plan,
    record::Plan,
    session::Session,
    summary::ISOPACH,
    values::TAG_BYTES,
    workload::{WORKLOADS, Workload},
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Isopach beside every peer of this build: the same work, measured the same way.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Some workloads, small: minutes.
    Quick(Knobs),
    /// All workloads, as published: most of an hour.
    Full(Knobs),
    /// What you choose; the sizes of `quick` unless given.
    Run(Knobs),
    /// Engines of this build, and workloads.
    List,
    /// Prints a report.
    Table {
        report: PathBuf,
        /// The engine that ratios are against.
        #[arg(long, default_value = ISOPACH)]
        against: String,
        /// As a document.
        #[arg(long)]
        markdown: bool,
    },
    /// Prints how the second report differs from the first.
    Compare { a: PathBuf, b: PathBuf },
    /// Draws a report: SVG files in a directory.
    Charts { report: PathBuf, dir: PathBuf },
    /// Measures what this machine can do at most.
    Limits {
        /// On the file system that counts; made if need be.
        #[arg(long, default_value = "bench-data")]
        dir: PathBuf,
    },
    /// Sizes of tables and of settled databases beside RocksDB's, and how fast tables are built: minutes.
    Sizes {
        /// On the file system that counts; made if need be.
        #[arg(long, default_value = "bench-data")]
        dir: PathBuf,
        /// Records of 16 and 100 bytes; the real text is what this Debian system has.
        #[arg(long, default_value_t = 1_000_000)]
        records: u64,
    },
    /// A process of one row; the request is on standard input.
    #[command(hide = true)]
    Row,
    /// A process that looks at what a killed row left; the request is on standard input.
    #[command(hide = true)]
    Check,
    /// A process that makes a database; the request is on standard input.
    #[command(hide = true)]
    Load,
    /// A process that measures limits; the directory is on standard input.
    #[command(hide = true)]
    MeasureLimits,
}

#[derive(Args, Clone, Debug)]
pub struct Knobs {
    /// Names, beginnings of names or patterns with `*`; all of this build unless given.
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// Names, beginnings of names or patterns with `*`.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Records of a loaded database and of a fill.
    #[arg(long, value_parser = clap::value_parser!(u64).range(240..))]
    records: Option<u64>,
    /// How often everything is repeated.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// A row asks for no more work after this time; rows of reads take 0.3 of it, of synced writes half.
    #[arg(long, value_parser = seconds)]
    row_seconds: Option<f64>,
    #[arg(long)]
    value_bytes: Option<usize>,
    #[arg(long)]
    cache_bytes: Option<u64>,
    #[arg(long)]
    write_buffer_bytes: Option<u64>,
    #[arg(long, value_parser = clap::value_parser!(u32).range(4096..=1 << 20))]
    block_bytes: Option<u32>,
    /// Engines that have not the one that is asked for take what they have.
    #[arg(long, value_enum)]
    compression: Option<CompressionArg>,
    #[arg(long)]
    seed: Option<u64>,
    /// A file with one path a line for the text keys, instead of those of this Debian system.
    #[arg(long)]
    paths: Option<PathBuf>,
    /// Where databases are made, in a directory that is removed at the end.
    #[arg(long, default_value = "bench-data")]
    dir: PathBuf,
    /// The report [default: bench-PRESET.json].
    #[arg(long)]
    out: Option<PathBuf>,
    /// The engine that ratios of the table printed at the end are against.
    #[arg(long, default_value = ISOPACH)]
    pub against: String,
    /// A directory for charts.
    #[arg(long)]
    pub charts: Option<PathBuf>,
    /// A directory for profiles: what `perf` saw of each row, as text. Rows are slower under it.
    #[arg(long, value_name = "DIR")]
    profiles: Option<PathBuf>,
    /// Does not measure first what the machine can do at most; only `full` does.
    #[arg(long)]
    no_limits: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompressionArg {
    None,
    Lz4,
    /// Level 3.
    Zstd,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if seconds > 0.0 && seconds <= 86_400.0 {
        Ok(seconds)
    } else {
        Err("must be above 0 and at most a day".into())
    }
}

impl Knobs {
    /// What to run: the preset with what was given instead.
    pub fn session(&self, preset: Plan) -> Result<Session> {
        let mut plan = preset;
        let has_limits = plan.name == plan::FULL && !self.no_limits;
        set(&mut plan.records, self.records);
        set(&mut plan.rounds, self.rounds);
        set(&mut plan.row_seconds, self.row_seconds);
        set(&mut plan.value_bytes, self.value_bytes);
        set(&mut plan.seed, self.seed);
        set(&mut plan.settings.cache_bytes, self.cache_bytes);
        set(&mut plan.settings.write_buffer_bytes, self.write_buffer_bytes);
        set(&mut plan.settings.block_bytes, self.block_bytes);
        set(
            &mut plan.settings.compression,
            self.compression.map(|compression| match compression {
                CompressionArg::None => Compression::None,
                CompressionArg::Lz4 => Compression::Lz4,
                CompressionArg::Zstd => Compression::Zstd,
            }),
        );
        if plan.value_bytes < TAG_BYTES {
            return Err(format!("--value-bytes {}: must be {TAG_BYTES} or more", plan.value_bytes).into());
        }
        let out = self.out.clone().unwrap_or_else(|| format!("bench-{}.json", plan.name).into());
        let engine_names: Vec<_> = ADAPTERS.iter().map(|adapter| adapter.name).collect();
        let workload_names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
        let engines = chosen("engine", &self.engines, &engine_names, &engine_names)?;
        let workloads = chosen("workload", &self.workloads, &workload_names, &plan::workloads(&plan.name))?;
        Ok(Session {
            plan,
            engines: engines.into_iter().map(|index| &ADAPTERS[index]).collect::<Vec<&'static Adapter>>(),
            workloads: workloads
                .into_iter()
                .map(|index| &WORKLOADS[index])
                .collect::<Vec<&'static Workload>>(),
            dir: self.dir.clone(),
            out,
            paths: self.paths.clone(),
            has_limits,
            profiles: self.profiles.clone(),
        })
    }
}

fn set<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

/// Indexes into `names` of those that `patterns` choose, in the order of `names`; without patterns,
/// `default`.
fn chosen(what: &str, patterns: &[String], names: &[&str], default: &[&str]) -> Result<Vec<usize>> {
    if patterns.is_empty() {
        return Ok((0..names.len()).filter(|&index| default.contains(&names[index])).collect());
    }
    let mut indexes = Vec::new();
    for pattern in patterns {
        // A whole name means that one alone, also when others begin with it.
        let exact = names.iter().position(|name| name == pattern);
        let matching = (0..names.len()).filter(|&index| matches(pattern, names[index]));
        let before = indexes.len();
        match exact {
            Some(index) => indexes.push(index),
            None => indexes.extend(matching),
        }
        if indexes.len() == before {
            return Err(format!("no {what} is called {pattern}; there are: {}", names.join(" ")).into());
        }
    }
    indexes.sort_unstable();
    indexes.dedup();
    Ok(indexes)
}

/// Whether `name` begins with `pattern`, or is matched by it as a whole if it has a `*`.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return name.starts_with(pattern) };
    let Some(name) = name.strip_prefix(first) else { return false };
    if rest.is_empty() {
        return true;
    }
    let is_last = !rest.contains('*');
    (0..=name.len()).any(|from| if is_last { &name[from..] == rest } else { matches(rest, &name[from..]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Session> {
        let cli = Cli::try_parse_from(line.split(' '))?;
        match cli.command {
            Command::Quick(knobs) => knobs.session(plan::quick()),
            Command::Run(knobs) => knobs.session(plan::run()),
            command => panic!("{command:?} runs no session"),
        }
    }

    fn names(session: &Session) -> Vec<&str> {
        session.workloads.iter().map(|workload| workload.name).collect()
    }

    #[test]
    fn names_beginnings_and_patterns_choose() {
        let chosen = |patterns: &str| {
            let session = parsed(&format!("bench run --engines noop --workloads {patterns}"));
            names(&session.unwrap()).join(" ")
        };

        assert_eq!(chosen("fillrandom"), "fillrandom");
        assert_eq!(chosen("fillrandom,fillsync,fills*"), "fillseq fillrandom fillsync fillsync-8t");
        assert_eq!(chosen("*-16k"), "fill-16k read-16k overwrite-16k scan-16k keys-16k");
        assert_eq!(chosen("text"), "text-fill text-read text-seek");
        assert_eq!(chosen("*read*random"), "readrandom multireadrandom");
    }

    #[test]
    fn unknown_names_are_refused_with_those_there_are() {
        let error = parsed("bench run --engines nope").err().unwrap().to_string();

        assert!(error.starts_with("no engine is called nope; there are: noop isopach"), "{error}");
    }

    #[test]
    fn knobs_replace_what_the_preset_has() {
        let session =
            parsed("bench quick --records 1000 --compression lz4 --row-seconds 0.5 --out x.json").unwrap();

        assert_eq!(session.plan.records, 1000);
        assert_eq!(session.plan.row_seconds, 0.5);
        assert_eq!(session.plan.settings.compression, Compression::Lz4);
        assert_eq!(session.plan.rounds, plan::quick().rounds);
        assert_eq!(session.out, PathBuf::from("x.json"));
        assert_eq!(names(&session), plan::workloads("quick"));
    }

    #[test]
    fn bad_values_are_refused() {
        for bad in ["--records 3", "--rounds 0", "--row-seconds 0", "--value-bytes 7", "--compression zip"] {
            assert!(parsed(&format!("bench run {bad}")).is_err(), "{bad}");
        }
    }
}
