//! The places that sync, by the names that the code gives them, and the work in which each is missed.

use super::Scenario::{self, *};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A place in the code that syncs.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Its name.
    pub name: &'static str,
    /// What is lost without it.
    pub missed: &'static str,
    /// Where that shows.
    pub scenarios: &'static [Scenario],
}

/// Every place that syncs.
pub const SITES: [Site; 33] = [
    site("blob.directory", "names of files of separated values", &[Upkeep, Mixed]),
    site("blob.finish", "separated values", &[Upkeep, Mixed]),
    site("checkpoint.begin", "an interrupted copy says that it is one", &[Checkpoints]),
    site("checkpoint.clone", "blocks of cloned tables", &[Checkpoints]),
    site("checkpoint.copy", "copied log segments and tables", &[Checkpoints]),
    site("checkpoint.directory", "names of the files of a copy", &[Checkpoints]),
    site("checkpoint.emptied", "a failed copy says what it is until it is gone", &[FailedCopy]),
    site("checkpoint.identity", "the birth of a copy", &[Checkpoints]),
    site("checkpoint.parent", "the directory of a copy", &[Checkpoints]),
    site("checkpoint.partial", "the content of its birth certificate", &[Checkpoints]),
    site("checkpoint.removed", "that a failed copy is gone", &[FailedCopy]),
    site("checkpoint.taken_back", "a failed copy is none, while it is emptied", &[FailedLastSync]),
    site("compaction.directory", "names of merged tables", &[Upkeep, Mixed]),
    site("create.identity", "the content of the birth certificate", &[Creation]),
    site("create.identity_name", "the birth of a database", &[Creation]),
    site("create.parent", "the directory of a database", &[Creation]),
    site("dictionary.directory", "names of dictionaries", &[Training]),
    site("dictionary.finish", "dictionaries", &[Training]),
    site("flush.directory", "names of flushed tables", &[Upkeep, Mixed]),
    site("ingest.directory", "names of loaded tables", &[Loading]),
    site("manifest.edit", "edits", &[Upkeep, Mixed]),
    site("manifest.name", "the name of a new manifest", &[Mixed, Upkeep]),
    site("manifest.snapshot", "what a new manifest begins with", &[Mixed, Upkeep]),
    site("route.begin", "what a new place is told by", &[Routing]),
    site("route.parent", "the directory of a new place", &[Routing]),
    site("route.place", "the content of its birth certificate", &[Routing]),
    site("table.finish", "tables", &[Upkeep, Mixed]),
    site("wal.copies", "what was found at the log's end", &[Recovery]),
    site("wal.copies_name", "the segment that it was copied to", &[Recovery]),
    site("wal.copies_start", "that the copies are the log", &[Recovery]),
    site("wal.hiding", "that a write of the log failed", &[FailedAppend]),
    site("wal.name", "new log segments", &[Mixed, Upkeep]),
    site("wal.segment", "records of the log", &[Mixed, Upkeep]),
];

/// Syncs of files that belong to no database, which tests of these mute, and of repairs, whose test crashes at every step.
pub const OUTSIDE: [&str; 6] = [
    "portable.directory",
    "repair.copies",
    "repair.copy",
    "repair.moved",
    "repair.tables",
    "salvage.directory",
];

impl Site {
    /// Whether this build does any of the work.
    pub fn is_reached(&self) -> bool {
        self.scenarios.iter().any(|scenario| scenario.is_possible())
    }

    /// Whether only a build with dictionaries does it.
    pub fn needs_dictionaries(&self) -> bool {
        self.scenarios.iter().all(|scenario| *scenario == Scenario::Training)
    }
}

const fn site(name: &'static str, missed: &'static str, scenarios: &'static [Scenario]) -> Site {
    Site { name, missed, scenarios }
}

/// The names that the code gives to syncs, with the files that they stand in; tests and examples left out.
pub fn sites_in_the_source() -> BTreeMap<String, Vec<PathBuf>> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeMap::new();
    for name in ["env", "engine", "isopach", "cli"] {
        search(&crates.join(name).join("src"), &mut found);
    }
    found
}

fn search(directory: &Path, found: &mut BTreeMap<String, Vec<PathBuf>>) {
    for entry in fs::read_dir(directory).expect("the source is there") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name of ours");
        if path.is_dir() && name != "tests" {
            search(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).expect("it can be read");
            for name in names_in(&text) {
                found.entry(name).or_default().push(path.clone());
            }
        }
    }
}

/// Names between quotes behind `SyncSite(`, up to the tests of the file.
fn names_in(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let parts = lines.flat_map(|line| line.split("SyncSite(\"").skip(1));
    parts.filter_map(|part| Some(part.split_once('"')?.0.to_owned())).collect()
}
