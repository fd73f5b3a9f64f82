//! The one module that opens databases and turns their state into plain facts.
//!
//! Two doors: [`read`] for commands that look, which writes nothing, and [`write()`] for those that change.
//! What commands show of a database comes from here as strings and numbers, so that a change of the
//! database's types ends here.

use crate::{
    args::{Durability, LogRecovery, ReadingArgs, ScrubArgs},
    exit::{self, Doing, Failure},
    keys::with_keys,
    text,
};
use isopach::{
    Compression, CopiesIn, Db, ErrorKind, EventListener, FilterPolicy, KeepVersions, KeyId, KeyUse, Keyspace,
    KeyspaceAt, KeyspaceOptions, Level, LevelStats, Parity, PerLevel, Progress, ReadDb, RepairOptions,
    RepairReport, RouteInfo, ScrubOptions, VerifyDepth, VerifyOptions, VerifyReport, WriteOptions,
    engine::{codec::FORMAT_VERSION, tree::TreeOptions},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{ControlFlow, RangeFull},
    path::Path,
};

/// Whether a missing database is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    /// Made anew.
    Create,
    /// An error.
    Refuse,
}

/// Opens a database for reading. Writes nothing.
pub(crate) fn read(path: &Path) -> Result<ReadDb, Failure> {
    read_with(path, LogRecovery::TornEnd)
}

/// As [`read`], with what may be left out of a log that is not whole.
pub(crate) fn read_with(path: &Path, mode: LogRecovery) -> Result<ReadDb, Failure> {
    let builder = with_keys(Db::builder(path)).create_if_missing(false).log_recovery(log_recovery(mode));
    builder.open_read_only().doing(&opening(path))
}

/// Opens a keyspace of a database that is open for reading.
pub(crate) fn keyspace_to_read(db: &ReadDb, name: &str) -> Result<KeyspaceAt, Failure> {
    db.keyspace(name).doing(&format!("open keyspace {name}"))
}

/// Opens a database for reading and writing.
pub(crate) fn write(path: &Path, missing: Missing) -> Result<Db, Failure> {
    write_with(path, missing, LogRecovery::TornEnd)
}

/// As [`write()`], with what may be left out of a log that is not whole.
pub(crate) fn write_with(path: &Path, missing: Missing, mode: LogRecovery) -> Result<Db, Failure> {
    let builder = with_keys(Db::builder(path)).create_if_missing(missing == Missing::Create);
    builder.log_recovery(log_recovery(mode)).open().doing(&opening(path))
}

/// As [`write()`], making a missing one, with memtables of `write_buffer_bytes`: small ones make flushes and
/// compactions frequent.
pub(crate) fn write_with_buffer(path: &Path, write_buffer_bytes: u64) -> Result<Db, Failure> {
    with_keys(Db::builder(path)).write_buffer_bytes(write_buffer_bytes).open().doing(&opening(path))
}

/// As [`write()`], making a missing one, with everything small, so that memtables are flushed, log segments
/// freed and tables compacted all the time. `listener` hears of it.
pub(crate) fn write_small(path: &Path, listener: impl EventListener) -> Result<Db, Failure> {
    with_keys(Db::builder(path))
        .write_buffer_bytes(256 << 10)
        .max_wal_bytes(2 << 20)
        .cache_bytes(1 << 20)
        .memory_budget(16 << 20)
        .threads(2)
        .listener(listener)
        .open()
        .doing(&opening(path))
}

/// A keyspace that goes with [`write_small`].
pub(crate) fn small_keyspace(db: &Db, name: &str) -> Result<Keyspace, Failure> {
    db.keyspace_with(name, small_tables()).doing(&format!("open keyspace {name}"))
}

/// Its options.
pub(crate) fn small_tables() -> KeyspaceOptions {
    KeyspaceOptions::new().table_bytes(128 << 10).block_bytes(4 << 10)
}

/// Opens a keyspace of a database that is open for writing.
pub(crate) fn keyspace_to_write(db: &Db, name: &str, missing: Missing) -> Result<Keyspace, Failure> {
    let what = format!("open keyspace {name}");
    let keyspace = match missing {
        Missing::Create => Some(db.keyspace(name).doing(&what)?),
        Missing::Refuse => db.get_keyspace(name).doing(&what)?,
    };
    keyspace.ok_or_else(|| {
        Failure::new(exit::NOT_FOUND, what, "no such keyspace")
            .with_hint("`isopach ls DB` lists the keyspaces")
    })
}

/// Closes a database, so that its last errors are seen.
pub(crate) fn close(db: Db) -> Result<(), Failure> {
    db.close().doing("close the database")
}

/// Options of a write of this durability.
pub(crate) fn write_options(durability: Durability) -> WriteOptions {
    WriteOptions::new().durability(match durability {
        Durability::Volatile => isopach::Durability::Volatile,
        Durability::Buffered => isopach::Durability::Buffered,
        Durability::Sync => isopach::Durability::Sync,
    })
}

/// Rewrites the whole of a keyspace into its last level.
pub(crate) fn compact(keyspace: &Keyspace) -> Result<(), Failure> {
    keyspace.compact_range(RangeFull).doing(&format!("compact keyspace {}", keyspace.name()))
}

fn log_recovery(mode: LogRecovery) -> isopach::LogRecovery {
    match mode {
        LogRecovery::Absolute => isopach::LogRecovery::Absolute,
        LogRecovery::TornEnd => isopach::LogRecovery::TornEnd,
        LogRecovery::PointInTime => isopach::LogRecovery::PointInTime,
    }
}

fn opening(path: &Path) -> String {
    format!("open {}", path.display())
}

// ----- facts -----

/// What a database is and in what state.
pub(crate) struct DatabaseFacts {
    pub(crate) path: String,
    pub(crate) uuid: String,
    /// Of its files: a database of another version does not open.
    pub(crate) format: u16,
    /// Position of the last commit.
    pub(crate) seqno: u64,
    pub(crate) log_bytes: u64,
    pub(crate) log_segments: u64,
    pub(crate) keyspaces: Vec<ShapeFacts>,
    /// What lies under which key.
    pub(crate) keys: Vec<KeyFacts>,
    /// Where files lie that are not in the directory.
    pub(crate) routes: Vec<RouteFacts>,
    pub(crate) opening: OpeningFacts,
    /// What a quick check of tables and log found.
    pub(crate) damage: Vec<Finding>,
}

/// What lies under one key.
pub(crate) struct KeyFacts {
    /// 0: in clear.
    pub(crate) key: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// A place of files.
pub(crate) struct RouteFacts {
    /// Files there are named from `places/<number>` on.
    pub(crate) place: u32,
    /// A path, or the name of a backend.
    pub(crate) name: String,
    /// First and last level.
    pub(crate) levels: Option<(u8, u8)>,
    pub(crate) has_values: bool,
}

/// What opening found.
pub(crate) struct OpeningFacts {
    /// Records of the log that were replayed.
    pub(crate) log_records: u64,
    /// Their bytes.
    pub(crate) log_bytes: u64,
    /// The torn end of the log that was dropped.
    pub(crate) discarded: Option<DiscardedEnd>,
    /// Whether the database was closed in order, or is new.
    pub(crate) is_clean: bool,
}

/// The torn end of a log.
pub(crate) struct DiscardedEnd {
    /// Relative to the database.
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// It was promised to be durable.
    pub(crate) was_durable: bool,
}

/// The levels of a keyspace.
pub(crate) struct ShapeFacts {
    pub(crate) keyspace: String,
    pub(crate) memtable_bytes: u64,
    pub(crate) levels: Vec<LevelFacts>,
    pub(crate) values: ValueFacts,
}

/// Files of separated values.
#[derive(Clone, Copy, Default)]
pub(crate) struct ValueFacts {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) live_records: u64,
    pub(crate) live_bytes: u64,
    pub(crate) stale_bytes: u64,
}

/// One level.
#[derive(Clone, Copy)]
pub(crate) struct LevelFacts {
    pub(crate) level: u8,
    pub(crate) runs: u64,
    pub(crate) tables: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

impl ShapeFacts {
    /// Tables of all levels.
    pub(crate) fn tables(&self) -> u64 {
        self.levels.iter().map(|level| level.tables).sum()
    }

    /// Their bytes.
    pub(crate) fn table_bytes(&self) -> u64 {
        self.levels.iter().map(|level| level.bytes).sum()
    }
}

/// Facts about a database that is open for reading.
fn route_facts(route: RouteInfo) -> RouteFacts {
    let levels = route.levels.map(|levels| (*levels.start(), *levels.end()));
    RouteFacts { place: route.place, name: route.name, levels, has_values: route.has_blobs }
}

pub(crate) fn facts(db: &ReadDb, damage: Vec<Finding>) -> DatabaseFacts {
    let stats = db.stats();
    let found = db.recovery();
    DatabaseFacts {
        path: db.path().display().to_string(),
        uuid: db.uuid().to_string(),
        format: FORMAT_VERSION,
        seqno: db.seqno().raw(),
        log_bytes: stats.wal_bytes,
        log_segments: stats.wal_segments,
        keyspaces: stats.keyspaces.iter().map(shape_facts).collect(),
        keys: keys(db.keys_in_use()),
        routes: db.routes().into_iter().map(route_facts).collect(),
        opening: OpeningFacts {
            log_records: found.log_records,
            log_bytes: found.log_bytes,
            discarded: found.discarded.map(|end| DiscardedEnd {
                file: end.file,
                offset: end.offset,
                bytes: end.bytes,
                was_durable: end.was_durable,
            }),
            is_clean: found.is_clean,
        },
        damage,
    }
}

/// What lies under which key.
pub(crate) fn keys(in_use: BTreeMap<KeyId, KeyUse>) -> Vec<KeyFacts> {
    let facts = |(key, used): (KeyId, KeyUse)| KeyFacts { key: key.0, files: used.files, bytes: used.bytes };
    in_use.into_iter().map(facts).collect()
}

/// The shapes of all keyspaces of a database that is open for reading.
pub(crate) fn shapes(db: &ReadDb) -> Vec<ShapeFacts> {
    db.stats().keyspaces.iter().map(shape_facts).collect()
}

/// The shape of a keyspace that is open for writing.
pub(crate) fn shape(keyspace: &Keyspace) -> ShapeFacts {
    shape_facts(&keyspace.stats())
}

fn shape_facts(stats: &isopach::KeyspaceStats) -> ShapeFacts {
    let level = |&(level, of): &(Level, LevelStats)| LevelFacts {
        level: level.0,
        runs: of.runs,
        tables: of.tables,
        bytes: of.bytes,
        entries: of.entries,
    };
    let values = stats.tree.blobs;
    ShapeFacts {
        keyspace: stats.name.clone(),
        memtable_bytes: stats.tree.memtable_bytes,
        levels: stats.tree.levels.iter().map(level).collect(),
        values: ValueFacts {
            files: values.files,
            bytes: values.bytes,
            live_records: values.live_records,
            live_bytes: values.live_bytes,
            stale_bytes: values.stale_bytes,
        },
    }
}

/// A keyspace, and its options as `(name, value)`; or why they are unknown.
pub(crate) struct KeyspaceFacts {
    pub(crate) name: String,
    pub(crate) id: u32,
    pub(crate) options: Result<Vec<(&'static str, String)>, String>,
}

/// All keyspaces, also those that cannot be opened.
pub(crate) fn keyspaces(db: &ReadDb) -> Vec<KeyspaceFacts> {
    let facts = |(name, id): (String, isopach::KeyspaceId)| {
        let options = db.keyspace(&name).map(|keyspace| option_facts(&keyspace.options()));
        KeyspaceFacts { name, id: id.0, options: options.map_err(|error| error.to_string()) }
    };
    db.keyspaces().into_iter().map(facts).collect()
}

fn option_facts(options: &KeyspaceOptions) -> Vec<(&'static str, String)> {
    let durability = options.durability.as_ref().map_or_else(|| "database's".to_owned(), lower_case);
    let mut facts = table_options(&options.tree_options());
    let ttl = options.ttl.map_or_else(|| "none".to_owned(), |time| format!("{}s", time.as_secs_f64()));
    facts.push(("ttl", ttl));
    facts.push(("keep_versions", kept_versions(options.keep_versions)));
    facts.push(("durability", durability));
    facts
}

fn kept_versions(keep: KeepVersions) -> String {
    match keep {
        KeepVersions::For(time) => format!("{}s", time.as_secs_f64()),
        other => lower_case(&other),
    }
}

/// The options of a keyspace that a table has with it, as `(name, value)`.
pub(crate) fn table_options(options: &TreeOptions) -> Vec<(&'static str, String)> {
    let name = |name: &Option<String>| {
        name.as_ref().map_or_else(|| "none".to_owned(), |name| text::plain(name.as_bytes()).into_owned())
    };
    vec![
        ("comparator", text::plain(options.comparator.as_bytes()).into_owned()),
        ("compression", per_level(&options.compression, Compression::to_string)),
        ("block_bytes", per_level(&options.block_bytes, u32::to_string)),
        ("filters", per_level(&options.filters, filter)),
        ("partition_bytes", per_level(&options.partition_bytes, u32::to_string)),
        ("table_bytes", options.table_bytes.to_string()),
        ("dictionary_bytes", options.dictionary_bytes.to_string()),
        ("prefix_extractor", name(&options.prefix_extractor)),
        ("merge_operator", name(&options.merge_operator)),
        ("compaction_filter", name(&options.compaction_filter)),
        ("entry_checksums", options.entry_checksums.to_string()),
        ("blobs_from_bytes", options.blobs_from_bytes.map_or_else(|| "none".to_owned(), |it| it.to_string())),
        ("blob_file_bytes", options.blob_file_bytes.to_string()),
        ("blob_garbage_percent", options.blob_garbage_percent.to_string()),
        ("parity", per_level(&options.parity, Parity::to_string)),
        ("blob_parity", options.blob_parity.to_string()),
    ]
}

/// From level 0 on; the last stands for all deeper ones.
fn per_level<T>(levels: &PerLevel<T>, show: impl Fn(&T) -> String) -> String {
    levels.0.iter().map(show).collect::<Vec<_>>().join(",")
}

fn filter(filter: &FilterPolicy) -> String {
    match filter {
        FilterPolicy::BitsPerKey(bits) => format!("bits:{bits}"),
        FilterPolicy::ByDepth(bits) => format!("by_depth:{bits}"),
        other => lower_case(other),
    }
}

/// Names of variants without fields, also of ones that a later version adds.
pub(crate) fn lower_case(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

// ----- repair -----

/// Repairs a database that is not open. With `dry_run` writes nothing.
pub(crate) fn repair(path: &Path, dry_run: bool, salvage: bool) -> Result<RepairReport, Failure> {
    let how = RepairOptions::new().dry_run(dry_run).salvage(salvage);
    let repaired = with_keys(Db::builder(path)).create_if_missing(false).repair(how);
    repaired.doing(&format!("repair {}", path.display()))
}

// ----- checks -----

/// What a check found.
pub(crate) struct VerifyFacts {
    /// Tables.
    pub(crate) files: u64,
    pub(crate) dictionaries: u64,
    /// Files of separated values.
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// Records of the log.
    pub(crate) log_records: u64,
    pub(crate) findings: Vec<Finding>,
    /// Files that nothing names, and what they are.
    pub(crate) unnamed: Vec<(String, String)>,
}

/// One damage.
pub(crate) struct Finding {
    /// Relative to the database.
    pub(crate) file: String,
    pub(crate) offset: Option<u64>,
    pub(crate) message: String,
    /// Whether nothing is lost by it.
    pub(crate) is_harmless: bool,
}

/// Checks a database that is not open, its log always in whole. Writes nothing.
pub(crate) fn verify(path: &Path, depth: VerifyDepth) -> Result<VerifyFacts, Failure> {
    verify_with(path, VerifyOptions::new().depth(depth), |_| ControlFlow::Continue(()))
}

/// As [`verify`]; `progress` hears of bytes.
pub(crate) fn verify_with(
    path: &Path,
    options: VerifyOptions,
    progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static,
) -> Result<VerifyFacts, Failure> {
    let builder = with_keys(Db::builder(path)).create_if_missing(false).progress(progress);
    let report = builder.verify(options).map_err(|error| cannot_check(path, &error))?;
    Ok(verify_facts(report))
}

fn verify_facts(report: VerifyReport) -> VerifyFacts {
    let finding = |found: isopach::Finding| Finding {
        message: without_place(&found).to_owned(),
        file: found.file,
        offset: found.offset,
        is_harmless: found.is_harmless,
    };
    VerifyFacts {
        files: report.files,
        dictionaries: report.dictionaries,
        blobs: report.blobs,
        bytes: report.bytes,
        entries: report.entries,
        log_records: report.log_records,
        findings: report.found.into_iter().map(finding).collect(),
        unnamed: report.unnamed.into_iter().map(|it| (it.file, it.what.to_string())).collect(),
    }
}

/// Has what is written of a keyspace from now on protected so.
pub(crate) fn protect(keyspace: &Keyspace, parity: Parity) -> Result<(), Failure> {
    let change = |options: &mut KeyspaceOptions| {
        options.parity = parity.into();
        options.blob_parity = parity;
    };
    keyspace.set_options(change).doing("change the options of the keyspace")
}

/// What a scrub found and did.
pub(crate) struct ScrubFacts {
    pub(crate) checked: VerifyFacts,
    pub(crate) healed: u64,
    pub(crate) unhealed: u64,
}

/// Reads everything from the disk, and writes anew what had to be corrected, unless it is to be kept.
pub(crate) fn scrub(
    args: &ScrubArgs,
    mut progress: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'static,
) -> Result<ScrubFacts, Failure> {
    let ScrubArgs { db: path, reading: ReadingArgs { bytes_per_s, threads }, resume, keep, copies } = args;
    let mut builder = with_keys(Db::builder(path)).create_if_missing(false);
    if let Some(copies) = copies {
        builder = builder.clean_copies(CopiesIn::directory(copies).doing("open the copy")?);
    }
    if *keep {
        let options = VerifyOptions::new().past_caches().bytes_per_s(*bytes_per_s).threads(*threads);
        let report = builder.progress(progress).verify(options);
        let checked = verify_facts(report.map_err(|error| cannot_check(path, &error))?);
        let files: BTreeSet<&str> = checked.findings.iter().map(|found| found.file.as_str()).collect();
        let unhealed = files.len() as u64;
        return Ok(ScrubFacts { checked, healed: 0, unhealed });
    }
    let db = builder.open().doing(&opening(path))?;
    let options = ScrubOptions::new().bytes_per_s(*bytes_per_s).threads(*threads).resume(*resume);
    let report = db.scrub(options, &mut progress).doing("scrub")?;
    close(db)?;
    let (healed, unhealed) = (report.healed, report.unhealed);
    Ok(ScrubFacts { checked: verify_facts(report.checked), healed, unhealed })
}

/// The hint of a damaged database, to verify it, is no help here.
fn cannot_check(path: &Path, error: &isopach::Error) -> Failure {
    let failure = Failure::database(format!("verify {}", path.display()), error);
    match error.kind() {
        ErrorKind::Corruption => failure.with_hint(
            "nothing behind this damage can be checked; keep a copy of \
             the directory before any repair",
        ),
        _ => failure,
    }
}

/// The message of a finding, which is shown beside its file and offset, without them.
fn without_place(found: &isopach::Finding) -> &str {
    let places = [
        found.offset.map(|offset| format!("{} at byte {offset}: ", found.file)),
        Some(format!("{}: ", found.file)),
    ];
    let message = places.iter().flatten().find_map(|place| found.message.strip_prefix(place.as_str()));
    message.unwrap_or(&found.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_read_as_one_word() {
        assert_eq!(filter(&FilterPolicy::BitsPerKey(10.0)), "bits:10");
        assert_eq!(filter(&FilterPolicy::ByDepth(7.0)), "by_depth:7");
        assert_eq!(filter(&FilterPolicy::None), "none");
    }

    #[test]
    fn levels_are_listed_from_the_top() {
        let levels = PerLevel(vec![Compression::None, Compression::Lz4, Compression::Zstd { level: -3 }]);
        assert_eq!(per_level(&levels, Compression::to_string), "none,lz4,zstd:-3");
    }
}
