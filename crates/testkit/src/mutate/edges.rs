//! Orders that the documents promise: this is durable before that is done. Each is reversed: an image keeps
//! what was done later and loses what should have been durable before it.

use super::{
    Scenario::{self, *},
    scenarios::Stage,
};
use crate::crash::{Checker, Floors, Ledger, Promised, Violation, check_files};
use isopach::env::{CrashFs, Piece, PieceKind, Step, SyncSite};
use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

/// Images are made when the later of the two is about to be done, and before so many steps behind it.
const STEPS_BEHIND: u64 = 6;

/// Of one run at most so many images are looked at.
const MOST_IMAGES: usize = 300;

/// One of the orders in `docs/invariants.md`.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// Its name there.
    pub name: &'static str,
    /// The sync that makes the earlier durable.
    pub earlier: &'static str,
    /// What is lost of it.
    lost: Lost,
    /// Whether a step is the later.
    later: fn(Step<'_>) -> bool,
    /// What must not happen.
    harm: Harm,
    /// Work that has both.
    pub scenarios: &'static [Scenario],
}

/// What an image lacks that reverses an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lost {
    /// All that the last muted sync should have made durable, and no sync before it.
    Synced,
    /// All that muted syncs should have made durable.
    Muted,
    /// Of what the last should have, bytes but not sizes.
    Content,
    /// Of that, what has this name.
    Named(&'static str),
    /// Every change of a directory that is not durable, but for this name and those of copies.
    EntriesBut(&'static str),
}

/// What shows that an order matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// What is left is no prefix, or cannot be read.
    Contradiction,
    /// Also if something is missing that was acknowledged as durable.
    Loss,
}

/// Every order.
pub const EDGES: [Edge; 34] = [
    order("table-edit", "table.finish", |step| writes(step, "MANIFEST"), &[Upkeep]),
    order("flushed-name-edit", "flush.directory", |step| writes(step, "MANIFEST"), &[Upkeep]),
    order("merged-name-edit", "compaction.directory", |step| writes(step, "MANIFEST"), &[Upkeep]),
    order("loaded-name-edit", "ingest.directory", |step| writes(step, "MANIFEST"), &[Loading]),
    order("blob-edit", "blob.finish", |step| writes(step, "MANIFEST"), &[Upkeep]),
    order("blob-name-edit", "blob.directory", |step| writes(step, "MANIFEST"), &[Upkeep]),
    order("edit-blob-removal", "manifest.edit", |step| removes(step, "blobs/"), &[Upkeep, Mixed]),
    order("edit-blob-number", "manifest.edit", |step| creates(step, "blobs/"), &[Upkeep, Mixed]),
    order("dictionary-edit", "dictionary.finish", |step| writes(step, "MANIFEST"), &[Training]),
    order("dictionary-name-edit", "dictionary.directory", |step| writes(step, "MANIFEST"), &[Training]),
    order("log-edit", "wal.segment", |step| writes(step, "MANIFEST"), &[Upkeep, Mixed]),
    order("edit-table-removal", "manifest.edit", |step| removes(step, "tables/"), &[Upkeep, Mixed]),
    order("edit-dictionary-removal", "manifest.edit", |step| removes(step, "dictionaries/"), &[Training]),
    order("edit-segment-removal", "manifest.edit", |step| removes(step, "wal/"), &[Upkeep, Mixed]),
    order("edit-table-number", "manifest.edit", |step| creates(step, "tables/"), &[Upkeep, Mixed]),
    order("edit-log-goes-on", "manifest.edit", |step| creates(step, "wal/"), &[Upkeep, Mixed]),
    order("snapshot-manifest-name", "manifest.snapshot", |step| renames(step, "MANIFEST"), &[Mixed]),
    order("manifest-name-removal", "manifest.name", |step| removes(step, "MANIFEST"), &[Mixed, Upkeep]),
    order("certificate-identity", "create.identity", |step| renames(step, "db/IDENTITY"), &[Creation]),
    promise("parent-commit", "create.parent", |step| syncs(step, "wal.segment"), &[Creation]),
    promise("identity-commit", "create.identity_name", |step| syncs(step, "wal.segment"), &[Creation]),
    promise("segment-commit", "wal.name", |step| syncs(step, "wal.segment"), &[Creation, Upkeep]),
    Edge {
        lost: Lost::Content,
        ..promise("copies-start", "wal.copies", |step| syncs(step, "wal.copies_start"), &[Recovery])
    },
    promise("copies-name-commit", "wal.copies_name", |step| syncs(step, "wal.segment"), &[Recovery]),
    order("copies-start-append", "wal.copies_start", |step| writes(step, "wal/"), &[Recovery]),
    order("hiding-append", "wal.hiding", |step| writes(step, "wal/"), &[FailedAppend]),
    Edge {
        lost: Lost::Named("PARTIAL"),
        ..order("partial-copy", "checkpoint.begin", |step| creates(step, "tables/"), &[Checkpoints])
    },
    order("certificate-copy", "checkpoint.partial", |step| renames(step, "PARTIAL"), &[Checkpoints]),
    order("copies-copy", "checkpoint.copy", |step| renames(step, "PARTIAL"), &[Checkpoints]),
    order("clones-copy", "checkpoint.clone", |step| renames(step, "PARTIAL"), &[Checkpoints]),
    Edge {
        lost: Lost::Muted,
        ..order("names-copy", "checkpoint.directory", |step| renames(step, "PARTIAL"), &[Checkpoints])
    },
    promise("parent-copy", "checkpoint.parent", |step| syncs(step, "checkpoint.identity"), &[Checkpoints]),
    order(
        "taking-back-emptying",
        "checkpoint.taken_back",
        |step| removes(step, "tables/"),
        &[FailedLastSync],
    ),
    Edge {
        lost: Lost::EntriesBut("PARTIAL"),
        ..order("emptying-partial", "checkpoint.emptied", |step| removes(step, "PARTIAL"), &[FailedCopy])
    },
];

impl Edge {
    /// Whether this build does any of the work.
    pub fn is_reached(&self) -> bool {
        self.scenarios.iter().any(|scenario| scenario.is_possible())
    }

    /// Whether only a build with dictionaries does it.
    pub fn needs_dictionaries(&self) -> bool {
        self.scenarios.iter().all(|scenario| *scenario == Scenario::Training)
    }
}

const fn order(
    name: &'static str,
    earlier: &'static str,
    later: fn(Step<'_>) -> bool,
    scenarios: &'static [Scenario],
) -> Edge {
    Edge { name, earlier, lost: Lost::Synced, later, harm: Harm::Contradiction, scenarios }
}

const fn promise(
    name: &'static str,
    earlier: &'static str,
    later: fn(Step<'_>) -> bool,
    scenarios: &'static [Scenario],
) -> Edge {
    Edge { harm: Harm::Loss, ..order(name, earlier, later, scenarios) }
}

fn creates(step: Step<'_>, part: &str) -> bool {
    matches!(step, Step::Create(name) | Step::Link(_, name) | Step::Clone(_, name) if name.contains(part))
}

fn writes(step: Step<'_>, part: &str) -> bool {
    matches!(step, Step::Write(name, ..) if name.contains(part))
}

fn removes(step: Step<'_>, part: &str) -> bool {
    matches!(step, Step::RemoveFile(name) if name.contains(part))
}

fn renames(step: Step<'_>, part: &str) -> bool {
    matches!(step, Step::Rename(from, _) if from.contains(part))
}

fn syncs(step: Step<'_>, site: &str) -> bool {
    step.site().is_some_and(|found| found.0 == site)
}

/// Runs a scenario in which the earlier of an edge is not durable, and looks at images that lack it and have
/// the later. Returns what breaks.
pub(super) fn reverse_once(edge: &Edge, scenario: Scenario, seed: u64) -> Option<Violation> {
    let Stage { files, faults, mut run } = scenario.begin(Some(SyncSite(edge.earlier)), seed);
    let checker = Checker::start();
    let watch = Arc::new(Mutex::new(Watch {
        edge: *edge,
        files: files.clone(),
        ledger: run.ledger().clone(),
        before: 0,
        window: 0..u64::MAX,
        until: 0,
        images: 0,
    }));
    let sender = Mutex::new(checker.sender());
    files.watch(move |number, step| {
        let check = watch.lock().unwrap_or_else(PoisonError::into_inner).look(number, step);
        if let Some((image, ledger, promised)) = check {
            let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let check = move || {
                check_files(&image, &ledger, promised);
            };
            let _ = sender.send((format!("seed {seed}, step {number}, before {step}"), Box::new(check)));
        }
        Ok(())
    });
    scenario.work(&mut run, &faults);
    files.unwatch(); // The watcher goes with its sender.
    drop(run);
    checker.finish().err()
}

/// What is known while steps are watched.
struct Watch {
    edge: Edge,
    files: CrashFs,
    ledger: Ledger,
    /// Step of the muted sync before the last.
    before: u64,
    /// Steps that the last muted sync should have made durable; all before the first that was seen.
    window: Range<u64>,
    /// Images are made before this step.
    until: u64,
    images: usize,
}

impl Watch {
    fn look(&mut self, number: u64, step: Step<'_>) -> Option<(CrashFs, Ledger, Promised)> {
        if (self.edge.later)(step) {
            self.until = number + STEPS_BEHIND;
        }
        let is_due = number < self.until && self.images < MOST_IMAGES;
        let check = is_due.then(|| {
            self.images += 1;
            let floors = self.ledger.floors();
            let promised = match self.edge.harm {
                Harm::Contradiction => Promised { floor: 0, floors: Floors { checkpoints: 0, ..floors } },
                Harm::Loss => Promised { floor: floors.durable, floors },
            };
            let image = self.files.crash_keeping(|piece| !self.is_lost(piece));
            (image, self.ledger.clone(), promised)
        });
        if step.site() == Some(SyncSite(self.edge.earlier)) {
            self.window = self.before..number;
            self.before = number;
        }
        check
    }

    fn is_lost(&self, piece: Piece<'_>) -> bool {
        let is_synced = piece.is_muted && self.window.contains(&piece.step);
        match self.edge.lost {
            Lost::Synced => is_synced,
            Lost::Muted => piece.is_muted,
            Lost::Content => is_synced && matches!(piece.kind, PieceKind::Sector(_)),
            Lost::Named(name) => is_synced && piece.name == name,
            Lost::EntriesBut(name) => {
                piece.kind == PieceKind::Entry && piece.name != name && !piece.name.starts_with("copy-")
            }
        }
    }
}
