//! Options of keyspaces, of writes, and of the database.

use crate::error::{Error, ErrorKind, Result};
use isopach_engine::{
    codec::{Compression, Parity, TlvReader, TlvWriter},
    compaction::CompactionFilterFactory,
    merge_operator::MergeOperator,
    order::Comparator,
    prefix::PrefixExtractor,
    tree::{FilterPolicy, PerLevel, TreeOptions},
};
use std::time::Duration;

/// What has happened to a write when its call returns.
///
/// Precedence: the write's own option, else the keyspace's, else the database's. A batch over several
/// keyspaces takes the strongest of theirs.
///
/// What survives a power loss is one prefix of the commit order (`Volatile` writes excepted), at least up to
/// the last acknowledged `Sync` write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Durability {
    /// In memory, not in the log: a crash loses it unless it was flushed.
    Volatile,
    /// With the operating system: survives a crash of the process. See [`DbOptions::sync_every`].
    #[default]
    Buffered,
    /// On the medium, synced with its group: survives a power loss.
    Sync,
}

impl Durability {
    pub(crate) const fn to_raw(self) -> u64 {
        match self {
            Durability::Volatile => 1,
            Durability::Buffered => 2,
            Durability::Sync => 3,
        }
    }

    pub(crate) fn from_raw(raw: u64) -> Option<Durability> {
        match raw {
            1 => Some(Durability::Volatile),
            2 => Some(Durability::Buffered),
            3 => Some(Durability::Sync),
            _ => None,
        }
    }
}

/// Which versions of the past a keyspace keeps for [`Db::snapshot_at`](crate::Db::snapshot_at), beyond those that
/// snapshots see.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum KeepVersions {
    /// None: what no snapshot sees goes with the next flush or compaction of it.
    #[default]
    Needed,
    /// Those that were the newest at some time in this span before now, to the microsecond, and a few percent longer.
    /// [`Duration::ZERO`] is [`KeepVersions::Needed`], and more than 584,000 years are [`KeepVersions::All`].
    For(Duration),
    /// All: nothing is ever dropped.
    All,
}

impl KeepVersions {
    pub(crate) fn to_raw(self) -> u64 {
        match self {
            KeepVersions::Needed => 0,
            KeepVersions::For(time) => u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
            KeepVersions::All => u64::MAX,
        }
    }

    pub(crate) fn from_raw(raw: u64) -> KeepVersions {
        match raw {
            0 => KeepVersions::Needed,
            u64::MAX => KeepVersions::All,
            us => KeepVersions::For(Duration::from_micros(us)),
        }
    }
}

/// How much of a log that is not whole may be left out when a database is opened. Not stored: each opening
/// says it anew.
///
/// A log is read up to its first invalid record. Behind each record that was durable later ones say so, which
/// tells the end that a crash left from damage to bytes that were safe.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum LogRecovery {
    /// Nothing: a log that does not end exactly where its records end is `Corruption`, one with an end that a
    /// crash tore as well. A record of which no byte was written cannot be missed.
    Absolute,
    /// What was never promised to be durable: an invalid record ends the log where nothing behind it was
    /// known to be durable, as a crash leaves it, and is `Corruption` where something was.
    #[default]
    TornEnd,
    /// Everything from the first invalid record or missing segment on, **durable commits too**: for a
    /// database whose log is damaged and of which there is no copy.
    ///
    /// What is left is one prefix of the order of commits over all keyspaces, as after a crash, but maybe a
    /// shorter one than was promised; [`Recovery::discarded`](crate::Recovery::discarded) names what was
    /// lost. Where the tables of a keyspace hold commits from behind the damage that other keyspaces may
    /// lack, nothing that is left is a prefix: that is refused as `Corruption`. Files of another database, or
    /// of another history of this one, and a log that is newer than its manifest are refused too.
    PointInTime,
}

/// Options of one write. Unset ones come from the keyspace, then from the database.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WriteOptions {
    /// What has happened when the call returns.
    pub durability: Option<Durability>,
    /// How long the puts of the write live that say nothing themselves: they are not read after that.
    pub ttl: Option<Duration>,
    /// Fail with `Stalled` rather than be slowed by what the background owes, or wait for memory.
    pub no_slowdown: bool,
}

impl WriteOptions {
    /// Nothing set.
    pub fn new() -> WriteOptions {
        WriteOptions::default()
    }

    /// Sets [`WriteOptions::durability`].
    #[must_use]
    pub fn durability(self, durability: Durability) -> WriteOptions {
        WriteOptions { durability: Some(durability), ..self }
    }

    /// Sets [`WriteOptions::ttl`].
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> WriteOptions {
        WriteOptions { ttl: Some(ttl), ..self }
    }

    /// Sets [`WriteOptions::no_slowdown`].
    #[must_use]
    pub fn no_slowdown(self, no_slowdown: bool) -> WriteOptions {
        WriteOptions { no_slowdown, ..self }
    }
}

/// Options of an open database: what its [`Builder`](crate::Builder) or [`Db::set_options`](crate::Db::set_options) set,
/// else what is stored, else the default.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DbOptions {
    /// Blocks kept in memory, and indexes and filters of open tables. Default 64 MiB.
    pub cache_bytes: u64,
    /// Cache, memtables, filters and table handles together. Default 256 MiB, least 128 KiB.
    pub memory_budget: u64,
    /// Size at which a memtable is sealed. Default 64 MiB, least 16 KiB.
    pub write_buffer_bytes: u64,
    /// Beyond it the keyspaces that hold the oldest log segments are flushed. Default 512 MiB, least 1 MiB.
    pub max_wal_bytes: u64,
    /// Background threads. Default: cores, 2 to 8.
    pub threads: usize,
    /// Tables open at a time. Default 512.
    pub max_open_files: usize,
    /// Bytes that the filters of all tables may take together. Default `None`: as many as policies ask for.
    pub filter_budget_bytes: Option<u64>,
    /// Of writes that say nothing else, in keyspaces that say nothing else. Default `Buffered`.
    pub durability: Durability,
    /// Syncs what is unsynced this often. Default `None`: never by itself.
    pub sync_every: Option<Duration>,
    /// Whether the log is mapped where its file system is safe for that, see
    /// [`Builder::mapped_log`](crate::Builder::mapped_log). Default yes.
    pub mapped_log: bool,
    /// Whether tables and files of separated values that parity had to correct, because their medium is damaged, are written
    /// anew in the background. Default yes.
    pub auto_heal: bool,
    /// The background reads every file from the medium once in this time, and has those written anew that parity had to
    /// correct: a pass over the files begins this long after the one before began, or when that ends. How far it came
    /// outlives a restart. Default `None`: only [`Db::scrub`](crate::Db::scrub) does that.
    pub scrub_every: Option<Duration>,
    /// Bytes that the background reads per second for that, on average; 0: as fast as it goes. Default 16 MiB.
    pub scrub_bytes_per_s: u64,
}

impl Default for DbOptions {
    fn default() -> DbOptions {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        DbOptions {
            cache_bytes: 64 << 20,
            memory_budget: 256 << 20,
            write_buffer_bytes: 64 << 20,
            max_wal_bytes: 512 << 20,
            threads: cores.clamp(2, 8),
            max_open_files: 512,
            filter_budget_bytes: None,
            durability: Durability::Buffered,
            sync_every: None,
            mapped_log: true,
            auto_heal: true,
            scrub_every: None,
            scrub_bytes_per_s: 16 << 20,
        }
    }
}

const CACHE_BYTES: u8 = 0x81;
const MEMORY_BUDGET: u8 = 0x82;
const WRITE_BUFFER_BYTES: u8 = 0x83;
const MAX_WAL_BYTES: u8 = 0x84;
const THREADS: u8 = 0x85;
const MAX_OPEN_FILES: u8 = 0x86;
const DURABILITY: u8 = 0x87;
const SYNC_EVERY_US: u8 = 0x88;
const MAPPED_LOG: u8 = 0x89;
const FILTER_BUDGET_BYTES: u8 = 0x8a;
const AUTO_HEAL: u8 = 0x8b;
const SCRUB_EVERY_US: u8 = 0x8c;
const SCRUB_BYTES_PER_S: u8 = 0x8d;
/// Of a keyspace.
const KEEP_VERSIONS_US: u8 = 0x90;
const TTL_US: u8 = 0x92;

/// What a builder set, or what is stored: an option that is `None` was never set.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct SetOptions {
    pub(crate) cache_bytes: Option<u64>,
    pub(crate) memory_budget: Option<u64>,
    pub(crate) write_buffer_bytes: Option<u64>,
    pub(crate) max_wal_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) max_open_files: Option<u64>,
    /// `u64::MAX`: none.
    pub(crate) filter_budget_bytes: Option<u64>,
    pub(crate) durability: Option<Durability>,
    pub(crate) sync_every: Option<Duration>,
    pub(crate) mapped_log: Option<bool>,
    pub(crate) auto_heal: Option<bool>,
    pub(crate) scrub_every: Option<Duration>,
    pub(crate) scrub_bytes_per_s: Option<u64>,
}

impl SetOptions {
    /// What is set here wins over what is set in `stored`.
    #[must_use]
    pub(crate) fn over(self, stored: SetOptions) -> SetOptions {
        SetOptions {
            cache_bytes: self.cache_bytes.or(stored.cache_bytes),
            memory_budget: self.memory_budget.or(stored.memory_budget),
            write_buffer_bytes: self.write_buffer_bytes.or(stored.write_buffer_bytes),
            max_wal_bytes: self.max_wal_bytes.or(stored.max_wal_bytes),
            threads: self.threads.or(stored.threads),
            filter_budget_bytes: self.filter_budget_bytes.or(stored.filter_budget_bytes),
            max_open_files: self.max_open_files.or(stored.max_open_files),
            durability: self.durability.or(stored.durability),
            sync_every: self.sync_every.or(stored.sync_every),
            mapped_log: self.mapped_log.or(stored.mapped_log),
            auto_heal: self.auto_heal.or(stored.auto_heal),
            scrub_every: self.scrub_every.or(stored.scrub_every),
            scrub_bytes_per_s: self.scrub_bytes_per_s.or(stored.scrub_bytes_per_s),
        }
    }

    /// The options in force. Cache and budget make room for each other where only one of them is set.
    ///
    /// # Errors
    ///
    /// As [`SetOptions::validate`].
    pub(crate) fn resolve(&self) -> Result<DbOptions> {
        self.validate()?;
        let default = DbOptions::default();
        let count = |set: Option<u64>, default: usize| {
            set.map_or(default, |count| usize::try_from(count).unwrap_or(usize::MAX))
        };
        let cache_beside = |budget: u64| default.cache_bytes.min(budget / 4);
        let budget_around =
            |cache: u64| default.memory_budget.max(cache.saturating_add(3 * default.cache_bytes));
        let (cache_bytes, memory_budget) = match (self.cache_bytes, self.memory_budget) {
            (Some(cache), Some(budget)) => (cache, budget),
            (Some(cache), None) => (cache, budget_around(cache)),
            (None, Some(budget)) => (cache_beside(budget), budget),
            (None, None) => (default.cache_bytes, default.memory_budget),
        };
        Ok(DbOptions {
            cache_bytes,
            memory_budget,
            write_buffer_bytes: self.write_buffer_bytes.unwrap_or(default.write_buffer_bytes),
            max_wal_bytes: self.max_wal_bytes.unwrap_or(default.max_wal_bytes),
            threads: count(self.threads, default.threads),
            max_open_files: count(self.max_open_files, default.max_open_files),
            filter_budget_bytes: self.filter_budget_bytes.filter(|&bytes| bytes != u64::MAX),
            durability: self.durability.unwrap_or(default.durability),
            sync_every: self.sync_every.filter(|time| !time.is_zero()),
            mapped_log: self.mapped_log.unwrap_or(default.mapped_log),
            auto_heal: self.auto_heal.unwrap_or(default.auto_heal),
            scrub_every: self.scrub_every.filter(|time| !time.is_zero()),
            scrub_bytes_per_s: self.scrub_bytes_per_s.unwrap_or(default.scrub_bytes_per_s),
        })
    }

    /// What is to be stored when the options in force, which these brought, become those that are `wanted`; and
    /// these, as they are read back.
    ///
    /// # Errors
    ///
    /// As [`SetOptions::validate`]; `InvalidArgument` naming an option that cannot change while the database is open.
    pub(crate) fn changed(self, present: &DbOptions, wanted: &DbOptions) -> Result<(SetOptions, DbOptions)> {
        let is_fixed = |name: &str, is_same: bool| match is_same {
            true => Ok(()),
            false => {
                let message =
                    format!("{name} cannot change while the database is open: open it with another one");
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
        };
        is_fixed("threads", wanted.threads == present.threads)?;
        is_fixed("mapped_log", wanted.mapped_log == present.mapped_log)?;
        let every = SetOptions {
            cache_bytes: Some(wanted.cache_bytes),
            memory_budget: Some(wanted.memory_budget),
            write_buffer_bytes: Some(wanted.write_buffer_bytes),
            max_wal_bytes: Some(wanted.max_wal_bytes),
            max_open_files: Some(wanted.max_open_files as u64),
            filter_budget_bytes: Some(wanted.filter_budget_bytes.unwrap_or(u64::MAX)),
            durability: Some(wanted.durability),
            sync_every: Some(wanted.sync_every.unwrap_or(Duration::ZERO)),
            auto_heal: Some(wanted.auto_heal),
            scrub_every: Some(wanted.scrub_every.unwrap_or(Duration::ZERO)),
            scrub_bytes_per_s: Some(wanted.scrub_bytes_per_s),
            // Those that stay count as they are stored, if they are.
            threads: self.threads,
            mapped_log: self.mapped_log,
        };
        let mut options = every.resolve()?;
        (options.threads, options.mapped_log) = (present.threads, present.mapped_log);
        // What stays is stored only if it was: a database that moves takes the defaults of its place. Cache and budget
        // make room for each other where only one is set, so they go together.
        let is_memory_same =
            (wanted.cache_bytes, wanted.memory_budget) == (present.cache_bytes, present.memory_budget);
        let is_buffer_same = wanted.write_buffer_bytes == present.write_buffer_bytes;
        let is_log_same = wanted.max_wal_bytes == present.max_wal_bytes;
        let are_files_same = wanted.max_open_files == present.max_open_files;
        let are_filters_same = wanted.filter_budget_bytes == present.filter_budget_bytes;
        let is_durability_same = wanted.durability == present.durability;
        let is_sync_same = wanted.sync_every == present.sync_every;
        let is_healing_same = wanted.auto_heal == present.auto_heal;
        let is_scrub_same = wanted.scrub_every == present.scrub_every;
        let is_scrub_pace_same = wanted.scrub_bytes_per_s == present.scrub_bytes_per_s;
        let set = SetOptions {
            cache_bytes: stored_or(is_memory_same, self.cache_bytes, every.cache_bytes),
            memory_budget: stored_or(is_memory_same, self.memory_budget, every.memory_budget),
            write_buffer_bytes: stored_or(is_buffer_same, self.write_buffer_bytes, every.write_buffer_bytes),
            max_wal_bytes: stored_or(is_log_same, self.max_wal_bytes, every.max_wal_bytes),
            max_open_files: stored_or(are_files_same, self.max_open_files, every.max_open_files),
            filter_budget_bytes: stored_or(
                are_filters_same,
                self.filter_budget_bytes,
                every.filter_budget_bytes,
            ),
            durability: stored_or(is_durability_same, self.durability, every.durability),
            sync_every: stored_or(is_sync_same, self.sync_every, every.sync_every),
            auto_heal: stored_or(is_healing_same, self.auto_heal, every.auto_heal),
            scrub_every: stored_or(is_scrub_same, self.scrub_every, every.scrub_every),
            scrub_bytes_per_s: stored_or(is_scrub_pace_same, self.scrub_bytes_per_s, every.scrub_bytes_per_s),
            ..every
        };
        Ok((set, options))
    }

    /// Checks what is set.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` naming the option that is out of bounds.
    pub(crate) fn validate(&self) -> Result<()> {
        let check = |name: &str, set: Option<u64>, least: u64, most: u64| match set {
            Some(value) if value < least || value > most => {
                let bound =
                    if value < least { format!("less than {least}") } else { format!("more than {most}") };
                Err(Error::new(ErrorKind::InvalidArgument, format!("{name} is {value}, {bound}")))
            }
            _ => Ok(()),
        };
        check("cache_bytes", self.cache_bytes, 0, 1 << 60)?; // So that a budget around it can be expressed.
        check("memory_budget", self.memory_budget, 128 << 10, u64::MAX)?;
        check("write_buffer_bytes", self.write_buffer_bytes, 16 << 10, u64::MAX)?;
        check("max_wal_bytes", self.max_wal_bytes, 1 << 20, 1 << 50)?;
        check("threads", self.threads, 1, 256)?;
        check("max_open_files", self.max_open_files, 16, u64::MAX)?;
        match (self.cache_bytes, self.memory_budget) {
            (Some(cache), Some(budget)) if budget < cache.saturating_add(64 << 10) => {
                let message =
                    format!("memory_budget ({budget}) leaves less than 64 KiB beside cache_bytes ({cache})");
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut fields = TlvWriter::new();
        let mut put = |tag, value: Option<u64>| {
            if let Some(value) = value {
                fields.u64(tag, value);
            }
        };
        put(CACHE_BYTES, self.cache_bytes);
        put(MEMORY_BUDGET, self.memory_budget);
        put(WRITE_BUFFER_BYTES, self.write_buffer_bytes);
        put(MAX_WAL_BYTES, self.max_wal_bytes);
        put(THREADS, self.threads);
        put(MAX_OPEN_FILES, self.max_open_files);
        put(FILTER_BUDGET_BYTES, self.filter_budget_bytes);
        put(DURABILITY, self.durability.map(Durability::to_raw));
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        put(SYNC_EVERY_US, self.sync_every.map(us));
        put(MAPPED_LOG, self.mapped_log.map(u64::from));
        put(AUTO_HEAL, self.auto_heal.map(u64::from));
        put(SCRUB_EVERY_US, self.scrub_every.map(us));
        put(SCRUB_BYTES_PER_S, self.scrub_bytes_per_s);
        fields.finish()
    }

    /// Unknown options of a later version are left alone.
    pub(crate) fn decode(bytes: &[u8]) -> Result<SetOptions> {
        let mut set = SetOptions::default();
        for (tag, value) in stored_fields(bytes)? {
            match tag {
                CACHE_BYTES => set.cache_bytes = Some(value),
                MEMORY_BUDGET => set.memory_budget = Some(value),
                WRITE_BUFFER_BYTES => set.write_buffer_bytes = Some(value),
                MAX_WAL_BYTES => set.max_wal_bytes = Some(value),
                THREADS => set.threads = Some(value),
                MAX_OPEN_FILES => set.max_open_files = Some(value),
                FILTER_BUDGET_BYTES => set.filter_budget_bytes = Some(value),
                DURABILITY => set.durability = Durability::from_raw(value),
                SYNC_EVERY_US => set.sync_every = Some(Duration::from_micros(value)),
                MAPPED_LOG => set.mapped_log = Some(value != 0),
                AUTO_HEAL => set.auto_heal = Some(value != 0),
                SCRUB_EVERY_US => set.scrub_every = Some(Duration::from_micros(value)),
                SCRUB_BYTES_PER_S => set.scrub_bytes_per_s = Some(value),
                _ => {}
            }
        }
        Ok(set)
    }
}

/// What is stored of an option that stays; of one that changes what is wanted.
fn stored_or<T>(is_same: bool, stored: Option<T>, wanted: Option<T>) -> Option<T> {
    if is_same { stored } else { wanted }
}

fn stored_fields(bytes: &[u8]) -> Result<Vec<(u8, u64)>> {
    let corrupt = |why| {
        Error::new(ErrorKind::Corruption, format!("stored options of the database cannot be read: {why}"))
    };
    let mut fields = TlvReader::new(bytes);
    let mut numbers = Vec::new();
    while let Some((tag, value)) = fields.next_field().map_err(corrupt)? {
        numbers.push((tag, TlvReader::as_u64(value).map_err(corrupt)?));
    }
    Ok(numbers)
}

/// Options of a keyspace. Stored with it: opening it by name alone brings them back, and
/// [`Keyspace::set_options`](crate::Keyspace::set_options) changes them.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct KeyspaceOptions {
    /// Name of the [`Comparator`] that says how the keys are ordered. Of a new keyspace only: it never changes. Default
    /// `isopach.bytes`, the order of bytes, which is by far the fastest.
    ///
    /// Built-in ones are always known, others if they were registered with
    /// [`Builder::comparator`](crate::Builder::comparator). In an order that is not that of bytes there are no prefixes: calls
    /// that name one, and [`KeyspaceOptions::prefix_extractor`], are `InvalidArgument`.
    pub comparator: String,
    /// How values in tables are compressed. Default: none in level 0, then LZ4 if that is
    /// compiled in.
    pub compression: PerLevel<Compression>,
    /// Size of data blocks, 4 KiB to 1 MiB. Default 16 KiB.
    pub block_bytes: PerLevel<u32>,
    /// Filters of tables. Default [`FilterPolicy::ByDepth`] with 7 bits per key.
    pub filters: PerLevel<FilterPolicy>,
    /// Size of the parts that filters and long indexes are read and kept in, 1 KiB to 16 MiB. Default 64 KiB.
    pub partition_bytes: PerLevel<u32>,
    /// Size that tables are cut near, 64 KiB to 4 GiB. Default 64 MiB.
    pub table_bytes: u64,
    /// Name of the [`PrefixExtractor`] of the keyspace. Tables that have filters then have one of the prefixes of their
    /// keys too, and scans inside one prefix pass over those that have none of their keys. Default: none.
    ///
    /// Built-in ones are always known, others if they were registered with
    /// [`Builder::prefix_extractor`](crate::Builder::prefix_extractor). It may change: older tables are then read
    /// without their prefix filters until they are compacted.
    pub prefix_extractor: Option<String>,
    /// Name of the [`MergeOperator`] that operands of the keyspace are for. Once set it stays. Default: none, and there are
    /// no operands.
    ///
    /// Built-in ones are always known, others if they were registered with
    /// [`Builder::merge_operator`](crate::Builder::merge_operator).
    pub merge_operator: Option<String>,
    /// Name of the [`CompactionFilterFactory`] whose filters decide about values while they are rewritten, registered with
    /// [`Builder::compaction_filter`](crate::Builder::compaction_filter). May change. Default: none.
    pub compaction_filter: Option<String>,
    /// Whether each entry gets a checksum of its own, of 4 bytes, when a write is applied, which goes with it from the
    /// memtable through all tables. What changes it in memory meanwhile is an error of kind `Corruption` of flushes,
    /// compactions, checks and point reads, which names its key; scans do not look. Default no.
    ///
    /// Changed while in use, it holds for memtables and tables from the next on.
    pub entry_checksums: bool,
    /// Size of a dictionary that compactions train for levels whose compression is [`Compression::Zstd`], 1 KiB to 1 MiB; 0:
    /// they train none. Default 0.
    ///
    /// A dictionary holds what values have in common, and is kept only if it makes them a twentieth smaller. Worth trying
    /// where values are short and alike, such as records in JSON; 16 KiB are a good size then. Off unless asked for:
    /// other values gain nothing by it, and tables cannot be read without the dictionary's file any more.
    pub dictionary_bytes: u32,
    /// Values of at least so many bytes are separated when a table is written: they lie in files of their own, and
    /// compactions of their keys leave them there. 64 or more; `None`: all stay in tables. Default none.
    ///
    /// Worth it from some KiB on: such values are written once, not again on every level. Reading one takes another read of a
    /// file, past the block cache. Changed while in use, it holds for tables from the next on.
    pub blobs_from_bytes: Option<u32>,
    /// Size that files of separated values are cut near, 64 KiB to 4 GiB. Default 64 MiB.
    pub blob_file_bytes: u64,
    /// Of all separated bytes so many percent may be those of values that were deleted or overwritten; beyond that, the
    /// background takes the living ones out of the files of which most are not. 1 to 100; 100: never. Default 25.
    pub blob_garbage_percent: u8,
    /// What restores tables that their medium damages, for a part of their size more. Default: none.
    ///
    /// Reads without damage cost nothing more. Changed while in use, it holds for tables from the next on.
    pub parity: PerLevel<Parity>,
    /// The same of files of separated values. Default: none.
    pub blob_parity: Parity,
    /// Which versions of the past are kept for [`Db::snapshot_at`](crate::Db::snapshot_at). Default
    /// [`KeepVersions::Needed`].
    pub keep_versions: KeepVersions,
    /// How long puts live whose writes say nothing else. Counted from the write, by the clock of the database: an expired put
    /// is as a delete at its place to every view that is taken after. Changed, it holds for later writes. Default: for good.
    pub ttl: Option<Duration>,
    /// `None`: the database's.
    pub durability: Option<Durability>,
}

impl Default for KeyspaceOptions {
    fn default() -> KeyspaceOptions {
        KeyspaceOptions::of_tree(TreeOptions::default())
    }
}

impl KeyspaceOptions {
    /// The defaults, good for mixed use.
    pub fn new() -> KeyspaceOptions {
        KeyspaceOptions::default()
    }

    /// Sets [`KeyspaceOptions::durability`].
    #[must_use]
    pub fn durability(self, durability: Durability) -> KeyspaceOptions {
        KeyspaceOptions { durability: Some(durability), ..self }
    }

    /// Sets [`KeyspaceOptions::ttl`].
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> KeyspaceOptions {
        KeyspaceOptions { ttl: Some(ttl), ..self }
    }

    /// Sets [`KeyspaceOptions::keep_versions`].
    #[must_use]
    pub fn keep_versions(self, keep_versions: KeepVersions) -> KeyspaceOptions {
        KeyspaceOptions { keep_versions, ..self }
    }

    /// Sets [`KeyspaceOptions::compression`].
    #[must_use]
    pub fn compression(self, compression: impl Into<PerLevel<Compression>>) -> KeyspaceOptions {
        KeyspaceOptions { compression: compression.into(), ..self }
    }

    /// Sets [`KeyspaceOptions::block_bytes`].
    #[must_use]
    pub fn block_bytes(self, bytes: impl Into<PerLevel<u32>>) -> KeyspaceOptions {
        KeyspaceOptions { block_bytes: bytes.into(), ..self }
    }

    /// Sets [`KeyspaceOptions::filters`].
    #[must_use]
    pub fn filters(self, policy: impl Into<PerLevel<FilterPolicy>>) -> KeyspaceOptions {
        KeyspaceOptions { filters: policy.into(), ..self }
    }

    /// Sets [`KeyspaceOptions::partition_bytes`].
    #[must_use]
    pub fn partition_bytes(self, bytes: impl Into<PerLevel<u32>>) -> KeyspaceOptions {
        KeyspaceOptions { partition_bytes: bytes.into(), ..self }
    }

    /// Sets [`KeyspaceOptions::table_bytes`].
    #[must_use]
    pub fn table_bytes(self, bytes: u64) -> KeyspaceOptions {
        KeyspaceOptions { table_bytes: bytes, ..self }
    }

    /// Sets [`KeyspaceOptions::comparator`] to the name of this one.
    ///
    /// ```
    /// use isopach::{KeyspaceOptions, ReverseByteOrder};
    ///
    /// # fn main() -> isopach::Result<()> {
    /// let db = isopach::Db::in_memory()?;
    /// let newest_first = db.keyspace_with("news", KeyspaceOptions::new().comparator(&ReverseByteOrder))?;
    /// newest_first.insert("2024-05-01", "spring")?;
    /// newest_first.insert("2024-11-29", "winter")?;
    ///
    /// assert_eq!(newest_first.first()?.map(|(_, value)| value).as_deref(), Some(&b"winter"[..]));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn comparator(self, comparator: &impl Comparator) -> KeyspaceOptions {
        KeyspaceOptions { comparator: comparator.name().into(), ..self }
    }

    /// Sets [`KeyspaceOptions::prefix_extractor`] to the name of this one.
    ///
    /// ```
    /// use isopach::{DelimitedPrefix, KeyspaceOptions};
    ///
    /// # fn main() -> isopach::Result<()> {
    /// let db = isopach::Db::in_memory()?;
    /// let options = KeyspaceOptions::new().prefix_extractor(&DelimitedPrefix::new(b':'));
    /// let users = db.keyspace_with("users", options)?;
    /// users.insert("user:1:mail", "ada@example.org")?;
    /// users.insert("user:9:mail", "grace@example.org")?;
    /// db.flush()?;
    ///
    /// assert!(users.contains_prefix("user:9:")?);
    /// assert!(!users.contains_prefix("user:4:")?, "says the filter, and no block of the table is read");
    /// assert_eq!(users.stats().tree.prefix_skips, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn prefix_extractor(self, extractor: &impl PrefixExtractor) -> KeyspaceOptions {
        KeyspaceOptions { prefix_extractor: Some(extractor.name().into()), ..self }
    }

    /// Sets [`KeyspaceOptions::merge_operator`] to the name of this one.
    ///
    /// ```
    /// use isopach::{KeyspaceOptions, merge::AddU64};
    ///
    /// # fn main() -> isopach::Result<()> {
    /// let db = isopach::Db::in_memory()?;
    /// let visits = db.keyspace_with("visits", KeyspaceOptions::new().merge_operator(&AddU64))?;
    /// visits.merge("/about", 1_u64.to_le_bytes())?;
    /// visits.merge("/about", 2_u64.to_le_bytes())?;
    ///
    /// assert_eq!(visits.get("/about")?.as_deref(), Some(&3_u64.to_le_bytes()[..]));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn merge_operator(self, operator: &impl MergeOperator) -> KeyspaceOptions {
        KeyspaceOptions { merge_operator: Some(operator.name().into()), ..self }
    }

    /// Sets [`KeyspaceOptions::compaction_filter`] to the name of this one.
    #[must_use]
    pub fn compaction_filter(self, factory: &impl CompactionFilterFactory) -> KeyspaceOptions {
        KeyspaceOptions { compaction_filter: Some(factory.name().into()), ..self }
    }

    /// Sets [`KeyspaceOptions::entry_checksums`].
    #[must_use]
    pub fn entry_checksums(self, entry_checksums: bool) -> KeyspaceOptions {
        KeyspaceOptions { entry_checksums, ..self }
    }

    /// Sets [`KeyspaceOptions::dictionary_bytes`].
    #[must_use]
    pub fn dictionary_bytes(self, bytes: u32) -> KeyspaceOptions {
        KeyspaceOptions { dictionary_bytes: bytes, ..self }
    }

    /// Sets [`KeyspaceOptions::blobs_from_bytes`].
    ///
    /// ```
    /// use isopach::KeyspaceOptions;
    ///
    /// # fn main() -> isopach::Result<()> {
    /// let db = isopach::Db::in_memory()?;
    /// let images = db.keyspace_with("images", KeyspaceOptions::new().blobs_from_bytes(4 << 10))?;
    /// images.insert("logo", vec![0x89; 100_000])?;
    /// db.flush()?;
    ///
    /// assert_eq!(images.get("logo")?.map(|image| image.len()), Some(100_000));
    /// assert_eq!(images.stats().tree.blobs.live_records, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn blobs_from_bytes(self, bytes: u32) -> KeyspaceOptions {
        KeyspaceOptions { blobs_from_bytes: Some(bytes), ..self }
    }

    /// Sets [`KeyspaceOptions::blob_file_bytes`].
    #[must_use]
    pub fn blob_file_bytes(self, bytes: u64) -> KeyspaceOptions {
        KeyspaceOptions { blob_file_bytes: bytes, ..self }
    }

    /// Sets [`KeyspaceOptions::blob_garbage_percent`].
    #[must_use]
    pub fn blob_garbage_percent(self, percent: u8) -> KeyspaceOptions {
        KeyspaceOptions { blob_garbage_percent: percent, ..self }
    }

    /// Sets [`KeyspaceOptions::parity`].
    ///
    /// ```
    /// use isopach::{KeyspaceOptions, Parity};
    ///
    /// # fn main() -> isopach::Result<()> {
    /// let db = isopach::Db::in_memory()?;
    /// let options = KeyspaceOptions::new().parity(Parity::Xor { data: 16 });
    /// let archive = db.keyspace_with("archive", options)?;
    /// archive.insert("1969-07-20", "the Eagle has landed")?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn parity(self, parity: impl Into<PerLevel<Parity>>) -> KeyspaceOptions {
        KeyspaceOptions { parity: parity.into(), ..self }
    }

    /// Sets [`KeyspaceOptions::blob_parity`].
    #[must_use]
    pub fn blob_parity(self, parity: Parity) -> KeyspaceOptions {
        KeyspaceOptions { blob_parity: parity, ..self }
    }

    /// The options of the keyspace's tree, which its tables say they were made with: all but `durability`.
    pub fn tree_options(&self) -> TreeOptions {
        let mut tree = TreeOptions::default();
        tree.comparator = self.comparator.clone();
        tree.compression = self.compression.clone();
        tree.block_bytes = self.block_bytes.clone();
        tree.filters = self.filters.clone();
        tree.partition_bytes = self.partition_bytes.clone();
        tree.table_bytes = self.table_bytes;
        tree.prefix_extractor = self.prefix_extractor.clone();
        tree.merge_operator = self.merge_operator.clone();
        tree.compaction_filter = self.compaction_filter.clone();
        tree.entry_checksums = self.entry_checksums;
        tree.dictionary_bytes = self.dictionary_bytes;
        tree.blobs_from_bytes = self.blobs_from_bytes;
        tree.blob_file_bytes = self.blob_file_bytes;
        tree.blob_garbage_percent = self.blob_garbage_percent;
        tree.parity = self.parity.clone();
        tree.blob_parity = self.blob_parity;
        tree
    }

    /// This layer's part, a note of the manifest.
    pub(crate) fn encode_note(&self) -> Vec<u8> {
        let mut fields = TlvWriter::new();
        if let Some(durability) = self.durability {
            fields.u64(DURABILITY, durability.to_raw());
        }
        if self.keep_versions != KeepVersions::Needed {
            fields.u64(KEEP_VERSIONS_US, self.keep_versions.to_raw());
        }
        if let Some(ttl) = self.ttl {
            fields.u64(TTL_US, u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX));
        }
        fields.finish()
    }

    pub(crate) fn from_stored(tree: &TreeOptions, note: &[u8]) -> Result<KeyspaceOptions> {
        let mut options = KeyspaceOptions::of_tree(tree.clone());
        for (tag, value) in stored_fields(note)? {
            match tag {
                DURABILITY => options.durability = Durability::from_raw(value),
                KEEP_VERSIONS_US => options.keep_versions = KeepVersions::from_raw(value),
                TTL_US => options.ttl = Some(Duration::from_micros(value)),
                _ => {}
            }
        }
        Ok(options)
    }

    /// The engine's part, and of this layer's the default.
    pub(crate) fn of_tree(tree: TreeOptions) -> KeyspaceOptions {
        KeyspaceOptions {
            comparator: tree.comparator,
            compression: tree.compression,
            block_bytes: tree.block_bytes,
            filters: tree.filters,
            partition_bytes: tree.partition_bytes,
            table_bytes: tree.table_bytes,
            prefix_extractor: tree.prefix_extractor,
            merge_operator: tree.merge_operator,
            compaction_filter: tree.compaction_filter,
            entry_checksums: tree.entry_checksums,
            dictionary_bytes: tree.dictionary_bytes,
            blobs_from_bytes: tree.blobs_from_bytes,
            blob_file_bytes: tree.blob_file_bytes,
            blob_garbage_percent: tree.blob_garbage_percent,
            parity: tree.parity,
            blob_parity: tree.blob_parity,
            keep_versions: KeepVersions::Needed,
            ttl: None,
            durability: None,
        }
    }
}
