//! A database and its oracle, side by side.

mod upkeep;

use super::{
    option_set::{FIRST_BYTES, OptionSet},
    scans::{Held, check_scan, forward},
};
use isopach::{
    Compression, Db, Durability, ErrorKind, FilterPolicy, KeepVersions, Keyspace, KeyspaceOptions, Readable,
    Seqno, Slice, Snapshot, WriteOptions,
    env::{CrashFs, Env},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{AddAssign, Bound},
};
use testkit::db::{SOON, env_of};
use testkit::{
    Op, Oracle, Rng, SpaceId,
    inputs::{self, Bounds},
};

/// Names of keyspaces.
const NAMES: [&str; 4] = ["a", "b", "a longer name", "ü"];

/// Runs operations on both and compares.
pub(crate) struct Driver {
    rng: Rng,
    options: OptionSet,
    env: Env,
    /// Where the power can go; nowhere else are there crashes.
    files: Option<CrashFs>,
    db: Option<Db>,
    oracle: Oracle,
    /// By number of the commit.
    seqnos: Vec<Seqno>,
    /// Handles, of dropped keyspaces too.
    handles: BTreeMap<SpaceId, Keyspace>,
    /// Of keyspaces whose options were changed.
    changed: BTreeMap<SpaceId, KeyspaceOptions>,
    snapshots: Vec<(Snapshot, usize)>,
    /// The last commit that cleared a keyspace.
    last_cleared: usize,
    scans: Vec<Held>,
    /// Values read long ago.
    slices: Vec<(Slice, Vec<u8>)>,
    /// Thousands of keys rather than hundreds, written in bulk now and then.
    is_wide: bool,
    /// Several tables were seen in one level below the first.
    has_deep_tables: bool,
    counts: Counts,
}

/// How much of what is rare a run did.
#[derive(Default, Debug)]
pub(crate) struct Counts {
    pub(crate) operations: u64,
    pub(crate) range_deletes: u64,
    /// Reads under snapshots that were taken before a compaction.
    pub(crate) old_reads: u64,
    /// The database was open, and was opened again.
    pub(crate) crashes: u64,
    /// Values that lay in files of their own when everything was looked at.
    pub(crate) separated: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.operations += other.operations;
        self.range_deletes += other.range_deletes;
        self.old_reads += other.old_reads;
        self.crashes += other.crashes;
        self.separated += other.separated;
    }
}

impl Driver {
    pub(crate) fn new(rng: Rng, options: OptionSet, env: Env) -> Driver {
        let db = options.builder(&env).open().expect("a new database");
        let order = options.order.clone();
        Driver {
            rng,
            options,
            env,
            files: None,
            db: Some(db),
            oracle: Oracle::ordered(order),
            seqnos: vec![Seqno::ZERO],
            handles: BTreeMap::new(),
            changed: BTreeMap::new(),
            snapshots: Vec::new(),
            last_cleared: 0,
            scans: Vec::new(),
            slices: Vec::new(),
            is_wide: false,
            has_deep_tables: false,
            counts: Counts::default(),
        }
    }

    /// On files that crash now and then.
    pub(crate) fn crashing(rng: Rng, options: OptionSet) -> Driver {
        let files = CrashFs::new();
        let driver = Driver::new(rng, options, env_of(files.clone()));
        Driver { files: Some(files), ..driver }
    }

    /// More data, so that it spreads over tables and levels.
    pub(crate) fn wide(mut self) -> Driver {
        self.is_wide = true;
        self
    }

    /// Runs operations, looks at everything, and closes.
    pub(crate) fn run(mut self, operations: usize) -> Counts {
        for _ in 0..operations {
            self.step();
        }
        self.check_everything();
        if self.is_wide {
            self.fill_last_level();
            self.check_everything();
            assert!(self.has_deep_tables, "the last level has several tables: {}", self.db().stats());
        }
        self.crash();
        self.check_everything();
        self.reopen();
        self.check_everything();
        for (slice, expected) in &self.slices {
            assert_eq!(&slice[..], &expected[..], "a slice outlives its database");
        }
        self.counts
    }

    fn step(&mut self) {
        self.counts.operations += 1;
        match self.rng.below(1000) {
            0..350 => self.write_one(),
            350..365 => self.remove_range(),
            365..400 => self.merge(),
            400..520 => self.write_batch(),
            520..537 => self.create_or_open(),
            537..540 => self.change_options(),
            540..541 if !self.is_wide => self.clear(),
            541..543 => self.load(),
            540..546 if self.is_wide && self.rng.one_in(2) => {}
            540..546 => self.drop_keyspace(),
            546..570 => self.snapshots.push((self.db().snapshot(), self.oracle.last())),
            570..595 => self.release_snapshot(),
            595..610 => self.read_past(),
            610..730 => self.read(),
            730..800 => self.scan(),
            800..830 => self.hold_scan(),
            830..950 => self.use_held_scan(),
            950..962 => self.db().flush().unwrap(),
            962..967 => self.compact(),
            967..970 => self.db().wait_idle(SOON).unwrap(),
            970..985 => self.sync(),
            985..990 => self.check_everything(),
            990..993 => self.reopen(),
            993..995 => self.look_while_closed(),
            995..997 => self.crash(),
            _ => self.check_refused(),
        }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("open between steps")
    }

    /// A keyspace that is there; makes one if none is.
    fn any_space(&mut self) -> SpaceId {
        let alive = self.oracle.alive();
        if alive.is_empty() {
            self.create("a");
            return self.any_space();
        }
        *self.rng.pick(&alive)
    }

    fn handle(&mut self, space: SpaceId) -> Keyspace {
        let db = self.db.as_ref().expect("open");
        let name = self.oracle.name(space);
        let open = || db.get_keyspace(name).unwrap().expect("the oracle has it");
        self.handles.entry(space).or_insert_with(open).clone()
    }

    /// What the database said about a commit that the oracle has carried out too.
    fn committed(&mut self, seqno: Seqno) {
        assert!(seqno > *self.seqnos.last().unwrap(), "numbers of commits rise");
        assert_eq!(self.db().seqno(), seqno, "the last commit is visible");
        self.seqnos.push(seqno);
        assert_eq!(self.seqnos.len(), self.oracle.last() + 1);
    }

    fn durability(&mut self) -> WriteOptions {
        match self.rng.below(12) {
            // In no log: they go alone, and what a crash leaves is no prefix.
            0 if self.files.is_none() => WriteOptions::new().durability(Durability::Volatile),
            1 => WriteOptions::new().durability(Durability::Sync),
            2 => WriteOptions::new().durability(Durability::Buffered),
            _ => WriteOptions::new(),
        }
    }

    // ----- inputs -----

    fn key(&mut self) -> Vec<u8> {
        if self.is_wide && !self.rng.one_in(8) {
            inputs::wide_key(&mut self.rng)
        } else {
            inputs::key(&mut self.rng)
        }
    }

    fn value(&mut self) -> Vec<u8> {
        if self.is_wide && !self.rng.one_in(8) { self.rng.bytes(300) } else { inputs::value(&mut self.rng) }
    }

    fn bounds(&mut self) -> Bounds {
        let order = self.options.order.clone();
        if !self.is_wide {
            let bounds = inputs::bounds(&mut self.rng);
            return forward(&order, bounds, &mut self.rng);
        }
        let (a, b) = (self.key(), self.key());
        let (low, high) = if order.is_less(&a, &b) || self.rng.one_in(8) { (a, b) } else { (b, a) };
        (Bound::Included(low), if self.rng.one_in(2) { Bound::Excluded(high) } else { Bound::Included(high) })
    }

    // ----- writing -----

    fn write_one(&mut self) {
        let space = self.any_space();
        let (handle, options) = (self.handle(space), self.durability());
        let key = self.key();
        let seqno = if self.rng.one_in(4) {
            let is_weak = self.rng.one_in(2) && self.oracle.may_remove_weakly(space, &key);
            let seqno = if is_weak {
                let mut batch = self.db().batch();
                batch.remove_weak(&handle, &key);
                self.db().write_with(batch, options).unwrap()
            } else {
                handle.remove_with(&key, options).unwrap()
            };
            self.oracle.commit(vec![Op::Remove(space, key)]);
            seqno
        } else {
            let value = self.value();
            let seqno = handle.insert_with(&key, &value, options).unwrap();
            self.oracle.commit(vec![Op::Put(space, key, value)]);
            seqno
        };
        self.committed(seqno);
        if options.durability == Some(Durability::Sync) {
            assert!(self.db().durable_seqno() >= seqno, "a synced write is durable");
        }
    }

    /// Few of many keys, or some of few.
    fn remove_range(&mut self) {
        let space = self.any_space();
        let handle = self.handle(space);
        let range = self.forward_bounds();
        let before = self.db().seqno();
        let seqno = handle.remove_range(range.clone()).unwrap();
        if seqno > before {
            self.oracle.commit(vec![Op::RemoveRange(space, range)]);
            self.committed(seqno);
        }
        self.counts.range_deletes += 1;
    }

    fn forward_bounds(&mut self) -> Bounds {
        loop {
            let range = self.bounds();
            match &range {
                _ if inputs::is_reversed(self.oracle.order(), &range) => {}
                _ if !self.is_told(&range) => self.check_range_is_refused(range),
                _ if self.is_wide && matches!(range, (Bound::Unbounded, _) | (_, Bound::Unbounded)) => {}
                _ => return range,
            }
        }
    }

    /// Whether a range can be deleted: in the order of bytes any that ends behind its beginning, else what has a first key, and
    /// an end that is not the empty key.
    fn is_told(&self, range: &Bounds) -> bool {
        let is_told = match range {
            (Bound::Included(_), Bound::Unbounded) => true,
            (Bound::Included(low), Bound::Included(high)) => low == high || !high.is_empty(),
            (Bound::Included(_), Bound::Excluded(high)) => !high.is_empty(),
            _ => false,
        };
        is_told || self.options.order.is_bytewise()
    }

    fn check_range_is_refused(&mut self, range: Bounds) {
        let space = self.any_space();
        let error = self.handle(space).remove_range(range.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{range:?}");
    }

    fn merge(&mut self) {
        let space = self.any_space();
        let handle = self.handle(space);
        let (key, operand) = (self.key(), self.rng.bytes(3));
        let seqno = handle.merge(&key, &operand).unwrap();
        self.oracle.commit(vec![Op::Merge(space, key, operand)]);
        self.committed(seqno);
    }

    fn write_batch(&mut self) {
        let mut batch = self.db().batch();
        let mut ops = Vec::new();
        let most = if self.is_wide && self.rng.one_in(4) { 300 } else { 12 };
        for _ in 0..self.rng.below(most) {
            let space = self.any_space();
            let handle = self.handle(space);
            let key = self.key();
            if self.rng.one_in(4) {
                batch.remove(&handle, &key);
                ops.push(Op::Remove(space, key));
            } else if self.rng.one_in(6) {
                let operand = self.rng.bytes(3);
                batch.merge(&handle, &key, &operand);
                ops.push(Op::Merge(space, key, operand));
            } else if self.rng.one_in(if self.is_wide { 300 } else { 12 }) {
                let (low, high) = if let (Bound::Included(low), Bound::Excluded(high)) = self.forward_bounds()
                {
                    (low, high)
                } else {
                    (key.clone(), [&key[..], b"\0\0"].concat())
                };
                let has_keys = self.oracle.order().is_less(&low, &high);
                if has_keys && self.is_told(&(Bound::Included(low.clone()), Bound::Excluded(high.clone()))) {
                    batch.remove_range(&handle, &low..&high);
                    ops.push(Op::RemoveRange(space, (Bound::Included(low), Bound::Excluded(high))));
                }
            } else {
                let value = self.value();
                batch.insert(&handle, &key, &value);
                ops.push(Op::Put(space, key, value));
            }
        }
        assert_eq!((batch.len(), batch.is_empty()), (ops.len(), ops.is_empty()));
        let options = self.durability();
        let seqno = self.db().write_with(batch, options).unwrap();
        if ops.is_empty() {
            assert_eq!(seqno, *self.seqnos.last().unwrap(), "an empty batch is the present position");
            return;
        }
        self.oracle.commit(ops);
        self.committed(seqno);
    }

    /// A bulk load of some keyspaces.
    fn load(&mut self) {
        let (mut loads, mut ops) = (Vec::new(), Vec::new());
        let spaces: BTreeSet<SpaceId> = (0..1 + self.rng.below(2)).map(|_| self.any_space()).collect();
        for space in spaces {
            let mut load = self.handle(space).ingest().unwrap();
            let mut keys: Vec<_> = (0..self.rng.below(40)).map(|_| self.key()).collect();
            keys.sort_by(|a, b| self.oracle.order().compare(a, b));
            keys.dedup();
            for key in keys {
                if self.rng.one_in(5) {
                    load.remove(&key).unwrap();
                    ops.push(Op::Remove(space, key));
                } else {
                    let value = self.value();
                    load.insert(&key, &value).unwrap();
                    ops.push(Op::Put(space, key, value));
                }
            }
            if self.rng.one_in(8) {
                ops.retain(|op| !matches!(op, Op::Put(of, ..) | Op::Remove(of, _) if *of == space));
                drop(load); // Nothing of it is there.
            } else {
                loads.push(load);
            }
        }
        let seqno = self.db().finish_ingests(loads).unwrap();
        if ops.is_empty() {
            assert_eq!(seqno, *self.seqnos.last().unwrap(), "an empty load is the present position");
            return;
        }
        self.oracle.commit(ops);
        self.committed(seqno);
    }

    /// Enough of one keyspace in one level that it takes several tables.
    fn fill_last_level(&mut self) {
        let space = self.any_space();
        let handle = self.handle(space);
        handle.set_options(|options| options.blobs_from_bytes = None).unwrap();
        self.changed.insert(space, handle.options());
        for _ in 0..8 {
            let mut batch = self.db().batch();
            let puts: Vec<_> =
                (0..200).map(|_| (inputs::wide_key(&mut self.rng), self.rng.bytes(300))).collect();
            puts.iter().for_each(|(key, value)| {
                batch.insert(&handle, key, value);
            });
            let seqno = self.db().write(batch).unwrap();
            self.oracle.commit(puts.into_iter().map(|(key, value)| Op::Put(space, key, value)).collect());
            self.committed(seqno);
        }
        handle.compact_range(..).unwrap();
    }

    fn create_or_open(&mut self) {
        let name = *self.rng.pick(&NAMES);
        match self.oracle.find(name) {
            None if self.rng.one_in(3) => assert!(self.db().get_keyspace(name).unwrap().is_none()),
            None => self.create(name),
            Some(space) => {
                let handle = self.db().keyspace(name).unwrap();
                assert_eq!(handle.id(), self.handle(space).id());
                let expected = self.changed.get(&space).cloned();
                assert_eq!(handle.options(), expected.unwrap_or_else(|| self.options.keyspace()));
            }
        }
        let mut names: Vec<String> = self.db().keyspaces().into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, self.oracle.names());
    }

    fn create(&mut self, name: &str) {
        let handle = self.db().keyspace_with(name, self.options.keyspace()).unwrap();
        assert!(handle.is_empty().unwrap());
        self.oracle.commit(vec![Op::Create(name.into())]);
        let space = self.oracle.find(name).expect("just made");
        assert!(self.handles.values().all(|other| other.id() != handle.id()), "ids are never used again");
        self.handles.insert(space, handle);
        self.committed(self.db().seqno());
    }

    /// They show in no answer.
    fn change_options(&mut self) {
        let space = self.any_space();
        let handle = self.handle(space);
        let compression = *self.rng.pick(&[Compression::None, Compression::Lz4]);
        let filters = *self.rng.pick(&[FilterPolicy::None, FilterPolicy::BitsPerKey(6.0)]);
        let block_bytes = *self.rng.pick(&[4 << 10, 16 << 10]);
        let prefixes = [None, Some("isopach.delimited.47"), Some("isopach.prefix.2"), Some(FIRST_BYTES)];
        let prefix_extractor = self.rng.pick(&prefixes).map(Into::into);
        let prefix_extractor = prefix_extractor.filter(|_| self.options.order.is_bytewise());
        let entry_checksums = self.rng.one_in(2);
        // Of much data tables are to be left.
        let bounds = if self.is_wide { [None, None, Some(400)] } else { [None, Some(64), Some(100)] };
        let blobs_from_bytes = *self.rng.pick(&bounds);
        let blob_garbage_percent = *self.rng.pick(&[1, 20, 100]);
        handle
            .set_options(|options| {
                options.compression = compression.into();
                options.filters = filters.into();
                options.block_bytes = block_bytes.into();
                options.prefix_extractor = prefix_extractor;
                options.entry_checksums = entry_checksums;
                options.blobs_from_bytes = blobs_from_bytes;
                options.blob_garbage_percent = blob_garbage_percent;
            })
            .unwrap();
        self.changed.insert(space, handle.options());
    }

    fn clear(&mut self) {
        let space = self.any_space();
        let seqno = self.handle(space).clear().unwrap();
        self.last_cleared = self.oracle.commit(vec![Op::Clear(space)]);
        self.committed(seqno);
    }

    fn drop_keyspace(&mut self) {
        let name = *self.rng.pick(&NAMES);
        let space = self.oracle.find(name);
        if let Some(space) = space {
            drop(self.handle(space)); // So that there is a handle of a dropped keyspace.
        }
        assert_eq!(self.db().drop_keyspace(name).unwrap(), space.is_some());
        if let Some(space) = space {
            self.oracle.commit(vec![Op::Drop(space)]);
            self.committed(self.db().seqno());
        }
    }

    fn release_snapshot(&mut self) {
        if !self.snapshots.is_empty() {
            let at = self.rng.below(self.snapshots.len());
            self.snapshots.swap_remove(at);
        }
        assert_eq!(self.db().stats().open_snapshots, self.snapshots.len() as u64);
    }

    // ----- reading -----

    fn read(&mut self) {
        let space = self.any_space();
        let handle = self.handle(space);
        self.check_reads(space, &handle, self.oracle.last());
        let mut rng = self.rng.fork();
        let known: Vec<SpaceId> = self.handles.keys().copied().collect();
        if let (false, Some((snapshot, at))) = (self.snapshots.is_empty(), self.any_snapshot()) {
            let space = *rng.pick(&known);
            let old = self.handles[&space].at(&snapshot);
            assert_eq!(old.seqno(), self.seqnos[at]);
            if self.is_seen(space, at) {
                self.check_reads(space, &old, at);
                let is_old = self.handles[&space].stats().tree.compactions > 0;
                self.counts.old_reads += u64::from(is_old);
            } else {
                assert_eq!(old.get("k").unwrap_err().kind(), ErrorKind::KeyspaceDropped);
            }
        }
    }

    /// At any number of the past: where versions are kept everything is as it was, elsewhere that or an error.
    fn read_past(&mut self) {
        let at = self.rng.below(self.seqnos.len());
        let first = self.seqnos[at].raw();
        let next = self.seqnos.get(at + 1).map_or(first + 10, |next| next.raw());
        let number = Seqno::from_raw(first + self.rng.below((next - first) as usize) as u64).unwrap();
        let is_kept = self.options.keep_versions == KeepVersions::All && at >= self.last_cleared;
        let snapshot = match self.db().snapshot_at(number) {
            Err(error) if !is_kept => {
                assert_eq!(error.kind(), ErrorKind::SnapshotTooOld, "{error}");
                return;
            }
            snapshot => snapshot.unwrap(),
        };
        assert_eq!(snapshot.seqno(), self.seqnos[at], "{number} is rounded down to the end of a commit");
        let space = self.any_space();
        let old = self.handle(space).at(&snapshot);
        if is_kept {
            self.check_reads(space, &old, at);
            return;
        }
        let key = self.key();
        match old.get(&key) {
            Err(error) => assert_eq!(error.kind(), ErrorKind::SnapshotTooOld, "{error}"),
            found => assert_eq!(found.unwrap().as_deref(), self.oracle.get(space, &key, at).as_deref()),
        }
    }

    fn any_snapshot(&mut self) -> Option<(Snapshot, usize)> {
        if self.snapshots.is_empty() { None } else { Some(self.rng.pick(&self.snapshots).clone()) }
    }

    /// Whether a keyspace can be read behind commit `at`: it is alive, or was dropped later.
    fn is_seen(&self, space: SpaceId, at: usize) -> bool {
        self.oracle.dropped_at(space).is_none_or(|dropped| at < dropped)
    }

    fn check_reads(&mut self, space: SpaceId, from: &impl Readable, at: usize) {
        let keys: Vec<Vec<u8>> = (0..8).map(|_| self.key()).collect();
        let expected: Vec<Option<Vec<u8>>> = keys.iter().map(|key| self.oracle.get(space, key, at)).collect();
        let many = from.get_many(&keys).unwrap();
        for ((key, expected), many) in keys.iter().zip(expected).zip(many) {
            let found = from.get(key).unwrap();
            assert_eq!(found.as_deref(), expected.as_deref(), "key {key:?} behind commit {at}");
            assert_eq!(many.as_deref(), expected.as_deref());
            assert_eq!(from.contains(key).unwrap(), expected.is_some());
            if self.rng.one_in(500) {
                self.slices.extend(found.map(|slice| (slice.clone(), slice.to_vec())));
            }
        }
        let range = self.bounds();
        let expected = self.oracle.range(space, &range, at);
        assert_eq!(from.count(range).unwrap(), expected.len() as u64);
        if self.rng.one_in(4) {
            let all = self.oracle.range(space, &(Bound::Unbounded, Bound::Unbounded), at);
            let pair =
                |entry: Option<(Slice, Slice)>| entry.map(|(key, value)| (key.to_vec(), value.to_vec()));
            assert_eq!(pair(from.first().unwrap()).as_ref(), all.first());
            assert_eq!(pair(from.last().unwrap()).as_ref(), all.last());
            assert_eq!(from.is_empty().unwrap(), all.is_empty());
        }
    }

    fn scan(&mut self) {
        let space = self.any_space();
        let handle = self.handle(space);
        check_scan(&mut self.rng, &self.oracle, space, &handle, self.oracle.last());
        if let Some((snapshot, at)) = self.any_snapshot()
            && self.is_seen(space, at)
        {
            check_scan(&mut self.rng, &self.oracle, space, &handle.at(&snapshot), at);
        }
    }

    fn hold_scan(&mut self) {
        let space = self.any_space();
        let range = self.bounds();
        let scan = self.handle(space).range(range.clone());
        let expected = self.oracle.range(space, &range, self.oracle.last());
        self.scans.push(Held::new(self.oracle.order(), scan, expected));
        if self.scans.len() > 6 {
            let at = self.rng.below(self.scans.len());
            self.scans.swap_remove(at);
        }
    }

    fn use_held_scan(&mut self) {
        if !self.scans.is_empty() {
            let at = self.rng.below(self.scans.len());
            self.scans[at].step(&mut self.rng);
        }
    }
}
