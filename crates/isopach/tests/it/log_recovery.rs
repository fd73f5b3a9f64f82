//! What survives of a damaged log in each mode of recovery. The answers are in `testdata/log_recovery.txt`;
//! `ISOPACH_REWRITE=1` writes them anew.

use isopach::{
    Builder, Db, Error, ErrorKind, LogRecovery, ReadDb, Readable,
    env::{Env, MemFs, SeededEntropy, SystemClock},
};
use std::{collections::BTreeSet, env, fmt::Write as _, fs, ops::Range, sync::Arc};
use testkit::{
    corruption::{Image, sections},
    db::{SOON, synced, tiny},
};

const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/log_recovery.txt");

const MODES: [(&str, LogRecovery); 3] = [
    ("absolute", LogRecovery::Absolute),
    ("torn-end", LogRecovery::TornEnd),
    ("point-in-time", LogRecovery::PointInTime),
];

const HEAD: &str = "\
# Which commits survive a damage of the log, in each mode of recovery. Each database has commits 1 to 12, the odd ones to
# keyspace a, the even ones to b. Those up to 6 are known to be durable, unless something else is said.
";

fn builder(files: &MemFs, mode: LogRecovery) -> Builder {
    let env =
        Env::new(Arc::new(files.clone()), Arc::new(SystemClock::new()), Arc::new(SeededEntropy::new(1)));
    // A mapped segment would be left at each flush.
    tiny(Db::builder("db").env(env)).threads(1).mapped_log(false).log_recovery(mode)
}

// ----- databases -----

/// Makes commits, some of them durable.
fn commit(db: &Db, numbers: Range<u8>, durable_upto: u8) {
    for number in numbers {
        let keyspace = db.keyspace(if number % 2 == 1 { "a" } else { "b" }).unwrap();
        keyspace.insert([number], [number; 100]).unwrap();
        if number == durable_upto {
            db.sync().unwrap();
        }
    }
}

fn new(files: &MemFs) -> Db {
    let db = builder(files, LogRecovery::default()).open().unwrap();
    db.keyspace("a").unwrap();
    db.keyspace("b").unwrap();
    db
}

/// One segment, as a crash left it.
fn crashed() -> Image {
    let files = MemFs::new();
    let db = new(&files);
    commit(&db, 1..13, 6);
    db.wait_idle(SOON).unwrap();
    Image::of(&files)
}

/// Three runs, each with a segment of its own; the last one crashed. Durable up to commit 10.
fn three_segments() -> Image {
    let files = MemFs::new();
    let db = new(&files);
    commit(&db, 1..5, 0);
    db.close().unwrap();
    let db = builder(&files, LogRecovery::default()).open().unwrap();
    commit(&db, 5..9, 0);
    db.close().unwrap();
    let db = builder(&files, LogRecovery::default()).open().unwrap();
    commit(&db, 9..13, 10);
    db.wait_idle(SOON).unwrap();
    Image::of(&files)
}

fn closed() -> Image {
    let files = MemFs::new();
    let db = new(&files);
    commit(&db, 1..13, 6);
    db.close().unwrap();
    Image::of(&files)
}

/// Keyspace a was flushed behind commit 9: its memtable was full. The log holds everything, because of b.
fn a_is_flushed() -> Image {
    let files = MemFs::new();
    let db = new(&files);
    commit(&db, 1..9, 6);
    db.keyspace("a").unwrap().insert_with([9], vec![9; 17 << 10], synced()).unwrap();
    db.wait_idle(SOON).unwrap();
    commit(&db, 10..13, 0);
    db.wait_idle(SOON).unwrap();
    Image::of(&files)
}

/// Both were flushed behind commit 8, and the log goes on in the same segment.
fn both_are_flushed() -> Image {
    let files = MemFs::new();
    let db = new(&files);
    commit(&db, 1..9, 6);
    db.flush().unwrap();
    commit(&db, 9..13, 0);
    db.wait_idle(SOON).unwrap();
    Image::of(&files)
}

// ----- damages -----

fn segments(image: &Image) -> Vec<String> {
    image.files().map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("wal/")).collect()
}

/// Where the record of a commit lies: the first that carries its value.
fn record_of(image: &Image, number: u8) -> (String, Range<usize>) {
    let holds = |bytes: &[u8]| bytes.windows(100).any(|window| window == [number; 100]);
    let mut found = segments(image).into_iter().flat_map(|name| {
        let bytes = image.get(&name).unwrap();
        let records = sections(&name, bytes).into_iter().map(|section| section.range);
        let found: Vec<_> = records.filter(|range| holds(&bytes[range.clone()])).collect();
        found.into_iter().map(move |range| (name.clone(), range))
    });
    found.next().unwrap_or_else(|| panic!("commit {number} is in the log"))
}

fn flip(image: &mut Image, number: u8) {
    let (file, range) = record_of(image, number);
    image.edit(&file)[range.start + 60] ^= 0x10;
}

/// Where the records of the last segment end.
fn end(image: &Image) -> (String, usize) {
    let name = segments(image).pop().unwrap();
    let end = sections(&name, image.get(&name).unwrap()).last().unwrap().range.end;
    (name, end)
}

fn put_behind_the_end(image: &mut Image, bytes: &[u8]) {
    let (name, end) = end(image);
    let file = image.edit(&name);
    file.resize(file.len().max(end + bytes.len()), 0);
    file[end..end + bytes.len()].copy_from_slice(bytes);
}

fn stale_record(image: &mut Image) {
    let (file, range) = record_of(image, 8);
    let bytes = image.get(&file).unwrap()[range].to_vec();
    put_behind_the_end(image, &bytes);
}

fn torn_record(image: &mut Image) {
    let (file, range) = record_of(image, 12);
    image.edit(&file)[range.start + 72..range.end].fill(0);
}

fn without_segment(image: &mut Image, index: usize) {
    let name = segments(image).remove(index);
    image.remove(&name);
}

fn duplicate_segment(image: &mut Image, index: usize) {
    let all = segments(image);
    let bytes = image.get(&all[index]).unwrap().to_vec();
    let last: u32 = all.last().unwrap()[4..10].parse().unwrap();
    image.put(&format!("wal/{:06}.wal", last + 1), bytes);
}

fn flip_header(image: &mut Image, index: usize) {
    let name = segments(image).remove(index);
    image.edit(&name)[10] ^= 1;
}

type Row = (&'static str, fn() -> Image, &'static str, fn(&mut Image));

const ROWS: [Row; 23] = [
    ("crashed", crashed, "nothing", |_| {}),
    ("crashed", crashed, "the last record was torn", torn_record),
    ("crashed", crashed, "garbage behind the end", |image| put_behind_the_end(image, &[0xEE; 50])),
    ("crashed", crashed, "a stale record behind the end", stale_record),
    ("crashed", crashed, "a flipped bit above what was durable", |image| flip(image, 9)),
    ("crashed", crashed, "a flipped bit below what was durable", |image| flip(image, 3)),
    ("crashed", crashed, "a flipped bit in the segment's header", |image| flip_header(image, 0)),
    ("crashed", crashed, "the segment is missing", |image| without_segment(image, 0)),
    ("crashed", crashed, "the segment is there once more", |image| duplicate_segment(image, 0)),
    ("closed", closed, "nothing", |_| {}),
    ("closed", closed, "a flipped bit in the last record", |image| flip(image, 12)),
    ("closed", closed, "garbage behind the end", |image| put_behind_the_end(image, &[0xEE; 50])),
    ("closed", closed, "the file ends inside the last record", |image| {
        let (file, range) = record_of(image, 12);
        image.edit(&file).truncate(range.start + 40);
    }),
    ("three segments", three_segments, "nothing", |_| {}),
    ("three segments", three_segments, "a flipped bit in the last record of the second", |image| {
        flip(image, 8)
    }),
    ("three segments", three_segments, "a flipped bit above what was durable", |image| flip(image, 11)),
    ("three segments", three_segments, "the first is missing", |image| without_segment(image, 0)),
    ("three segments", three_segments, "the second is missing", |image| without_segment(image, 1)),
    ("three segments", three_segments, "the last is missing", |image| without_segment(image, 2)),
    ("three segments", three_segments, "the second is there once more", |image| duplicate_segment(image, 1)),
    ("a is flushed", a_is_flushed, "a flipped bit in what the tables of a hold", |image| flip(image, 7)),
    ("both are flushed", both_are_flushed, "a flipped bit in what all tables hold", |image| flip(image, 7)),
    ("both are flushed", both_are_flushed, "a flipped bit behind what all tables hold", |image| {
        flip(image, 10)
    }),
];

// ----- answers -----

#[test]
fn each_mode_leaves_exactly_the_survivors_that_are_written_down() {
    let mut found = String::from(HEAD);
    for (scene, make, damage, apply) in ROWS {
        let mut image = make();
        apply(&mut image);
        writeln!(found, "\n{scene}: {damage}").unwrap();
        for (name, mode) in MODES {
            writeln!(found, "  {name:<14} {}", answer(&image, mode)).unwrap();
        }
    }

    if env::var_os("ISOPACH_REWRITE").is_some() {
        fs::write(EXPECTED, &found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(EXPECTED).unwrap());
}

/// What is found, the same when opened for reading and for writing; afterwards the database is whole again.
fn answer(image: &Image, mode: LogRecovery) -> String {
    let files = image.to_fs();
    let read = builder(&files, mode).open_read_only().map_or_else(|error| refused(&error), |db| told(&db));
    assert_eq!(Image::of(&files), Image::of(&image.to_fs()), "reading writes nothing");

    let db = match builder(&files, mode).open() {
        Err(error) => {
            assert_eq!(refused(&error), read);
            return read;
        }
        Ok(db) => db,
    };
    assert_eq!(said(&survivors(|name| db.get_keyspace(name)), &db.recovery()), read);
    let survivors = survivors(|name| db.get_keyspace(name));
    assert!(survivors.iter().copied().eq(1..=survivors.len() as u8), "{survivors:?} is no prefix");
    // Whatever was left out is gone for good: it does not come back, and nobody misses it.
    db.keyspace("c").unwrap().insert("more", "1").unwrap();
    drop(db);
    let again = builder(&files, LogRecovery::Absolute).open().unwrap();
    assert_eq!(self::survivors(|name| again.get_keyspace(name)), survivors);
    assert!(again.keyspace("c").unwrap().contains("more").unwrap());
    assert!(again.recovery().is_clean && again.recovery().discarded.is_none());
    read
}

fn told(db: &ReadDb) -> String {
    let keyspace = |name: &str| match db.keyspace(name) {
        Err(error) if error.kind() == ErrorKind::KeyspaceMissing => Ok(None),
        found => found.map(Some),
    };
    said(&survivors(keyspace), &db.recovery())
}

fn survivors<K: Readable>(open: impl Fn(&str) -> isopach::Result<Option<K>>) -> BTreeSet<u8> {
    let mut survivors = BTreeSet::new();
    for name in ["a", "b"] {
        if let Some(keyspace) = open(name).unwrap() {
            survivors.extend(keyspace.iter().map(|entry| entry.unwrap().0[0]));
        }
    }
    survivors
}

fn said(survivors: &BTreeSet<u8>, recovery: &isopach::Recovery) -> String {
    let commits = match (survivors.first(), survivors.last()) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none".to_owned(),
    };
    match &recovery.discarded {
        None => commits,
        Some(end) => {
            let lost = if end.was_durable { "durable bytes lost" } else { "bytes dropped" };
            format!("{commits}, {} {lost} at {}:{}", end.bytes, end.file, end.offset)
        }
    }
}

fn refused(error: &Error) -> String {
    let file = error.path().unwrap().strip_prefix("db").unwrap().display();
    let offset = error.offset().map(|offset| format!(":{offset}")).unwrap_or_default();
    format!("{:?} at {file}{offset}", error.kind())
}
