//! The table of workloads. What each does is in a file of its own below; how it is driven and measured:
//! `rig.rs`.

pub mod fill;
pub mod merge;
pub mod open;
pub mod ranges;
pub mod read;
pub mod recovery;
pub mod scan;
pub mod ycsb;

use crate::{
    Result,
    engine::{Abilities, Durability, Engine, Settings},
    plan::Sizes,
    record::{Measured, Plan, WorkloadInfo},
    rig::Rig,
};

/// One line of the comparison.
#[derive(Debug)]
pub struct Workload {
    pub name: &'static str,
    /// What one operation is.
    pub unit: &'static str,
    pub what: &'static str,
    /// Threads whose operations are measured.
    pub threads: usize,
    /// Threads that disturb them until they are done.
    pub threads_beside: usize,
    pub data: Data,
    pub base: Base,
    pub ends: Ends,
    /// Whether the row also says when compaction has caught up.
    pub is_settled: bool,
    pub is_synced: bool,
    /// Whether it puts records into an empty database, each once.
    pub is_fill: bool,
    /// Whether it writes fewer than 20 write buffers of data, on purpose.
    pub is_burst: bool,
    /// Whether the cache holds a quarter of the data, not all of it.
    pub is_cold: bool,
    pub run: Run,
}

/// The records that a workload writes or finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// Keys of 16 digits, values of [`Plan::value_bytes`].
    Numbers,
    /// Keys of 16 digits, values of [`Data::LARGE_VALUE_BYTES`].
    Large,
    /// Paths of files, values of [`Plan::value_bytes`].
    Text,
}

impl Data {
    pub const LARGE_VALUE_BYTES: usize = 16 << 10;
}

/// The database that a workload begins with. Loaded ones are made once and copied for each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    Empty,
    /// All records, inserted in random order and settled.
    Loaded,
    /// That without a third of its keys, in 8 ranges removed just before.
    Holes,
    /// One record in each of [`open::KEYSPACES_COUNT`] keyspaces.
    Keyspaces,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// When a number of operations is done; earlier when time is up, and then the row says so.
    AtWork,
    /// When time is up.
    AtTime,
}

/// Part of [`Plan::row_seconds`] that rows have which read: their rates are steady sooner than those of
/// writing.
const READING_SHARE: f64 = 0.3;

/// The same for synced writes, among which hardly any compaction falls.
const SYNCED_SHARE: f64 = 0.5;

/// Bound of [`Settings::separated_from_bytes`] where values are large.
const SEPARATED_FROM_BYTES: u32 = 4096;

/// How a workload runs.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// On a database that is open.
    Opened(fn(&Rig<'_>, &dyn Engine) -> Result<Measured>),
    /// It opens the database itself.
    Unopened(fn(&Rig<'_>) -> Result<Measured>),
}

/// In the order in which they run: `name, unit, what, how`.
pub const WORKLOADS: &[Workload] = &[
    Workload::fills("fillseq", "put", "puts in key order", fill::in_key_order).settled(),
    Workload::fills("fillrandom", "put", "puts in random order", fill::in_random_order).settled(),
    Workload::fills("fillrandom-4t", "put", "puts in random order", fill::in_random_order)
        .settled()
        .threads(4),
    Workload::fills("fillbatch", "entry", "batches of 100 puts in random order", fill::in_batches).settled(),
    Workload::writes("fillbulk", "entry", "bulk loads of a million in key order, durable", fill::in_bulk)
        .settled(),
    Workload::fills("fillsync", "put", "puts, each on the medium when it returns", fill::in_random_order)
        .synced(),
    Workload::fills("fillsync-8t", "put", "puts, each on the medium when it returns", fill::in_random_order)
        .synced()
        .threads(8),
    Workload::writes("overwrite", "put", "puts to random keys of a loaded database", fill::overwrite)
        .settled()
        .on(Base::Loaded),
    Workload::writes(
        "deleterandom",
        "delete",
        "deletes all keys of a loaded database in random order",
        fill::delete,
    )
    .settled()
    .on(Base::Loaded)
    .burst(),
    Workload::reads("readrandom", "get", "gets of random keys, all in the cache", read::random),
    Workload::reads("readrandom-cold", "get", "gets of random keys, a quarter in the cache", read::random)
        .cold(),
    Workload::reads(
        "readwhilewriting",
        "get",
        "gets of random keys beside one thread that puts",
        read::beside_writing,
    )
    .beside(1),
    Workload::reads("readrandom-2t", "get", "gets of random keys, all in the cache", read::random).threads(2),
    Workload::reads("readmissing", "get", "gets of keys that are not there", read::missing),
    Workload::reads("multireadrandom", "key", "gets of 32 random keys at once", read::many),
    Workload::reads(
        "seekrandom",
        "seek",
        "seeks to random keys, with the next 10 entries",
        scan::from_random,
    ),
    Workload::reads("readseq", "entry", "whole scans", scan::forward),
    Workload::reads("readreverse", "entry", "whole scans, backwards", scan::reverse),
    Workload::writes("mergerandom", "merge", "additions to random counters of 100,000", merge::counters)
        .settled(),
    Workload::reads("ycsb-a", "operation", "half reads, half updates, zipfian", ycsb::a).threads(2),
    Workload::reads("ycsb-b", "operation", "95 % reads, 5 % updates, zipfian", ycsb::b).threads(2),
    Workload::reads("ycsb-c", "operation", "reads, zipfian", ycsb::c).threads(2),
    Workload::reads("ycsb-d", "operation", "95 % reads of the latest, 5 % inserts", ycsb::d).threads(2),
    Workload::reads("ycsb-e", "operation", "95 % scans of up to 100 entries, zipfian, 5 % inserts", ycsb::e)
        .threads(2),
    Workload::reads("ycsb-f", "operation", "half reads, half reads and updates, zipfian", ycsb::f).threads(2),
    Workload::writes("fill-16k", "put", "puts of 16 KiB in random order", fill::in_random_order)
        .settled()
        .of(Data::Large),
    Workload::reads("read-16k", "get", "gets of 16 KiB of random keys", read::random).of(Data::Large),
    Workload::writes("overwrite-16k", "put", "puts of 16 KiB to random keys", fill::overwrite)
        .settled()
        .of(Data::Large)
        .on(Base::Loaded),
    Workload::reads("scan-16k", "entry", "whole scans over values of 16 KiB", scan::forward).of(Data::Large),
    Workload::reads("keys-16k", "key", "whole scans of keys only, of values of 16 KiB", scan::keys)
        .of(Data::Large),
    Workload::writes(
        "deleterange",
        "range",
        "deletes 8 ranges that hold a third of all keys",
        ranges::delete,
    )
    .settled()
    .on(Base::Loaded)
    .burst(),
    Workload::reads(
        "seek-hole",
        "seek",
        "seeks into ranges just deleted, with the next 10 entries",
        ranges::seek,
    )
    .on(Base::Holes),
    Workload::reads("scan-hole", "entry", "whole scans over ranges just deleted", ranges::scan)
        .on(Base::Holes),
    Workload::itself(
        "recovery",
        "open",
        "open and first get after SIGKILL, 40 MB not flushed",
        recovery::measure,
    ),
    Workload::itself("open-1000", "keyspace", "open of 1,000 keyspaces and a get from each", open::measure)
        .on(Base::Keyspaces),
    Workload::writes("text-fill", "put", "puts under paths of files in random order", fill::in_random_order)
        .settled()
        .of(Data::Text),
    Workload::reads("text-read", "get", "gets of random paths of files", read::random).of(Data::Text),
    Workload::reads(
        "text-seek",
        "seek",
        "seeks to random paths of files, with the next 10 entries",
        scan::from_random,
    )
    .of(Data::Text),
];

pub fn find(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}

/// A workload on the loaded database of such data, with no settings but the plan's.
pub fn loads(data: Data) -> &'static Workload {
    let mut loading = WORKLOADS.iter().filter(|workload| workload.base == Base::Loaded && !workload.is_cold);
    loading.find(|workload| workload.data == data).expect("every kind of data is read by some workload")
}

type Opened = fn(&Rig<'_>, &dyn Engine) -> Result<Measured>;

impl Workload {
    const fn writes(name: &'static str, unit: &'static str, what: &'static str, run: Opened) -> Workload {
        Workload {
            name,
            unit,
            what,
            threads: 1,
            threads_beside: 0,
            data: Data::Numbers,
            base: Base::Empty,
            ends: Ends::AtWork,
            is_settled: false,
            is_synced: false,
            is_fill: false,
            is_burst: false,
            is_cold: false,
            run: Run::Opened(run),
        }
    }

    const fn fills(name: &'static str, unit: &'static str, what: &'static str, run: Opened) -> Workload {
        Workload { is_fill: true, ..Workload::writes(name, unit, what, run) }
    }

    const fn reads(name: &'static str, unit: &'static str, what: &'static str, run: Opened) -> Workload {
        Workload { base: Base::Loaded, ends: Ends::AtTime, ..Workload::writes(name, unit, what, run) }
    }

    const fn itself(
        name: &'static str,
        unit: &'static str,
        what: &'static str,
        run: fn(&Rig<'_>) -> Result<Measured>,
    ) -> Workload {
        Workload { run: Run::Unopened(run), ..Workload::writes(name, unit, what, fill::in_key_order) }
    }

    const fn threads(self, threads: usize) -> Workload {
        Workload { threads, ..self }
    }

    const fn beside(self, threads_beside: usize) -> Workload {
        Workload { threads_beside, ..self }
    }

    const fn of(self, data: Data) -> Workload {
        Workload { data, ..self }
    }

    const fn on(self, base: Base) -> Workload {
        Workload { base, ..self }
    }

    const fn settled(self) -> Workload {
        Workload { is_settled: true, ..self }
    }

    /// Synced writes are slow: a row of them is a burst.
    const fn synced(self) -> Workload {
        Workload { is_synced: true, is_burst: true, ..self }
    }

    const fn burst(self) -> Workload {
        Workload { is_burst: true, ..self }
    }

    const fn cold(self) -> Workload {
        Workload { is_cold: true, ..self }
    }

    /// Why an engine of these abilities cannot do it.
    pub fn lacks(&self, abilities: &Abilities) -> Option<&'static str> {
        if self.is_synced && !abilities.sync {
            return Some("cannot sync a commit");
        }
        if self.base == Base::Keyspaces && !abilities.keyspaces {
            return Some("has one keyspace");
        }
        None
    }

    /// A row asks for no more work after this time.
    pub fn seconds(&self, plan: &Plan) -> f64 {
        let share = match self.ends {
            Ends::AtTime => READING_SHARE,
            Ends::AtWork if self.is_synced => SYNCED_SHARE,
            Ends::AtWork => 1.0,
        };
        plan.row_seconds * share
    }

    /// The plan's settings as this workload needs them.
    pub fn settings(&self, plan: &Plan) -> Settings {
        let mut settings = plan.settings.clone();
        let sizes = Sizes::of(plan);
        if self.is_cold {
            settings.cache_bytes = (sizes.volume_bytes / 4).max(1 << 20);
        }
        if self.data == Data::Large {
            settings.separated_from_bytes = Some(SEPARATED_FROM_BYTES);
        }
        if self.is_synced {
            settings.durability = Durability::Sync;
        }
        if let Run::Unopened(_) = self.run
            && self.base == Base::Empty
        {
            settings.write_buffer_bytes = recovery::write_buffer_bytes(plan);
        }
        if self.base == Base::Keyspaces {
            settings.keyspaces_count = open::KEYSPACES_COUNT;
        }
        settings
    }

    pub fn info(&self, plan: &Plan) -> WorkloadInfo {
        let is_fill = self.ends == Ends::AtWork && self.is_settled;
        WorkloadInfo {
            name: self.name.into(),
            what: self.what.into(),
            threads: self.threads,
            unit: self.unit.into(),
            is_synced: self.is_synced,
            is_burst: self.is_burst || (is_fill && !Sizes::of(plan).is_sustained(plan)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engines, plan};

    #[test]
    fn workloads_have_names_of_their_own() {
        let mut names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), WORKLOADS.len());
    }

    #[test]
    fn settings_follow_the_workload() {
        let plan = plan::full();
        let settings = |name: &str| find(name).unwrap().settings(&plan);

        assert_eq!(settings("readrandom"), plan.settings);
        assert!(settings("readrandom-cold").cache_bytes < plan.settings.cache_bytes);
        assert_eq!(settings("fillsync").durability, Durability::Sync);
        assert_eq!(settings("open-1000").keyspaces_count, 1000);
        assert!(settings("recovery").write_buffer_bytes > plan.settings.write_buffer_bytes);
    }

    #[test]
    fn what_an_engine_lacks_is_said() {
        let dir = std::env::temp_dir();
        let mut abilities =
            (engines::find("noop").unwrap().open)(&dir, &plan::full().settings).unwrap().abilities();
        assert_eq!(WORKLOADS.iter().find_map(|workload| workload.lacks(&abilities)), None);

        (abilities.sync, abilities.keyspaces) = (false, false);

        let lacking = WORKLOADS.iter().filter(|workload| workload.lacks(&abilities).is_some());
        let names: Vec<_> = lacking.map(|workload| workload.name).collect();
        assert_eq!(names, ["fillsync", "fillsync-8t", "open-1000"]);
    }
}
