//! Scripts of pickers: `testdata/pick/*.script`. Each describes a tree, then asks.
//!
//! ```text
//! # Comment.
//! tree ratio=10 l0_runs=4 level1_bytes=100
//! L0  13:[c-k] | 12:[a-f]=30          runs, newest first, of tables in key order
//! L1  7:[a-d]=60*  9:[e-z]~50@3-8     bytes, taken by a job, percent of tombstones, numbers of versions
//! pending L1 [a-f]                    where a running job puts its outputs
//! pick                                  the next job; `settle` carries jobs out until there is none
//! scores                                base level, and of each level in use its score and target
//! debt
//! check merge 13 12 to L1               whether a plan is allowed, or `check move`
//! range [a-f] rewrite=all step=100      the next step for a range (or `all`), until there is none
//! ----
//! ```
//!
//! What follows `----` is the answer; `ISOPACH_REWRITE=1 cargo test -p isopach-engine` writes it anew.

extern crate std;

use super::{
    leveled::Leveled,
    model::{OwnedTable, OwnedTree, merged, meta},
    plan::{Plan, PlanKind, validate},
    range::{BottomRewrite, RangeProgress, next_range_plan},
    shape::TreeShape,
    strategy::CompactionStrategy,
};
use crate::types::{Level, Seqno, TableId};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt::Write, ops::Bound};
use std::{env, eprintln, fs, path::PathBuf};

/// More steps than any script needs.
const MAX_STEPS: usize = 100;

#[test]
fn pick_scripts_answer_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/pick");
    let rewrites = env::var_os("ISOPACH_REWRITE").is_some();
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 15, "the scripts are in {}", folder.display());

    let mut wrong_count = 0;
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let (script, expected) = text.split_once("----\n").expect("a script has an answer behind `----`");
        let answer = Script::run(script);
        if rewrites {
            fs::write(&path, format!("{script}----\n{answer}")).unwrap();
        } else if answer != expected {
            eprintln!("{}: expected\n{expected}\nbut it is\n{answer}", path.display());
            wrong_count += 1;
        }
    }
    assert_eq!(wrong_count, 0, "ISOPACH_REWRITE=1 writes the answers anew");
}

struct Script {
    leveled: Leveled,
    tree: OwnedTree,
    next_id: u64,
    answer: String,
}

impl Script {
    fn run(text: &str) -> String {
        let mut script = Script {
            leveled: Leveled { ratio: 10, l0_runs: 4, level1_bytes: 100 },
            tree: OwnedTree::new(),
            next_id: 100,
            answer: String::new(),
        };
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[0] {
                "tree" => script.options(&words[1..]),
                "pending" => {
                    let (first, last) = keys(words[2]);
                    script.tree.pending.push((level(words[1]), first, last));
                }
                word if word.starts_with('L') => script.level(level(word), &words[1..]),
                _ => {
                    writeln!(script.answer, "{}", words.join(" ")).unwrap();
                    script.command(&words);
                }
            }
        }
        script.answer
    }

    fn options(&mut self, words: &[&str]) {
        self.tree = OwnedTree::new();
        for word in words {
            let (name, number) = word.split_once('=').expect("an option is name=number");
            match name {
                "ratio" => self.leveled.ratio = number.parse().unwrap(),
                "l0_runs" => self.leveled.l0_runs = number.parse().unwrap(),
                "level1_bytes" => self.leveled.level1_bytes = number.parse().unwrap(),
                _ => panic!("no option {name}"),
            }
        }
    }

    fn level(&mut self, level: Level, words: &[&str]) {
        let runs = words.split(|word| *word == "|");
        let runs = runs.map(|tables| tables.iter().map(|word| table(word)).collect()).collect();
        self.tree.levels[usize::from(level.0)] = runs;
    }

    fn command(&mut self, words: &[&str]) {
        let tree = self.tree.shape();
        match words {
            ["pick"] => {
                let shown = self.leveled.pick(&tree).map_or("nothing".to_string(), |plan| show(&tree, &plan));
                self.say(&shown);
            }
            ["scores"] => self.scores(),
            ["debt"] => {
                let debt = self.leveled.debt(&tree);
                self.say(&format!("{debt}"));
            }
            ["settle"] => {
                let leveled = self.leveled;
                self.carry_out(|tree| leveled.pick(tree));
            }
            ["check", kind, inputs @ .., "to", to] => {
                let inputs = inputs.iter().map(|id| TableId(id.parse().unwrap())).collect();
                let kind = if *kind == "move" { PlanKind::Move } else { PlanKind::Merge };
                let shown = match validate(&tree, &Plan { kind, inputs, to: level(to) }) {
                    Ok(plan) if plan.is_bottom() => "allowed, at the bottom".to_string(),
                    Ok(plan) => format!("allowed over {:?}", plan.older),
                    Err(error) => format!("{:?}: {error}", error.kind()),
                };
                self.say(&shown);
            }
            ["range", range, options @ ..] => {
                let (mut rewrite, mut step) = (BottomRewrite::WithTombstones, u64::MAX);
                for option in options {
                    match option.split_once('=') {
                        Some(("rewrite", "all")) => rewrite = BottomRewrite::All,
                        Some(("step", bytes)) => step = bytes.parse().unwrap(),
                        _ => panic!("no option {option}"),
                    }
                }
                let bounds = match *range {
                    "all" => (Bound::Unbounded, Bound::Unbounded),
                    range => {
                        let (first, last) = keys(range);
                        (Bound::Included(first), Bound::Included(last))
                    }
                };
                let progress = RangeProgress::start(&tree, rewrite, step);
                self.carry_out(|tree| next_range_plan(tree, &bounds, &progress));
            }
            _ => panic!("no command {words:?}"),
        }
    }

    /// Carries out plans until there is none or one is refused, then shows the tree.
    fn carry_out(&mut self, next: impl Fn(&TreeShape<'_>) -> Option<Plan>) {
        for _ in 0..MAX_STEPS {
            let tree = self.tree.shape();
            let Some(plan) = next(&tree) else {
                let levels = show_levels(&tree);
                return self.say(&format!("settled\n{levels}"));
            };
            let mut shown = show(&tree, &plan);
            let checked = match validate(&tree, &plan) {
                Ok(checked) => checked,
                Err(error) => return self.say(&format!("{shown}\n{:?}: {error}", error.kind())),
            };
            let outputs = merged(&self.tree, &checked, self.next_id);
            if plan.kind == PlanKind::Merge {
                write!(shown, " => {}", self.next_id).unwrap();
                self.next_id += 1;
            }
            self.tree.claim(&checked);
            self.tree.install(&checked, outputs);
            self.say(&shown);
        }
        panic!("no end after {MAX_STEPS} steps:\n{}", self.answer);
    }

    fn scores(&mut self) {
        let tree = self.tree.shape();
        let mut shown = format!("base {}:", self.leveled.base_level(&tree));
        for score in self.leveled.scores(&tree) {
            let target = self.leveled.target_bytes(&tree, score.level);
            if score.permille > 0 || target > 0 {
                let (whole, rest) = (score.permille / 1_000, score.permille % 1_000 / 10);
                write!(shown, " {} {whole}.{rest:02}", score.level).unwrap();
                if score.level.0 > 0 {
                    write!(shown, " of {target}").unwrap();
                }
            }
        }
        self.say(&shown);
    }

    fn say(&mut self, lines: &str) {
        for line in lines.lines() {
            writeln!(self.answer, "  {line}").unwrap();
        }
    }
}

/// `merge L1,L2 -> L2: 9:[e-z] 4:[e-h]`
fn show(tree: &TreeShape<'_>, plan: &Plan) -> String {
    let mut from = Vec::new();
    let mut inputs = String::new();
    for (level, _, run) in tree.runs_by_age() {
        for table in run.tables().iter().filter(|table| plan.inputs.contains(&table.id())) {
            from.push(level.to_string());
            let (first, last) = (table.first_key().escape_ascii(), table.last_key().escape_ascii());
            write!(inputs, " {}:[{first}-{last}]", table.id()).unwrap();
        }
    }
    from.dedup();
    let kind = if plan.kind == PlanKind::Move { "move" } else { "merge" };
    format!("{kind} {} -> {}:{inputs}", from.join(","), plan.to)
}

fn show_levels(tree: &TreeShape<'_>) -> String {
    let mut shown = Vec::new();
    for level in tree.levels().iter().filter(|level| !level.is_empty()) {
        let runs = level.runs().iter().map(|run| {
            let tables = run.tables().iter().map(|table| {
                let (first, last) = (table.first_key().escape_ascii(), table.last_key().escape_ascii());
                format!("{}:[{first}-{last}]={}", table.id(), table.bytes())
            });
            tables.collect::<Vec<_>>().join(" ")
        });
        shown.push(format!("  {}  {}", level.level(), runs.collect::<Vec<_>>().join(" | ")));
    }
    shown.join("\n")
}

/// `9:[e-z]=70#100*~50@3-8`: bytes, entries, taken, tombstones, numbers; only number and keys are required.
fn table(word: &str) -> OwnedTable {
    let (id, rest) = word.split_once(':').expect("a table is number:[first-last]");
    let (range, marks) = rest.split_at(rest.find(']').expect("keys end with a bracket") + 1);
    let (first, last) = keys(range);
    let mut table = OwnedTable { meta: meta(id.parse().unwrap(), &first, &last), is_busy: false };
    let starts: Vec<usize> = marks.match_indices(['=', '#', '*', '~', '@']).map(|(at, _)| at).collect();
    for (at, start) in starts.iter().enumerate() {
        let mark = &marks[*start..starts.get(at + 1).copied().unwrap_or(marks.len())];
        match mark.split_at(1) {
            ("=", bytes) => table.meta.bytes = bytes.parse().unwrap(),
            ("#", entries) => table.meta.entries = entries.parse().unwrap(),
            ("*", "") => table.is_busy = true,
            ("~", percent) => table.meta.tombstones = percent.parse().unwrap(),
            ("@", numbers) => {
                let (first, last) = numbers.split_once('-').expect("numbers are first-last");
                table.meta.first_seqno = Seqno::from_raw(first.parse().unwrap()).unwrap();
                table.meta.last_seqno = Seqno::from_raw(last.parse().unwrap()).unwrap();
            }
            _ => panic!("no mark {mark}"),
        }
    }
    table
}

fn keys(range: &str) -> (Vec<u8>, Vec<u8>) {
    let inner =
        range.strip_prefix('[').and_then(|range| range.strip_suffix(']')).expect("keys are in brackets");
    let (first, last) = inner.split_once('-').expect("keys are first-last");
    (first.into(), last.into())
}

fn level(word: &str) -> Level {
    Level(word.strip_prefix('L').expect("a level is L0 to L6").parse().unwrap())
}
