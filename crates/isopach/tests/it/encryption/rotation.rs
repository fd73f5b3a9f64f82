//! Keys that change: by the background, and to the end by a call.

use super::{CANARY, all, assert_nothing_in_clear, builder, files, fill, keyspaces};
use isopach::{
    CheckpointOptions, Cipher, Db, ErrorKind, KeyId, KeyspaceOptions, Progress,
    env::{CrashFs, Fs, MemFs, OpenMode, SubDir, Survival},
};
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use testkit::{
    Rng,
    db::{SOON, entries, env_of, tiny, wait_until},
    keys::TestKeys,
    seeds,
};

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

fn finish(db: &Db) -> isopach::Result<()> {
    db.finish_rotation(|_| ControlFlow::Continue(()))
}

fn keys_of(db: &Db) -> Vec<u64> {
    db.keys_in_use().into_keys().map(|key| key.0).collect()
}

/// From one key to another, from clear to a key, and from a key to clear; what is in memory and log goes along.
#[test]
fn a_finished_rotation_needs_no_other_key_after_any_crash() {
    for seed in seeds(1) {
        let mut rng = Rng::new(seed);
        for (from, to) in [(1, 2), (0, 1), (1, 0)] {
            let (place, keys) = (CrashFs::new(), TestKeys::current(from));
            let db = builder(&place, &keys).open().unwrap();
            fill(&db, 1);
            db.flush().unwrap();
            fill(&db, 2);
            db.wait_idle(SOON).unwrap();
            keys.change(to);
            // Encryption ends with an opening.
            let db = if to == 0 {
                drop(db);
                builder(&place, &keys).open().unwrap()
            } else {
                db
            };
            let expected = all(&db);
            let mut told = Vec::new();

            let finished = db.finish_rotation(|progress: &Progress| {
                told.push((progress.done, progress.total));
                ControlFlow::Continue(())
            });

            finished.unwrap();
            assert_eq!(keys_of(&db), [to], "from {from} to {to}");
            assert!(told.is_sorted() && told.iter().all(|(done, total)| done <= total), "{told:?}");
            // Behind an opening the background may have been quicker.
            assert!(told[0].1 > 0 || to == 0, "{told:?}");
            let survivals = [Survival::Nothing, Survival::Any, Survival::Any, Survival::Any];
            let lost = survivals.map(|survival| place.crash_with(survival, rng.word()));
            for image in [place.kill()].into_iter().chain(lost) {
                let only = TestKeys::only(to);
                let crashed = builder(&image, &only).open().unwrap();
                assert_eq!(all(&crashed), expected);
                assert_eq!(keys_of(&crashed), [to]);
            }
            assert_eq!(all(&db), expected);
        }
    }
}

#[test]
fn a_rotation_of_the_cipher_alone_is_finished_too() {
    let (fs, keys) = (MemFs::new(), TestKeys::current(1));
    let db = builder(&fs, &keys).open().unwrap();
    fill(&db, 1);
    let expected = all(&db);
    db.close().unwrap();

    let db = builder(&fs, &keys).cipher(Cipher::ChaCha20Poly1305).open().unwrap();
    finish(&db).unwrap();

    assert_eq!(all(&db), expected);
    db.wait_idle(SOON).unwrap();
    db.close().unwrap();
    for (name, bytes) in files(&fs, "").into_iter().filter(|(_, bytes)| bytes.len() > 64) {
        let is_sealed = bytes[40..48] != [0; 8];
        assert!(
            !is_sealed || bytes[51] == Cipher::ChaCha20Poly1305 as u8,
            "{name} is sealed by the other one"
        );
    }
}

/// Snapshots, pauses of deletions and copies under way keep files; nothing needs their keys.
#[test]
fn held_files_do_not_keep_a_rotation_from_its_end() {
    let (place, copy, keys) = (CrashFs::new(), MemFs::new(), TestKeys::current(1));
    let db = builder(&place, &keys).open().unwrap();
    fill(&db, 1);
    db.flush().unwrap();
    fill(&db, 2);
    let expected = all(&db);
    let (snapshot, pause) = (db.snapshot(), db.pause_deletions());
    let [first, ..] = keyspaces(&db);
    let scan = first.iter();
    db.checkpoint_to(Arc::new(copy.clone()), "copy", CheckpointOptions::new()).unwrap();
    keys.change(2);

    finish(&db).unwrap();

    assert_eq!(keys_of(&db), [2]);
    let is_old = |fs: &dyn Fs| {
        files(fs, "").iter().any(|(_, bytes)| bytes.len() > 64 && bytes[40..48] == 1_u64.to_le_bytes())
    };
    assert!(is_old(&place), "they are held");
    let crashed = builder(&place.kill(), &TestKeys::only(2)).open().unwrap();
    assert_eq!(all(&crashed), expected);
    assert_eq!(entries(&first.at(&snapshot)), expected[0]);
    assert_eq!(scan.count(), expected[0].len());
    drop((snapshot, pause, first));
    db.wait_idle(SOON).unwrap();
    db.close().unwrap();
    assert!(!is_old(&place), "they went");
    // What was copied before is as it was.
    let copied = SubDir::open(Arc::new(copy), "copy").unwrap();
    let copied = tiny(Db::builder("db").env(env_of(copied))).encryption(TestKeys::only(1)).open().unwrap();
    assert_eq!(all(&copied), expected);
}

#[test]
fn writers_go_on_while_a_rotation_is_finished() {
    let (fs, keys) = (MemFs::new(), TestKeys::current(1));
    let db = builder(&fs, &keys).open().unwrap();
    fill(&db, 1);
    let is_over = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let [keyspace, separated, _] = keyspaces(&db);
            let mut written = 0_u32;
            while !is_over.load(Ordering::Relaxed) || written < 100 {
                let key = [b"new", &written.to_be_bytes()[..]].concat();
                keyspace.insert(&key, CANARY).unwrap();
                separated.insert(&key, CANARY.repeat(20)).unwrap();
                written += 1;
            }
            written
        });
        for key in 2..=5 {
            keys.change(key);
            finish(&db).unwrap();
            assert_eq!(keys_of(&db), [key]);
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    let expected = all(&db);
    db.close().unwrap();

    let db = builder(&fs, &TestKeys::only(5)).open().unwrap();
    assert_eq!(all(&db), expected);
    assert_eq!(keyspaces(&db)[0].prefix("new").count(), written as usize);
    assert_nothing_in_clear(&fs);
}

#[test]
fn a_rotation_that_is_ended_half_way_is_finished_by_the_next_call() {
    let (fs, keys) = (MemFs::new(), TestKeys::current(1));
    let db = builder(&fs, &keys).open().unwrap();
    fill(&db, 1);
    db.flush().unwrap();
    let expected = all(&db);

    for (limit, key) in [(0, 2), (1, 3), (10_000, 4)] {
        keys.change(key);
        let end = |progress: &Progress| {
            if progress.done >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match db.finish_rotation(end) {
            Err(ended) => assert_eq!(ended.kind(), ErrorKind::Cancelled, "{ended}"),
            Ok(()) => assert!(limit > 0, "the background was quicker, but not that quick"),
        }
        assert_eq!(all(&db), expected);
    }
    finish(&db).unwrap();

    assert_eq!(keys_of(&db), [4]);
    assert_eq!(all(&db), expected);
}

#[test]
fn a_rotation_that_cannot_be_finished_says_why() {
    let (fs, keys) = (MemFs::new(), TestKeys::current(1));
    let db = builder(&fs, &keys).open().unwrap();
    fill(&db, 1);
    db.flush().unwrap();
    keys.change(0);
    assert_eq!(finish(&db).unwrap_err().kind(), ErrorKind::InvalidArgument, "it was opened encrypted");
    keys.change(10);
    assert_eq!(finish(&db).unwrap_err().kind(), ErrorKind::MissingKey, "there is none of this name");
    keys.change(1);
    finish(&db).unwrap();
    db.wait_idle(SOON).unwrap();
    db.close().unwrap();

    let (name, bytes) = files(&fs, "tables").into_iter().next().unwrap();
    let middle = fs.open(&name, OpenMode::ReadWrite).unwrap();
    middle.write_at(100, &[!bytes[100]]).unwrap();
    keys.change(2);
    let db = builder(&fs, &keys).open().unwrap();
    for _ in 0..3 {
        let damaged = finish(&db).unwrap_err();
        assert_eq!(damaged.kind(), ErrorKind::Corruption, "{damaged}");
        assert!(damaged.to_string().contains(&name), "{damaged}");
    }
}

/// What cannot be opened cannot be written anew, and counts.
#[test]
fn a_keyspace_of_an_unknown_order_keeps_its_key_in_use() {
    struct Lengths;
    impl isopach::Comparator for Lengths {
        fn name(&self) -> &str {
            "app.lengths"
        }

        fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
            (a.len(), a).cmp(&(b.len(), b))
        }
    }
    let (fs, keys) = (MemFs::new(), TestKeys::current(1));
    let db = builder(&fs, &keys).comparator(Lengths).open().unwrap();
    let keyspace = db.keyspace_with("k", KeyspaceOptions::new().comparator(&Lengths)).unwrap();
    keyspace.insert("aa", "1").unwrap();
    drop(keyspace);
    db.flush().unwrap();
    db.close().unwrap();
    keys.change(2);

    let db = builder(&fs, &keys).open().unwrap();
    let unknown = finish(&db).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::MissingComparator, "{unknown}");
    assert_eq!(keys_of(&db), [1, 2]);
    db.close().unwrap();

    let db = builder(&fs, &keys).comparator(Lengths).open().unwrap();
    finish(&db).unwrap();
    assert_eq!(keys_of(&db), [2]);
}
