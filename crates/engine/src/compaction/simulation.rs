//! Jobs that overlap in time, over tables with content: whatever the pickers choose and whenever a job ends,
//! newer stays above older (INV-VER-2), runs stay disjoint (INV-VER-1), and every key reads as it should
//! (INV-GC-1).

use super::{
    cut::Cutter,
    fate::{Below, Fate, Newer, VersionFacts, Views, fate},
    leveled::Leveled,
    model::{OwnedTable, OwnedTree, meta},
    oracle::{Random, run_shown, seeds, seqno, views},
    plan::{CheckedPlan, Plan, PlanKind, validate},
    range::{BottomRewrite, RangeProgress, next_range_plan},
    shape::{LEVEL_COUNT, TableShape},
    strategy::CompactionStrategy,
};
use crate::{
    error::ErrorKind,
    key::ValueKind,
    order::KeyOrder,
    table::TableMeta,
    types::{Level, TableId},
};
use alloc::{collections::BTreeMap, format, vec::Vec};
use core::mem;

const CASES: u64 = 400;
const STEPS: usize = 150;
const KEYS: u64 = 40;
const ENTRY_BYTES: u64 = 1;
const TABLE_BYTES: u64 = 6;

#[test]
fn jobs_that_overlap_in_time_keep_every_key_right() {
    for seed in seeds(CASES) {
        run_shown(seed, || {
            let mut store = Store::new(seed);
            for _ in 0..STEPS {
                store.step();
                store.check();
            }
            store.settle();
            store.compact_everything();
        });
    }
}

/// A version: key, number, kind.
type Version = (Vec<u8>, u64, ValueKind);

struct Job {
    plan: CheckedPlan,
    views: Views,
    cutter: Cutter,
}

struct Store {
    random: Random,
    leveled: Leveled,
    tree: OwnedTree,
    /// What is in each table, in order.
    content: BTreeMap<TableId, Vec<Version>>,
    /// What a read without a snapshot should see.
    model: BTreeMap<Vec<u8>, u64>,
    jobs: Vec<Job>,
    last_seqno: u64,
    last_id: u64,
}

impl Store {
    fn new(seed: u64) -> Store {
        let mut random = Random(seed);
        let leveled = Leveled {
            ratio: 2 + random.below(3) as u8,
            l0_runs: 1 + random.below(3) as u8,
            level1_bytes: TABLE_BYTES + random.below(TABLE_BYTES * 3),
        };
        Store {
            random,
            leveled,
            tree: OwnedTree::new(),
            content: BTreeMap::new(),
            model: BTreeMap::new(),
            jobs: Vec::new(),
            last_seqno: 0,
            last_id: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0..3 => self.flush(),
            3..6 => {
                let picked = self.leveled.pick(&self.tree.shape());
                if let Some(plan) = picked {
                    self.begin(&plan).expect("a pick is valid");
                }
            }
            6 => {
                let first = self.key();
                let range = first.clone()..=[&first[..], b"9"].concat();
                let tree = self.tree.shape();
                let progress = RangeProgress::start(&tree, BottomRewrite::All, TABLE_BYTES * 2);
                if let Some(plan) = next_range_plan(&tree, &range, &progress) {
                    let begun = self.begin(&plan);
                    assert!(begun.is_ok() || begun == Err(ErrorKind::Busy), "{plan:?}: {begun:?}");
                }
            }
            7 => {
                let plan = self.arbitrary_plan();
                _ = self.begin(&plan); // Most are refused.
            }
            _ if self.jobs.is_empty() => {}
            _ => self.end_one(),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        format!("{:02}", self.random.below(KEYS)).into_bytes()
    }

    /// A run of some new versions.
    fn flush(&mut self) {
        let mut versions = BTreeMap::new();
        let spread = 1 + self.random.below(KEYS);
        let start = self.random.below(KEYS);
        for _ in 0..1 + self.random.below(8) {
            self.last_seqno += 1;
            let key = format!("{:02}", (start + self.random.below(spread)) % KEYS).into_bytes();
            let kind = if self.random.below(3) == 0 { ValueKind::Delete } else { ValueKind::Put };
            match kind {
                ValueKind::Put => self.model.insert(key.clone(), self.last_seqno),
                _ => self.model.remove(&key),
            };
            versions.insert(key, (self.last_seqno, kind));
        }
        let versions = versions.into_iter().map(|(key, (seqno, kind))| (key, seqno, kind)).collect();
        let run = self.write(versions, &mut Cutter::new(&KeyOrder::BYTES, TABLE_BYTES, Vec::new()));
        let run = run.into_iter().map(|meta| OwnedTable { meta, is_busy: false }).collect();
        self.tree.levels[0].insert(0, run);
    }

    fn begin(&mut self, plan: &Plan) -> Result<(), ErrorKind> {
        let tree = self.tree.shape();
        let plan = validate(&tree, plan).map_err(|error| error.kind())?;
        let cutter = Cutter::for_plan(TABLE_BYTES, &tree, &plan);
        self.tree.claim(&plan);
        self.jobs.push(Job { plan, views: views(&[], self.last_seqno), cutter });
        Ok(())
    }

    fn end_one(&mut self) {
        let at = self.random.below(self.jobs.len() as u64) as usize;
        let mut job = self.jobs.swap_remove(at);
        let outputs = match job.plan.kind {
            PlanKind::Move | PlanKind::Discard => Vec::new(),
            PlanKind::Merge => {
                let survivors = self.survivors(&job);
                self.write(survivors, &mut job.cutter)
            }
        };
        self.tree.install(&job.plan, outputs);
    }

    fn survivors(&self, job: &Job) -> Vec<Version> {
        let inputs = job.plan.inputs.iter().flat_map(|input| &self.content[&input.id]);
        let mut versions: Vec<Version> = inputs.cloned().collect();
        versions.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut newer: Option<(Vec<u8>, Newer)> = None;
        versions.retain(|(key, number, kind)| {
            let may_hide_older = job.plan.older.may_hold(key);
            let above = newer.as_ref().filter(|(above, _)| above == key).map(|(_, newer)| *newer);
            let facts = VersionFacts {
                seqno: seqno(*number),
                kind: *kind,
                expires_at: None,
                may_hide_older,
                hidden_by: None,
                is_under_range: false,
            };
            newer = Some((key.clone(), Newer { seqno: facts.seqno, kind: *kind }));
            // What is timeless keeps its number here, by which the model knows it.
            matches!(fate(facts, above, Below::Elsewhere, &job.views), Fate::Keep | Fate::KeepTimeless)
        });
        versions
    }

    fn write(&mut self, versions: Vec<Version>, cutter: &mut Cutter) -> Vec<TableMeta> {
        let mut tables = Vec::new();
        let mut table: Vec<Version> = Vec::new();
        for version in versions {
            let is_new_key = table.last().is_none_or(|last| last.0 != version.0);
            if cutter.should_cut_before(&version.0, table.len() as u64 * ENTRY_BYTES, is_new_key) {
                tables.push(self.finish(mem::take(&mut table)));
            }
            table.push(version);
        }
        if !table.is_empty() {
            tables.push(self.finish(table));
        }
        tables
    }

    fn finish(&mut self, table: Vec<Version>) -> TableMeta {
        self.last_id += 1;
        let numbers = || table.iter().map(|version| seqno(version.1));
        let meta = TableMeta {
            bytes: table.len() as u64 * ENTRY_BYTES,
            entries: table.len() as u64,
            tombstones: table.iter().filter(|version| version.2.is_tombstone()).count() as u64,
            first_seqno: numbers().min().unwrap(),
            last_seqno: numbers().max().unwrap(),
            ..meta(self.last_id, &table[0].0, &table[table.len() - 1].0)
        };
        self.content.insert(meta.id, table);
        meta
    }

    /// Some tables that lie near each other, merged or moved to some level.
    fn arbitrary_plan(&mut self) -> Plan {
        let (a, b) = (self.key(), self.key());
        let (first, last) = (a.clone().min(b.clone()), a.max(b));
        let tree = self.tree.shape();
        let near = tree.runs_by_age().flat_map(|(_, _, run)| run.overlapping(&first, &last));
        let near: Vec<TableId> = near.filter(|table| !table.is_busy()).map(TableShape::id).collect();
        let to = Level(self.random.below(LEVEL_COUNT as u64) as u8);
        let count = 1 + self.random.below(4) as usize;
        let skipped = self.random.below(near.len() as u64 + 1) as usize;
        let inputs = near.into_iter().skip(skipped).take(count).collect();
        if self.random.below(2) == 0 { Plan::merge(inputs, to) } else { Plan::relocate(inputs, to) }
    }

    /// All versions of each key lie newest first, and the first one is what the model has.
    fn check(&self) {
        let mut seen: BTreeMap<&[u8], (u64, ValueKind)> = BTreeMap::new();
        let mut newest: BTreeMap<&[u8], u64> = BTreeMap::new();
        let tree = self.tree.shape();
        for (level, _, run) in tree.runs_by_age() {
            for (key, number, kind) in run.tables().iter().flat_map(|table| &self.content[&table.id()]) {
                if let Some((above, _)) = seen.insert(key, (*number, *kind)) {
                    assert!(above > *number, "INV-VER-2: {number} lies below {above} in {level}");
                } else if *kind == ValueKind::Put {
                    newest.insert(key, *number);
                }
            }
        }
        let model: BTreeMap<&[u8], u64> =
            self.model.iter().map(|(key, number)| (&key[..], *number)).collect();
        assert_eq!(newest, model);
    }

    /// Without more writes the picks come to an end, and nothing is left to do.
    fn settle(&mut self) {
        while !self.jobs.is_empty() {
            self.end_one();
            self.check();
        }
        for _ in 0..1_000 {
            let picked = self.leveled.pick(&self.tree.shape());
            let Some(plan) = picked else {
                assert_eq!(self.leveled.debt(&self.tree.shape()), 0);
                return;
            };
            self.begin(&plan).expect("a pick is valid");
            self.end_one();
            self.check();
        }
        panic!("no end of picks");
    }

    /// A compaction of all keys leaves the living versions in one level.
    fn compact_everything(&mut self) {
        let progress =
            RangeProgress::start(&self.tree.shape(), BottomRewrite::WithTombstones, TABLE_BYTES * 3);
        for _ in 0..1_000 {
            let next = next_range_plan(&self.tree.shape(), &(..), &progress);
            let Some(plan) = next else {
                let tree = self.tree.shape();
                assert!(tree.levels().iter().filter(|level| !level.is_empty()).count() <= 1);
                let left: u64 = tree.tables().map(TableShape::entries).sum();
                assert_eq!(left, self.model.len() as u64);
                return;
            };
            self.begin(&plan).expect("nothing else runs");
            self.end_one();
            self.check();
        }
        panic!("no end of steps");
    }
}
