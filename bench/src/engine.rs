//! What every engine of the comparison is asked to do, and the settings that all of them get.
//!
//! An adapter (`engines/`) says what its engine cannot do instead of pretending: [`Engine::abilities`] is
//! printed beside the figures.

use std::{error::Error, path::Path, time::Instant};

/// Any error of any engine.
pub type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Size of the pages or blocks on disk.
pub const BLOCK_BYTES: u32 = 4096;

/// Write buffers that may be full and wait for their flush, beside the one that is written to; then writers
/// wait.
pub const WAITING_BUFFERS_COUNT: u64 = 3;

/// Settings that mean the same to every engine. An adapter applies each or says in [`Engine::settings`] why
/// it cannot.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Bytes of memory for cached blocks or pages. Engines that map their file get no limit but the
    /// machine's.
    pub cache_bytes: u64,
    /// Bytes of one write buffer (memtable) of a keyspace.
    pub write_buffer_bytes: u64,
    /// Size of blocks of data, where it can be set.
    #[serde(default = "default_block_bytes")]
    pub block_bytes: u32,
    /// How data on disk is compressed, where the engine can.
    pub compression: Compression,
    /// Values of so many bytes and more lie outside of the tables, where the engine can. `None`: no value does.
    #[serde(default)]
    pub separated_from_bytes: Option<u32>,
    /// What has happened when a write returns.
    pub durability: Durability,
    /// Keyspaces (column families, databases, trees) that the work uses. Their names are
    /// `keyspace_name(0..n)`.
    pub keyspaces_count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Lz4,
    /// Level 3.
    Zstd,
}

/// Reports of before it could be chosen have none.
fn default_block_bytes() -> u32 {
    BLOCK_BYTES
}

/// What has happened when a write returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It is with the operating system, or the nearest thing that the engine has: see
    /// [`Abilities::buffered`].
    Buffered,
    /// It is on the medium.
    Sync,
}

/// Name of one of the keyspaces of [`Settings::keyspaces_count`].
pub fn keyspace_name(index: usize) -> String {
    format!("ks{index:04}")
}

/// What an engine does by itself, and what the bench must do for it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Abilities {
    /// What survives SIGKILL of writes that returned with [`Durability::Buffered`].
    pub buffered: Buffered,
    /// Whether [`Durability::Sync`] exists.
    pub sync: bool,
    /// Whether [`Settings::keyspaces_count`] may be more than 1.
    pub keyspaces: bool,
    /// Merge operators; else `merge` reads and writes.
    pub merge: bool,
    /// Range deletes; else `remove_range` scans and removes.
    pub range_delete: bool,
    /// Reads of many keys at once; else `multi_get` reads one by one.
    pub multi_get: bool,
    /// Whether compaction can be waited for; else `settle` looks for a second in which the process writes
    /// nothing.
    pub settle: bool,
}

/// What survives SIGKILL of a write that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Buffered {
    /// Everything: it is with the operating system.
    Survives,
    /// All but what the engine still holds in a buffer of its own.
    MayLose,
    /// Nothing since the last flush or sync: there is no log, or it is off.
    NoLog,
}

/// An open database. Shared by the threads of a workload.
///
/// `keyspace` is an index below [`Settings::keyspaces_count`]. Every read sees every write that returned
/// before it began.
pub trait Engine: Send + Sync {
    /// What the engine does by itself.
    fn abilities(&self) -> Abilities;

    /// Every setting in effect that is not the engine's default, or that bears on the figures: name and
    /// value.
    fn settings(&self) -> Vec<(&'static str, String)>;

    fn insert(&self, keyspace: usize, key: &[u8], value: &[u8]) -> Result<()>;

    /// All or none.
    fn insert_batch(&self, keyspace: usize, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<()>;

    fn remove(&self, keyspace: usize, key: &[u8]) -> Result<()>;

    /// Shows the value to `see`, without copying it where the engine can. Whether the key is there.
    fn get(&self, keyspace: usize, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Shows `see` every value found; how many.
    fn multi_get(&self, keyspace: usize, keys: &[Vec<u8>], see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let mut found = 0;
        for key in keys {
            found += usize::from(self.get(keyspace, key, see)?);
        }
        Ok(found)
    }

    /// Shows `see` at most `scan.limit` entries from `scan.from` on; how many. One iterator a call, made and
    /// dropped.
    fn scan(&self, keyspace: usize, scan: Scan<'_>, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<usize>;

    /// Shows `see` the keys, in order, at most `limit` of them; how many. Values are not read where the engine can do without.
    fn scan_keys(&self, keyspace: usize, limit: usize, see: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let scan = Scan { from: None, direction: Direction::Forward, limit };
        self.scan(keyspace, scan, &mut |key, _| see(key))
    }

    /// Adds the little-endian `operand` to the counter under `key` (absent: 0), as a merge operand where the
    /// engine has merge operators. The default reads and writes: right for one thread.
    fn merge(&self, keyspace: usize, key: &[u8], operand: u64) -> Result<()> {
        let mut sum = operand;
        self.get(keyspace, key, &mut |value| sum = sum.wrapping_add(counter(value)))?;
        self.insert(keyspace, key, &sum.to_le_bytes())
    }

    /// Removes all keys of `from..to`. The default scans and removes.
    fn remove_range(&self, keyspace: usize, from: &[u8], to: &[u8]) -> Result<()> {
        const STEP: usize = 1000;
        let mut from = from.to_vec();
        loop {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            let scan = Scan { from: Some(&from), direction: Direction::Forward, limit: STEP };
            self.scan(keyspace, scan, &mut |key, _| {
                if key < to {
                    keys.push(key.to_vec());
                }
            })?;
            for key in &keys {
                self.remove(keyspace, key)?;
            }
            match keys.pop() {
                Some(last) if keys.len() + 1 == STEP => from = last,
                _ => return Ok(()),
            }
        }
    }

    /// Begins a load of keys in ascending order that shows as a whole and is durable when it is finished. `None`: there is
    /// no such thing.
    fn bulk_load(&self, keyspace: usize) -> Result<Option<Box<dyn BulkLoad + '_>>> {
        let _ = keyspace;
        Ok(None)
    }

    /// Returns when what was written is in the shape that the engine wants: memtables flushed, compactions
    /// done, nothing left to do in the background.
    fn settle(&self) -> Result<Settled>;

    /// Closes in order; returns when nothing of the engine runs any more.
    fn close(self: Box<Self>) -> Result<()>;
}

/// A load under way. See [`Engine::bulk_load`].
pub trait BulkLoad {
    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    fn finish(self: Box<Self>) -> Result<()>;
}

/// What to read of an ordered keyspace.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// First key (forward: the least at or after it; reverse: the greatest at or before it); `None`: from the
    /// end of the keyspace at which the direction begins.
    pub from: Option<&'a [u8]>,
    pub direction: Direction,
    /// Most entries to show.
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Reverse,
}

/// A counter as [`Engine::merge`] stores it. Values of another size count as 0.
pub fn counter(value: &[u8]) -> u64 {
    value.try_into().map_or(0, u64::from_le_bytes)
}

/// Opens or creates the database of one engine in `dir`, which exists.
pub type Open = fn(dir: &Path, settings: &Settings) -> Result<Box<dyn Engine>>;

/// Nothing is left to do in the background, since this instant.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    pub at: Instant,
}

impl Settled {
    /// The engine says so.
    pub fn now() -> Settled {
        Settled { at: Instant::now() }
    }
}

/// For engines that cannot be asked: returns when this process has written nothing for a second, and says
/// since when; or after 5 s, since some write for ever.
#[cfg(any(feature = "fjall", feature = "sled", feature = "surrealkv"))]
pub fn wait_until_quiet() -> Result<Settled> {
    use std::time::Duration;
    const STEP: Duration = Duration::from_millis(20);
    const QUIET: Duration = Duration::from_secs(1);
    const LIMIT: Duration = Duration::from_secs(5);
    let began = Instant::now();
    let written = || -> Result<u64> { Ok(crate::process::Io::now()?.written_bytes) };
    let (mut last, mut quiet) = (written()?, Settled::now());
    while quiet.at.elapsed() < QUIET && began.elapsed() < LIMIT {
        std::thread::sleep(STEP);
        let now = written()?;
        if now != last {
            (last, quiet) = (now, Settled::now());
        }
    }
    Ok(quiet)
}
