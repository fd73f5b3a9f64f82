//! Tables side by side with RocksDB's: how fast one is built, how large it is, and how large a database of the same
//! records is once compaction and removals have ended. Blocks of 16 KiB, the same codec, no dictionaries.

use crate::{
    Result,
    engine::{Compression, Durability, Engine, Settings},
    engines::{self, Adapter},
    keys::Keys,
    process,
    random::mix,
    table::{
        grid::{Entry, Grid},
        number,
    },
    values::Values,
};
use isopach::{
    Seqno, Uuid,
    engine::{
        key::ValueKind,
        place::PlaceId,
        table::{
            FilterKind, FilterOptions, PropertySeed, TABLES_DIR, TableIdentity, TableOptions, TableWriter,
            file_name,
        },
        types::{TableId, TreeId, UnixUs},
    },
    env::{Env, WriteOrigin},
};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

const BLOCK_BYTES: u32 = 16 << 10;

/// Of the real text, at most.
const TEXT_BYTES: usize = 96 << 20;

/// Where packages of a Debian system keep texts: licences and histories.
const TEXTS: &str = "/usr/share/doc";

/// Rounds of building a table; the fastest counts.
const ROUNDS: usize = 3;

/// Keys in order, each with its value.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Builds everything in `dir`, and leaves nothing there. `count` is the number of db_bench's records.
pub fn measure(dir: &Path, count: u64) -> Result<Grid> {
    let mut rows = Vec::new();
    for (input, records) in [("db_bench", numbers(count)), ("text", texts(Path::new(TEXTS))?)] {
        let input_bytes: usize = records.iter().map(|(key, value)| key.len() + value.len()).sum();
        for compression in [Compression::Lz4, Compression::Zstd] {
            for engine in ["isopach", "rocksdb"] {
                let Some(adapter) = engines::find(engine) else { continue };
                let built = table(engine, dir, &records, compression)?;
                let settled_bytes = settled(adapter, dir, &records, compression)?;
                let share = |bytes: u64| format!("{:.1} %", bytes as f64 * 100.0 / input_bytes as f64);
                rows.push(vec![
                    Entry::new(format!("{input}, {compression:?}, {engine}").to_lowercase()),
                    Entry::new(format!("{:.0} MB/s", input_bytes as f64 / 1e6 / built.time.as_secs_f64())),
                    Entry::new(number::short(built.bytes as f64)),
                    Entry::new(share(built.bytes)),
                    Entry::new(number::short(settled_bytes as f64)),
                    Entry::new(share(settled_bytes)),
                ]);
            }
        }
    }
    Ok(Grid {
        title: "Tables".into(),
        note: "One table of all records, built in their order: megabytes of keys and values a second, and its size; then \
               what a database takes on the disk that got them in random order, once it has settled. Shares are of the \
               keys and values."
            .into(),
        header: ["records", "building", "table", "", "database", ""].map(Entry::new).into(),
        rows,
    })
}

fn numbers(count: u64) -> Records {
    let (keys, values) = (Keys::Numbers { count }, Values::new(100, 1));
    let record = |record| {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        keys.write(record, &mut key);
        values.write(record, 0, &mut value);
        (key, value)
    };
    (0..count).map(record).collect()
}

/// Paragraphs of the texts below a directory, each with its file and its number in it as the key.
fn texts(root: &Path) -> Result<Records> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))? {
        let path = entry?.path().join("copyright");
        files.extend(path.is_file().then_some(path));
    }
    files.sort();
    let (mut records, mut bytes) = (Vec::new(), 0);
    for path in files {
        let text = fs::read_to_string(&path).unwrap_or_default(); // Some are in other encodings.
        let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.is_empty());
        for (number, paragraph) in paragraphs.enumerate() {
            let key = format!("{}/{number:05}", path.display());
            bytes += key.len() + paragraph.len();
            records.push((key.into_bytes(), paragraph.into()));
        }
        if bytes >= TEXT_BYTES {
            break;
        }
    }
    records.sort();
    Ok(records)
}

/// A table that was built.
struct Built {
    time: Duration,
    bytes: u64,
}

fn table(engine: &str, dir: &Path, records: &Records, compression: Compression) -> Result<Built> {
    let mut fastest: Option<Built> = None;
    for _ in 0..ROUNDS {
        fs::create_dir_all(dir)?;
        let built = match engine {
            "isopach" => isopach_table(dir, records, compression)?,
            _ => rocksdb_table(dir, records, compression)?,
        };
        fs::remove_dir_all(dir)?;
        fastest = Some(fastest.filter(|fastest| fastest.time < built.time).unwrap_or(built));
    }
    Ok(fastest.expect("a round at least"))
}

/// As compaction writes the tables of the last level.
fn isopach_table(dir: &Path, records: &Records, compression: Compression) -> Result<Built> {
    let env = Env::os(dir).map_err(|error| error.to_string())?;
    env.fs.create_dir(TABLES_DIR).map_err(|error| error.to_string())?;
    let compression = match compression {
        Compression::None => isopach::Compression::None,
        Compression::Lz4 => isopach::Compression::Lz4,
        Compression::Zstd => isopach::Compression::Zstd { level: engines::ZSTD_LEVEL },
    };
    let filter = Some(FilterOptions { kind: FilterKind::Burr, bits_per_key: 7.0 });
    let options =
        TableOptions { block_bytes: BLOCK_BYTES as usize, compression, filter, ..TableOptions::default() };
    let identity =
        TableIdentity { id: TableId(1), uuid: Uuid([1; 16]), database: Uuid([2; 16]), place: PlaceId::MAIN };
    let seed = PropertySeed::new(TreeId(1), "sizes", UnixUs(0));
    let begin = Instant::now();
    let mut writer = TableWriter::create(&env.fs, identity, options, seed, WriteOrigin::CompactionTable)?;
    for (key, value) in records {
        writer.add(key, Seqno::ZERO, ValueKind::Put, value)?;
    }
    writer.finish()?;
    Ok(Built { time: begin.elapsed(), bytes: fs::metadata(dir.join(file_name(TableId(1))))?.len() })
}

#[cfg(feature = "rocksdb")]
fn rocksdb_table(dir: &Path, records: &Records, compression: Compression) -> Result<Built> {
    use rocksdb::{BlockBasedOptions, DBCompressionType, Options, SstFileWriter};
    let mut tables = BlockBasedOptions::default();
    tables.set_block_size(BLOCK_BYTES as usize);
    tables.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&tables);
    options.set_compression_type(match compression {
        Compression::None => DBCompressionType::None,
        Compression::Lz4 => DBCompressionType::Lz4,
        Compression::Zstd => DBCompressionType::Zstd,
    });
    let path = dir.join("table.sst");
    let begin = Instant::now();
    let mut writer = SstFileWriter::create(&options);
    writer.open(&path)?;
    for (key, value) in records {
        writer.put(key, value)?;
    }
    writer.finish()?;
    fs::File::open(&path)?.sync_all()?; // As the other one does.
    Ok(Built { time: begin.elapsed(), bytes: fs::metadata(path)?.len() })
}

#[cfg(not(feature = "rocksdb"))]
fn rocksdb_table(_: &Path, _: &Records, _: Compression) -> Result<Built> {
    unreachable!("it is not among the engines of this build")
}

/// What a database takes on the disk that got the records in random order, once nothing is left to do.
fn settled(adapter: &Adapter, dir: &Path, records: &Records, compression: Compression) -> Result<u64> {
    fs::create_dir_all(dir)?;
    let settings = Settings {
        cache_bytes: 64 << 20,
        write_buffer_bytes: 4 << 20,
        block_bytes: BLOCK_BYTES,
        separated_from_bytes: None,
        compression,
        durability: Durability::Buffered,
        keyspaces_count: 1,
    };
    let engine: Box<dyn Engine> = (adapter.open)(dir, &settings)?;
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|&at| mix(at as u64));
    for at in order {
        engine.insert(0, &records[at].0, &records[at].1)?;
    }
    engine.settle()?;
    engine.close()?;
    // Opened once more, so that what was to be removed is, and the log is no longer than what is not in tables.
    let engine = (adapter.open)(dir, &settings)?;
    engine.settle()?;
    thread::sleep(Duration::from_secs(1));
    engine.close()?;
    let bytes = process::disk_bytes(dir);
    fs::remove_dir_all(dir)?;
    Ok(bytes)
}
