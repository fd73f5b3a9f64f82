//! Small databases in memory and on disk, and what most tests ask of them.

use crate::{Contents, Entries, Rng, keys::TestKeys};
use isopach::{
    Builder, Compression, Db, Durability, EventListener, KeyspaceOptions, Parity, Readable, Route,
    WriteOptions,
    env::{Env, Fs, OpenMode, OsEntropy, SubDir, SystemClock},
    merge::Append,
};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Long enough for anything that has to happen at all.
pub const SOON: Duration = Duration::from_secs(60);

/// Files of a test, with the clock and randomness of the system.
pub fn env_of(fs: impl Fs) -> Env {
    Env::new(Arc::new(fs), Arc::new(SystemClock::new()), Arc::new(OsEntropy))
}

/// Everything as small as it may be, so that little data goes all the way down. Where [`PLACES`] are, routes lead there; where
/// [`KEYS`](crate::keys::KEYS) are, it is encrypted.
pub fn small(fs: impl Fs) -> Builder {
    let env = env_of(fs);
    let routes = routes_in(&env.fs);
    let keys = TestKeys::of(&*env.fs);
    let builder = routes.into_iter().fold(tiny(Db::builder("db").env(env)), Builder::route);
    match keys {
        Some(keys) => builder.encryption(keys),
        None => builder,
    }
}

/// Routes to those of [`PLACES`] that are in a database's directory.
pub fn routes_in(fs: &Arc<dyn Fs>) -> Vec<Route> {
    let place = |name| Some(Arc::new(SubDir::open(Arc::clone(fs), name).ok()?));
    let hot = place(PLACES[0]).map(|hot| Route::fs(0..=0, PLACES[0], hot));
    let cold = place(PLACES[1]).map(|cold| Route::fs(2..=6, PLACES[1], cold).and_blobs());
    hot.into_iter().chain(cold).collect()
}

/// Directories in that of a database, whose names it leaves alone: the first for level 0, the second for levels from 2 on
/// and separated values.
pub const PLACES: [&str; 2] = [".hot", ".cold"];

/// The sizes of [`small`], for a builder of any files.
pub fn tiny(builder: Builder) -> Builder {
    builder
        .write_buffer_bytes(16 << 10)
        .max_wal_bytes(1 << 20)
        .cache_bytes(64 << 10)
        .memory_budget(4 << 20)
        .threads(2)
        .listener(Quiet)
}

/// Options of keyspaces that go with [`tiny`].
pub fn tiny_tables() -> KeyspaceOptions {
    KeyspaceOptions::new().table_bytes(64 << 10).block_bytes(4 << 10)
}

/// Options of keyspaces that go with [`tiny`], have the merge operator of the oracle, separate values of some hundred bytes,
/// and have parity.
pub fn merging_tables() -> KeyspaceOptions {
    let parity = Parity::Xor { data: 4 };
    separating(tiny_tables().merge_operator(&Append::with_separator(b','))).parity(parity).blob_parity(parity)
}

/// With small files of separated values that are left as soon as a tenth of them is stale.
pub fn separating(options: KeyspaceOptions) -> KeyspaceOptions {
    options.blobs_from_bytes(200).blob_file_bytes(64 << 10).blob_garbage_percent(10)
}

/// Options of keyspaces that go with [`tiny`] and whose values are compressed against a dictionary, where Zstandard is
/// compiled in; [`similar_value`] makes values that are worth one.
pub fn trained_tables() -> KeyspaceOptions {
    let zstd = Compression::Zstd { level: 3 };
    if zstd.is_available() {
        tiny_tables().compression(zstd).dictionary_bytes(2 << 10)
    } else {
        tiny_tables()
    }
}

/// A value of some 330 bytes out of a dozen phrases, the same for all values, each of which has nothing in common with the
/// others: every page of such values begins by spelling them out, unless a dictionary does.
pub fn similar_value(rng: &mut Rng) -> Vec<u8> {
    let phrase = |number: usize| Rng::new(number as u64).bytes(80);
    let mut value: Vec<u8> = (0..4).flat_map(|_| phrase(rng.below(12))).collect();
    value.extend(rng.bytes(8));
    value
}

/// A write that is in no log.
pub fn volatile() -> WriteOptions {
    WriteOptions::new().durability(Durability::Volatile)
}

/// A write that is durable when it returns.
pub fn synced() -> WriteOptions {
    WriteOptions::new().durability(Durability::Sync)
}

/// Keeps errors that a test provokes off the terminal.
pub struct Quiet;

impl EventListener for Quiet {
    fn on_event(&self, _event: &isopach::Event<'_>) {}
}

/// All entries of a keyspace.
pub fn entries(keyspace: &impl Readable) -> Entries {
    let pair = |entry: isopach::Result<(isopach::Slice, isopach::Slice)>| {
        let (key, value) = entry.expect("a sound keyspace");
        (key.to_vec(), value.to_vec())
    };
    keyspace.iter().map(pair).collect()
}

/// All entries of all keyspaces.
pub fn contents(db: &Db) -> Contents {
    let open = |name: String| {
        let keyspace = db.get_keyspace(&name).expect("it can be opened").expect("it is listed");
        (name, entries(&keyspace))
    };
    db.keyspaces().into_iter().map(|(name, _)| open(name)).collect()
}

/// Waits until something is so, and says what never was.
///
/// # Panics
///
/// If it is not so within a minute.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < SOON, "waited too long: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Names of the files in a directory, sorted.
pub fn files_in(fs: &dyn Fs, directory: &str) -> Vec<String> {
    let mut names: Vec<String> =
        fs.list(directory).expect("it is there").into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

/// Every file with its bytes.
pub fn all_bytes(fs: &dyn Fs) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for directory in ["", "tables", "wal", "dictionaries", "blobs"] {
        for entry in fs.list(directory).unwrap_or_default().into_iter().filter(|entry| !entry.is_dir) {
            let name = if directory.is_empty() { entry.name } else { format!("{directory}/{}", entry.name) };
            let bytes = read_file(fs, &name);
            found.push((name, bytes));
        }
    }
    found.sort();
    found
}

/// The bytes of a file.
pub fn read_file(fs: &dyn Fs, name: &str) -> Vec<u8> {
    read_file_if_any(fs, name).expect("it is there")
}

/// The bytes of a file that the background of an open database may remove.
pub fn read_file_if_any(fs: &dyn Fs, name: &str) -> Option<Vec<u8>> {
    let file = fs.open(name, OpenMode::Read).ok()?;
    let mut bytes = vec![0; file.size_bytes().expect("it can be measured") as usize];
    file.read_exact_at(0, &mut bytes).expect("it can be read");
    Some(bytes)
}
