//! Encryption, whole: what lies on the medium, which keys open it, and tampering.

mod crash;
mod nonces;
mod rotation;

use isopach::{
    Builder, CheckpointOptions, Cipher, Db, Durability, ErrorKind, Keyspace, KeyspaceOptions, VerifyDepth,
    VerifyOptions, WriteOptions,
    env::{CreateOptions, Fs, MemFs, WriteOrigin},
};
use std::sync::Arc;
use testkit::{
    Entries, Rng,
    db::{SOON, entries, env_of, read_file_if_any, separating, tiny, tiny_tables, trained_tables},
    keys::TestKeys,
};

/// Directories of a database.
const DIRECTORIES: [&str; 4] = ["tables", "wal", "dictionaries", "blobs"];

/// What must be nowhere in clear.
const CANARY: &[u8] = testkit::crash::CANARY.as_bytes();

fn builder(fs: &(impl Fs + Clone), keys: &TestKeys) -> Builder {
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
