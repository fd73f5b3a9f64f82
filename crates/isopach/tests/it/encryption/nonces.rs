//! No pair of key and nonce is used twice, whatever happens to the files (INV-ENC-1).

use super::{DIRECTORIES, builder, files, keyspaces, put};
use isopach::{
    CheckpointOptions, Db, KeyspaceOptions,
    env::{Call, CrashFs, Errno, Fault, FaultFs, Fs, MemFs, OpenMode, Rule, SubDir},
};
use std::{sync::Arc, thread};
use testkit::{
    Rng,
    crash::{Act, Crash, Ledger, Pace, Plan, Run, explore},
    db::{env_of, separating, tiny, tiny_tables},
    keys::{TestKeys, seals},
    seeds,
};

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

/// A hundred lives of one database, each of which ends in a crash; keys change in each, appends fail in every second one,
/// where the log is written and not mapped.
#[test]
fn no_pair_of_key_and_nonce_is_used_twice_in_a_million_seals() {
    for seed in seeds(1) {
        let (mut rng, keys) = (Rng::new(seed), TestKeys::current(1));
        let (mut place, mut failed, mut recycled) = (CrashFs::new(), 0, 0);
        for life in 0..100 {
            let faults = FaultFs::new(Arc::new(place.clone()));
            let options = KeyspaceOptions::new().table_bytes(256 << 10);
            let db = tiny(Db::builder("db").env(env_of(faults.clone())))
                .write_buffer_bytes(128 << 10)
                .encryption(keys.clone())
                .mapped_log(life % 2 == 0)
                .open()
                .unwrap();
            let keyspace = db.keyspace_with("k", options).unwrap();
            for skip in [900, 2500, 4000] {
                let fault = Fault::Cut(rng.below(60), Errno::NoSpace);
                faults.arm(Rule::new(fault).on(Call::Write).named("wal/*").skip(skip).times(1));
            }
            for number in 0..10_000_u32 {
                if number == 5_000 {
                    keys.change(1 + rng.below(9) as u64);
                }
                let _ = keyspace.insert((number % 3_000).to_be_bytes(), rng.bytes(8));
            }
            failed += faults.fired().len();
            let crashed = if life % 3 == 0 { place.kill() } else { place.crash(rng.word()) };
            recycled += files(&crashed, "wal").iter().filter(|(_, bytes)| is_recycled(bytes)).count();
            drop((keyspace, db)); // Goes on where the crash did not happen.
            place = crashed;
        }
        go_on_apart(&place, &keys);

        let (count, repeated) = (keys.seals(), seals().1);
        eprintln!("{count} seals, {failed} appends failed, {recycled} segments were recycled");
        assert!(count > 1_000_000, "{count} seals");
        assert!(failed >= 100 && recycled >= 50, "{failed} failed, {recycled} recycled");
        assert_eq!(repeated, 0, "of {count} seals");
    }
}

/// Whether a log segment was one before: the lowest bit of its uuid says so.
fn is_recycled(segment: &[u8]) -> bool {
    segment.len() > 64 && segment[..8] != [0; 8] && segment[8] & 1 == 1
}

/// Two clones of one checkpoint get the same writes at the same time.
fn go_on_apart(source: &CrashFs, keys: &TestKeys) {
    let copy = MemFs::new();
    let db = builder(source, keys).open().unwrap();
    db.checkpoint_to(Arc::new(copy.clone()), "copy", CheckpointOptions::new()).unwrap();
    db.close().unwrap();
    let clones = [MemFs::new(), MemFs::new()];
    for clone in &clones {
        DIRECTORIES.iter().for_each(|directory| clone.create_dir(directory).unwrap());
        files(&copy, "copy").iter().for_each(|(name, bytes)| put(clone, &name["copy/".len()..], bytes));
    }
    thread::scope(|scope| {
        for clone in &clones {
            scope.spawn(|| {
                let db = builder(clone, keys).open().unwrap();
                let [keyspace, ..] = keyspaces(&db);
                for number in 0..10_000_u32 {
                    keyspace.insert(number.to_be_bytes(), [7; 8]).unwrap();
                }
                keyspace.compact_range(..).unwrap();
                db.close().unwrap();
            });
        }
    });
}
