//! Random operations on a tree beside a plain map of all versions; views, readers, crashes and reopening in
//! between.

use crate::{
    dice::{Dice, with_seeds},
    faults::Faults,
    harness::{at, seqno, views},
    prefixes::{EVERY, open},
};
use isopach_engine::{
    codec::Compression,
    compaction::{BottomRewrite, Leveled, Plan, RangeProgress, Views, next_range_plan},
    env::MemFs,
    error::ErrorKind,
    key::prefix_successor,
    store::{Store, VerifyOptions},
    table::VerifyDepth,
    tree::{FilterPolicy, Reader, Scan, Tree, TreeOptions, WriteBatch},
    types::{Level, TableId},
};
use std::{cmp::Reverse, collections::BTreeMap, ops::Bound};

type Key = Vec<u8>;
/// All versions; `None` is a delete.
type Versions = BTreeMap<(Key, Reverse<u64>), Option<Vec<u8>>>;
type Bounds = (Bound<Key>, Bound<Key>);

struct Model {
    faults: Faults,
    store: Store,
    tree: Tree,
    versions: Versions,
    /// The number of the last operation.
    last: u64,
    /// Views that every job is told of.
    held: Vec<u64>,
    /// States that are pinned, each with a view that was good then.
    readers: Vec<(Reader, u64)>,
    /// Scans under way: the view, what is left of the range.
    scans: Vec<(Scan, u64, Bounds)>,
    /// Keys that are used beside the short ones, so that there are several tables.
    is_wide: bool,
}

impl Model {
    fn new(dice: &mut Dice) -> Model {
        let mut options = TreeOptions::default();
        options.table_bytes = 64 << 10;
        options.block_bytes = (4 << 10).into();
        if dice.one_in(2) {
            options.compression = Compression::None.into();
        }
        if dice.one_in(3) {
            options.filters = FilterPolicy::None.into();
        }
        options.prefix_extractor = extractor(dice);
        options.entry_checksums = dice.one_in(2);
        let faults = Faults::new(&MemFs::new());
        let store = open(&faults);
        let id = store.reserve_tree_id().unwrap();
        let tree = store.create_tree(id, "t", &options, &[], seqno(1)).unwrap();
        Model {
            faults,
            store,
            tree,
            versions: Versions::new(),
            last: 1,
            held: Vec::new(),
            readers: Vec::new(),
            scans: Vec::new(),
            is_wide: dice.one_in(4),
        }
    }

    fn key(&self, dice: &mut Dice) -> Key {
        if self.is_wide && dice.one_in(2) {
            format!("b{:03}", dice.below(400)).into_bytes()
        } else {
            dice.key()
        }
    }

    /// What a view shows inside of bounds.
    fn shown(&self, view: u64, bounds: &Bounds) -> Vec<(Key, Vec<u8>)> {
        let mut shown = Vec::new();
        let mut decided: Option<&Key> = None;
        for ((key, Reverse(number)), value) in &self.versions {
            if *number <= view && decided != Some(key) {
                decided = Some(key);
                if let Some(value) = value.as_ref().filter(|_| is_inside(key, bounds)) {
                    shown.push((key.clone(), value.clone()));
                }
            }
        }
        shown
    }

    fn views(&self) -> Views {
        let mut numbers = self.held.clone();
        numbers.push(self.last);
        views(&numbers)
    }

    /// A view that must read right.
    fn good_view(&self, dice: &mut Dice) -> u64 {
        match dice.pick(&self.held) {
            Some(&view) if dice.one_in(2) => view,
            _ => self.last,
        }
    }

    // ----- steps -----

    fn write(&mut self, dice: &mut Dice) {
        let count = if self.is_wide && dice.one_in(8) { 200 } else { 1 + dice.below(4) };
        let mut batch = WriteBatch::new();
        for number in self.last + 1..=self.last + count {
            let key = self.key(dice);
            let value = (!dice.one_in(4)).then(|| {
                let len = if self.is_wide { 500 } else { dice.below(40) };
                dice.bytes(len)
            });
            match &value {
                Some(value) => batch.put(&key, value),
                None => batch.delete(&key),
            };
            self.versions.insert((key, Reverse(number)), value);
        }
        self.tree.apply(&batch, seqno(self.last + 1)).unwrap();
        self.last += count;
    }

    fn rotate_and_flush(&mut self, dice: &mut Dice) {
        self.tree.rotate(seqno(self.last)).unwrap();
        if !dice.one_in(3) {
            self.tree.flush(seqno(self.last), &self.views(), &[]).unwrap();
        }
    }

    fn compact(&mut self, plan: &Plan) {
        match self.tree.compact(plan, &self.views(), &mut |_| Ok(())) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}"),
        }
    }

    /// Some tables to some level; most such plans are refused.
    fn compact_at_random(&mut self, dice: &mut Dice) {
        let tables = self.tree.tables();
        let inputs: Vec<TableId> = match dice.below(3) {
            0 => tables.iter().map(|table| table.id).collect(),
            1 => tables.iter().map(|table| table.id).filter(|_| dice.one_in(2)).collect(),
            _ => dice.pick(&tables).map(|table| table.id).into_iter().collect(),
        };
        let to = Level(dice.below(7) as u8);
        let plan = if dice.one_in(3) { Plan::relocate(inputs, to) } else { Plan::merge(inputs, to) };
        self.compact(&plan);
    }

    fn compact_leveled(&mut self) {
        let leveled = Leveled { ratio: 2, l0_runs: 2, level1_bytes: 64 << 10 };
        for _ in 0..20 {
            match self.tree.pick(&leveled) {
                None => return,
                Some(plan) => drop(self.tree.compact(&plan, &self.views(), &mut |_| Ok(())).unwrap()),
            }
        }
    }

    fn compact_range(&mut self, dice: &mut Dice) {
        let range = (self.bound(dice), self.bound(dice));
        let rewrite = if dice.one_in(2) { BottomRewrite::All } else { BottomRewrite::WithTombstones };
        let progress = self.tree.with_shape(|shape| RangeProgress::start(shape, rewrite, 100 << 10));
        let mut steps = 0;
        while let Some(plan) = self.tree.with_shape(|shape| next_range_plan(shape, &range, &progress)) {
            self.tree.compact(&plan, &self.views(), &mut |_| Ok(())).unwrap();
            steps += 1;
            assert!(steps < 200, "steps end");
        }
    }

    fn change_options(&mut self, dice: &mut Dice) {
        let mut options = (*self.tree.options()).clone();
        options.prefix_extractor = extractor(dice);
        options.entry_checksums = dice.one_in(2);
        self.tree.set_options(options, &[]).unwrap();
    }

    /// Any range, or all keys with a prefix.
    fn bounds(&self, dice: &mut Dice) -> Bounds {
        if dice.one_in(2) {
            return (self.bound(dice), self.bound(dice));
        }
        let prefix = self.key(dice);
        let end = prefix_successor(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(prefix), end)
    }

    fn bound(&self, dice: &mut Dice) -> Bound<Key> {
        match dice.below(3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(self.key(dice)),
            _ => Bound::Excluded(self.key(dice)),
        }
    }

    fn hold(&mut self, dice: &mut Dice) {
        if self.held.len() < 4 {
            self.held.push(self.last);
            self.readers.push((self.tree.reader().unwrap(), self.last));
        } else {
            self.held.remove(dice.below(4) as usize);
            if !self.readers.is_empty() {
                self.readers.remove(0);
            }
        }
    }

    /// The directory is opened again: after an end in order, or as a crash leaves it.
    fn reopen(&mut self, dice: &mut Dice) {
        if dice.one_in(2) {
            self.faults = Faults::new(&self.faults.files.deep_clone());
        } else {
            self.store.close();
        }
        self.readers.clear();
        self.scans.clear();
        self.store = {
            // The old handles go before the directory is opened, unless it is another's.
            let nowhere = open(&Faults::new(&MemFs::new()));
            let id = nowhere.reserve_tree_id().unwrap();
            self.tree = nowhere.create_tree(id, "t", &TreeOptions::default(), &[], seqno(1)).unwrap();
            drop(std::mem::replace(&mut self.store, nowhere));
            open(&self.faults)
        };
        self.tree = self.store.tree("t").unwrap();

        let replay_point = self.tree.replay_point().raw();
        assert!(self.tree.highest_seqno().raw() <= self.last);
        let mut lost: Vec<(u64, Key, Option<Vec<u8>>)> = self
            .versions
            .iter()
            .filter(|((_, Reverse(number)), _)| *number > replay_point)
            .map(|((key, Reverse(number)), value)| (*number, key.clone(), value.clone()))
            .collect();
        lost.sort();
        for (number, key, value) in lost {
            let mut batch = WriteBatch::new();
            match value {
                Some(value) => batch.put(&key, &value),
                None => batch.delete(&key),
            };
            self.tree.apply(&batch, seqno(number)).unwrap();
        }
        self.held.retain(|&view| seqno(view) >= self.tree.read_floor());
        self.store.remove_orphans().unwrap();
    }

    // ----- checks -----

    fn check_reads(&mut self, dice: &mut Dice) {
        let view = self.good_view(dice);
        let bounds = self.bounds(dice);
        let expected = self.shown(view, &bounds);
        let found = |scan: Scan, is_back: bool| -> Vec<(Key, Vec<u8>)> {
            let pair = |item: isopach_engine::error::Result<isopach_engine::iter::Item>| {
                let (key, value) = item.unwrap();
                (key.to_vec(), value.to_vec())
            };
            if is_back {
                let mut found: Vec<_> = scan.rev().map(pair).collect();
                found.reverse();
                found
            } else {
                scan.map(pair).collect()
            }
        };
        for is_back in [false, true] {
            assert_eq!(
                found(self.tree.scan(bounds.clone(), at(view)).unwrap(), is_back),
                expected,
                "at {view}"
            );
        }

        let everything = (Bound::Unbounded, Bound::Unbounded);
        let all: BTreeMap<Key, Vec<u8>> = self.shown(view, &everything).into_iter().collect();
        for _ in 0..6 {
            let key = self.key(dice);
            let value = self.tree.get(&key, at(view)).unwrap();
            assert_eq!(value.as_deref(), all.get(&key).map(Vec::as_slice), "{key:?} at {view}");
        }
        if let Some((reader, view)) = dice.pick(&self.readers) {
            let found = found(reader.scan(.., at(*view)).unwrap(), dice.one_in(2));
            assert_eq!(found, self.shown(*view, &everything), "pinned, at {view}");
        }

        // Any other view is right or refused.
        let view = dice.below(self.last + 1);
        match self.tree.scan(.., at(view)) {
            Ok(scan) => assert_eq!(found(scan, dice.one_in(2)), self.shown(view, &everything), "at {view}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::SnapshotTooOld);
                assert!(seqno(view) < self.tree.read_floor() && !self.held.contains(&view));
            }
        }
    }

    /// Begins a scan, or goes on with one for a few steps.
    fn check_scans(&mut self, dice: &mut Dice) {
        if self.scans.len() < 2 {
            let bounds = self.bounds(dice);
            let scan = self.tree.scan(bounds.clone(), at(self.last)).unwrap();
            self.scans.push((scan, self.last, bounds));
        }
        let which = dice.below(self.scans.len() as u64) as usize;
        let (mut scan, view, (mut low, mut high)) = self.scans.swap_remove(which);
        for _ in 0..dice.below(6) {
            let left = self.shown(view, &(low.clone(), high.clone()));
            let (found, expected) = match dice.one_in(2) {
                true => (scan.next(), left.first()),
                false => (scan.next_back(), left.last()),
            };
            let found = found.map(|item| item.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec()));
            assert_eq!(found.as_ref(), expected, "between {low:?} and {high:?} at {view}");
            match found {
                None => return,
                Some((key, _)) if left.first().is_some_and(|(first, _)| *first == key) => {
                    // Of a single entry it does not matter which end gave it.
                    low = Bound::Excluded(key);
                }
                Some((key, _)) => high = Bound::Excluded(key),
            }
        }
        self.scans.push((scan, view, (low, high)));
    }

    fn check_files(&self) {
        self.store.files().run_deletions(u64::MAX);
        if self.readers.is_empty() && self.scans.is_empty() {
            let files = crate::harness::table_files(&self.faults.files);
            assert_eq!(files.len(), self.tree.tables().len(), "{files:?}");
        }
    }
}

/// None, or one of several that are at odds with each other.
fn extractor(dice: &mut Dice) -> Option<String> {
    let names = [
        "isopach.prefix.0",
        "isopach.prefix.1",
        "isopach.prefix.2",
        "isopach.delimited.97",
        "isopach.delimited.255",
        EVERY,
    ];
    dice.pick(&names).filter(|_| !dice.one_in(4)).map(|name| (*name).to_owned())
}

fn is_inside(key: &Key, (low, high): &Bounds) -> bool {
    let above = match low {
        Bound::Unbounded => true,
        Bound::Included(low) => key >= low,
        Bound::Excluded(low) => key > low,
    };
    above
        && match high {
            Bound::Unbounded => true,
            Bound::Included(high) => key <= high,
            Bound::Excluded(high) => key < high,
        }
}

#[test]
fn a_tree_shows_what_a_map_of_all_versions_shows() {
    with_seeds(300, |dice| {
        let mut model = Model::new(dice);
        for _ in 0..60 {
            match dice.below(16) {
                0..6 => model.write(dice),
                6 | 7 => model.rotate_and_flush(dice),
                8 | 9 => model.compact_at_random(dice),
                10 => model.compact_leveled(),
                11 => model.compact_range(dice),
                12 => model.hold(dice),
                13 if dice.one_in(3) => model.change_options(dice),
                13 => model.check_scans(dice),
                14 if dice.one_in(3) => model.reopen(dice),
                _ => model.check_reads(dice),
            }
        }
        model.check_reads(dice);
        model.check_files();
        let full = VerifyOptions::new().depth(VerifyDepth::Full);
        let report = model.store.verify(full, &mut |_, _| Ok(())).unwrap();
        assert!(report.found.is_empty(), "{:?}", report.found);
    });
}
