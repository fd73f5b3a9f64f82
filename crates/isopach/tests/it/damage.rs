//! Bytes change on the disk: an error that names file and place, never a wrong value and never an empty
//! database.

use isopach::{
    ErrorKind, Event, EventListener, Seqno, Unnamed, UnnamedFile, VerifyDepth, VerifyOptions, WriteState,
    engine::{
        compaction::Views,
        store::{Store, StoreOptions},
        tree::{TreeOptions, WriteBatch},
    },
    env::{CreateOptions, File, Fs, MemFs, OpenMode, WriteOrigin},
};
use std::{
    panic::catch_unwind,
    sync::{Arc, Mutex},
};
use testkit::db::{all_bytes, entries, env_of, small, synced, tiny_tables};
use testkit::{Entries, Rng, seeds};

const KEYS: u16 = 400;

fn key(n: u16) -> [u8; 2] {
    n.to_be_bytes()
}

/// Several tables, a log behind them, closed or not; with what is in it.
fn database(is_closed: bool) -> (MemFs, Entries) {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace_with("k", tiny_tables()).unwrap();
    for n in 0..KEYS {
        ks.insert(key(n), Rng::new(u64::from(n)).bytes(200)).unwrap();
    }
    db.flush().unwrap();
    ks.compact_range(..).unwrap();
    for n in (0..KEYS).step_by(3) {
        ks.insert_with(key(n), Rng::new(u64::from(n) + 1000).bytes(100), synced()).unwrap();
    }
    db.wait_idle(testkit::db::SOON).unwrap();
    let expected = entries(&ks);
    let crashed = files.deep_clone();
    drop(ks);
    db.close().unwrap();
    (if is_closed { files } else { crashed }, expected)
}

fn flip(fs: &dyn Fs, name: &str, offset: u64, mask: u8) {
    let file: Arc<dyn File> = fs.open(name, OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(offset, &mut byte).unwrap();
    file.write_at(offset, &[byte[0] ^ mask]).unwrap();
}

/// What an opening and reading of everything says: errors, or the right answers.
fn look(files: &MemFs, expected: &Entries, is_any_prefix: bool, what: &str) {
    let db = match small(files.clone()).open() {
        Ok(db) => db,
        Err(error) => {
            let kinds = [ErrorKind::Corruption, ErrorKind::UnsupportedFormat, ErrorKind::MixedDatabase];
            let kinds = [&kinds[..], &[ErrorKind::UnsupportedFeature]].concat();
            assert!(kinds.contains(&error.kind()), "{what}: {error:?}");
            assert!(error.path().is_some_and(|path| path != std::path::Path::new("db")), "{what}: {error:?}");
            return;
        }
    };
    let Some(ks) = db.get_keyspace("k").unwrap() else {
        panic!("{what}: the database has become an empty one");
    };
    let (mut seen, mut failed) = (Entries::new(), Vec::new());
    for entry in ks.iter() {
        match entry {
            Ok((key, value)) => drop(seen.insert(key.to_vec(), value.to_vec())),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: {error}");
                assert!(error.path().is_some() && error.offset().is_some(), "{what}: {error:?}");
                failed.push(error.keys().expect("an iterator's error says which keys").clone());
            }
        }
    }
    for (key, value) in expected {
        let is_passed_over = failed.iter().any(|keys| testkit::inputs::is_inside(key, keys));
        match (seen.get(key), ks.get(key)) {
            _ if is_any_prefix => {}
            (None, Err(error)) if is_passed_over => assert_eq!(error.kind(), ErrorKind::Corruption),
            (None, Ok(Some(found))) if is_passed_over => assert_eq!(&found, &&value[..], "{what}"),
            (Some(scanned), Ok(Some(found))) => {
                assert_eq!((scanned, &found[..]), (value, &value[..]), "{what}");
            }
            (Some(scanned), Err(error)) => {
                assert_eq!(scanned, value, "{what}");
                assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: of a filter or an index");
            }
            (scanned, got) => {
                panic!(
                    "{what}: {key:?} is {:?} and {:?}",
                    scanned.map(Vec::len),
                    got.map(|it| it.map(|s| s.len()))
                )
            }
        }
    }
    assert!(seen.keys().all(|key| expected.contains_key(key)), "{what}: nothing appears");
    if failed.is_empty() && !is_any_prefix {
        assert_eq!(&seen, expected, "{what}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_with_its_place_or_shows_in_no_answer() {
    for seed in seeds(1) {
        let mut rng = Rng::new(seed);
        for is_closed in [true, false] {
            let (files, expected) = database(is_closed);
            let names: Vec<(String, usize)> =
                all_bytes(&files).into_iter().map(|(name, bytes)| (name, bytes.len())).collect();
            for (name, bytes) in names.iter().filter(|(_, bytes)| *bytes > 0) {
                // Tables in whole, of the others the part that is in use.
                let used = if name.starts_with("tables") { *bytes } else { (*bytes).min(4096) };
                for _ in 0..120 {
                    let (offset, mask) = (rng.below(used) as u64, 1 << rng.below(8));
                    let image = files.deep_clone();
                    flip(&image, name, offset, mask);
                    let what =
                        format!("ISOPACH_SEED={seed}: {name} at {offset} ^ {mask:#04x}, closed {is_closed}");
                    // Of a log that was not closed, the end behind the last sync that is told may go.
                    let is_any_prefix = !is_closed && name.starts_with("wal");
                    let outcome = catch_unwind(|| look(&image, &expected, is_any_prefix, &what));
                    assert!(outcome.is_ok(), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_flipped_byte_in_a_block_is_found_by_verify_with_its_place() {
    let (files, _) = database(true);
    let (name, bytes) = all_bytes(&files)
        .into_iter()
        .filter(|(name, _)| name.starts_with("tables/"))
        .max_by_key(|(_, b)| b.len())
        .unwrap();
    flip(&files, &name, bytes.len() as u64 / 2, 0xFF);

    let closed = small(files.clone()).verify(VerifyOptions::new()).unwrap();
    let db = small(files).open().unwrap();
    let open = db.verify(VerifyOptions::new()).unwrap();

    for report in [closed, open] {
        let of_file: Vec<_> = report.found.iter().filter(|finding| finding.file == name).collect();
        let is_of_block = |offset: u64| offset > 0 && offset <= bytes.len() as u64 / 2;
        let found = of_file.iter().find(|finding| finding.offset.is_some_and(is_of_block));
        let found = found.unwrap_or_else(|| panic!("the block is found: {of_file:?}"));
        assert!(found.keys.is_some() && found.tree.is_some(), "{found:?}");
    }
}

#[test]
fn a_full_check_finds_all_damage_of_all_tables_and_what_nothing_names() {
    let full = VerifyOptions::new().depth(VerifyDepth::Full);
    for is_closed in [true, false] {
        let (files, _) = database(is_closed);
        let sound = small(files.deep_clone()).verify(full).unwrap();
        let of_a_table = |it: &UnnamedFile| it.what == Unnamed::Table;
        assert!(sound.found.is_empty() && !sound.unnamed.iter().any(of_a_table), "{sound:?}");
        if is_closed {
            assert_eq!(sound.unnamed, [], "what was closed in order leaves nothing");
        }
        let tables: Vec<_> =
            all_bytes(&files).into_iter().filter(|(name, _)| name.starts_with("tables/")).collect();
        assert!(tables.len() > 1);
        for (name, bytes) in &tables {
            flip(&files, name, 70, 1); // The first data block,
            flip(&files, name, bytes.len() as u64 - 200, 1); // and behind all of them.
        }
        let note = files.create("wal/note", &CreateOptions::new(WriteOrigin::Metadata)).unwrap();
        note.write_at(0, b"somebody's").unwrap();

        let report = small(files.clone()).verify(full).unwrap();

        for (name, bytes) in tables {
            let offsets: Vec<u64> =
                report.found.iter().filter(|it| it.file == name).filter_map(|it| it.offset).collect();
            assert!(offsets.contains(&64), "{name}: {offsets:?}");
            assert!(offsets.iter().any(|&at| at > 64 && at > bytes.len() as u64 / 2), "{name}: {offsets:?}");
        }
        let note = UnnamedFile { file: "wal/note".into(), what: Unnamed::Foreign };
        assert!(report.unnamed.contains(&note), "{:?}", report.unnamed);
    }
}

#[test]
fn a_flipped_byte_in_the_manifest_is_corruption_with_its_place() {
    let (files, _) = database(true);
    let manifest = all_bytes(&files).into_iter().find(|(name, _)| name.starts_with("MANIFEST")).unwrap().0;

    for offset in [70, 100, 200, 300] {
        let image = files.deep_clone();
        flip(&image, &manifest, offset, 0x10);
        let before = all_bytes(&image);
        let error = small(image.clone()).open().unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert!(error.path().unwrap().ends_with(&manifest), "{error:?}");
        assert!(error.offset().is_some_and(|at| at <= offset), "{error:?}");
        assert_eq!(all_bytes(&image), before, "nothing is written");
    }
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let (files, _) = database(true);
    for (name, _) in all_bytes(&files).into_iter().filter(|(name, _)| name != "LOCK") {
        let image = files.deep_clone();
        image.remove_file(&name).unwrap();

        let outcome = small(image.clone()).open().and_then(|db| {
            let ks = db.get_keyspace("k")?.expect("never an empty database");
            ks.iter().try_for_each(|entry| entry.map(drop))
        });

        let error = outcome.expect_err(&name);
        // Which manifest there was nobody knows.
        let named = if name.starts_with("MANIFEST") { "MANIFEST-*" } else { &name };
        assert!(error.path().is_some_and(|path| path.ends_with(named)), "{name}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Corruption, "{name}: {error:?}");
    }
}

#[test]
fn a_torn_log_end_is_dropped_and_said() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    let ks = db.keyspace("k").unwrap();
    for n in 0..10_u8 {
        ks.insert([n], [n; 100]).unwrap();
    }
    let image = files.deep_clone();
    // Not in the last file of all: the next segment may be prepared already.
    let found = all_bytes(&image).into_iter().filter(|(name, _)| name.starts_with("wal/")).find_map(
        |(name, bytes)| {
            let at = bytes.windows(100).position(|bytes| bytes == [9; 100])?;
            Some((name, at))
        },
    );
    let (name, last) = found.expect("it is in the log");
    let file = image.open(&name, OpenMode::ReadWrite).unwrap();
    file.write_at(last as u64 + 50, &[0; 50]).unwrap(); // The rest was never written.

    let read = small(image.clone()).open_read_only().unwrap().recovery();
    let db = small(image.clone()).open().unwrap();

    for recovery in [read, db.recovery()] {
        let discarded = recovery.discarded.clone().expect("it is said");
        assert_eq!(discarded.file, name);
        assert!(discarded.offset < last as u64 && discarded.offset + 64 > last as u64, "{discarded:?}");
        assert!(discarded.bytes > 0 && !recovery.is_clean);
    }
    let ks = db.keyspace("k").unwrap();
    assert_eq!(ks.count(..).unwrap(), 9);
    ks.insert("next", "1").unwrap();
    drop((ks, db));
    let db = small(image).open().unwrap();
    assert_eq!((db.recovery().discarded, db.keyspace("k").unwrap().count(..).unwrap()), (None, 10));
}

/// Notes the files of damaged tables as they are told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl EventListener for Heard {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::TableDamaged { table } = event {
            self.0.lock().unwrap().push(table.file.clone());
        }
    }
}

/// A database whose largest table has a damaged block, the file and the damaged place.
fn with_damaged_table() -> (MemFs, Entries, String, u64) {
    let (files, expected) = database(true);
    let tables = all_bytes(&files).into_iter().filter(|(name, _)| name.starts_with("tables/"));
    let (name, bytes) = tables.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let at = bytes.len() as u64 / 3;
    flip(&files, &name, at, 0xFF);
    (files, expected, name, at)
}

#[test]
fn a_damaged_table_is_told_once_and_reads_go_on_around_it() {
    let (files, expected, name, at) = with_damaged_table();
    let heard = Heard::default();
    let db = small(files).listener(heard.clone()).open().unwrap();
    let ks = db.get_keyspace("k").unwrap().unwrap();
    assert!(db.health().damaged_tables.is_empty(), "nothing was read yet");

    for _ in 0..3 {
        let failed: Vec<_> = ks.iter().filter_map(Result::err).collect();
        assert_eq!(failed.len(), 1, "{failed:?}");
    }

    let health = db.health();
    let [damaged] = &health.damaged_tables[..] else { panic!("{health:?}") };
    assert_eq!((&*damaged.keyspace, &damaged.file), ("k", &name));
    assert!(damaged.offset.is_some_and(|offset| offset <= at), "{damaged:?}");
    assert!(damaged.message.contains(&name) && damaged.message.contains("corrupt"), "{damaged:?}");
    let keys = damaged.keys.clone().expect("a block holds some keys only");
    assert!(matches!(health.writes, WriteState::Normal), "writing goes on: {health:?}");
    assert_eq!(*heard.0.lock().unwrap(), [name], "told once");
    let outside = expected.iter().filter(|(key, _)| !testkit::inputs::is_inside(key, &keys));
    let read = outside.map(|(key, value)| assert_eq!(ks.get(key).unwrap().unwrap(), &value[..])).count();
    assert!(read > expected.len() / 2, "{read} keys of other blocks");
}

/// Compaction that meets damage must neither run into it again and again, nor keep flushes, writers and other
/// compactions waiting, nor drop what it could not read.
#[test]
fn compaction_leaves_a_damaged_table_alone_and_goes_on() {
    let (files, mut expected, name, _) = with_damaged_table();
    let heard = Heard::default();
    let db = small(files.clone()).listener(heard.clone()).open().unwrap();
    let ks = db.get_keyspace("k").unwrap().unwrap();

    let error = ks.compact_range(..).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
    assert!(error.path().unwrap().ends_with(&name) && error.offset().is_some(), "{error:?}");
    for round in 0..10_u8 {
        for n in (0..KEYS).step_by(2) {
            ks.insert(key(n), [round; 300]).unwrap();
            expected.insert(key(n).to_vec(), vec![round; 300]);
        }
        db.flush().unwrap();
    }
    db.wait_idle(testkit::db::SOON).unwrap();

    let health = db.health();
    assert!(health.background_error.is_none() && matches!(health.writes, WriteState::Normal), "{health:?}");
    assert_eq!(health.damaged_tables.len(), 1);
    assert_eq!(heard.0.lock().unwrap().len(), 1);
    assert!(ks.stats().tree.compactions > 0, "newer tables are merged: {}", db.stats());
    assert!(all_bytes(&files).iter().any(|(file, _)| *file == name), "what may be mended is kept");
    for n in (0..KEYS).step_by(2) {
        assert_eq!(
            ks.get(key(n)).unwrap().unwrap(),
            &[9; 300][..],
            "a newer value is found above the damage"
        );
    }
    let keys = health.damaged_tables[0].keys.clone().unwrap();
    for (key, value) in expected.iter().filter(|(key, _)| !testkit::inputs::is_inside(key, &keys)) {
        assert_eq!(ks.get(key).unwrap().unwrap(), &value[..]);
    }
}

#[test]
fn damage_is_found_again_after_reopening_and_goes_with_its_table() {
    let (files, _, name, _) = with_damaged_table();
    let db = small(files.clone()).open().unwrap();
    assert!(db.get_keyspace("k").unwrap().unwrap().iter().any(|entry| entry.is_err()));
    db.close().unwrap();

    let db = small(files.clone()).open().unwrap();
    assert!(db.health().damaged_tables.is_empty(), "nothing was read yet");
    assert!(!db.verify(VerifyOptions::new()).unwrap().found.is_empty());
    assert_eq!(db.health().damaged_tables[0].file, name, "verify marks what it finds");

    flip(
        &files,
        &name,
        all_bytes(&files).iter().find(|(file, _)| *file == name).unwrap().1.len() as u64 / 3,
        0xFF,
    );
    assert!(db.verify(VerifyOptions::new()).unwrap().found.is_empty());
    assert!(db.health().damaged_tables.is_empty(), "what reads well is not damaged any more");

    flip(&files, &name, 0, 0xFF);
    db.close().unwrap();
    let db = small(files).open().unwrap();
    assert!(!db.verify(VerifyOptions::new().depth(VerifyDepth::Outline)).unwrap().found.is_empty());
    assert_eq!(db.health().damaged_tables.len(), 1);
    assert!(db.drop_keyspace("k").unwrap());
    assert!(db.health().damaged_tables.is_empty(), "its table has gone");
}

/// A table of numbers that no note reserved, as only a program other than ours leaves it: what was committed
/// next got numbers that the tree took for flushed, which failed an assertion.
#[test]
fn tables_of_numbers_that_were_never_given_out_are_corruption() {
    let files = MemFs::new();
    let store = Store::open(env_of(files.clone()), &StoreOptions::default()).unwrap();
    let number = |raw| Seqno::from_raw(raw).unwrap();
    let id = store.reserve_tree_id().unwrap();
    let tree = store.create_tree(id, "k", &TreeOptions::default(), &[], number(1)).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(b"key", b"value");
    tree.apply(&batch, number(1000)).unwrap();
    tree.rotate(number(1000)).unwrap();
    tree.flush(number(1000), &Views::keep_all(), &[]).unwrap();
    drop((tree, store));

    let open = small(files.clone()).open().map(drop);
    let read = small(files.clone()).open_read_only().map(drop);

    for error in [open.unwrap_err(), read.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert!(error.to_string().contains("1000"), "{error}");
    }
}
