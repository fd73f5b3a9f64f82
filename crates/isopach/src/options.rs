//! Options of keyspaces, of writes, and of the database.

use crate::error::{Error, ErrorKind, Result};
use isopach_engine::{
    codec::{Compression, TlvReader, TlvWriter},
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
        [Durability::Volatile, Durability::Buffered, Durability::Sync].into_iter().find(|d| d.to_raw() == raw)
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

    /// Sets [`WriteOptions::no_slowdown`].
    #[must_use]
    pub fn no_slowdown(self, no_slowdown: bool) -> WriteOptions {
        WriteOptions { no_slowdown, ..self }
    }
}

/// Options of an open database: what its [`Builder`](crate::Builder) set, else what is stored, else the
/// default.
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
    /// Of writes that say nothing else, in keyspaces that say nothing else. Default `Buffered`.
    pub durability: Durability,
    /// Syncs what is unsynced this often. Default `None`: never by itself.
    pub sync_every: Option<Duration>,
    /// Whether the log is mapped where its file system is safe for that, see
    /// [`Builder::mapped_log`](crate::Builder::mapped_log). Default yes.
    pub mapped_log: bool,
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
            durability: Durability::Buffered,
            sync_every: None,
            mapped_log: true,
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

/// What a builder set, or what is stored: an option that is `None` was never set.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct SetOptions {
    pub(crate) cache_bytes: Option<u64>,
    pub(crate) memory_budget: Option<u64>,
    pub(crate) write_buffer_bytes: Option<u64>,
    pub(crate) max_wal_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) max_open_files: Option<u64>,
    pub(crate) durability: Option<Durability>,
    pub(crate) sync_every: Option<Duration>,
    pub(crate) mapped_log: Option<bool>,
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
            max_open_files: self.max_open_files.or(stored.max_open_files),
            durability: self.durability.or(stored.durability),
            sync_every: self.sync_every.or(stored.sync_every),
            mapped_log: self.mapped_log.or(stored.mapped_log),
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
            durability: self.durability.unwrap_or(default.durability),
            sync_every: self.sync_every.filter(|time| !time.is_zero()),
            mapped_log: self.mapped_log.unwrap_or(default.mapped_log),
        })
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
        put(DURABILITY, self.durability.map(Durability::to_raw));
        put(SYNC_EVERY_US, self.sync_every.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)));
        put(MAPPED_LOG, self.mapped_log.map(u64::from));
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
                DURABILITY => set.durability = Durability::from_raw(value),
                SYNC_EVERY_US => set.sync_every = Some(Duration::from_micros(value)),
                MAPPED_LOG => set.mapped_log = Some(value != 0),
                _ => {}
            }
        }
        Ok(set)
    }
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
    /// How values in tables are compressed. Default: none in level 0, then LZ4 if that is
    /// compiled in.
    pub compression: PerLevel<Compression>,
    /// Size of data blocks, 4 KiB to 1 MiB. Default 16 KiB.
    pub block_bytes: PerLevel<u32>,
    /// Filters of tables. Default [`FilterPolicy::ByDepth`] with 7 bits per key.
    pub filters: PerLevel<FilterPolicy>,
    /// Size that tables are cut near, 64 KiB to 4 GiB. Default 64 MiB.
    pub table_bytes: u64,
    /// `None`: the database's.
    pub durability: Option<Durability>,
}

impl Default for KeyspaceOptions {
    fn default() -> KeyspaceOptions {
        KeyspaceOptions::from_parts(TreeOptions::default(), None)
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

    /// Sets [`KeyspaceOptions::table_bytes`].
    #[must_use]
    pub fn table_bytes(self, bytes: u64) -> KeyspaceOptions {
        KeyspaceOptions { table_bytes: bytes, ..self }
    }

    /// The engine's part.
    pub(crate) fn tree_options(&self) -> TreeOptions {
        let mut tree = TreeOptions::default();
        tree.compression = self.compression.clone();
        tree.block_bytes = self.block_bytes.clone();
        tree.filters = self.filters.clone();
        tree.table_bytes = self.table_bytes;
        tree
    }

    /// This layer's part, a note of the manifest.
    pub(crate) fn encode_note(&self) -> Vec<u8> {
        let mut fields = TlvWriter::new();
        if let Some(durability) = self.durability {
            fields.u64(DURABILITY, durability.to_raw());
        }
        fields.finish()
    }

    pub(crate) fn from_stored(tree: &TreeOptions, note: &[u8]) -> Result<KeyspaceOptions> {
        let fields = stored_fields(note)?;
        let durability = fields.iter().find(|(tag, _)| *tag == DURABILITY);
        Ok(KeyspaceOptions::from_parts(
            tree.clone(),
            durability.and_then(|(_, raw)| Durability::from_raw(*raw)),
        ))
    }

    pub(crate) fn from_parts(tree: TreeOptions, durability: Option<Durability>) -> KeyspaceOptions {
        KeyspaceOptions {
            compression: tree.compression,
            block_bytes: tree.block_bytes,
            filters: tree.filters,
            table_bytes: tree.table_bytes,
            durability,
        }
    }
}
