//! Targets for whole directories: files of any names and bytes, opened as a database.
//!
//! Wrong values cannot be told here. What can: opening ends, in a database or in an error; what opens can be
//! read, checked, written to and closed without a panic; and what was written to it and acknowledged is there
//! when it is opened again.
//!
//! An image is files one behind the other:
//!
//! | bytes | field                                                                            |
//! |-------|----------------------------------------------------------------------------------|
//! | 0     | its name: a single one below 16, a manifest below 32, a log segment below 64, else |
//! |       | a table; from 128 on a directory of that name                                     |
//! | 1..4  | how many bytes it has, little-endian; at most what is left                        |
//! | 4..   | its bytes                                                                        |

use super::{
    repair,
    sealed::{self, OneKey},
    seeds,
};
use crate::db::{Quiet, tiny};
use isopach::{
    Builder, Db, ErrorKind, Keyspace, LogRecovery, Readable, Slice, VerifyDepth, VerifyOptions,
    engine::{table::file_name, types::TableId, version::manifest_name},
    env::{CreateOptions, Env, Fs, MemFs, SeededEntropy, SystemClock},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// Files that are there once, and names that are almost right.
const SINGLE: [&str; 16] = [
    "IDENTITY",
    "LOCK",
    "PARTIAL",
    "IDENTITY.tmp",
    "MANIFEST-000002.tmp",
    "MANIFEST-4294967295",
    "MANIFEST-1",
    "wal/4294967295.wal",
    "wal/000000.wal",
    "wal/1.wal",
    "tables/18446744073709551615.table",
    "tables/7.table",
    "tables/000001.table.tmp",
    "notes.txt",
    "wal",
    "tables",
];

/// The name of number 0 to 127.
fn name_of(number: u8) -> String {
    match number {
        0..16 => SINGLE[usize::from(number)].into(),
        16..32 => manifest_name(u32::from(number) - 15),
        32..64 => format!("wal/{:06}.wal", number - 31),
        _ => file_name(TableId(u64::from(number & 127) - 63)),
    }
}

/// Files by name; `None` is a directory.
type Files = BTreeMap<String, Option<Vec<u8>>>;

/// Files as an image. Those whose names have no number are left out.
pub(super) fn encode(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut image = Vec::new();
    for (name, bytes) in files {
        let Some(number) = (0..128).find(|&number| name_of(number) == *name) else { continue };
        image.push(number);
        image.extend_from_slice(&(bytes.len() as u32).to_le_bytes()[..3]);
        image.extend_from_slice(bytes);
    }
    image
}

fn decode(mut image: &[u8]) -> Files {
    let mut files = Files::new();
    while let Some((&[name, a, b, c], rest)) = image.split_first_chunk() {
        let (content, rest) = rest.split_at((u32::from_le_bytes([a, b, c, 0]) as usize).min(rest.len()));
        let is_dir = name >= 128;
        files.insert(name_of(name & 127), (!is_dir).then(|| content.to_vec()));
        image = rest;
    }
    files
}

/// An arbitrary directory.
pub(super) fn open_image(data: &[u8]) {
    let files = decode(data);
    exercise(&files, data.len(), Protection::Clear);
    let repaired: Files =
        files.iter().map(|(name, bytes)| (name.clone(), bytes.as_deref().map(repaired))).collect();
    if repaired != files {
        exercise(&repaired, data.len(), Protection::Clear);
    }
}

fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    repair::file(&mut bytes);
    bytes
}

/// A small sound database whose files are changed in places. One byte says which database; then come changes:
///
/// | bytes | field                                                                         |
/// |-------|-------------------------------------------------------------------------------|
/// | 0     | which file, modulo their number                                               |
/// | 1..4  | where in it, modulo its length                                                |
/// | 4     | 0..4: as many bytes as 1, 2, 4 or 8 are replaced by what follows; 5: it is added to eight bytes; 6: the file is cut here; 7: four bytes are exchanged with those at the place that follows |
/// | 5..13 | what follows                                                                  |
pub(super) fn mutated_database(data: &[u8]) {
    static BASES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    if let Some((files, bytes)) = changed(data, BASES.get_or_init(seeds::images)) {
        exercise(&files, bytes, Protection::Clear);
    }
}

/// As [`mutated_database`], encrypted: whatever is changed, a value that is read is one that the key had.
pub(super) fn sealed_database(data: &[u8]) {
    static BASES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    if let Some((files, bytes)) = changed(data, BASES.get_or_init(sealed::images)) {
        exercise(&files, bytes, Protection::Sealed);
    }
}

/// The files of one of the databases, changed, and how many bytes led to them.
fn changed(data: &[u8], bases: &[Vec<u8>]) -> Option<(Files, usize)> {
    let (&base, changes) = data.split_first()?;
    let base = &bases[usize::from(base) % bases.len()];
    let mut files: Vec<(String, Vec<u8>)> =
        decode(base).into_iter().filter_map(|(name, bytes)| bytes.map(|bytes| (name, bytes))).collect();
    for change in changes.chunks_exact(13).take(32) {
        let count = files.len();
        apply(&mut files[usize::from(change[0]) % count].1, change);
    }
    let files = files.into_iter().map(|(name, bytes)| (name, Some(repaired(&bytes)))).collect();
    Some((files, base.len() + data.len()))
}

fn apply(file: &mut Vec<u8>, change: &[u8]) {
    if file.is_empty() {
        return;
    }
    let place = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]) as usize % file.len();
    let (at, other) = (place(&change[1..]), place(&change[5..]));
    let number = &change[5..13];
    match change[4] % 8 {
        width @ 0..=4 => {
            let end = (at + (1 << width.min(3))).min(file.len());
            file[at..end].copy_from_slice(&number[..end - at]);
        }
        5 => {
            if let Some(word) = file.get_mut(at..at + 8) {
                let old = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                let more = u64::from_le_bytes(number.try_into().expect("eight bytes"));
                word.copy_from_slice(&old.wrapping_add(more).to_le_bytes());
            }
        }
        6 => file.truncate(at),
        _ => {
            let end = at.max(other) + 4;
            if at.abs_diff(other) >= 4 && end <= file.len() {
                for byte in 0..4 {
                    file.swap(at + byte, other + byte);
                }
            }
        }
    }
}

/// A place that holds the files.
fn place(files: &Files) -> MemFs {
    let fs = MemFs::new();
    for (name, bytes) in files {
        if let Some((directory, _)) = name.split_once('/') {
            let _ = fs.create_dir(directory); // It may be there.
        }
        match bytes {
            None => drop(fs.create_dir(name)),
            Some(bytes) => {
                if let Ok(file) = fs.create(name, &CreateOptions::new(super::framing::ORIGIN)) {
                    file.write_at(0, bytes).expect("memory takes all");
                }
            }
        }
    }
    fs
}

/// Whether files are encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    Clear,
    Sealed,
}

fn builder_of(fs: &MemFs, protection: Protection) -> Builder {
    let env = Env::new(Arc::new(fs.clone()), Arc::new(SystemClock::new()), Arc::new(SeededEntropy::new(7)));
    let builder = Db::builder("db").env(env).threads(1).listener(Quiet);
    match protection {
        Protection::Clear => builder,
        Protection::Sealed => builder.encryption(OneKey),
    }
}

/// Everything that can be done with a database. `image_bytes` bounds how much may be found in it.
fn exercise(files: &Files, image_bytes: usize, protection: Protection) {
    let builder = |fs: &MemFs| builder_of(fs, protection);
    let fs = place(files);
    let most = 4096 + 256 * image_bytes;
    if let Ok(db) = tiny(builder(&fs)).open_read_only() {
        for (name, _) in db.keyspaces() {
            if let Ok(keyspace) = db.keyspace(&name) {
                let pairs = read(&keyspace, most);
                let is_own = |(key, value)| is_own(&name, key, value);
                let are_own = pairs.iter().map(|(key, value)| (&key[..], &value[..])).all(is_own);
                assert!(protection == Protection::Clear || are_own, "{name}: {pairs:?}");
            }
        }
        let _ = db.stats().to_string();
    }
    let _ = tiny(builder(&fs)).verify(VerifyOptions::new().depth(VerifyDepth::Full));
    // What is left of a log whose damage is passed over.
    let cut = tiny(builder(&place(files))).log_recovery(LogRecovery::PointInTime);
    if let Ok(db) = cut.open() {
        let _ = db.flush();
        let _ = db.close();
    }
    // As its own options say, and then within small bounds. Space that is reserved for the log is memory
    // here.
    if let Ok(db) = builder(&fs).max_wal_bytes(1 << 20).open() {
        let _ = db.close();
    }
    let Ok(db) = tiny(builder(&fs)).threads(1).open() else { return };
    for (name, _) in db.keyspaces() {
        if let Ok(Some(keyspace)) = db.get_keyspace(&name) {
            read(&keyspace, most);
            write(&db, &keyspace, most);
        }
    }
    let own = db.keyspace("made by a test");
    let written = own.and_then(|keyspace| keyspace.insert("key", "value"));
    let _ = (db.flush(), db.verify(VerifyOptions::new()));
    // A directory that has the name of a file to come keeps a later opening from making it, and is told.
    let is_free = files.values().all(Option::is_some);
    let is_written = db.close().is_ok() && written.is_ok() && is_free;

    // What was acknowledged is there again.
    match tiny(builder(&fs)).threads(1).open() {
        Ok(db) if is_written => {
            let keyspace = db.get_keyspace("made by a test").expect("it can be opened").expect("it was made");
            assert_eq!(
                keyspace.get("key").expect("nothing is wrong with it").as_deref(),
                Some(&b"value"[..])
            );
        }
        Ok(_) => {}
        Err(error) => {
            assert!(!is_written, "it was open, and was closed properly, and does not open: {error}")
        }
    }
}

/// Whether a database to begin with has this value of a key that has a number.
fn is_own(keyspace: &str, key: &[u8], value: &[u8]) -> bool {
    let number = str::from_utf8(key).ok().and_then(|key| key.strip_prefix("key")?.parse().ok());
    number.is_none_or(|n| value.starts_with(seeds::value_start(keyspace, n).as_bytes()))
}

/// Reads in every way; answers and errors will do. A scan ends: it tells an error once and goes on behind it. Returns the
/// first of what it found.
fn read(keyspace: &impl Readable, most: usize) -> Vec<(Slice, Slice)> {
    let walked = |scan: &mut dyn Iterator<Item = isopach::Result<(Slice, Slice)>>| {
        let mut pairs = Vec::new();
        for found in 0.. {
            assert!(found < most, "a scan went on behind {most} entries and errors");
            match scan.next() {
                None => return pairs,
                Some(Ok(pair)) if pairs.len() < 64 => pairs.push(pair),
                Some(_) => {}
            }
        }
        pairs
    };
    let mut pairs = walked(&mut keyspace.iter());
    pairs.extend(walked(&mut keyspace.iter().rev()));
    walked(&mut keyspace.range("b".."k2"));
    walked(&mut keyspace.prefix("k").rev());
    for key in pairs.iter().map(|(key, _)| &key[..]).chain([&b""[..], b"key", &[0xFF; 5]]) {
        let _ = keyspace.get(key);
    }
    let _ = (keyspace.first(), keyspace.last(), keyspace.count(..));
    pairs
}

/// Writes to a keyspace that may be damaged, and merges its tables.
fn write(db: &Db, keyspace: &Keyspace, most: usize) {
    let written = keyspace.insert("key", "new").is_ok();
    match keyspace.get("key") {
        Ok(value) if written => {
            assert_eq!(value.as_deref(), Some(&b"new"[..]), "the newest value is the answer")
        }
        _ => {}
    }
    let _ = (keyspace.remove("b"), db.flush(), keyspace.compact_range(..));
    read(keyspace, most);
    // Of names of odd lengths, so that some are dropped and some are there when it is opened again.
    if keyspace.name().len() % 2 == 1 && db.drop_keyspace(keyspace.name()).is_ok() {
        let error = keyspace.get("key").expect_err("it was dropped");
        assert_eq!(error.kind(), ErrorKind::KeyspaceDropped);
    }
}
