//! A writer that keeps a ledger: every kind of commit, flush, compaction, and changes of keyspaces.

use super::ledger::{Ledger, VOLATILE};
use crate::db::{SOON, tiny_tables};
use crate::{Op, Rng, SpaceId};
use isopach::{Db, Durability, Keyspace, Seqno, WriteOptions};

/// Names of keyspaces that commits go to.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Writes to one database, one commit after the other.
pub struct Writer<'d> {
    db: &'d Db,
    ledger: Ledger,
    rng: Rng,
    /// Commits so far; makes values differ.
    count: u32,
}

impl<'d> Writer<'d> {
    /// A writer whose choices the generator makes.
    pub fn new(db: &'d Db, ledger: &Ledger, rng: Rng) -> Writer<'d> {
        Writer { db, ledger: ledger.clone(), rng, count: 0 }
    }

    /// Random steps.
    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.rng.below(100) {
                0..40 => self.put(Durability::Buffered),
                40..48 => self.put(Durability::Sync),
                48..72 => self.batch(),
                72..78 => self.remove(),
                78..84 => self.put_volatile(),
                84..89 => self.sync(),
                89..92 => self.db.flush().unwrap(),
                92..94 => self.compact(),
                94..97 => self.drop_keyspace(),
                97..98 => self.db.wait_idle(SOON).unwrap(),
                _ => {
                    let snapshot = self.db.snapshot();
                    self.put(Durability::Buffered);
                    drop(snapshot);
                }
            }
        }
    }

    /// Enough buffered commits for several rotations.
    pub fn fill(&mut self, commits: usize) {
        for _ in 0..commits {
            self.batch();
        }
    }

    /// Makes keyspaces, writes to some, drops some, makes them again.
    pub fn make_and_drop(&mut self) {
        self.keyspace("a");
        self.put(Durability::Buffered);
        self.drop_keyspace();
        self.keyspace("b");
        self.batch();
        self.db.flush().unwrap();
        self.drop_keyspace();
        self.keyspace("a");
    }

    fn acknowledged(&self, seqno: Seqno, is_durable: bool) {
        self.ledger.acknowledge(seqno.raw(), is_durable);
    }

    /// A keyspace of the ledger, made if it is not there.
    pub fn keyspace(&mut self, name: &str) -> (SpaceId, Keyspace) {
        let found = self.ledger.with_oracle(|oracle| oracle.find(name));
        let space = found.unwrap_or_else(|| {
            self.ledger.begin(vec![Op::Create(name.into())]);
            self.db.keyspace_with(name, tiny_tables()).unwrap();
            self.acknowledged(self.db.seqno(), true);
            self.ledger.with_oracle(|oracle| oracle.find(name)).expect("just made")
        });
        (space, self.db.get_keyspace(name).unwrap().expect("the ledger has it"))
    }

    fn any(&mut self) -> (SpaceId, Keyspace) {
        let name = *self.rng.pick(&NAMES);
        self.keyspace(name)
    }

    fn key(&mut self) -> Vec<u8> {
        format!("key{:03}", self.rng.below(200)).into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        self.count += 1;
        let mut value = self.count.to_le_bytes().to_vec();
        let len = if self.rng.one_in(20) { 3000 } else { self.rng.below(400) };
        value.extend(self.rng.bytes(len));
        value
    }

    fn put(&mut self, durability: Durability) {
        let (space, keyspace) = self.any();
        let (key, value) = (self.key(), self.value());
        self.ledger.begin(vec![Op::Put(space, key.clone(), value.clone())]);
        let options = WriteOptions::new().durability(durability);
        let seqno = keyspace.insert_with(key, value, options).unwrap();
        self.acknowledged(seqno, durability == Durability::Sync);
    }

    fn remove(&mut self) {
        let (space, keyspace) = self.any();
        let key = self.key();
        self.ledger.begin(vec![Op::Remove(space, key.clone())]);
        let seqno = keyspace.remove(key).unwrap();
        self.acknowledged(seqno, false);
    }

    fn batch(&mut self) {
        let is_synced = self.rng.one_in(6);
        let mut batch = self.db.batch();
        let mut ops = Vec::new();
        for at in 0..2 + self.rng.below(4) {
            let (space, keyspace) = match NAMES.get(at).filter(|_| at < 2) {
                Some(name) => self.keyspace(name),
                None => self.any(),
            };
            let key = self.key();
            if self.rng.one_in(5) {
                batch.remove(&keyspace, &key);
                ops.push(Op::Remove(space, key));
            } else {
                let value = self.value();
                batch.insert(&keyspace, &key, &value);
                ops.push(Op::Put(space, key, value));
            }
        }
        self.ledger.begin(ops);
        let durability = if is_synced { Durability::Sync } else { Durability::Buffered };
        let seqno = self.db.write_with(batch, WriteOptions::new().durability(durability)).unwrap();
        self.acknowledged(seqno, is_synced);
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

    fn drop_keyspace(&mut self) {
        let name = *self.rng.pick(&NAMES);
        let Some(space) = self.ledger.with_oracle(|oracle| oracle.find(name)) else {
            return;
        };
        self.ledger.begin(vec![Op::Drop(space)]);
        assert!(self.db.drop_keyspace(name).unwrap());
        self.acknowledged(self.db.seqno(), true);
    }
}
