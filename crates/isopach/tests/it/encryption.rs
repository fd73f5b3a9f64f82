//! Encryption, whole: what lies on the medium, which keys open it, rotation, tampering, and crashes.

use isopach::{
    Builder, CheckpointOptions, Cipher, Db, Durability, ErrorKind, KeyId, Keyspace, KeyspaceOptions,
    VerifyDepth, VerifyOptions, WriteOptions,
    env::{
        Call, CrashFs, CreateOptions, Errno, Fault, FaultFs, Fs, MemFs, OpenMode, Rule, SubDir, WriteOrigin,
    },
};
use std::sync::Arc;
use testkit::{
    Entries, Rng,
    crash::{Act, Crash, Ledger, Pace, Plan, Run, explore},
    db::{
        SOON, entries, env_of, read_file_if_any, separating, tiny, tiny_tables, trained_tables, wait_until,
    },
    keys::{TestKeys, seals},
    seeds,
};

/// Directories of a database.
const DIRECTORIES: [&str; 4] = ["tables", "wal", "dictionaries", "blobs"];

/// What must be nowhere in clear.
const CANARY: &[u8] = b"canary-in-clear";

fn builder(fs: &MemFs, keys: &TestKeys) -> Builder {
    tiny(Db::builder("db").env(env_of(fs.clone()))).encryption(keys.clone())
}

/// The ways in which values are stored: in tables, in files of their own, and compressed against dictionaries.
fn keyspaces(db: &Db) -> [Keyspace; 3] {
    let open = |name, options: KeyspaceOptions| db.keyspace_with(name, options).unwrap();
    [
        open("canary-in-clear", tiny_tables()),
        open("separated", separating(tiny_tables())),
        open("trained", trained_tables()),
    ]
}

fn fill(db: &Db, seed: u64) {
    let mut rng = Rng::new(seed);
    for keyspace in keyspaces(db) {
        for number in 0..300_u32 {
            let key = [CANARY, &number.to_be_bytes()].concat();
            let value = [CANARY, &rng.bytes(20), &CANARY.repeat(20)].concat();
            keyspace.insert(key, value).unwrap();
        }
    }
}

fn all(db: &Db) -> Vec<Entries> {
    keyspaces(db).iter().map(entries).collect()
}

/// All files below a directory, with what they hold, but for those that the background removes meanwhile.
fn files(fs: &dyn Fs, directory: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs.list(directory).unwrap() {
        let name = if directory.is_empty() { entry.name } else { format!("{directory}/{}", entry.name) };
        if entry.is_dir {
            found.extend(files(fs, &name));
        } else {
            found.extend(read_file_if_any(fs, &name).map(|bytes| (name, bytes)));
        }
    }
    found
}

fn assert_nothing_in_clear(fs: &dyn Fs) {
    for (name, bytes) in files(fs, "") {
        assert!(!bytes.windows(CANARY.len()).any(|bytes| bytes == CANARY), "{name} shows what it holds");
        // A segment that is being prepared has no header yet.
        let is_clear = bytes.len() >= 64 && bytes[..8] != [0; 8] && bytes[40..48] == [0; 8];
        assert!(!is_clear || name.ends_with("IDENTITY"), "{name} is not encrypted");
    }
}

fn put(fs: &dyn Fs, name: &str, bytes: &[u8]) {
    let _ = fs.remove_file(name);
    fs.create(name, &CreateOptions::new(WriteOrigin::Metadata)).unwrap().write_at(0, bytes).unwrap();
}

#[test]
fn an_encrypted_database_is_as_any_other_and_shows_nothing_on_the_medium() {
    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        let (fs, copy, keys) = (MemFs::new(), MemFs::new(), TestKeys::current(1));
        let db = builder(&fs, &keys).cipher(cipher).open().unwrap();
        fill(&db, 1);
        assert_nothing_in_clear(&fs);
        db.flush().unwrap();
        fill(&db, 2);
        keyspaces(&db).iter().for_each(|keyspace| keyspace.compact_range(..).unwrap());
        keyspaces(&db)[0]
            .ingest_unsorted()
            .and_then(|mut load| {
                load.insert([CANARY, b"loaded"].concat(), CANARY)?;
                load.finish()
            })
            .unwrap();
        fill(&db, 3);
        let expected = all(&db);
        db.checkpoint_to(Arc::new(copy.clone()), "copy", CheckpointOptions::default()).unwrap();
        assert_nothing_in_clear(&fs);
        assert_nothing_in_clear(&copy);
        let full = VerifyOptions::new().depth(VerifyDepth::Full);
        assert!(db.verify(full).unwrap().found.is_empty());
        drop(db);

        let copied = MemFs::new();
        DIRECTORIES.iter().for_each(|directory| copied.create_dir(directory).unwrap());
        files(&copy, "copy").iter().for_each(|(name, bytes)| put(&copied, &name["copy/".len()..], bytes));
        for fs in [&fs, &copied] {
            let read = builder(fs, &keys).open_read_only().unwrap();
            assert_eq!(entries(&read.keyspace("separated").unwrap()), expected[1]);
            drop(read);
            let db = builder(fs, &keys).open().unwrap();
            assert_eq!(all(&db), expected);
            db.close().unwrap();
            assert!(builder(fs, &keys).verify(full).unwrap().found.is_empty());
            assert_nothing_in_clear(fs);
        }
    }
}

#[test]
fn without_the_key_or_with_another_one_nothing_opens_and_nothing_is_touched() {
    struct Other;
    impl isopach::KeyProvider for Other {
        fn current(&self) -> Result<isopach::KeyId, isopach::KeyError> {
            Ok(isopach::KeyId(1))
        }

        fn key(&self, _: isopach::KeyId) -> Result<isopach::Secret, isopach::KeyError> {
            Ok(isopach::Secret::new([0x55; 32]))
        }
    }
    for closed in [true, false] {
        let (fs, keys) = (MemFs::new(), TestKeys::current(1));
        let db = builder(&fs, &keys).open().unwrap();
        fill(&db, 1);
        db.flush().unwrap();
        if closed {
            db.close().unwrap()
        } else {
            std::mem::forget(db.snapshot())
        };
        let image = MemFs::new();
        DIRECTORIES.iter().for_each(|directory| image.create_dir(directory).unwrap());
        files(&fs, "").iter().for_each(|(name, bytes)| put(&image, name, bytes));
        let before = files(&image, "");
        let plain = || tiny(Db::builder("db").env(env_of(image.clone())));

        let refused = [
            (plain().open().map(drop), ErrorKind::MissingKey),
            (plain().open_read_only().map(drop), ErrorKind::MissingKey),
            (plain().verify(VerifyOptions::new()).map(drop), ErrorKind::MissingKey),
            (plain().encryption(Other).open().map(drop), ErrorKind::WrongKey),
            (plain().encryption(Other).open_read_only().map(drop), ErrorKind::WrongKey),
        ];

        for (result, kind) in refused {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("key 1"), "{error}");
        }
        assert_eq!(files(&image, ""), before);
    }
}

/// Nobody asks for a compaction: the background writes anew what is under the old key.
#[test]
fn a_rotation_leaves_nothing_that_needs_the_old_key() {
    let (fs, keys) = (MemFs::new(), TestKeys::current(1));
    let db = builder(&fs, &keys).open().unwrap();
    fill(&db, 1);
    db.flush().unwrap();
    let used = |db: &Db, key| db.keys_in_use().get(&KeyId(key)).is_some_and(|used| used.bytes > 0);
    assert!(used(&db, 1) && !used(&db, 2));
    keys.change(2); // While it is open: what is written from now on is under the new key.
    for keyspace in keyspaces(&db) {
        keyspace.insert("one more", "of the new key").unwrap();
    }
    let expected = all(&db);
    db.flush().unwrap();
    assert!(used(&db, 2));
    drop(db);

    let db = builder(&fs, &keys).open().unwrap();
    wait_until("nothing is under the old key", || !used(&db, 1));
    assert_eq!(all(&db), expected);
    db.close().unwrap();

    for (name, bytes) in files(&fs, "") {
        let key = u64::from_le_bytes(bytes.get(40..48).map_or([0; 8], |key| key.try_into().unwrap()));
        assert_ne!(key, 1, "{name} needs the old key");
    }
    assert_nothing_in_clear(&fs);
}

#[test]
fn a_database_becomes_encrypted_and_ceases_to_be() {
    let (fs, keys) = (MemFs::new(), TestKeys::current(1));
    let plain = || tiny(Db::builder("db").env(env_of(fs.clone())));
    let db = plain().open().unwrap();
    fill(&db, 1);
    db.flush().unwrap();
    fill(&db, 2);
    let expected = all(&db);
    drop(db);
    // Nobody asks for a compaction, but for what is still in the log and memory.
    let rewritten = |db: Db, old| {
        assert_eq!(all(&db), expected);
        db.flush().unwrap();
        wait_until("all is written anew", || !db.keys_in_use().contains_key(&KeyId(old)));
        db.close().unwrap();
    };

    rewritten(builder(&fs, &keys).open().unwrap(), 0);
    assert_nothing_in_clear(&fs);
    keys.change(0);
    rewritten(builder(&fs, &keys).open().unwrap(), 1);

    assert_eq!(all(&plain().open().unwrap()), expected, "no key is needed any more");
}

/// Checksums can be made right by anybody; only who has the key can make a record.
#[test]
fn a_log_segment_in_clear_is_not_taken_for_part_of_an_encrypted_log() {
    let (fs, keys) = (MemFs::new(), TestKeys::current(1));
    let db = builder(&fs, &keys).open().unwrap();
    let keyspace = db.keyspace("k").unwrap();
    keyspace.insert_with("real", "1", WriteOptions::new().durability(Durability::Sync)).unwrap();
    drop((keyspace, db));
    let last = files(&fs, "wal").into_iter().rfind(|(_, bytes)| bytes.len() > 64).unwrap();
    // Of a database of the attacker's, with the uuid of this one.
    let forger = MemFs::new();
    let db = tiny(Db::builder("db").env(env_of(forger.clone()))).open().unwrap();
    db.keyspace("k").unwrap().insert("forged", "1").unwrap();
    let (_, mut segment) = files(&forger, "wal").into_iter().find(|(_, bytes)| bytes.len() > 64).unwrap();
    drop(db);
    segment[24..40].copy_from_slice(&last.1[24..40]);
    let check = isopach::engine::codec::digest(&segment[..60]).to_le_bytes();
    segment[60..64].copy_from_slice(&check[..4]);
    put(&fs, &last.0, &segment);

    let error = builder(&fs, &keys).open().map(drop).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
}

/// Swapped, of an earlier time, of another kind, or in clear: each file in place of each other one.
#[test]
fn a_file_in_place_of_another_is_an_error_and_never_a_wrong_value() {
    let (fs, keys) = (MemFs::new(), TestKeys::current(1));
    let db = builder(&fs, &keys).open().unwrap();
    fill(&db, 1);
    db.flush().unwrap();
    db.wait_idle(SOON).unwrap();
    let expected = all(&db);
    db.close().unwrap();
    let there = files(&fs, "");
    let read = |image: &MemFs| -> isopach::Result<()> {
        let db = builder(image, &keys).open_read_only()?;
        for (name, expected) in ["canary-in-clear", "separated", "trained"].into_iter().zip(&expected) {
            let found: isopach::Result<Vec<_>> = db.keyspace(name)?.iter().collect();
            let found: Entries =
                found?.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            assert_eq!(&found, expected, "a wrong value");
        }
        Ok(())
    };
    let data = |name: &String| {
        name.starts_with("tables/") || name.starts_with("blobs/") || name.contains("MANIFEST")
    };
    let mut refused = 0;
    for (name, bytes) in there.iter().filter(|(name, _)| data(name)) {
        for (other, _) in there.iter().filter(|(other, _)| data(other) && other != name) {
            let image = MemFs::new();
            DIRECTORIES.iter().for_each(|directory| image.create_dir(directory).unwrap());
            there.iter().for_each(|(name, bytes)| put(&image, name, bytes));
            put(&image, other, bytes);
            refused += u32::from(read(&image).is_err());
        }
    }
    let files = there.iter().filter(|(name, _)| data(name)).count() as u32;
    assert_eq!(refused, files * (files - 1), "each is noticed");
}

#[test]
fn no_pair_of_key_and_nonce_is_used_twice_over_crashes_rotations_and_copies() {
    for seed in seeds(1) {
        for crash in [Crash::Process, Crash::Power { images: 2 }] {
            let files = CrashFs::new();
            let mut run = Run::new(&files, &Ledger::default(), Pace::Free, Rng::new(seed));
            run.encrypt(1);
            let explored = explore(&files, &mut run, Plan::new(seed, crash).one_in(3), |run| {
                run.perform(&[Act::Fill, Act::Flush, Act::Load, Act::Checkpoint, Act::Fill, Act::Abandon]);
                run.close();
                run.encrypt(2);
                run.perform(&[Act::Fill, Act::Flush, Act::Compact, Act::Clear, Act::Fill, Act::Reopen]);
                run.perform(&[Act::Fill, Act::Checkpoint]);
                run.close();
                let place = SubDir::open(Arc::new(run.files().clone()), "db").unwrap();
                let manifest =
                    place.list("").unwrap().into_iter().find(|it| it.name.starts_with("MANIFEST-"));
                let mut key = [0; 8];
                let file = place.open(&manifest.unwrap().name, OpenMode::Read).unwrap();
                file.read_exact_at(40, &mut key).unwrap();
                assert_eq!(u64::from_le_bytes(key), 2, "it is encrypted, and under the new key");
            });
            let explored = explored.unwrap_or_else(|violation| panic!("{violation}"));
            let (count, repeated) = seals();
            assert!(explored.images > 100 && count > 10_000, "{explored}, {count} seals");
            assert_eq!(repeated, 0, "of {count} seals");
        }
    }
}

/// Writes that fail half-way or wholly, at every few of those of the log and the manifest, and are tried again by the database.
#[test]
fn no_pair_of_key_and_nonce_is_used_twice_where_writes_fail() {
    let mut failed = 0;
    for name in ["wal/*", "MANIFEST*", "tables/*", "blobs/*"] {
        for fault in [Fault::Fail(Errno::NoSpace), Fault::Cut(40, Errno::NoSpace), Fault::FailLate(Errno::Io)]
        {
            for skip in (0..40).step_by(3) {
                let files = FaultFs::new(Arc::new(MemFs::new()));
                let keys = TestKeys::current(1);
                let open = || {
                    // Written, not mapped: what is stored in a map cannot fail.
                    tiny(Db::builder("db").env(env_of(files.clone())))
                        .encryption(keys.clone())
                        .mapped_log(false)
                        .open()
                };
                let db = open().unwrap();
                files.arm(Rule::new(fault).on(Call::Write).named(name).skip(skip).times(2));
                let keyspace = db.keyspace_with("separated", separating(tiny_tables()));
                for number in 0..120_u32 {
                    if let Ok(keyspace) = &keyspace {
                        let _ = keyspace.insert(number.to_be_bytes(), [7; 300]);
                    }
                }
                let _ = db.flush();
                drop((keyspace, db));
                failed += files.fired().len();
                files.disarm();
                drop(open().unwrap());
            }
        }
    }
    assert!(failed > 100, "{failed} writes failed");
    assert_eq!(seals().1, 0, "of {} seals", seals().0);
}
