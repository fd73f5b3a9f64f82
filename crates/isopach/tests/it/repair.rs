//! Databases that lost files or parts of files, and are repaired: everything that can be read is there again, and what
//! cannot is named.

use isopach::{
    Db, ErrorKind, Fate, Keyspace, Parity, RepairOptions, RepairReport, VerifyDepth, VerifyOptions,
    env::{CrashFs, CreateOptions, Fs, MemFs, OpenMode, WriteOrigin},
};
use testkit::{
    Contents, Rng,
    db::{SOON, all_bytes, contents, merging_tables, small, synced, tiny_tables},
    keys::KEYS,
    seeds,
};

const PLAIN: &str = "plain";
const MERGING: &str = "merging";

fn key(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

fn remove(files: &MemFs, prefix: &str) {
    for (name, _) in all_bytes(files).into_iter().filter(|(name, _)| name.starts_with(prefix)) {
        files.remove_file(&name).unwrap();
    }
}

fn flip(fs: &dyn Fs, name: &str, offset: u64) {
    let file = fs.open(name, OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(offset, &mut byte).unwrap();
    file.write_at(offset, &[byte[0] ^ 0x10]).unwrap();
}

fn fill(plain: &Keyspace, merging: &Keyspace, rng: &mut Rng, rounds: u32) {
    for _ in 0..rounds {
        let n = rng.below(300) as u32;
        let len = 20 + rng.below(400);
        plain.insert(key(n), rng.bytes(len)).unwrap();
        match rng.below(10) {
            0 => merging.insert(key(n), rng.bytes(300)),
            1 => merging.remove(key(n)),
            2 => merging.remove_range(key(n)..key(n + 5)),
            _ => merging.merge(key(n), rng.bytes(8)),
        }
        .unwrap();
        if rng.below(40) == 0 {
            plain.remove_range(key(n)..key(n + 9)).unwrap();
        }
    }
}

/// Two keyspaces with tables on several levels, range deletes, operands and separated values; with a log behind, or closed.
fn database(seed: u64, files: &MemFs, is_closed: bool) -> (MemFs, Contents) {
    let mut rng = Rng::new(seed);
    let db = small(files.clone()).open().unwrap();
    let plain = db.keyspace_with(PLAIN, tiny_tables()).unwrap();
    let merging = db.keyspace_with(MERGING, merging_tables()).unwrap();
    for round in 0..4 {
        fill(&plain, &merging, &mut rng, 400);
        if round == 1 {
            plain.compact_range(..).unwrap();
            merging.compact_range(..).unwrap();
        }
        db.flush().unwrap();
    }
    db.wait_idle(SOON).unwrap();
    fill(&plain, &merging, &mut rng, 60);
    for n in 1_000..1_020 {
        plain.insert_with(key(n), b"synced", synced()).unwrap();
    }
    let expected = contents(&db);
    let crashed = files.deep_clone();
    drop((plain, merging));
    db.close().unwrap();
    (if is_closed { files.clone() } else { crashed }, expected)
}

fn repair(files: &MemFs, how: RepairOptions) -> RepairReport {
    small(files.clone()).repair(how).unwrap()
}

fn open(files: &MemFs) -> Db {
    small(files.clone()).open().unwrap()
}

fn assert_sound(files: &MemFs) {
    let report = small(files.clone()).verify(VerifyOptions::new().depth(VerifyDepth::Full)).unwrap();
    assert!(report.found.is_empty(), "{:?}", report.found);
}

#[test]
fn a_database_without_its_manifest_is_whole_after_a_repair() {
    for seed in seeds(2) {
        for is_closed in [true, false] {
            let (files, expected) = database(seed, &MemFs::new(), is_closed);
            remove(&files, "MANIFEST");
            let error = small(files.clone()).open().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption);
            assert!(error.to_string().contains("isopach repair"), "{error}");

            let report = repair(&files, RepairOptions::new());

            assert!(report.manifest.is_some() && !report.has_losses(), "seed {seed}: {report:?}");
            assert_sound(&files);
            let db = open(&files);
            assert_eq!(contents(&db), expected, "seed {seed}, closed {is_closed}");
            db.get_keyspace(PLAIN).unwrap().unwrap().insert("new", "value").unwrap();
            db.flush().unwrap();
            for name in [PLAIN, MERGING] {
                db.get_keyspace(name).unwrap().unwrap().compact_range(..).unwrap();
            }
            let mut expected = expected;
            expected.get_mut(PLAIN).unwrap().insert(b"new".to_vec(), b"value".to_vec());
            assert_eq!(contents(&db), expected, "seed {seed}, closed {is_closed}, compacted");
            db.close().unwrap();
            assert_sound(&files);
        }
    }
}

/// Keys whose ranges were lost, or cannot be read.
fn is_named(report: &RepairReport, keyspace: &str, key: &[u8]) -> bool {
    let files = report.files.iter().filter(|file| file.tree.as_deref() == Some(keyspace));
    let mut lost = files.flat_map(|file| &file.lost);
    let is_anybodys = |file: &isopach::RepairedFile| file.fate == Fate::LeftOut && file.tree.is_none();
    if report.files.iter().any(|file| is_anybodys(file) && file.lost_entries.is_none()) {
        return true; // Nobody knows what was in it.
    }
    lost.any(|lost| testkit::inputs::is_inside(key, &lost.keys))
}

/// Of every key the right value, or it is named: then an error, or, if what is damaged was dropped, anything.
fn assert_right_or_named(files: &MemFs, expected: &Contents, report: &RepairReport, what: &str) {
    let db = open(files);
    for (name, entries) in expected {
        let Some(keyspace) = db.get_keyspace(name).unwrap() else {
            let is_lost = entries.keys().all(|key| is_named(report, name, key));
            assert!(is_lost, "{what}: {name} is gone");
            continue;
        };
        for (key, value) in entries {
            match keyspace.get(key) {
                Ok(Some(found)) if *found == value[..] => {}
                _ if is_named(report, name, key) => {}
                found => {
                    panic!("{what}: {name} {key:?} is {:?}, and is not named", found.map(|it| it.is_some()))
                }
            }
        }
        for entry in keyspace.iter() {
            let Ok((key, _)) = entry else { continue };
            let is_known = entries.contains_key(&key[..]) || is_named(report, name, &key);
            assert!(is_known, "{what}: {name} {key:?} has come back, and is not named");
        }
    }
}

/// Changes a bit in one of a hundred places of all tables, about a block's size apart. How many of them parity does not
/// restore.
fn spoil_tables(files: &MemFs, rng: &mut Rng) -> usize {
    let mut spoiled = 0;
    for (name, bytes) in all_bytes(files).into_iter().filter(|(name, _)| name.starts_with("tables/")) {
        for block in 0..bytes.len() / 2048 {
            if rng.below(25) == 0 {
                let at = (block * 2048 + rng.below(2048)).clamp(64, bytes.len() - 1);
                flip(files, &name, at as u64);
                spoiled += usize::from(bytes[48..51] == [0; 3]);
            }
        }
    }
    spoiled
}

#[test]
fn of_damaged_tables_every_sound_part_is_there_and_every_lost_range_is_named() {
    for seed in seeds(3) {
        for (has_manifest, salvage) in [(false, false), (false, true), (true, true), (true, false)] {
            let (files, expected) = database(seed, &MemFs::new(), true);
            if !has_manifest {
                remove(&files, "MANIFEST");
            }
            let spoiled = spoil_tables(&files, &mut Rng::new(seed));
            let what =
                format!("ISOPACH_SEED={seed}: manifest {has_manifest}, salvage {salvage}, {spoiled} places");
            let before = all_bytes(&files);

            let report = repair(&files, RepairOptions::new().salvage(salvage));

            assert!(spoiled == 0 || !report.is_unchanged || !salvage, "{what}: {report:?}");
            assert_eq!(report.manifest.is_none(), has_manifest, "{what}");
            if has_manifest && !salvage {
                assert_eq!(all_bytes(&files), before, "{what}: nothing could be done");
            }
            assert_right_or_named(&files, &expected, &report, &what);
            if salvage {
                let tables = report.files.iter().filter(|file| file.file.starts_with("tables/"));
                assert!(tables.clone().all(|file| file.fate != Fate::Damaged), "{what}: {report:?}");
                assert_sound(&files);
            }
        }
    }
}

/// Data, filters, indexes, range deletes, properties, footer: one place at a time.
#[test]
fn wherever_a_table_is_damaged_each_key_that_cannot_be_read_is_named() {
    const BETWEEN_PLACES: usize = 193;
    for seed in seeds(1) {
        let (files, expected) = database(seed, &MemFs::new(), true);
        for (name, bytes) in all_bytes(&files).iter().filter(|(name, _)| name.starts_with("tables/")) {
            for at in (0..bytes.len()).step_by(BETWEEN_PLACES) {
                let damaged = files.deep_clone();
                flip(&damaged, name, at as u64);
                let (has_manifest, salvage) = (at % 3 != 0, at % 2 == 0);
                if !has_manifest {
                    remove(&damaged, "MANIFEST");
                }

                let report = repair(&damaged, RepairOptions::new().salvage(salvage));

                let what = format!(
                    "ISOPACH_SEED={seed}: manifest {has_manifest}, salvage {salvage}, {name} at byte {at}"
                );
                assert_right_or_named(&damaged, &expected, &report, &what);
            }
        }
    }
}

/// A table that was dropped had deleted more keys than its first and last key tell.
#[test]
fn what_comes_back_because_its_delete_was_lost_is_named() {
    for has_manifest in [true, false] {
        let files = MemFs::new();
        let db = small(files.clone()).open().unwrap();
        let plain = db.keyspace_with(PLAIN, tiny_tables()).unwrap();
        plain.insert(key(5), "deleted").unwrap();
        for n in 100..400 {
            plain.insert(key(n), Rng::new(n.into()).bytes(200)).unwrap();
        }
        db.flush().unwrap();
        plain.compact_range(..).unwrap();
        plain.insert(key(1), "value").unwrap();
        plain.remove_range(key(2)..key(9)).unwrap();
        db.flush().unwrap();
        db.close().unwrap();
        let mut names = all_bytes(&files).into_iter().map(|(name, _)| name);
        let newest = names.rfind(|name| name.starts_with("tables/")).unwrap();
        // Of all its data and of the block of its range deletes.
        (64..600).step_by(8).for_each(|at| flip(&files, &newest, at));
        if !has_manifest {
            remove(&files, "MANIFEST");
        }

        let report = repair(&files, RepairOptions::new().salvage(true));

        let plain = open(&files).keyspace(PLAIN).unwrap();
        assert_eq!(plain.get(key(5)).unwrap().as_deref(), Some(&b"deleted"[..]), "{report:?}");
        assert!(is_named(&report, PLAIN, &key(5)), "{report:?}");
        assert!(!is_named(&report, PLAIN, &key(0)), "{report:?}");
        assert!(report.warnings.iter().any(|warning| warning.contains("MAY COME BACK")), "{report:?}");
    }
}

/// No manifest says any more how long the content is.
#[test]
fn a_file_whose_parity_has_a_damaged_end_loses_nothing_with_its_manifest() {
    const TAIL_BYTES: u64 = 32;
    let mut seen = [false; 2];
    for parity in [Parity::SecDed, Parity::Xor { data: 4 }] {
        let files = MemFs::new();
        let db = small(files.clone()).open().unwrap();
        let options = merging_tables().parity(parity).blob_parity(parity);
        let (plain, merging) =
            (db.keyspace_with(PLAIN, options.clone()).unwrap(), db.keyspace_with(MERGING, options).unwrap());
        let mut rng = Rng::new(7);
        fill(&plain, &merging, &mut rng, 400);
        db.flush().unwrap();
        let expected = contents(&db);
        db.close().unwrap();
        remove(&files, "MANIFEST");
        for (name, bytes) in all_bytes(&files) {
            let is_blob = name.starts_with("blobs/");
            if !is_blob && !name.starts_with("tables/") {
                continue;
            }
            assert_ne!(bytes[48..51], [0; 3], "{name}");
            seen[usize::from(is_blob)] = true;
            for back in [1, 9, 15, 20, TAIL_BYTES] {
                let damaged = files.deep_clone();
                flip(&damaged, &name, bytes.len() as u64 - back);
                let report = repair(&damaged, RepairOptions::new().salvage(true));
                assert!(!report.has_losses(), "{parity}, {name}, {back} before its end: {report:?}");
                assert_eq!(contents(&open(&damaged)), expected, "{parity}, {name}, {back} before its end");
            }
        }
    }
    assert_eq!(seen, [true; 2], "tables and files of separated values");
}

/// The files of a directory that another one lacks.
fn bring_back(from: &MemFs, to: &MemFs, directory: &str) -> usize {
    let there: Vec<String> = all_bytes(to).into_iter().map(|(name, _)| name).collect();
    let missing = all_bytes(from).into_iter().filter(|(name, _)| name.starts_with(directory));
    let missing: Vec<_> = missing.filter(|(name, _)| !there.contains(name)).collect();
    for (name, bytes) in &missing {
        to.create(name, &CreateOptions::new(WriteOrigin::Metadata)).unwrap().write_at(0, bytes).unwrap();
    }
    missing.len()
}

/// Readers hold what compactions replaced, and what those made was replaced as well.
#[test]
fn operands_do_not_count_twice_though_inputs_of_compactions_are_there() {
    for seed in seeds(3) {
        let files = MemFs::new();
        let db = small(files.clone()).open().unwrap();
        let merging = db.keyspace_with(MERGING, merging_tables()).unwrap();
        let plain = db.keyspace_with(PLAIN, tiny_tables()).unwrap();
        let mut rng = Rng::new(seed);
        for _ in 0..3 {
            fill(&plain, &merging, &mut rng, 300);
            db.flush().unwrap();
        }
        let expected = contents(&db);
        let held = (merging.iter(), plain.iter());
        for _ in 0..2 {
            merging.compact_range(..).unwrap();
            plain.compact_range(..).unwrap();
            db.wait_idle(SOON).unwrap();
        }
        assert_eq!(contents(&db), expected);
        let image = files.deep_clone();
        drop((held, merging, plain, db));
        remove(&image, "MANIFEST");

        let report = repair(&image, RepairOptions::new());

        assert!(!report.has_losses(), "ISOPACH_SEED={seed}: {report:?}");
        let is_replaced = |file: &isopach::RepairedFile| file.why.contains("made of it");
        assert!(report.files.iter().any(is_replaced), "ISOPACH_SEED={seed}: {report:?}");
        let found = contents(&open(&image));
        for (name, entries) in &expected {
            let is_other = |key: &&Vec<u8>| found[name].get(*key) != entries.get(*key);
            let other: Vec<_> = entries.keys().chain(found[name].keys()).filter(is_other).collect();
            assert!(other.is_empty(), "ISOPACH_SEED={seed}: {name}: {other:?}: {report:#?}");
        }
        assert_sound(&image);
    }
}

#[test]
fn a_repair_that_is_repeated_finds_nothing_to_do_and_nothing_that_it_left_out_is_removed() {
    let (files, expected) = database(5, &MemFs::new(), true);
    remove(&files, "MANIFEST");
    let lost = all_bytes(&files).into_iter().find(|(name, _)| name.starts_with("tables/")).unwrap().0;
    for offset in 0..64 {
        flip(&files, &lost, offset);
    }

    let first = repair(&files, RepairOptions::new().salvage(true));
    let repaired = all_bytes(&files);
    let second = repair(&files, RepairOptions::new().salvage(true));

    assert!(first.has_losses() && first.count(Fate::LeftOut) > 0, "{first:?}");
    assert!(second.is_unchanged && !second.has_losses() && second.files.is_empty(), "{second:?}");
    assert_eq!(all_bytes(&files), repaired);
    let aside = format!("lost/{}", lost.rsplit('/').next().unwrap());
    for _ in 0..2 {
        let db = open(&files);
        db.wait_idle(SOON).unwrap();
        db.close().unwrap();
        assert_eq!(files.exists(&aside), Ok(true));
    }
    drop(expected);
}

/// A crash between the commit of a repair and the moving of files leaves them where they were.
#[test]
fn what_a_repair_left_out_and_did_not_move_is_no_orphan() {
    let (files, _) = database(6, &MemFs::new(), true);
    remove(&files, "MANIFEST");
    let name = all_bytes(&files).into_iter().find(|(name, _)| name.starts_with("tables/")).unwrap().0;
    let bytes = testkit::db::read_file(&files, &name);
    files.remove_file(&name).unwrap();
    let spoiled = [&[0; 64], &bytes[64..]].concat();
    files.create(&name, &CreateOptions::new(WriteOrigin::Metadata)).unwrap().write_at(0, &spoiled).unwrap();
    repair(&files, RepairOptions::new());
    let aside = format!("lost/{}", name.rsplit('/').next().unwrap());
    files.rename(&aside, &name).unwrap();

    let db = open(&files);
    db.wait_idle(SOON).unwrap();
    db.close().unwrap();

    assert_eq!(files.exists(&name), Ok(true));
    let report = small(files.clone()).verify(VerifyOptions::new().depth(VerifyDepth::Full)).unwrap();
    let unnamed: Vec<_> = report.unnamed.iter().filter(|it| it.file == name).map(|it| it.what).collect();
    assert_eq!(unnamed, [isopach::Unnamed::LeftOut]);
}

#[test]
fn a_dry_run_says_the_same_and_writes_nothing() {
    for has_manifest in [true, false] {
        let (files, _) = database(7, &MemFs::new(), false);
        if !has_manifest {
            remove(&files, "MANIFEST");
        }
        files.remove_file("LOCK").unwrap();
        spoil_tables(&files, &mut Rng::new(7));
        let root = |files: &MemFs| testkit::db::files_in(files, "");
        let (before, names) = (all_bytes(&files), root(&files));

        let dry = repair(&files, RepairOptions::new().salvage(true).dry_run(true));

        assert_eq!((all_bytes(&files), root(&files)), (before, names));
        let wet = repair(&files, RepairOptions::new().salvage(true));
        let fates = |report: &RepairReport| {
            let file = |file: &isopach::RepairedFile| (file.file.clone(), file.fate, file.lost.clone());
            report.files.iter().map(file).collect::<Vec<_>>()
        };
        assert!(dry.is_dry_run && !wet.is_dry_run);
        assert_eq!(fates(&dry), fates(&wet));
        assert_eq!(dry.keyspaces, wet.keyspaces);
    }
}

#[test]
fn a_log_that_is_cut_ends_there_and_the_database_opens() {
    for has_manifest in [true, false] {
        let (files, expected) = database(8, &MemFs::new(), false);
        if !has_manifest {
            remove(&files, "MANIFEST");
        }
        // A segment that is made ready has no first record, and zeros where its records will begin.
        let has_records =
            |bytes: &[u8]| bytes.len() > 200 && bytes[64..72] != [0; 8] && bytes[120..152] != [0; 32];
        let logs = all_bytes(&files).into_iter().filter(|(name, _)| name.starts_with("wal/"));
        let (name, bytes) = logs.filter(|(_, bytes)| has_records(bytes)).max().unwrap();
        let zeros = vec![0; 64];
        let file = files.open(&name, OpenMode::ReadWrite).unwrap();
        file.write_at(120, &zeros).unwrap();
        drop(file);
        let is_refused = small(files.deep_clone()).open().is_err();

        let report = repair(&files, RepairOptions::new());

        assert!(
            is_refused && report.log_damage.as_ref().is_some_and(|why| why.contains(&name)),
            "{report:?}"
        );
        let aside = format!("lost/{}", name.rsplit('/').next().unwrap());
        assert_eq!(testkit::db::read_file(&files, &aside).len(), bytes.len(), "it is kept");
        let db = open(&files);
        let found = contents(&db);
        let same =
            found[PLAIN].iter().filter(|(key, value)| expected[PLAIN].get(*key) == Some(*value)).count();
        assert!(same * 2 > expected[PLAIN].len(), "{same} of {}", expected[PLAIN].len());
        db.get_keyspace(PLAIN).unwrap().unwrap().insert_with("new", "value", synced()).unwrap();
        db.close().unwrap();
        assert!(contents(&open(&files))[PLAIN].contains_key(&b"new"[..]));
    }
}

#[test]
fn a_lost_identity_is_made_anew_by_what_all_files_say() {
    let (files, expected) = database(9, &MemFs::new(), true);
    let uuid = open(&files).uuid();
    for name in ["IDENTITY", "MANIFEST"] {
        remove(&files, name);
        let error = small(files.clone()).open().unwrap_err();
        assert!(error.to_string().contains("isopach repair"), "{error}");
        let report = repair(&files, RepairOptions::new());
        assert_eq!(
            (report.has_new_identity, report.manifest.is_some()),
            (name == "IDENTITY", name == "MANIFEST")
        );
        let db = open(&files);
        assert_eq!((contents(&db), db.uuid()), (expected.clone(), uuid));
    }
    let (other, _) = database(10, &MemFs::new(), true);
    remove(&files, "IDENTITY");
    let (_, bytes) = all_bytes(&other).into_iter().find(|(name, _)| name.starts_with("tables/")).unwrap();
    let foreign = "tables/900000.table";
    files.create(foreign, &CreateOptions::new(WriteOrigin::Metadata)).unwrap().write_at(0, &bytes).unwrap();
    let before = all_bytes(&files);

    let error = small(files.clone()).repair(RepairOptions::new()).unwrap_err();

    assert!(error.kind() == ErrorKind::Corruption && error.to_string().contains(foreign), "{error}");
    assert_eq!(all_bytes(&files), before);
}

#[test]
fn an_encrypted_database_is_repaired_with_its_keys_and_not_touched_without() {
    let files = MemFs::new();
    files.create(KEYS[0].0, &CreateOptions::new(WriteOrigin::Metadata)).unwrap();
    let (files, expected) = database(11, &files, false);
    remove(&files, "MANIFEST");
    let before = all_bytes(&files);
    let env = testkit::db::env_of(files.clone());

    let without = Db::builder("db").env(env).repair(RepairOptions::new()).unwrap_err();

    assert_eq!(without.kind(), ErrorKind::MissingKey);
    assert_eq!(all_bytes(&files), before);
    let report = repair(&files, RepairOptions::new());
    assert!(!report.has_losses(), "{report:?}");
    assert_eq!(contents(&open(&files)), expected);
    let tables = all_bytes(&files).into_iter().filter(|(name, _)| name.starts_with("tables/"));
    let (table, _) = tables.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    flip(&files, &table, 300);
    let report = repair(&files, RepairOptions::new().salvage(true));
    assert_eq!(report.count(Fate::Salvaged), 1, "{report:?}");
    assert_right_or_named(&files, &expected, &report, "encrypted");
    assert_sound(&files);
}

#[test]
fn changes_of_keyspaces_in_the_log_hold_and_loads_keep_their_place() {
    let files = MemFs::new();
    let db = small(files.clone()).open().unwrap();
    for name in ["dropped", "cleared", "loaded"] {
        let keyspace = db.keyspace_with(name, tiny_tables()).unwrap();
        for n in 0..200 {
            keyspace.insert(key(n), b"old").unwrap();
        }
    }
    db.flush().unwrap();
    let open_keyspace = |name| db.get_keyspace(name).unwrap().unwrap();
    let mut load = open_keyspace("loaded").ingest().unwrap();
    (0..100).for_each(|n| load.insert(key(n), b"loaded").unwrap());
    load.finish().unwrap();
    for n in 0..50 {
        open_keyspace("loaded").insert(key(n), b"new").unwrap();
    }
    let tables = files.deep_clone();
    open_keyspace("cleared").clear().unwrap();
    open_keyspace("cleared").insert("only", "this").unwrap();
    assert!(db.drop_keyspace("dropped").unwrap());
    db.keyspace_with("young", tiny_tables()).unwrap().insert_with("in the log", "only", synced()).unwrap();
    db.wait_idle(SOON).unwrap();
    let expected = contents(&db);
    let crashed = files.deep_clone();
    drop(db);
    remove(&crashed, "MANIFEST");
    assert!(bring_back(&tables, &crashed, "tables/") > 0);

    let report = repair(&crashed, RepairOptions::new());

    assert!(report.files.iter().any(|file| file.why.contains("dropped")), "{report:?}");
    assert_eq!(contents(&open(&crashed)), expected);
    assert_sound(&crashed);
}

/// Where a repair crashed, and what was not there then.
type Violation = String;

/// Repairs a database whose manifest and a table are damaged, crashes at every step, and repairs what that leaves.
fn crash_everywhere() -> Result<(), Violation> {
    let (files, expected) = database(12, &MemFs::new(), false);
    let first = |prefix: &str| {
        let names = all_bytes(&files).into_iter().map(|(name, _)| name);
        names.filter(|name| name.starts_with(prefix)).min().unwrap()
    };
    let (manifest, table) = (first("MANIFEST"), first("tables/"));
    flip(&files, &manifest, 100);
    flip(&files, &table, 300);
    let crashing = CrashFs::new();
    for directory in ["tables", "wal", "dictionaries", "blobs"] {
        crashing.create_dir(directory).unwrap();
    }
    for (name, bytes) in all_bytes(&files) {
        let file = crashing.create(&name, &CreateOptions::new(WriteOrigin::Metadata)).unwrap();
        file.write_at(0, &bytes).unwrap();
    }
    crashing.settle();
    crashing.record();
    let how = RepairOptions::new().salvage(true);
    let whole = small(crashing.clone()).repair(how).unwrap();
    assert_eq!(whole.count(Fate::Salvaged), 1, "{whole:?}");
    let history = crashing.history();
    assert!(history.len() > 8, "{} steps", history.len());

    for (step, seed) in (0..=history.len()).flat_map(|step| (0..3).map(move |seed| (step, seed))) {
        let image = history.after(step).crash(seed);
        let violation = |what: String| format!("step {step}, seed {seed}: {what}");
        small(image.clone()).repair(how).map_err(|error| violation(error.to_string()))?;
        let db = small(image.clone()).open().map_err(|error| violation(error.to_string()))?;
        for (name, entries) in &expected {
            let keyspace = db.get_keyspace(name).unwrap().ok_or_else(|| violation(name.clone()))?;
            for (key, value) in entries {
                let found = keyspace.get(key).map_err(|error| violation(error.to_string()))?;
                if found.as_deref() != Some(&value[..]) && !is_named(&whole, name, key) {
                    return Err(violation(format!("{name} {key:?}")));
                }
            }
        }
        db.wait_idle(SOON).unwrap();
        db.close().unwrap();
        for name in [&manifest, &table] {
            let bytes = testkit::db::read_file(&files, name);
            let aside = format!("lost/{}", name.rsplit('/').next().unwrap());
            let names = [name.clone(), aside.clone(), format!("{aside}.1")];
            let is_kept =
                |name: &String| testkit::db::read_file_if_any(&image, name).as_ref() == Some(&bytes);
            if !names.iter().any(is_kept) {
                return Err(violation(format!("{name} is gone")));
            }
        }
    }
    Ok(())
}

#[test]
fn a_crash_at_any_step_of_a_repair_leaves_what_can_be_repaired() {
    assert_eq!(crash_everywhere(), Ok(()));
}

/// Whatever lies in the directory, a repair ends, and what it makes opens or says why not.
#[test]
fn a_directory_of_bytes_that_are_changed_anyhow_is_repaired_or_refused() {
    for seed in seeds(4) {
        let (files, _) = database(seed, &MemFs::new(), seed % 2 == 0);
        let mut rng = Rng::new(seed);
        for _ in 0..6 {
            let image = files.deep_clone();
            if rng.below(2) == 0 {
                remove(&image, "MANIFEST");
            }
            for (name, bytes) in all_bytes(&image).into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
                let places = if rng.below(3) == 0 { 0 } else { 1 + rng.below(8) };
                let used = if name.starts_with("wal") { bytes.len().min(8192) } else { bytes.len() };
                (0..places).for_each(|_| flip(&image, &name, rng.below(used) as u64));
            }
            let salvage = rng.below(2) == 0;
            let Ok(report) = small(image.clone()).repair(RepairOptions::new().salvage(salvage)) else {
                continue;
            };
            let Ok(db) = small(image.clone()).open() else { continue };
            for (name, _) in db.keyspaces() {
                if let Ok(Some(keyspace)) = db.get_keyspace(&name) {
                    assert!(keyspace.iter().count() < 1_000_000, "ISOPACH_SEED={seed}: {report:?}");
                }
            }
        }
    }
}

#[test]
fn a_database_that_is_open_is_not_repaired_and_an_empty_directory_is_none() {
    let (files, _) = database(13, &MemFs::new(), true);
    let db = open(&files);

    let locked = small(files.clone()).repair(RepairOptions::new()).unwrap_err();
    let missing = small(MemFs::new()).repair(RepairOptions::new()).unwrap_err();

    assert_eq!((locked.kind(), missing.kind()), (ErrorKind::Locked, ErrorKind::NotFound));
    drop(db);
}
