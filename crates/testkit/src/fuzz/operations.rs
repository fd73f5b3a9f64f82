//! Target of operations: bytes say what is done to a database, and every answer is compared with the
//! oracle's.
//!
//! Keys have up to four letters out of four, so that operations meet. The database lies on files that can
//! lose power; what survives a crash is one prefix of the commits, at least what was promised, and the run
//! goes on with it.

use crate::{
    Entries, Op, Oracle, SpaceId,
    crash::{Ledger, Promised, check_image},
    db::{contents, entries, merging_tables, small},
    inputs::Bounds,
};
use isopach::env::{CrashFs, MemFs, SubDir};
use isopach::{
    CheckpointOptions, Db, Durability, Iter, Keyspace, Seqno, Snapshot, VerifyOptions, WriteOptions,
};
use std::{ops::Bound, sync::Arc};

const LETTERS: [u8; 4] = [0, b'a', b'b', 255];
const NAMES: [&str; 3] = ["a", "b", "ü"];

/// Most operations of a run: its time is bounded, however long the input.
const MAX_OPERATIONS: usize = 400;

/// A database and its oracle, told what to do by bytes.
pub(super) fn operations(data: &[u8]) {
    let mut run = Run::new(data);
    for _ in 0..MAX_OPERATIONS {
        if run.choices.left.is_empty() {
            break;
        }
        run.step();
    }
    run.end();
}

/// What is left of the input; zeros behind its end.
struct Choices<'a> {
    left: &'a [u8],
}

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        match self.left.split_first() {
            None => 0,
            Some((&byte, left)) => {
                self.left = left;
                byte
            }
        }
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    fn key(&mut self) -> Vec<u8> {
        let (len, letters) = (self.below(5), self.byte());
        (0..len).map(|at| LETTERS[usize::from(letters >> (2 * at)) & 3]).collect()
    }

    /// One byte over and over; its length is chosen so that some tables have several blocks.
    fn value(&mut self) -> Vec<u8> {
        let (byte, len) = (self.byte(), usize::from(self.byte()));
        vec![byte; if len >= 250 { 1000 * (len - 249) } else { len }]
    }

    fn bounds(&mut self) -> Bounds {
        let mut bound = || match self.below(3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        };
        (bound(), bound())
    }

    /// As [`Choices::bounds`], of ranges that end behind their beginning, and hold a key that may be there.
    fn range(&mut self) -> Bounds {
        let (a, b) = (self.key(), self.key());
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        match self.below(4) {
            0 => (Bound::Unbounded, Bound::Included(high)),
            1 => (Bound::Included(low), Bound::Unbounded),
            2 => (Bound::Excluded(low), Bound::Included([&high[..], b"x"].concat())),
            _ => (Bound::Included(low), Bound::Included(high)),
        }
    }

    fn durability(&mut self) -> Durability {
        match self.below(8) {
            0 => Durability::Sync,
            _ => Durability::Buffered,
        }
    }
}

struct Run<'a> {
    choices: Choices<'a>,
    fs: CrashFs,
    db: Option<Db>,
    ledger: Ledger,
    /// Each with the commit that it was taken behind.
    snapshots: Vec<(Snapshot, usize)>,
}

impl<'a> Run<'a> {
    fn new(data: &'a [u8]) -> Run<'a> {
        let fs = CrashFs::new();
        let db = small(fs.clone()).threads(1).open().expect("a new database");
        Run {
            choices: Choices { left: data },
            fs,
            db: Some(db),
            ledger: Ledger::default(),
            snapshots: Vec::new(),
        }
    }

    fn step(&mut self) {
        match self.choices.byte() % 64 {
            0..12 => self.put(),
            12..15 => self.remove_range(),
            15..20 => self.merge(),
            20..26 => self.remove(),
            26..32 => self.batch(),
            32..37 => self.get(),
            37 => self.clear(),
            38..45 => self.scan(),
            45..48 => self.prefix(),
            48..51 => self.snapshots.push((self.db().snapshot(), self.last())),
            51..53 => drop(self.snapshots.pop()),
            53..55 => self.db().flush().expect("nothing fails"),
            55..57 => self.compact(),
            57 => drop(self.space()),
            58 => self.drop_keyspace(),
            59 => self.checkpoint(),
            60 => self.sync(),
            61 => self.reopen(),
            62 => self.kill(),
            _ => self.lose_power(),
        }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("open between steps")
    }

    fn last(&self) -> usize {
        self.ledger.with_oracle(Oracle::last)
    }

    /// A keyspace, which is made if it is not there.
    fn space(&mut self) -> (SpaceId, Keyspace) {
        let name = NAMES[self.choices.below(NAMES.len())];
        let found = self.ledger.with_oracle(|oracle| oracle.find(name));
        let space = found.unwrap_or_else(|| {
            self.ledger.begin(vec![Op::Create(name.into())]);
            self.db().keyspace_with(name, merging_tables()).expect("nothing fails");
            self.ledger.acknowledge(self.db().seqno().raw(), true);
            self.ledger.with_oracle(|oracle| oracle.find(name)).expect("just made")
        });
        (space, self.db().get_keyspace(name).expect("nothing fails").expect("the oracle has it"))
    }

    // ----- writing -----

    fn commit(
        &mut self,
        ops: Vec<Op>,
        durability: Durability,
        write: impl FnOnce(&Db, WriteOptions) -> Seqno,
    ) {
        self.ledger.begin(ops);
        let seqno = write(self.db(), WriteOptions::new().durability(durability));
        assert_eq!(self.db().seqno(), seqno, "the last commit is visible");
        self.ledger.acknowledge(seqno.raw(), durability == Durability::Sync);
    }

    fn put(&mut self) {
        let (space, keyspace) = self.space();
        let (key, value, durability) = (self.choices.key(), self.choices.value(), self.choices.durability());
        self.commit(vec![Op::Put(space, key.clone(), value.clone())], durability, |_, options| {
            keyspace.insert_with(key, value, options).expect("nothing fails")
        });
    }

    fn remove(&mut self) {
        let (space, keyspace) = self.space();
        let (key, durability) = (self.choices.key(), self.choices.durability());
        let is_weak = self.choices.below(2) == 0
            && self.ledger.with_oracle(|oracle| oracle.may_remove_weakly(space, &key));
        self.commit(vec![Op::Remove(space, key.clone())], durability, |db, options| {
            if !is_weak {
                return keyspace.remove_with(key, options).expect("nothing fails");
            }
            let mut batch = db.batch();
            batch.remove_weak(&keyspace, key);
            db.write_with(batch, options).expect("nothing fails")
        });
    }

    fn remove_range(&mut self) {
        let (space, keyspace) = self.space();
        let (low, high) = self.choices.range();
        self.commit(
            vec![Op::RemoveRange(space, (low.clone(), high.clone()))],
            Durability::Buffered,
            |_, _| keyspace.remove_range((low, high)).expect("nothing fails"),
        );
    }

    fn merge(&mut self) {
        let (space, keyspace) = self.space();
        let (key, operand) = (self.choices.key(), self.choices.byte().to_string().into_bytes());
        self.commit(vec![Op::Merge(space, key.clone(), operand.clone())], Durability::Buffered, |_, _| {
            keyspace.merge(key, operand).expect("nothing fails")
        });
    }

    fn batch(&mut self) {
        let mut ops = Vec::new();
        let mut batch = self.db().batch();
        for _ in 0..1 + self.choices.below(8) {
            let (space, keyspace) = self.space();
            let key = self.choices.key();
            let kind = self.choices.below(8);
            if kind < 2 {
                batch.remove(&keyspace, &key);
                ops.push(Op::Remove(space, key));
            } else if kind == 2 {
                let range = self.choices.range();
                batch.remove_range(&keyspace, range.clone());
                ops.push(Op::RemoveRange(space, range));
            } else if kind == 3 {
                batch.merge(&keyspace, &key, b"+");
                ops.push(Op::Merge(space, key, b"+".into()));
            } else {
                let value = self.choices.value();
                batch.insert(&keyspace, &key, &value);
                ops.push(Op::Put(space, key, value));
            }
        }
        let durability = self.choices.durability();
        self.commit(ops, durability, |db, options| db.write_with(batch, options).expect("nothing fails"));
    }

    fn drop_keyspace(&mut self) {
        let name = NAMES[self.choices.below(NAMES.len())];
        let found = self.ledger.with_oracle(|oracle| oracle.find(name));
        if let Some(space) = found {
            self.ledger.begin(vec![Op::Drop(space)]);
        }
        assert_eq!(self.db().drop_keyspace(name).expect("nothing fails"), found.is_some());
        if found.is_some() {
            self.ledger.acknowledge(self.db().seqno().raw(), true);
        }
    }

    fn clear(&mut self) {
        let (space, keyspace) = self.space();
        self.ledger.begin(vec![Op::Clear(space)]);
        let seqno = keyspace.clear().expect("nothing fails");
        self.ledger.acknowledge(seqno.raw(), true);
    }

    fn sync(&mut self) {
        self.db().sync().expect("nothing fails");
        self.ledger.all_is_durable();
    }

    fn compact(&mut self) {
        let (_, keyspace) = self.space();
        let bounds = if self.choices.below(2) == 0 { all() } else { self.choices.bounds() };
        keyspace.compact_range(bounds).expect("nothing fails");
    }

    // ----- reading -----

    fn get(&mut self) {
        let (space, keyspace) = self.space();
        for _ in 0..1 + self.choices.below(4) {
            let key = self.choices.key();
            self.ledger.with_oracle(|oracle| {
                let found = keyspace.get(&key).expect("nothing is damaged");
                assert_eq!(
                    found.as_deref(),
                    oracle.get(space, &key, oracle.last()).as_deref(),
                    "key {key:?}"
                );
                for (snapshot, at) in self.snapshots.iter().filter(|(_, at)| created(oracle, space) <= *at) {
                    let found = keyspace.at(snapshot).get(&key).expect("nothing is damaged");
                    assert_eq!(
                        found.as_deref(),
                        oracle.get(space, &key, *at).as_deref(),
                        "key {key:?} behind commit {at}"
                    );
                }
            });
        }
    }

    fn scan(&mut self) {
        let (space, keyspace) = self.space();
        let bounds = self.choices.bounds();
        let snapshot = self.choices.below(4);
        let snapshot = self.snapshots.get(snapshot).cloned();
        let created = self.ledger.with_oracle(|oracle| created(oracle, space));
        match snapshot.filter(|(_, at)| created <= *at) {
            Some((snapshot, at)) => {
                self.check_scan(space, &bounds, keyspace.at(&snapshot).range(bounds.clone()), at)
            }
            None => self.check_scan(space, &bounds, keyspace.range(bounds.clone()), self.last()),
        }
    }

    fn prefix(&mut self) {
        let (space, keyspace) = self.space();
        let prefix = self.choices.key();
        let longer = |oracle: &Oracle| oracle.range(space, &all(), oracle.last());
        let mut expected = self.ledger.with_oracle(longer);
        expected.retain(|(key, _)| key.starts_with(&prefix));
        self.walk(keyspace.prefix(&prefix), &expected);
    }

    fn check_scan(&mut self, space: SpaceId, bounds: &Bounds, scan: Iter, at: usize) {
        let expected = self.ledger.with_oracle(|oracle| oracle.range(space, bounds, at));
        self.walk(scan, &expected);
    }

    /// From both ends by turns, as the choices say, until they meet.
    fn walk(&mut self, mut scan: Iter, mut expected: &[(Vec<u8>, Vec<u8>)]) {
        let turns = self.choices.byte();
        for step in 0.. {
            let is_back = turns >> (step % 8) & 1 == 1;
            let entry = if is_back { scan.next_back() } else { scan.next() };
            let split = if is_back { expected.split_last() } else { expected.split_first() };
            let found = entry.transpose().expect("nothing is damaged");
            let found = found.as_ref().map(|(key, value)| (&key[..], &value[..]));
            assert_eq!(found, split.map(|((key, value), _)| (&key[..], &value[..])), "step {step}");
            match split {
                Some((_, rest)) => expected = rest,
                None => return,
            }
        }
    }

    // ----- copies, ends and crashes -----

    fn checkpoint(&mut self) {
        let fs = MemFs::new();
        let flush = self.choices.below(2) == 0;
        let options = CheckpointOptions::new();
        if flush {
            self.db().flush().expect("nothing fails");
        }
        self.db().checkpoint_to(Arc::new(fs.clone()), "copy", options).expect("nothing fails");
        let copy = SubDir::open(Arc::new(fs), "copy").expect("it was made");
        let read = small(copy).open_read_only().expect("a checkpoint opens");
        let found = read.keyspaces().into_iter().map(|(name, _)| {
            let found: Entries = entries(&read.keyspace(&name).expect("it is listed"));
            (name, found)
        });
        assert_eq!(
            found.collect::<crate::Contents>(),
            self.ledger.with_oracle(|oracle| oracle.contents(oracle.last()))
        );
    }

    fn reopen(&mut self) {
        self.snapshots.clear();
        self.db.take().expect("open").close().expect("nothing fails");
        self.ledger.all_is_durable();
        self.db = Some(small(self.fs.clone()).threads(1).open().expect("it was closed properly"));
        assert!(self.db().recovery().is_clean);
        let found = contents(self.db());
        assert_eq!(found, self.ledger.with_oracle(|oracle| oracle.contents(oracle.last())));
    }

    fn kill(&mut self) {
        let floor = self.ledger.floors().acknowledged;
        self.go_on_with(self.fs.kill(), floor);
    }

    fn lose_power(&mut self) {
        let seed = u64::from(self.choices.byte());
        let floor = self.ledger.floors().durable;
        self.go_on_with(self.fs.crash(seed), floor);
    }

    /// The process died; another one opens what is left.
    fn go_on_with(&mut self, image: CrashFs, floor: usize) {
        self.snapshots.clear();
        drop(self.db.take());
        let db = small(image.clone()).threads(1).open().expect("a database opens after any crash");
        let survived = self.ledger.check(contents(&db), floor);
        // The commits that did not survive never were.
        let ledger = Ledger::default();
        for commit in 1..=survived {
            ledger.begin(self.ledger.with_oracle(|oracle| oracle.ops(commit).to_vec()));
            ledger.acknowledge(db.seqno().raw(), false);
        }
        let report = db.verify(VerifyOptions::new()).expect("it is open");
        assert!(report.found.is_empty(), "{:?}", report.found);
        (self.fs, self.db, self.ledger) = (image, Some(db), ledger);
        // What was read at opening is durable from now on.
        self.sync();
    }

    fn end(mut self) {
        self.reopen();
        let floors = self.ledger.floors();
        self.snapshots.clear();
        self.db.take().expect("open").close().expect("nothing fails");
        check_image(&self.fs.kill(), &self.ledger, Promised { floor: floors.acknowledged, floors });
    }
}

fn all() -> Bounds {
    (Bound::Unbounded, Bound::Unbounded)
}

/// The commit that made a keyspace.
fn created(oracle: &Oracle, space: SpaceId) -> usize {
    (1..=oracle.last())
        .filter(|&commit| oracle.ops(commit).iter().any(|op| matches!(op, Op::Create(_))))
        .nth(space)
        .expect("every keyspace was made by a commit")
}
