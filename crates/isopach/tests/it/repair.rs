//! Databases that lost files or parts of files, and are repaired: everything that can be read is there again, and what
//! cannot is named.

use isopach::{
    Builder, Db, ErrorKind, Fate, Keyspace, RepairOptions, RepairReport, VerifyDepth, VerifyOptions,
    env::{CreateOptions, Fs, MemFs, OpenMode, WriteOrigin},
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
            0 => drop(merging.insert(key(n), rng.bytes(300)).unwrap()),
            1 => drop(merging.remove(key(n)).unwrap()),
            2 => drop(merging.remove_range(key(n)..key(n + 5)).unwrap()),
            _ => drop(merging.merge(key(n), rng.bytes(8)).unwrap()),
        }
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
    plain.insert_with(key(1_000), b"last", synced()).unwrap();
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
