//! What is done to a database that may crash: acts, and a writer that keeps a ledger of them.

use super::ledger::{Ledger, VOLATILE};
use crate::{
    Op, Rng, SpaceId,
    db::{SOON, merging_tables, similar_value, trained_tables},
    inputs::Bounds,
};
use isopach::{Compression, Db, Durability, Keyspace, Seqno, WriteOptions};
use std::{collections::BTreeSet, fmt, ops::Bound, str::FromStr};

/// Names of keyspaces that commits go to.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// What keys, values and names hold that are to be nowhere in clear.
pub const CANARY: &str = "canary-in-clear";

/// [`NAMES`] with [`CANARY`]: the second keyspace is not compressed, the others are as is usual.
const PLANTED_NAMES: [&str; 3] = ["a-canary-in-clear", "b-canary-in-clear", "c-canary-in-clear"];

/// The keyspace of similar values.
const TRAINED: &str = "trained";

/// Bytes that fill the write buffer of a small database.
const FILL_BYTES: usize = 18 << 10;

/// One thing that is done to a database. Its text is one word, so that a failure can print a workload and a
/// command can read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// A write that survives the process.
    Put,
    /// A write that survives a power loss.
    PutSync,
    /// A write that is in no log.
    PutVolatile,
    /// A delete.
    Remove,
    /// A weak delete, of a key that was put once.
    RemoveWeak,
    /// The delete of a range.
    RemoveRange,
    /// A merge operand.
    Merge,
    /// A batch over keyspaces.
    Batch,
    /// The same, durable.
    BatchSync,
    /// Everything so far becomes durable.
    Sync,
    /// Commits that fill the write buffer: the memtable is sealed, a log segment begun.
    Fill,
    /// Memtables become tables.
    Flush,
    /// A keyspace is merged into its last level.
    Compact,
    /// Similar values are written to a keyspace of their own and merged, so that a dictionary is trained where there are
    /// any; or used again; or is needed no more.
    Train,
    /// Keys in order go straight into tables of one or two keyspaces.
    Load,
    /// A keyspace is made.
    Create,
    /// A keyspace loses all that it has.
    Clear,
    /// A keyspace goes.
    Drop,
    /// A write while a snapshot is held.
    Snapshot,
    /// Background work comes to an end.
    Wait,
    /// A copy of the database is made beside it.
    Checkpoint,
    /// The database is closed and opened again.
    Reopen,
    /// The handle goes without a close being asked for, and the database is opened again.
    Abandon,
}

impl Act {
    /// Every act.
    pub const ALL: [Act; 23] = [
        Act::Put,
        Act::PutSync,
        Act::PutVolatile,
        Act::Remove,
        Act::RemoveWeak,
        Act::RemoveRange,
        Act::Merge,
        Act::Batch,
        Act::BatchSync,
        Act::Sync,
        Act::Fill,
        Act::Flush,
        Act::Compact,
        Act::Train,
        Act::Load,
        Act::Create,
        Act::Clear,
        Act::Drop,
        Act::Snapshot,
        Act::Wait,
        Act::Checkpoint,
        Act::Reopen,
        Act::Abandon,
    ];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Act::Put => "put",
            Act::PutSync => "put-sync",
            Act::PutVolatile => "put-volatile",
            Act::Remove => "remove",
            Act::RemoveWeak => "remove-weak",
            Act::RemoveRange => "remove-range",
            Act::Merge => "merge",
            Act::Batch => "batch",
            Act::BatchSync => "batch-sync",
            Act::Sync => "sync",
            Act::Fill => "fill",
            Act::Flush => "flush",
            Act::Compact => "compact",
            Act::Train => "train",
            Act::Load => "load",
            Act::Create => "create",
            Act::Clear => "clear",
            Act::Drop => "drop",
            Act::Snapshot => "snapshot",
            Act::Wait => "wait",
            Act::Checkpoint => "checkpoint",
            Act::Reopen => "reopen",
            Act::Abandon => "abandon",
        }
    }

    /// One of them, as often as a program would do it, more or less.
    pub fn random(rng: &mut Rng) -> Act {
        match rng.below(100) {
            0..26 => Act::Put,
            26..28 => Act::RemoveWeak,
            28..31 => Act::RemoveRange,
            31..38 => Act::Merge,
            38..45 => Act::PutSync,
            45..64 => Act::Batch,
            64..68 => Act::BatchSync,
            68..74 => Act::Remove,
            74..80 => Act::PutVolatile,
            80..85 => Act::Sync,
            85..87 => Act::Flush,
            87..88 => Act::Load,
            88..90 => Act::Compact,
            90..91 => Act::Clear,
            91..92 => Act::Drop,
            92..94 => Act::Create,
            94..95 => Act::Wait,
            95..96 => Act::Fill,
            96..97 => Act::Checkpoint,
            97..98 => Act::Reopen,
            98..99 => Act::Abandon,
            _ => Act::Snapshot,
        }
    }

    /// So many random ones.
    pub fn workload(rng: &mut Rng, acts: usize) -> Vec<Act> {
        (0..acts).map(|_| Act::random(rng)).collect()
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Act {
    type Err = String;

    fn from_str(word: &str) -> Result<Act, String> {
        let found = Act::ALL.into_iter().find(|act| act.word() == word);
        found.ok_or_else(|| format!("`{word}` is none of {}", Act::ALL.map(Act::word).join(", ")))
    }
}

/// Writes to one open database, one commit after the other.
pub struct Writer<'d> {
    db: &'d Db,
    ledger: Ledger,
    rng: Rng,
    /// Names of keyspaces, and what keys and values hold.
    names: [&'static str; 3],
    planted: &'static str,
}

impl<'d> Writer<'d> {
    /// A writer whose choices the generator makes.
    pub fn new(db: &'d Db, ledger: &Ledger, rng: Rng) -> Writer<'d> {
        Writer { db, ledger: ledger.clone(), rng, names: NAMES, planted: "" }
    }

    /// Has names, keys and values hold [`CANARY`].
    #[must_use]
    pub fn planting(self) -> Writer<'d> {
        Writer { names: PLANTED_NAMES, planted: CANARY, ..self }
    }

    /// Random acts, of those that one open database can do.
    pub fn run(&mut self, acts: usize) {
        for _ in 0..acts {
            let act = Act::random(&mut self.rng);
            self.perform(act);
        }
    }

    /// Does one thing.
    ///
    /// # Panics
    ///
    /// If it fails. Of [`Act::Checkpoint`], [`Act::Reopen`] and [`Act::Abandon`] nothing is done: they need
    /// more than an open database.
    pub fn perform(&mut self, act: Act) {
        match act {
            Act::Put => self.put(Durability::Buffered),
            Act::PutSync => self.put(Durability::Sync),
            Act::PutVolatile => self.put_volatile(),
            Act::Remove => self.remove(),
            Act::RemoveWeak => self.remove_weak(),
            Act::RemoveRange => self.remove_range(),
            Act::Merge => self.merge(),
            Act::Batch => self.batch(Durability::Buffered),
            Act::BatchSync => self.batch(Durability::Sync),
            Act::Sync => self.sync(),
            Act::Fill => self.fill_buffer(),
            Act::Flush => self.db.flush().unwrap(),
            Act::Compact => self.compact(),
            Act::Train => self.train(),
            Act::Load => self.load(),
            Act::Create => self.create_keyspace(),
            Act::Clear => self.clear_keyspace(),
            Act::Drop => self.drop_keyspace(),
            Act::Snapshot => {
                let snapshot = self.db.snapshot();
                self.put(Durability::Buffered);
                drop(snapshot);
            }
            Act::Wait => self.db.wait_idle(SOON).unwrap(),
            Act::Checkpoint | Act::Reopen | Act::Abandon => {}
        }
    }

    fn acknowledged(&self, seqno: Seqno, durability: Durability) {
        self.ledger.acknowledge(seqno.raw(), durability == Durability::Sync);
    }

    /// A keyspace of the ledger, made if it is not there.
    fn keyspace(&mut self, name: &str) -> (SpaceId, Keyspace) {
        let found = self.ledger.with_oracle(|oracle| oracle.find(name));
        let space = found.unwrap_or_else(|| {
            self.ledger.begin(vec![Op::Create(name.into())]);
            let options = match name {
                TRAINED => trained_tables(),
                _ if name == PLANTED_NAMES[1] => merging_tables().compression(Compression::None),
                _ => merging_tables(),
            };
            self.db.keyspace_with(name, options).unwrap();
            self.acknowledged(self.db.seqno(), Durability::Sync);
            self.ledger.with_oracle(|oracle| oracle.find(name)).expect("just made")
        });
        (space, self.db.get_keyspace(name).unwrap().expect("the ledger has it"))
    }

    /// Makes the first keyspace that is not there.
    fn create_keyspace(&mut self) {
        let there = self.ledger.with_oracle(|oracle| oracle.names());
        if let Some(missing) = self.names.into_iter().find(|name| !there.iter().any(|found| found == name)) {
            self.keyspace(missing);
        }
    }

    fn any(&mut self) -> (SpaceId, Keyspace) {
        let name = *self.rng.pick(&self.names);
        self.keyspace(name)
    }

    fn key(&mut self) -> Vec<u8> {
        format!("{}key{:03}", self.planted, self.rng.below(200)).into_bytes()
    }

    /// A value that no other commit has.
    fn value(&mut self) -> Vec<u8> {
        let len = if self.rng.one_in(20) { 3000 } else { self.rng.below(400) };
        self.value_of(len)
    }

    fn value_of(&mut self, len: usize) -> Vec<u8> {
        let commit = self.ledger.with_oracle(|oracle| oracle.last()) as u64;
        let mut value = [&commit.to_le_bytes(), self.planted.as_bytes()].concat();
        value.extend(self.rng.bytes(len));
        value
    }

    fn put(&mut self, durability: Durability) {
        let (space, keyspace) = self.any();
        let (key, value) = (self.key(), self.value());
        self.put_to(space, &keyspace, key, value, durability);
    }

    fn put_to(
        &mut self,
        space: SpaceId,
        keyspace: &Keyspace,
        key: Vec<u8>,
        value: Vec<u8>,
        durability: Durability,
    ) {
        self.ledger.begin(vec![Op::Put(space, key.clone(), value.clone())]);
        let options = WriteOptions::new().durability(durability);
        let seqno = keyspace.insert_with(key, value, options).unwrap();
        self.acknowledged(seqno, durability);
    }

    fn fill_buffer(&mut self) {
        let (space, keyspace) = self.any();
        for _ in 0..FILL_BYTES.div_ceil(3000) {
            let (key, value) = (self.key(), self.value_of(3000));
            self.put_to(space, &keyspace, key, value, Durability::Buffered);
        }
    }

    fn remove(&mut self) {
        let (space, keyspace) = self.any();
        let key = self.key();
        self.ledger.begin(vec![Op::Remove(space, key.clone())]);
        let seqno = keyspace.remove(key).unwrap();
        self.acknowledged(seqno, Durability::Buffered);
    }

    fn remove_weak(&mut self) {
        let (space, keyspace) = self.any();
        let key = self.key();
        if !self.ledger.with_oracle(|oracle| oracle.may_remove_weakly(space, &key)) {
            return;
        }
        self.ledger.begin(vec![Op::Remove(space, key.clone())]);
        let seqno = keyspace.remove_weak(key).unwrap();
        self.acknowledged(seqno, Durability::Buffered);
    }

    fn remove_range(&mut self) {
        let (space, keyspace) = self.any();
        let range = self.range();
        self.ledger.begin(vec![Op::RemoveRange(space, range.clone())]);
        let seqno = keyspace.remove_range(range).unwrap();
        self.acknowledged(seqno, Durability::Buffered);
    }

    /// Some keys in a row, or now and then all from one on.
    fn range(&mut self) -> Bounds {
        let key = self.key();
        let end = self.key();
        match self.rng.below(8) {
            0 => (Bound::Excluded(key), Bound::Unbounded),
            _ if key < end => (Bound::Included(key), Bound::Excluded(end)),
            _ => (Bound::Included(end), Bound::Included(key)),
        }
    }

    fn merge(&mut self) {
        let (space, keyspace) = self.any();
        let (key, operand) = (self.key(), self.value());
        self.ledger.begin(vec![Op::Merge(space, key.clone(), operand.clone())]);
        let seqno = keyspace.merge(key, operand).unwrap();
        self.acknowledged(seqno, Durability::Buffered);
    }

    fn batch(&mut self, durability: Durability) {
        let mut batch = self.db.batch();
        let mut ops = Vec::new();
        for at in 0..2 + self.rng.below(4) {
            let (space, keyspace) = match self.names.get(at).filter(|_| at < 2) {
                Some(name) => self.keyspace(name),
                None => self.any(),
            };
            let key = self.key();
            if self.rng.one_in(5) {
                batch.remove(&keyspace, &key);
                ops.push(Op::Remove(space, key));
            } else if self.rng.one_in(8) {
                let range = self.range();
                batch.remove_range(&keyspace, range.clone());
                ops.push(Op::RemoveRange(space, range));
            } else if self.rng.one_in(4) {
                batch.merge(&keyspace, &key, b"+");
                ops.push(Op::Merge(space, key, b"+".into()));
            } else {
                // Now and then it is a memtable of its own.
                let value = if self.rng.one_in(20) { self.value_of(17 << 10) } else { self.value() };
                batch.insert(&keyspace, &key, &value);
                ops.push(Op::Put(space, key, value));
            }
        }
        self.ledger.begin(ops);
        let seqno = self.db.write_with(batch, WriteOptions::new().durability(durability)).unwrap();
        self.acknowledged(seqno, durability);
    }

    fn put_volatile(&mut self) {
        let (_, keyspace) = self.keyspace(VOLATILE);
        let (key, value) = (self.key(), self.value());
        self.ledger.begin_volatile(&key, &value);
        let options = WriteOptions::new().durability(Durability::Volatile);
        let seqno = keyspace.insert_with(key, value, options).unwrap();
        self.ledger.acknowledge_volatile(seqno.raw());
    }

    fn sync(&mut self) {
        self.db.sync().unwrap();
        self.ledger.all_is_durable();
    }

    fn compact(&mut self) {
        let (_, keyspace) = self.any();
        keyspace.compact_range(..).unwrap();
    }

    fn train(&mut self) {
        let (space, keyspace) = self.keyspace(TRAINED);
        if keyspace.count(..).unwrap() > 0 && self.rng.one_in(3) {
            self.ledger.begin(vec![Op::Drop(space)]);
            assert!(self.db.drop_keyspace(TRAINED).unwrap());
            self.acknowledged(self.db.seqno(), Durability::Sync);
            return;
        }
        // Of two runs, so that the compaction merges them: a table that only moves stays as it is.
        for _ in 0..2 {
            let mut batch = self.db.batch();
            let mut ops = Vec::new();
            for _ in 0..150 {
                let (key, value) = (self.key(), similar_value(&mut self.rng));
                batch.insert(&keyspace, &key, &value);
                ops.push(Op::Put(space, key, value));
            }
            self.ledger.begin(ops);
            let seqno = self.db.write(batch).unwrap();
            self.acknowledged(seqno, Durability::Buffered);
            self.db.flush().unwrap();
        }
        keyspace.compact_range(..).unwrap();
    }

    fn load(&mut self) {
        let (mut loads, mut ops) = (Vec::new(), Vec::new());
        let names = self.names;
        for name in &names[..1 + self.rng.below(2)] {
            let (space, keyspace) = self.keyspace(name);
            let mut load = keyspace.ingest().unwrap();
            let keys: BTreeSet<_> = (0..1 + self.rng.below(6)).map(|_| self.key()).collect();
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
            loads.push(load);
        }
        self.ledger.begin(ops);
        let seqno = self.db.finish_ingests(loads).unwrap();
        self.acknowledged(seqno, Durability::Sync);
    }

    fn clear_keyspace(&mut self) {
        let (space, keyspace) = self.any();
        self.ledger.begin(vec![Op::Clear(space)]);
        let seqno = keyspace.clear().unwrap();
        self.acknowledged(seqno, Durability::Sync);
    }

    fn drop_keyspace(&mut self) {
        let there = self.ledger.with_oracle(|oracle| oracle.names());
        let there: Vec<_> = there.iter().filter(|name| self.names.contains(&name.as_str())).collect();
        if there.is_empty() {
            return;
        }
        let name = *self.rng.pick(&there);
        let space = self.ledger.with_oracle(|oracle| oracle.find(name)).expect("it is there");
        self.ledger.begin(vec![Op::Drop(space)]);
        assert!(self.db.drop_keyspace(name).unwrap());
        self.acknowledged(self.db.seqno(), Durability::Sync);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_read_as_it_is_written() {
        for act in Act::ALL {
            assert_eq!(act.to_string().parse(), Ok(act));
        }
        assert!("write".parse::<Act>().is_err());
    }
}
