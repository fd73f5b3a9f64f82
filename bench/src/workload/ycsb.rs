//! YCSB's core workloads A to F (Cooper and others, "Benchmarking Cloud Serving Systems with YCSB", 2010), on
//! the bench's records: 100-byte values instead of 10 fields of 100 bytes.

use crate::{
    Result,
    engine::{Direction, Engine, Scan},
    keys::Keys,
    measure::Tally,
    random::{Permutation, Random, Zipfian},
    record::Measured,
    rig::Rig,
};

/// Longest scan.
const SCAN_ENTRIES: u64 = 100;

/// Shares of operations, in percent; what is left reads.
#[derive(Clone, Copy, Default)]
struct Mix {
    updates: u64,
    inserts: u64,
    scans: u64,
    read_updates: u64,
    chooses_latest: bool,
}

pub fn a(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    run(rig, engine, Mix { updates: 50, ..Mix::default() })
}

pub fn b(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    run(rig, engine, Mix { updates: 5, ..Mix::default() })
}

pub fn c(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    run(rig, engine, Mix::default())
}

pub fn d(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    run(rig, engine, Mix { inserts: 5, chooses_latest: true, ..Mix::default() })
}

pub fn e(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    run(rig, engine, Mix { inserts: 5, scans: 95, ..Mix::default() })
}

pub fn f(rig: &Rig<'_>, engine: &dyn Engine) -> Result<Measured> {
    run(rig, engine, Mix { read_updates: 50, ..Mix::default() })
}

fn run(rig: &Rig<'_>, engine: &dyn Engine, mix: Mix) -> Result<Measured> {
    rig.warm(engine)?;
    let (zipfian, order) = (Zipfian::new(rig.keys.count()), rig.order());
    let loaded = rig.loaded_order();
    // Inserted records must stay fewer than loaded ones: `Keys` has no more.
    let asked = if mix.inserts > 0 { rig.keys.count() * 10 } else { u64::MAX };
    let driven = rig.drive(engine, asked, |thread| {
        let mut client = Client {
            rig,
            engine,
            mix,
            zipfian: &zipfian,
            order: &order,
            loaded: &loaded,
            thread,
            random: rig.random(thread),
            inserted_count: 0,
            version: 0,
            key: Vec::new(),
            value: Vec::new(),
        };
        move |_, tally: &mut Tally| client.step(tally)
    })?;
    let mut measured = driven.measured;
    let inserted_count = if mix.inserts > 0 { measured.commits } else { 0 };
    rig.note_live(&mut measured, rig.keys.count() + inserted_count);
    Ok(measured)
}

struct Client<'a> {
    rig: &'a Rig<'a>,
    engine: &'a dyn Engine,
    mix: Mix,
    zipfian: &'a Zipfian,
    order: &'a Permutation,
    loaded: &'a Permutation,
    thread: u64,
    random: Random,
    /// By this thread, whose reads choose among the loaded and its own: others' may not have returned yet.
    inserted_count: u64,
    version: u64,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Client<'_> {
    fn step(&mut self, tally: &mut Tally) -> Result<()> {
        let mut dice = self.random.below(100);
        let mut falls_in = |percent: u64| {
            let falls_in = dice < percent;
            dice = dice.wrapping_sub(percent);
            falls_in
        };
        if falls_in(self.mix.updates) {
            let record = self.chosen();
            self.put(record, tally)?;
        } else if falls_in(self.mix.inserts) {
            let record = self.own(self.inserted_count);
            self.put(record, tally)?;
            self.inserted_count += 1;
        } else if falls_in(self.mix.scans) {
            self.scan(tally)?;
        } else if falls_in(self.mix.read_updates) {
            let record = self.chosen();
            self.read(record, tally)?;
            self.put(record, tally)?;
        } else {
            let record = self.chosen();
            self.read(record, tally)?;
        }
        tally.operations += 1;
        Ok(())
    }

    /// The `number`th that this thread inserts: anywhere among the keys, as YCSB's hashed order has it.
    fn own(&self, number: u64) -> u64 {
        let count = self.rig.keys.count();
        count + self.order.at((number * self.rig.workload.threads as u64 + self.thread) % count)
    }

    fn chosen(&mut self) -> u64 {
        let rank = self.zipfian.next(&mut self.random);
        if !self.mix.chooses_latest {
            return self.order.at(rank);
        }
        match self.inserted_count.checked_sub(rank + 1) {
            Some(number) => self.own(number),
            None => self.loaded.at(self.rig.keys.count() - 1 - (rank - self.inserted_count)),
        }
    }

    fn read(&mut self, record: u64, tally: &mut Tally) -> Result<()> {
        self.rig.keys.write(record, &mut self.key);
        let (values, mut is_right) = (&self.rig.values, false);
        self.engine.get(0, &self.key, &mut |value| is_right = values.is_of(record, value))?;
        tally.expect(is_right, || format!("record {record} is not there or has a wrong value"));
        Ok(())
    }

    fn put(&mut self, record: u64, tally: &mut Tally) -> Result<()> {
        self.version += 1;
        self.rig.keys.write(record, &mut self.key);
        self.rig.values.write(record, self.version, &mut self.value);
        self.engine.insert(0, &self.key, &self.value)?;
        tally.commits += 1;
        tally.user_bytes += (self.key.len() + self.value.len()) as u64;
        Ok(())
    }

    fn scan(&mut self, tally: &mut Tally) -> Result<()> {
        let record = self.chosen();
        let limit = self.random.below(SCAN_ENTRIES) + 1;
        self.rig.keys.write(record, &mut self.key);
        let (key, mut found_first) = (&self.key, None);
        let scan = Scan { from: Some(key), direction: Direction::Forward, limit: limit as usize };
        let shown = self.engine.scan(0, scan, &mut |found, value| {
            std::hint::black_box(value.first());
            found_first.get_or_insert_with(|| found == key);
        })?;
        let least = match self.rig.keys {
            Keys::Numbers { count } => limit.min(count - record),
            Keys::Texts(_) => 1,
        };
        tally.expect(found_first == Some(true) && shown as u64 >= least, || {
            format!("from {}: {shown} entries of {limit}, or another first", key.escape_ascii())
        });
        Ok(())
    }
}
